"""A jury: rewards that nobody raises, which are shown every policy's answers, however it was trained."""

from __future__ import annotations

import json
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from finished import in_hand

from alignzoo.cli import main
from alignzoo.interfaces import Lesson
from alignzoo.lab import store
from alignzoo.lab.answering import preferred
from alignzoo.lab.bench.calibration import short
from alignzoo.lab.bench.damage import undo
from alignzoo.lab.bench.outcome import ground, read_from, spent_in
from alignzoo.lab.bench.tuning import Tuning
from alignzoo.lab.compare.duels import Entrant
from alignzoo.lab.compare.footing import cautions
from alignzoo.lab.compare.played import played
from alignzoo.lab.folders import RunError, progress_in
from alignzoo.lab.plan import PlanError
from alignzoo.lab.run import Run
from alignzoo.lab.runfile import read_plan
from alignzoo.lab.store import file_digest
from alignzoo.records import Prompt, completion_from_row, prompt_from_row, prompt_to_row
from alignzoo.seam.settings import SettingsError
from alignzoo.shop.wanted import PLACES
from alignzoo.testing import toy_folder

RUN = """
name = "toy"
threads = 1
[task]
use = "playground"
[model]
path = "{model}"
[model.lora]
rank = 4
[feedback]
use = "playground"
candidates = "world"
count = 80
[[feedback.filter]]
use = "whose"
only = ["careful"]
[optimizer]
use = "dpo"
batch_size = 8
[watch]
every = 0
[answer]
prompts = 6
n = 2
[answer.manner]
max_tokens = 4
[judge]
use = "playground-gold"
[budget]
updates = 2
labels = 20
rewards = true
{jury}
"""
JURY = """
[[jury]]
use = "reward-model"
name = "friendly"
batch_size = 8
[jury.feedback]
use = "playground"
candidates = "world"
count = 160
[[jury.feedback.filter]]
use = "whose"
only = ["friendly"]

[[jury]]
use = "length"
free = 0
"""
FRIENDLY, LENGTH = "preferred by friendly", "preferred by length1"


def written(folder: Path, jury: str, model: str = "some/folder") -> Path:
    file = folder / "toy.toml"
    file.write_text(RUN.format(model=model, jury=jury))
    return file


# By hand ------------------------------------------------------------------------------------------------------------------


def test_what_is_preferred_is_counted_against_the_starts_answers_to_the_same_prompt() -> None:
    asked = [("start", "p"), ("policy", "p"), ("start", "q"), ("start", "p"), ("policy", "p"), ("policy", "q")]
    rows = [{"who": who, "prompt": prompt_to_row(Prompt.ask(prompt))} for who, prompt in asked]
    assert preferred([1.0, 1.0, 9.0, 3.0, 5.0, 8.0], rows) == [
        0.25,  # of the start's own 1 and 3: one tie, one lost
        0.25,
        0.5,
        0.75,
        1.0,
        0.0,
    ]


# In the file --------------------------------------------------------------------------------------------------------------


def test_a_juror_has_a_name_and_may_have_feedback(tmp_path: Path) -> None:
    friendly, length = read_plan(written(tmp_path, JURY)).jury
    assert (friendly.name, friendly.part.found.full_name) == ("friendly", "optimizer:reward_model/reward-model")
    assert friendly.feedback is not None
    assert friendly.feedback.made.count == 160
    assert (length.name, length.feedback) == ("length1", None)


@pytest.mark.parametrize("jury", [JURY, '[jury]\nuse = "length"'])
def test_what_is_written_reads_back_to_the_same_plan(jury: str, tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, jury))
    again = tmp_path / "again.toml"
    again.write_text(tomli_w.dumps(plan.table()))
    assert read_plan(again).table() == plan.table() == tomllib.loads(again.read_text())
    assert "jury" not in read_plan(written(tmp_path, "")).table()


LEARNER = '[jury]\nuse = "reward-model"\n'


