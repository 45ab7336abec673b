"""Filters between a source and the run: named in the run file, kept in run.toml, told in the tally."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from alignzoo.cli import main
from alignzoo.interfaces import Asking, Filter
from alignzoo.lab import store
from alignzoo.lab.folders import plan_in
from alignzoo.lab.plan import Part, Plan
from alignzoo.lab.run import Run
from alignzoo.lab.runfile import read_plan
from alignzoo.lab.shelf import key_of
from alignzoo.records import Feedback
from alignzoo.seam.discovery import discover
from alignzoo.seam.settings import SettingsError
from alignzoo.tally import Tally, TallyError

PAIRS = [
    ("What is tea?", "A drink.", "As a language model, no."),
    ("Why?", "As a language model, yes.", "So."),
    ("Why?", "So.", "No."),
]


def written(folder: Path, filters: str) -> Path:
    rows = [{"prompt": prompt, "chosen": chosen, "rejected": rejected} for prompt, chosen, rejected in PAIRS]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = folder / "run.toml"
    file.write_text(
        '[model]\nuse = "model:playground"\n[task]\nuse = "task:playground"\n[optimizer]\nuse = "dpo"\n[judge]\n'
        f'use = "reward:playground-gold"\n[feedback]\nuse = "file"\ndata.path = {str(folder / "pairs.jsonl")!r}\n{filters}'
    )
    return file


TWO = '[[feedback.filter]]\nuse = "boilerplate"\n[[feedback.filter]]\nuse = "lengths"\nleast = 2\n'


def test_records_go_through_every_filter_in_order(tmp_path: Path) -> None:
    run = Run.open(written(tmp_path, TWO), tmp_path / "out")
    records, tally = run.preview(9)
    assert [record.prompt.text for record in records] == ["What is tea?"]
    assert (tally.read, tally.kept, tally.unexplained) == (3, 3, 0)
    assert {name: cases.count for name, cases in tally.sifted.items()} == {"boilerplate": 1, "lengths": 1}
    assert "  filtered out boilerplate: 1 (" in "\n".join(tally.lines())
    run.collect()
    assert store.read_json(tmp_path / "out" / "feedback.tally.json")["sifted"]["lengths"]["count"] == 1


def test_filters_that_leave_nothing_are_told_with_how_many_each_took(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of them twice: the tally tells them together."""
    more = '[[feedback.filter]]\nuse = "lengths"\nleast = 500\n'
    file = written(tmp_path, TWO + more)
    with pytest.raises(TallyError) as refused:
        Run.open(file, tmp_path / "out").collect()
    assert str(refused.value) == (
        "nothing is left of the 3 records of feedback:preference_sets/file; taken out by filter.0 "
        "(filter:preference_sets/boilerplate) 1, by filter.1 (filter:preference_sets/lengths) 1, by filter.2 "
        "(filter:preference_sets/lengths) 1"
    )
    assert not (tmp_path / "out" / "feedback.jsonl").exists()
    assert main(["collect", str(file), "--out", str(tmp_path / "seen"), "--preview"]) == 0
    assert capsys.readouterr().out.endswith("\nA run would refuse this: no record is left.\n")
    assert main(["collect", str(file), "--out", str(tmp_path / "told")]) == 2
    assert "nothing is left of the 3 records" in capsys.readouterr().err


def test_what_is_held_back_for_the_groups_counts_as_taken(tmp_path: Path) -> None:
    file = written(tmp_path, '[[feedback.filter]]\nuse = "lengths"\nleast = 500\n[whose]\nheld = 0.4\n')
    with pytest.raises(TallyError, match=r"of the 3 records .* taken out by whose\.held [1-3], by filter\.0 \(.*\) [0-2]$"):
        Run.open(file, tmp_path / "out").collect()


def test_a_run_keeps_its_filters(tmp_path: Path) -> None:
    run = Run.open(written(tmp_path, TWO), tmp_path / "out")
    again = plan_in(tmp_path / "out")
    assert again.table() == run.plan.table()
    assert again.feedback is not None
    assert [part.found.full_name for part in again.feedback.filters] == [
        "filter:preference_sets/boilerplate",
        "filter:preference_sets/lengths",
    ]
    assert again.table()["feedback"]["filter"][1]["least"] == 2
    assert "filter:preference_sets/lengths" in again.made_with()["plugins"]


def test_a_corpus_is_read_before_a_model_is_loaded(tmp_path: Path) -> None:
    """Its faults are told before the start is trained."""
    file = written(tmp_path, '[start]\nuse = "sft"\n[start.feedback]\nuse = "playground"\nkind = "demonstrations"\n')
    run = Run.open(file, tmp_path / "out")
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "Hi", "chosen": "a", "rejected": "a"}\n')
    stages: list[str] = []
    run.listener.stage = lambda name, what: stages.append(name)
    with pytest.raises(ValueError, match="none of its rows can be used"):
        run.train()
    assert stages == ["collect"]


def plan(folder: Path, filters: str) -> Plan:
    return read_plan(written(folder, filters))


