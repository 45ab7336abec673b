"""People and a judge together: a filter behind a source of people's comparisons. It takes a person's word for some pairs
and the judge's for the rest, at no more than a stated cost. A person's label that is not taken is not paid, and not used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval

from alignzoo.interfaces import Asking, Share
from alignzoo.model.role import Role
from alignzoo.records import Comparison, Feedback, Provenance, oriented
from alignzoo_rlaif.critique_revision import bare
from alignzoo_rlaif.form import drawn
from alignzoo_rlaif.hiring import Hired
from alignzoo_rlaif.judging import Case, Judge, JudgeError, Verdict

SOURCE = "hybrid"
_AT_ONCE = 64


@dataclass
class Bill:
    """What has been paid, and to whom."""

    most: float | None
    paid: float = 0.0
    persons: int = 0
    verdicts: int = 0

    def pay(self, price: float) -> bool:
        """Whether it can be paid; and if so, it is."""
        if self.most is not None and self.paid + price > self.most + 1e-9:
            return False
        self.paid += price
        return True


@dataclass(frozen=True)
class Hybrid:
    """Mixes people's comparisons with a judge's verdicts on the same pairs."""

    judge: Hired = Hired()
    """Who judges, and how it is asked."""
    question: str = "Which reply is better?"
    """What the judge is asked."""
    by: Literal["unsure", "contradiction", "share"] = "unsure"
    """Ask the judge first and a person where it is unsure, or where its orders contradict each other; or draw who is asked."""
    unsure: Annotated[float, Interval(ge=0, le=0.5)] = 0.2
    """A judge whose probability is so near to one half, or nearer, is unsure."""
    share: Share = 0.5
    """By share: of how many pairs a person is asked."""
    person: Annotated[float, Ge(0)] = 1.0
    """What a person's label costs."""
    verdict: Annotated[float, Ge(0)] = 0.01
    """What a verdict costs, both orders together."""
    most: Annotated[float, Gt(0)] | None = None
    """What all of it may cost. Where a person cannot be paid any more, the judge's word stands; where it cannot, either, that
    is the end."""

    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        """Each pair with a person's label or the judge's; the provenance says whose it is."""
        reader = bare(asking.policy, "judge") if asking.policy is not None else None
        judge = self.judge.judge(reader if isinstance(reader, Role) else None)
        bill, pairs = Bill(self.most), map(_pair, records)
        while some := list(islice(pairs, _AT_ONCE)):
            for label in self._labels(judge, some, bill, asking):
                if label is None:
                    asking.tally.sift(f"{SOURCE}: the cost would pass {self.most}")
                else:
                    yield label
        asking.tally.say(
            f"{SOURCE}: {bill.persons} labels of people, {bill.verdicts} verdicts asked for, together {bill.paid:.4g}"
        )

    def _labels(self, judge: Judge, pairs: Sequence[Comparison], bill: Bill, asking: Asking) -> Iterator[Comparison | None]:
        whole = [self.by == "share" and self._drawn(pair, asking.seed) and bill.pay(self.person) for pair in pairs]
        asked = [i for i, person in enumerate(whole) if not person and bill.pay(self.verdict)]
        cases = {i: _case(pairs[i], asking.seed) for i in asked}
        verdicts = dict(zip(asked, judge.compare([*cases.values()], self.question) if cases else (), strict=True))
        bill.verdicts += len(asked)
        for i, pair in enumerate(pairs):
            verdict = verdicts.get(i)
            if whole[i] or (verdict is not None and self._doubtful(verdict) and bill.pay(self.person)):
                bill.persons += 1
                yield pair
            else:
                yield None if verdict is None else self._judged(cases[i], verdict, pair.provenance)

    def _drawn(self, pair: Comparison, seed: int) -> bool:
        return drawn(seed, "person", pair.prompt.id, *sorted((pair.chosen.text, pair.rejected.text))) / 2**64 < self.share

    def _doubtful(self, verdict: Verdict) -> bool:
        if self.by == "unsure":
            return verdict.contradictory or abs(verdict.label - 0.5) <= self.unsure
        return self.by == "contradiction" and verdict.contradictory

    def _judged(self, case: Case, verdict: Verdict, person: Provenance) -> Comparison:
        note = f"orders {verdict.shown_first:.3f} {verdict.shown_second:.3f}; the pair is of {person.source}"
        whose = Provenance(SOURCE, f"judge {self.judge.which}", split=person.split, licence=person.licence, note=note)
        return oriented(Comparison(case.prompt, case.first, case.second, verdict.label, whose))


def _pair(record: Feedback) -> Comparison:
    if not isinstance(record, Comparison):
        raise JudgeError(
            f"{SOURCE}: people and a judge are mixed pair by pair; this source gives a {type(record).__name__.lower()}"
        )
    return record


def _case(pair: Comparison, seed: int) -> Case:
    """The judge does not learn from the place which reply the person chose."""
    turned = drawn(seed, "place", pair.prompt.id, *sorted((pair.chosen.text, pair.rejected.text))) % 2
    one, other = sorted((pair.chosen, pair.rejected), key=lambda done: done.text)
    return Case(pair.prompt, *((other, one) if turned else (one, other)))
