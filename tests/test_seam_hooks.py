"""What plugins hear of a run, what they add to its report, and that one who raises disturbs nobody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shelf import Shelf, shelf_in

from alignzoo.lab import store
from alignzoo.lab.listener import Listener
from alignzoo.lab.run import Run
from alignzoo.records import Completion, Prompt
from alignzoo.seam.discovery import discover
from alignzoo.seam.hooks import Hooks
from alignzoo.seam.hookspecs import Course, Finding
from alignzoo.seam.registry import Registry
from alignzoo.testing import toy_folder

HEAD = "from alignzoo.seam.hookspecs import Finding, hookimpl\n"
DIARY = f"""{HEAD}
import json, os
from pathlib import Path

def write(what):
    with open(os.environ["DIARY"], "a") as file:
        print(json.dumps(what), file=file)

@hookimpl
def alignzoo_run_started(course):
    write(["started", course.run, course.stage, course.optimizer, course.settings["seed"], Path(course.folder).name])

@hookimpl
def alignzoo_run_updated(course, update, metrics):
    write([course.stage, update, sorted(metrics)])

@hookimpl
def alignzoo_run_ended(course, summary):
    write(["ended", course.stage, summary["ledger"]["updates"]])

@hookimpl
def alignzoo_report_columns(prompts, completions):
    return {{"words": [len(one.text.split()) for one in completions]}}

@hookimpl
def alignzoo_findings():
    yield Finding("the ink is dry", "buy ink")
