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
        waiting = deque(worker.submit(_next, things) for _ in range(count))
        while made := waiting.popleft().result():
            waiting.append(worker.submit(_next, things))
            yield made[0]
    finally:
        worker.shutdown(cancel_futures=True)


def _next(things: Iterator[Thing]) -> tuple[Thing] | None:
    """One more, if there is one: any thing may come, also None."""
    for thing in things:
        return (thing,)
    return None
