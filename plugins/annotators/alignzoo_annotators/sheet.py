"""Judgements out of records, and laid out in columns: who said what of which item.

A pair of answers has no first side by nature. Whoever calls one of them A makes the share of A's, and with it what counts as
agreement by chance, a matter of that choice; so pairs are laid out both ways round (`Sheet.both_ways`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from alignzoo.records import Comparison, Completion, Feedback, Prompt, Provenance, Ranking, Rating
from alignzoo.who import Who
from alignzoo_annotators.agreement import Numbers
from alignzoo_annotators.dawid_skene import Places

SIDES = (0.0, 0.5, 1.0)
"""The other answer, a tie, this one: what can be said of a pair."""
FINEST = 100
"""Different scores that are told apart; finer ones are rounded to so many steps."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one annotator said of one item: of two answers (`value` is 1, ½ or 0, that the first is better), or of one (its
    score, and `on` what the score is of)."""

    item: str
    prompt: str
    annotator: str
    group: str
    value: float
    on: str = ""
    chose_first: bool | None = None
    """Whether the answer that was shown first was chosen."""
    chose_longer: bool | None = None
    """Whether the answer with more words was chosen."""


def judgements_in(records: Iterable[Feedback], who: Who) -> Iterator[Judgement]:
    """Everything that was said of pairs (rankings are all their pairs, ties among them) and of single answers."""
    for record in records:
        match record:
            case Comparison():
                yield _choice(record, who)
            case Ranking():
                places = zip(record.completions, record.ranks, strict=True)
                for (better, high), (worse, low) in combinations(places, 2):
                    strength = 1.0 if high < low else 0.5
                    yield _choice(Comparison(record.prompt, better, worse, strength, record.provenance), who)
            case Rating():
                yield _score(record, who)
            case _:
                pass


def _choice(pair: Comparison, who: Who) -> Judgement:
    told = pair.provenance
    chosen, rejected = answer_name(pair.prompt, pair.chosen), answer_name(pair.prompt, pair.rejected)
    value = 0.5 if pair.tie else float(pair.strength > 0.5)
    longer = None
    if not pair.tie and (more := len(pair.chosen.text.split()) - len(pair.rejected.text.split())):
        longer = (more > 0) == (value == 1)
    return Judgement(
        item="/".join(sorted((chosen, rejected))),
        prompt=pair.prompt.id,
        annotator=_person(told),
        group=who.group(told),
        value=value if chosen <= rejected else 1 - value,  # of the answer that the item names first
        chose_first=None if pair.tie else who.chose_first(told),
        chose_longer=longer,
    )


def _score(rating: Rating, who: Who) -> Judgement:
    told, on = rating.provenance, rating.value or "score"
    item = f"{answer_name(rating.prompt, rating.completion)}/{on}"
    return Judgement(item, rating.prompt.id, _person(told), who.group(told), rating.score, on)


def answer_name(prompt: Prompt, answer: Completion) -> str:
    """The same for the same text after the same prompt."""
    return hashlib.blake2b(f"{prompt.id}\x00{answer.text}".encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()


def item_name(pair: Comparison) -> str:
    """The same for the same two answers, whichever way round."""
    return "/".join(sorted(answer_name(pair.prompt, answer) for answer in (pair.chosen, pair.rejected)))


def _person(told: Provenance) -> str:
    """People of two sources are not the same, whatever they are called; nobody is nobody."""
    return f"{told.source}\x00{told.annotator}" if told.annotator else ""


def plain_names(judgements: Sequence[Judgement]) -> list[Judgement]:
    """The annotators without their source, where no name stands for people of two sources; those without a name left out."""
    people = {one.annotator for one in judgements if one.annotator}
    doubled = {name for name, count in Counter(person.partition("\x00")[2] for person in people).items() if count > 1}
    shown = {
        person: name if name not in doubled else f"{name} ({source})"
        for person in people
        for source, _, name in [person.partition("\x00")]
    }
    return [replace(one, annotator=shown[one.annotator]) for one in judgements if one.annotator]


@dataclass(frozen=True)
class Sheet:
    """Judgements in columns, one entry each: the number of the item, of the annotator, and of what was said."""

    items: Places
    annotators: Places
    labels: Places
    values: tuple[float, ...]
    """What the labels stand for, in rising order."""
    people: tuple[str, ...]
    names: tuple[str, ...]
    """Of the items."""
    prompts: Places
    """The number of each item's prompt."""

    @classmethod
    def of(cls, judgements: Sequence[Judgement], values: Sequence[float] = SIDES) -> Sheet:
        """A judgement that is none of the values counts as the nearest of them."""
        people, names = sorted({one.annotator for one in judgements}), list(dict.fromkeys(one.item for one in judgements))
        places, persons = _numbered(names), _numbered(people)
        prompts = _numbered(list(dict.fromkeys(one.prompt for one in judgements)))
        of_item = {one.item: prompts[one.prompt] for one in judgements}
        known = np.asarray(values, float)
        return cls(
            items=np.array([places[one.item] for one in judgements], np.intp),
            annotators=np.array([persons[one.annotator] for one in judgements], np.intp),
            labels=np.array([int(np.abs(known - one.value).argmin()) for one in judgements], np.intp),
            values=tuple(map(float, values)),
            people=tuple(people),
            names=tuple(names),
            prompts=np.array([of_item[name] for name in names], np.intp),
        )

    def both_ways(self) -> Sheet:
        """Every item, and behind all of them every item turned round."""
        return replace(
            self,
            items=np.concatenate([self.items, self.items + len(self.names)]),
            annotators=np.tile(self.annotators, 2),
            labels=np.concatenate([self.labels, len(self.values) - 1 - self.labels]),
            names=self.names * 2,
            prompts=np.tile(self.prompts, 2),
        )

    def counts(self) -> Numbers:
        """(items, values): how many said so."""
        table = np.zeros((len(self.names), len(self.values)))
        np.add.at(table, (self.items, self.labels), 1.0)
        return table


def once_each(judgements: Sequence[Judgement]) -> list[Judgement]:
    """What everybody said first of each item: nobody agrees with himself."""
    return list({(one.annotator, one.item): one for one in reversed(judgements)}.values())[::-1]


def scale_of(judgements: Sequence[Judgement]) -> tuple[float, ...]:
    """The scores that were given, in rising order; so many even steps where there are more."""
    given = sorted({one.value for one in judgements})
    if len(given) <= FINEST:
        return tuple(given)
    return tuple(map(float, np.linspace(given[0], given[-1], FINEST)))


def _numbered(names: Sequence[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}
