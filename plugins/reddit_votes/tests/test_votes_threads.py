"""Rows are put together by post whatever their number, in memory that does not grow with it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alignzoo_reddit_votes import threads
from alignzoo_reddit_votes.threads import Heap, threads_in
from alignzoo_reddit_votes.votes import Comment, Post

SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
CALM = settings(deadline=None, max_examples=30, suppress_health_check=SLOW_IS_FINE)
KEYS = st.integers(0, 300) | st.sampled_from([64**k for k in range(6)]) | st.integers(0, 36**10)


def rows(keys: list[int]) -> list[Comment]:
    return [
        Comment(key, f"c{i}", (0, i), text="words " * 20, score=i, author=b"12345678", stickied=None)
        for i, key in enumerate(keys)
    ]


def grouped(folder: Path, given: list[Any]) -> list[list[Any]]:
    heap = Heap(folder)
    heap.put_all(given)
    found = [thread for path in heap.files() for thread in threads_in(path)]
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    return found


def test_rows_come_back_as_they_went(tmp_path: Path) -> None:
    one = Post(
        7, "7", (1, 2), 3, "", ("self_post",), 4, 5, "title", "text", "sub", b"hash", False, None, True, False, upvote_ratio=0.5
    )
    two = Comment(7, "c", (0, 9), unknown=("score_age",), text="漢字\ud800", parent="p", age=None, hidden=True)
    big = Post(36**12, "zzz", (0, 1))
    assert sorted(grouped(tmp_path, [one, big, two])) == [[one, two], [big]]


@CALM
@given(st.lists(KEYS, max_size=200), st.sampled_from([400, 1 << 20]))
def test_every_row_is_in_the_thread_of_its_post_once_and_in_order(tmp_path: Path, keys: list[int], large: int) -> None:
    threads_before, threads.LARGE = threads.LARGE, large
    try:
        found = grouped(Path(mkdtemp(dir=tmp_path)), rows(keys))
    finally:
        threads.LARGE = threads_before
    assert all(len({row.key for row in thread}) == 1 for thread in found)
    assert len({thread[0].key for thread in found}) == len(found) == len(set(keys))
    assert all(thread == sorted(thread, key=lambda row: row.place) for thread in found)
    assert sorted((row for thread in found for row in thread), key=lambda row: row.place) == rows(keys)


def test_a_file_that_is_too_large_is_divided_again_and_others_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "LARGE", 20_000)
    heap = Heap(tmp_path)
    heap.put_all(rows([64 * i for i in range(640)] + [1] * 9))
    found = (thread for path in heap.files() for thread in threads_in(path))
    next(found)
    assert {path.name for path in tmp_path.iterdir()} == {"00.d", "01"}
    assert len(list((tmp_path / "00.d").iterdir())) == 63  # one was just read
    assert max(path.stat().st_size for path in (tmp_path / "00.d").iterdir()) < 20_000
    assert [len(thread) for thread in found] == [1] * 639 + [9]


def test_a_thread_that_is_too_large_for_any_file_is_given_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "LARGE", 100)
    assert [len(thread) for thread in grouped(tmp_path, rows([5] * 500))] == [500]


MEASURE = """
import resource, sys
from pathlib import Path
from alignzoo.interfaces import Asking
from alignzoo_reddit_votes.reddit import RedditVotes
asking = Asking()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
source = RedditVotes(comments=Path(sys.argv[1]), split="all", missing_post="A post in r/{subreddit}.")
pairs = sum(1 for _ in source.collect(asking))
print(pairs, asking.tally.read, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux")
@pytest.mark.parametrize("name", ["RC.jsonl", "RC.json"])
def test_memory_does_not_grow_with_the_dump(name: str, tmp_path: Path, make: Any) -> None:
    """67 MB of comments, all of them read and kept on disk: the worst case. What is in memory is a sixteenth, and no more
    where the ending is that of one document."""
    path = tmp_path / name
    words = "thorns and paper and patience " * 30
    with path.open("w") as file:
        for i in range(60_000):
            row = make.comment(f"{i}", 2 + i // 5000 * 17 % 50, i % 9001, to=f"{i % 5000}", body=f"{words}{i}")
            file.write(json.dumps(row, separators=(",", ":")) + "\n")
    assert path.stat().st_size > 65 << 20
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    pairs, read, megabytes = map(int, done.stdout.split())
    assert (pairs > 10_000, read) == (True, 60_000)
    assert megabytes < 40
