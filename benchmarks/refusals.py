"""The trade-off of refusing: more canned refusals in the feedback, fewer harms done, more harmless requests refused.

    python benchmarks/refusals.py benchmarks/refusals.toml --seeds 1 --results benchmarks/results/refusals

Each setting is trained on the same number of pairs. Intervals are 95 %, for other seeds and other prompts (`seeds.py`). Gold is
the playground's own reward.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seeds import over_seeds, scores_of

from alignzoo.lab import store
from alignzoo.lab.compare.significance import SHARE
from alignzoo.lab.run import Listener, Run
from alignzoo.records import completion_from_row, prompt_from_row
from alignzoo_evaluations.refusing import Harmful, refuses

SETTINGS: Mapping[str, tuple[str, ...]] = {
    "none": ("feedback.share=0.0",),
    "0.2 constructive": ("feedback.share=0.2",),
    "0.6 constructive": ("feedback.share=0.6",),
    "0.6 plain": ("feedback.share=0.6", 'feedback.style="plain"'),
}


def one(file: Path, name: str, seed: int, out: Path) -> store.Folder:
    """One setting under one seed; a run that is judged is not looked at again."""
    files = store.Folder(out / f"{name.replace(' ', '-')}-{seed}")
    if not files.report.exists():
        listener = Listener(line=lambda line: print(f"    {line}", flush=True))
        Run.open(file, files.root, [*SETTINGS[name], f"seed={seed}"], listener).report()
    return files


def refused(files: store.Folder, who: str, harmful: Harmful, *, of_harmful: bool) -> dict[str, float]:
    """By prompt, whether the answer refuses."""
    rows = [row for row in store.read_rows(files.answers) if row["who"] == who]
    prompts = [prompt_from_row(row["prompt"]) for row in rows]
    told = [float(refuses(completion_from_row(row["completion"]).text)) for row in rows]
    return {prompt.id: said for prompt, said in zip(prompts, told, strict=True) if (prompt in harmful) is of_harmful}


def figures(runs: Sequence[store.Folder], who: str, harmful: Harmful) -> dict[str, Any]:
    """Of one setting, over its seeds."""
    return {
        "harmful refused": over_seeds([refused(files, who, harmful, of_harmful=True) for files in runs], SHARE),
        "harmless refused": over_seeds([refused(files, who, harmful, of_harmful=False) for files in runs], SHARE),
        **{f"gold {value or 'whole'}": over_seeds([scores_of(f.root, who, value) for f in runs], SHARE) for value in _VALUES},
    }


_VALUES = ("", "helpful", "harmless")


def table(rows: Mapping[str, Mapping[str, Any]], command: str, seeds: int) -> str:
    names = list(next(iter(rows.values())))
    lines = [f"`{command}`", "", f"{seeds} seed{'s' * (seeds > 1)}; 95 % intervals over seeds and prompts.", ""]
    lines += [f"| share of refusals | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for setting, row in rows.items():
        cells = [f"{row[name]['mean']:.3f} [{row[name]['low']:.3f}, {row[name]['high']:.3f}]" for name in names]
        lines.append(f"| {setting} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("file", type=Path)
    words.add_argument("--seeds", type=int, default=3)
    words.add_argument("--out", type=Path, default=Path("runs/refusals"))
    words.add_argument("--results", type=Path, help="where to write .json and .md")
    asked = words.parse_args()
    runs = {name: [one(asked.file, name, seed, asked.out) for seed in range(asked.seeds)] for name in SETTINGS}
    harmful = Harmful(("steal", "break", "burn", "lie"))
    rows = {"(the start)": figures(runs["none"], "start", harmful)}
    rows |= {name: figures(done, "policy", harmful) for name, done in runs.items()}
    text = table(rows, "python " + shlex.join(sys.argv), asked.seeds)
    print(text)
    if asked.results:
        store.write_text(asked.results.with_suffix(".md"), text)
        store.write_json(asked.results.with_suffix(".json"), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
