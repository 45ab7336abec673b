"""What an umpire makes of all contestants, shown their answers two at a time: who is asked about what, and what comes of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from alignzoo.interfaces import Comparing
from alignzoo.lab import store
from alignzoo.lab.compare.bouts import Bout, Heard, Orders, heard, orders, same
from alignzoo.lab.compare.duels import Entrant
from alignzoo.lab.compare.played import Played
from alignzoo.lab.compare.ranking import Rank
from alignzoo.lab.compare.umpire import Umpire, UmpireError
from alignzoo.lab.compare.verdicts import Case, decided
from alignzoo.lab.shelf import named_files
from alignzoo.lab.statistics import Estimate
from alignzoo.records import Completion, Prompt, completion_from_row, prompt_from_row

START = "the start"

Spot = tuple[int, str]
"""A seed, and the id of a prompt."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Hearing:
    """What the umpire says of all, and who it is."""

    umpire: str
    settings: Mapping[str, Any]
    """Its table with everything resolved, and the digest of its bytes."""
    prompts: int
    verdicts: int
    """On how many this rests, both orders counted."""
    alike: Estimate
    """Pairs whose two answers are the same: ties that nobody is asked about."""
    orders: Orders
    pairs: tuple[Heard, ...]
    ranks: tuple[Rank, ...]
    cautions: tuple[str, ...] = ()

    def told(self) -> str:
        """What was asked, in a sentence."""
        return (
            f"{self.umpire} was shown the first answers to {self.prompts} prompts, two at a time and in both orders: "
            f"{self.verdicts:,} verdicts"
        )


@dataclass(frozen=True)
class Party:
    """Somebody who answers: a contestant, or the start; with the first answer to each prompt under each seed."""

    name: str
    said: Mapping[Spot, Completion]

    @property
    def seeds(self) -> set[int]:
        return {seed for seed, _ in self.said}


@dataclass(frozen=True)
class _Pair:
    """Two parties, and both orders of their answers to each prompt under each seed that they share; none where they say the
    same."""

    a: Party
    b: Party
    seeds: tuple[int, ...]
    cases: Mapping[Spot, tuple[Case, ...]]

    @classmethod
    def of(cls, a: Party, b: Party, who: str, asked: Mapping[str, Prompt]) -> _Pair:
        def both(spot: Spot) -> tuple[Case, ...]:
            ours, theirs = a.said[spot], b.said[spot]
            if alike(ours, theirs):
                return ()
            return Case.put(who, asked[spot[1]], ours, theirs), Case.put(who, asked[spot[1]], theirs, ours)

        shared = tuple(sorted(a.seeds & b.seeds))
        return cls(a, b, shared, {(seed, prompt): both((seed, prompt)) for seed in shared for prompt in asked})

    def bout(self, prompts: Sequence[str], said: Mapping[str, float]) -> Bout:
        """What was said of them."""
        ahead, behind, longer, equal = (np.zeros((len(self.seeds), len(prompts))) for _ in range(4))
        for row, seed in enumerate(self.seeds):
            for column, prompt in enumerate(prompts):
                here, spot = (row, column), (seed, prompt)
                longer[here] = len(self.a.said[spot].text.split()) - len(self.b.said[spot].text.split())
                if both := self.cases[spot]:
                    ahead[here], behind[here] = said[both[0].key], 1 - said[both[1].key]
                else:
                    equal[here] = 1.0
        return Bout(self.a.name, self.b.name, self.seeds, ahead, behind, longer, equal)


