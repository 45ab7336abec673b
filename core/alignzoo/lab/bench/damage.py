"""Files of finished runs that are not what they were: what cannot be what a run wrote is named and made again, what somebody
changed is refused."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alignzoo.lab.bench.folder import BenchFolder
from alignzoo.lab.bench.grid import BenchError
from alignzoo.lab.bench.outcome import damaged

_NUMBER = (int, float)
_FIELDS: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "answers.jsonl": {"who": str, "number": int, "prompt": dict, "completion": dict},
    "scores.jsonl": {"who": str, "number": int, "prompt": str, "score": _NUMBER, "values": dict},
    "updates.jsonl": {"update": int},
    "trail.jsonl": {"update": int},
    "summary.json": {"ledger": dict, "optimizer": dict, "stopped": str},
    "serving.json": {"start": dict, "policy": dict},
    "judging.json": {"bounds": dict},
    "report.json": {"policy": dict},
}
"""What a row of each file says at least."""


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


def fault_in(path: Path) -> str:
    """Why no run can have written a file as it is, and in which line; empty if one can."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".toml":
        return _not_toml(path, text)
    whole, seen = path.suffix == ".json", set[str]()
    lines = [text] if whole else text.removesuffix("\n").split("\n")  # there are line ends that may stand within a row
    for number, line in enumerate(lines, start=1):
        try:
            why = _unlike(path.name, json.loads(line, parse_constant=_no_figure))
        except json.JSONDecodeError as error:
            number, why = error.lineno if whole else number, f"not JSON: {error.msg}"
        except (ValueError, RecursionError) as error:
            why = str(error)
        if why or line in seen:
            return f"{path}:{number}: {why or 'there twice'}"
        seen.add(line)
    return ""


def _not_toml(path: Path, text: str) -> str:
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        return f"{path}: not TOML: {error}"
    return ""


def _no_figure(word: str) -> float:
    raise ValueError(f"{word} is no figure")


def _unlike(name: str, row: Any) -> str:
    """In what a row is not one of the file that it stands in."""
    if not isinstance(row, dict):
        return f"{json.dumps(row)[:40]} is no row"
    for field, kind in _FIELDS.get(name, {}).items():
        if field not in row:
            return f"'{field}' is missing"
        if not isinstance(row[field], kind):
            return _cannot(field, row[field])
    figures = row if name == "updates.jsonl" else row["values"] if name == "scores.jsonl" else {}
    odd = (_cannot(field, value) for field, value in figures.items() if not isinstance(value, _NUMBER))
    return next(odd, "")


def _cannot(field: str, value: Any) -> str:
    return f"'{field}' cannot be {json.dumps(value)[:40]}"


def undo(root: Path, name: str) -> None:
    """Remove what was made from a file, and it. From its settings a run was made as a whole."""
    order = ("start", "reward", "train", "answers", "scores", "report")
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
