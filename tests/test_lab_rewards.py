"""Rewards in a run file: named, composed, trained in a stage of their own, and stages that are kept for others."""

from __future__ import annotations

import json
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w

from alignzoo.lab import store
from alignzoo.lab.costs import guess
from alignzoo.lab.listener import UPDATES, Listener
from alignzoo.lab.plan import PlanError
from alignzoo.lab.run import Run
from alignzoo.lab.runfile import read_plan
from alignzoo.learning.choices import Budget, Voice
from alignzoo.learning.memory import newest
from alignzoo.learning.rewards import Combined, ScoreError
from alignzoo.model.role import bare_on
from alignzoo.records import Completion, Prompt, completion_from_row, prompt_from_row
from alignzoo.seam.settings import SettingsError
from alignzoo.testing import toy_folder

RUN = """
name = "toy"
[task]
use = "playground"
[model]
path = "{model}"
[model.lora]
rank = 4
[start]
use = "sft"
batch_size = 8
[start.feedback]
use = "playground"
kind = "demonstrations"
count = 24
{rewards}
[optimizer]
use = "ppo"
updates = 3
prompts_per_update = 4
[optimizer.exploring]
max_tokens = 6
[watch]
every = 2
prompts = 4
tokens = 6
[answer]
prompts = 6
[answer.manner]
max_tokens = 6
[judge]
use = "playground-gold"
"""
GOLD = '[reward]\nuse = "playground-gold"\n'
LEARNED = """
[[reward]]
use = "reward-model"
batch_size = 8
samples = 8
[reward.feedback]
use = "playground"
count = 40
answers = 2

[[reward]]
use = "playground-gold"
name = "gold"
weight = 0
"""


def written(folder: Path, rewards: str, model: str = "some/folder") -> Path:
    file = folder / "toy.toml"
    file.write_text(RUN.format(model=model, rewards=rewards))
    return file


# In the file ------------------------------------------------------------------------------------------------------------


def test_one_reward_or_several_and_how_each_counts(tmp_path: Path) -> None:
    [lone] = read_plan(written(tmp_path, GOLD)).rewards
    assert (lone.part.found.full_name, lone.voice, lone.feedback) == (
        "reward:playground/playground-gold",
        Voice("playground-gold"),
        None,
    )
    learned, gold = read_plan(written(tmp_path, LEARNED)).rewards
    assert learned.part.found.full_name == "optimizer:reward_model/reward-model"
    assert learned.feedback is not None
    assert learned.feedback.made.count == 40
    assert gold.voice == Voice("gold", weight=0.0)


@pytest.mark.parametrize("rewards", [GOLD, LEARNED])
def test_what_is_written_reads_back_to_the_same_plan(rewards: str, tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, rewards))
    again = tmp_path / "again.toml"
    again.write_text(tomli_w.dumps(plan.table()))
    assert read_plan(again).table() == plan.table() == tomllib.loads(again.read_text())


@pytest.mark.parametrize(
    ("rewards", "complaint"),
    [
        ('[reward]\nuse = "playground-gould"', "reward.use: no reward named 'playground-gould'; did you mean"),
        ('[reward]\nuse = "reward-model"', "no reward named 'reward-model'; there is optimizer:reward_model/reward-model"),
        (GOLD + "weigth = 2.0", "reward: no such setting|reward.weigth: no such setting"),
        (
            "[[reward]]\n" + 'use = "length"\n' + "[[reward]]\n" + 'use = "sentiment"\nname = "length"',
            "two are called 'length'",
        ),
        ('[reward]\nuse = "length"\nat_most = 1.0\nweight = 3.0', "leave its weight at 1"),
        ('[reward]\nuse = "nowhere:score"', "'nowhere:score', a function of your own, cannot be imported"),
        ('[reward]\nuse = "json:loads_of"', "json has no 'loads_of'"),
        ('[reward]\nuse = "json:loads"\nstrict = true', "reward.strict: no such setting"),
        ("reward = 3", "reward: must be a table"),
        ('[reward]\nuse = "reward-model"\nfeedback = 3', r"reward.feedback: must be a table, \[reward.feedback\]"),
    ],
)
def test_mistakes_are_told_before_anything_is_done(rewards: str, complaint: str, tmp_path: Path) -> None:
    whole = RUN.format(model="some/folder", rewards=rewards)
    if rewards.startswith("reward ="):
        whole = rewards + "\n" + RUN.format(model="some/folder", rewards="")
    (tmp_path / "toy.toml").write_text(whole)
    with pytest.raises(SettingsError, match=complaint):
        read_plan(tmp_path / "toy.toml")


