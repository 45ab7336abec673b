"""A disk that is full, or a file that may grow no more: what could not be written is named, and nothing is torn."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alignzoo.lab import store
from alignzoo.lab.compare import verdicts
from alignzoo.lab.plan import Answering
from alignzoo.lab.trail import Trail
from alignzoo.records import Completion, Demonstration, Prompt


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_fails_names_the_file_and_leaves_what_was_there(tmp_path: Path) -> None:
    kept = verdicts.Kept.at(tmp_path / "verdicts.jsonl")
    case = verdicts.Case("k" * 5000, Prompt.ask("?"), Completion("a"), Completion("b"))
    trail = Trail(tmp_path / "trail.jsonl", 1, (), Answering(), lambda prompts, said: [])
    records = [Demonstration(Prompt.ask("?"), Completion("a" * 5000))]
    writing: dict[str, Callable[[], object]] = {
        "report.md": lambda: store.write_text(tmp_path / "report.md", "a" * 5000),
        "feedback.jsonl": lambda: store.write_feedback(tmp_path / "feedback.jsonl", records),
        "verdicts.jsonl": lambda: kept.add([case], [0.5]),
        "trail.jsonl": lambda: trail._write(1, {"gold": [0.123456789] * 500}),
    }
    store.write_text(tmp_path / "report.md", "whole")
    for name, write in writing.items():
        with pytest.raises(OSError, match="too large") as raised, no_file_above(2000):
            write()
        assert raised.value.filename == str(tmp_path / name)
    assert (tmp_path / "report.md").read_text() == "whole"
    assert not kept.says
