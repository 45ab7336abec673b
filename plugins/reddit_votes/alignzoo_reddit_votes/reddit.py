"""Reddit's raw threads as feedback: dumps of comments and posts (RC_2019-04.zst, RS_2019-04.zst), or threads as fetched.

Posts are read first, so that most comments need not be read at all: a reply to a comment, and a comment on a post that is
left aside, are known by a few bytes of their line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

from alignzoo.interfaces import Asking, Share
from alignzoo.records import Comparison
from alignzoo.tally import Tally
from alignzoo_reddit_votes.dumps import BOM, LONGEST, WHOLE, CutError, DumpError, blocks, packing, parsed, pieces, unpacker
from alignzoo_reddit_votes.harvest import NO_POST, Harvest, Site, Split, Splits
from alignzoo_reddit_votes.rows import Reader, RowError, rows_in
from alignzoo_reddit_votes.rules import Rules
from alignzoo_reddit_votes.skim import Skim
from alignzoo_reddit_votes.votes import Comment, Pairing, Place, Post

LICENCE = "Reddit user content, no licence: not to be passed on"
STRAY = "a post among the comments: name this file under threads"
ENDINGS = {".json", ".jsonl", ".ndjson", ".gz", ".zst", ".bz2", ".xz", ""}


@dataclass(frozen=True)
class RedditVotes:
    """Pairs of comments on one post: the later one, where it is ahead all the same."""

    comments: Path | tuple[Path, ...] = ()
    """Dumps of comments, by month: a file, a folder, or several. Plain, zst, gz, bz2 or xz."""
    posts: Path | tuple[Path, ...] = ()
    """Dumps of the posts (submissions) that the comments stand under: the same months and the one before."""
    threads: Path | tuple[Path, ...] = ()
    """Posts and comments together: threads as the site gives them (.json), or lines of both."""
    missing_post: str = ""
    """What is asked where a post is missing, such as "A post in r/{subreddit}": then the rules on posts are not applied
    to it. Empty: comments without their post are left aside."""
    fetched: str = ""
    """The day, or day and time (UTC), when the scores were read, for rows that do not say it."""
    links: Literal["words", "as written"] = "words"
    """What stays of a link: its words, or all of it as it was written."""
    cut_files: Literal["refuse", "accept"] = "refuse"
    """What becomes of an archive that ends before its end: an error, or what was read of it."""
    split: Split = "train"
    """Which threads."""
    validation: Share = 0.05
    """Share of the threads to choose settings by."""
    test: Share = 0.05
    """Share of the threads to be judged on."""
    rules: Rules = Rules()
    """Which posts and comments count."""
    pairing: Pairing = Pairing()
    """Which pairs of them."""

    @property
    def gives(self) -> tuple[str, ...]:
        """Comparisons."""
        return ("comparison",)

    @property
    def asks(self) -> tuple[str, ...]:
        """Nothing: it reads."""
        return ()

    def __post_init__(self) -> None:
        _ = self.splits, self.reader
        if not self.files:
            raise ValueError("nothing to read; name files: comments and posts, or threads")
        if not (files_of(self.posts) or files_of(self.threads) or self.missing_post):
            raise ValueError(
                "comments alone do not say what was asked; name the posts of the same months, or write missing_post"
            )
        for path in self.files:
            if name := packing(path):
                unpacker(name)

    @cached_property
    def splits(self) -> Splits:
        return Splits(self.split, self.validation, self.test)

    @cached_property
    def reader(self) -> Reader:
        try:
            moment = datetime.fromisoformat(self.fetched) if self.fetched else None
        except ValueError:
            raise ValueError(f"fetched must be a day such as 2024-05-31, or a day and a time; got '{self.fetched}'") from None
        seconds = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) if moment else 0
        return Reader(self.links == "as written", seconds)

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """All files, in the order in which they are read: posts before comments."""
        return (*files_of(self.posts), *files_of(self.threads), *files_of(self.comments))

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(path.name for path in self.files)

    def collect(self, asking: Asking) -> Iterator[Comparison]:
        """Read all rows once, then yield the pairs thread by thread."""
        site = Site("reddit", LICENCE, "t3_", "t1_", _base36, self.missing_post)
        harvest = Harvest(site, self.rules, self.pairing, self.splits, asking.tally, self._place)
        return harvest.comparisons(self._rows(harvest))

    def _place(self, place: Place) -> str:
        return f"{self._names[place[0]]}:{place[1]}"

    def _rows(self, harvest: Harvest) -> Iterator[Post | Comment]:
        """Posts, threads, then comments, of which only those are read whose post may count."""
        eligible: set[bytes] = set()
        # where a missing post has a stand-in, one that is left aside must be known not to be missing
        link = "self_post" if self.rules.applies("self_post") and not self.missing_post else ""
        reply = "nested" if self.rules.applies("nested") else ""
        elsewhere = "" if self.missing_post else NO_POST
        first, then = len(files_of(self.posts)), len(files_of(self.posts)) + len(files_of(self.threads))
        for number in range(len(self.files)):
            skim = Skim(link) if number < first else Skim() if number < then else Skim("", reply, elsewhere, eligible)
            for row in harvest.admitted(self._read(number, skim, harvest.tally)):
                if isinstance(row, Comment):
                    yield row
                elif number < then:
                    if not row.fault:
                        eligible.add(row.id.encode())
                    yield row
                else:
                    harvest.tally.drop(STRAY, self._place(row.place))

    def _read(self, number: int, skim: Skim, tally: Tally) -> Iterator[Post | Comment]:
        """The posts and comments of one file. What cannot be read is counted and passed over."""
        path = self.files[number]
        try:
            for line, said in said_in(path, skim):
                yield from self._rows_of(said, (number, line), tally)
        except CutError as error:
            if self.cut_files == "refuse":
                raise DumpError(f'{error}, or write cut_files = "accept" to use what is there') from None
            tally.say(f"{error}; what is there was used")
        finally:
            skim.tell(tally, path.name)

    def _rows_of(self, said: bytes, place: Place, tally: Tally) -> Iterator[Post | Comment]:
        """The rows in one line, or in a whole file (line 0), where they are counted."""
        file, line = place
        try:
            for item, row in enumerate(rows_in(parsed(said, LONGEST if line else WHOLE)), 1):
                place = (file, line or item)
                tally.read += 1
                try:
                    yield self.reader(row, place)
                except RowError as error:
                    tally.drop(str(error), self._place(place))
        except RowError as error:
            tally.read += 1
            tally.drop(str(error), self._place(place))


def said_in(path: Path, skim: Skim) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that must be read, with their numbers; or all of a file that is one document, as line 0."""
    if ".json" in path.suffixes[-2:] and (document := _document(path)):
        yield 0, document
        return
    for first, lines in blocks(path):
        for number, line in skim.left(first, lines):
            if line and not line.isspace():
                yield number, line


def _document(path: Path) -> bytes:
    """A file that is one document, whole; nothing if it is lines after all, too large, or cut: then it is read as lines,
    and what is wrong is told on the way."""
    gathered = bytearray()
    try:
        for piece in pieces(path):
            gathered += piece
            if len(gathered) > WHOLE:
                return b""
    except CutError:
        return b""
    document = bytes(gathered).removeprefix(BOM)
    try:
        parsed(document, WHOLE)
    except RowError:
        return b""
    return document


def files_of(named: Path | tuple[Path, ...]) -> tuple[Path, ...]:
    """The files that a setting names: those of a folder in the order of their names."""
    files: list[Path] = []
    for path in (named,) if isinstance(named, Path) else named:
        if not path.exists():
            raise ValueError(f"there is no file {path}")
        inside = (
            sorted(file for file in path.iterdir() if file.is_file() and file.suffix in ENDINGS) if path.is_dir() else [path]
        )
        if not inside:
            raise ValueError(f"there is no dump in the folder {path}")
        files += inside
    return tuple(files)


def _base36(number: int) -> str:
    """A number as Reddit writes ids."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits or "0"
