"""One run under five sources of feedback: only the lines of [feedback] change.

    python benchmarks/five_sources.py benchmarks/feedback.toml --seeds 3 --results benchmarks/results/five-sources

The vote threads and the file are made first, from the playground's own world (`playground_threads.py`). Each seed is its own
start, feedback and training. Intervals are 95 %, for other seeds and other prompts (`seeds.py`).
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from playground_threads import write
from seeds import over_seeds, scores_of

from alignzoo.lab import store
from alignzoo.lab.compare.significance import SHARE
from alignzoo.lab.listener import Listener
from alignzoo.lab.run import Run

WORLD = ('feedback.use="playground"', 'feedback.candidates="world"')
SOURCES: Mapping[str, tuple[str, ...]] = {
    "pairs": (*WORLD, 'feedback.kind="comparisons"', "feedback.count=1200", "feedback.answers=2"),
    "rankings": (*WORLD, 'feedback.kind="rankings"', "feedback.count=200", "feedback.answers=4"),
    "thumbs": (*WORLD, 'feedback.kind="thumbs"', "feedback.count=2400", "feedback.answers=2"),
    "votes": ('feedback={use="reddit-votes", threads="FOLDER/threads.jsonl", pairing.pairs_per_post=3}',),
    "file": (
        'feedback={use="file", data.path="FOLDER/verdicts.csv", columns={prompt="request", first="left", second="right", '
        'winner="liked", annotator="judge"}}',
    ),
}
"""The [feedback] of each, as settings."""


def one(file: Path, source: str, seed: int, out: Path, changes: Sequence[str]) -> store.Folder:
    """One source under one seed; a run that is judged is not looked at again."""
    folder, files = out / f"world-{seed}", store.Folder(out / f"{source}-{seed}")
    if files.report.exists():
        return files
    if not (folder / "verdicts.csv").exists():
        write(folder, seed)
    own = [setting.replace("FOLDER", str(folder)) for setting in SOURCES[source]]
    listener = Listener(line=lambda line: print(f"    {line}", flush=True))
    Run.open(file, files.root, [*changes, *own, f"seed={seed}"], listener).report()
    return files


def figures(runs: Sequence[store.Folder]) -> dict[str, Any]:
    """Of one source, over its seeds."""
    roots = [files.root for files in runs]
    before, after = ([scores_of(root, who, "") for root in roots] for who in ("start", "policy"))
    gains = [{name: b[name] - a[name] for name in a} for a, b in zip(before, after, strict=True)]
    summaries = [store.read_json(root / "train" / "summary.json") for root in roots]
    told = [store.read_rows(files.train.updates)[-1] for files in runs]
    return {
        "start": over_seeds(before, SHARE),
        "policy": over_seeds(after, SHARE),
        "gain": over_seeds(gains),
        "harmless": over_seeds([scores_of(root, "policy", "harmless") for root in roots], SHARE),
        "records": [sum(1 for _ in store.read_feedback(files.feedback)) for files in runs],
        "up": [round(one["ups"]) for one in told],
        "down": [round(one["downs"]) for one in told],
        "updates": [summary["ledger"]["updates"] for summary in summaries],
        "per seed": [sum(scores.values()) / len(scores) for scores in after],
    }


def table(rows: Mapping[str, Mapping[str, Any]], command: str, seeds: int) -> str:
    lines = [f"`{command}`", "", f"{seeds} seed{'s' * (seeds > 1)}; 95 % intervals over seeds and prompts.", ""]
    lines += [
        "| source | records | thumbs up, down | gold before | after | gain | each seed |",
        "|---|---|---|---|---|---|---|",
    ]
    for source, row in rows.items():
        cells = [_interval(row[name]) for name in ("start", "policy", "gain")]
        counts = f"{row['records'][0]} | {row['up'][0]}, {row['down'][0]}"
        each = " ".join(f"{value:.3f}" for value in row["per seed"])
        lines.append(f"| {source} | {counts} | {' | '.join(cells)} | {each} |")
    lines += ["", "Records and thumbs are those of the first seed.", "", "```toml"]
    lines += [f"# {source}\n" + "\n".join(SOURCES[source]) for source in rows]
    return "\n".join([*lines, "```"]) + "\n"


def _interval(figure: Mapping[str, float]) -> str:
    return f"{figure['mean']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("file", type=Path)
    words.add_argument("--seeds", type=int, default=5)
    words.add_argument("--sources", nargs="+", choices=tuple(SOURCES), default=tuple(SOURCES))
    words.add_argument("--out", type=Path, default=Path("runs/five-sources"))
    words.add_argument("--set", action="append", default=[], dest="changes", metavar="KEY=VALUE")
    words.add_argument("--results", type=Path, help="where to write .json and .md")
    asked = words.parse_args()
    rows = {}
    for source in asked.sources:
        print(source, flush=True)
        rows[source] = figures([one(asked.file, source, seed, asked.out, asked.changes) for seed in range(asked.seeds)])
    text = table(rows, "python " + shlex.join(sys.argv), asked.seeds)
    print(text)
    if asked.results:
        store.write_text(asked.results.with_suffix(".md"), text)
        store.write_json(asked.results.with_suffix(".json"), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
