"""Checks of a source of feedback: it collects from the files of its trial, or asks about answers of the toy base, with the
network shut."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from itertools import islice, pairwise
from typing import Any

from alignzoo.interfaces import Asking, Manner
from alignzoo.model.base import Base
from alignzoo.model.role import Role, bare_on, policy_on
from alignzoo.model.steering import Steer
from alignzoo.records import NOWHERE, Comparison, Completion, Critique, Feedback, Prompt, Ranking, oriented
from alignzoo.seam.settings import SettingsError, build, table_of
from alignzoo.testing.checks import Failed, NotRun, Subject, check
from alignzoo.testing.course import Spy
from alignzoo.testing.lessons import LONGEST, PROMPTS, drawn
from alignzoo.testing.offered import instance
from alignzoo.testing.toy import toy_base

AT_MOST = 300
"""Records that are looked at."""
LEANING = 0.25
"""How far the share of pairs that the answer drawn first wins may be from one half."""


class Offline(OSError):
    """Something on trial asked for the network."""


@contextmanager
def offline() -> Iterator[list[str]]:
    """No socket can be connected, and no name be looked up. Gives the list of what was tried."""
    tried: list[str] = []

    def refuse(*given: Any, **named: Any) -> Any:
        tried.append(str(given[-1] if given else ""))
        raise Offline("the network is shut while a plugin is on trial")

    kept = (socket.socket.connect, socket.create_connection, socket.getaddrinfo)
    socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse  # type: ignore[method-assign]
    try:
        yield tried
    finally:
        socket.socket.connect, socket.create_connection, socket.getaddrinfo = kept  # type: ignore[method-assign]


def _asking(subject: Subject, base: Base, policy: Any = None) -> Asking:
    """What a run would offer."""
    source = instance(subject)
    return Asking(
        prompts=(subject.trial.prompts or PROMPTS) if "prompts" in source.asks else (),
        policy=(policy or bare_on(base, "start")) if "policy" in source.asks else None,
        manner=Manner(max_tokens=LONGEST),
        seed=1,
    )


def _gathered(subject: Subject) -> tuple[list[Feedback], Asking, Spy, list[str]]:
    """One collection: the records, what was asked with, what went through the model, and what was asked of the network."""
    base = toy_base()
    spy, asking = Spy(base), _asking(subject, base)
    with spy.watching(), offline() as tried:
        found = list(instance(subject).collect(asking))
    return found, asking, spy, tried


def _first(subject: Subject) -> tuple[list[Feedback], Asking, Spy, list[str]]:
    found: tuple[list[Feedback], Asking, Spy, list[str]] = subject.once("collected", lambda: _gathered(subject))
    return found


def _records(subject: Subject) -> list[Feedback]:
    return _first(subject)[0]


@check("feedback", after=("component.protocol",))
def collects(subject: Subject) -> None:
    """It collects something."""
    if subject.trial.slow and not subject.thorough:
        raise NotRun(f"it takes long: {subject.trial.slow} (--all)")
    if not _records(subject):
        raise Failed("it gives no record; give its component a trial with files that it finds some in")


@check("feedback", after=("collects",))
def stays_offline(subject: Subject) -> None:
    """It asks nothing of the network: what it reads was fetched before, or is made here."""
    if tried := _first(subject)[3]:
        raise Failed(f"it asks the network for {tried[0]}")


@check("feedback", after=("collects",))
def typed(subject: Subject) -> None:
    """Its records are of the kinds that it says it gives."""
    gives = instance(subject).gives
    for record in _records(subject):
        if type(record).__name__.lower() not in gives:
            raise Failed(f"it gives a {type(record).__name__}, and says that it gives {', '.join(gives)}")


@check("feedback", after=("collects",))
def provenance(subject: Subject) -> None:
    """Every record says where it comes from."""
    if nameless := sum(record.provenance == NOWHERE or not record.provenance.source for record in _records(subject)):
        raise Failed(f"{nameless} of {len(_records(subject))} records have no provenance; name at least the source")


@check("feedback", after=("collects",))
def same_again(subject: Subject) -> None:
    """The same settings and seed give the same records, in the same order."""
    again = _gathered(subject)[0]
    if again != _records(subject):
        raise Failed("the second time the records are others; let chance come from the seed of the asking")


@check("feedback", after=("typed",))
def no_self_pairs(subject: Subject) -> None:
    """No answer is compared with itself."""
    for record in _records(subject):
        said = _sides(record)
        if len({(reply.text, reply.finished) for reply in said}) < len(said):
            raise Failed(f"two sides of a {type(record).__name__.lower()} are the same: {said[0].text[:60]!r}")


def _sides(record: Feedback) -> tuple[Completion, ...]:
    match record:
        case Comparison():
            return record.chosen, record.rejected
        case Ranking():
            return record.completions
        case Critique():
            return record.completion, record.revision
        case _:
            return ()


@check("feedback", after=("typed",))
def groups_apart(subject: Subject) -> None:
    """No prompt is on both sides of a split; and where it is given prompts to ask about, it keeps to them."""
    source = instance(subject)
    if "prompts" in source.asks:
        given = {prompt.id for prompt in _first(subject)[1].prompts}
        strange = [record.prompt for record in _records(subject) if record.prompt.id not in given]
        if strange:
            raise Failed(f"it gives a record on {strange[0].text[:60]!r}, which it was not given; it may be one of the test")
        return
    sides = [(side, _prompts(subject, where, side)) for where in _split_settings(source) for side in ("train", "test")]
    if not sides:
        raise NotRun("it has no split")
    if both := sides[0][1] & sides[1][1]:
        raise Failed(f"{len(both)} prompts are in the train split and in the test split; split by prompt or thread, not by row")
    if not any(found for _, found in sides):
        raise NotRun("none of its records is in a split")


def _split_settings(source: Any) -> Sequence[tuple[str, ...]]:
    """Where a source has a setting `split` that takes "train" and "test"."""
    if not is_dataclass(source):
        return []
    if any(f.name == "split" for f in fields(source)):
        return [("split",)]
    nested = ((f.name, getattr(source, f.name)) for f in fields(source))
    return [(name, "split") for name, part in nested if is_dataclass(part) and any(f.name == "split" for f in fields(part))][:1]


def _prompts(subject: Subject, where: tuple[str, ...], side: str) -> set[str]:
    table = table_of(instance(subject))
    *above, last = where
    inner = table
    for name in above:
        inner = inner[name]
    inner[last] = side
    try:
        source = build(subject.object, table)
    except SettingsError as error:
        raise NotRun(f"it cannot be set to '{side}': {error}") from None
    return {record.prompt.id for record in islice(source.collect(Asking(seed=1)), AT_MOST)}


@check("feedback", after=("collects",))
def tally(subject: Subject) -> None:
    """Every row that it reads is kept, or left out for a reason that is told."""
    told = _first(subject)[1].tally
    if not told.read:
        raise NotRun("it reads no rows")
    if told.unexplained:
        raise Failed(f"{told.unexplained} of {told.read} rows were neither kept nor left out for a reason")


@check("feedback", after=("collects",))
def cost(subject: Subject) -> None:
    """Where it asks a model, every token is on the base's meter."""
    _, asking, spy, _ = _first(subject)
    if asking.policy is None:
        raise NotRun("it asks no model")
    metered = spy.base.meter.read + spy.base.meter.written
    if metered != spy.tokens:
        raise Failed(f"the meter says {metered} tokens, and {spy.tokens} went through the model; ask the policy, not its parts")


