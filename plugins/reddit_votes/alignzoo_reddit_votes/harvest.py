"""From rows to comparisons, whatever site they come from: judge each row, put rows together by post, compare siblings.

Every row is accounted for: kept if it is in a pair (or is the post of one), filtered under the name of the first rule that
leaves it aside, dropped if it could not be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeVar

from alignzoo.records import Comparison, Completion, Prompt, Provenance
from alignzoo.tally import Tally
from alignzoo_reddit_votes.rules import UNSAID, Rules, by_submitter, judged
from alignzoo_reddit_votes.threads import Heap, threads_in
from alignzoo_reddit_votes.votes import Comment, Counts, Pairing, Place, Post, Preference, preferences

Split = Literal["train", "validation", "test", "all"]
Row = TypeVar("Row", Post, Comment)
NO_POST = "its post is missing or left aside"
OTHER_SPLIT = "in another split"
AGAIN = "the same id, read earlier"
ALONE = "in no pair"
NO_PARENT = "a comment that it replies to is missing"
FOLDER = "alignzoo-votes-"
"""How the names of the folders begin in which rows wait."""
FEW = 3
"""Places that a tally keeps of each reason."""
ENOUGH, FRESH = 100, 0.75
"""When so large a share of a month's scores is exactly 1, over so many rows, they were read when nobody else had voted."""


@dataclass(frozen=True)
class Splits:
    """Whole threads are drawn into splits by a hash of the post's id: they stay there whatever is read beside them."""

    wanted: Split
    validation: float
    test: float

    def __post_init__(self) -> None:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together leave no thread to learn on; they must be below 1")

    def of(self, post: int) -> Split:
        """The split of the post with this number."""
        place = _place(post)
        return "test" if place < self.test else "validation" if place < self.test + self.validation else "train"

    def want(self, post: int) -> bool:
        return self.wanted == "all" or self.wanted == self.of(post)


@lru_cache(maxsize=1 << 16)
def _place(post: int) -> float:
    return int.from_bytes(sha256(f"{post}".encode()).digest()[:8], "big") / 2**64


@dataclass(frozen=True)
class Site:
    """What differs from site to site when comparisons are written."""

    source: str
    licence: str
    post_prefix: str = ""
    comment_prefix: str = ""
    name: Callable[[int], str] = str
    """The id of a post from its number."""
    missing_post: str = ""
    """What is asked where a post is missing; empty if its comments are left aside then."""


@dataclass
class Scores:
    """The scores of a day or a month. Some months of the dumps (2023-08 to 2023-10) were read at creation, and are useless."""

    rows: int = 0
    total: int = 0
    ones: int = 0

    def count(self, score: int) -> None:
        self.rows += 1
        self.total += score
        self.ones += score == 1

    def add(self, more: Scores) -> None:
        self.rows += more.rows
        self.total += more.total
        self.ones += more.ones

    @property
    def unripe(self) -> bool:
        return self.rows >= ENOUGH and self.ones >= FRESH * self.rows and self.total < 1.1 * self.rows