def test_a_stage_is_another_one_with_another_filter(tmp_path: Path) -> None:
    """A reward that is trained on filtered feedback is not taken for one that was trained on all of it."""
    keys = []
    for filters in ("", '[[reward.feedback.filter]]\nuse = "boilerplate"\n'):
        text = f'[reward]\nuse = "reward-model"\n[reward.feedback]\nuse = "playground"\n{filters}'
        whole = plan(tmp_path, text)
        [(place, rewarding)] = whole.placed_rewards()
        assert rewarding.feedback is not None
        keys.append(key_of(whole, {"feedback": rewarding.feedback.row()}, (place, f"{place}.feedback")))
        assert len(rewarding.feedback.filters) == bool(filters)
    assert keys[0] != keys[1]


def test_a_stage_is_another_one_with_other_bytes_of_a_filter(tmp_path: Path) -> None:
    """The filter's plugin is one of those whose digest counts."""
    whole = plan(tmp_path, '[[feedback.filter]]\nuse = "boilerplate"\n')
    source = whole.feedback
    assert source is not None
    one = key_of(whole, {}, ("feedback",))
    elsewhere = Part(discover().find("reward", "sentiment"), source.filters[0].made)
    object.__setattr__(source, "filters", (elsewhere,))
    assert key_of(whole, {}, ("feedback",)) != one


def test_a_stage_is_another_one_with_other_bytes_in_its_file(tmp_path: Path) -> None:
    whole = plan(tmp_path, "")
    assert whole.feedback is not None
    one = key_of(whole, {"feedback": whole.feedback.row()}, ("feedback",))
    assert key_of(whole, {"feedback": whole.feedback.row()}, ("feedback",)) == one
    other = key_of(whole, {}, ())
    with (tmp_path / "pairs.jsonl").open("a") as file:
        file.write('{"prompt": "More?", "chosen": "Yes.", "rejected": "No."}\n')
    assert key_of(whole, {"feedback": whole.feedback.row()}, ("feedback",)) != one
    assert key_of(whole, {}, ()) == other  # a stage that does not read it is the same


@pytest.mark.parametrize(
    ("filters", "complaint"),
    [
        ('filter = "boilerplate"\n', r"feedback.filter: must be tables, \[\[feedback.filter\]\]"),
        ('[[feedback.filter]]\nuse = "boilerplates"\n', "did you mean 'boilerplate'"),
        ("[[feedback.filter]]\nleast = 2\n", r"feedback.filter.0: say what to use"),
        ('[[feedback.filter]]\nuse = "lengths"\nlest = 2\n', "did you mean 'least'"),
        ('[[feedback.filter]]\nuse = "feedback:playground"\n', "filter"),
    ],
)
def test_filters_that_cannot_be(filters: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=complaint):
        plan(tmp_path, filters)


def test_one_filter_may_be_a_table(tmp_path: Path) -> None:
    whole = plan(tmp_path, '[feedback.filter]\nuse = "boilerplate"\n')
    assert whole.feedback is not None
    assert len(whole.feedback.filters) == 1


@dataclass(frozen=True)
class Curious:
    """Lets everything pass, and remembers what it was told of the evaluation."""

    told: list[Any]

    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        self.told.extend(asking.evaluation)
        return iter(records)


def test_a_filter_is_told_what_the_run_is_judged_on(tmp_path: Path) -> None:
    run = Run.open(written(tmp_path, '[[feedback.filter]]\nuse = "overlap"\n[answer]\nprompts = 5\n'), tmp_path / "out")
    source = run.plan.feedback
    assert source is not None
    curious = Curious([])
    assert isinstance(curious, Filter)
    object.__setattr__(source, "filters", (Part(source.filters[0].found, curious),))
    run.preview(1)
    assert run.plan.task is not None
    assert curious.told == list(run.plan.task.made.prompts("test"))[:5]


def test_what_is_set_aside_does_not_count_as_dropped() -> None:
    tally = Tally(read=10, kept=4)
    tally.put_aside("below the ratio", "a:1", 5)
    tally.drop("empty", "a:2")
    assert tally.unexplained == 0
    tally.check(0.2)
    assert tally.lines()[2] == "  set aside below the ratio: 5 (a:1, …)"
    assert tally.row()["set_aside"]["below the ratio"]["count"] == 5
    tally.check(0.1)
    with pytest.raises(ValueError, match="1 of 10 rows cannot be used"):
        tally.check(0.09)


def test_a_stage_is_another_one_when_any_file_that_it_reads_is(tmp_path: Path) -> None:
    """Whatever the setting is called, and be it one of a list."""
    votes, others = tmp_path / "votes.jsonl", tmp_path / "others.jsonl"
    votes.write_text("1\n")
    others.write_text("1\n")
    row = {"feedback": {"use": "feedback:some/votes", "comments": [str(votes)], "posts": {"from": str(others)}}}
    whole = plan(tmp_path, "")
    keys = [key_of(whole, row, ())]
    for file in (votes, others):
        file.write_text("2\n")
        keys.append(key_of(whole, row, ()))
    assert len(set(keys)) == 3
