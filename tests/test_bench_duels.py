"""The duels of a bench: an umpire beside the judge, asked when the runs are done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bench_ground import BEST, DPO, ground

from alignzoo.cli import main
from alignzoo.lab.bench.benchfile import read_bench
from alignzoo.lab.bench.grid import BenchError
from alignzoo.lab.bench.head_to_head import HeadToHead
from alignzoo.lab.bench.work import DiskFull, Watcher
from alignzoo.lab.compare.umpire import UmpireError
from alignzoo.seam.settings import SettingsError

UMPIRE = '''
import errno
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Prefers:
    """Likes many different words, and a second place a little."""

    lean: float = 0.1

    def __call__(self, prompts, completions):
        return [0.0] * len(prompts)

    def prefer(self, prompts, first, second):
        if Path("gone").exists():
            raise ConnectionError("nobody answers")
        if Path("full").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        with Path("asked.txt").open("a") as file:
            file.writelines("x\\n" for _ in prompts)
        many = [(len(set(a.text.split())), len(set(b.text.split()))) for a, b in zip(first, second)]
        return [0.5 + 0.3 * ((a > b) - (a < b)) - self.lean for a, b in many]


@dataclass(frozen=True)
class Reads:
    """Finds likelier what the base finds likelier; can do nothing without it."""

    def __call__(self, prompts, completions):
        return [0.0] * len(prompts)

    def prefer(self, prompts, first, second):
        raise AssertionError("nobody has lent it a base")

    def reading(self, role):
        Path("lent.txt").write_text(role.name)
        return Prefers(lean=0.0)


@dataclass(frozen=True)
class Loses(Reads):
    """With a base it is shown one answer at a time."""

    def reading(self, role):
        return lambda prompts, completions: [0.0] * len(prompts)
'''
DUELS = '\n[duels]\nuse = "toyumpire:Prefers"\nprompts = 4\n'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("duels")
    (folder / "toyumpire.py").write_text(UMPIRE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        yield folder


@pytest.fixture(scope="module")
def bench(place: Path) -> HeadToHead:
    """Two entries under two seeds, and nobody asked yet."""
    bench = HeadToHead.open(ground(place, "duelled", DPO + BEST, budget=DUELS), place / "out")
    bench.run(jobs=0)
    return bench


def asked() -> int:
    return len(Path("asked.txt").read_text().splitlines()) if Path("asked.txt").exists() else 0


def opened(place: Path, entries: str, duels: str = DUELS, seeds: str = "2") -> tuple[HeadToHead, list[str]]:
    lines: list[str] = []
    file = ground(place, "duelled", entries, budget=duels, seeds=seeds)
    return HeadToHead.open(file, place / "out", watcher=Watcher(line=lines.append)), lines


def test_an_umpire_that_fails_stops_no_report_and_is_asked_again(bench: HeadToHead, place: Path) -> None:
    (place / "gone").touch()
    told = bench.report()
    assert "Caution: the duels are not decided: ConnectionError: nobody answers." in told
    assert bench.undecided
    assert main(["bench", str(place / "out")]) == 1
    assert "Shown two answers" not in told
    (place / "gone").unlink()
    (place / "full").touch()
    with pytest.raises(DiskFull):
        bench.report()
    (place / "full").unlink()
    told = bench.report()
    assert not bench.undecided
    assert main(["bench", str(place / "out")]) == 0
    assert "toyumpire:Prefers was shown the first answers to 4 prompts, two at a time and in both orders" in told
    assert "lean to the first place, from -1 to 1: -0.20" in told


def test_the_same_bench_asks_nothing_twice_and_a_new_entry_only_for_itself(bench: HeadToHead, place: Path) -> None:
    bench.report()
    count = asked()
    assert 0 < count <= 3 * 2 * 4 * 2
    again, lines = opened(place, DPO + BEST)
    again.report()
    assert (asked(), lines) == (count, [])
    more, _ = opened(place, DPO + BEST + BEST.replace("best", "two", 1).replace("n = 4", "n = 2"))
    more.run(jobs=0)
    told = more.report()
    assert count < asked() <= count + 3 * 2 * 4 * 2
    assert "| two | " in told


def test_an_umpire_may_come_to_a_bench_that_is_done_change_and_go(bench: HeadToHead, place: Path) -> None:
    bench.report()
    count = asked()
    without, _ = opened(place, DPO + BEST, "")
    assert "Shown two answers" not in without.report()
    other, lines = opened(place, DPO + BEST, DUELS + "lean = 0.0\n")
    assert "lean to the first place, from -1 to 1: 0.00" in other.report()
    assert asked() > count
    assert lines[0].startswith("duels: toyumpire:Prefers is asked for ")
    folder = HeadToHead.open(place / "out")
    assert "lean to the first place, from -1 to 1: 0.00" in folder.report(), "the folder keeps its umpire"


def test_an_umpire_that_reads_with_a_model_is_lent_the_base_of_the_runs_if_there_is_anything_to_ask(
    bench: HeadToHead, place: Path
) -> None:
    reads, lines = opened(place, DPO + BEST, DUELS.replace("Prefers", "Reads"))
    reads.report()
    assert (place / "lent.txt").read_text() == "umpire"
    assert lines[1] == f"duels: load {place / 'model'} (none)"
    (place / "lent.txt").unlink()
    told = reads.report()
    assert not (place / "lent.txt").exists()
    assert len(lines) == 2
    assert "toyumpire:Reads was shown the first answers" in told
    loses, _ = opened(place, DPO + BEST, DUELS.replace("Prefers", "Loses"))
    loses.report()
    assert "toyumpire:Loses can be shown two answers, but not with the base of a run; tell its author" in loses.undecided


def test_how_much_is_asked_at_most_is_told_before(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = ground(place, "duelled", DPO + BEST, budget=DUELS)
    assert read_bench(file).verdicts == (48, "3 pairs × 2 seeds × 4 prompts, in both orders: ")
    assert main(["bench", str(file), "--dry-run"]) == 0
    told = "duels by toyumpire:Prefers: 3 pairs × 2 seeds × 4 prompts, in both orders: at most 48 verdicts"
    out = capfd.readouterr().out
    assert told in out
    assert out.rstrip().endswith("feedback, judging and duels not counted")
    wide = ground(place, "duelled", DPO + BEST, budget=DUELS.replace("4", "400"))
    assert read_bench(wide).verdicts[0] == 3 * 2 * 6 * 2, "no more prompts than are answered"


@pytest.mark.parametrize(
    ("duels", "refused", "said"),
    [
        (
            DUELS + "most = 47\n",
            UmpireError,
            r"3 pairs × 2 seeds × 4 prompts, in both orders: 48 verdicts, more than most = 47",
        ),
        ('[duels]\nuse = "playground-gold"\n', SettingsError, "scores one answer at a time, and cannot be shown two"),
        ('[duels]\nuse = "nobody"\n', SettingsError, r"toy.toml: duels.use: no reward named 'nobody'"),
    ],
)
def test_an_umpire_that_cannot_work_is_refused_at_sight(
    place: Path, duels: str, refused: type[ValueError], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    file = ground(place, "duelled", DPO + BEST, budget=duels)
    with pytest.raises(refused, match=said):
        read_bench(file)
    assert main(["bench", str(file), "--out", "never"]) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert not Path("never").exists()


def test_an_entry_has_no_umpire_of_its_own(place: Path) -> None:
    with pytest.raises((BenchError, SettingsError), match="duels: the same for all entries of a bench"):
        read_bench(ground(place, "duelled", DPO + 'duels.use = "toyumpire:Prefers"\n'))
