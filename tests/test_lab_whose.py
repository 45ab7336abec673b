"""What is held back from learning, and what each group of annotators thinks of the policy by it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from finished import finished

from alignzoo.cli import main
from alignzoo.cli.show import show
from alignzoo.lab import store
from alignzoo.lab.compare.played import played
from alignzoo.lab.listener import Listener
from alignzoo.lab.opinions import choices_in, leads, opinions
from alignzoo.lab.report import report_of
from alignzoo.lab.reserve import HELD, Reserve, Whose, agreement
from alignzoo.lab.run import Run
from alignzoo.lab.runfile import read_plan
from alignzoo.lab.shelf import key_of
from alignzoo.lab.statistics import share
from alignzoo.model.role import bare_on, role_on
from alignzoo.records import Comparison, Completion, Demonstration, Feedback, Prompt, Provenance, Ranking, Rating, Turn
from alignzoo.tally import Tally
from alignzoo.testing import toy_base, toy_folder
from alignzoo.who import Who

RUN = """
name = "toy"
[task]
use = "playground"
[model]
path = "{model}"
[feedback]
use = "playground"
candidates = "world"
count = 64
[[feedback.filter]]
use = "whose"
only = ["careful", "friendly"]
[whose]
held = 0.3
[optimizer]
use = "dpo"
batch_size = 16
[watch]
every = 0
prompts = 2
tokens = 4
[answer]
prompts = 4
[answer.manner]
max_tokens = 4
[judge]
use = "playground-gold"
"""


def pair(asked: str, group: str = "old", chosen: str = "yes", rejected: str = "no", strength: float = 1.0) -> Comparison:
    told = Provenance("mine", f"{group}-1", note=f"group {group}")
    return Comparison(Prompt.ask(asked), Completion(chosen), Completion(rejected), strength, told)


def group_of(record: Feedback) -> str:
    return Who().group(record.provenance)


# What is held back --------------------------------------------------------------------------------------------------------


def test_a_share_of_the_prompts_is_held_back_and_told() -> None:
    records = [pair(f"question {place // 2}?") for place in range(2000)]
    reserve, tally = Reserve(Whose(held=0.2)), Tally()
    passed = list(reserve.sift(records, tally))
    assert 150 <= 1000 - len(passed) / 2 <= 250
    assert {record.prompt.id for record in passed}.isdisjoint(record.prompt.id for record in reserve.kept)
    assert tally.sifted[HELD].count + len(passed) == 2000
    assert tally.left_out == 0


def test_the_turns_of_one_dialogue_stay_together_whatever_the_instructions() -> None:
    whose = Whose(held=0.5)
    for place in range(40):
        short = Prompt.ask(f"question {place}?")
        said = (Turn("system", "Be brief."), *short.turns, Turn("assistant", "Yes."), Turn("user", "And then?"))
        assert whose.holds(Prompt(said)) == whose.holds(short)
    assert {whose.holds(Prompt((Turn("system", "Be brief."), Turn("user", f"{place}")))) for place in range(40)} == {
        True,
        False,
    }


def test_prompts_that_are_held_stay_so_where_more_are() -> None:
    prompts = [Prompt.ask(f"question {place}?") for place in range(300)]
    few, many = ({p.id for p in prompts if Whose(held=held).holds(p)} for held in (0.1, 0.4))
    assert few < many
    assert not any(Whose().holds(p) for p in prompts)


def test_half_of_a_letter_can_be_held_back() -> None:
    assert Whose(held=0.999999).holds(Prompt.ask("\ud800"))


def test_of_each_group_the_first_are_kept_and_demonstrations_are_not_choices() -> None:
    records: list[Feedback] = [pair(f"question {place}?", group) for place in range(50) for group in ("old", "young")]
    records.append(Demonstration(Prompt.ask("question 1?"), Completion("yes")))
    reserve = Reserve(Whose(held=0.9999999, most=3))
    assert list(reserve.sift(records, Tally())) == records[-1:]
    assert reserve.kept == records[:6]


# What is a choice ---------------------------------------------------------------------------------------------------------


def test_every_preference_is_a_choice_and_no_tie_is() -> None:
    asked, (a, b, c) = Prompt.ask("Why?"), map(Completion, "abc")
    ann, bob = Provenance("mine", "ann"), Provenance("mine", "bob")
    given = (
        pair("How?"),
        pair("How?", strength=0.5),
        pair("Where?", strength=0.2),
        Ranking(asked, (a, b, c), (0, 1, 1), ann),
        Rating(asked, a, 1.0, provenance=ann),
        Rating(asked, b, 0.0, provenance=ann),
        Rating(asked, c, 0.5, provenance=bob),
    )
    told = [(one.prompt.text, one.chosen.text, one.rejected.text, one.strength) for one in choices_in(given)]
    assert told == [
        ("How?", "yes", "no", 1.0),
        ("Where?", "no", "yes", 0.8),
        ("Why?", "a", "b", 1.0),  # the ranking
        ("Why?", "a", "c", 1.0),
        ("Why?", "a", "b", 1.0),  # Ann's scores; Bob scored one answer only, and is not Ann
    ]


def test_agreement_by_hand() -> None:
    rows = [
        {"prompt": "p", "group": "old", "strength": 1.0, "lead": 0.1},
        {"prompt": "p", "group": "old", "strength": 0.7, "lead": -2.0},
        {"prompt": "q", "group": "young", "strength": 1.0, "lead": 0.0},
    ]
    assert agreement(rows, "old") == {"p": [1.0, pytest.approx(0.3)]}
    assert agreement(rows) == {"p": [1.0, pytest.approx(0.3)], "q": [0.5]}


def test_where_all_agree_the_interval_is_wilsons() -> None:
    found = share({"p": [1.0], "q": [1.0, 1.0], "r": [1.0]})
    assert (found.mean, found.high) == (1, 1)
    assert found.low == pytest.approx(1 / (1 + 1.959964**2 / 3))
    assert share({"p": [1.0], "q": [0.0]}).low == 0


# The policy ---------------------------------------------------------------------------------------------------------------


def test_the_lead_is_the_change_of_the_log_ratio() -> None:
    """Against log-probabilities of one answer at a time, and 0 for a policy that is the start."""
    base = toy_base()
    start, policy = bare_on(base, "start"), role_on(base, "policy", seed=3)
    with torch.no_grad():
        for one in policy.parameters():
            one.add_(0.3 * torch.randn(one.shape, generator=torch.Generator().manual_seed(one.numel())))
    pairs = [pair("Is the stone big?", chosen="yes the stone is big", rejected="no"), pair("Is the tree old?")]

    def of(role: object, prompt: Prompt, reply: Completion) -> float:
        forest = base.text.replies([prompt], [[reply]], base.device)
        with torch.no_grad():
            return float(role.logps(forest).sum())  # type: ignore[attr-defined]

    by_hand = [
        sum(
            sign * (of(policy, one.prompt, side) - of(start, one.prompt, side))
            for sign, side in ((1, one.chosen), (-1, one.rejected))
        )
        for one in pairs
    ]
    assert leads(policy, start, pairs) == pytest.approx(by_hand, abs=1e-4)
    assert max(map(abs, by_hand)) > 0.01
    assert leads(start, start, pairs) == [0.0, 0.0]
    assert leads(policy, start, []) == []


@dataclass
class Mute:
    def sample(self, prompts: object, n: int = 1, manner: object = None) -> list[list[Completion]]:
        return []


def test_opinions_leave_out_what_cannot_be_read() -> None:
    base = toy_base()
    start = bare_on(base, "start")
    held = [pair("a?"), pair("a?"), pair("b?", "young"), pair("c?", chosen="no"), pair("d?", chosen="yes " * 500)]
    told = opinions(start, start, held, Who())
    assert [(row["group"], row["strength"], row["lead"]) for row in told] == [("old", 1.0, 0.0), ("young", 1.0, 0.0)]
    assert [row["lead"] for row in opinions(Mute(), start, held, Who())] == [None, None]  # type: ignore[arg-type]


# A run --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whose")
    file = folder / "toy.toml"
    file.write_text(RUN.format(model=toy_folder(folder / "model")))
    return file


@pytest.fixture(scope="module")
def done(file: Path) -> Run:
    run = Run.open(file, file.parent / "run")
    run.report()
    return run


def test_no_prompt_is_learned_and_asked_about(done: Run) -> None:
    learned, held = (list(store.read_feedback(path)) for path in (done.files.feedback, done.files.root / "held.jsonl"))
    assert {record.prompt.id for record in learned}.isdisjoint(record.prompt.id for record in held)
    assert set(map(group_of, learned)) == {"careful", "friendly"}
    assert set(map(group_of, held)) == {"careful", "friendly", "hurried", "daring"}  # before filters


def test_its_report_tells_every_group(done: Run) -> None:
    report = report_of("toy", done.plan.table(), done.files)
    told, learned = store.read_rows(done.files.opinions), Counter(map(group_of, store.read_feedback(done.files.feedback)))
    assert [group.name for group in report.groups] == ["careful", "daring", "friendly", "hurried"]
    by_name = {group.name: group for group in report.groups}
    assert (by_name["daring"].learned, by_name["careful"].learned) == (0, learned["careful"])
    assert sum(group.choices for group in report.groups) == len(told)
    assert "## Whose choices" in report.markdown()
    assert json.loads((done.files.root / "report.json").read_text())["groups"][1]["name"] == "daring"


def test_it_is_shown_on_the_command_line(done: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(done.files.root)]) == 0
    assert "choices held back" in capsys.readouterr().out


def test_a_preview_shows_what_would_be_learned(file: Path, tmp_path: Path) -> None:
    records, tally = Run.planned(file, tmp_path / "run").preview(100)
    assert not any(Whose(held=0.3).holds(record.prompt) for record in records)
    assert tally.sifted[HELD].count > 0


def test_a_run_that_holds_nothing_back_is_what_it_was(file: Path) -> None:
    with_, without = read_plan(file), read_plan(file, ["whose.held=0"])
    assert "whose" in with_.table()
    assert "whose" not in without.table()
    assert "whose" in read_plan(file, ["whose.held=0", "whose.who.read=annotator"]).table()
    assert key_of(with_, {}, ()) != key_of(without, {}, ())
    assert key_of(replace(with_, whose=Whose(held=0.2)), {}, ()) != key_of(with_, {}, ())


@pytest.mark.parametrize("setting", ["whose.held=1.0", "whose.most=0", "whose.who.pattern='x'", "whose.hold=0.1"])
def test_a_setting_that_is_none_is_refused(setting: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(file), "--dry-run", "--set", setting]) == 2
    assert "whose" in capsys.readouterr().err


def test_where_nothing_was_held_back_that_is_told(file: Path, tmp_path: Path) -> None:
    """Best-of-n by the gold reward learns from nobody's choices."""
    heard: list[str] = []
    changes = ['optimizer={use="best-of-n", n=2}', 'reward={use="playground-gold"}']
    run = Run.open(file, tmp_path / "run", changes, Listener(line=heard.append))
    assert run.report().groups == ()
    assert "whose choices: nobody is asked, for no judgement was held back" in heard
    assert not run.files.opinions.exists()


