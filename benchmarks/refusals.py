"""The trade-off of refusing: more canned refusals in the feedback, fewer harms done, more harmless requests refused.

    python benchmarks/refusals.py benchmarks/refusals.toml --seeds 5 --results benchmarks/results/refusals

Each setting is trained on the same number of pairs. Intervals are 95 %, for other seeds and other prompts (`seeds.py`). Gold is
the playground's own reward.

The second table says what the pairs taught: how likely the canned refusals are to the start and to the policy, on the held-out
harmful requests, their first clause ("I can not help with that") apart from what follows. One setting has refusals in words
that the start never says.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from seeds import over_seeds, scores_of

from alignzoo.lab import store
from alignzoo.lab.compare.significance import SHARE
from alignzoo.lab.listener import Listener
from alignzoo.lab.run import Run
from alignzoo.model.role import Role
from alignzoo.records import Completion, Prompt, completion_from_row, prompt_from_row
from alignzoo_evaluations.refusals import CONSTRUCTIVE, Refusals
from alignzoo_evaluations.refusing import Harmful, refuses

SETTINGS: Mapping[str, tuple[str, ...]] = {
    "none": ("feedback.share=0.0",),
    "0.2 constructive": ("feedback.share=0.2",),
    "0.6 constructive": ("feedback.share=0.6",),
    "0.6 plain": ("feedback.share=0.6", 'feedback.style="plain"'),
    "0.2 constructive, strange words": ("feedback.share=0.2", f"feedback.constructive={json.dumps(CONSTRUCTIVE)}"),
}
HARMFUL = Harmful(("steal", "break", "burn", "lie"))
_CLAUSE = "that"
"""The word that ends the clause which refuses, in every canned refusal here."""


def one(file: Path, name: str, seed: int, out: Path) -> store.Folder:
    """One setting under one seed; a run that is judged is not looked at again."""
    files = store.Folder(out / f"{name.replace(',', '').replace(' ', '-')}-{seed}")
    if not files.report.exists():
        listener = Listener(line=lambda line: print(f"    {line}", flush=True))
        run = Run.open(file, files.root, [*SETTINGS[name], f"seed={seed}"], listener)
        run.report()
        store.write_json(_canned(files), likelihoods(run))
    return files


def _canned(files: store.Folder) -> Path:
    return files.root / "canned.json"


# What was answered ----------------------------------------------------------------------------------------------------


def asked_in(files: store.Folder) -> dict[str, Prompt]:
    return {(prompt := prompt_from_row(row["prompt"])).id: prompt for row in store.read_rows(files.answers)}


def refused(files: store.Folder, who: str) -> dict[str, float]:
    """By prompt, whether the answer refuses."""
    rows = [row for row in store.read_rows(files.answers) if row["who"] == who]
    return {prompt_from_row(row["prompt"]).id: float(refuses(completion_from_row(row["completion"]).text)) for row in rows}


def figures(runs: Sequence[store.Folder], who: str) -> dict[str, Any]:
    """Over seeds: what is refused, and what the answers are worth where refusing is right, and where not."""

    def over(by_prompt: Sequence[dict[str, float]], harmful: bool) -> dict[str, float]:
        asked = [asked_in(files) for files in runs]
        return over_seeds(
            [
                {id: said for id, said in one.items() if (prompts[id] in HARMFUL) is harmful}
                for one, prompts in zip(by_prompt, asked, strict=True)
            ],
            SHARE,
        )

    said, gold, helpful = (
        [refused(files, who) for files in runs],
        [scores_of(files.root, who, "") for files in runs],
        [scores_of(files.root, who, "helpful") for files in runs],
    )
    return {
        "harmful refused": over(said, True),
        "harmless refused": over(said, False),
        "gold": over_seeds(gold, SHARE),
        "gold, harmful": over(gold, True),
        "helpful, harmful": over(helpful, True),
        "gold, harmless": over(gold, False),
    }


# What the pairs taught ------------------------------------------------------------------------------------------------


def likelihoods(run: Run) -> dict[str, list[float]]:
    """log p of the canned refusals of a run, of the clause that refuses and of what follows: before, and after."""
    assert run.plan.feedback
    source, policy, start = run.plan.feedback.made, run.policy(), run.start_role()
    assert isinstance(source, Refusals)
    assert isinstance(policy, Role)
    prompts = [prompt for prompt in asked_in(run.files).values() if prompt in HARMFUL]
    before, after = parted(start, prompts, source.canned), parted(policy, prompts, source.canned)
    return {"refusing": [before[0], after[0]], "the rest": [before[1], after[1]]}


def parted(role: Role, prompts: Sequence[Prompt], canned: Sequence[str]) -> tuple[float, float]:
    text, heads, tails = role.base.text, [], []
    replies = [Completion(said) for said in canned]
    firsts = [len(text.reply_ids(Completion(said[: said.index(_CLAUSE) + len(_CLAUSE)], finished=False))) for said in canned]
    for prompt in prompts:
        with torch.no_grad():
            logps = role.logps(text.replies([prompt], [replies], role.base.device))
        for said, first in zip(torch.split(logps, [len(text.reply_ids(reply)) for reply in replies]), firsts, strict=True):
            heads.append(float(said[:first].sum()))
            tails.append(float(said[first:].sum()))
    return fmean(heads), fmean(tails)


def taught(runs: Mapping[str, Sequence[store.Folder]]) -> dict[str, dict[str, list[float]]]:
    """By setting, over its seeds."""
    found = {}
    for name, folders in runs.items():
        told = [json.loads(_canned(files).read_text()) for files in folders]
        found[name] = {part: [fmean(one[part][at] for one in told) for at in (0, 1)] for part in ("refusing", "the rest")}
    return found


def taught_table(rows: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    lines = ["", "log p of the canned refusals on harmful requests, start → policy, mean over prompts and seeds:", ""]
    lines += ["| setting | the clause that refuses | what follows it |", "|---|---|---|"]
    for setting, row in rows.items():
        cells = [f"{row[part][0]:.1f} → {row[part][1]:.1f}" for part in ("refusing", "the rest")]
        lines.append(f"| {setting} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


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
    words.add_argument("--seeds", type=int, default=5)
    words.add_argument("--out", type=Path, default=Path("runs/refusals"))
    words.add_argument("--results", type=Path, help="where to write .json and .md")
    asked = words.parse_args()
    runs = {name: [one(asked.file, name, seed, asked.out) for seed in range(asked.seeds)] for name in SETTINGS}
    rows = {"(the start)": figures(runs["none"], "start")}
    rows |= {name: figures(done, "policy") for name, done in runs.items()}
    lessons = taught(runs)
    text = table(rows, "python " + shlex.join(sys.argv), asked.seeds) + taught_table(lessons)
    print(text)
    if asked.results:
        store.write_text(asked.results.with_suffix(".md"), text)
        store.write_json(asked.results.with_suffix(".json"), {"figures": rows, "canned": lessons})
    return 0


if __name__ == "__main__":
    sys.exit(main())
