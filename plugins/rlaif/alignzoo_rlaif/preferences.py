"""Preferences of a judge under a constitution: the other half of Constitutional AI (Bai et al. 2022, section 4), and the labels
of RLAIF (Lee et al. 2023, https://arxiv.org/abs/2309.00267).

    x → y₁, y₂ ~ π(·|x)      p = P(y₁ is better | a principle), the mean of both orders      strength = max(p, 1 − p)

Each pair is judged under one principle, drawn by weight, or by all of them, whose probabilities are averaged. The labels are
soft. A judge whose verdict goes with the place and not with the reply has no opinion: that is a tie, and it is counted.

Left out: mixing with people's comparisons of helpfulness (section 4.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from random import Random
from statistics import fmean
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge

from alignzoo.interfaces import Asking, Count
from alignzoo.model.meter import Meter
from alignzoo.model.role import Role
from alignzoo.records import Comparison, Completion, Feedback, Prompt, Provenance
from alignzoo_rlaif.constitution import Constitution, Principle, drawn, read_constitution
from alignzoo_rlaif.critique_revision import AT_ONCE, FRUITLESS, CollectError, bare
from alignzoo_rlaif.hiring import Hired
from alignzoo_rlaif.judging import Case, Judge, Verdict
from alignzoo_rlaif.measures import Judged, lines
from alignzoo_rlaif.rounds import stream

SOURCE = "ai-preferences"


@dataclass(frozen=True)
class Opinion:
    """What a judge makes of two replies under one principle or several."""

    case: Case
    principles: tuple[Principle, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def whole(self) -> Verdict:
        """The principles' verdicts as one, order by order: the mean by their weights."""
        weights = [principle.weight for principle in self.principles]
        first, second = (
            sum(w * said for w, said in zip(weights, order, strict=True)) / sum(weights)
            for order in ([v.shown_first for v in self.verdicts], [v.shown_second for v in self.verdicts])
        )
        return Verdict(first, second, unread=sum(verdict.unread for verdict in self.verdicts))


def opinions(judge: Judge, cases: Sequence[Case], principles: Sequence[Sequence[Principle]]) -> list[Opinion]:
    """Each case under its principles; each question is asked once about all cases that it is for."""
    asked = [(place, principle) for place, own in enumerate(principles) for principle in own]
    said: dict[tuple[int, str], Verdict] = {}
    for question in dict.fromkeys(principle.comparison for _, principle in asked):
        places = [place for place, principle in asked if principle.comparison == question]
        verdicts = judge.compare([cases[place] for place in places], question)
        said |= {(place, question): verdict for place, verdict in zip(places, verdicts, strict=True)}
    return [
        Opinion(case, tuple(own), tuple(said[place, principle.comparison] for principle in own))
        for place, (case, own) in enumerate(zip(cases, principles, strict=True))
    ]