@dataclass
class Harvest:
    """One collecting: what it was told to do, and what it has seen. Several may each see a part, and be added."""

    site: Site
    rules: Rules
    pairing: Pairing
    splits: Splits
    names: tuple[str, ...]
    """Of the files."""
    tally: Tally = field(default_factory=Tally)
    counts: Counts = field(default_factory=Counts)
    days: dict[tuple[str, int], Scores] = field(default_factory=dict)
    """The scores of posts and of comments by day since 1970: what day it is, is known at once, and its month at the end."""

    def __post_init__(self) -> None:
        self._of_posts, self._of_comments = self.rules.of_posts, self.rules.of_comments
        self._nested, self._submitter = self.rules.applies("nested"), self.rules.applies("submitter")

    def __reduce__(self) -> tuple[type[Harvest], tuple[object, ...]]:
        """What goes to another process was told the same, and has seen nothing."""
        return Harvest, (self.site, self.rules, self.pairing, self.splits, self.names)

    def part(self) -> Harvest:
        """As what goes to another process, but in this one: told the same, and has seen nothing."""
        part = Harvest.__new__(Harvest)  # there is one for every block: what is known of the rules is not found out anew
        part.__dict__ = {**self.__dict__, "tally": Tally(), "counts": Counts(), "days": {}}
        return part

    def add(self, tally: Tally, counts: Counts, days: Mapping[tuple[str, int], Scores]) -> None:
        """Add what a part saw, of rows that came after."""
        self.tally.add(tally)
        self.counts.add(counts)
        for day, scores in days.items():
            self.days.setdefault(day, Scores()).add(scores)

    def at(self, place: Place) -> str:
        return f"{self.names[place[0]]}:{place[1]}"

    # One row -------------------------------------------------------------------------------------------------------------

    def admitted(self, rows: Iterable[Post | Comment]) -> Iterator[Post | Comment]:
        """The rows of the split that is wanted, judged."""
        for row in rows:
            if self.splits.want(row.key):
                yield self.judged(row)
            else:
                self.put_aside(OTHER_SPLIT, [row])

    def judged(self, row: Post | Comment) -> Post | Comment:
        """A row with what the rules say of it. One that is left aside goes on all the same, without its words: what was
        read later of the same id may be better or, where the text was deleted, worse."""
        if row.score is not None and row.created is not None:
            day = "post" if type(row) is Post else "comment", row.created // 86400
            scores = self.days.get(day)
            if scores is None:
                scores = self.days[day] = Scores()
            scores.count(row.score)
        if isinstance(row, Post):
            fault, unknown = judged(row, self._of_posts, self.rules)
            if fault:
                return Post(row.key, row.id, row.place, row.retrieved, fault)
            return row._replace(unknown=unknown) if unknown else row
        fault, unknown = judged(row, self._of_comments, self.rules)
        if fault:
            # where replies are compared, a parent is part of the question, though it may not be fit to be compared itself
            text = "" if fault == "deleted" or self._nested else row.text
            return Comment(row.key, row.id, row.place, row.retrieved, fault, (), 0, None, text, "", row.parent)
        return row._replace(unknown=unknown) if unknown else row

    # A thread ------------------------------------------------------------------------------------------------------------

    def comparisons(self, rows: Iterable[Post | Comment]) -> Iterator[Comparison]:
        """The comparisons in the rows, thread by thread, once all rows are read."""
        with TemporaryDirectory(prefix=FOLDER) as folder:
            heap = Heap(Path(folder))
            heap.put_all(rows)
            for path in heap.files():
                for thread in threads_in(path):
                    yield from self.of_thread(thread)
        self.conclude()

    def of_thread(self, rows: Sequence[Post | Comment]) -> Iterator[Comparison]:
        """The comparisons among the comments on one post. Every row of it is counted."""
        posts = self.latest([row for row in rows if isinstance(row, Post)])
        comments = self.latest([row for row in rows if isinstance(row, Comment)])
        post = posts[0] if posts else self.stand_in(comments)
        if post is None or post.fault:
            for one in posts:
                self.put_aside(one.fault, [one])
            self.put_aside(NO_POST, comments)
            return
        used: set[str] = set()
        there = {} if self._nested else {comment.id: comment for comment in comments if comment.fault != "deleted"}
        for parent, siblings in _by_parent(self.fit(comments, post)).items():
            prompt = question(post, parent, there)
            for pair in preferences(siblings, self.pairing, self.counts, post.accepted) if prompt else ():
                used |= {pair.chosen.id, pair.rejected.id}
                yield self.comparison(prompt, post, pair)
            alone = [comment for comment in siblings if comment.id not in used]
            self.tally.kept += len(siblings) - len(alone)
            self.put_aside(ALONE if prompt else NO_PARENT, alone)
        if posts:
            self.tally.kept += bool(used)
            self.put_aside(ALONE, [] if used else posts)
            self.notice(post)

    def latest(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Each id once, as it was read last."""
        newest: dict[str, Row] = {row.id: row for row in rows}
        if len(newest) == len(rows):
            return rows
        newest.clear()
        for row in rows:
            known = newest.get(row.id)
            if known is None or row.retrieved >= known.retrieved:
                newest[row.id] = row
            if known is not None:
                self.put_aside(AGAIN, [known if newest[row.id] is row else row])
        return list(newest.values())

    def stand_in(self, comments: Sequence[Comment]) -> Post | None:
        """What takes the place of a missing post, if anything is to."""
        first, asked = comments[0], self.site.missing_post
        if not asked:
            return None
        community = next((comment.community for comment in comments if comment.community), "")
        return Post(first.key, self.site.name(first.key), first.place, title=asked.replace("{subreddit}", community))

    def fit(self, comments: Iterable[Comment], post: Post) -> Iterator[Comment]:
        """The comments that may be compared; those that may not are counted."""
        faulty: dict[str, list[Comment]] = {}
        for comment in comments:
            fault, unknown = comment.fault, comment.unknown
            if not fault and self._submitter:
                answers_himself = by_submitter(comment, post)
                if answers_himself is None:
                    unknown += ("submitter",)
                if answers_himself or (answers_himself is None and self.rules.unknown == "leave out"):
                    fault = "submitter" if answers_himself else UNSAID.format("submitter")
            if fault:
                faulty.setdefault(fault, []).append(comment)
                continue
            for name in unknown:
                self.tally.notice(UNSAID.format(name), self.at(comment.place))
            yield comment
        for fault, those in faulty.items():
            self.put_aside(fault, those)

    def comparison(self, prompt: str, post: Post, pair: Preference) -> Comparison:
        """The record. It names the thread and the two comments, so that a deletion can be honoured later, and nobody."""
        chosen, rejected, site = pair.chosen, pair.rejected, self.site
        note = (
            f"{post.community or chosen.community} {site.post_prefix}{post.id}: "
            f"{site.comment_prefix}{chosen.id} ({chosen.score}) over {site.comment_prefix}{rejected.id} ({rejected.score}), "
            f"written {pair.seconds} s later"
        )
        return Comparison(
            Prompt.ask(prompt),
            Completion(chosen.text),
            Completion(rejected.text),
            provenance=Provenance(
                site.source,
                time=datetime.fromtimestamp(chosen.created, UTC).isoformat(),
                licence=chosen.licence or site.licence,
                split=self.splits.of(post.key),
                note=note.strip(),
            ),
        )

    def notice(self, post: Post) -> None:
        for name in post.unknown:
            self.tally.notice(UNSAID.format(name), self.at(post.place))

    def put_aside(self, rule: str, rows: Sequence[Post | Comment]) -> None:
        self.pass_over(rule, (row.place for row in rows), len(rows))

    def pass_over(self, rule: str, places: Iterable[Place], count: int) -> None:
        """Count rows under a rule. Where they are is written out of the first few only, for no more is told."""
        known = self.tally.set_aside.get(rule)
        named = list(islice(places, FEW - len(known.places) if known else FEW)) if count else []
        for place in named:
            self.tally.put_aside(rule, self.at(place))
        if count > len(named):
            self.tally.put_aside(rule, count=count - len(named))

    def conclude(self) -> None:
        """Say what the votes were like as a whole."""
        for line in self.counts.lines():
            self.tally.say(line)
        months: dict[tuple[str, str], Scores] = {}
        for (kind, day), scores in self.days.items():
            months.setdefault((kind, _month(day)), Scores()).add(scores)
        for (name, written), month in sorted(months.items()):
            if month.unripe:
                self.tally.say(
                    f"{written}: the mean score of {month.rows:,} {name}s is {month.total / month.rows:.2f}, and "
                    f"{month.ones / month.rows:.0%} have exactly 1: they were read before people voted; leave this month out"
                )


def question(post: Post, parent: str, there: Mapping[str, Comment]) -> str:
    """Title and text, as in SHP, and the comments between them and the answer, if there are any; empty if one of those is
    missing, or they have no beginning."""
    between: list[str] = []
    while parent:
        if parent not in there or len(between) == len(there):  # the latter where replies go round in a ring
            return ""
        between.append(there[parent].text)
        parent = there[parent].parent
    return "\n\n".join([f"{post.title} {post.text}".strip(), *reversed(between)])


def _by_parent(comments: Iterable[Comment]) -> dict[str, list[Comment]]:
    siblings: dict[str, list[Comment]] = {}
    for comment in comments:
        siblings.setdefault(comment.parent, []).append(comment)
    return siblings


def _month(day: int) -> str:
    return datetime.fromtimestamp(day * 86400, UTC).strftime("%Y-%m")