@pytest.mark.parametrize(
    ("rewards", "complaint"),
    [
        ("", r"optimizer:ppo/ppo needs reward, which the run does not have; add \[reward\] to the run file"),
        ('[reward]\nuse = "length"\nweight = 0', "one must be there to be raised"),
        ('[reward]\nuse = "dpo"\n[reward.feedback]\nuse = "playground"', "reward: optimizer:dpo/dpo deploys a policy"),
        ('[reward]\nuse = "length"\nat_most = 3.0', "one must be there to be raised"),
        (
            '[reward]\nuse = "reward-model"\non = "rankings"\n[reward.feedback]\nuse = "playground"\nkind = "thumbs"',
            "reward: optimizer:reward_model/reward-model needs rankings, but .* gives rating; set reward.feedback.kind = ",
        ),
    ],
)
def test_what_does_not_fit_is_refused(rewards: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=complaint):
        read_plan(written(tmp_path, rewards))


def test_a_reward_model_cannot_answer(tmp_path: Path) -> None:
    """Found out before it has been trained, and not when nobody answers."""
    text = RUN.format(model="some/folder", rewards="").partition("[optimizer]")[0]
    text += '[feedback]\nuse = "playground"\n[optimizer]\nuse = "reward-model"\n'
    (tmp_path / "toy.toml").write_text(text)
    with pytest.raises(PlanError, match=r"optimizer: .*reward-model deploys a reward, .* name it under \[reward\]"):
        read_plan(tmp_path / "toy.toml")


def test_a_function_of_ones_own_is_a_reward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_short.py").write_text(
        "def score(prompts, completions):\n    return [-len(c.text) for c in completions]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # put back what is added to it
    plan = read_plan(written(tmp_path, '[reward]\nuse = "mine_short:score"'))
    [own] = plan.rewards
    assert own.part.found.full_name == "mine_short:score"
    assert own.part.made([Prompt.ask("why")], [Completion("ab")]) == [-2]
    assert plan.table()["reward"]["use"] == "mine_short:score"
    assert plan.made_with()["plugins"]["mine_short:score"].partition("sha256:")[2]


# In a run ---------------------------------------------------------------------------------------------------------------


PROGRESS: list[tuple[str, int, int]] = []
"""What the run below told on its way."""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("rewards")
    listener = Listener(progress=lambda *told: PROGRESS.append(told))
    run = Run.open(written(folder, LEARNED, str(toy_folder(folder / "model"))), folder / "first", (), listener)
    run.report()
    return run


def test_each_training_is_told_with_how_many_updates_it_will_make(done: Run) -> None:
    """By its own feedback: 24 demonstrations in batches of 8, 40 comparisons in batches of 8, and PPO's three rounds."""
    told = [(update, whole) for what, update, whole in PROGRESS if what == UPDATES]
    assert told == [*((n, 3) for n in (1, 2, 3)), *((n, 5) for n in (1, 2, 3, 4, 5)), *((n, 3) for n in (1, 2, 3))]


def test_a_reward_is_trained_in_a_stage_of_its_own(done: Run) -> None:
    root = done.files.root
    assert {p.name for p in (root / "reward").iterdir()} >= {"adapter", "feedback.jsonl", "summary.json", "updates.jsonl"}
    assert (root / "reward" / "adapter" / "heads.safetensors").exists()
    assert len((root / "reward" / "feedback.jsonl").read_text().splitlines()) == 40
    assert not (root / "feedback.jsonl").exists()  # PPO learns from no feedback of its own
    assert json.loads((root / "reward" / "summary.json").read_text())["final"] == {}  # it is not looked at as a policy


def test_every_reward_is_heard_in_every_update(done: Run) -> None:
    rows = store.read_rows(done.files.train.updates)
    assert len(rows) == 3
    assert all({"score", "score_reward-model", "score_gold"} <= set(row) for row in rows)
    assert all(row["score"] == pytest.approx(row["score_reward-model"], rel=1e-5) for row in rows)


def test_the_report_shows_each_stage(done: Run) -> None:
    report = done.report()
    assert [(stage.name, stage.optimizer) for stage in report.stages] == [
        ("start", "optimizer:sft/sft"),
        ("reward", "optimizer:reward_model/reward-model"),
        ("train", "optimizer:ppo/ppo"),
    ]
    assert report.stages[2].spent["scores"] == 3 * 4 * 2  # of each reward, each answer
    assert "| reward | reward-model |" in report.markdown()


