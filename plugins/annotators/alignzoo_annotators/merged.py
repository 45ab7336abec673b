"""Repeated judgements of the same two answers become one, whose strength says how sure people, or the best of them, are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge

from alignzoo.interfaces import Asking, Count
from alignzoo.records import Comparison, Feedback, Provenance, oriented
from alignzoo.who import Who, WhoError
from alignzoo_annotators.agreement import Numbers
from alignzoo_annotators.crowd_bt import Choices, Worth, crowd_bt
from alignzoo_annotators.dawid_skene import Reliability, dawid_skene
from alignzoo_annotators.sheet import SIDES, Sheet, answer_name, item_name, judgements_in

Chances = Mapping[str, float]
"""By item: how likely the first of its two answers is the better one."""


@dataclass(frozen=True)
class Merged:
    """Makes one comparison of all that were made between the same two answers to a prompt. Comparisons are held in memory;
    other records pass as they are."""

    by: Literal["majority", "votes", "dawid-skene", "crowd-bt"] = "majority"
    """"majority": sure of what most chose, ½ where as many chose either. "votes": the share of the votes, a tie being half a
    vote each way. "dawid-skene" and "crowd-bt": how likely it is the better one, by those who can be relied on."""
    least: Count = 1
    """Judgements that two answers must have; with fewer they are held back."""
    ties: Literal["keep", "drop"] = "keep"
    """What becomes of pairs that come out at one half."""
    groups: Literal["together", "alike"] = "together"
    """For "majority" and "votes": each judgement is a vote, or each group has one vote, however many of it judged."""
    who: Who = Who()
    """How groups are told."""
    smoothing: Annotated[float, Ge(0)] = 0.5
    """For "dawid-skene": judgements of each kind that everybody is thought to have given before. Without any, whoever judged a
    few pairs as others did is infallible."""

    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        """One comparison in the place of the first of its judgements."""
        kept = list(records)
        told: dict[str, list[Comparison]] = {}
        for pair in kept:
            if isinstance(pair, Comparison):
                told.setdefault(item_name(pair), []).append(pair)
        chances = self.chances([pair for pairs in told.values() for pair in pairs])
        outcomes: Counter[str] = Counter()
        seen = set[str]()
        for record in kept:
            if not isinstance(record, Comparison):
                yield record
            elif (item := item_name(record)) in seen:
                asking.tally.sift("merged with an earlier judgement of the same answers", record.prompt.id)
            else:
                seen.add(item)
                merged = one_of(told[item], chances[item], self.by)
                outcome = self.outcome(told[item], merged)
                outcomes[outcome] += 1
                if outcome == "too few judgements" or (merged.tie and self.ties == "drop"):
                    asking.tally.sift(f"merged: {outcome}", record.prompt.id)
                else:
                    yield merged
        if told:
            asking.tally.say(self.sentence(told, outcomes))

    def chances(self, pairs: Sequence[Comparison]) -> Chances:
        """What all of these come to."""
        if not pairs:
            return {}
        if self.by in ("dawid-skene", "crowd-bt"):
            if nameless := sum(not pair.provenance.annotator for pair in pairs):
                raise WhoError(
                    f'merging by "{self.by}" needs to know who judged, and {nameless} of {len(pairs)} comparisons name no '
                    'annotator; name the column of the annotator, or merge by "votes"'
                )
            sheet = Sheet.of(list(judgements_in(pairs, self.who)))
            return by_dawid_skene(sheet, self.smoothing)[0] if self.by == "dawid-skene" else by_crowd_bt(sheet)[0]
        share = self.votes(pairs, "sure" if self.by == "majority" else "soft")
        return {item: (float(np.sign(p - 0.5)) + 1) / 2 for item, p in share.items()} if self.by == "majority" else share

    def votes(self, pairs: Sequence[Comparison], each: Literal["sure", "soft"]) -> Chances:
        """The share of the votes for the first answer, each for one side or by its strength."""
        cast: dict[str, dict[str, list[float]]] = {}
        for number, pair in enumerate(pairs):
            party = self.who.group(pair.provenance) if self.groups == "alike" else ""
            vote = pair.strength if each == "soft" else (float(np.sign(pair.strength - 0.5)) + 1) / 2
            vote = vote if _first_is_chosen(pair) else 1 - vote
            party = party or (f"{number}" if self.groups == "alike" else "")  # nobody's group is nobody else's
            cast.setdefault(item_name(pair), {}).setdefault(party, []).append(vote)
        return {item: round(fmean(map(fmean, parties.values())), 12) for item, parties in cast.items()}

    def outcome(self, pairs: Sequence[Comparison], merged: Comparison) -> str:
        if len(pairs) < self.least:
            return "too few judgements"
        if merged.tie:
            return "tied"
        sides = {answer_name(pair.prompt, oriented(pair).chosen) if not pair.tie else "" for pair in pairs}
        return "of one mind" if len(sides) == 1 else "not of one mind"

    def sentence(self, told: Mapping[str, Sequence[Comparison]], outcomes: Counter[str]) -> str:
        judged = [pair for pairs in told.values() for pair in pairs]
        people = {(pair.provenance.source, pair.provenance.annotator) for pair in judged}
        fates = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
        return f"merged by {self.by}: {len(judged)} judgements of {len(told)} pairs by {len(people)} annotators; {fates}"


def by_dawid_skene(sheet: Sheet, smoothing: float) -> tuple[Chances, Reliability]:
    """P(first is better) + ½ P(tie). Every pair is laid out both ways round, so that the habits of an annotator do not hang
    on which answer is called the first."""
    both = sheet.both_ways()
    found = dawid_skene(both.items, both.annotators, both.labels, len(SIDES), smoothing=smoothing)
    return dict(zip(sheet.names, (found.posterior[: len(sheet.names)] @ np.array(SIDES)).tolist(), strict=True)), found


def by_crowd_bt(sheet: Sheet) -> tuple[Chances, Worth]:
    """σ(s_first − s_second)."""
    names = [name.split("/") for name in sheet.names]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(name for pair in names for name in pair))}
    sides = np.array([[numbers[name] for name in pair] for pair in names])
    of_item = sides[sheet.items]
    said: Numbers = np.asarray(sheet.values)[sheet.labels]
    worth = crowd_bt(Choices.of(of_item[:, 0], of_item[:, 1], sheet.annotators, said))
    ahead = worth.answers[sides[:, 0]] - worth.answers[sides[:, 1]]
    return dict(zip(sheet.names, (1 / (1 + np.exp(-ahead))).tolist(), strict=True)), worth


def one_of(pairs: Sequence[Comparison], first: float, by: str) -> Comparison:
    """All of these as one, by how likely the first answer is the better one."""
    strength = first if _first_is_chosen(pairs[0]) else 1 - first
    whole = oriented(replace(pairs[0], strength=min(1.0, max(0.0, strength))))
    if len(pairs) == 1:
        return whole
    told = [pair.provenance for pair in pairs]
    votes = Counter(_vote(pair, whole) for pair in pairs)
    note = f"merged by {by}: {votes[1.0]} for, {votes[0.5]} tied, {votes[0.0]} against"
    whose = f"{len({one.annotator for one in told})} annotators"
    return replace(
        whole,
        provenance=Provenance(
            _all(one.source for one in told),
            whose,
            licence=_all(one.licence for one in told),
            split=_all(one.split for one in told),
            note=note,
        ),
    )


def _vote(pair: Comparison, whole: Comparison) -> float:
    return 0.5 if pair.tie else float(oriented(pair).chosen.text == whole.chosen.text)


def _all(words: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(filter(None, words)))


def _first_is_chosen(pair: Comparison) -> bool:
    return item_name(pair).startswith(answer_name(pair.prompt, pair.chosen))
