"""Bench files: entries and grids laid over what is shared, and what is wrong with them found before a model is loaded."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from shelf import shelf_in

from alignzoo.lab.bench.benchfile import Bench, BenchError, bench_of, laid, nested, read_bench
from alignzoo.seam.discovery import discover
from alignzoo.seam.settings import SettingsError

SHARED = """
name = "toy"
[task]
use = "playground"
[model]
path = "there-is-no-such-model"
[start]
use = "sft"
[start.feedback]
use = "playground"
kind = "demonstrations"
[feedback]
use = "playground"
count = 48
[reward]
use = "playground-gold"
[judge]
use = "playground-gold"
"""
TWO = """
[[entry]]
name = "dpo"
optimizer = {use = "dpo", beta = 0.2}
[[entry]]
name = "best"
optimizer.use = "best-of-n"
"""


def bench(text: str) -> Bench:
    return bench_of(tomllib.loads(text), discover(), "toy.toml")


def told(text: str) -> str:
    with pytest.raises((BenchError, SettingsError)) as caught:
        bench(text)
    return str(caught.value)


def test_tables_are_laid_over_one_another() -> None:
    under: dict[str, Any] = {
        "optimizer": {"use": "dpo", "beta": 0.1, "descent": {"lr": 1.0, "eps": 2.0}},
        "reward": {"use": "x"},
    }
    assert laid(under, {"optimizer": {"beta": 0.3}})["optimizer"] == {**under["optimizer"], "beta": 0.3}
    assert laid(under, {"optimizer": {"use": "dpo", "descent": {"lr": 3.0}}})["optimizer"]["descent"] == {"lr": 3.0, "eps": 2.0}
    assert laid(under, {"optimizer": {"use": "ipo"}})["optimizer"] == {"use": "ipo"}  # β was another's
    assert laid({"optimizer": {"beta": 0.1}}, {"optimizer": {"use": "ipo"}})["optimizer"] == {"beta": 0.1, "use": "ipo"}
    assert "reward" not in laid(under, {"reward": "none"})
    assert laid(under, {"start": {"use": "sft"}})["start"] == {"use": "sft"}
    assert nested("a.b.c", 1) == {"a": {"b": {"c": 1}}}
    assert "beta" in under["optimizer"]  # nothing was changed in place


def test_five_seeds_unless_said_otherwise() -> None:
    assert bench(SHARED + TWO).seeds == (0, 1, 2, 3, 4)
    assert bench("seeds = 2\n" + SHARED + TWO).seeds == (0, 1)
    assert bench("seeds = [7, 3]\n" + SHARED + TWO).seeds == (7, 3)


@pytest.mark.parametrize("seeds", ["0", "-1", "1.5", "[]", "[1, 1]", "true", '"five"', "[1, -1]", "10_001", f"[1, {2**63}]"])
def test_seeds_that_are_none_are_refused(seeds: str) -> None:
    assert "toy.toml: seeds: " in told(f"seeds = {seeds}\n" + SHARED + TWO)


def test_a_seed_belongs_into_the_list() -> None:
    assert "write seeds = 5" in told("seed = 3\n" + SHARED + TWO)


def test_each_entry_has_its_own_run_and_what_its_optimizer_needs() -> None:
    both = bench(SHARED + TWO)
    dpo, best = (both.plan(entry, 3) for entry in both.entries)
    assert (dpo.name, dpo.seed, dpo.optimizer.made.beta) == ("toy-dpo", 3, 0.2)
    assert dpo.feedback is not None
    assert dpo.rewards == ()  # DPO asks for none
    assert best.feedback is None
    assert [rewarding.part.found.component.id for rewarding in best.rewards] == ["playground-gold"]
    assert dpo.start is not None
    assert dpo.start.row() == best.start.row()  # type: ignore[union-attr]


def test_a_grid_is_every_combination_with_a_name_of_its_own() -> None:
    grid = bench(SHARED + '[grid]\noptimizer.use = ["dpo", "ipo"]\nfeedback.pool = ["crowd", "biased"]\n')
    assert [entry.name for entry in grid.entries] == ["dpo-crowd", "dpo-biased", "ipo-crowd", "ipo-biased"]
    last = grid.plan(grid.entries[-1], 0)
    assert last.optimizer.found.component.id == "ipo"
    assert last.feedback is not None
    assert (last.feedback.made.pool, last.feedback.made.count) == ("biased", 48)


def test_a_grid_multiplies_entries() -> None:
    text = SHARED + '[[entry]]\nname = "a"\noptimizer.use = "dpo"\n[[entry]]\nname = "b"\noptimizer.use = "ipo"\n'
    grid = bench(text + "[grid]\noptimizer.batch_size = [8, 16]\n")
    assert [entry.name for entry in grid.entries] == ["a-8", "a-16", "b-8", "b-16"]
    assert [grid.plan(entry, 0).optimizer.made.batch_size for entry in grid.entries] == [8, 16, 8, 16]


def test_a_file_without_entries_is_one_entry_under_several_seeds() -> None:
    alone = bench(SHARED + '[optimizer]\nuse = "dpo"\n')
    assert [entry.name for entry in alone.entries] == ["dpo"]


def test_an_impossible_pairing_is_refused_with_the_settings_that_fit() -> None:
    """No model is loaded for that: there is none."""
    said = told(SHARED.replace('[feedback]\nuse = "playground"', '[feedback]\nuse = "playground"\nkind = "thumbs"') + TWO)
    assert "toy.toml: entry 'dpo': " in said
    assert "optimizer:dpo/dpo needs comparisons, but feedback:playground/playground as it is set gives rating" in said
    assert 'set feedback.kind = "comparisons" or feedback.kind = "rankings"' in said
    assert "entry 'best'" not in said


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("[budget]\nlabels = 0\n", "budget.labels: must be greater than 0; got 0"),
        ('[[entry]]\nname = "x"\nanswer.n = 3\n', "entry 'x': answer: the same for all entries of a bench"),
        ('[[entry]]\nname = "x"\nseed = 3\n', "entry 'x': seed: the same for all entries"),
        ('[[entry]]\nname = "dpo"\noptimizer.use = "ipo"\n', "two are called 'dpo'"),
        ('[[entry]]\noptimizer.use = "ipo"\n', "each needs a name"),
        (f'[[entry]]\nname = "{300 * "x"}"\n', "name of up to 200 letters"),
        (
            f"[grid]\noptimizer.beta = {[*range(1, 102)]}\nwatch.every = {[*range(100)]}\n",
            "10,100 entries, and 10,000 are the most",
        ),
        ('[[entry]]\nname = "a/b"\noptimizer.use = "ipo"\n', "one has 'a/b'"),
        ('[[entry]]\nname = "x"\noptimizer.use = "dpp"\n', "no optimizer named 'dpp'; did you mean 'dpo'?"),
        ('[[entry]]\nname = "x"\noptimizer = {use = "dpo", betta = 1}\n', "optimizer.betta: no such setting"),
        ("[grid]\noptimizer.beta = 0.1\n", "grid.optimizer.beta: must be a list of values"),
        ("[grid]\noptimizer.beta = []\n", "grid.optimizer.beta: must be a list of values"),
    ],
)
def test_bad_input_is_named(change: str, word: str) -> None:
    assert word in told(SHARED + TWO + change)


def test_all_that_is_wrong_is_told_at_once() -> None:
    said = told(SHARED + TWO.replace("0.2", '"much"') + '[[entry]]\nname = "x"\noptimizer = {use = "ipo", taw = 1}\n')
    assert "entry 'dpo': optimizer.beta: " in said
    assert "entry 'x': optimizer.taw: " in said


def test_a_bench_without_a_judge_compares_nothing() -> None:
    assert "nobody to judge the answers" in told(SHARED.replace('[judge]\nuse = "playground-gold"', "") + TWO)


def test_what_is_written_down_is_the_same_bench() -> None:
    text = "seeds = [4, 1]\n" + SHARED + TWO + "[budget]\nlabels = 40\n[tune]\ntrials = 3\n"
    pytest.importorskip("optuna")
    text = text.replace("beta = 0.2}", "beta = 0.2}\ntune = {optimizer.beta = {low = 0.1, high = 1.0}}")
    text = text.replace('optimizer.use = "best-of-n"', 'optimizer.use = "best-of-n"\ntune = "none"')
    once = bench(text)
    again = bench_of(tomllib.loads(tomli_w.dumps(once.table())), discover(), "bench.toml")
    assert again.table() == once.table()
    for one, other in zip(once.entries, again.entries, strict=True):
        assert once.plan(one, 4).table() == again.plan(other, 4).table()
        assert one.space == other.space


def test_a_budget_is_also_what_an_entry_trains_its_rewards_from() -> None:
    assert bench(SHARED + TWO + "[budget]\nlabels = 40\n").plan(bench(SHARED + TWO).entries[0], 0).budget.rewards is False
    whole = bench(SHARED + TWO + "[budget]\nlabels = 40\n")
    assert whole.plan(whole.entries[0], 0).budget.rewards is True
    alone = bench(SHARED + TWO + "[budget]\nlabels = 40\nrewards = false\n")
    assert alone.plan(alone.entries[0], 0).budget.rewards is False


def test_a_broken_plugin_is_its_entrys_misfortune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = shelf_in(tmp_path, monkeypatch)
    source = shelf.healthy("crash")
    (tmp_path / source / "work.py").write_text("raise RuntimeError('not today')\n\nclass Work:\n    pass\n")
    one = bench(SHARED + TWO + '[[entry]]\nname = "x"\noptimizer.use = "crash"\n')
    assert [bool(entry.fault) for entry in one.entries] == [False, False, True]
    assert "RuntimeError: not today" in one.entries[2].fault
    assert "no entry can be tried" in told(SHARED + '[[entry]]\nname = "x"\noptimizer.use = "crash"\n')
    mine = '[[entry]]\nname = "x"\noptimizer.use = "best-of-n"\nreward.use = "not_there:score"\n'
    assert "entry 'x': reward.use: 'not_there:score', a function of your own" in told(SHARED + TWO + mine)  # the file's mistake


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="there is no bench file"):
        read_bench(tmp_path / "none.toml", discover())
    (tmp_path / "odd.toml").write_text("seeds = = 3")
    with pytest.raises(BenchError, match="not TOML"):
        read_bench(tmp_path / "odd.toml", discover())


# Tuning -------------------------------------------------------------------------------------------------------------------

TUNE = SHARED + "[tune]\ntrials = 3\n" + '[[entry]]\nname = "dpo"\noptimizer.use = "dpo"\n'


@pytest.mark.parametrize(
    ("space", "word"),
    [
        ("", "each entry gets 3 trials; say what may be tuned of this one"),
        ('tune = "some"', "must be a table of settings and their ranges"),
        ("tune.optimizer.beta = {low = 2.0, high = 1.0}", "with low below high"),
        ("tune.optimizer.beta = {low = 0.0, high = 1.0, log = true}", "low must be greater than 0"),
        ("tune.optimizer.betta = [0.1]", "optimizer.betta: no such setting"),
        ("tune.optimizer.beta = [-1.0, 0.1]", "optimizer.beta: must be greater than 0"),
        ("tune.optimizer.beta = [0.1, -1.0]", "optimizer.beta: must be greater than 0"),
        ("tune.optimizer.label_noise = {low = 0.1, high = 0.7}", "optimizer.label_noise: must be less than 0.5; got 0.7"),
    ],
)
def test_what_may_be_tuned_is_checked(space: str, word: str) -> None:
    pytest.importorskip("optuna")
    assert word in told(TUNE + space)


def test_nobody_is_tuned_on_the_test() -> None:
    pytest.importorskip("optuna")
    good = TUNE + "tune.optimizer.beta = [0.1, 0.2]"
    assert bench(good).entries[0].space["optimizer.beta"].choices == (0.1, 0.2)
    assert "tune.split: 'test' are the prompts that the bench is judged on" in told(
        good.replace("trials = 3", 'trials = 3\nsplit = "test"')
    )


def test_tuning_without_optuna_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alignzoo.lab.bench.tuning.find_spec", lambda name: None)
    assert "pip install 'alignzoo[tune]'" in told(TUNE + "tune.optimizer.beta = [0.1, 0.2]")


SHIPPED = sorted(
    path for path in (Path(__file__).parent.parent / "benchmarks").glob("*.toml") if "[[entry]]" in path.read_text()
)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_benches_that_ship_are_read(path: Path) -> None:
    shipped = read_bench(path, discover())
    assert shipped.name == path.stem
    assert len(shipped.seeds) >= 3
    assert not any(entry.fault for entry in shipped.entries)


def test_ours_and_trls_stand_on_one_ground_and_pair_by_pair_have_the_same_settings() -> None:
    pytest.importorskip("trl", reason="TRL is not installed: pip install -e .[peers]")
    peers = Path(__file__).parent.parent / "benchmarks" / "peers"
    zoo = discover(files=[str(peers / "trl_trainers.py")])
    bench = read_bench(peers / "side-by-side.toml", zoo)
    plans = {entry.name: bench.plan(entry, 0) for entry in bench.entries}
    assert not any(entry.fault for entry in bench.entries)
    assert sum(name.startswith("trl-") for name in plans) == len(plans) / 2
    same = ("descent", "batch_size", "seed", "replies", "prompts_per_update", "updates", "exploring", "clip")
    for name in (name for name in plans if not name.startswith("trl-")):
        ours, theirs = plans[name], plans[f"trl-{name}"]
        sides = [plan.rewards[0].part.made if name == "reward-model" else plan.optimizer.made for plan in (ours, theirs)]
        told = [{field: getattr(side, field) for field in same if hasattr(side, field)} for side in sides]
        assert told[0] == told[1], name
        beta = getattr(sides[0], "beta", None) or getattr(getattr(sides[0], "leash", None), "coefficient", None)
        assert beta == getattr(sides[1], "beta", None), name
        assert ours.feedback == theirs.feedback
