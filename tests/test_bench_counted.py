"""The bench's own arithmetic, by hand: what answers cost, what was spent, trials, cells and damage, without a model."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from finished import in_hand

from alignzoo.lab import store
from alignzoo.lab.bench.benchfile import Bench, BenchError, Entry, _table
from alignzoo.lab.bench.calibration import calibrated
from alignzoo.lab.bench.damage import undo
from alignzoo.lab.bench.folder import BenchFolder, settle, table_in
from alignzoo.lab.bench.head_to_head import HeadToHead
from alignzoo.lab.bench.outcome import Cell, Outcome, read_from, spent_in
from alignzoo.lab.bench.report import CellStanding, Standing, _budget, _complete, _entrant, _kept, _serving, _tuning, _unequal
from alignzoo.lab.bench.serving import break_even
from alignzoo.lab.bench.tuning import Space, Trial, Tuning, proposed
from alignzoo.lab.bench.work import Watcher, carry_out, free, no_room, work_here
from alignzoo.lab.claims import claim, guarded
from alignzoo.lab.compare.duels import Entrant
from alignzoo.lab.listener import Listener
from alignzoo.lab.plan import PlanError
from alignzoo.learning.choices import Budget
from alignzoo.records import Prompt
from alignzoo.seam.discovery import discover

# What answers cost --------------------------------------------------------------------------------------------------------


def standing(name: str, *costs: tuple[float, float], start: float = 4.0) -> Standing:
    """An entry that spent and served so many FLOPs under each seed."""
    cells = []
    for seed, (spent, served) in enumerate(costs):
        each = {"flops": served, "tokens": 10.0, "seconds": 0.5, "scores": 0.0}
        cells.append(CellStanding(seed, Path(), "done", "", {"flops": spent}, each, {**each, "flops": start}))
    return Standing(name, {}, tuple(cells))


def test_training_pays_after_so_many_answers_and_near_ones_are_no_question() -> None:
    """(1000 − 100) / (11 − 2) = 100 answers, and for the other (983 − 100) / 9 = 98.1, so it is the 99th."""
    dear, trained = standing("best", (0, 10), (200, 12)), standing("ppo", (900, 1), (1100, 3))
    other, near = standing("dpo", (983, 2)), standing("near", (9000, 10.5))
    (note,) = _serving([dear, trained, other, near])
    told = "Trained, and so many answers later, these have cost less FLOPs than best: dpo after 99, ppo after 100."
    assert note.lines == (told,)
    assert [row[0] for row in note.rows] == ["best", "ppo", "dpo", "near"]
    times = [row[-1] for row in note.rows]  # the start's 4; of two seeds 2.5 and 3, ± 12.7 · 0.25
    assert times == ["2.75 [0.00, 5.93]", "0.50 [0.00, 3.68]", "0.50", "2.62"]


def test_what_varies_over_seeds_has_its_interval_and_what_does_not_has_none() -> None:
    """By Student's 4.303 for three seeds: answers cost 10 ± 2.48, and training pays after 90, 100, 110: 100 ± 24.8."""
    dear, trained = standing("best", (0, 9), (0, 10), (0, 11)), standing("ppo", (720, 1), (900, 1), (1100, 1))
    (note,) = _serving([dear, trained])
    assert note.lines[0].endswith("than best: ppo after 101 [75, 125].")  # 906.7 / 9 of the means
    assert note.rows[0][1:5] == ("10 [7.52, 12.5]", "10.0", "0.5", "0.0")
    never = standing("ppo", (720, 1), (900, 1), (1100, 12))
    (note,) = _serving([dear, never])
    assert note.lines[0].endswith("than best: ppo after 170."), "under one seed it never does"
    (note,) = _serving([dear, replace(trained, cells=tuple(replace(cell, seed=cell.seed + 9) for cell in trained.cells))])
    assert note.lines[0].endswith("than best: ppo after 101."), "no seed in common"


def test_equal_trainings_pay_at_once() -> None:
    assert break_even(100, 5, 100, 2) == 0.0