@pytest.mark.parametrize(
    ("jury", "complaint"),
    [
        ('[jury]\nuse = "lenght"', "jury.use: no reward named 'lenght'; did you mean"),
        ('[jury]\nuse = "length"\nweight = 0.0', "jury.weight: no such setting"),
        ('[jury]\nuse = "length"\nname = "a\\nb"', "jury.name: is what a juror is called"),
        ('[jury]\nuse = "length"\nname = 3', "jury.name: is what a juror is called"),
        ('[jury]\nuse = "length"\nname = " "', "jury.name: is what a juror is called"),
        (
            '[[jury]]\nuse = "length"\nname = "a"\n[[jury]]\nuse = "length"\nname = "a "',
            "jury.1.name: is what a juror is called",
        ),
        ('[[jury]]\nuse = "length"\nname = "a"\n[[jury]]\nuse = "sentiment"\nname = "a"', "jury: two are called 'a'"),
        (LEARNER, "no reward named 'reward-model'; there is optimizer:reward_model/reward-model"),
        (LEARNER + "feedback = 3", r"jury.feedback: must be a table, \[jury.feedback\]"),
        (LEARNER + '[jury.feedback]\nuse = "nobody"', "jury.feedback.use: no feedback named 'nobody'"),
        (
            LEARNER + '[jury.feedback]\nuse = "playground"\nkind = "demonstrations"',
            "jury: .*reward-model needs comparisons, but .* gives demonstration",
        ),
        ('[jury]\nuse = "dpo"\n[jury.feedback]\nuse = "playground"', "jury: .* deploys a policy, which scores nothing"),
    ],
)
def test_mistakes_are_told_before_anything_is_done(jury: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises((SettingsError, PlanError), match=complaint):
        read_plan(written(tmp_path, jury))


def test_a_trial_and_a_calibration_are_heard_by_no_jury(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, JURY))
    assert short(plan).jury == Tuning().plan(plan).jury == ()


def test_install_looks_for_its_plugins_where_those_of_a_reward_are() -> None:
    assert PLACES["jury"] == PLACES["reward"]


# In a run -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jury")
    return written(folder, JURY, str(toy_folder(folder / "model")))


@pytest.fixture(scope="module")
def done(file: Path) -> Run:
    run = Run.open(file, file.parent / "run")
    run.report()
    return run


def test_a_policy_that_raised_no_reward_is_heard_by_who_learned_from_others(done: Run) -> None:
    """By hand: the model that the jury's training left, asked about the same answers."""
    rows, told = store.read_rows(done.files.answers), store.read_rows(done.files.scores)
    [(_, juror, files), _] = done.cast.jury()
    reward = juror.part.made.deploy(done.cast.loaded("jury", files), Lesson())
    prompts, said = ([read(row[key]) for row in rows] for key, read in PARTS.items())
    assert [row["values"][FRIENDLY] for row in told] == preferred(reward(prompts, said), rows)
    assert [row["values"][LENGTH] for row in told] == preferred([-len(one.text.split()) for one in said], rows)
    learned = {record.provenance.note.partition(";")[0] for record in store.read_feedback(files.feedback)}
    assert learned == {"group friendly"}


PARTS = {"prompt": prompt_from_row, "completion": completion_from_row}


def test_the_start_beats_itself_in_half_of_its_answers(done: Run, capsys: pytest.CaptureFixture[str]) -> None:
    start, _ = done.report().values[FRIENDLY]
    assert start.mean == 0.5
    assert main(["show", str(done.files.root)]) == 0
    shown = capsys.readouterr().out
    assert FRIENDLY in shown
    assert "jury:" in shown
    assert "a reward that nobody raised" in done.files.report.read_text()


def test_a_bar_in_its_name_ends_no_cell(done: Run) -> None:
    report = done.report()
    trained = replace(report.stages[-1], name="jury: a|b")
    assert "| jury: a\\|b |" in replace(report, stages=(trained,)).markdown()


