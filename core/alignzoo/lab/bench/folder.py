"""A bench's folder: plain files, from which everything about the bench is known at any moment.

bench.toml                 the bench as it was read, one table for each entry
plugins/                   copies of the plugins that are files of one's own
bench.json                 every entry with its cells: done, failed (why), under way or to do; what they spent
runs/ENTRY/SEED/           an ordinary run folder for each cell
tuning/ENTRY/TRIAL/        and for each trial of tuning
outcomes/ENTRY/…json       how each of them ended
claims/                    who is at what
logs/                      what workers said
.stages/                   starts, feedback and rewards, each made once
verdicts.jsonl             what an umpire has said of two answers
report.md                  the leaderboard
"""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tomli_w

from alignzoo.lab import store
from alignzoo.lab.bench.benchfile import Bench, Entry
from alignzoo.lab.bench.grid import BenchError
from alignzoo.lab.bench.outcome import Cell, Outcome, apart
from alignzoo.lab.bench.report import CellStanding, Standing
from alignzoo.lab.bench.tuning import Trial, best
from alignzoo.lab.claims import guarded, holder
from alignzoo.lab.folders import placeless
from alignzoo.lab.plan import differences
from alignzoo.lab.runfile import local_files


@dataclass(frozen=True)
class BenchFolder:
    """The files of one bench."""

    bench: Bench
    root: Path

    @property
    def settings(self) -> Path:
        return self.root / "bench.toml"

    @property
    def shelf(self) -> Path:
        return self.root / ".stages"

    def plugin(self, path: str) -> Path:
        """The copy that is kept of a plugin in a file."""
        return self.root / "plugins" / Path(path).name

    def run(self, cell: Cell) -> Path:
        return self.root / ("runs" if cell.kind == "run" else "tuning") / cell.entry / str(cell.number)

    def claim(self, cell: Cell) -> Path:
        """Who is at a cell. The trials of an entry follow one another, so they have one claim."""
        return self.root / "claims" / (f"{cell.entry}-{cell.number}" if cell.kind == "run" else f"{cell.entry}-tuning")

    def log(self, cell: Cell) -> Path:
        return self.root / "logs" / f"{cell.entry}-{'' if cell.kind == 'run' else 'trial-'}{cell.number}.log"

    def outcome_file(self, cell: Cell) -> Path:
        return self.root / "outcomes" / cell.entry / f"{'seed' if cell.kind == 'run' else 'trial'}-{cell.number}.json"

    def outcome(self, cell: Cell) -> Outcome | None:
        """How a cell ended; None while it has not. An outcome that cannot be read is none."""
        path = self.outcome_file(cell)
        try:
            return Outcome.from_row(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, RecursionError):
            path.unlink(missing_ok=True)
            return None

    def end(self, cell: Cell, outcome: Outcome) -> Outcome:
        """Write down how a cell ended, if it may stand beside the others; else that it may not."""
        ended = [(other, how) for other in self.cells() if other != cell and (how := self.outcome(other)) is not None]
        beside = [(other, how) for other, how in ended if how.state == "done"]
        if outcome.state == "done" and cell.kind == "run" and (why := apart(outcome, beside)):
            outcome = Outcome("failed", why, seconds=outcome.seconds, changes=outcome.changes)
        store.write_json(self.outcome_file(cell), outcome.row())
        return outcome

    # What there is to do ----------------------------------------------------------------------------------------------

    def cells(self) -> Iterator[Cell]:
        """Every run of the bench, seed by seed, so that an interrupted bench compares what it has."""
        return (Cell(entry.name, seed) for seed in self.bench.seeds for entry in self.bench.entries)

    def trials(self, entry: Entry) -> list[Trial]:
        """The trials of an entry that are through, in their order."""
        told: list[Trial] = []
        for number in range(self.bench.tuning.trials if self.bench.tuning and entry.space else 0):
            if (outcome := self.outcome(Cell(entry.name, number, "trial"))) is None:
                break
            told.append(Trial(outcome.changes, outcome.value, outcome.reason))
        return told

    def tuned(self, entry: Entry) -> dict[str, Any] | None:
        """What tuning changes in an entry; None while it is not through."""
        if self.bench.tuning is None or not entry.space:
            return {}
        past = self.trials(entry)
        if len(past) < self.bench.tuning.trials:
            return None
        found = best(past)
        return dict(found.changes) if found else {}

    def open(self) -> Iterator[Cell]:
        """What could be begun now, the next trial of an entry before its runs. Some of it may be claimed."""
        for entry in (entry for entry in self.bench.entries if not entry.fault):
            if self.tuned(entry) is None:
                yield Cell(entry.name, len(self.trials(entry)), "trial")
        ready = {entry.name for entry in self.bench.entries if not entry.fault and self.tuned(entry) is not None}
        yield from (cell for cell in self.cells() if cell.entry in ready and not self.outcome_file(cell).exists())

    def progress(self) -> tuple[int, int]:
        """How many runs and trials are through, and how many there are."""
        good = {entry.name for entry in self.bench.entries if not entry.fault}
        runs = [cell for cell in self.cells() if cell.entry in good]
        trials = self.bench.tuning.trials if self.bench.tuning else 0
        tuned = [entry for entry in self.bench.entries if entry.space and entry.name in good]
        through = sum(self.outcome_file(cell).exists() for cell in runs) + sum(len(self.trials(entry)) for entry in tuned)
        return through, len(runs) + trials * len(tuned)

    def left(self, entry: Entry) -> tuple[int, int]:
        """How many runs and trials of an entry have not ended."""
        trials = self.bench.tuning.trials if self.bench.tuning and entry.space else 0
        runs = [Cell(entry.name, seed) for seed in self.bench.seeds]
        tried = [Cell(entry.name, number, "trial") for number in range(trials)]
        open_runs, open_trials = (sum(not self.outcome_file(cell).exists() for cell in cells) for cells in (runs, tried))
        return open_runs, open_trials

    def forget_failures(self) -> int:
        """Let everything that failed be tried again, from its last checkpoint; how many those are."""
        failed = [cell for cell in self.cells() if (outcome := self.outcome(cell)) and outcome.state == "failed"]
        for cell in failed:
            self.outcome_file(cell).unlink(missing_ok=True)
        return len(failed)

    # How it stands ----------------------------------------------------------------------------------------------------

    def standings(self) -> list[Standing]:
        """Every entry with its cells, for a report."""
        return [self._standing(entry) for entry in self.bench.entries]

    def _standing(self, entry: Entry) -> Standing:
        cells = []
        for seed in self.bench.seeds:
            cell = Cell(entry.name, seed)
            outcome = self.outcome(cell)
            if entry.fault:
                cells.append(CellStanding(seed, self.run(cell), "failed", entry.fault))
            elif outcome is None:
                state = "under way" if holder(self.claim(cell)) else "to do"
                cells.append(CellStanding(seed, self.run(cell), state))
            else:
                facts = (outcome.reason, outcome.spent, outcome.served, outcome.start_served, outcome.stopped, outcome.seconds)
                cells.append(CellStanding(seed, self.run(cell), outcome.state, *facts))
        trials = [asdict(trial) for trial in self.trials(entry)]
        return Standing(entry.name, dict(entry.own), tuple(cells), self.tuned(entry) or {}, tuple(trials))

    def write_state(self) -> None:
        with guarded(self.root / "claims"):
            rows = [standing.row(self.root) for standing in self.standings()]
            store.write_report(self.root / "bench.json", {"name": self.bench.name, "entries": rows})


