"""Stack Exchange as feedback: the same extraction on `Posts.xml` of its dumps, where questions are posts and answers are
comments.

All that is particular to the site is `of_row`, which maps the attributes of a row to a `Post` or a `Comment`, and the reading
of XML: row by row, in bounded memory. A document type is refused, and with it every trick that entities can play.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Literal
from xml.parsers import expat

from alignzoo.interfaces import Asking, Share
from alignzoo.records import Comparison
from alignzoo.tally import Tally
from alignzoo_reddit_votes.dumps import LONGEST, pieces
from alignzoo_reddit_votes.harvest import Harvest, Site, Split, Splits
from alignzoo_reddit_votes.rows import EARLIEST, LATEST, Reader, RowError
from alignzoo_reddit_votes.rules import Rules
from alignzoo_reddit_votes.unpacking import CutError, DumpError, packing
from alignzoo_reddit_votes.votes import Comment, Pairing, Place, Post
from alignzoo_reddit_votes.words import of_html, sound

Attributes = Mapping[str, str]
NEITHER = "neither question nor answer"
QUESTION, ANSWER = "1", "2"


@dataclass(frozen=True)
class StackExchangeVotes:
    """Pairs of answers to one question: the later one, where it is ahead all the same."""

    file: Path
    """`Posts.xml` of one site: plain, zst, gz, bz2 or xz (the archives themselves are 7z: unpack them)."""
    accepted: Literal["ignore", "agree"] = "agree"
    """Whether a pair may go against who asked: with "agree", the accepted answer loses none."""
    site: str = ""
    """The site, such as "cooking.stackexchange.com": it is noted with each pair, for the licence asks for attribution."""
    fetched: str = ""
    """The day of the dump; with it, answers whose votes are too young are left aside."""
    cut_files: Literal["refuse", "accept"] = "refuse"
    """What becomes of a file that ends before its end: an error, or what was read of it."""
    split: Split = "train"
    """Which questions."""
    validation: Share = 0.05
    """Share of the questions to choose settings by."""
    test: Share = 0.05
    """Share of the questions to be judged on."""
    rules: Rules = Rules(off=("before", "post_edited"), post_score=1, score=1)
    """Which questions and answers count. Here a score starts with 0, and editing is a service."""
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
        _ = self.splits, self.read_at
        if not self.file.is_file():
            raise ValueError(f"there is no file {self.file}")
        packing(self.file)

    @cached_property
    def splits(self) -> Splits:
        return Splits(self.split, self.validation, self.test)

    @cached_property
    def read_at(self) -> int:
        """When the votes were counted; 0 if that is not known."""
        try:
            return seconds(self.fetched) if self.fetched else 0
        except RowError:
            raise ValueError(f"fetched must be a day such as 2024-05-31; got '{self.fetched}'") from None

    def collect(self, asking: Asking) -> Iterator[Comparison]:
        """Read all rows once, then yield the pairs question by question."""
        site = Site("stackexchange", "CC BY-SA")
        harvest = Harvest(site, self.rules, self.pairing, self.splits, (self.file.name,), asking.tally)
        return harvest.comparisons(harvest.admitted(self._rows(asking.tally)))

    def _place(self, place: Place) -> str:
        return f"{self.file.name}:{place[1]}"

    def _rows(self, tally: Tally) -> Iterator[Post | Comment]:
        reader = Reader()
        mapped = partial(of_row, author=reader.hashed, read=self.read_at, site=self.site)
        try:
            for line, attributes in rows_of(self.file):
                tally.read += 1
                try:
                    row = mapped(attributes, (0, line))
                except RowError as error:
                    tally.drop(str(error), self._place((0, line)))
                    continue
                if row is None:
                    tally.put_aside(NEITHER, self._place((0, line)))
                else:
                    yield row if self.accepted == "agree" or isinstance(row, Comment) else row._replace(accepted="")
        except CutError as error:
            if self.cut_files == "refuse":
                raise DumpError(f'{error}, or write cut_files = "accept" to use what is there') from None
            tally.say(f"{error}; what is there was used")


def of_row(
    row: Attributes, place: Place, author: Callable[[str | None], bytes | None], read: int, site: str
) -> Post | Comment | None:
    """The whole mapping: a question, an answer, or None for what is neither (wikis, nominations)."""
    kind, owner = attribute(row, "PostTypeId"), row.get("OwnerUserId")
    if kind not in (QUESTION, ANSWER):
        return None
    id, parent = attribute(row, "Id"), row.get("ParentId", "")
    created, votes = seconds(attribute(row, "CreationDate")), whole(row, "Score")
    words, gone, nobody, edited = of_html(attribute(row, "Body")), "DeletionDate" in row, owner is None, "LastEditDate" in row
    if kind == ANSWER:
        return Comment(
            key=number(parent, "ParentId"),
            id=str(number(id, "Id")),
            place=place,
            retrieved=read,
            created=created,
            score=votes,
            text=words,
            community=site,
            author=author(owner),
            deleted=gone,
            author_deleted=nobody,
            moderator=False,
            edited=edited,
            age=read - created if read else None,
            licence=row.get("ContentLicense", ""),
        )
    return Post(
        key=number(id, "Id"),
        id=id,
        place=place,
        retrieved=read,
        created=created,
        score=votes,
        title=sound(attribute(row, "Title")),
        text=words,
        community=site,
        author=author(owner),
        deleted=gone,
        author_deleted=nobody,
        self_post=True,
        over_18=False,
        edited=edited,
        moderator=False,
        accepted=row.get("AcceptedAnswerId", ""),
    )


# Reading --------------------------------------------------------------------------------------------------------------


def rows_of(path: Path) -> Iterator[tuple[int, Attributes]]:
    """The rows of a file with the number of their line."""
    found: list[tuple[int, Attributes]] = []
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        if name == "row":
            found.append((parser.CurrentLineNumber, attributes))

    def refuse(*_: object) -> None:
        raise DumpError(f"{path}:{parser.CurrentLineNumber}: a document type has no place in a dump; remove it")

    parser.StartElementHandler, parser.StartDoctypeDeclHandler = start, refuse
    fed = 0
    fault: DumpError | None = None
    for piece in _with_end(path):
        if isinstance(piece, CutError):
            fault = CutError(f"{piece} (line {parser.CurrentLineNumber})")
            break
        fed += len(piece)
        try:
            parser.Parse(piece, not piece)
        except DumpError:
            raise
        except (expat.ExpatError, LookupError, ValueError) as error:  # the latter where it declares an encoding that is none
            fault = _fault(f"{path}:{parser.ErrorLineNumber}", error, at_end=not piece)
        yield from found
        found.clear()
        if fed - parser.CurrentByteIndex > LONGEST + len(piece):
            raise DumpError(f"{path}:{parser.CurrentLineNumber}: a row of more than {LONGEST >> 20} MB; remove it")
        if fault:
            break
    if fault:
        raise fault


def _with_end(path: Path) -> Iterator[bytes | CutError]:
    """The pieces of a file, and nothing more as the last of them, or the error if it is cut."""
    try:
        yield from pieces(path)
    except CutError as error:
        yield error
    yield b""


def _fault(place: str, error: Exception, at_end: bool) -> DumpError:
    if at_end:
        return CutError(f"{place} ends before its end; fetch it again")
    return DumpError(f"{place}: not XML from here on ({error}); it must be Posts.xml of a dump, in UTF-8")


def attribute(row: Attributes, name: str) -> str:
    if name not in row:
        raise RowError(f"'{name}' is missing")
    return row[name]


def whole(row: Attributes, name: str) -> int:
    said = attribute(row, name)
    if not re.fullmatch(r"-?[0-9]{1,9}", said):
        raise RowError(f"'{name}' must be a whole number")
    return int(said)


def number(id: str, name: str) -> int:
    if not (id.isascii() and id.isdigit() and len(id) < 19):
        raise RowError(f"'{name}' must be the number of a post")
    return int(id)


def seconds(moment: str) -> int:
    """Seconds since 1970 of a time such as "2010-07-19T19:12:12.510", which is UTC."""
    try:
        told = datetime.fromisoformat(moment)
        since = int((told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        since = 0
    if not EARLIEST <= since <= LATEST:
        raise RowError("'CreationDate' must be a time such as 2010-07-19T19:12:12.510")
    return since
