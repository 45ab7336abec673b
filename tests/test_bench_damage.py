"""What lies in a bench's folder and is not what a run wrote: named, and made again or looked for again; never a traceback."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import pytest

from alignzoo.lab import store
from alignzoo.lab.bench.benchfile import Bench, BenchError, Entry
from alignzoo.lab.bench.damage import mend, undo
from alignzoo.lab.bench.folder import BenchFolder
from alignzoo.lab.bench.outcome import Cell, Outcome, read_from
from alignzoo.lab.claims import claim, holder
from alignzoo.lab.faults import fault_in
from alignzoo.seam.discovery import discover

SCORE = {"who": "policy", "number": 0, "prompt": "p1", "score": 0.5, "values": {"kind": 1}}
ANSWER: dict[str, Any] = {"who": "start", "number": 0, "prompt": {"turns": []}, "completion": {"text": "a"}, "kl": None}
UPDATE = {"update": 1, "loss": 0.7}
COUNTED = ("updates", "labels", "scores", "read", "written", "flops", "seconds", "tokens", "peak_bytes")
SERVED = dict.fromkeys(("flops", "tokens", "seconds", "scores"), 1.0)
CELL = Cell("x", 0)


def lines(*rows: Any) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("scores.jsonl", lines(SCORE) + "%%\n", ":2: not JSON"),
        ("scores.jsonl", lines(SCORE, SCORE), ":2: there twice"),
        ("scores.jsonl", lines(SCORE, 17), ":2: 17 is no row"),
        ("scores.jsonl", lines({**SCORE, "score": "high"}), ":1: 'score' cannot be \"high\""),
        ("scores.jsonl", lines({**SCORE, "score": float("nan")}), ":1: NaN is no figure"),
        ("scores.jsonl", lines({**SCORE, "values": {"kind": None}}), ":1: 'kind' cannot be null"),
        ("scores.jsonl", lines({"who": "policy"}), ":1: 'number' is missing"),
        ("answers.jsonl", lines({**ANSWER, "completion": "a"}), ":1: 'completion' cannot be \"a\""),
        ("updates.jsonl", lines(UPDATE, {**UPDATE, "loss": "low"}), ":2: 'loss' cannot be \"low\""),
        ("trail.jsonl", lines({"kl": 1.0}), ":1: 'update' is missing"),
        ("summary.json", "{}", ":1: 'ledger' is missing"),
        ("serving.json", "[]", ":1: [] is no row"),
        ("serving.json", '{"start": {},\n "policy"}', ":2: not JSON"),
        ("run.toml", "@@", ": not TOML"),
        ("run.toml", 'name = "x"\nseed = 0\noptimizer.use = "b"\n', ": 'judge' is missing"),
        ("run.toml", 'name = "x"\nseed = 0\njudge.k = "a"\noptimizer.use = "b"\n', ": 'judge.use' is missing"),
        ("run.toml", 'name = "x"\nseed = 0\njudge.use = 5\noptimizer.use = "b"\n', ": 'use' cannot be 5"),
        ("scores.jsonl", lines({**SCORE, "score": True}), ":1: 'score' cannot be true"),
        ("scores.jsonl", lines({**SCORE, "score": 77}).replace("77", "1e400"), ":1: 'score' cannot be Infinity"),
        ("scores.jsonl", lines(SCORE, {**SCORE, "values": {}}), ":2: 'values' cannot be {}"),
        ("answers.jsonl", lines({**ANSWER, "kl": "far"}), ":1: 'kl' cannot be \"far\""),
        ("answers.jsonl", lines({**ANSWER, "completion": {}}), ":1: 'completion.text' is missing"),
        ("trail.jsonl", lines({"update": 0, "gold": 1, "kl": "far"}), ":1: 'kl' cannot be \"far\""),
        ("summary.json", '{"ledger": {"read": null}, "optimizer": {}, "stopped": ""}', ":1: 'read' cannot be null"),
        ("judging.json", '{"bounds": {"score": [0]}}', ":1: 'score' cannot be [0]"),
    ],
)
def test_what_no_run_wrote_is_named_by_its_line(name: str, text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert fault_in(path).startswith(f"{path}{said}")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("scores.jsonl", lines(SCORE, {**SCORE, "who": "start"}, {**SCORE, "score": 3})),
        ("answers.jsonl", lines(ANSWER)),
        ("answers.jsonl", json.dumps({**ANSWER, "who": "a\u2028b\x85c"}, ensure_ascii=False) + "\n"),
        ("updates.jsonl", lines(UPDATE, {**UPDATE, "update": 2})),
        ("trail.jsonl", lines({"update": 0, "n": 1, "proxy": None, "gold": 1}, {"update": 0, "n": 2, "gold": 1, "each": {}})),
        ("run.toml", 'name = "x"\nseed = 0\njudge.use = "a"\noptimizer.use = "b"\n'),
    ],
)
def test_what_a_run_can_have_written_is_no_damage(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert fault_in(tmp_path / name) == ""


def done(tmp_path: Path) -> tuple[BenchFolder, Outcome]:
    """A bench with one run that has ended, as far as its files tell."""
    files = BenchFolder(Bench("b", (0,), (Entry("x", {}, {}),), {}, discover()), tmp_path)
    run = store.Folder(files.run(CELL))
    store.write_text(run.settings, 'name = "x"\n')
    store.write_rows(run.scores, [SCORE, {**SCORE, "who": "start"}])
    spent = dict.fromkeys(COUNTED, 1.0)
    outcome = Outcome("done", files=read_from(run), spent=spent, served=SERVED, start_served=SERVED, value=0.5)
    files.end(CELL, outcome)
    return files, outcome


def test_a_doubled_line_is_named_and_what_was_made_of_it_is_made_again(tmp_path: Path) -> None:
    files, _ = done(tmp_path)
    assert list(mend(files)) == []
    path = files.run(CELL) / "scores.jsonl"
    path.write_text(path.read_text() + lines(SCORE))
    assert list(mend(files)) == [f"{path}:3: there twice: made again"]
    assert not path.exists()
    assert files.outcome(CELL) is None


def test_another_score_is_no_damage_and_refused(tmp_path: Path) -> None:
    files, outcome = done(tmp_path)
    path = files.run(CELL) / "scores.jsonl"
    path.write_text(path.read_text().replace("0.5", "0.9"))
    with pytest.raises(BenchError, match=r"scores\.jsonl was changed after it was made. Put it back as it was, or remove it"):
        list(mend(files))
    assert files.outcome(CELL) == outcome


@pytest.mark.parametrize("text", ["@@", None])
def test_a_run_whose_settings_are_damaged_or_gone_is_made_again_as_a_whole(text: str | None, tmp_path: Path) -> None:
    files, _ = done(tmp_path)
    path = files.run(CELL) / "run.toml"
    path.unlink() if text is None else path.write_text(text)
    (told,) = mend(files)
    assert told.startswith(str(path))
    assert told.endswith("made again")
    assert not files.run(CELL).exists()


def test_other_settings_than_a_run_was_made_with_are_refused(tmp_path: Path) -> None:
    files, _ = done(tmp_path)
    (files.run(CELL) / "run.toml").write_text('name = "y"\nseed = 0\njudge.use = "a"\noptimizer.use = "b"\n')
    with pytest.raises(BenchError, match=r"run\.toml was changed after it was made"):
        list(mend(files))


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe",
        b"[1]",
        b"NaN",
        b"3",
        b'{"state": "done", "files": 3}',
        b'{"state": "done", "spent": {"flops": "much"}}',
        b'{"state": "done", "spent": {"flops": NaN}}',
        b'{"state": "done", "value": "high"}',
        b'{"state": "well"}',
        b'{"state": "failed", "reason": 3}',
    ],
)
def test_an_outcome_that_is_none_is_none(text: bytes, tmp_path: Path) -> None:
    files, _ = done(tmp_path)
    files.outcome_file(CELL).write_bytes(text)
    assert files.outcome(CELL) is None
    assert not files.outcome_file(CELL).exists(), "and it is looked for again"


def test_an_outcome_that_lacks_what_a_report_asks_for_is_looked_for_again(tmp_path: Path) -> None:
    files, _ = done(tmp_path)
    store.write_json(files.outcome_file(CELL), {"state": "done"})
    assert list(mend(files)) == [f"{files.outcome_file(CELL)} does not say what the run came to: looked for again"]
    assert files.outcome(CELL) is None
    assert (files.run(CELL) / "scores.jsonl").exists(), "nothing is wrong with the run"


HERE = json.dumps({"host": platform.node(), "pid": "x", "born": None}).encode()


@pytest.mark.parametrize("text", [b"3", b"{}", b"null", HERE, b"\xff"])
def test_a_claim_that_is_none_is_nobodys(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "piece"
    path.write_bytes(text)
    assert holder(path) is None
    assert claim(path) is not None


def test_all_of_a_run_goes_with_its_settings(tmp_path: Path) -> None:
    (tmp_path / "run" / "start").mkdir(parents=True)
    undo(tmp_path / "run", "run.toml")
    assert not (tmp_path / "run").exists()