"""
COURSE = Course("run", "train", "runs/run/train", "optimizer:dpo/dpo", {})
ASKED = [Prompt.ask("why"), Prompt.ask("how")], [Completion("so it is"), Completion("so")]


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    (tmp_path / "shelf").mkdir()
    return shelf_in(tmp_path / "shelf", monkeypatch)


def hooks(shelf: Shelf, heard: list[str]) -> Hooks:
    zoo = discover([str(shelf.folder)], Registry())
    assert zoo.broken == ()
    return Hooks(zoo.hooked, heard.append)


def implementing(hook: str, takes: str, does: str) -> str:
    return f"{HEAD}\n@hookimpl\ndef {hook}({takes}):\n    {does}\n"


# One run, with an installed plugin that listens -------------------------------------------------------------------------

RUN = """
name = "heard"
seed = 3
[task]
use = "playground"
[model]
path = "{model}"
lora = {{ rank = 2 }}
[start]
use = "sft"
batch_size = 4
[start.feedback]
use = "playground"
kind = "demonstrations"
count = 8
[feedback]
use = "playground"
count = 8
candidates = "world"
[optimizer]
use = "dpo"
batch_size = 4
epochs = 1
[watch]
every = 0
prompts = 2
tokens = 4
[answer]
prompts = 3
manner = {{ max_tokens = 5 }}
[judge]
use = "playground-gold"
"""


def test_a_plugin_follows_a_run_and_adds_to_its_report(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.put("diary", DIARY)
    shelf.put("grumpy", implementing("alignzoo_run_updated", "update", "raise RuntimeError('no more')"))
    diary, lines, followed = shelf.folder / "diary.jsonl", list[str](), list[int]()
    monkeypatch.setenv("DIARY", str(diary))
    file = shelf.folder / "heard.toml"
    file.write_text(RUN.format(model=toy_folder(shelf.folder / "model")))
    run = Run.open(
        file, shelf.folder / "run", listener=Listener(line=lines.append, update=lambda number, *_: followed.append(number))
    )
    report = run.report()

    written = [json.loads(line) for line in diary.read_text().splitlines()]
    begun = ["started", "heard", "train", "optimizer:dpo/dpo", 3, "train"]
    assert written[0] == ["started", "heard", "start", "optimizer:sft/sft", 3, "start"]
    assert begun in written
    of_training = written[written.index(begun) + 1 :]
    assert [row[:2] for row in of_training[:-1]] == [["train", 1], ["train", 2]]
    assert "loss" in of_training[0][2]
    assert of_training[-1] == ["ended", "train", 2]
    assert followed == [1, 2, 1, 2]

    before, after = report.values["words (diary)"]
    answers = store.read_rows(run.files.answers)
    for who, estimate in (("start", before), ("policy", after)):
        words = [len(row["completion"]["text"].split()) for row in answers if row["who"] == who]
        assert estimate.mean == pytest.approx(sum(words) / len(words))
    assert "words (diary)" in report.markdown()

    complaints = [line for line in lines if "grumpy" in line]
    assert len(complaints) == 1  # told once, and not called again
    assert "alignzoo_run_updated raises RuntimeError: no more" in complaints[0]


# Each alone -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("does", ["1 / 0", "raise SystemExit(2)", "raise GeneratorExit"])
def test_one_that_raises_is_told_nothing_more_and_the_others_everything(shelf: Shelf, does: str) -> None:
    shelf.put("bad", implementing("alignzoo_report_columns", "completions", does))
    shelf.put("good", implementing("alignzoo_report_columns", "completions", "return {'n': [len(completions)] * 2}"))
    heard: list[str] = []
    both = hooks(shelf, heard)
    assert both.columns(*ASKED) == both.columns(*ASKED) == {"n (good)": [2.0, 2.0]}
    assert len(heard) == 1
    assert "plugin 'bad' (zoo-bad 1.0): alignzoo_report_columns raises" in heard[0]


@pytest.mark.parametrize("given", ["{'n': [1.0]}", "{'n': [1.0, float('nan')]}", "{'n': [1.0, 'x']}", "[1.0, 2.0]"])
def test_a_column_that_does_not_fit_is_left_out_and_told(shelf: Shelf, given: str) -> None:
    shelf.put("bad", implementing("alignzoo_report_columns", "completions", f"return {given}"))
    heard: list[str] = []
    assert hooks(shelf, heard).columns(*ASKED) == {}
    assert len(heard) == 1


def test_no_plugin_writes_in_what_the_others_are_told(shelf: Shelf) -> None:
    shelf.put("bad", implementing("alignzoo_run_updated", "metrics", "metrics['loss'] = 0.0"))
    heard: list[str] = []
    metrics = {"loss": 1.0}
    hooks(shelf, heard).updated(COURSE, 1, metrics)
    assert metrics == {"loss": 1.0}
    assert "does not support item assignment" in heard[0]


def test_a_ctrl_c_in_a_hook_is_the_users(shelf: Shelf) -> None:
    shelf.put("slow", implementing("alignzoo_run_started", "", "raise KeyboardInterrupt"))
    with pytest.raises(KeyboardInterrupt):
        hooks(shelf, []).started(COURSE)


def test_what_a_hook_returns_where_nothing_is_asked_for_does_no_harm(shelf: Shelf) -> None:
    shelf.put("chatty", implementing("alignzoo_run_started", "", "return 3"))
    heard: list[str] = []
    hooks(shelf, heard).started(COURSE)
    assert heard == []


def test_findings_reach_the_doctor_under_their_plugins_name(shelf: Shelf) -> None:
    shelf.put("diary", DIARY)
    shelf.put("bad", implementing("alignzoo_findings", "", "return ['no finding']"))
    heard: list[str] = []
    assert hooks(shelf, heard).findings() == [("diary", Finding("the ink is dry", "buy ink"))]
    assert "plugin 'bad'" in heard[0]


def test_a_hook_that_asks_for_what_there_is_not_is_a_fault_that_says_what_there_is(shelf: Shelf) -> None:
    shelf.put("bad", implementing("alignzoo_run_updated", "course, loss", "pass"))
    [fault] = discover([str(shelf.folder)], Registry()).broken
    assert fault.reason.startswith("alignzoo_run_updated has the wrong signature: Argument(s) {'loss'}")
    assert fault.fix.startswith("alignzoo_run_updated takes course, update, metrics.")
