"""Preferences from votes by the argument of visibility (Ethayarajh et al. 2022, SHP).

What was written earlier has been seen by more people, so a higher score of the earlier of two comments may be due to
exposure alone. A later comment that is ahead all the same cannot owe it to that: readers preferred it.

Pure functions; nothing here knows of Reddit. The card of SHP says in one bullet that the preferred comment was written "no
later than" the other. Its own summary, its field `seconds_difference` and its rows say the opposite, and so does the
argument: preferred is what is *not earlier*.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Annotated, NamedTuple

from annotated_types import Ge, Interval

from alignzoo.interfaces import Count

Place = tuple[int, int]
"""Where a row was read: the number of its file, and the line or item in it."""


class Post(NamedTuple):
    """What was asked. None stands for what the row does not say. No name of a user is in here: `author` is a hash with a
    key that is forgotten at the end of the run."""

    key: int
    id: str
    place: Place
    retrieved: int = 0
    fault: str = ""
    """The rule that it breaks by itself, or empty."""
    unknown: tuple[str, ...] = ()
    """The rules that it says too little for."""
    created: int | None = None
    score: int | None = None
    title: str = ""
    text: str = ""
    community: str = ""
    author: bytes | None = None
    deleted: bool = False
    author_deleted: bool | None = None
    self_post: bool | None = None
    over_18: bool | None = None
    edited: bool | None = None
    moderator: bool | None = None
    upvote_ratio: float | None = None
    accepted: str = ""
    licence: str = ""


class Comment(NamedTuple):
    """What was answered. `parent` is the id of the comment that it replies to, or empty."""

    key: int
    id: str
    place: Place
    retrieved: int = 0
    fault: str = ""
    unknown: tuple[str, ...] = ()
    created: int = 0
    score: int | None = None
    text: str = ""
    community: str = ""
    parent: str = ""
    author: bytes | None = None
    """Only where it is needed, to be compared with who asked."""
    deleted: bool = False
    author_deleted: bool | None = None
    moderator: bool | None = None
    submitter: bool | None = None
    """Whether it is by who asked, where the row says so."""
    stickied: bool | None = None
    hidden: bool | None = None
    edited: bool | None = None
    machine: bool = False
    """Whether it calls itself a bot, or is AutoModerator."""
    automoderator: bool = False
    age: int | None = None
    """Seconds between its writing and the reading of its score."""
    read_again: bool = True
    """False where the archive says that it never came back to read the score."""
    licence: str = ""


@dataclass(frozen=True)
class Pairing:
    """Which pairs of a post are worth learning from."""

    ratio: Annotated[float, Ge(1)] = 2.0
    """How many times the score of the lower one the higher one must have. 1 takes every pair; SHP's authors train above 2."""
    comments_per_post: Annotated[int, Interval(ge=2, le=1000)] = 50
    """The top comments by score that are compared; the rest of a long thread was hardly seen."""
    pairs_per_post: Count = 5
    """Pairs that one post may give, those with the highest ratio first."""


@dataclass(frozen=True, slots=True)
class Preference:
    """`chosen` is not earlier than `rejected`, and ahead of it."""

    chosen: Comment
    rejected: Comment

    @property
    def ratio(self) -> float:
        """How many times the score of the rejected one the chosen one has."""
        return ratio(self.chosen, self.rejected)

    @property
    def seconds(self) -> int:
        """How much later the preferred one was written."""
        return self.chosen.created - self.rejected.created


@dataclass
class Timing:
    """Who wins pairs of siblings with different scores: exposure shows as a surplus of earlier ones."""

    earlier: int = 0
    later: int = 0
    together: int = 0
    """Written in the same second: neither was seen longer."""

    def count(self, higher: Comment, lower: Comment) -> None:
        if higher.created < lower.created:
            self.earlier += 1
        elif higher.created > lower.created:
            self.later += 1
        else:
            self.together += 1

    def add(self, more: Timing) -> None:
        self.earlier += more.earlier
        self.later += more.later
        self.together += more.together

    def __str__(self) -> str:
        decided = self.earlier + self.later
        share = f" ({self.earlier / decided:.1%} earlier)" if decided else ""
        at_once = f", {self.together:,} written in the same second" if self.together else ""
        return f"the earlier comment is ahead in {self.earlier:,}, the later one in {self.later:,}{share}{at_once}"


@dataclass
class Counts:
    """What became of the pairs."""

    before: Timing = field(default_factory=Timing)
    """Of all siblings that are compared."""
    after: Timing = field(default_factory=Timing)
    """Of those that exposure cannot explain."""
    low_ratio: int = 0
    same_words: int = 0
    against_accepted: int = 0
    beyond_cap: int = 0
    given: int = 0

    def add(self, more: Counts) -> None:
        self.before.add(more.before)
        self.after.add(more.after)
        self.low_ratio += more.low_ratio
        self.same_words += more.same_words
        self.against_accepted += more.against_accepted
        self.beyond_cap += more.beyond_cap
        self.given += more.given

    def lines(self) -> list[str]:
        """For a reader."""
        lost = {
            "below the ratio": self.low_ratio,
            "of the same words": self.same_words,
            "against the accepted answer": self.against_accepted,
            "beyond what one post may give": self.beyond_cap,
        }
        left_out = ", ".join(f"{count:,} {why}" for why, count in lost.items() if count)
        return [
            f"of siblings with different scores, {self.before}",
            f"of those not earlier and ahead, {self.after}",
            f"{self.given:,} pairs given" + (f"; left out: {left_out}" if left_out else ""),
        ]


def score(comment: Comment) -> int:
    """The score of a comment that has one."""
    assert comment.score is not None
    return comment.score


def ratio(higher: Comment, lower: Comment) -> float:
    """One score over the other. Without bound where the lower one is not above 0."""
    return score(higher) / score(lower) if score(lower) > 0 else float("inf")


def top(comments: Iterable[Comment], count: int) -> list[Comment]:
    """Those with the highest scores, highest first; the order of equal ones is that of writing."""
    return sorted(comments, key=lambda comment: (-score(comment), comment.created, comment.id))[:count]


def ahead(ranked: Sequence[Comment]) -> Iterator[tuple[Comment, Comment]]:
    """The pairs (higher, lower) of comments in the order of `top` whose scores differ."""
    return ((high, low) for high, low in combinations(ranked, 2) if score(high) > score(low))


def visible(higher: Comment, lower: Comment) -> bool:
    """Whether exposure cannot explain the higher score: written later, or in the same second."""
    return higher.created >= lower.created


def preferences(comments: Iterable[Comment], pairing: Pairing, counts: Counts, accepted: str = "") -> list[Preference]:
    """The pairs that siblings, the answers to one post, give: the clearest first. `accepted` is the id of the answer that
    may lose against none, if there is one."""
    found = []
    for higher, lower in ahead(top(comments, pairing.comments_per_post)):
        counts.before.count(higher, lower)
        if not visible(higher, lower):
            continue
        counts.after.count(higher, lower)
        if ratio(higher, lower) < pairing.ratio:
            counts.low_ratio += 1
        elif higher.text == lower.text:
            counts.same_words += 1
        elif accepted and lower.id == accepted:
            counts.against_accepted += 1
        else:
            found.append(Preference(higher, lower))
    found.sort(key=lambda pair: (-pair.ratio, pair.chosen.id, pair.rejected.id))
    kept = found[: pairing.pairs_per_post]
    counts.beyond_cap += len(found) - len(kept)
    counts.given += len(kept)
    return kept
