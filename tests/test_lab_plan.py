"""A run file is checked as a whole before any model is loaded."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import tomli_w

from alignzoo.lab.fit import check_apart
from alignzoo.lab.plan import Part, PlanError, check_judge, differences
from alignzoo.lab.runfile import read_plan
from alignzoo.lab.store import StoreError
from alignzoo.records import Prompt
from alignzoo.seam.settings import SettingsError

RUN = """
[task]
use = "playground"
[model]
path = "some/folder"
[model.lora]
rank = 4
[feedback]
use = "playground"
kind = "{kind}"
[optimizer]
use = "dpo"
beta = 0.3
[optimizer.descent]
lr = 2e-3
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "trial.toml"
    file.write_text(text)
    return file


def test_everything_is_resolved(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, RUN.format(kind="comparisons")), ["seed=7", "optimizer.epochs=3"])
    assert (plan.name, plan.seed) == ("trial", 7)
    optimizer = plan.optimizer.made
    assert (optimizer.beta, optimizer.epochs, optimizer.seed) == (0.3, 3, 7)
    assert (optimizer.descent.lr, optimizer.descent.warmup) == (2e-3, 5)  # the optimizer's own default warm-up stays
    assert plan.lora.rank == 4
    assert plan.table()["optimizer"]["use"] == "optimizer:dpo/dpo"
    assert plan.table()["answer"]["manner"]["max_tokens"] == 64


def test_settings_left_of_another_component_are_told_in_python_too(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"""kind: no such setting(?s:.*)--set 'feedback={use="shp"}' puts a table"""):
        read_plan(written(tmp_path, RUN.format(kind="comparisons")), ["feedback.use=shp"])


def test_what_is_written_reads_back_to_the_same_plan(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, RUN.format(kind="comparisons")), ["seed=3", "budget.updates=5"])
    again = tmp_path / "again.toml"
    again.write_text(tomli_w.dumps(plan.table()))
    assert read_plan(again).table() == plan.table() == tomllib.loads(again.read_text())


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = """
    sede = 1
    [task]
    use = "playgruond"
    [model]
    quantize = "nf3"
    [feedback]
    count = 5
    [optimizer]
    use = "dpo"
    beta = -1
    """
    with pytest.raises(SettingsError) as caught:
        read_plan(written(tmp_path, text))
    told = str(caught.value)
    for part in (
        "sede: no such setting; did you mean 'seed'?",
        "task.use: no task named 'playgruond'; did you mean 'playground'?",
        "model: say which",
        "model.quantize: must be",
        "feedback: say what to use",
        "optimizer.beta: must be greater than 0; got -1",
    ):
        assert part in told
    assert all(line.startswith("trial.toml: ") for line in told.splitlines())


def test_feedback_that_cannot_teach_the_optimizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        read_plan(written(tmp_path, RUN.format(kind="thumbs")))
    assert "optimizer:dpo/dpo needs comparisons" in str(caught.value)
    assert "gives rating" in str(caught.value)
    assert str(caught.value).endswith(
        '; set feedback.kind = "comparisons" or feedback.kind = "rankings", where its data has them'
    )


def test_who_has_no_source_that_fits_is_told_of_those_that_there_are(tmp_path: Path) -> None:
    text = RUN.format(kind="thumbs").replace('use = "playground"\nkind = "thumbs"', 'use = "hh-red-team"')
    with pytest.raises(PlanError) as caught:
        read_plan(written(tmp_path, text))
    source, _, sources = str(caught.value).partition("sources that can give comparisons: ")
    told, _, optimizers = source.partition("optimizers that learn from rating: ")
    assert told.endswith("feedback:preference_sets/hh-red-team as it is set gives rating; ")
    assert optimizers == "optimizer:ilql/ilql, optimizer:kto/bco, optimizer:kto/kto; "
    assert "feedback:playground/playground" in sources
    assert "feedback:preference_sets/hh-rlhf" in sources
    assert "critique-chains" in sources  # a critique is a comparison of the revision with what it revises


def test_a_file_is_told_of_no_form_that_it_cannot_have(tmp_path: Path) -> None:
    """Thumbs are neither comparisons nor rankings, whatever `form` says; but a reward model may learn from ratings."""
    (tmp_path / "thumbs.csv").write_text("prompt,answer,thumb\nHi,Hello,up\nHi,Go,down\n")
    source = f'use = "file"\ndata.path = "{tmp_path / "thumbs.csv"}"'
    with pytest.raises(PlanError) as caught:
        read_plan(written(tmp_path, RUN.format(kind="thumbs").replace('use = "playground"\nkind = "thumbs"', source)))
    assert "feedback.form" not in str(caught.value)
    assert "; optimizers that learn from rating: optimizer:ilql/ilql, optimizer:kto/bco" in str(caught.value)
    reward = f'\n[reward]\nuse = "reward-model"\n[reward.feedback]\n{source}\n'
    with pytest.raises(PlanError) as caught:
        read_plan(written(tmp_path, RUN.format(kind="comparisons") + reward))
    assert str(caught.value).endswith('gives rating; set reward.on = "ratings"')


