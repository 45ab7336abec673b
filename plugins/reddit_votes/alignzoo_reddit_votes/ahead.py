"""Things made ahead, in a thread of its own, while the last ones are looked at."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Thing = TypeVar("Thing")


def ahead(things: Iterator[Thing], count: int) -> Iterator[Thing]:
    """The same things, of which so many are made before they are asked for. The thread makes one at a time and waits for
    nobody: whoever stops asking, stops it."""
    worker = ThreadPoolExecutor(1, "ahead")
    try:
        waiting = deque(worker.submit(next, things, None) for _ in range(count))
        while (thing := waiting.popleft().result()) is not None:
            waiting.append(worker.submit(next, things, None))
            yield thing
    finally:
        worker.shutdown(cancel_futures=True)
