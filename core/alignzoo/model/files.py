"""The files that a local model is made of, and what tells them from another's. Light: nothing is loaded for it."""

from __future__ import annotations

import hashlib
from pathlib import Path

_ENDS = 2**20


def files_of(model: str) -> list[tuple[str, int, Path]]:
    """Name, size and path of each file that a local model is made of; nothing for a name on the hub."""
    folder = Path(model)
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [(path.name, path.stat().st_size, path) for path in files if path.suffix in (".safetensors", ".json", ".jinja")]


def likeness(model: str) -> str:
    """What tells one local model from another at a glance: of each file its size, its beginning and its end, which a training
    changes as it does the rest."""
    whole = hashlib.sha256()
    for name, size, path in files_of(model):
        with path.open("rb") as file:
            ends = [file.read(_ENDS)]
            file.seek(max(0, size - _ENDS))
            ends.append(file.read(_ENDS))
        whole.update(repr((name, size, [hashlib.sha256(end).hexdigest() for end in ends])).encode())
    return whole.hexdigest()[:16] if Path(model).is_dir() else ""