def test_rankings_teach_a_pairwise_optimizer(tmp_path: Path) -> None:
    assert read_plan(written(tmp_path, RUN.format(kind="rankings"))).feedback is not None


def test_a_start_without_its_own_feedback_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="start: optimizer:sft/sft needs demonstrations, but no feedback is named"):
        read_plan(written(tmp_path, RUN.format(kind="comparisons") + '[start]\nuse = "sft"\n'))


def test_nobody_to_ask_is_refused(tmp_path: Path) -> None:
    text = RUN.format(kind="comparisons").replace('[task]\nuse = "playground"\n', "")
    with pytest.raises(PlanError, match="name a task"):
        read_plan(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("not = [toml", "not TOML"),
        ("seed = " + 5000 * "9", "not TOML: .*digits"),
        ("seed = " + 50_000 * "[", "not TOML: .*recursion"),
        (None, "there is no run file"),
    ],
)
def test_no_run_file(tmp_path: Path, text: str | None, complaint: str) -> None:
    file = written(tmp_path, text) if text else tmp_path / "absent.toml"
    with pytest.raises(PlanError, match=complaint):
        read_plan(file)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ('optimizer="dpo"', r'optimizer: must be a table, \[optimizer\] with use = "dpo" in it'),
        ("model=3", "model: must be a table"),
        ("model.template=chatt", 'model.template: must be .* did you mean "chat"|did you mean .chat.'),
        ("answer.file=absent.jsonl", "answer.file: there is no file absent.jsonl"),
        ("answer.file=/", "answer.file: there is no file /"),
        ("model.path=/absent/model", "model.path: there is no folder /absent/model"),
        ("model.path=" + __file__, "model.path: there is no folder"),
        ("model.path=models/absent/model", "model.path: there is no folder models/absent/model"),
        ("name=../elsewhere", "name: is what the run's folder is called.* got '../elsewhere'"),
        ('name=""', "name: is what the run's folder is called"),
        ("threads=100000", "threads: must be at most 1024"),
        ("seed=" + 30 * "9", "seed: must be below"),
    ],
)
def test_mistakes_in_place_of_a_table(tmp_path: Path, change: str, complaint: str) -> None:
    with pytest.raises((SettingsError, PlanError), match=complaint):
        read_plan(written(tmp_path, RUN.format(kind="comparisons")), [change])


def test_a_prompt_that_cannot_be_read_is_told_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "asked.jsonl").write_text('{"prompt": "one"}\n{"prompt": 2}\n')
    with pytest.raises(StoreError, match=r'asked.jsonl:2: a row needs "prompt"'):
        read_plan(written(tmp_path, RUN.format(kind="comparisons")), [f"answer.file={tmp_path / 'asked.jsonl'}"])


def test_a_judge_is_asked_for_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="nobody to judge"):
        check_judge(read_plan(written(tmp_path, RUN.format(kind="comparisons"))))


def test_differences_name_the_setting() -> None:
    old = {"seed": 1, "optimizer": {"beta": 0.1, "descent": {"lr": 1e-3}}}
    new = {"seed": 1, "optimizer": {"beta": 0.2, "descent": {"lr": 1e-3}}, "judge": {}}
    assert differences(old, new) == ["judge: (not there) there, {} now", "optimizer.beta: 0.1 there, 0.2 now"]
    assert differences(old, old) == []


def test_a_dry_run_loads_no_model(tmp_path: Path, family: object) -> None:
    from alignzoo.testing import toy_folder

    folder = toy_folder(tmp_path / "toy")
    (folder / "model.safetensors").unlink()  # a configuration is enough
    file = written(tmp_path, RUN.format(kind="comparisons").replace("some/folder", str(folder)))
    said = subprocess.run(
        [sys.executable, "-m", "alignzoo", "train", str(file), "--dry-run", "--set", "optimizer.batch_size=10"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    plan, told = said.split("# base", 1)
    assert tomllib.loads(plan)["optimizer"]["batch_size"] == 10
    assert "labels      600" in told
    assert "updates     60" in told
    assert not (tmp_path / "runs").exists()


@dataclass(frozen=True)
class Leaky:
    """A task two of whose test prompts are learned from."""

    def prompts(self, split: str) -> Sequence[Prompt]:
        return tuple(map(Prompt.ask, ("one", "two", "three") if split == "train" else ("two", "four", "three")))


@dataclass(frozen=True)
class Whole(Leaky):
    closed: ClassVar[str] = "there are no others"


def test_a_policy_is_not_judged_on_what_it_learned_from(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, RUN.format(kind="comparisons")))
    assert plan.task is not None
    leaky = replace(plan, task=Part(plan.task.found, Leaky()))
    with pytest.raises(PlanError, match=r"2 of the 3 prompts of 'test' are among those of 'train' \(one is 'two'\)"):
        check_apart(leaky)
    check_apart(plan)
    check_apart(replace(plan, task=Part(plan.task.found, Whole())))  # it says why
    check_apart(replace(leaky, answer=replace(leaky.answer, split="train")))  # it was asked for
    check_apart(replace(leaky, answer=replace(leaky.answer, file="mine.jsonl")))  # others are asked
