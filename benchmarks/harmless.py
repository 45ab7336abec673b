"""What a small model learns from real preferences: is DPO's implicit reward right about pairs it has not seen, and more often
than their lengths alone?

    python benchmarks/harmless.py benchmarks/harmless.toml --set model.path=FOLDER --set feedback.data.path=PAIRS.jsonl

The pairs are split by prompt. The implicit reward is β log π/π_ref, summed over a reply; the baseline always takes the longer
reply, or always the shorter, whichever is right more often in training. Pairs that are level count one half.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import torch

from alignzoo.interfaces import Asking, Lesson
from alignzoo.lab import store
from alignzoo.lab.listener import Listener
from alignzoo.lab.run import Run
from alignzoo.lab.runfile import read_plan
from alignzoo.lab.statistics import Estimate, bootstrap
from alignzoo.learning.intake import admit
from alignzoo.model.forest import per_reply
from alignzoo.model.role import Role
from alignzoo.records import Comparison

AT_ONCE = 8192
Verdicts = dict[str, list[float]]
"""By prompt: 1 for each pair that was judged right, ½ where its sides are level."""


def verdict(lead: float) -> float:
    return 0.5 * (1 + (lead > 0) - (lead < 0))


def by_prompt(pairs: Sequence[Comparison], leads: Sequence[float]) -> Verdicts:
    told: Verdicts = {}
    for pair, lead in zip(pairs, leads, strict=True):
        told.setdefault(pair.prompt.id, []).append(verdict(lead))
    return told


@torch.no_grad()
def ratios(policy: Role, reference: Role, pairs: Sequence[Comparison]) -> list[float]:
    """How far the chosen reply's log-ratio leads the rejected one's."""
    base, leads = policy.base, []
    for piece in base.text.pairs(pairs, base.device).split(AT_ONCE):
        gain = per_reply(policy.logps(piece) - reference.logps(piece), piece).view(-1, 2)
        leads += (gain[:, 0] - gain[:, 1]).tolist()
    return leads


def length_rule(pairs: Sequence[Comparison]) -> int:
    """+1 if the longer reply was preferred more often, −1 if the shorter was."""
    leads = [len(pair.chosen.text) - len(pair.rejected.text) for pair in pairs]
    return 1 if fmean(map(verdict, leads)) >= 0.5 else -1


def difference(ours: Verdicts, theirs: Verdicts) -> Estimate:
    """Per prompt, with an interval over prompts."""
    return bootstrap({name: [a - b for a, b in zip(ours[name], theirs[name], strict=True)] for name in ours})


def fit_pairs(run: Run, changes: Sequence[str], file: Path) -> list[Comparison]:
    """The held-out pairs that this model can read whole."""
    plan = read_plan(file, [*changes, "feedback.data.split=test"])
    assert plan.feedback is not None
    lesson = Lesson.of(plan.feedback.made.collect(Asking(seed=plan.seed)))
    kept, intake = admit(lesson, ("comparisons",), run.base.text, plan.intake)
    print("\n".join(intake.lines()), flush=True)
    return list(kept.comparisons)


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("file", type=Path)
    words.add_argument("--set", action="append", default=[], dest="changes", metavar="KEY=VALUE")
    words.add_argument("--seeds", type=int, default=3)
    words.add_argument("--out", type=Path, default=Path("runs/harmless"))
    words.add_argument("--results", type=Path, help="where to write .json and .md")
    asked = words.parse_args()
    rows = [one(asked.file, seed, asked.changes, asked.out) for seed in range(asked.seeds)]
    text = table(rows, "python benchmarks/harmless.py " + shlex.join(_said(sys.argv[1:])))
    print(text)
    if asked.results:
        store.write_text(asked.results.with_suffix(".md"), text)
        store.write_json(asked.results.with_suffix(".json"), rows)
    return 0


def one(file: Path, seed: int, changes: Sequence[str], out: Path) -> dict[str, object]:
    """One seed: train, then judge the held-out pairs."""
    settings = [*changes, f"seed={seed}"]
    listener = Listener(line=lambda line: print(line, flush=True))
    run = Run.open(file, out / f"seed-{seed}", settings, listener)
    run.train()
    trained = [record for record in store.read_feedback(run.files.feedback) if isinstance(record, Comparison)]
    held_out = fit_pairs(run, settings, file)
    policy = run.policy()
    assert isinstance(policy, Role)
    implicit = by_prompt(held_out, ratios(policy, run.start_role(), held_out))
    rule = length_rule(trained)
    lengths = by_prompt(held_out, [rule * (len(p.chosen.text) - len(p.rejected.text)) for p in held_out])
    return {
        "seed": seed,
        "pairs": len(held_out),
        "prompts": len(implicit),
        "rule": "longer" if rule > 0 else "shorter",
        "implicit": bootstrap(implicit).row(),
        "length": bootstrap(lengths).row(),
        "difference": difference(implicit, lengths).row(),
    }


def table(rows: Sequence[dict[str, object]], command: str) -> str:
    lines = [f"`{command}`", "", "| seed | held-out pairs | implicit reward right | length alone (rule) | difference |"]
    lines += ["|---|---|---|---|---|"]
    for row in rows:
        cells = [f"{Estimate(**row[name])}" for name in ("implicit", "length", "difference")]  # type: ignore[arg-type]
        lines.append(f"| {row['seed']} | {row['pairs']} | {cells[0]} | {cells[1]} ({row['rule']}) | {cells[2]} |")
    return "\n".join(lines) + "\n\n95 % intervals by bootstrap over prompts.\n"


def _said(words: Sequence[str]) -> list[str]:
    """The command without the folders of one machine."""
    return [f"{word.split('path=')[0]}path=FILE" if "path=" in word else word for word in words]


if __name__ == "__main__":
    sys.exit(main())