def hear(umpire: Umpire, entrants: Sequence[Entrant], prompts: Sequence[str], kept: Path, tell: Tell) -> Hearing:
    """Everything that the umpire has to say of these contestants on these prompts. What is not in the file `kept` is asked."""
    there = [one for one in entrants if one.runs]
    some = prompts[:: max(1, len(prompts) // umpire.terms.prompts)][: umpire.terms.prompts]
    asked, parties = _parties(there, some)
    who = _identity(umpire, there)
    pairs = [_Pair.of(a, b, who, asked) for a, b in combinations(parties, 2)]
    spots = sorted({spot for pair in pairs for spot in pair.cases})  # seed by seed, and all about a prompt together
    cases = {case.key: case for spot in spots for pair in pairs for case in pair.cases.get(spot, ())}
    umpire.check(len(cases))
    said = decided(list(cases.values()), kept, umpire.name, lambda: _seated(umpire, there, tell), tell)
    bouts = [pair.bout(some, said) for pair in pairs]
    closed = all(one.closed for one in there)
    told, ranks = heard(bouts, closed=closed)
    steady = orders(bouts, closed=closed)
    return Hearing(
        umpire.name,
        {**umpire.row(), "digest": umpire.part.found.digest()},
        len(some),
        len(cases),
        same(bouts, closed=closed),
        steady,
        told,
        ranks,
        tuple(_cautions(umpire, there, parties, steady)),
    )


# Who answers --------------------------------------------------------------------------------------------------------------


def _parties(entrants: Sequence[Entrant], prompts: Sequence[str]) -> tuple[dict[str, Prompt], list[Party]]:
    """The prompts by their ids, and everybody; the start among them where all began with the same."""
    asked: dict[str, Prompt] = {}
    start: dict[Spot, Completion] = {}
    parties, others = [], False
    for one in entrants:
        own: dict[Spot, Completion] = {}
        for who, spot, prompt, said in _first_answers(one, set(prompts)):
            asked[spot[1]] = prompt
            if who == "policy":
                own[spot] = said
            else:
                others |= not alike(start.setdefault(spot, said), said)
        parties.append(Party(one.name, own))
    return asked, parties if others else [*parties, Party(START, start)]


def _first_answers(one: Entrant, prompts: set[str]) -> Iterator[tuple[str, Spot, Prompt, Completion]]:
    for run in one.runs:
        files = store.Folder(run.folder)
        for row in store.read_rows(files.answers):
            if row["number"] == 0 and (place := (prompt := prompt_from_row(row["prompt"])).id) in prompts:
                yield row["who"], (run.seed, place), prompt, completion_from_row(row["completion"])


def alike(a: Completion, b: Completion) -> bool:
    return (a.text, a.finished) == (b.text, b.finished)


# Who judges ---------------------------------------------------------------------------------------------------------------


def _identity(umpire: Umpire, entrants: Sequence[Entrant]) -> str:
    """What makes two verdicts those of the same umpire."""
    row = umpire.part.row()
    parts = {"": umpire.part, **umpire.part.behind()}
    content = {
        "settings": row,
        "files": named_files(row),
        "bytes": {place: part.found.digest() for place, part in parts.items()},
        "base": _base(_lender(entrants)) if umpire.borrows else "",
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _lender(entrants: Sequence[Entrant]) -> Played:
    """Whose base an umpire reads with, in all duels, that has none of its own: the first by name."""
    return min(entrants, key=lambda one: one.name).runs[0]


def _base(run: Played) -> dict[str, Any]:
    """What tells its base from another: the bytes where they are known, else the name."""
    table = run.settings.get("model", {})
    known = store.read_summary(store.Folder(run.folder).train).get("base", "")
    named = {} if known else {name: table.get(name) for name in ("path", "use")}
    return {**named, "bytes": known, "quantize": table.get("quantize")}


def _seated(umpire: Umpire, entrants: Sequence[Entrant], tell: Tell) -> Comparing:
    """The umpire, ready to be asked; one that reads with a model and has none is lent a base."""
    made: Any = umpire.part.made
    if umpire.borrows:
        from alignzoo.lab.cast import Cast  # and with it torch, which no other report waits for
        from alignzoo.lab.folders import plan_in

        run = _lender(entrants)
        cast = Cast(plan_in(run.folder), store.Folder(run.folder), lambda stage, what: tell(f"duels: {stage} {what}"))
        made = cast.lent(made, "umpire")
    if not isinstance(made, Comparing):
        raise UmpireError(f"duels: {umpire.name} can be shown two answers, but not with the base of a run; tell its author")
    return made


def _cautions(umpire: Umpire, entrants: Sequence[Entrant], parties: Sequence[Party], steady: Orders) -> Iterator[str]:
    """What a reader must know of this umpire."""
    if steady.biased.mean > steady.consistent.mean:
        by_place, by_answer = steady.biased.mean, steady.consistent.mean
        yield (
            f"{umpire.name} decides the duels by the place more often than by the answer ({by_place:.0%} of pairs against "
            f"{by_answer:.0%}): little can be said by them"
        )
    for one in entrants:
        if taught := list(dict.fromkeys(_taught(one.runs[0].settings, umpire.row()))):
            yield (
                f"{one.name} learned from {' and '.join(taught)}, and {umpire.name} decides the duels: it may please its "
                "teacher rather than be better"
            )
    if umpire.borrows and len({json.dumps(_base(run), sort_keys=True) for one in entrants for run in one.runs}) > 1:
        lender = _lender(entrants).folder
        yield f"contestants have other bases; where {umpire.name} reads with one of them, it is that of {lender}"
    if parties[-1].name != START:
        yield "they did not begin with the same start: it is in no duel"


def _taught(settings: Mapping[str, Any], umpire: Mapping[str, Any]) -> Iterator[str]:
    """What of a run, its judge aside, is this umpire, or is of its plugin and hires a judge under the same setting."""
    tables = {name for name, value in umpire.items() if isinstance(value, Mapping)}

    def within(part: Any) -> Iterator[str]:
        if isinstance(part, Mapping):
            used = str(part.get("use", ""))
            hires = _plugin(used) == _plugin(umpire["use"]) and any(isinstance(part.get(name), Mapping) for name in tables)
            if used and (used == umpire["use"] or hires):
                yield used
            part = list(part.values())
        if isinstance(part, list):
            for below in part:
                yield from within(below)

    yield from within({name: part for name, part in settings.items() if name not in ("judge", "made_with")})


def _plugin(name: str) -> str:
    return name.partition(":")[2].partition("/")[0]
