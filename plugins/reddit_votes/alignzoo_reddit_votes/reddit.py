"""Reddit's raw threads as feedback: dumps of comments and posts (RC_2019-04.zst, RS_2019-04.zst), or threads as fetched.

Posts are read first, so that most comments need not be read at all: a reply to a comment, and a comment on a post that is
left aside, are known by a few bytes of their line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from alignzoo.interfaces import Asking, Count, Share
from alignzoo.records import Comparison
from alignzoo.tally import Tally
from alignzoo_reddit_votes.crew import Each, crew
from alignzoo_reddit_votes.dumps import BOM, WHOLE, blocks, parsed, pieces
from alignzoo_reddit_votes.harvest import FOLDER, Harvest, Site, Split, Splits
from alignzoo_reddit_votes.reading import Block, Comparing, Kind, Reading, skim_of
from alignzoo_reddit_votes.rows import Reader, RowError
from alignzoo_reddit_votes.rules import Rules
from alignzoo_reddit_votes.skim import Skim
from alignzoo_reddit_votes.threads import Heap
from alignzoo_reddit_votes.unpacking import CutError, DumpError, packing
from alignzoo_reddit_votes.votes import Pairing

LICENCE = "Reddit user content, no licence: not to be passed on"
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
    processes: Count = 1
    """How many processes read. With more than one, they read what this one unpacks and does not pass over."""
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
            packing(path)

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

    def collect(self, asking: Asking) -> Iterator[Comparison]:
        """Read all rows once, then yield the pairs thread by thread."""
        site = Site("reddit", LICENCE, "t3_", "t1_", _base36, self.missing_post)
        names = tuple(path.name for path in self.files)
        harvest = Harvest(site, self.rules, self.pairing, self.splits, names, asking.tally)
        with TemporaryDirectory(prefix=FOLDER) as folder, crew(self.processes) as each:
            heap = Heap(Path(folder))
            self._read_all(harvest, heap, each)
            for comparisons, seen in each(Comparing(harvest.part()), heap.files()):
                harvest.add(*seen)
                yield from comparisons
        harvest.conclude()

    def _read_all(self, harvest: Harvest, heap: Heap, each: Each) -> None:
        """Posts, threads, then comments, of which only those are read whose post may count."""
        first, then = len(files_of(self.posts)), len(files_of(self.posts)) + len(files_of(self.threads))
        parts: dict[Kind, range] = {
            "posts": range(first),
            "threads": range(first, then),
            "comments": range(then, len(self.files)),
        }
        known = set[bytes]()
        for kind, files in parts.items():
            reading, skim = Reading(harvest.part(), self.reader, kind), skim_of(kind, harvest, known)
            for rows, eligible, seen in each(reading, self._blocks(files, skim, harvest.tally)):
                heap.put(rows)
                known.update(eligible)
                harvest.add(*seen)

    def _blocks(self, files: Iterable[int], skim: Skim, tally: Tally) -> Iterator[Block]:
        """What is to be read of some files."""
        for file in files:
            path, number = self.files[file], 1
            if not path.stat().st_size:
                tally.say(f"{path} is empty: if it should not be, fetch it again")
            if ".json" in path.suffixes[-2:] and (document := _document(path)):
                yield Block(file, [(0, document)])
                continue
            try:
                for lines in blocks(path):
                    if lines is None:
                        yield Block(file, [(number, None)])
                        number += 1
                    else:
                        rows, passed, number = skim.over(number, lines)
                        yield Block(file, rows, passed)
            except CutError as error:
                told = f"{error} (line {number - 1})"
                if self.cut_files == "refuse":
                    raise DumpError(f'{told}, or write cut_files = "accept" to use what is there') from None
                tally.say(f"{told}; what is there was used")


def _document(path: Path) -> bytes:
    """A file that is one document, whole; nothing if it is lines after all, too large, or cut: then it is read as lines,
    and what is wrong is told on the way."""
    gathered = bytearray()
    try:
        for piece in pieces(path):
            if len(gathered) + len(piece) > WHOLE or (not gathered and _of_lines(piece)):
                return b""
            gathered += piece
    except CutError:
        return b""
    document = bytes(gathered).removeprefix(BOM)
    try:
        parsed(document, WHOLE)
    except RowError:
        return b""
    return document


def _of_lines(piece: bytes) -> bool:
    """Whether a file that begins so has one row in its first line, and others behind it: a dump is not gathered, whatever its
    name."""
    line, _, rest = piece.removeprefix(BOM).partition(b"\n")
    try:
        return bool(rest.strip()) and parsed(line) is not None
    except RowError:
        return False


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