def test_groups_are_counted_over_all_that_was_learned_from(tmp_path: Path) -> None:
    files = store.Folder(tmp_path)
    tallies = {
        files.feedback: {"old": 2, "": 1},
        files.reward(2).feedback: {"young": 3, "old": 1},
        files.start.feedback: {"w": 9},
    }
    for path, groups in tallies.items():
        store.write_text(path, "")
        store.write_json(store.tally_beside(path), {"groups": groups})
    assert store.groups_in(files.feedbacks()) == {"": 1, "old": 3, "young": 3}
    store.write_json(store.tally_beside(files.feedback), {"read": 3})  # of before groups were counted
    assert store.groups_in(files.feedbacks()) == {"old": 1, "young": 3}


def test_what_is_only_heard_teaches_the_policy_nothing(tmp_path: Path) -> None:
    """The second and third of those that are trained: rewards without feedback have no folder."""
    files = store.Folder(tmp_path)
    for place, group in enumerate(("all", "old", "young", "few"), start=1):
        store.write_text(files.reward(place).feedback, "")
        store.write_json(store.tally_beside(files.reward(place).feedback), {"groups": {group: place}})
    assert list(store.groups_in(store.learned_from(files))) == [
        "all",
        "few",
        "old",
        "young",
    ]  # of who has no settings, nothing is known
    trained = "feedback = {use = 'file'}"
    weights = [
        ("", trained),
        ("weight = 0.0", ""),
        ("weight = 0.0", trained),
        ("weight = 0", trained),
        ("weight = -1.0", trained),
    ]
    rewards = "".join(f"[[reward]]\nuse = 'x'\n{weight}\n{feedback}\n" for weight, feedback in weights)
    store.write_text(files.settings, f"name = 'x'\n{rewards}")
    assert store.groups_in(store.learned_from(files)) == {"all": 1, "few": 4}
    assert len(files.feedbacks()) == 4
    store.write_text(files.settings, f"name = 'x'\n[reward]\nuse = 'x'\n{trained}\n")
    assert len(store.learned_from(files)) == 4


