"""What a source tells of the rows that it read: every one is accounted for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from alignzoo.cli import main
from alignzoo.interfaces import Asking
from alignzoo.lab import store
from alignzoo.lab.run import Run
from alignzoo.records import Comparison, Completion, Prompt
from alignzoo.tally import Tally, TallyError

ROOT = Path(__file__).resolve().parents[1]


def four_rows() -> Tally:
    tally = Tally(read=8, kept=3)
    for line in (2, 3, 5, 7):
        tally.drop("score is missing", f"votes.jsonl:{line}")
    tally.drop("empty")
    tally.notice("a tie", "votes.jsonl:1", count=2)
    return tally


def test_rows_are_told_by_reason_with_the_first_places() -> None:
    assert four_rows().lines() == [
        "8 rows read, 3 kept",
        "  dropped score is missing: 4 (votes.jsonl:2, votes.jsonl:3, votes.jsonl:5, …)",
        "  dropped empty: 1",
        "  noticed a tie: 2 (votes.jsonl:1, …)",
    ]
    assert Tally().lines() == []


def test_as_plain_data() -> None:
    row = four_rows().row()
    assert (row["read"], row["kept"]) == (8, 3)
    assert row["dropped"]["empty"] == {"count": 1, "places": []}
    assert row["noticed"]["a tie"] == {"count": 2, "places": ["votes.jsonl:1"]}


def test_a_source_that_drops_too_much_is_refused() -> None:
    four_rows().check(5 / 8)
    with pytest.raises(TallyError, match=r"5 of 8 rows cannot be used, more than intake.dropped = 0.5 allows:\n8 rows read"):
        four_rows().check(0.5)


def test_rows_that_a_rule_leaves_aside_are_accounted_for_and_no_reason_to_refuse() -> None:
    tally = Tally(read=100, kept=1)
    tally.put_aside("reply to a comment", "votes.jsonl:2", count=98)
    tally.drop("not JSON", "votes.jsonl:3")
    tally.say("later comments won 3 of 4 pairs")
    assert (tally.unexplained, tally.left_out) == (0, 1)
    tally.check(0.01)
    assert tally.lines() == [
        "100 rows read, 1 kept",
        "  dropped not JSON: 1 (votes.jsonl:3)",
        "  set aside reply to a comment: 98 (votes.jsonl:2, …)",
        "  later comments won 3 of 4 pairs",
    ]
    row = tally.row()
    assert row["set_aside"] == {"reply to a comment": {"count": 98, "places": ["votes.jsonl:2"]}}
    assert row["said"] == ["later comments won 3 of 4 pairs"]


def test_a_row_that_vanishes_is_a_bug_of_the_source() -> None:
    tally = four_rows()
    tally.read += 1
    with pytest.raises(TallyError, match="1 of 9 rows were neither kept nor dropped"):
        tally.check(1.0)
    Tally().check(0.0)


@dataclass(frozen=True)
class Votes:
    """A corpus of four pairs, one of them spoilt."""

    gives = ("comparison",)
    asks = ()

    def collect(self, asking: Asking) -> Iterator[Comparison]:
        for line in range(1, 5):
            asking.tally.read += 1
            if line == 3:
                asking.tally.drop("score is missing", f"votes:{line}")
                continue
            asking.tally.kept += 1
            yield Comparison(Prompt.ask(f"question {line}"), Completion("yes"), Completion("no"))


def run_on_votes(folder: Path, dropped: float) -> Run:
    """A run of the demo's shape whose feedback is the votes above."""
    file = folder / "run.toml"
    file.write_text(
        'name = "votes"\n[model]\nuse = "model:playground"\n[task]\nuse = "task:playground"\n[feedback]\nuse = "playground"\n'
        f'[optimizer]\nuse = "dpo"\n[judge]\nuse = "reward:playground-gold"\n[intake]\ndropped = {dropped}\n'
    )
    run = Run.open(file, folder / "out")
    object.__setattr__(run.plan.feedback, "made", Votes())
    return run


def test_a_run_keeps_the_tally_beside_the_feedback(tmp_path: Path) -> None:
    run = run_on_votes(tmp_path, 0.25)
    told: list[str] = []
    run.listener.line = told.append
    path = run.collect()
    assert len(list(store.read_feedback(path))) == 3
    assert store.read_json(tmp_path / "out" / "feedback.tally.json")["dropped"]["score is missing"]["places"] == ["votes:3"]
    assert told[:2] == ["4 rows read, 3 kept", "  dropped score is missing: 1 (votes:3)"]


def test_a_run_refuses_a_source_that_drops_too_much_and_keeps_nothing_of_it(tmp_path: Path) -> None:
    run = run_on_votes(tmp_path, 0.2)
    with pytest.raises(TallyError, match="1 of 4 rows"):
        run.collect()
    assert not run.files.feedback.exists()


def test_a_preview_shows_the_first_records_and_keeps_nothing(tmp_path: Path) -> None:
    run = run_on_votes(tmp_path, 0.2)
    records, tally = run.preview(2)
    assert [record.prompt.text for record in records] == ["question 1", "question 2"]
    assert (tally.read, tally.kept, tally.left_out) == (4, 3, 1)
    assert not run.files.feedback.exists()


@pytest.mark.parametrize(("share", "refuses"), [("0.3", True), ("0.4", False)])
def test_a_preview_says_where_a_run_would_refuse(
    share: str, refuses: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)  # one of its three rows is dropped
    assert main(["collect", "--preview", "0", "benchmarks/feedback/hh_dpo.toml", "--set", f"intake.dropped={share}"]) == 0
    said = "A run would refuse this: 1 of 3 rows cannot be used, more than intake.dropped = 0.3 allows."
    assert (said in capsys.readouterr().out) == refuses
