"""How fast the votes of a dump are read, against unpacking it and finding its lines, and in how much memory.

    python benchmarks/votes/throughput.py 200 31 2    # megabytes of comments; the window, 31 as in the dumps; processes

Writes an invented dump of comments and posts into a folder that goes with the run; six comments in ten are replies. Times
are CPU seconds. With several processes there are three: of the one that unpacks, of the others together, and on the clock.
The dump is never read faster than the first allows, however many cores there are; the clock needs a quiet machine.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import Process
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict

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

    here: float
    helpers: float
    clock: float


def measured(work: Callable[[], int]) -> tuple[int, Spent]:
    """What work gives, and what it took."""
    start, children, clock = time.process_time(), cpu_of_children(), time.perf_counter()
    made = work()
    return made, Spent(time.process_time() - start, cpu_of_children() - children, time.perf_counter() - clock)


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def unpacked(path: Path) -> int:
    """Rows, unpacked and divided, and nothing else."""
    return sum(len(lines or ()) for _, lines in blocks(path))


def parsed_too(path: Path) -> int:
    """Rows, of which those of the first rank are parsed as well: nothing that looks at them can be faster."""
    count = 0
    for _, lines in blocks(path):
        count += len(lines or ())
        for row in lines or ():
            if b'"parent_id":"t1_' not in row and row:
                parsed(row)
    return count


def main(megabytes: int, window: int, processes: int = 1) -> None:
    count = megabytes * 1_000_000 // 1_080
    with TemporaryDirectory() as folder:
        rc = Path(folder, "RC.zst")
        writer = Process(target=write_all, args=(folder, count, window))  # what it needs of memory is not counted
        writer.start()
        writer.join()
        before = peak()
        rows, bare = measured(lambda: unpacked(rc))
        print(f"unpacking and finding lines: {rows / bare.here:,.0f} rows/s, {peak() - before} MB")
        _, least = measured(lambda: parsed_too(rc))
        print(
            f"and parsing what is no reply: {rows / least.here:,.0f} rows/s ({bare.here / least.here:.0%} of that)", flush=True
        )
        settings: dict[str, Settings] = {
            f"{share:.0%} of the posts count": {"posts": Path(folder, f"RS_{share}.zst")} for share in SHARES
        }
        settings["every comment of the first rank is read"] = {"missing_post": "?"}
        for name, own in settings.items():
            source = RedditVotes(comments=rc, split="all", processes=processes, **own)
            asking = Asking()
            pairs, spent = measured(lambda source=source, asking=asking: sum(1 for _ in source.collect(asking)))
            read = asking.tally.read
            told = [f"{read / spent.here:,.0f} rows/s ({read / spent.here / (rows / bare.here):.0%} of unpacking)"]
            if processes > 1:
                told.append(f"the {processes} others {read / spent.helpers:,.0f} rows/s together")
                told.append(f"on the clock {read / spent.clock:,.0f} rows/s ({read / spent.clock / (rows / bare.clock):.0%})")
            print(f"{name}: {', '.join(told)}; {pairs:,} pairs, {peak() - before} MB", flush=True)


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:4]))
