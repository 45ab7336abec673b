"""A bench, from its file to its report.

bench = HeadToHead.open("benchmarks/quick.toml")
bench.run(jobs=2)               # whatever is still to be done
print(bench.report())
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from alignzoo.lab.bench.benchfile import Bench, read_bench
from alignzoo.lab.bench.crew import Crew
from alignzoo.lab.bench.damage import mend
from alignzoo.lab.bench.folder import BenchFolder, settle
from alignzoo.lab.bench.grid import BenchError
from alignzoo.lab.bench.report import Standing, report
from alignzoo.lab.bench.work import FULL, DiskFull, Watcher, folder_at, no_room, work_here
from alignzoo.lab.claims import claimed, guarded
from alignzoo.lab.compare.comparison import Comparison
from alignzoo.lab.compare.duels import Entrant
from alignzoo.lab.compare.together import decided
from alignzoo.lab.trackers import check
from alignzoo.model.loading import ModelError, configured


@dataclass
class HeadToHead:
    """A bench and its folder."""

    files: BenchFolder
    watcher: Watcher = field(default_factory=Watcher)
    undecided: str = ""
    """Why the last report has no duels, though the bench has an umpire."""

    @classmethod
    def open(
        cls,
        path: str | Path,
        out: str | Path | None = None,
        changes: Sequence[str] = (),
        watcher: Watcher | None = None,
        plugins: Sequence[str] = (),
    ) -> HeadToHead:
        """Open a bench file (its folder is made, or taken up again) or the folder of a bench. `plugins` are files beside those
        that the bench file names."""
        path = Path(path)
        if path.is_dir():
            if changes or out or plugins:
                raise BenchError(
                    f"{path} is a bench, with its own settings, plugins, folder; --set, --plugin and --out go with a bench file"
                )
            return cls(folder_at(path), watcher or Watcher())
        bench = read_bench(path, changes=changes, plugins=plugins)
        files = settle(bench, Path(out) if out else Path("runs") / bench.name)
        return cls(folder_at(files.root) if bench.plugins else files, watcher or Watcher())

    @property
    def bench(self) -> Bench:
        return self.files.bench

    def run(self, jobs: int = 1, retry: bool = False, track: Sequence[str] = ()) -> None:
        """Do what is still to be done: so many cells at once, each in a process of its own; with 0 one by one in this process.
        What failed is only tried again if that is asked for. `track` names trackers that metrics go to, too."""
        check(track)
        with guarded(self.files.root / "claims"):  # who comes second finds it mended
            for line in mend(self.files):
                self.watcher.line(line)
        if retry and (count := self.files.forget_failures()):
            self.watcher.line(f"{count} that failed will be tried again")
        if next(self.files.open(), None):
            self._check_models()
        self.files.write_state()
        self.watcher.whole(*self.files.progress())
        if jobs:
            Crew(self.files, jobs, self.watcher, tuple(track)).work()
        else:
            work_here(self.files, self.watcher, track)
        self.files.write_state()

    def _check_models(self) -> None:
        """A model that cannot be had is told once, and not by every run. If others can be had, it is a failure of its own
        entries."""
        plans = [self.bench.plan(entry, self.bench.seeds[0]) for entry in self.bench.entries if not entry.fault]
        named = {plan.path: plan.loading for plan in plans if plan.path}
        if not named or any(plan.model_part or Path(plan.path).is_dir() for plan in plans):
            return
        for path, how in named.items():
            try:
                configured(path, how)
                return
            except ModelError as error:
                told = str(error)
        raise BenchError(told)

    def standings(self) -> list[Standing]:
        return self.files.standings()

    def report(self) -> str:
        """The leaderboard of what is done, written beside the runs. Where the bench has an umpire it is asked first, for what
        it has not said yet; one that fails stops no report."""
        self.undecided = ""
        with claimed(self.files.root / "claims" / "report", self.watcher.line):  # two that end together write the same files
            return report(self.bench.name, self.standings(), self.files.root, self._decided, self.bench.budget)

    def _decided(self, found: Comparison, entrants: Sequence[Entrant]) -> Comparison:
        if self.bench.umpire is None:
            return found
        try:
            return decided(found, entrants, self.bench.umpire, self.files.root, self.watcher.line)
        except Exception as error:
            if no_room(error):
                raise DiskFull(errno.ENOSPC, FULL, str(self.files.root)) from error
            self.undecided = f"the duels are not decided: {type(error).__name__}: {' '.join(str(error).split())}"
            self.watcher.line(f"{self.undecided}; what was said is kept, and asked no more")
            return replace(found, cautions=(*found.cautions, self.undecided))
