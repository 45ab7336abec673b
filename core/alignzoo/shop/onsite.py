"""What an installation left in site-packages, compared with what it said it would: nothing is imported."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlparse

from alignzoo.seam.installed import GROUP, Entry, entries


def damaged(entry: Entry) -> Iterator[str]:
    """Files that are not any more what the distribution's RECORD says."""
    folder = Path(entry.info).parent
    for name, told in _record(entry):
        algorithm, _, digest = told.partition("=")
        path = folder / name
        if algorithm != "sha256" or name.endswith(".pyc"):
            continue
        if not path.is_file():
            yield f"{name} is gone"
        elif base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode() != digest:
            yield f"{name} was changed after it was installed"


def overlaps(there: Iterable[Entry]) -> Iterator[tuple[str, list[str]]]:
    """Files that more than one distribution of plugins says are its own."""
    owners: dict[str, list[str]] = {}
    for entry in {entry.info: entry for entry in there}.values():
        for name, _ in _record(entry):
            if name.startswith("..") or ".dist-info/" in name or "__pycache__" in name:
                continue
            owners.setdefault(name, []).append(entry.distribution)
    yield from ((name, sorted(set(names))) for name, names in owners.items() if len(set(names)) > 1)


def editable(entry: Entry) -> str:
    """The folder of an editable installation; "" where it is none."""
    try:
        about = json.loads(Path(entry.info, "direct_url.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    is_editable = isinstance(about, dict) and about.get("dir_info", {}).get("editable")
    return unquote(urlparse(about["url"]).path) if is_editable else ""


def broken_editable(entry: Entry) -> Iterator[str]:
    """An editable installation whose folder has moved, or says something else than when it was installed."""
    folder = editable(entry)
    if not folder:
        return
    if not os.path.isdir(folder):
        yield f"its folder {folder} is gone"
        return
    try:
        project = tomllib.loads(Path(folder, "pyproject.toml").read_text(encoding="utf-8"))["project"]
    except (OSError, ValueError, KeyError):
        yield f"{folder} has no pyproject.toml that can be read"
        return
    points = project.get("entry-points", {}).get(GROUP, {})
    installed = {e.plugin: e.module for e in entries() if e.info == entry.info}
    if points and points != installed:
        yield f"its pyproject.toml names other plugins now than when it was installed: {', '.join(points)}"


def _record(entry: Entry) -> list[tuple[str, str]]:
    """(path, hash) of every file that the distribution installed; none where it kept no record."""
    try:
        text = Path(entry.info, "RECORD").read_text(encoding="utf-8")
    except OSError:
        return []
    return [(row[0], row[1]) for row in csv.reader(text.splitlines()) if len(row) == 3]