@dataclass(frozen=True)
class AIPreferences:
    """A judge's preferences among the policy's answers, under a constitution."""

    gives: ClassVar[tuple[str, ...]] = ("comparison",)
    asks: ClassVar[tuple[str, ...]] = ("prompts", "policy")

    constitution: str
    """The file of principles."""
    principles: tuple[str, ...] = ()
    """The ids of those that are used; all if empty."""
    under: Literal["drawn", "ensemble"] = "drawn"
    """Judge each pair under one principle, drawn by weight, or under all of them."""
    judge: Hired = field(default_factory=Hired)
    """Who judges, and how it is asked."""
    labels: Literal["soft", "hard"] = "soft"
    """Strength by the judge's probability, or 1 for whichever it finds the likelier."""
    ties: Literal["keep", "drop"] = "keep"
    """Verdicts that contradict each other, or say one half: a tie (strength ½), or no record. They are counted either way."""
    count: Count = 600
    """How many records to collect."""
    answers: Annotated[int, Ge(2)] = 2
    """How many answers are drawn for each prompt in a pass; they are judged two by two."""

    def __post_init__(self) -> None:
        self.rules.serving("comparison")

    @cached_property
    def rules(self) -> Constitution:
        """The constitution, read when the source is made: before any model is loaded."""
        return read_constitution(self.constitution).only(self.principles)

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """Yield `count` records, going over the prompts as often as it takes, with answers of their own in each pass."""
        if not asking.prompts or asking.policy is None:
            raise CollectError("a judge's preferences need prompts and a policy that answers them; name a task: [task]")
        reader = bare(asking.policy, "judge")
        judge = self.judge.judge(reader if isinstance(reader, Role) else None)
        spent = Spent(reader.base.meter if isinstance(reader, Role) else Meter())
        given, fruitless, turn = 0, 0, 0
        while given < self.count and fruitless < FRUITLESS:
            before = given
            for record in self._one_pass(asking, judge, turn, spent):
                yield record
                given += 1
                if given == self.count:
                    break
            turn, fruitless = turn + 1, fruitless + 1 if given == before else 0
        if given < self.count:
            raise CollectError(
                f"{given} of {self.count} records, and no more to be had: the answers to a prompt are all the same or cut, or "
                "the judge finds them all alike; sample at a higher temperature or longer, or draw more answers\n"
                + "\n".join(asking.tally.lines())
            )
        asking.tally.say(spent.told(given))
        for line in lines(spent.judged):
            asking.tally.say(f"judge, {line}")

    def _one_pass(self, asking: Asking, judge: Judge, turn: int, spent: Spent) -> Iterator[Feedback]:
        assert asking.policy is not None
        prompts = list(asking.prompts)
        Random(f"{asking.seed}/order/{turn}").shuffle(prompts)
        manner = replace(asking.manner, seed=stream(asking.seed, asking.manner.seed, turn))
        for start in range(0, len(prompts), AT_ONCE):
            some = prompts[start : start + AT_ONCE]
            groups = asking.policy.sample(some, self.answers, manner)
            cases = [case for x, group in zip(some, groups, strict=True) for case in self._cases(asking, x, group)]
            dice = Random(f"{asking.seed}/principles/{turn}/{start}")
            known = self.rules.serving("comparison")
            principles = [known if self.under == "ensemble" else (drawn(known, dice),) for _ in cases]
            before = (spent.meter.read, spent.meter.written)
            told = opinions(judge, cases, principles)
            spent.add(told, before)
            for opinion in told:
                yield from self._record(asking, opinion)

    def _cases(self, asking: Asking, prompt: Prompt, group: Sequence[Completion]) -> Iterator[Case]:
        """The answers two by two; who is shown as the first of them goes by their number, which says nothing."""
        for first, second in zip(group[::2], group[1::2], strict=False):
            if not (first.finished and second.finished):
                asking.tally.notice("pairs not judged: an answer was cut", f"prompt {prompt.id}")
            elif first.text == second.text:
                asking.tally.notice("pairs not judged: both answers are the same", f"prompt {prompt.id}")
            else:
                yield Case(prompt, replace(first, logps=()), replace(second, logps=()))

    def _record(self, asking: Asking, opinion: Opinion) -> Iterator[Comparison]:
        """The label, with the likelier side as chosen; an account of it either way."""
        tally, case, whole = asking.tally, opinion.case, opinion.whole
        chance = whole.label
        tally.read += 1
        if whole.unread:
            tally.notice("a verdict could not be read, and counts as one half", f"prompt {case.prompt.id}", whole.unread)
        if chance == 0.5:
            reason = "ties: the judge contradicts itself across orders" if whole.contradictory else "ties: one half"
            if self.ties == "drop":
                return tally.put_aside(reason, f"prompt {case.prompt.id}")
            tally.notice(reason, f"prompt {case.prompt.id}")
        tally.kept += 1
        better, worse = (case.first, case.second) if chance >= 0.5 else (case.second, case.first)
        strength = max(chance, 1 - chance)
        if self.labels == "hard" and chance != 0.5:
            strength = 1.0
        ids = ", ".join(principle.id for principle in opinion.principles)
        note = f"principle {ids}; constitution {self.rules.label}; orders {whole.shown_first:.3f} {whole.shown_second:.3f}"
        yield Comparison(case.prompt, better, worse, strength, Provenance(SOURCE, f"judge {self.judge.which}", note=note))


@dataclass
class Spent:
    """What the labels have cost."""

    meter: Meter
    pairs: int = 0
    verdicts: int = 0
    agreed: list[float] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    read: int = 0
    written: int = 0

    def add(self, told: Sequence[Opinion], before: tuple[int, int]) -> None:
        """Opinions, and what the base's meter said before they were asked for."""
        self.pairs += len(told)
        self.verdicts += sum(len(opinion.verdicts) for opinion in told)
        self.judged += [Judged(opinion.case, opinion.whole) for opinion in told]
        self.agreed += [float(not opinion.whole.contradictory) for opinion in told]
        self.read += self.meter.read - before[0]
        self.written += self.meter.written - before[1]

    def told(self, labels: int) -> str:
        tokens = f", {self.read:,} tokens read and {self.written:,} written by the base" if self.read else ""
        return (
            f"{labels:,} labels cost {self.verdicts:,} verdicts on {self.pairs:,} pairs{tokens}; the orders do not contradict "
            f"each other in {fmean(self.agreed):.1%} of the pairs"
        )