def test_what_an_entry_spent_is_the_mean_of_its_finished_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alignzoo.lab.bench.report.played", lambda folder: in_hand(0, [[0.0], [1.0]]))
    entry = standing("a", (10, 1), (30, 3))
    failed = CellStanding(2, Path(), "failed", "gone\n  home", {"flops": 900.0})
    one = _entrant(replace(entry, cells=(*entry.cells, failed, CellStanding(3, Path(), "under way"))))
    assert (one.failures, len(one.runs)) == (("seed 2: gone home",), 2)
    spent, served = (one.spent or {})["flops"], (one.served or {})["flops"]
    assert (spent.mean, spent.low, spent.high) == (20.0, 0.0, pytest.approx(20 + 12.706 * 10, rel=1e-4))
    assert (served.mean, served.low, served.high) == (2.0, 0.0, pytest.approx(2 + 12.706, rel=1e-4))


def test_what_is_still_to_be_done_or_under_way_is_not_complete() -> None:
    cells = [CellStanding(seed, Path(), state) for seed, state in enumerate(("done", "failed", "under way", "to do"))]
    (note,) = _complete([Standing("a", {}, tuple(cells))])
    assert note.lines == ("a/2: under way", "a/3: to do")
    assert not list(_complete([Standing("a", {}, tuple(cells[:2]))]))


def test_of_a_tuning_the_best_trial_is_told() -> None:
    trials = ({"value": 0.2}, {"value": None, "reason": "E: gone\n home"}, {"value": 0.7}, {"value": 0.5})
    (note,) = _tuning([Standing("a", {}, (), {"optimizer.beta": 0.3}, trials), Standing("b", {}, ())])
    assert note.rows == (("a", "4 (1 failed)", "0.700", "`optimizer.beta = 0.3`"), ("b", "0", "–", "nothing"))
    assert "has no interval" in note.lines[0]
    assert note.lines[1:] == ("a, trial 1 failed: E: gone home",)


def test_what_was_spent_holds_the_training_of_its_own_rewards(tmp_path: Path) -> None:
    files = store.Folder(tmp_path)
    row = dict.fromkeys(("updates", "labels", "scores", "read", "written", "flops", "seconds", "peak_bytes"), 1)
    store.write_json(files.train.summary, {"ledger": {**row, "read": 10, "peak_bytes": 5}})
    store.write_json(files.reward(2).summary, {"ledger": {**row, "updates": 50, "labels": 7, "peak_bytes": 9}})
    spent = spent_in(files)
    assert (spent["updates"], spent["labels"], spent["tokens"], spent["peak_bytes"]) == (1, 8, 13, 9)


def test_every_file_that_a_report_reads_has_a_digest(tmp_path: Path) -> None:
    files = store.Folder(tmp_path)
    names = {"answers.jsonl", "scores.jsonl", "judging.json", "serving.json", "opinions.jsonl", "report.json"}
    names.add("train/trail.jsonl")
    trainings = [files.train, files.start, files.reward(1), files.reward(9)]
    names |= {str(path.relative_to(tmp_path)) for one in trainings for path in (one.summary, one.updates)}
    for name in names:
        store.write_text(tmp_path / name, name)
    store.write_text(tmp_path / "report.md", "made of the others")
    told = read_from(files)
    assert told == {name: hashlib.sha256(name.encode()).hexdigest()[:16] for name in names}


def test_what_each_spent_of_the_budget_is_told_and_much_more_is_a_caution() -> None:
    """Of 200 tokens 100 and 400, which is 125 % on average; of 10 labels five each."""
    cells = [
        CellStanding(seed, Path(), "done", spent={"tokens": tokens, "labels": 5, "updates": 3}, stopped=stopped)
        for seed, (tokens, stopped) in enumerate([(100, ""), (400, "tokens 400 of 200")])
    ]
    entry, budget = Standing("a", {}, tuple(cells)), Budget(tokens=200, labels=10, rewards=True)
    runs: Any = [SimpleNamespace(spent={"read": 20.0, "written": 20.0, "labels": 1})] * 2
    both = _kept(entry, Entrant("a", tuple(runs)), budget)
    (note,) = _budget([both], budget)
    assert note.head == ("entry", "ended by", "of 10 labels", "of 200 tokens")
    assert note.rows == (("a", "its own end (1), tokens (1)", "50.0% [50.0%]", "125.0% [200.0%]"),)
    assert list(_unequal([both])) == [
        "a spent 125% of the tokens that the budget allows: an update that is begun is made to its end"
    ]
    alone = _kept(entry, Entrant("a", tuple(runs)), replace(budget, rewards=False))
    assert (alone.shares, list(_unequal([alone]))) == ({"labels": [0.1, 0.1], "tokens": [0.2, 0.2]}, [])
    assert not list(_budget([both], Budget()))
    idle = replace(entry, cells=(replace(cells[1], spent={**cells[1].spent, "updates": 0, "tokens": 200}),))
    said = "a: the budget was spent before its first update (seeds: 1), by the rewards that it trained"
    assert list(_unequal([_kept(idle, Entrant("a", tuple(runs[:1])), budget)])) == [said]


