"""The rules of SHP, each with a name that a run file can switch off, and some that it can switch on.

A rule looks at one post or comment and says whether it breaks it: True, False, or None where the row does not say what the
rule would have to know. Years of dumps lack one field or another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Literal, TypeAlias, TypeVar

from annotated_types import Ge, Interval

from alignzoo_reddit_votes.votes import Comment, Post

Switch = Literal[
    "self_post",
    "before",
    "post_edited",
    "over_18",
    "post_author",
    "post_moderator",
    "post_score",
    "nested",
    "score_hidden",
    "author",
    "moderator",
    "automoderator",
    "stickied",
    "submitter",
    "score",
    "read_again",
    "score_age",
]
Extra = Literal["bots", "edited", "upvote_ratio", "length"]
Row = TypeVar("Row", Post, Comment)
Table: TypeAlias = "list[tuple[str, Callable[[Row, Rules], bool | None]]]"
UNSAID = "{} (the row does not say)"


@dataclass(frozen=True)
class Rules:
    """Which posts and comments count. Whatever was deleted or removed never does."""

    off: tuple[Switch, ...] = ()
    """Rules to switch off, by name."""
    on: tuple[Extra, ...] = ()
    """Rules to switch on that SHP does not have."""
    unknown: Literal["keep", "leave out"] = "keep"
    """What becomes of a row that does not say what a rule asks. How many there are is told."""
    post_score: int = 10
    """The least score of a post."""
    score: int = 2
    """The least score of a comment."""
    before: str = "2023-01-01"
    """The day (UTC) before which a post must have been written."""
    score_age: Annotated[float, Ge(0)] = 24.0
    """Hours that must have gone by between a comment's writing and the reading of its score."""
    upvote_ratio: Annotated[float, Interval(ge=0, le=1)] = 0.5
    """The least share of up-votes of a post, where that rule is on."""
    length: Annotated[int, Ge(1)] = 10
    """The least number of characters of a comment, where that rule is on."""

    def __post_init__(self) -> None:
        _ = self.until

    @cached_property
    def until(self) -> float:
        """The first second of `before`."""
        try:
            return datetime.fromisoformat(self.before).replace(tzinfo=UTC).timestamp()
        except ValueError:
            raise ValueError(f"before must be a day such as 2023-01-01; got '{self.before}'") from None

    @property
    def of_posts(self) -> Table[Post]:
        """The rules that apply to posts, in their order."""
        return [(name, rule) for name, rule in POSTS.items() if self.applies(name)]

    @property
    def of_comments(self) -> Table[Comment]:
        """The rules that apply to comments by themselves, in their order."""
        return [(name, rule) for name, rule in COMMENTS.items() if self.applies(name)]

    def applies(self, name: str) -> bool:
        return name in self.on if name in ("bots", "edited", "upvote_ratio", "length") else name not in self.off


def judged(row: Row, table: Table[Row], rules: Rules) -> tuple[str, tuple[str, ...]]:
    """What the rules of a table say of a row: the first that it breaks, or empty; and those that it says too little for."""
    unknown: tuple[str, ...] = ()
    for name, broken in table:
        answer = broken(row, rules)
        if answer:
            return name, unknown
        if answer is None:
            if rules.unknown == "leave out":
                return UNSAID.format(name), unknown
            unknown += (name,)
    return "", unknown


def by_submitter(comment: Comment, post: Post) -> bool | None:
    """Whether who asks answers: as the row says, or by comparing the two hashes."""
    if comment.submitter is not None:
        return comment.submitter
    return comment.author == post.author if comment.author and post.author else None


def _below(value: float | None, least: float) -> bool | None:
    return None if value is None else value < least


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


POSTS: dict[str, Callable[[Post, Rules], bool | None]] = {
    "deleted": lambda post, _: post.deleted,
    "no words": lambda post, _: not (post.title or post.text),
    "self_post": lambda post, _: _not(post.self_post),
    "before": lambda post, rules: None if post.created is None else post.created >= rules.until,
    "post_edited": lambda post, _: post.edited,
    "over_18": lambda post, _: post.over_18,
    "post_author": lambda post, _: post.author_deleted,
    "post_moderator": lambda post, _: post.moderator,
    "post_score": lambda post, rules: _below(post.score, rules.post_score),
    "upvote_ratio": lambda post, rules: _below(post.upvote_ratio, rules.upvote_ratio),
}
"""Deletion has no switch."""

COMMENTS: dict[str, Callable[[Comment, Rules], bool | None]] = {
    "nested": lambda comment, _: bool(comment.parent),
    "deleted": lambda comment, _: comment.deleted,
    "no words": lambda comment, _: not comment.text,
    "no score": lambda comment, _: comment.score is None,
    "score_hidden": lambda comment, _: bool(comment.hidden),  # years of dumps lack the field: it says nothing then
    "author": lambda comment, _: comment.author_deleted,
    "moderator": lambda comment, _: comment.moderator,
    "automoderator": lambda comment, _: comment.automoderator,
    "stickied": lambda comment, _: bool(comment.stickied),  # as score_hidden
    "submitter": lambda comment, _: bool(comment.submitter),  # else it is told by the post: `by_submitter`
    "score": lambda comment, rules: _below(comment.score, rules.score),
    "read_again": lambda comment, _: not comment.read_again,
    "score_age": lambda comment, rules: _below(comment.age, rules.score_age * 3600),
    "bots": lambda comment, _: comment.machine,
    "edited": lambda comment, _: comment.edited,
    "length": lambda comment, rules: len(comment.text) < rules.length,
}
"""Deletion has no switch; nor can anything be compared that has no score, or no words."""
