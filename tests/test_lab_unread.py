"""What nobody reads is not made, and what two read is made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignzoo.lab.listener import Listener
from alignzoo.lab.run import Run
from alignzoo.testing import toy_folder

RUN = """
name = "toy"
[task]
use = "playground"
[model]
path = "{model}"
[model.lora]
rank = 4
[feedback]
use = "playground"
count = 16
answers = 2
[reward]
use = "reward-model"
batch_size = 8
samples = 8
[reward.feedback]
use = "playground"
count = 16
answers = 2
[optimizer]
use = "ppo"
[watch]
every = 0
[answer.manner]
max_tokens = 6
"""
SHORT = '{use = "ppo", updates = 1, prompts_per_update = 4, exploring = {max_tokens = 6}}'


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unread")
    (folder / "toy.toml").write_text(RUN.format(model=toy_folder(folder / "model")))
    return folder / "toy.toml"


def trained(file: Path, name: str, optimizer: str, shelf: Path | None = None) -> tuple[Run, list[str]]:
    said: list[str] = []
    run = Run.open(file, file.parent / name, [f"optimizer={optimizer}"], Listener(line=said.append))
    run.shelf = shelf
    run.train()
    return run, said


def test_feedback_that_the_optimizer_does_not_ask_for_is_not_collected(file: Path) -> None:
    run, said = trained(file, "ppo", SHORT)
    assert not run.files.feedback.exists()
    assert run.files.reward(1).done
    assert "optimizer:ppo/ppo asks for prompts and reward: what else the run names is left alone" in said


def test_a_reward_that_the_optimizer_does_not_ask_for_is_not_trained(file: Path) -> None:
    run, said = trained(file, "dpo", '{use = "dpo", batch_size = 8}')
    assert run.files.feedback.exists()
    assert not run.files.reward(1).folder.exists()
    assert any("asks for comparisons: what else" in line for line in said)
    run.rewards()  # but whoever wants it may have it made
    assert run.files.reward(1).done


def test_feedback_that_a_reward_and_an_optimizer_learn_from_is_gathered_once(file: Path) -> None:
    """With a shelf, as a bench has one; and [reward.feedback] is [feedback] if its settings are."""
    shelf = file.parent / "shelf"
    ppo, said = trained(file, "shelved-ppo", SHORT, shelf)
    assert not any("done before" in line for line in said)
    dpo, said = trained(file, "shelved-dpo", '{use = "dpo", batch_size = 8}', shelf)
    assert sum("done before" in line for line in said) == 1
    assert dpo.files.feedback.read_bytes() == ppo.files.reward(1).feedback.read_bytes()
    assert dpo.files.feedback.with_suffix(".tally.json").exists()