# Tuning -------------------------------------------------------------------------------------------------------------------


def test_proposals_are_those_of_one_study_that_was_never_interrupted() -> None:
    optuna = pytest.importorskip("optuna")
    space = {"lr": Space(1e-5, 1.0, log=True), "n": Space(2, 9, whole=True)}
    kinds = {
        "lr": optuna.distributions.FloatDistribution(1e-5, 1.0, log=True),
        "n": optuna.distributions.IntDistribution(2, 9),
    }
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=3))
    past = [Trial({}, 0.5)]
    for number in range(14):
        asked = study.ask(kinds)
        assert proposed(space, past, 3) == asked.params
        value = None if number == 4 else -abs(asked.params["lr"] - 0.1)
        study.tell(asked, value, state=optuna.trial.TrialState.FAIL if value is None else None)
        past.append(Trial(dict(asked.params), value))


def test_values_to_look_at_are_those_of_a_list_and_the_ends_of_a_range() -> None:
    whole = Space(2.0, 9.0, whole=True).examples()
    assert (whole, [type(one) for one in whole]) == ((2, 9), [int, int])
    assert Space(0.5, 1.5).examples() == (0.5, 1.5)
    assert Space(choices=(3, 1, 2)).examples() == (3, 1, 2)


def tried(task: Any = None, file: str = "") -> Any:
    how = SimpleNamespace(split="test", file=file)
    return SimpleNamespace(answer=how, task=None if task is None else SimpleNamespace(made=task))


def test_nobody_is_tuned_where_there_is_nothing_to_tune_on() -> None:
    class Shut:
        closed = "there are twenty"

        def prompts(self, split: str) -> list[str]:
            return []

    class Plain:
        def prompts(self, split: str) -> list[str]:
            if split == "test":
                return []
            raise ValueError(f"no split {split}")

    with pytest.raises(PlanError, match="no prompt is held out to tune on: there are twenty"):
        Tuning().check(tried(Shut()))
    with pytest.raises(PlanError, match="needs a task"):
        Tuning().check(tried())
    with pytest.raises(PlanError, match="needs a task"):
        Tuning().check(tried(Plain(), file="mine.jsonl"))

    class Mixed:
        def prompts(self, split: str) -> list[Prompt]:
            return [Prompt.ask("a"), Prompt.ask(split), Prompt.ask("b")]

    with pytest.raises(PlanError, match="2 prompts of 'validation' are among those of 'test', on which the bench is judged"):
        Tuning().check(tried(Mixed()))
    with pytest.raises(ValueError, match="no split elsewhere"):
        Tuning(split="elsewhere").check(tried(Plain()))


# The folder ---------------------------------------------------------------------------------------------------------------


def bench(*entries: Entry, **shared: Any) -> Bench:
    return Bench("b", (0, 1), entries, shared, discover())


def test_an_entry_that_cannot_be_tried_is_never_begun_and_has_failed(tmp_path: Path) -> None:
    files = BenchFolder(bench(Entry("x", {}, {}, fault="its plugin is broken"), Entry("y", {}, {})), tmp_path)
    assert list(files.open()) == [Cell("y", 0), Cell("y", 1)]
    assert files.progress() == (0, 2)
    entries = tuple(replace(one, space={"optimizer.beta": Space(choices=(0.1, 0.2))}) for one in files.bench.entries)
    tuned = replace(files.bench, tuning=Tuning(trials=2), entries=entries)
    assert list(BenchFolder(tuned, tmp_path).open()) == [Cell("y", 0, "trial")]
    x, y = files.standings()
    assert [(cell.state, cell.reason) for cell in x.cells] == [("failed", "its plugin is broken")] * 2
    assert [cell.state for cell in y.cells] == ["to do"] * 2


def test_a_run_that_is_made_again_is_not_measured_by_what_it_was(tmp_path: Path) -> None:
    files = BenchFolder(bench(Entry("x", {}, {})), tmp_path)
    files.end(Cell("x", 0), Outcome("done", ground={"prompts": "old"}))
    assert files.end(Cell("x", 0), Outcome("done", ground={"prompts": "new"})).state == "done"
    assert files.end(Cell("x", 1), Outcome("done", ground={"prompts": "old"})).state == "failed"


