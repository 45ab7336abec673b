"""Files of finished runs that are not what they were: what cannot be what a run wrote is named and made again, what somebody
changed is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from alignzoo.lab.bench.folder import BenchFolder
from alignzoo.lab.bench.grid import BenchError
from alignzoo.lab.bench.outcome import damaged
from alignzoo.lab.faults import fault_in


def mend(files: BenchFolder) -> Iterator[str]:
    """Look whether finished runs are what they were. What cannot be read is named and will be made again; what was changed by
    somebody is refused."""
    for cell in files.cells():
        outcome, root = files.outcome(cell), files.run(cell)
        if outcome is None or outcome.state != "done":
            continue
        if not outcome.whole:
            yield f"{files.outcome_file(cell)} does not say what the run came to: looked for again"
        elif not (names := damaged(root, outcome)):
            continue
        else:
            yield from _undone(root, names)
        files.outcome_file(cell).unlink(missing_ok=True)


def _undone(root: Path, names: list[str]) -> Iterator[str]:
    """What is wrong with each of these files; with what was made from it, it is removed."""
    for path in (root / name for name in names):
        fault = fault_in(path) if path.exists() else f"{path} is gone"
        if not fault:
            raise BenchError(f"{path} was changed after it was made. Put it back as it was, or remove it to have it made again")
        yield f"{fault}: made again"
        undo(root, str(path.relative_to(root)))


def undo(root: Path, name: str) -> None:
    """Remove what was made from a file, and it. From its settings a run was made as a whole."""
    order = ("start", "reward", "train", "answers", "jury", "scores", "report")
    if name == "run.toml":
        shutil.rmtree(root)
        return
    for path in list(root.iterdir()):
        stage = _stage(path.name)
        if stage in order and order.index(stage) >= order.index(_stage(name)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _stage(name: str) -> str:
    """Which stage a file of a run is of."""
    first = name.partition("/")[0].partition(".")[0].rstrip("0123456789")
    return {"serving": "answers", "judging": "scores"}.get(first, first)
