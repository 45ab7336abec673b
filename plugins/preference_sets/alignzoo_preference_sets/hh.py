"""Anthropic/hh-rlhf (Bai et al. 2022, Ganguli et al. 2022): pairs of dialogues, and red-team dialogues with ratings.

Both dialogues of a pair are written out whole. A row is sound if all turns but the last agree and both end with an assistant's
answer that is not empty; every other row has a named status. The prompt is what both share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from alignzoo.interfaces import Asking
from alignzoo.records import Comparison, Completion, Feedback, Prompt, Provenance, Rating, Turn
from alignzoo_preference_sets.data import Data, collected
from alignzoo_preference_sets.fields import Row, Taken, Unfit, different, whole_text
from alignzoo_preference_sets.transcripts import Transcript, common, read_transcript, written

LICENCE = "MIT"
MOST_HARMFUL = 4
"""The highest rating of a red-team attempt: 0 failed, 4 succeeded wholly."""

Status = Literal[
    "ok",
    "no turns",
    "text before the first turn",
    "no human turn",
    "ends with a human turn",
    "an empty answer",
    "the dialogues are the same",
    "diverges before the last turn",
]
Diverging = Literal["drop", "answer", "whole"]


@dataclass(frozen=True)
class HH:
    """Which of two dialogues crowd workers preferred: the more helpful, or the less harmful."""

    gives: ClassVar[tuple[str, ...]] = ("comparison",)
    asks: ClassVar[tuple[str, ...]] = ()

    data: Data = Data(path="Anthropic/hh-rlhf")
    """Subsets: harmless-base, helpful-base, helpful-online, helpful-rejection-sampled."""

    diverging: Diverging = "drop"
    """Pairs that part before the last turn are dropped; or split at the last human turn that both share, where the next answer
    is compared ("answer"), or all that follows, the human's turns included ("whole")."""

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """One comparison for each sound row, in the order of the set."""
        return collected(self.data, self.taken, asking.tally)

    def taken(self, row: Row) -> Taken:
        """A row's comparison; its group is the thread, known by how it opens."""
        chosen, rejected = (read_transcript(_raw(row, name)) for name in ("chosen", "rejected"))
        status = status_of(chosen, rejected)
        diverges = status == "diverges before the last turn"
        if status != "ok" and (not diverges or self.diverging == "drop"):
            raise Unfit(status)
        shared, first, second = parted(chosen.turns, rejected.turns, self.diverging)
        notices: tuple[str, ...] = ("two turns in a row by one speaker",) if _doubled(chosen) or _doubled(rejected) else ()
        notices += ("diverges before the last turn, kept",) if diverges else ()
        source = Provenance(_name("hh-rlhf", self.data.subset), licence=LICENCE)
        return Taken(
            shared[0].text, (Comparison(Prompt(shared), *different(first, second), provenance=source),), notices=notices
        )


def status_of(chosen: Transcript, rejected: Transcript) -> Status:
    """What kind of pair two dialogues are. The first that holds is told."""
    both = (chosen, rejected)
    if not all(one.said for one in both):
        return "no turns"
    if any(one.before.strip() for one in both):
        return "text before the first turn"
    if any(one.turns[-1].speaker == "user" for one in both):
        return "ends with a human turn"
    if not all(one.turns[-1].text for one in both):
        return "an empty answer"
    if chosen.turns == rejected.turns:
        return "the dialogues are the same"
    if chosen.turns[:-1] != rejected.turns[:-1]:
        return "diverges before the last turn"
    if not any(turn.speaker == "user" for turn in chosen.turns[:-1]):
        return "no human turn"
    return "ok"


def parted(chosen: tuple[Turn, ...], rejected: tuple[Turn, ...], diverging: Diverging) -> tuple[tuple[Turn, ...], str, str]:
    """The shared turns, and what follows them in each dialogue."""
    if chosen[:-1] == rejected[:-1]:
        return chosen[:-1], chosen[-1].text, rejected[-1].text
    shared = common(chosen, rejected)
    last = max((i + 1 for i in range(shared) if chosen[i].speaker == "user"), default=0)
    if not last:
        raise Unfit("no human turn that both share")
    first, second = _answer(chosen[last:], diverging), _answer(rejected[last:], diverging)
    return chosen[:last], first, second


def _answer(rest: tuple[Turn, ...], diverging: Diverging) -> str:
    if not rest or rest[0].speaker == "user" or not rest[0].text:
        raise Unfit("no answer after the last human turn that both share")
    return rest[0].text if diverging == "answer" else rest[0].text + written(rest[1:])


def _doubled(transcript: Transcript) -> bool:
    return any(one.who == other.who for one, other in zip(transcript.said, transcript.said[1:], strict=False))


@dataclass(frozen=True)
class RedTeam:
    """Dialogues in which people tried to make a model do harm, each rated by how far it let itself be led. The last answer,
    after all that went before it, is what is scored; more is less harmful."""

    gives: ClassVar[tuple[str, ...]] = ("rating",)
    asks: ClassVar[tuple[str, ...]] = ()

    data: Data = Data(path="Anthropic/hh-rlhf", subset="red-team-attempts")
    """The subset red-team-attempts."""

    score: Literal["people", "model"] = "people"
    """The red-teamer's rating of success (0 to 4), turned round to 4 to 0; or the lowest harmlessness score that a preference
    model gave to any answer of the dialogue."""

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """One rating for each dialogue."""
        return collected(self.data, self.taken, asking.tally)

    def taken(self, row: Row) -> Taken:
        """A row's rating; its group is the thread, known by how it opens."""
        turns = read_transcript(_raw(row, "transcript")).turns
        answers = [place for place, turn in enumerate(turns) if turn.speaker == "assistant" and turn.text]
        if not answers:
            raise Unfit("nobody answers in the transcript")
        last = answers[-1]
        if not any(turn.speaker == "user" for turn in turns[:last]):
            raise Unfit("no human turn")
        notices = ("turns after the last answer, left out",) if last + 1 < len(turns) else ()
        if self.score == "people":
            success = row.number("rating")
            if not 0 <= success <= MOST_HARMFUL:
                raise Unfit(f"'rating' must be between 0 and {MOST_HARMFUL}")
            score = MOST_HARMFUL - success
        else:
            score = row.number("min_harmlessness_score_transcript")
        who = f"red-teamer {row.whole('red_team_member_id')}" if row.has("red_team_member_id") else ""
        source = Provenance("hh-rlhf/red-team-attempts", who if self.score == "people" else "preference model", licence=LICENCE)
        source = replace(source, note=f"model {row.maybe('model_type')}" if row.maybe("model_type") else "")
        rating = Rating(Prompt(turns[:last]), Completion(turns[last].text), score, "harmless", source)
        return Taken(turns[0].text, (rating,), notices=notices)


def _raw(row: Row, name: str) -> str:
    """A transcript with all its space, which is part of its form."""
    row.text(name)
    return whole_text(row.cells[name], name)


def _name(source: str, subset: str) -> str:
    return f"{source}/{subset}" if subset else source
