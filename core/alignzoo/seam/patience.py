"""A limit on how long something of somebody else's may take, where the system has alarms (not on Windows)."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SECONDS = 20.0
"""For importing one plugin. A light one takes milliseconds, and one that drags torch in still comes back in time."""
VARIABLE = "ALIGNZOO_PATIENCE"


class TookTooLong(BaseException):
    """Raised inside what does not come back; no `Exception`, so that a plugin's own handlers let it pass."""


def limit() -> float:
    """How many seconds a plugin has; 0 is no limit."""
    try:
        return max(float(os.environ.get(VARIABLE, SECONDS)), 0.0)
    except ValueError:
        return SECONDS


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Interrupt the body when its time is over, and again every second in case that is swallowed. Python runs signal
    handlers in the main thread only; elsewhere nobody is interrupted."""
    main = threading.current_thread() is threading.main_thread()
    if not seconds or not main or sys.platform == "win32":
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TookTooLong

    handler = signal.signal(signal.SIGALRM, stop)
    left = signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *left)
        signal.signal(signal.SIGALRM, handler)
