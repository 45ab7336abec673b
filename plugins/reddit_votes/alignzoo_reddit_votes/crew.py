"""The same work on many things, in their order: here, or in several processes that each do one thing at a time."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from typing import Any, Protocol, TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


class CrewError(ValueError):
    """A process that worked for this one is gone."""


class Each(Protocol):
    """As `map`."""

    def __call__(self, work: Callable[[Given], Made], things: Iterable[Given], /) -> Iterator[Made]: ...


@contextmanager
def crew(processes: int) -> Iterator[Each]:
    """What does the work: this process if there is to be only one."""
    if processes == 1:
        yield map
        return
    # new processes, not copies of this one: a copy of what holds a model and its threads may stand still for ever
    context = get_context("spawn")
    pipes = [Pipe() for _ in range(processes)]
    workers = [context.Process(target=_serve, args=(there,), daemon=True) for _, there in pipes]
    try:
        for worker, (_, there) in zip(workers, pipes, strict=True):
            worker.start()
            there.close()  # only the worker has this end now: if it dies, reading from ours fails, and does not wait
        yield partial(_in_order, [here for here, _ in pipes])
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise CrewError(
            "a process that helped to read was ended, perhaps for want of memory: write processes = 1, or fewer than now; a "
            'script of your own must begin its work below: if __name__ == "__main__":'
        ) from None
    finally:
        for here, _ in pipes:
            here.close()
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
                worker.join()


def _in_order(crew: list[Connection], work: Callable[[Given], Made], things: Iterable[Given]) -> Iterator[Made]:
    """Who has been at work the longest is asked first, and is given the next thing before what he made is looked at."""
    busy: deque[Connection] = deque()
    for thing in things:
        if len(busy) < len(crew):
            one = crew[len(busy)]
            one.send((work, thing))
            busy.append(one)
            continue
        one = busy.popleft()
        answer = one.recv()
        one.send((work, thing))
        busy.append(one)
        yield _made(answer)
    for one in busy:
        yield _made(one.recv())


def _made(answer: Any) -> Any:
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _serve(pipe: Connection) -> None:
    """What a worker does until the pipe is closed. Who stops the run stops the one who gives it work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            work, thing = pipe.recv()
        except EOFError:
            return
        try:
            made = work(thing)
        except Exception as error:
            made = error
        pipe.send(made)