def prepared(prompt: Prompt, turned: bool, n: int) -> list[Completion]:
    """So many answers to a prompt, two by two in the order of the script, or the other way round."""
    groups = dict(zip((known.id for known in PROMPTS), drawn(seed=11), strict=True))
    group = groups.get(prompt.id, groups[PROMPTS[0].id])
    ready = (group[: len(group) // 2 * 2] * n)[:n]
    return list(ready[::-1] if turned else ready)


def lent(turned: bool) -> Role:
    """A policy that gives the prepared answers. Its base reads and writes as ever for whoever else asks it, such as a judge."""
    base = toy_base()
    policy, own = policy_on(base), base.sampler

    def write(
        base: Base, worn: str | None, prompts: Sequence[Prompt], n: int, manner: Manner, steer: Steer | None = None
    ) -> list[list[Completion]]:
        if worn != policy.worn:
            return own(base, worn, prompts, n, manner, steer)
        return [prepared(prompt, turned, n) for prompt in prompts]

    base.sampler = write
    return policy


@check("feedback", after=("same-again",))
def position(subject: Subject) -> None:
    """Who wins does not hang on which answer was drawn first: shown both ways round, each place wins about as often."""
    source = instance(subject)
    if "policy" not in source.asks or not {"comparison", "ranking"} & set(source.gives):
        raise NotRun("it compares no answers of a policy")
    if subject.trial.position:
        source = build(subject.object, {**subject.trial.settings, **subject.trial.position})
    firsts: list[bool] = []
    for turned in (False, True):
        policy = lent(turned)
        for record in source.collect(_asking(subject, policy.base, policy)):
            firsts += _first_wins(record, turned)
    if len(firsts) < 8:
        raise NotRun(f"only {len(firsts)} pairs tell; name settings that give more as `position` of its trial")
    share = sum(firsts) / len(firsts)
    if abs(share - 0.5) > LEANING:
        raise Failed(
            f"shown both ways round, the answer drawn first wins {share:.0%} of {len(firsts)} pairs; ask in both orders"
        )


def _first_wins(record: Feedback, turned: bool) -> list[bool]:
    """Of each pair that has a winner, whether it is the answer that was drawn first."""
    ranks: tuple[int, ...] = record.ranks if isinstance(record, Ranking) else ()
    if isinstance(record, Comparison):
        record, ranks = oriented(record), (0, 0) if record.tie else (0, 1)
    places = {reply.text: place for place, reply in reversed(list(enumerate(prepared(record.prompt, turned, 64))))}
    sides = [(places[reply.text], rank) for reply, rank in zip(_sides(record), ranks, strict=False) if reply.text in places]
    return [better < worse for (better, high), (worse, low) in pairwise(sides) if better != worse and high != low]
