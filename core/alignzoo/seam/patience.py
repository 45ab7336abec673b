"""A limit on how long something of somebody else's may take, where the system has alarms (not on Windows)."""

from __future__ import annotations

import os
import sys

from alignzoo.seam.light import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
    from types import FrameType
else:
    try:
        import _signal as signal  # what `signal` dresses in enums, which take as long to be made as twenty plugins to be listed
    except ImportError:  # it is CPython's own
        import signal

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


class patience:
    """Interrupt the body when its time is over, and again every second in case that is swallowed. Python runs signal
    handlers in the main thread only; elsewhere nobody is interrupted."""

    def __init__(self, seconds: float) -> None:
        self.seconds = 0.0 if sys.platform == "win32" or not _in_main_thread() else seconds

    def __enter__(self) -> None:
        if self.seconds:
            self.handler = signal.signal(signal.SIGALRM, _stop)
            self.left = signal.setitimer(signal.ITIMER_REAL, self.seconds, 1.0)

    def __exit__(self, *raised: object) -> None:
        if self.seconds:
            signal.setitimer(signal.ITIMER_REAL, *self.left)
            signal.signal(signal.SIGALRM, self.handler)


def _stop(number: int, frame: FrameType | None) -> None:
    raise TookTooLong


def _in_main_thread() -> bool:
    threading = sys.modules.get("threading")  # whoever never imported it has one thread
    return threading is None or threading.current_thread() is threading.main_thread()