def test_a_stage_that_was_done_before_is_not_done_again(done: Run, tmp_path: Path) -> None:
    """Another optimizer setting: the same start and reward, byte for byte, without a step of training."""
    said: list[str] = []
    trained: list[str] = []
    stage = lambda name, what: trained.append(name)  # noqa: E731
    file = done.files.root.parent / "toy.toml"
    listener = Listener(stage=stage, line=said.append)
    other = Run.open(file, done.files.root.parent / "second", ["optimizer.updates=1"], listener)
    other.train()
    assert sum("done before with the same content" in line for line in said) == 2
    for name in ("start", "reward"):
        for file in ("adapter/adapter_model.safetensors", "summary.json", "feedback.jsonl"):
            assert (other.files.root / name / file).read_bytes() == (done.files.root / name / file).read_bytes()


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ("seed=9", 0),
        ("start.epochs=2", 0),
        ("reward.0.epochs=2", 1),
        ("reward.0.feedback.count=41", 1),
        ("model.lora.rank=2", 0),
    ],
)
def test_another_content_is_another_stage(done: Run, change: str, again: int) -> None:
    """How many of the two stages can be taken over is decided by what they read."""
    said: list[str] = []
    root = done.files.root.parent / f"other-{change.partition('=')[0]}"
    other = Run.open(done.files.root.parent / "toy.toml", root, change.split(), Listener(line=said.append))
    other.rewards()
    assert sum("done before" in line for line in said) == again


def test_a_reward_of_another_base_is_refused(done: Run, tmp_path: Path) -> None:
    """An adapter of another shape does not fit, and says so."""
    import shutil

    from alignzoo.model.loading import ModelError

    other = tmp_path / "copy"
    shutil.copytree(done.files.root, other)
    config = other / "reward" / "adapter" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"lora_alpha": 1}))
    shutil.rmtree(other / "train")
    with pytest.raises(ModelError, match="lora_alpha = 1"):
        Run.open(other).train()


def test_the_lesson_of_an_optimizer_without_need_of_a_reward_loads_none(done: Run) -> None:
    from alignzoo.interfaces import no_reward

    assert done.cast.lesson((), ("prompts",)).reward is no_reward
    assert isinstance(done.cast.lesson((), ("prompts", "reward")).reward, Combined)


def test_what_sampling_will_cost_is_guessed(done: Run) -> None:
    """3 rounds of 4 answers of 6 tokens: each written, read by the reference and learned from in 4 epochs, as if prompts
    were as long as answers. A pass over n tokens costs 2n FLOPs a parameter, twice that with its gradient."""
    known = guess(done.plan)
    assert (known.labels, known.updates, known.tokens) == (0, 3, 3 * 4 * 12 * 5)
    assert known.flops == 2 * (known.linear * 12 + known.head * 6) * 12 * (2 + 2 * 4)
    assert guess(replace(done.plan, budget=Budget(updates=1))).updates == 1


def test_a_reward_that_fails_in_the_middle_is_named_and_the_last_checkpoint_stays(
    done: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third update meets a NaN: what was true after the second is kept, and can be gone on from."""
    (tmp_path / "sour.py").write_text(
        "asked = []\n\ndef score(prompts, completions):\n"
        "    asked.append(len(completions))\n"
        "    return [float('nan') if len(asked) == 3 else 1.0 * len(c.text) for c in completions]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    model = done.files.root.parent / "model"
    file = written(tmp_path, '[reward]\nuse = "sour:score"', str(model))
    changes = ["checkpoint_every=1", "optimizer.seed=3"]
    with pytest.raises(ScoreError, match="sour:score gave nan for answer 1"):
        Run.open(file, tmp_path / "run", changes).train()
    checkpoint = newest(tmp_path / "run" / "train" / "checkpoint")
    assert checkpoint is not None
    assert checkpoint.update == 2
    again = Run.open(file, tmp_path / "run", changes)
    again.train()
    assert len(store.read_rows(again.files.train.updates)) == 3


# A reward that reads with the run's own model ---------------------------------------------------------------------------

READER = """
from dataclasses import dataclass, replace
from typing import Any

@dataclass(frozen=True)
class Likely:
    role: Any = None

    def __call__(self, prompts, completions):
        return self.scored(prompts, completions)

    def scored(self, prompts, completions):
        forest = self.role.base.text.replies(prompts, [[one] for one in completions], "cpu")
        from alignzoo.model.forest import per_reply
        return per_reply(self.role.logps(forest), forest).tolist()

@dataclass(frozen=True)
class Reader:
    def __call__(self, prompts, completions):
        raise ValueError("nobody lent me a model")

    def reading(self, role):
        assert not role.trained
        return Likely(role)
"""


def test_a_reward_without_a_model_is_lent_the_bare_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_reader.py").write_text(READER)
    monkeypatch.chdir(tmp_path)
    model = toy_folder(tmp_path / "model")
    file = written(tmp_path, '[reward]\nuse = "mine_reader:Reader"\n', str(model))
    run = Run.open(file, tmp_path / "run", ['judge.use="mine_reader:Reader"'])
    report = run.report()
    bare = bare_on(run.base, "bare")
    rows = store.read_rows(run.files.answers)
    lent = sys.modules["mine_reader"].Likely(bare)
    prompts = [prompt_from_row(row["prompt"]) for row in rows]
    told = lent.scored(prompts, [completion_from_row(row["completion"]) for row in rows])
    assert [row["score"] for row in store.read_rows(run.files.scores)] == pytest.approx(told, abs=1e-4)
    assert report.markdown()
