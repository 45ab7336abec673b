"""What no run can have written: files of finished runs that are damaged, and in which line."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_NUMBER = (int, float)
_FIELDS: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "answers.jsonl": {"who": str, "number": int, "prompt": dict, "completion": dict},
    "scores.jsonl": {"who": str, "number": int, "prompt": str, "score": _NUMBER, "values": dict},
    "updates.jsonl": {"update": int},
    "trail.jsonl": {"update": int, "gold": _NUMBER},
    "summary.json": {"ledger": dict, "optimizer": dict, "stopped": str},
    "serving.json": {"start": dict, "policy": dict},
    "judging.json": {"bounds": dict},
    "report.json": {"policy": dict},
    "run.toml": {"name": str, "seed": int, "judge": dict, "optimizer": dict},
}
"""What a row of each file says at least."""
_KINDS: Mapping[str, type] = {"warnings": list, "machine": dict, "made_with": dict, "answer": dict, "use": str, "text": str}
"""What something is, where it is there."""
_WITHIN: Mapping[str, Mapping[str, str]] = {
    "answers.jsonl": {"completion": "text"},
    "run.toml": {"judge": "use", "optimizer": "use"},
}
"""What a table in it says at least."""
_EMPTY = ("kl", "proxy")
"""Figures that may not be known."""


def faults_in(root: Path) -> Iterator[str]:
    """What is wrong with the files of a run."""
    paths = (path for pattern in ("*.json", "*.jsonl", "*.toml") for path in root.rglob(pattern))
    yield from filter(None, map(fault_in, sorted(path for path in paths if path.is_file())))


def fault_in(path: Path) -> str:
    """Why no run can have written a file as it is, and in which line; empty if one can."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".toml":
        return _fault_in_settings(path, text)
    whole, seen, values = path.suffix == ".json", set[str](), list[Any]()
    lines = [text] if whole else text.removesuffix("\n").split("\n")  # there are line ends that may stand within a row
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line, parse_constant=_no_figure)
            why = _unlike(path.name, row)
            if path.name == "scores.jsonl" and not why:
                values.append(row["values"])
                why = "" if values[0].keys() == values[-1].keys() else _cannot("values", values[-1])
        except json.JSONDecodeError as error:
            number, why = error.lineno if whole else number, f"not JSON: {error.msg}"
        except (ValueError, RecursionError) as error:
            why = str(error)
        if why or line in seen:
            return f"{path}:{number}: {why or 'there twice'}"
        seen.add(line)
    return ""


def _fault_in_settings(path: Path, text: str) -> str:
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        return f"{path}: not TOML: {error}"
    why = _unlike(path.name, table)
    return f"{path}: {why}" if why else ""


def _no_figure(word: str) -> float:
    raise ValueError(f"{word} is no figure")


def _unlike(name: str, row: Any) -> str:
    """In what a row is not one of the file that it stands in."""
    known = _FIELDS.get(name, {})
    if not isinstance(row, dict):
        return f"{json.dumps(row)[:40]} is no row" if known else ""
    for field, kind in known.items():
        if field not in row:
            return f"'{field}' is missing"
        if not _is(row[field], kind):
            return _cannot(field, row[field])
    for field, inner in _WITHIN.get(name, {}).items():
        if inner not in row[field]:
            return f"'{field}.{inner}' is missing"
    return (next(_odd_words(row), "") or next(_odd_figures(name, row), "")) if known else ""


def _odd_words(row: Mapping[str, Any]) -> Iterator[str]:
    """Of a row, and of the tables in it."""
    for table in (row, *(inner for inner in row.values() if isinstance(inner, dict))):
        yield from (_cannot(field, table[field]) for field, kind in _KINDS.items() if not _is(table.get(field, kind()), kind))
    if not _is(plugins := row.get("made_with", {}).get("plugins", {}), dict):
        yield _cannot("made_with.plugins", plugins)


def _odd_figures(name: str, row: Mapping[str, Any]) -> Iterator[str]:
    """What must be a number and is none."""
    figures = {
        "answers.jsonl": {"kl": row.get("kl")},
        "scores.jsonl": row.get("values"),
        "updates.jsonl": row,
        "trail.jsonl": {field: value for field, value in row.items() if field != "each"},
        "summary.json": row.get("ledger"),
    }
    for field, value in (figures.get(name) or {}).items():
        if not _is(value, _NUMBER) and not (value is None and field in _EMPTY):
            yield _cannot(field, value)
    for field, ends in (row["bounds"] if name == "judging.json" else {}).items():
        if not (isinstance(ends, list) and len(ends) == 2 and all(_is(end, _NUMBER) for end in ends)):
            yield _cannot(field, ends)


def _is(value: Any, kind: type | tuple[type, ...]) -> bool:
    """A truth is no number here, nor is one without end."""
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return isinstance(value, kind) and not isinstance(value, bool)


def _cannot(field: str, value: Any) -> str:
    return f"'{field}' cannot be {json.dumps(value, default=str)[:40]}"
