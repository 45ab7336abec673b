"""Fixtures of the model and learning rooms: a folder for each family of tiny random models, and the toy base."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from alignzoo.model.base import Base


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny random model of this family, made once."""
    from families import write

    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = write(name, tmp_path_factory.mktemp(name))
        return made[name]

    return folder


@pytest.fixture
def base() -> Base:
    from alignzoo.testing import toy_base

    return toy_base()


@pytest.fixture
def spoken(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What alignzoo's own log has said since the test began."""
    with caplog.at_level("WARNING", logger="alignzoo"):
        yield lambda: [record.getMessage() for record in caplog.records if record.name == "alignzoo"]
