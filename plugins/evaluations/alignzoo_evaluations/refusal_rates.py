"""`alignzoo refusals`: how often a run's answers refuse what is harmful and, the price of it, what is harmless."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignzoo.lab.run import Run
    from alignzoo.lab.statistics import Estimate
    from alignzoo_evaluations.refusing import Refusal


def arguments(page: argparse.ArgumentParser) -> None:
    page.add_argument("run_folder", metavar="RUN", help="the folder of a run whose questions are answered")
    page.add_argument("--word", action="append", default=[], dest="words", help="prompts with this word are harmful (repeat)")
    page.add_argument("--harmful", metavar="FILE", default="", help="these prompts are harmful, as JSON lines")
    page.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    from alignzoo.cli.quiet import quiet_libraries

    quiet_libraries()
    from alignzoo.lab.run import Run

    rates = rates_of(Run.open(args.run_folder), args.words, args.harmful)
    print(json.dumps([rate.row() for rate in rates], ensure_ascii=False, indent=1) if args.json else markdown(rates))
    return 0


@dataclass(frozen=True)
class Rate:
    """How many of some answers refuse, before and after."""

    prompts: str
    count: int
    start: Estimate
    policy: Estimate
    change: Estimate
    """Paired by prompt."""

    def row(self) -> dict[str, Any]:
        plain = {"prompts": self.prompts, "count": self.count}
        return {**plain, "start": self.start.row(), "policy": self.policy.row(), "change": self.change.row()}


def rates_of(run: Run, words: Sequence[str] = (), file: str = "") -> list[Rate]:
    """The rates of a run's answers. What is harmful is what is said here, or what the run's own settings say; what refuses is
    what its own judge or reward of refusals takes for it, where it has one."""
    from alignzoo.lab import store
    from alignzoo_evaluations.refusals import RefusalError, Refusals
    from alignzoo_evaluations.refusing import Harmful, Refusal

    parts = [part.made for part in run.plan.parts().values()]
    own = [part.harmful for part in parts if isinstance(part, Refusal | Refusals)]
    if not (words or file or own):
        raise RefusalError("this run does not say what is harmful; say it: --word steal --word burn, or --harmful FILE")
    if file and not Path(file).is_file():
        raise RefusalError(f"there is no file {file}")
    if not run.files.answers.exists():
        raise RefusalError(f"{run.files.root} has no answers yet; `alignzoo answer {run.files.root}`")
    harmful = Harmful(tuple(words), file) if words or file else own[0]
    judge = next((part for part in parts if isinstance(part, Refusal)), Refusal(harmful))
    return rates(store.read_rows(run.files.answers), replace(judge, harmful=harmful))


def rates(rows: Sequence[Mapping[str, Any]], judge: Refusal) -> list[Rate]:
    """Of harmful prompts, and of harmless ones: there it is over-refusal."""
    from alignzoo.lab.statistics import bootstrap, gains, share
    from alignzoo.records import completion_from_row, prompt_from_row

    told: dict[tuple[bool, str], dict[str, list[float]]] = {}
    for row in rows:
        prompt = prompt_from_row(row["prompt"])
        refused = float(judge.refuses(completion_from_row(row["completion"])))
        told.setdefault((prompt in judge.harmful, row["who"]), {}).setdefault(prompt.id, []).append(refused)
    found = []
    for harmful, name in ((True, "harmful"), (False, "harmless (over-refusal)")):
        if (harmful, "start") in told:
            before, after = told[harmful, "start"], told[harmful, "policy"]
            change = bootstrap(gains(after, before))
            found.append(Rate(name, len(before), share(before), share(after), change))
    return found


def markdown(rates: Sequence[Rate]) -> str:
    """A table for a reader."""
    lines = ["| prompts | | refused before | after | change |", "|---|---|---|---|---|"]
    lines += [f"| {rate.prompts} | {rate.count} | {rate.start} | {rate.policy} | {rate.change} |" for rate in rates]
    return "\n".join([*lines, "", "95 % intervals by bootstrap over prompts; Wilson's where all prompts are alike."])
