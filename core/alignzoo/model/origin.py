"""Which base an adapter belongs to. It fits every base of its shape, and says something on each of them; so what tells its own
base from another lies beside it, and whoever loads it compares."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignzoo.model.loading import ModelError, checksum, quantized_layers

NAME = "base.json"


def origin(model: Any, files: str) -> dict[str, str]:
    """What is known of a base: its files or its commit on the hub, and, where nothing is quantized, its weights as they are."""
    known = {"files": files, "commit": str(getattr(model.config, "_commit_hash", None) or "")}
    if not quantized_layers(model):
        known[str(model.dtype).removeprefix("torch.")] = f"{checksum(model):x}"
    return {name: value for name, value in known.items() if value}


def write(folder: Path, known: Mapping[str, str]) -> None:
    (folder / NAME).write_text(json.dumps(known) + "\n", encoding="utf-8")


def check(folder: Path, known: Mapping[str, str]) -> None:
    """An error where the base is known to be another than the adapter's: where nothing that is known of both agrees."""
    file = folder / NAME
    try:
        theirs = dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}
    except (ValueError, TypeError) as error:
        raise ModelError(f"{file} is damaged: {error}") from None
    shared = [name for name in known if name in theirs]
    if shared and not any(known[name] == theirs[name] for name in shared):
        raise ModelError(
            f"what {folder} holds was trained on another base than this one: it fits, and what it says here is worth nothing. "
            f"Load it on its own base; if this one is meant, delete {file}"
        )