def test_a_comparison_reads_it_as_a_share(done: Run) -> None:
    run = played(done.files.root)
    assert f"value: {FRIENDLY}" in run.values
    assert run.bounds[f"value: {FRIENDLY}"] == (0.0, 1.0)
    assert run.learned.keys() == {"careful"}  # the policy did not learn from the friendly


def test_it_changes_nothing_in_the_policy_and_takes_nothing_of_the_budget(file: Path, done: Run, tmp_path: Path) -> None:
    alone = Run.open(written(tmp_path, "", str(file.parent / "model")), tmp_path / "run")
    alone.answer()
    assert file_digest(alone.files.answers) == file_digest(done.files.answers)
    both = [store.read_summary(run.files.train) for run in (alone, done)]
    assert both[0]["adapter"] == both[1]["adapter"]
    assert both[0]["ledger"]["labels"] == both[1]["ledger"]["labels"] == 16
    assert spent_in(done.files)["labels"] == 16
    assert store.read_summary(done.files.juror(1))["ledger"]["labels"] > 20  # all that it has


def test_a_bench_holds_the_jury_to_be_the_same_for_all(done: Run) -> None:
    told = ground(done.plan, done.files)
    [trained] = [name for name in told if name.startswith("jury ")]
    summary = done.files.juror(1).summary
    row = json.loads(summary.read_text())
    try:
        summary.write_text(json.dumps(row | {"adapter": "of others"}))
        assert ground(done.plan, done.files)[trained] != told[trained]
    finally:
        summary.write_text(json.dumps(row))
    assert ground(replace(done.plan, jury=done.plan.jury[:1]), done.files)[trained] != told[trained]
    assert "jury/summary.json" in read_from(done.files)


def test_under_another_seed_it_is_another_jury_on_the_same_ground(file: Path, done: Run) -> None:
    other = Run.open(file, file.parent / "other", ["seed=1"])
    other.judge()
    ours, theirs = ({**ground(run.plan, run.files)} for run in (done, other))
    assert sum(name.startswith("jury ") for name in {**ours, **theirs}) == 2
    assert all(theirs[name] == ours[name] for name in theirs.keys() & ours.keys())


def test_what_the_jury_learns_from_must_be_the_same_under_every_seed(done: Run, tmp_path: Path) -> None:
    choices = tmp_path / "choices.jsonl"
    choices.write_text(json.dumps({"prompt": "Why?", "chosen": "So.", "rejected": "No."}) + "\n")
    jury = f'[jury]\nuse = "reward-model"\n[jury.feedback]\nuse = "file"\ndata.path = "{choices}"\n'
    assert f"file {choices}" in ground(read_plan(written(tmp_path, jury)), done.files)


def test_a_jury_that_is_gone_is_made_again_and_says_the_same(done: Run) -> None:
    files, said = done.files, done.files.scores.read_bytes()
    shutil.rmtree(files.juror(1).folder)
    files.scores.unlink()
    assert done.judge().read_bytes() == said
    assert files.juror(1).done


def test_a_juror_joins_a_run_that_is_done_and_nothing_is_trained_again(file: Path, done: Run, tmp_path: Path) -> None:
    root = Path(shutil.copytree(done.files.root, tmp_path / "run"))
    said = store.read_rows(done.files.scores)
    kept = [file_digest(root / name) for name in ("train/summary.json", "jury/summary.json", "answers.jsonl")]
    more = JURY + '[[jury]]\nuse = "sentiment"\nname = "kind"\n'
    wider = Run.open(written(tmp_path, more, str(file.parent / "model")), root)
    wider.report()
    assert [file_digest(root / name) for name in ("train/summary.json", "jury/summary.json", "answers.jsonl")] == kept
    heard = store.read_rows(wider.files.scores)
    assert [row["values"].pop("preferred by kind") >= 0 for row in heard] == [True] * len(said)
    assert heard == said
    settings = store.read_settings(wider.files)
    assert [row["name"] for row in settings["jury"]] == ["friendly", "length1", "kind"]
    assert "reward:lexical/sentiment" in settings["made_with"]["plugins"]
    assert Run.open(root).report().values.keys() >= {FRIENDLY, "preferred by kind"}


