"""Feedback, gathered from a source into a file of records: who is asked about what, and what the source came across."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from alignzoo.interfaces import Asking, Policy
from alignzoo.lab import store
from alignzoo.lab.acquiring import Choosing
from alignzoo.lab.answering import plainly
from alignzoo.lab.listener import Listener
from alignzoo.lab.plan import Part, Plan
from alignzoo.lab.prompts import prompts_of
from alignzoo.lab.reserve import Reserve
from alignzoo.model.role import Role
from alignzoo.model.text import TextError
from alignzoo.records import Feedback
from alignzoo.tally import TallyError


def gather(plan: Plan, source: Part, path: Path, candidates: Callable[[], Role], listener: Listener) -> None:
    """Write the records of a source, and the tally of all that it read beside them. Candidates, where it asks for any, are
    written by a role that is made only then."""
    asking, groups = asking_of(plan, source, candidates), Counter[str]()
    count = store.write_feedback(path, _heard(plan, source, asking, listener, path, groups))
    store.write_json(store.tally_beside(path), {**asking.tally.row(), "groups": dict(sorted(groups.items()))})
    for line in asking.tally.lines():
        listener.line(line)
    listener.line(f"{count} records → {path}")


def asking_of(plan: Plan, source: Part, candidates: Callable[[], Role]) -> Asking:
    """What a source is asked with."""
    return Asking(
        policy=_writer(source, candidates),
        prompts=plan.task.made.prompts("train") if plan.task and "prompts" in source.made.asks else (),
        manner=plainly(plan.answer.manner),
        seed=plan.seed,
        evaluation=prompts_of(plan) if source.filters else (),
    )


def _writer(source: Part, candidates: Callable[[], Role]) -> Policy | None:
    """Who writes the answers that a source asks about, if it asks about any."""
    if "policy" not in source.made.asks:
        return None
    return Choosing(candidates(), source.acquisition.made) if source.acquisition else candidates()


def _heard(
    plan: Plan, source: Part, asking: Asking, listener: Listener, path: Path, groups: Counter[str]
) -> Iterator[Feedback]:
    """The records of a source, counted by groups of annotators; an error at their end if it had to leave out too much. What is
    held back from them is written first: where they are, it is."""
    reserve, passed = Reserve(plan.whose), dict[str, int]()
    try:
        for record in counted(source.collect(asking, reserve, passed), listener):
            groups[plan.whose.who.group(record.provenance)] += 1
            yield record
    except TextError as error:  # of a prompt that it has answered
        raise TextError(f"{source.found.full_name}: {error}") from error
    asking.tally.check(plan.intake.dropped)
    _check_left(passed)
    if reserve.kept:
        store.write_feedback(store.held_beside(path), reserve.kept)


def _check_left(passed: Mapping[str, int]) -> None:
    """Refuse that filters leave nothing, and say how many records each of them took. A source that gave none is told apart."""
    (source, given), *sieves = passed.items()
    if given and sieves and not sieves[-1][1]:
        reached = [given, *(count for _, count in sieves)]
        took = [f"{name} {before - count}" for (name, count), before in zip(sieves, reached, strict=False)]
        raise TallyError(f"nothing is left of the {given} records of {source}; taken out by {', by '.join(took)}")


def counted(records: Iterable[Feedback], listener: Listener) -> Iterator[Feedback]:
    """The same records, and a word now and then of how many there were."""
    for number, record in enumerate(records, start=1):
        if number % 50 == 0:
            listener.progress("records", number, 0)
        yield record
