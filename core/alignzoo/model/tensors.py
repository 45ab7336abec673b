"""Tensors on disk, as safetensors. What goes wrong there is told as of any other file: by the system's own error, with the
file's name, and of a file that is no longer whole by an error that says so."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from alignzoo.model.loading import ModelError


def write(tensors: Mapping[str, Tensor], path: Path) -> None:
    with told_of(path):
        save_file({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}, path)


def read(path: Path) -> dict[str, Tensor]:
    with told_of(path):
        return load_file(path)


@contextmanager
def told_of(path: Path) -> Iterator[None]:
    """Around what writes or reads safetensors: their error says neither which file it was nor, but in its text, that a disk is
    full, which whoever waits for room must be able to tell from a bug."""
    try:
        yield
    except SafetensorError as error:
        if found := re.search(r"\(os error (\d+)\)", str(error)):
            number = int(found[1])
            raise OSError(number, os.strerror(number), str(path)) from None
        raise ModelError(f"{path} is damaged: {error}") from None
