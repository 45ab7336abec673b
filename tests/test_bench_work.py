"""A bench on the toy model: shared ground, budgets, failures, additions, damage, tuning."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from bench_ground import BAD, BEST, DPO, ground
from safetensors.torch import load_file

from alignzoo.cli import main
from alignzoo.lab import store
from alignzoo.lab.bench.benchfile import BenchError
from alignzoo.lab.bench.calibration import Estimate, calibrated, short
from alignzoo.lab.bench.head_to_head import HeadToHead
from alignzoo.lab.bench.outcome import Cell, Outcome, apart
from alignzoo.lab.bench.report import Standing
from alignzoo.lab.bench.tuning import Tuning
from alignzoo.lab.bench.work import DiskFull, Watcher, free
from alignzoo.lab.costs import updates_in_all

FAILS = BAD.replace("SORT", "fails")
GONE = "ScoreError: toyjudge:fails raised RuntimeError: the reward has gone home"


class Heard:
    """What a bench has told."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.stages: list[tuple[str, str]] = []
        self.lines: list[str] = []
        self.counts: list[tuple[int, int]] = []

    def watcher(self) -> Watcher:
        return Watcher(
            began=lambda cell: self.began.append(str(cell)),
            said=lambda cell, what, facts: self._said(str(cell), what, facts),
            line=self.lines.append,
            whole=lambda ended, cells: self.counts.append((ended, cells)),
        )

    def _said(self, cell: str, what: str, facts: tuple[object, ...]) -> None:
        if what == "stage":
            self.stages.append((cell, str(facts[0])))
        elif what == "line":
            self.lines.append(f"{cell}: {facts[0]}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        yield folder


@pytest.fixture(scope="module")
def done(place: Path) -> tuple[HeadToHead, Heard]:
    """Three entries under two seeds, one of which fails, at a budget of 16 labels."""
    heard = Heard()
    file = ground(place, "toyjudge", DPO + BEST + FAILS, budget="[budget]\nlabels = 16\n[trail]\nevery = 1\nprompts = 3\n")
    bench = HeadToHead.open(file, place / "out", watcher=heard.watcher())
    bench.run(jobs=0)
    return bench, heard


def standing(bench: HeadToHead, name: str) -> Standing:
    return next(one for one in bench.standings() if one.name == name)


def test_a_failing_entry_is_told_with_its_reason_and_stops_nobody(done: tuple[HeadToHead, Heard]) -> None:
    bench, heard = done
    assert [cell.state for cell in standing(bench, "dpo").cells] == ["done", "done"]
    assert [cell.state for cell in standing(bench, "best").cells] == ["done", "done"]
    bad = standing(bench, "bad").cells
    assert [(cell.state, cell.reason) for cell in bad] == [("failed", GONE)] * 2
    assert heard.began == ["dpo/0", "best/0", "bad/0", "dpo/1", "best/1", "bad/1"]
    assert heard.counts[0] == (0, 6)
    assert heard.counts[-1] == (6, 6)
    trace = bench.files.outcome(Cell("bad", 0))
    assert trace is not None
    assert "toyjudge.py" in trace.trace


def test_what_entries_share_is_made_once(done: tuple[HeadToHead, Heard]) -> None:
    """Of each seed one start is trained; the start's answers and the feedback are the same bytes."""
    bench, heard = done
    loads = [cell for cell, stage in heard.stages if stage == "start"]
    taken = [line for line in heard.lines if "done before with the same content" in line]
    assert len(loads) == 6
    assert len([line for line in taken if line.startswith(("best", "bad"))]) == 4
    assert len([line for line in taken if line.startswith("dpo")]) == 0
    for seed in ("0", "1"):
        roots = [bench.files.root / "runs" / name / seed for name in ("dpo", "best")]
        first, second = ([r for r in store.read_rows(root / "answers.jsonl") if r["who"] == "start"] for root in roots)
        assert first == second
        adapters = [(root / "start/adapter/adapter_model.safetensors").read_bytes() for root in roots]
        assert adapters[0] == adapters[1]
    both = [(bench.files.root / "runs/dpo" / seed / "start/summary.json").read_text() for seed in ("0", "1")]
    assert json.loads(both[0])["adapter"] != json.loads(both[1])["adapter"]


def test_what_a_reference_said_is_shared_and_changes_nothing(place: Path) -> None:
    other = DPO.replace('"dpo"\n', '"hinge"\n').replace("batch_size", 'loss = "hinge", batch_size')
    (place / "two").mkdir()
    two = HeadToHead.open(ground(place / "two", "toyjudge", DPO + other, seeds="1"), place / "two/out")
    one = HeadToHead.open(ground(place / "two", "toyjudge", other, seeds="1"), place / "two/alone")
    for bench in (two, one):
        bench.run(jobs=0)
    told = [standing(bench, "hinge").cells[0] for bench in (two, one)]
    summaries = [store.read_json(cell.folder / "train/summary.json") for cell in told]
    assert summaries[0]["adapter"] == summaries[1]["adapter"]
    assert {name: told[0].spent[name] for name in ("read", "flops")} == {
        name: told[1].spent[name] for name in ("read", "flops")
    }
    kept = [list((bench.files.shelf / "references").iterdir()) for bench in (two, one)]
    assert [[file.name for file in files] for files in kept] == [[kept[0][0].name]] * 2
    first, second = (load_file(files[0]) for files in kept)
    assert first.keys() == second.keys()  # the second entry asked for nothing that was not said already
    assert all(torch.equal(first[key][1:], second[key][1:]) for key in first)


def test_the_budget_stops_each_and_what_was_spent_is_told(done: tuple[HeadToHead, Heard]) -> None:
    bench, _ = done
    dpo, best = standing(bench, "dpo").cells[0], standing(bench, "best").cells[0]
    assert (dpo.spent["labels"], dpo.spent["updates"], dpo.stopped) == (16, 2, "labels 16 of 16")
    ledger = store.read_json(dpo.folder / "train" / "summary.json")["ledger"]
    assert dpo.spent["tokens"] == ledger["read"] + ledger["written"]
    assert (best.spent["tokens"], best.spent["flops"], best.spent["scores"]) == (0, 0, 0)  # nor does its trail cost anything
    assert best.served["scores"] == 4
    assert dpo.served["scores"] == 0
    assert dpo.start_served == best.start_served
    assert best.served["flops"] > 1.5 * best.start_served["flops"]  # four answers, and the prompt read once


def test_a_trail_is_left_by_everybody(done: tuple[HeadToHead, Heard]) -> None:
    bench, _ = done
    dpo, best = (store.read_rows(standing(bench, name).cells[0].folder / "train/trail.jsonl") for name in ("dpo", "best"))
    assert [row["update"] for row in dpo] == [0, 1, 2]
    assert dpo[0]["kl"] == pytest.approx(0.0, abs=1e-4)
    assert dpo[0]["proxy"] is None  # DPO raises no reward
    assert dpo[2]["gold"] == pytest.approx(sum(dpo[2]["each"]["gold"]) / 3)
    assert [(row.get("strength"), row["kl"]) for row in best[1:]] == [
        (1, 0.0),
        (2, pytest.approx(0.19315, abs=1e-4)),
        (4, pytest.approx(0.63629, abs=1e-4)),
    ]
    assert all(0 <= row["kl_estimated"] <= row["kl"] for row in best[1:])
    assert best[0]["gold"] == best[0]["proxy"]
    assert best[1]["gold"] <= best[2]["gold"] <= best[3]["gold"]  # it chooses by what it is judged by


def test_the_leaderboard_is_a_file_and_says_what_failed(done: tuple[HeadToHead, Heard]) -> None:
    bench, _ = done
    text = bench.report()
    written = (bench.files.root / "report.md").read_text()
    assert written.startswith(text)  # and what the screen is spared: answers, and how it was made
    root = bench.files.root
    assert f"Made again with `alignzoo bench {root / 'bench.toml'} --out {root}-again`" in written
    assert re.search(r"\| dpo \| 0, 1 \| alignzoo \S+, python .*, torch .* \| .*\d cores, 1 thread, ", written)
    assert text.index("| best | 2 |") > 0
    assert f"* bad/1: {GONE}" in text
    assert "Trained, and so many answers later, these have cost less FLOPs than best: dpo after " in text
    rows = store.read_json(bench.files.root / "bench.json")["entries"]
    assert [row["name"] for row in rows] == ["dpo", "best", "bad"]
    assert rows[0]["cells"][1]["folder"] == "runs/dpo/1"
    assert rows[0]["settings"]["optimizer"] == {"use": "dpo", "batch_size": 8}
    assert rows[2]["cells"][0]["state"] == "failed"


def test_nothing_is_done_twice_and_failures_only_when_asked(done: tuple[HeadToHead, Heard], place: Path) -> None:
    heard = Heard()
    again = HeadToHead.open(place / "out", watcher=heard.watcher())
    again.run(jobs=0)
    assert heard.began == []
    again.run(jobs=0, retry=True)
    assert heard.began == ["bad/0", "bad/1"]
    assert "2 that failed will be tried again" in heard.lines


def test_a_cell_that_somebody_has_is_left_to_him(done: tuple[HeadToHead, Heard], place: Path) -> None:
    from alignzoo.lab.claims import claimed

    bench, _ = done
    cells = [Cell("dpo", 0), Cell("dpo", 1)]
    rows = [bench.files.outcome_file(cell) for cell in cells]
    kept = [row.read_bytes() for row in rows]
    for row in rows:
        row.unlink()
    with claimed(bench.files.claim(cells[0])):
        assert list(free(bench.files, set())) == cells[1:]
        assert list(free(bench.files, set(cells[1:]))) == []
        assert standing(bench, "dpo").cells[0].state == "under way"
    assert list(free(bench.files, set())) == cells
    for row, old in zip(rows, kept, strict=True):
        row.write_bytes(old)


def test_more_entries_and_seeds_compute_only_what_is_new(done: tuple[HeadToHead, Heard], place: Path) -> None:
    import shutil

    shutil.copytree(place / "out", place / "more")
    heard = Heard()
    budget = "[budget]\nlabels = 16\n[trail]\nevery = 1\nprompts = 3\n"
    ipo = '[[entry]]\nname = "ipo"\noptimizer = {use = "ipo", batch_size = 8}\n'
    file = ground(place, "toyjudge", DPO + BEST + FAILS + ipo, budget=budget)
    bench = HeadToHead.open(file, place / "more", watcher=heard.watcher())
    bench.run(jobs=0)
    assert heard.began == ["ipo/0", "ipo/1"]
    trained = [cell for cell, stage in heard.stages if stage == "train"]
    assert trained == ["ipo/0", "ipo/1"]
    taken = [line for line in heard.lines if "done before" in line]
    assert len(taken) == 4  # start and feedback, of each seed


def test_another_setting_in_a_started_folder_is_refused(done: tuple[HeadToHead, Heard], place: Path) -> None:
    budget = "[budget]\nlabels = 16\n[trail]\nevery = 1\nprompts = 3\n"
    file = ground(place, "toyjudge", DPO.replace("= 8", "= 4") + BEST + FAILS, budget=budget)
    with pytest.raises(BenchError, match=r"entry 'dpo': optimizer.batch_size: 8 there, 4 now") as caught:
        HeadToHead.open(file, place / "out")
    assert "give a changed entry another name" in str(caught.value)
    file = ground(place, "toyjudge", DPO + BEST + FAILS, budget=budget.replace("16", "24"))
    with pytest.raises(BenchError, match=r"budget.labels: 16 there, 24 now"):
        HeadToHead.open(file, place / "out")
    file = ground(place, "toyjudge", BEST + FAILS, budget=budget)
    assert [entry.name for entry in HeadToHead.open(file, place / "out").bench.entries] == ["best", "bad"]
    file = ground(place, "toyjudge", DPO.replace("= 8", "= 4") + BEST + FAILS, budget=budget)
    with pytest.raises(BenchError, match=r"entry 'dpo': optimizer.batch_size: 8 there, 4 now"):
        HeadToHead.open(file, place / "out")  # what was gone has left its runs
    HeadToHead.open(ground(place, "toyjudge", DPO + BEST + FAILS, budget=budget), place / "out")
    (place / "letters").mkdir()
    (place / "letters" / "a").write_text("")
    with pytest.raises(BenchError, match="is there already and is no bench"):
        HeadToHead.open(file, place / "letters")


def test_damaged_files_are_named_and_made_again_and_changed_ones_refused(done: tuple[HeadToHead, Heard], place: Path) -> None:
    bench, _ = done
    root = bench.files.root / "runs" / "dpo" / "0"
    before = {name: (root / name).read_bytes() for name in ("answers.jsonl", "scores.jsonl")}
    text = before["scores.jsonl"].decode().splitlines(keepends=True)
    (root / "scores.jsonl").write_text("".join([*text[:3], text[3][:20] + "\n", *text[4:]]))
    heard = Heard()
    HeadToHead(bench.files, heard.watcher()).run(jobs=0)
    assert heard.began == ["dpo/0"]
    assert [stage for _, stage in heard.stages] == ["judge"]
    assert any("scores.jsonl:4: not JSON" in line and "made again" in line for line in heard.lines)
    assert {name: (root / name).read_bytes() for name in before} == before
    (root / "answers.jsonl").unlink()
    heard = Heard()
    HeadToHead(bench.files, heard.watcher()).run(jobs=0)
    assert [stage for _, stage in heard.stages] == ["load", "answer", "judge"] or [s for _, s in heard.stages][-1] == "judge"
    assert (root / "scores.jsonl").read_bytes() == before["scores.jsonl"]
    (root / "scores.jsonl").write_text("".join(text[:-1]))
    with pytest.raises(BenchError, match=r"scores.jsonl was changed after it was made. Put it back"):
        bench.run(jobs=0)
    (root / "scores.jsonl").write_bytes(before["scores.jsonl"])
    bench.run(jobs=0)


def test_an_outcome_that_cannot_be_read_is_looked_for_again(done: tuple[HeadToHead, Heard]) -> None:
    bench, _ = done
    path = bench.files.outcome_file(Cell("best", 1))
    path.write_text(path.read_text()[:40])
    heard = Heard()
    HeadToHead(bench.files, heard.watcher()).run(jobs=0)
    assert heard.began == ["best/1"]
    assert heard.stages == []  # the run itself was whole
    assert standing(bench, "best").cells[1].state == "done"


def test_only_what_stands_on_the_same_ground_is_compared(done: tuple[HeadToHead, Heard]) -> None:
    bench, _ = done
    dpo, best, other = (bench.files.outcome(cell) for cell in (Cell("dpo", 0), Cell("best", 0), Cell("dpo", 1)))
    assert dpo is not None
    assert best is not None
    assert other is not None
    assert apart(dpo, [(Cell("best", 0), best), (Cell("dpo", 1), other)]) == ""
    start = next(key for key in best.ground if key.startswith("start "))
    assert start in dpo.ground
    moved = Outcome("done", ground={**best.ground, start: "another"})
    said = apart(dpo, [(Cell("best", 0), moved)])
    assert said.startswith("not on the same ground as best/0: its start differ")
    asked = Outcome("done", ground={**best.ground, "prompts": "others"})
    assert "its prompts differ" in apart(dpo, [(Cell("best", 0), asked)])
    assert any(key.startswith("feedback ") for key in dpo.ground)
    refused = bench.files.end(Cell("best", 0), Outcome("done", ground={**best.ground, start: "another"}))
    assert refused.state == "failed"
    assert "not on the same ground as dpo/0" in refused.reason
    bench.files.end(Cell("best", 0), best)


def test_a_full_disk_stops_everything_and_harms_nothing(place: Path) -> None:
    file = ground(place, "toyjudge", BAD.replace("SORT", "full"), seeds="1")
    bench = HeadToHead.open(file, place / "full")
    (place / "disk-is-full").write_text("")
    with pytest.raises(DiskFull):
        bench.run(jobs=0)
    assert standing(bench, "bad").cells[0].state == "to do"
    (place / "disk-is-full").unlink()
    bench.run(jobs=0)
    assert standing(bench, "bad").cells[0].state == "done"
    text = bench.report()
    assert "* Caution: one seed, so no interval: " in text
    assert (bench.files.root / "report.html").exists()


def test_tuning_gives_trials_on_validation_prompts_and_runs_the_best_once(place: Path) -> None:
    pytest.importorskip("optuna")
    tuned = DPO + "tune = {optimizer.descent.lr = [1e-3, 1e-2], optimizer.beta = {low = 0.05, high = 1.0, log = true}}\n"
    tune = "[tune]\ntrials = 3\nprompts = 4\n"
    file = ground(place, "toyjudge", tuned + BEST + 'tune = "none"\n', seeds="1", budget=tune + "[budget]\nupdates = 1\n")
    heard, judged = Heard(), '[judge]\nuse = "toyjudge:'
    file.write_text(file.read_text().replace(f"{judged}words", f"{judged}recording"))
    bench = HeadToHead.open(file, place / "tuned", watcher=heard.watcher())
    bench.run(jobs=0)
    assert heard.began == ["dpo, trial 0", "dpo, trial 1", "dpo, trial 2", "dpo/0", "best/0"]
    dpo = standing(bench, "dpo")
    assert dpo.trials[0]["changes"] == {}
    values = [trial["value"] for trial in dpo.trials]
    assert dict(dpo.tuned) == dpo.trials[values.index(max(values))]["changes"]
    trial = bench.files.root / "tuning" / "dpo" / "1"
    asked = {row["prompt"] for row in store.read_rows(trial / "scores.jsonl")}
    test = {row["prompt"] for row in store.read_rows(dpo.cells[0].folder / "scores.jsonl")}
    assert len(asked) == 4
    assert not asked & test
    import toyjudge

    counts = Counter(prompt for prompt in toyjudge.ASKED if prompt in test)
    assert counts == dict.fromkeys(test, 4), "the start's answer and the policy's, in the run of either entry"
    assert dpo.trials[1]["changes"].keys() == {"optimizer.descent.lr", "optimizer.beta"}
    assert "| dpo | 3 |" in bench.report()
    heard.began.clear()
    bench.run(jobs=0)
    assert heard.began == []


def test_a_dry_run_calibrates_and_leaves_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """DPO would make four updates of 8 on 32 comparisons; best-of-n makes none; each is timed on three and eight."""
    file = ground(place, "toyjudge", DPO + BEST)
    assert main(["bench", str(file), "--dry-run", "--jobs", "2"]) == 0
    said = capsys.readouterr().out
    assert "2 entries × 2 seeds = 4 runs" in said
    assert "budget of each: none" in said
    rows = {line.split()[0]: line.split()[1] for line in said.splitlines() if line.startswith(("dpo", "best"))}
    assert rows == {"dpo": "4", "best": "0"}
    assert "minutes with 2 at once" in said
    assert not (place / "runs").exists()


def test_a_dry_run_counts_what_is_left(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two entries under two seeds, one of them tuned, two runs and one of two trials are left; nothing is written."""
    pytest.importorskip("optuna")
    text = DPO + "tune = {optimizer.beta = [0.1, 0.2]}\n" + BEST + 'tune = "none"\n'
    file = ground(place, "toyjudge", text, budget="[tune]\ntrials = 2\nprompts = 3\n")
    bench = HeadToHead.open(file, tmp_path / "out")
    for cell in (Cell("best", 0), Cell("dpo", 0, "trial"), Cell("best", 1)):
        bench.files.end(cell, Outcome("failed", "so it was"))
    before = sorted(tmp_path.rglob("*"))
    assert main(["bench", str(file), "--dry-run", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert f"still to do in {tmp_path / 'out'}: runs 2, trials 1" in said
    assert [line.split()[0] for line in said.splitlines() if line.startswith(("dpo", "best"))] == ["dpo"]
    assert sorted(tmp_path.rglob("*")) == before
    assert main(["bench", str(file), "--dry-run", "--out", str(tmp_path / "out"), "--set", "budget.updates=9"]) == 2
    assert "was begun with other settings" in capsys.readouterr().err


def test_what_an_entry_will_take_is_told_part_by_part() -> None:
    guess = Estimate("a", 3, training=6.0, answering=4.0, loading=1.0)
    assert (guess.seconds, guess.trial(0.5), guess.trial(2.0)) == (11.0, 9.0, 15.0)
    assert guess.cells() == ("a", "3", "11", "4", "")


def test_a_dry_run_of_a_model_that_is_not_there_says_that_it_does_not_know(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = ground(place, "toyjudge", DPO + BEST + '[entry.model]\npath = "not/there"\nquantize = "none"\n')
    assert main(["bench", str(file), "--dry-run"]) == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line}
    assert lines["best"][1:4] == ["?", "?", "?"]
    assert "could not be calibrated: ModelError: cannot load" in " ".join(lines["best"])
    assert lines["dpo"][1] == "4"
    assert lines["together"][1:3] == ["more", "than"]


def test_a_calibration_leaves_out_what_takes_long(place: Path) -> None:
    text = BEST.replace('use = "best-of-n", n = 4', 'use = "rloo", updates = 9')
    file = ground(place, "toyjudge", text, budget="[budget]\nupdates = 5\n[trail]\nevery = 1\n")
    bench = HeadToHead.open(file, place / "short").bench
    plan = bench.plan(bench.entries[0], 0)
    quick = short(replace(plan, watch=replace(plan.watch, every=2)))
    assert plan.start is not None
    assert (quick.start, quick.budget.updates, quick.trail.every, quick.answer.prompts) == (None, 3, 0, 6)
    assert quick.optimizer == plan.optimizer
    assert plan.trail.every == 1
    assert Tuning().plan(plan).trail.every == 0, "no trial leaves one"
    assert quick.watch.every == 0
    assert short(replace(plan, budget=replace(plan.budget, updates=2))).budget.updates == 2
    spent = {"updates": 3, "labels": 0, "read": 500.0, "written": 100.0, "flops": 3e6, "seconds": 6.0}
    assert updates_in_all(plan, spent) == 5  # the budget's; nine would be the optimizer's

    def within(**limits: float) -> int | None:
        return updates_in_all(replace(plan, budget=replace(plan.budget, updates=None, **limits)), spent)

    assert [within(), within(tokens=601), within(flops=2e6), within(seconds=13), within(seconds=1e9)] == [9, 4, 2, 7, 9]
    assert within(tokens=590) == 3  # 200 in an update, what was written among them


def test_a_calibration_knows_when_the_labels_are_spent(place: Path) -> None:
    """DPO goes twice over 32 comparisons, 8 in an update; the budget ends it after 16 of them, and stops nothing if it has room
    for all."""
    entry = DPO.replace("batch_size = 8", "batch_size = 8, epochs = 2")
    bench = HeadToHead.open(ground(place, "toyjudge", entry, budget="[budget]\nlabels = 16\n"), place / "counted").bench
    spent = {"updates": 2, "labels": 16, "read": 1.0, "written": 0.0, "flops": 1.0, "seconds": 1.0}
    plan = bench.plan(bench.entries[0], 0)
    told = [
        updates_in_all(replace(plan, budget=replace(plan.budget, labels=labels)), spent) for labels in (8, 16, 17, 32, None)
    ]
    assert told == [1, 2, 3, 8, 8]
    little = short(plan).feedback
    assert little is not None
    assert little.made.count == 32  # fewer than would be taken of many


def test_a_calibration_multiplies_what_one_update_and_one_answer_took(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three updates in six seconds; eight answers of the start in four, of the policy in two: 4 · 2 + 6 · 2 · (0.5 + 0.25)."""

    class Timed(SimpleNamespace):
        def answer(self) -> None:
            spent = {"updates": 3, "labels": 24, "read": 1.0, "written": 0.0, "flops": 1.0, "seconds": 6.0}
            store.write_json(self.files.train.summary, {"ledger": spent})
            took = {"start": {"seconds": 4.0, "answers": 8}, "policy": {"seconds": 2.0, "answers": 8}}
            store.write_json(self.files.serving, took)

    monkeypatch.setattr("alignzoo.lab.bench.calibration.Run", lambda plan, files: Timed(plan=plan, files=files))
    bench = HeadToHead.open(ground(place, "toyjudge", DPO), place / "timed", ["answer.n=2"]).bench
    told = calibrated(bench, bench.entries[0])
    assert (told.updates, told.training, told.answering) == (4, 8.0, 9.0)


def test_a_folder_whose_bench_cannot_be_read_is_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bench.toml").write_text("seeds = = 3")
    assert main(["bench", str(tmp_path)]) == 2
    assert f"{tmp_path}/bench.toml: not TOML: " in capsys.readouterr().err
    assert main(["compare", str(tmp_path)]) == 2
    assert f"{tmp_path} is a bench; its report is made by: alignzoo bench {tmp_path}" in capsys.readouterr().err
    (tmp_path / "bench.toml").write_bytes(b"\xff\xfe")
    assert main(["bench", str(tmp_path), "--dry-run"]) == 2
    assert f"{tmp_path}/bench.toml: not TOML: " in capsys.readouterr().err
    (tmp_path / "bench.toml").unlink()
    assert main(["bench", str(tmp_path)]) == 2
    assert f"{tmp_path} is no bench: there is no bench.toml in it" in capsys.readouterr().err


def test_a_model_that_cannot_be_had_is_told_once_and_before_anything_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    file, heard = ground(tmp_path, "farjudge", BEST), Heard()
    bench = HeadToHead.open(file, tmp_path / "out", ["model.path=nobody/nothing"], heard.watcher())
    with pytest.raises(BenchError, match=r"(?s)the model 'nobody/nothing': .*; there is no folder of that name here either"):
        bench.run(jobs=0)
    assert (heard.began, heard.counts) == ([], [])
    with file.open("a") as more:  # what fails for one entry alone is its own failure
        more.write('[[entry]]\nname = "mine"\noptimizer.use = "best-of-n"\nmodel.path = "nobody/nothing"\n')
    HeadToHead.open(file, tmp_path / "two")._check_models()
