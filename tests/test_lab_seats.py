"""What is put around the trained policy, and what chooses the answers that a source is asked about."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from alignzoo.cli import main
from alignzoo.interfaces import Acquisition, Manner, Wrapper
from alignzoo.lab.acquiring import AcquisitionError, Choosing
from alignzoo.lab.plan import Plan, PlanError, trunk
from alignzoo.lab.run import Run
from alignzoo.lab.runfile import read_plan
from alignzoo.lab.shelf import key_of
from alignzoo.records import Completion, Prompt
from alignzoo.seam import local
from alignzoo.seam.settings import SettingsError
from alignzoo.testing import toy_folder

PLUGIN = '''
from dataclasses import dataclass, replace

from alignzoo.interfaces import Manner
from alignzoo.seam.hookspecs import Component


@dataclass(frozen=True)
class Echo:
    """Says a word, whatever was asked."""

    word: str = "echo"

    def wrap(self, policy):
        return Echoing(policy, self.word)


@dataclass(frozen=True)
class Echoing:
    policy: object
    word: str

    def sample(self, prompts, n=1, manner=Manner()):
        groups = self.policy.sample(prompts, n, manner)
        return [[replace(reply, text=self.word, tokens=(), logps=()) for reply in group] for group in groups]


@dataclass(frozen=True)
class Longest:
    candidates: int = 3
    seed: int = 0

    def choose(self, prompt, candidates, n):
        places = sorted(range(len(candidates)), key=lambda place: -len(candidates[place].text))
        return places[:n]


def alignzoo_components():
    yield Component("policy", "echo", f"{__name__}:Echo", "says one word")
    yield Component("acquisition", "longest", f"{__name__}:Longest", "the longest answers")
'''
RUN = """
plugins = ["own_seats.py"]
seed = 5
[task]
use = "playground"
[model]
path = "{model}"
[model.lora]
rank = 2
[feedback]
use = "playground"
count = 12
answers = 2
{acquisition}
[optimizer]
use = "dpo"
batch_size = 6
{policy}
[answer]
prompts = 2
[answer.manner]
max_tokens = 6
[judge]
use = "length"
"""
LONGEST = '[feedback.acquisition]\nuse = "longest"\ncandidates = 4'
ECHO = '[policy]\nuse = "echo"\nword = "hello"'


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_folder(tmp_path_factory.mktemp("toy") / "model")


@pytest.fixture
def here(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    Path("own_seats.py").write_text(PLUGIN)
    yield tmp_path
    for name in local.modules():
        sys.modules.pop(name, None)
    local._READ.clear()


def planned(model: Path, acquisition: str = "", policy: str = "") -> Plan:
    Path("run.toml").write_text(RUN.format(model=model, acquisition=acquisition, policy=policy))
    return read_plan(Path("run.toml"))


def test_both_are_parts_of_the_plan_with_their_settings(here: Path, model: Path) -> None:
    plan = planned(model, LONGEST, ECHO)
    assert plan.feedback is not None
    assert plan.feedback.acquisition is not None
    assert plan.policy is not None
    assert isinstance(plan.feedback.acquisition.made, Acquisition)
    assert isinstance(plan.policy.made, Wrapper)
    table = plan.table()
    assert table["policy"] == {"use": "policy:own_seats/echo", "word": "hello"}
    chosen = {"use": "acquisition:own_seats/longest", "candidates": 4, "seed": 5}  # the run's seed, as for any component
    assert table["feedback"]["acquisition"] == chosen
    assert not {name for name in table if "." in name}
    assert {"feedback.acquisition", "policy"} <= set(plan.parts())
    assert {"policy:own_seats/echo", "acquisition:own_seats/longest"} <= set(plan.made_with()["plugins"])


def test_a_run_with_both_goes_all_the_way(here: Path, model: Path) -> None:
    planned(model, LONGEST, ECHO)
    assert main(["run", "run.toml", "--out", "out"]) == 0
    answers = [json.loads(line) for line in Path("out/answers.jsonl").read_text().splitlines()]
    said = {who: {row["completion"]["text"] for row in answers if row["who"] == who} for who in ("start", "policy")}
    assert said["policy"] == {"hello"} != said["start"]
    assert {row["kl"] for row in answers if row["who"] == "policy"} == {None}  # nobody knows how likely "hello" was
    run = Run.open("out")
    assert run.policy().sample([Prompt.ask("why")])[0][0].text == "hello"
    chosen = lengths(Path("out/feedback.jsonl"))
    planned(model)
    Run.open("run.toml", "plain").collect()
    plain = lengths(Path("plain/feedback.jsonl"))
    assert sum(chosen) / len(chosen) > sum(plain) / len(plain)


def lengths(pairs: Path) -> list[int]:
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    return [len(row[side]["text"]) for row in rows for side in ("chosen", "rejected")]


def test_what_is_more_than_weights_is_not_exported(here: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planned(model, policy=ECHO)
    assert main(["train", "run.toml", "--out", "out"]) == 0
    assert main(["export", "out", "weights"]) == 2
    assert "policy:own_seats/echo deploys a Echoing, which is more than weights" in capsys.readouterr().err


def test_a_source_that_asks_about_no_answers_has_none_to_choose(here: Path, model: Path) -> None:
    Path("run.toml").write_text(
        RUN.format(model=model, acquisition=LONGEST, policy="").replace("answers = 2", 'candidates = "world"')
    )
    with pytest.raises(PlanError, match=r"feedback.acquisition: feedback:playground/playground, as it is set, asks about no"):
        read_plan(Path("run.toml"))


@pytest.mark.parametrize(
    ("acquisition", "policy", "message"),
    [
        ('acquisition = "longest"', "", r"feedback.acquisition: must be a table, \[feedback.acquisition\]"),
        ("[feedback.acquisition]\ncandidates = 3", "", "feedback.acquisition: say what to use"),
        (
            LONGEST.replace("candidates", "candidtes"),
            "",
            r"feedback.acquisition.candidtes: no such setting; did you mean 'cand",
        ),
        ('[feedback.acquisition]\nuse = "echo"', "", "no acquisition named 'echo'; there is policy:own_seats/echo"),
        ("", '[policy]\nuse = "longest"', "no policy named 'longest'"),
    ],
)
def test_what_is_wrong_is_said_at_once(here: Path, model: Path, acquisition: str, policy: str, message: str) -> None:
    with pytest.raises((SettingsError, PlanError), match=message):
        planned(model, acquisition, policy)


def test_a_stage_is_known_by_the_acquisition_of_its_feedback(here: Path, model: Path) -> None:
    start = '[start]\nuse = "dpo"\n[start.feedback]\nuse = "playground"\ncount = 4\n'
    seat = '[start.feedback.acquisition]\nuse = "longest"\n'
    keys = {key_of(planned(model, policy=start + more), {}, ("start", "start.feedback")) for more in ("", seat)}
    assert len(keys) == 2
    first = key_of(planned(model, policy=start + seat), {}, ("start", "start.feedback"))
    Path("own_seats.py").write_text(PLUGIN + "\n# other bytes\n")
    assert key_of(planned(model, policy=start + seat), {}, ("start", "start.feedback")) != first
    assert trunk("start.feedback.acquisition") == trunk("start.feedback.filter.3") == "start.feedback"
    assert trunk("feedback") == "feedback"


@dataclass(frozen=True)
class Counting:
    """A policy that numbers its answers."""

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        return [[Completion(f"{prompt.text}{number}") for number in range(n)] for prompt in prompts]


@dataclass(frozen=True)
class Places:
    """Chooses these, whatever is there."""

    places: tuple[int, ...]
    candidates: int = 2

    def choose(self, prompt: Prompt, candidates: Sequence[Completion], n: int) -> Sequence[int]:
        assert len(candidates) == n * self.candidates
        return self.places


def test_the_chosen_ones_come_in_the_order_of_the_choice() -> None:
    groups = Choosing(Counting(), Places((3, 0))).sample([Prompt.ask("a"), Prompt.ask("b")], 2)
    assert [[reply.text for reply in group] for group in groups] == [["a3", "a0"], ["b3", "b0"]]


@pytest.mark.parametrize("places", [(0,), (0, 0), (0, 4), (0, -1), (0, 1, 2)])
def test_a_choice_that_is_none_is_refused(places: tuple[int, ...]) -> None:
    with pytest.raises(AcquisitionError, match=r"Places chose \[0.*it was to give 2 different places of 4 candidates"):
        Choosing(Counting(), Places(places)).sample([Prompt.ask("a")], 2)
