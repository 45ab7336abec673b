"""Stages that were done before: a start or a reward model is made once for all runs that ask for the same.

What a stage comes to is decided by its content: the bytes of the model, every setting that it reads, its feedback's source,
the bytes of the plugins and the versions of the libraries. Finished stages are kept beside the run folders, in `.stages/`,
by the hash of all that; whoever needs one takes a copy, so that each run's folder stays whole by itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alignzoo.lab.claims import claimed
from alignzoo.lab.plan import Plan, trunk
from alignzoo.lab.store import file_digest
from alignzoo.model.files import files_of

_LAYOUT = 2
"""How a stage lies on the shelf: its files and folders by their names."""
_READ_BY_ALL = ("seed", "threads", "model", "task", "start", "watch", "intake")


def key_of(plan: Plan, rows: Mapping[str, Any], places: Iterable[str]) -> str:
    """The name of a stage by its content: what every stage reads, its own `rows`, and the plugins in these places."""
    table, made_with = plan.table(), plan.made_with()
    rows = {**rows, "whose": table["whose"]} if "whose" in table else rows  # what is held back from all of them
    parts = plan.parts()
    read = ("model", "task", *places)
    names = {part.found.full_name for place, part in parts.items() if trunk(place) in read}
    settings = {name: table.get(name) for name in _READ_BY_ALL}
    content = {
        "layout": _LAYOUT,
        "settings": settings,
        "manner": table["answer"]["manner"],  # candidates are written in it
        "rows": rows,
        "files": named_files({"settings": settings, "rows": rows}),
        "weights": weights(plan.model),
        "made_with": {name: value for name, value in made_with.items() if name != "plugins"},
        "plugins": {name: digest for name, digest in made_with["plugins"].items() if name in names},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def named_files(settings: Any) -> dict[str, str]:
    """The digest of every file that a setting names, whatever the setting is called: with other bytes in it, it is another
    stage."""
    if isinstance(settings, Mapping):
        settings = tuple(settings.values())
    if isinstance(settings, list | tuple):
        return {path: digest for part in settings for path, digest in named_files(part).items()}
    return {str(settings): file_digest(Path(settings))} if isinstance(settings, str | Path) and _is_file(settings) else {}


def _is_file(setting: str | Path) -> bool:
    """A setting that is a long text, such as a template, is no path that the system could look up."""
    try:
        return bool(str(setting)) and Path(setting).is_file()
    except OSError:
        return False


@contextmanager
def shared(shelf: Path, key: str, *paths: Path, tell: Callable[[str], None]) -> Iterator[bool]:
    """Whether the same stage was done before, so that a copy of it serves; else what the block makes is kept. Of several
    processes that need it one makes it, the others wait."""
    with claimed(shelf / f"{key}.claim", tell):
        if taken := take(shelf, key, *paths):
            tell(f"done before with the same content: taken from {shelf / key}")
        yield taken
        if not taken:
            put(shelf, key, *paths)


def take(shelf: Path, key: str, *paths: Path) -> bool:
    """Copy a finished stage, by the names of its files and folders, into a run that has not begun it or was interrupted in it;
    whether there was one to copy."""
    if not (shelf / key).exists():
        return False
    for path in paths:
        if (shelf / key / path.name).exists():
            _copy(shelf / key / path.name, path)
    return True


def put(shelf: Path, key: str, *paths: Path) -> None:
    """Keep a copy of a finished stage for others."""
    if not (shelf / key).exists():
        draft = shelf / f"{key}.{os.getpid()}.part"
        shutil.rmtree(draft, ignore_errors=True)
        for path in (path for path in paths if path.exists()):
            _copy(path, draft / path.name)
        _into_place(draft, shelf / key)


def _copy(source: Path, target: Path) -> None:
    """A file or folder, there whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f"{target.name}.{os.getpid()}.part")
    shutil.rmtree(draft, ignore_errors=True)
    if source.is_dir():
        shutil.copytree(source, draft, ignore=shutil.ignore_patterns("checkpoint", "*.part"))
        shutil.rmtree(target, ignore_errors=True)  # what an interruption left; the whole is at hand
    else:
        shutil.copyfile(source, draft)
    _into_place(draft, target)


def _into_place(draft: Path, target: Path) -> None:
    try:
        os.replace(draft, target)
    except OSError:  # another run put it there in the meantime, or it cannot be put anywhere
        shutil.rmtree(draft, ignore_errors=True)
        if not target.exists():
            raise


def weights(model: str) -> list[tuple[str, int, str]]:
    """What tells one local model from another without loading it; nothing for a name on the hub."""
    return [(name, size, file_digest(path)) for name, size, path in files_of(model)]
