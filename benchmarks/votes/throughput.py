"""How fast the votes of a dump are read, against its decompressor alone, and in how much memory.

    python benchmarks/votes/throughput.py 600 31 1 3    # megabytes of comments; window, 31 as in the dumps; processes; rounds

Writes an invented dump of comments and posts into a folder that goes with the run; six comments in ten are replies. Every
round measures the decompressor on each file, and then each source, which is compared with the decompressor on the files that
it reads; what is told is the median of the rounds and of the ratios within one.
There are two ratios: of rows a second by the clock, for which the thread that unpacks needs a core of its own and the machine
must be quiet, and of rows a CPU second, all threads and processes together. Beside them stand the CPU seconds of each: of
the thread that unpacks, of the one that reads, and of the other processes; no clock can do better than the longest of them.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import partial, reduce
from multiprocessing import Process
from operator import add
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypedDict

import zstandard

from alignzoo.interfaces import Asking
from alignzoo_reddit_votes.dumps import blocks, parsed
from alignzoo_reddit_votes.reddit import RedditVotes

COMMENT = (
    '{"all_awardings":[],"associated_award":null,"author":"user%d","author_created_utc":1440000000,"author_flair_css_class":null,'
    '"author_flair_richtext":[],"author_flair_text":null,"author_flair_type":"text","author_fullname":"t2_%x",'
    '"author_patreon_flair":false,"author_premium":false,"awarders":[],"body":"%s","can_gild":true,"collapsed":false,'
    '"collapsed_reason":null,"controversiality":0,"created_utc":%d,"distinguished":null,"edited":false,"gilded":0,"gildings":{},'
    '"id":"%s","is_submitter":false,"link_id":"t3_%s","locked":false,"no_follow":true,"parent_id":"%s",'
    '"permalink":"/r/AskReddit/comments/some_title/xyz/","retrieved_on":%d,"score":%d,"send_replies":true,"stickied":false,'
    '"subreddit":"AskReddit","subreddit_id":"t5_2qh1i","subreddit_type":"public","total_awards_received":0}\n'
)
POST = (
    '{"id":"%s","title":"%s","selftext":"%s","is_self":%s,"score":%d,"over_18":false,"edited":false,"author":"user%d",'
    '"created_utc":%d,"retrieved_on":%d,"distinguished":null,"subreddit":"AskReddit"}\n'
)
SHARES = (0.01, 0.2)
"""How many of the posts count."""
NOON = 1_550_000_000
BASE = 36**4


class Work(NamedTuple):
    """What is measured, and the files that it unpacks."""

    files: Sequence[Path]
    done: Callable[[], object]


class Settings(TypedDict, total=False):
    """In what the sources that are measured differ."""

    posts: Path
    missing_post: str


def ids(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits


def comments(count: int, posts: int, dice: random.Random, words: str) -> Iterator[str]:
    for i in range(count):
        link = ids(BASE + int(posts * dice.random() ** 3))  # some posts draw most of the comments
        parent = f"t3_{link}" if dice.random() < 0.4 else f"t1_{ids(BASE + dice.randrange(i + 1))}"
        start, length = dice.randrange(len(words) - 3000), int(dice.expovariate(1 / 200)) + 5
        created = NOON + i // 50
        row = (dice.randrange(10**6), dice.randrange(10**9), words[start : start + length], created, ids(BASE + i))
        yield COMMENT % (*row, link, parent, created + 400_000, int(dice.paretovariate(1.1)))


def posts_of(count: int, share: float, dice: random.Random, words: str) -> Iterator[str]:
    for i in range(count):
        start = dice.randrange(len(words) - 3000)
        own, score = ("true", 50) if dice.random() < share else ("false", 5)
        yield POST % (
            ids(BASE + i),
            words[start : start + 60],
            words[start : start + 300],
            own,
            score,
            i,
            NOON - 900,
            NOON + 10**6,
        )


def write(path: Path, rows: Iterator[str], window: int) -> int:
    """Pack rows as the dumps are packed; how many bytes they were."""
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=window, enable_ldm=True)
    total = 0
    with path.open("wb") as file, zstandard.ZstdCompressor(compression_params=parameters).stream_writer(file) as packed:
        for row in rows:
            total += packed.write(row.encode())
    return total


def write_all(folder: str, count: int, window: int) -> None:
    dice = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["".join(dice.choices(letters, k=dice.randint(2, 10))) for _ in range(5000)]
    words = " ".join(dice.choices(vocabulary, k=400_000))
    size = write(Path(folder, "RC.zst"), comments(count, count // 10, dice, words), window)
    for share in SHARES:
        write(Path(folder, f"RS_{share}.zst"), posts_of(count // 10, share, dice, words), window)
    print(f"{size / 1e6:,.0f} MB of {count:,} comments; {count // 10:,} posts; windows of {2**window >> 20} MiB", flush=True)


@dataclass(frozen=True)
class Spent:
    """Seconds."""

    clock: float
    reading: float
    """Of CPU, by the thread that asks for records."""
    unpacking: float
    """By the other threads of this process."""
    helpers: float

    @property
    def cpu(self) -> float:
        return self.reading + self.unpacking + self.helpers

    def __add__(self, other: Spent) -> Spent:
        return Spent(*(one + another for one, another in zip(astuple(self), astuple(other), strict=True)))


def measured(work: Callable[[], object]) -> Spent:
    start = time.perf_counter(), time.thread_time(), time.process_time(), cpu_of_children()
    work()
    clock, reading, here, helpers = (
        now - then
        for now, then in zip(
            (time.perf_counter(), time.thread_time(), time.process_time(), cpu_of_children()), start, strict=True
        )
    )
    return Spent(clock, reading, here - reading, helpers)


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def unpacked(path: Path) -> None:
    """The decompressor, and nothing else."""
    with path.open("rb") as file, zstandard.ZstdDecompressor(max_window_size=2**31).stream_reader(file) as plain:
        while plain.read(1 << 18):
            pass


def divided(path: Path) -> None:
    """Lines, as the sources get them from the thread that unpacks."""
    for _ in blocks(path):
        pass


def parsed_too(path: Path) -> None:
    """Lines, of which those of the first rank are parsed: nothing that looks at them can take less CPU."""
    for lines in blocks(path):
        for row in lines.text.split(b"\n") if lines else ():
            if b'"parent_id":"t1_' not in row and row:
                parsed(row)


def collected(source: RedditVotes) -> None:
    for _ in source.collect(Asking()):
        pass


def main(megabytes: int, window: int, processes: int = 1, rounds: int = 3) -> None:
    count = megabytes * 1_000_000 // 1_080
    with TemporaryDirectory() as folder:
        rc = Path(folder, "RC.zst")
        writer = Process(target=write_all, args=(folder, count, window))  # what it needs of memory is not counted
        writer.start()
        writer.join()
        works = {
            "lines found, nothing else": Work([rc], partial(divided, rc)),
            "parsing what is no reply, nothing else": Work([rc], partial(parsed_too, rc)),
        }
        settings: dict[str, Settings] = {
            f"{share:.0%} of the posts count": {"posts": Path(folder, f"RS_{share}.zst")} for share in SHARES
        }
        settings["every comment of the first rank is read"] = {"missing_post": "?"}
        for name, own in settings.items():
            source = RedditVotes(comments=rc, split="all", processes=processes, **own)
            works[name] = Work(source.files, partial(collected, source))
        before = peak()
        measured(partial(unpacked, rc))
        window_only, alone, found = peak(), list[Mapping[Path, Spent]](), {name: list[Spent]() for name in works}
        for _ in range(rounds):
            alone.append({path: measured(partial(unpacked, path)) for path in sorted(Path(folder).iterdir())})
            for name, work in works.items():
                found[name].append(measured(work.done))
        cpu = median(one[rc].cpu for one in alone)
        print(
            f"unpacking the comments alone: {count / median(one[rc].clock for one in alone):,.0f} rows/s by the clock, "
            f"{count / cpu:,.0f} a CPU second; {window_only - before} MB, the window"
        )
        for name, work in works.items():
            bare = [reduce(add, (one[path] for path in work.files)) for one in alone]
            print(f"{name}: {told(count, bare, found[name])}")
        print(f"all of it in {peak() - window_only} MB more")


def told(count: int, bare: Sequence[Spent], spent: Sequence[Spent]) -> str:
    """How fast the comments went by, beside the decompressor on the same files."""
    clock = median(one.clock / mine.clock for one, mine in zip(bare, spent, strict=True))
    share = median(one.cpu / mine.cpu for one, mine in zip(bare, spent, strict=True))
    unpacking, reading, helpers = (
        median(part) for part in zip(*((one.unpacking, one.reading, one.helpers) for one in spent), strict=True)
    )
    return (
        f"{count / median(one.clock for one in spent):,.0f} rows/s, {clock:.0%} of unpacking alone by the clock, "
        f"{share:.0%} by CPU; CPU seconds: unpacking {unpacking:.2f}, reading {reading:.2f}, helpers {helpers:.2f}; "
        f"alone {median(one.cpu for one in bare):.2f}"
    )


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:5]))
