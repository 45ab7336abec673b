"""Prompts of one's own: every prompt in one split, for good."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignzoo.interfaces import Task
from alignzoo_prompts.prompts import Prompts


def written(folder: Path, count: int) -> Path:
    file = folder / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"question {number}"}) + "\n" for number in range(count)))
    return file


def test_every_prompt_is_in_one_split_and_stays_there(tmp_path: Path) -> None:
    task = Prompts(written(tmp_path, 400))
    assert isinstance(task, Task)
    splits = {name: [prompt.text for prompt in task.prompts(name)] for name in ("train", "validation", "test")}
    assert sorted(text for split in splits.values() for text in split) == sorted(f"question {number}" for number in range(400))
    assert [len(splits[name]) / 400 for name in splits] == pytest.approx([0.7, 0.1, 0.2], abs=0.06)
    more = Prompts(written(tmp_path, 500))
    assert all(set(splits[name]) <= {prompt.text for prompt in more.prompts(name)} for name in splits)


def test_a_prompt_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    file = written(tmp_path, 50)
    file.write_text(file.read_text() * 2)
    assert sum(len(Prompts(file).prompts(name)) for name in ("train", "validation", "test")) == 50


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"test": 0.6, "validation": 0.5}, "leave no prompt"),
        ({"file": Path("nowhere.jsonl")}, "no file nowhere"),
        ({"test": 0.0001}, "into 'test'"),
    ],
)
def test_what_cannot_be(settings: dict[str, object], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=complaint):
        Prompts(**{"file": written(tmp_path, 5), **settings})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no split is named"):
        Prompts(written(tmp_path, 60)).prompts("dev")