@pytest.mark.parametrize(
    "jury",
    [JURY.replace("160", "150"), JURY.partition('[[jury]]\nuse = "length"')[0], '[[jury]]\nuse = "sentiment"\n' + JURY],
    ids=["changed", "gone", "before"],
)
def test_a_jury_is_not_changed_behind_a_runs_back(jury: str, file: Path, done: Run, tmp_path: Path) -> None:
    root = Path(shutil.copytree(done.files.root, tmp_path / "run"))
    with pytest.raises(RunError, match="made with other settings"):
        Run.open(written(tmp_path, jury, str(file.parent / "model")), root)
    assert (root / "scores.jsonl").exists()


def test_a_juror_that_may_not_join_costs_a_run_nothing(file: Path, done: Run, tmp_path: Path) -> None:
    """Its plugins are other ones by now: that is told before what was said of its answers is taken away."""
    root = Path(shutil.copytree(done.files.root, tmp_path / "run"))
    settings = store.read_settings(done.files)
    changed = dict.fromkeys(settings["made_with"]["plugins"], "other bytes")
    (root / "run.toml").write_text(tomli_w.dumps(settings | {"made_with": settings["made_with"] | {"plugins": changed}}))
    before = {path: path.read_bytes() for path in root.glob("*.*")}
    more = written(tmp_path, JURY + '[[jury]]\nuse = "sentiment"\n', str(file.parent / "model"))
    with pytest.raises(RunError, match="made with other bytes of its plugins"):
        Run.open(more, root)
    assert {path: path.read_bytes() for path in root.glob("*.*")} == before
    assert len(Run.open(more, root, other_bytes=True).plan.jury) == 3
    [before_that] = store.read_settings(store.Folder(root))["made_with"]["before"]
    assert changed.items() <= before_that["plugins"].items()


def test_its_state_is_told(done: Run) -> None:
    states = progress_in(done.files.root)
    assert states["jury"] == "done"
    assert "jury2" not in states  # which is not trained


def test_a_damaged_jury_is_made_again_with_what_it_said_and_no_more(tmp_path: Path) -> None:
    for name in ("start", "train", "jury", "jury2"):
        (tmp_path / name).mkdir()
    for name in ("run.toml", "answers.jsonl", "scores.jsonl", "judging.json", "report.json"):
        (tmp_path / name).write_text("")
    undo(tmp_path, "jury2/summary.json")
    assert {path.name for path in tmp_path.iterdir()} == {"run.toml", "start", "train", "answers.jsonl"}


def test_what_is_wrong_with_its_feedback_is_told_before_the_policy_is_trained(file: Path, tmp_path: Path) -> None:
    feedback = tmp_path / "choices.jsonl"
    feedback.write_text("no JSON\n")
    jury = f'[jury]\nuse = "reward-model"\n[jury.feedback]\nuse = "file"\nform = "records"\ndata.path = "{feedback}"\n'
    with pytest.raises(SettingsError, match=r"jury\.feedback: .*choices\.jsonl:1"):
        Run.open(written(tmp_path, jury, str(file.parent / "model")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_comparison_of_what_two_juries_prefer_is_cautioned() -> None:
    """Under another seed a jury is another one, and that is as it should be."""

    def heard(name: str, *jury: tuple[int, list[dict[str, Any]]]) -> Entrant:
        told = [{"judge": {"use": "gold"}, "jury": rows} for _, rows in jury]
        runs = [in_hand(seed, np.zeros((3, 1)), settings=own) for (seed, _), own in zip(jury, told, strict=True)]
        return Entrant(name, tuple(runs))

    first, second = ([{"use": "reward-model", "name": "old", "seed": seed}] for seed in (0, 1))
    ours = heard("ours", (0, first), (1, second))
    assert not any("same jury" in caution for caution in cautions([ours, heard("theirs", (0, first), (1, second))], 3))
    assert any("same jury" in caution for caution in cautions([ours, heard("theirs", (0, first), (1, first))], 3))
