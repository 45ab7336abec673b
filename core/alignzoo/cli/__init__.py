"""The command line. One file per verb, each with `add(subparsers)` and `run(args)`; what a verb needs it imports in
`run`, so that the light verbs stay light."""

from __future__ import annotations

import gc
import os
import sys

from alignzoo.seam.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

USER_ERROR = 2
INTERRUPTED = 130
PIPE_CLOSED = 141
OUT_OF_MEMORY = (
    "out of memory; what was finished is kept. Take less at once: optimizer.descent.micro_tokens, batch_size, fewer or shorter "
    "answers; or model.checkpointing, or a quantized model"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. What a user can mend is said in one line; a bug shows its traceback."""
    from alignzoo.cli.plain import QUICK, plainly

    said, collecting = sys.argv[1:] if argv is None else argv, gc.isenabled()
    try:
        if said[:1] and said[0] in QUICK:
            _forgo_collecting(process_is_ours=argv is None)
        args = plainly(said) or _parsed(said)
        code: int = args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        print(f"alignzoo: interrupted{f': {stop}' if str(stop) else ''}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more when it ends
        return PIPE_CLOSED
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise
        print(f"alignzoo: {OUT_OF_MEMORY} ({(str(error) or 'MemoryError').splitlines()[0]})", file=sys.stderr)
        return USER_ERROR
    except (ValueError, OSError) as error:
        if not _for_users(error):
            raise
        for line in _words(error).splitlines():
            print(f"alignzoo: {line}", file=sys.stderr)
        return USER_ERROR
    finally:
        if collecting:
            gc.enable()
    return code


def _forgo_collecting(process_is_ours: bool) -> None:
    """A listing ends before there is any garbage to collect, and its process with it."""
    gc.disable()
    if process_is_ours:
        import atexit

        atexit.register(gc.freeze)


def _parsed(argv: Sequence[str]) -> Any:
    from alignzoo.cli.parser import parsed

    return parsed(argv)


def _for_users(error: ValueError | OSError) -> bool:
    """An error that somebody worded for users: one of our own classes or of a plugin's, or what the system says of a
    file. Any other ValueError is a bug."""
    from alignzoo.seam.installed import entries
    from alignzoo.seam.local import modules

    ours = {"alignzoo", *modules(), *(entry.module.partition(".")[0] for entry in entries())}
    return isinstance(error, OSError) or any(kind.__module__.partition(".")[0] in ours for kind in type(error).__mro__)


def _out_of_memory(error: RuntimeError | MemoryError) -> bool:
    """torch says so with an error of its own on a GPU, and in the words of one on a CPU."""
    said = str(error)
    return isinstance(error, MemoryError) or "out of memory" in said or "can't allocate memory" in said


def _words(error: ValueError | OSError) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
