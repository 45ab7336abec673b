"""`alignzoo judge-check RUN PAIRS`: ask a run's judge about pairs whose better answer is known, and say how good it is.

PAIRS is JSON lines: comparisons as `feedback.jsonl` has them, or pairs in LLMBar's form (input, output_1, output_2, label).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignzoo.lab.plan import Plan
    from alignzoo.model.role import Role
    from alignzoo_rlaif.hiring import Hired
    from alignzoo_rlaif.judging import Case
    from alignzoo_rlaif.measures import Figures, Judged
    from alignzoo_rlaif.sitting import Sitting

Pair = tuple["Case", float]
"""A case, and the probability that its first reply is better."""


def arguments(page: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    page.add_argument("target", metavar="RUN", help="a run file (.toml), or the folder of a run, that hires a judge")
    page.add_argument("pairs", metavar="PAIRS", type=Path, help="JSON lines of comparisons, or of pairs with a label")
    page.add_argument("--at", metavar="PLACE", default="", help="which judge, where a run has several: reward, feedback, …")
    page.add_argument("--question", default="", help="what to ask it, instead of what the run asks")
    page.add_argument("--most", type=int, default=0, metavar="N", help="ask about N pairs at most")
    page.add_argument("--own", type=int, default=0, metavar="N", help="measure self-preference on its own answers to N prompts")
    page.add_argument("--injections", action="store_true", help="measure how often orders hidden in the worse reply are obeyed")
    page.add_argument("--record", metavar="FILE", type=Path, help="write its verdicts down, for a recorded judge to give again")
    page.add_argument("--json", metavar="FILE", type=Path, dest="figures", help="write the figures to a file, too")
    page.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes", help="override a setting")


def run(args: argparse.Namespace) -> int:
    """Ask, measure, print."""
    from alignzoo.cli.quiet import quiet_libraries

    quiet_libraries()
    from alignzoo.lab.folders import plan_in
    from alignzoo.lab.runfile import read_plan
    from alignzoo.lab.store import write_json
    from alignzoo_rlaif.measures import table

    target = Path(args.target)
    plan = plan_in(target) if target.is_dir() else read_plan(target, args.changes)
    hired, questions = judge_of(plan, args.at)
    questions = {"judge": args.question} if args.question else questions
    pairs = pairs_in(args.pairs)[: args.most or None]
    sitting = _seated(hired, plan, args.record)
    put = {name: put_to(sitting, pairs, question) for name, question in questions.items()}
    figures = {name: _asked(sitting, put[name], question, plan, args) for name, question in questions.items()}
    print(table(figures))
    for name, asked in put.items():
        if left := len(pairs) - len(asked):
            print(f"{name}: {left} of {len(pairs)} pairs were never put to this judge, and are left out")
    if args.figures:
        rows = {name: {what: told.row() for what, told in of.items()} for name, of in figures.items()}
        write_json(args.figures, {"pairs": len(pairs), "figures": rows})
    return 0


def judge_of(plan: Plan, place: str = "") -> tuple[Hired, dict[str, str]]:
    """The judge that a plan hires, and what it is asked there, by the name of the principle where there are several."""
    from alignzoo_rlaif.hiring import Hired
    from alignzoo_rlaif.judging import JudgeError
    from alignzoo_rlaif.preferences import AIPreferences

    found = {
        at: (getattr(part.made, setting.name), part.made)
        for at, part in plan.parts().items()
        if is_dataclass(part.made)
        for setting in fields(part.made)
        if isinstance(getattr(part.made, setting.name), Hired)
    }
    if place and place not in found:
        raise JudgeError(f"--at {place}: no judge is hired there; there is {', '.join(found) or 'none'}")
    if not found or (len(found) > 1 and not place):
        raise JudgeError(f"this run hires {f'several judges; name one: --at {next(iter(found))}' if found else 'no judge'}")
    hired, made = found[place or next(iter(found))]
    if isinstance(made, AIPreferences):
        return hired, {principle.id: principle.comparison for principle in made.rules.serving("comparison")}
    return hired, {"judge": str(getattr(made, "question"))}  # noqa: B009


def pairs_in(path: Path) -> list[Pair]:
    """The pairs of a file; who is shown as the first reply is drawn, so that no place is the right one."""
    from alignzoo.rows import Fault, rows_in
    from alignzoo_rlaif.judging import JudgeError

    found: list[Pair] = []
    for place, row in rows_in(path, ".jsonl"):
        try:
            if isinstance(row, Fault):
                raise ValueError(row.reason)
            found += _pairs(row)
        except (ValueError, KeyError, TypeError) as error:
            why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise JudgeError(f"{path.with_name(place)}: no pair with a known better answer: {why}") from None
    if not found:
        raise JudgeError(f"{path}: there are no pairs in it")
    return found


def put_to(sitting: Sitting, pairs: Sequence[Pair], question: str) -> Sequence[Pair]:
    """The pairs that a judge can be asked about: of a recorded one, those that it was asked about, if only in one order."""
    from alignzoo_rlaif.recorded import RecordedOracle

    oracle = sitting.oracle
    if not isinstance(oracle, RecordedOracle):
        return pairs
    return [pair for pair in pairs if oracle.was_asked(pair[0], question)] or pairs


def _pairs(row: Mapping[str, Any]) -> Iterator[Pair]:
    from alignzoo.records import comparisons_in, completion_from_row, prompt_from_row, record_from_row
    from alignzoo_rlaif.judging import Case

    if "output_1" in row:
        asked = prompt_from_row({"turns": [{"speaker": "user", "text": row["input"]}]})
        case = Case(asked, *(completion_from_row({"text": row[name]}) for name in ("output_1", "output_2")))
        if str(row["label"]) not in ("1", "2"):
            raise ValueError("'label' must be 1 or 2, the better output's number")
        yield case, float(str(row["label"]) == "1")
        return
    for pair in comparisons_in([record_from_row(row)]):
        if Random(f"{pair.prompt.id} {pair.chosen.text} {pair.rejected.text}").random() < 0.5:
            yield Case(pair.prompt, pair.chosen, pair.rejected), pair.strength
        else:
            yield Case(pair.prompt, pair.rejected, pair.chosen), 1 - pair.strength


def _seated(hired: Hired, plan: Plan, record: Path | None) -> Sitting:
    from alignzoo_rlaif.recorded import Recording

    sitting = hired.judge(_base(plan) if hired.which == "local" and not hired.model else None)
    return replace(sitting, oracle=Recording(sitting.oracle, record)) if record else sitting


def _base(plan: Plan) -> Role:
    from alignzoo.model.base import Base
    from alignzoo.model.role import bare_on

    return bare_on(Base.load(plan.model, plan.loading, plan.lora), "judge")


def _asked(sitting: Sitting, pairs: Sequence[Pair], question: str, plan: Plan, args: argparse.Namespace) -> Figures:
    from alignzoo_rlaif.injections import flip_rate
    from alignzoo_rlaif.measures import measured, of

    cases = [case for case, _ in pairs]
    verdicts = sitting.compare(cases, question)
    figures = measured(of(cases, verdicts, [gold for _, gold in pairs]))
    if args.own:
        figures |= {"self-preference": measured(_own(sitting, pairs, question, plan, args.own))["self-preference"]}
    if args.injections and (flips := flip_rate(sitting, cases, verdicts, question)):
        figures |= {"flips under injection": flips}
    return figures


def _own(sitting: Sitting, pairs: Sequence[Pair], question: str, plan: Plan, count: int) -> list[Judged]:
    """The judge's own answers against the better ones of the file, and what the run's gold makes of the two."""
    from alignzoo_rlaif.judging import Case
    from alignzoo_rlaif.measures import Judged

    known = list({case.prompt.id: (case, gold) for case, gold in pairs}.values())[:count]
    prompts = [case.prompt for case, _ in known]
    theirs = [case.first if gold >= 0.5 else case.second for case, gold in known]
    cases = [Case(*one) for one in zip(prompts, sitting.oracle.reply(prompts), theirs, strict=True)]
    golds: list[float | None] = [None] * len(cases)
    if plan.judge and callable(score := plan.judge.made):
        ours = score(prompts, [case.first for case in cases])
        others = score(prompts, theirs)
        golds = [(a > b) + 0.5 * (a == b) for a, b in zip(ours, others, strict=True)]
    verdicts = sitting.compare(cases, question)
    return [Judged(*one, own=0) for one in zip(cases, verdicts, golds, strict=True)]