_OURS = ("bench.toml", "bench.toml.part", "claims", "plugins")
"""What lies in a folder that is being made a bench's."""


def settle(bench: Bench, root: Path) -> BenchFolder:
    """Make the folder of a bench, or take it up again. More entries or seeds may have come; what was there must be the same."""
    files = BenchFolder(bench, root)
    if root.exists() and not files.settings.exists() and any(path.name not in _OURS for path in root.iterdir()):
        raise BenchError(f"{root} is there already and is no bench; choose another folder with --out")
    now = bench.table()
    with guarded(root / "claims"):  # another process may be making the folder just now
        if files.settings.exists():
            before = _read(files.settings)
            _refuse_changes(files, before, now)
            named = {row["name"] for row in now["entry"]}
            now["gone"] = [row for row in [*before["entry"], *before.get("gone", ())] if row["name"] not in named]
        for path in bench.plugins:
            if not files.plugin(path).exists():
                _copy(Path(path), files.plugin(path))
        store.write_text(files.settings, tomli_w.dumps(now))
    return files


def unmade(bench: Bench, root: Path) -> BenchFolder:
    """The folder as it is, or is not there yet, to look at: refused as when it is taken up, and nothing is written."""
    files = BenchFolder(bench, root)
    if files.settings.exists():
        _refuse_changes(files, _read(files.settings), bench.table())
    return files


def _copy(source: Path, target: Path) -> None:
    """There whole or not at all: a kill leaves no half of a plugin."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f"{target.name}.part")
    shutil.copyfile(source, draft)
    os.replace(draft, target)


def _refuse_changes(files: BenchFolder, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse what would not be comparable with what is done."""
    if told := list(_changed(before, now)):
        raise BenchError(
            f"{files.root} was begun with other settings; what is done there would not be comparable. Undo the change, give a "
            "changed entry another name (it is then a new one), or choose another folder with --out:\n  " + "\n  ".join(told)
        )
    copies = [(path, files.plugin(path)) for path in files.bench.plugins]
    if told := [path for path, copy in copies if copy.exists() and copy.read_bytes() != Path(path).read_bytes()]:
        raise BenchError(
            f"{files.root} was begun with other bytes of {', '.join(told)}; what is done there would not be comparable. Give "
            "the changed plugin to another bench: --out, or restore it"
        )


def table_in(root: Path) -> dict[str, Any]:
    """The bench of a folder as a table; its plugins in files are the copies that it keeps."""
    table = _read(root / "bench.toml")
    copies = {"plugins": [str(root / "plugins" / Path(path).name) for path in local_files(table, "bench.toml")]}
    return {**table, **copies} if "plugins" in table else table


def _read(settings: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(settings.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BenchError(f"{settings.parent} is no bench: there is no {settings.name} in it") from None
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{settings}: not TOML: {error}; put it back, or choose another folder with --out") from None


def _changed(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """What is not as it was. Entries, seeds and an umpire may come and go."""
    free = ("entry", "seeds", "gone", "duels")  # who decides duels changes nothing in what is done
    fixed = [{name: value for name, value in placeless(table).items() if name not in free} for table in (before, now)]
    yield from differences(fixed[0], fixed[1])
    old = {row["name"]: row for row in [*before["entry"], *before.get("gone", ())]}
    new = {row["name"]: row for row in now["entry"]}
    for name in sorted(old.keys() & new.keys()):
        yield from differences(old[name], new[name], f"entry '{name}': ")