def gathered_from(root: Path, **groups: int) -> store.Folder:
    """A finished run that learned from so many judgements of each group, and heard a reward that learned from others'."""
    files = store.Folder(finished(root, lambda who, prompt, number: 0.0))
    for path, counts in ((files.feedback, groups), (files.reward(1).feedback, {"heard": 9})):
        store.write_text(path, "")
        store.write_json(store.tally_beside(path), {"groups": counts})
    heard = "\n[reward]\nuse = 'reward-model'\nweight = 0.0\nfeedback = {use = 'file'}\n"
    store.write_text(files.settings, files.settings.read_text() + heard)
    return files


def test_without_choices_the_report_says_who_was_learned_from_and_how_to_ask(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = gathered_from(tmp_path / "two", old=3, young=1200)
    report = report_of("two", store.read_settings(files), files)
    assert [group.cells() for group in report.groups] == [["old", "3", "0", "–"], ["young", "1,200", "0", "–"]]
    assert "write held = 0.2 under [whose]" in report.markdown()
    show(report, files.root)
    assert "write held = 0.2 under [whose]" in " ".join(capsys.readouterr().out.split())
    lone = gathered_from(tmp_path / "one", **{"old": 3, "": 5})
    assert report_of("one", store.read_settings(lone), lone).groups == ()


def test_what_looks_like_a_style_is_shown_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A closing tag ended the command with a traceback, after all was trained."""
    root = finished(tmp_path / "run", lambda who, prompt, number: 0.0, text=lambda who, prompt, number: f"{who} [/INST] [b]")
    files = store.Folder(root)
    show(report_of("run", store.read_settings(files), files), root)
    assert "policy [/INST] [b]" in capsys.readouterr().out


def test_a_comparison_reads_who_was_learned_from_and_what_they_think(tmp_path: Path) -> None:
    files = gathered_from(tmp_path / "two", old=3, young=2)
    row = {"choice": "c", "prompt": "p", "group": "old", "strength": 1.0, "lead": None}
    store.write_rows(files.opinions, [row])
    run = played(files.root)
    assert run.learned == {"old": 3, "young": 2}
    assert run.opinions == (row,)
    told = {group.name: group.cells()[3] for group in report_of("two", store.read_settings(files), files).groups}
    assert told == {"old": "not known: the policy gives no log-probabilities", "young": "–"}