def test_what_has_left_the_file_is_remembered_for_good(tmp_path: Path) -> None:
    def entry(name: str, beta: float) -> Entry:
        return Entry(name, {}, {"optimizer": {"use": "dpo", "beta": beta}})

    out = tmp_path / "out"
    for there in ((entry("a", 0.1), entry("b", 0.1)), (entry("b", 0.1),), (entry("c", 0.1),)):
        settle(bench(*there), out)
    for name in ("a", "b"):
        with pytest.raises(BenchError, match=f"entry '{name}': optimizer.beta: 0.1 there, 0.2 now"):
            settle(bench(entry(name, 0.2)), out)
    settle(bench(entry("a", 0.1)), out)


def test_other_bytes_of_a_plugin_in_a_file_are_refused(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("ONE = 1\n")
    files = settle(bench(Entry("x", {}, {}), plugins=[str(mine)]), tmp_path / "out")
    mine.write_text("ONE = 2\n")
    with pytest.raises(BenchError, match=r"was begun with other bytes of .*mine\.py"):
        settle(bench(Entry("x", {}, {}), plugins=[str(mine)]), tmp_path / "out")
    assert files.plugin(str(mine)).read_text() == "ONE = 1\n"


def test_a_plugin_is_copied_byte_by_byte_and_its_copy_made_again_where_it_is_gone(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_bytes(b"ONE = 1\r\n")
    there = bench(Entry("x", {}, {}), plugins=[str(mine)])
    copy = settle(there, tmp_path / "out").plugin(str(mine))
    copy.unlink()
    for _ in range(2):
        settle(there, tmp_path / "out")
        assert copy.read_bytes() == mine.read_bytes()


def test_the_file_in_a_benchs_folder_means_the_plugins_that_lie_beside_it(tmp_path: Path) -> None:
    """The report's command must give the same numbers, whatever has become of the plugin since."""
    mine, out = tmp_path / "mine.py", tmp_path / "out"
    mine.write_text("ONE = 1\n")
    other = tmp_path / "other.py"
    other.write_text("")
    settle(bench(Entry("x", {}, {}), plugins=[str(mine)]), out)
    copy = out / "plugins" / "mine.py"
    assert _table(out / "bench.toml", (), [str(other)])["plugins"] == [str(copy), str(other)]
    (tmp_path / "bench.toml").write_text((out / "bench.toml").read_text())
    assert _table(tmp_path / "bench.toml", (), ())["plugins"] == [str(mine)]


def test_a_kill_while_a_folder_is_made_leaves_one_that_can_be_made(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("ONE = 1\n")
    for place in ("claims", "plugins"):
        (tmp_path / "out" / place).mkdir(parents=True)
    (tmp_path / "out" / "bench.toml.part").write_text("na")
    (tmp_path / "out" / "plugins" / "mine.py.part").write_text("ON")
    files = settle(bench(Entry("x", {}, {}), plugins=[str(mine)]), tmp_path / "out")
    assert table_in(files.root)["name"] == "b"
    assert files.plugin(str(mine)).read_text() == "ONE = 1\n"


def test_nothing_is_left_in_a_folder_that_is_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear Anna")
    with pytest.raises(BenchError, match="is there already and is no bench"):
        settle(bench(Entry("x", {}, {})), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_of_two_that_make_a_folder_one_waits_for_the_other(tmp_path: Path) -> None:
    with guarded(tmp_path / "claims"):
        other = threading.Thread(target=settle, args=(bench(Entry("x", {}, {})), tmp_path))
        other.start()
        other.join(0.2)
        assert not (tmp_path / "bench.toml").exists()
    other.join()
    assert (tmp_path / "bench.toml").exists()


def test_of_two_that_have_ended_one_waits_for_the_others_report(tmp_path: Path) -> None:
    files = settle(bench(Entry("x", {}, {})), tmp_path)
    first = claim(tmp_path / "claims" / "report")
    assert first is not None
    said: list[str] = []

    def told(line: str) -> None:
        said.append(line)
        assert not (tmp_path / "report.md").exists()
        first.release()

    assert "No contestant has finished a run" in HeadToHead(files, Watcher(line=told)).report()
    assert said == ["waiting for another process that is at the same (report)"]
    assert (tmp_path / "report.md").exists()


def test_what_json_has_no_word_for_is_a_word_in_the_benchs_state(tmp_path: Path) -> None:
    files = BenchFolder(bench(Entry("x", {}, {"watch": {"kl_limit": math.inf}})), tmp_path)
    files.write_state()
    told = json.loads((tmp_path / "bench.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert told["entries"][0]["settings"] == {"watch": {"kl_limit": "inf"}}


@pytest.mark.parametrize(
    ("damaged", "left"),
    [
        ("train/updates.jsonl", {"run.toml", "start", "feedback.jsonl", "reward2"}),
        ("serving.json", {"run.toml", "start", "feedback.jsonl", "reward2", "train"}),
        ("judging.json", {"run.toml", "start", "feedback.jsonl", "reward2", "train", "answers.jsonl", "serving.json"}),
    ],
)
def test_what_was_made_from_a_damaged_file_goes_with_it(damaged: str, left: set[str], tmp_path: Path) -> None:
    for name in ("run.toml", "feedback.jsonl", "answers.jsonl", "serving.json", "scores.jsonl", "judging.json", "report.md"):
        (tmp_path / name).write_text("")
    for name in ("start", "reward2", "train"):
        (tmp_path / name).mkdir()
    undo(tmp_path, damaged)
    assert {path.name for path in tmp_path.iterdir()} == left


def test_what_cannot_be_tried_is_not_guessed_at() -> None:
    told = calibrated(bench(), Entry("x", {}, {}, fault="its plugin is broken"))
    assert told.cells() == ("x", "?", "?", "?", "cannot be tried: its plugin is broken")


# What goes wrong ----------------------------------------------------------------------------------------------------------


def test_a_full_disk_is_known_however_it_is_said() -> None:
    full, quota = OSError(errno.ENOSPC, "no"), OSError(errno.EDQUOT, "no")
    assert all(map(no_room, (full, quota, RuntimeError("I/O error: No space left on device (os error 28)"))))
    told = ValueError("could not write")
    told.__cause__ = full
    assert no_room(told)
    hidden = ValueError("while cleaning up")
    hidden.__context__ = told
    assert no_room(hidden)
    assert not any(map(no_room, (OSError(errno.EACCES, "no"), ValueError("no"), None)))


def test_what_another_process_has_done_between_the_look_and_the_claim_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = BenchFolder(bench(Entry("x", {}, {})), tmp_path)
    begun: list[Cell] = []

    def late(path: Path) -> Any:
        for cell in files.cells():
            files.end(cell, Outcome("done"))
        return claim(path)

    monkeypatch.setattr("alignzoo.lab.bench.work.claim", late)
    work_here(files, Watcher(began=begun.append))
    assert begun == []
    assert not list((tmp_path / "claims").glob("x-*")), "and the claim is given back"


def test_a_plugin_that_exits_has_failed_and_a_tuned_run_has_what_tuning_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def plan(self: Bench, entry: Entry, seed: int, changes: Any = None) -> Any:
        asked.append((entry.name, seed, changes))
        raise SystemExit("I have had enough")

    monkeypatch.setattr(Bench, "plan", plan)
    monkeypatch.setattr(BenchFolder, "tuned", lambda self, entry: {"optimizer.beta": 0.3})
    files = BenchFolder(bench(Entry("x", {}, {})), tmp_path)
    found = carry_out(files, Cell("x", 1), Listener())
    assert (found.state, found.reason) == ("failed", "SystemExit: I have had enough")
    assert asked == [("x", 1, {"optimizer.beta": 0.3})]


def test_what_shares_no_start_with_what_is_under_way_comes_first(tmp_path: Path) -> None:
    files = BenchFolder(bench(Entry("x", {}, {}), Entry("y", {}, {})), tmp_path)
    assert list(free(files, {Cell("x", 0)})) == [Cell("x", 1), Cell("y", 1), Cell("y", 0)]


def test_the_trials_of_an_entry_follow_one_another(tmp_path: Path) -> None:
    """The first has its outcome, and its process is not through: the second waits."""
    entry = Entry("x", {}, {}, space={"optimizer.beta": Space(choices=(0.1, 0.2))})
    files = BenchFolder(replace(bench(entry), tuning=Tuning(trials=3)), tmp_path)
    files.end(Cell("x", 0, "trial"), Outcome("done", value=0.5))
    assert list(files.open()) == list(free(files, set())) == [Cell("x", 1, "trial")]
    assert list(free(files, {Cell("x", 0, "trial")})) == []
