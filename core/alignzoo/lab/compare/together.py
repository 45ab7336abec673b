"""Finished runs, put side by side and written down.

found = together([Path("runs/dpo-0"), Path("runs/dpo-1"), Path("runs/ppo-0"), Path("runs/ppo-1")])
print(found.answer())
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from alignzoo.lab import store
from alignzoo.lab.compare.backing import answered
from alignzoo.lab.compare.comparison import CompareError, Comparison, compare
from alignzoo.lab.compare.duels import Entrant
from alignzoo.lab.compare.hearing import START, Tell, hear
from alignzoo.lab.compare.page import page
from alignzoo.lab.compare.played import Played, played
from alignzoo.lab.compare.umpire import Umpire, umpire_in
from alignzoo.lab.compare.words import markdown
from alignzoo.lab.faults import faults_in

_NOT_ITS_NATURE = ("name", "seed", "made_with")
"""Settings in which the runs of one entrant may differ."""


VERDICTS = "verdicts.jsonl"
"""What an umpire has said, beside the report."""


def together(
    roots: Sequence[Path],
    name: str = "comparison",
    out: Path | None = None,
    duels: Path | None = None,
    tell: Tell = lambda line: None,
) -> Comparison:
    """Compare the runs in these folders; those that differ in nothing but the seed are one contestant. With `out`, write
    report.html, report.md and report.json into that folder. `duels` is a file that says who decides between two answers; what
    he says is kept in `out`."""
    if duels and not out:
        raise CompareError("duels: verdicts are asked once and kept; say where: --out DIR")
    umpire = umpire_in(duels) if duels else None
    for root in roots:
        if (root / "bench.toml").exists():
            raise CompareError(f"{root} is a bench; its report is made by: alignzoo bench {root}")
    more = ("--duels", str(duels)) if duels else ()
    command = shlex.join(["alignzoo", "compare", *map(str, roots), *(("--out", str(out)) if out else ()), *more])
    with _damage_named(roots):
        entrants = entrants_of([played(root) for root in roots])
        found = compare(name, entrants)
        if out:
            found = decided(found, entrants, umpire, out, tell) if umpire else found
            write(found, entrants, out, command)
    return found


@contextmanager
def _damage_named(roots: Sequence[Path]) -> Iterator[None]:
    """Where something cannot be because a run's file is not what a run writes, the file is named. To look at each before would
    take as long as the comparison."""
    try:
        yield
    except (CompareError, store.StoreError):
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        for root in roots:
            if fault := next(faults_in(root), ""):
                raise store.StoreError(f"{fault}; delete the file, then: alignzoo run {root}") from error
        raise


def decided(found: Comparison, entrants: Sequence[Entrant], umpire: Umpire, folder: Path, tell: Tell) -> Comparison:
    """The same, with what an umpire says of every pair."""
    ordered = [next(one for one in entrants if one.name == line.name) for line in found.lines]
    hearing = hear(umpire, ordered, found.prompts, folder / VERDICTS, tell)
    cautions = [*found.cautions, *hearing.cautions]
    leaders = [rank.name for rank in hearing.ranks if rank.name != START]
    if leaders and leaders[0] != ordered[0].name:
        cautions.append(
            f"by scores {ordered[0].name} leads, and shown two answers at a time {umpire.name} prefers {leaders[0]}"
        )
    return replace(found, hearing=hearing, cautions=tuple(cautions))


def write(found: Comparison, entrants: Sequence[Entrant], folder: Path, command: str) -> None:
    """The report as a page, as Markdown, and as plain data."""
    whole = replace(found, command=command, asked=answered(entrants, found.prompts))
    store.write_text(folder / "report.html", page(whole))
    store.write_text(folder / "report.md", markdown(whole))
    row = json.dumps(whole.row(), ensure_ascii=False, allow_nan=False, separators=(",", ":"))  # many pairs: no room for more
    store.write_text(folder / "report.json", f"{row}\n")


def entrants_of(runs: Sequence[Played]) -> list[Entrant]:
    """Runs by what they are but for the seed, each under the shortest name that tells it from the others."""
    groups: dict[str, list[Played]] = {}
    for run in runs:
        groups.setdefault(json.dumps(_nature(run.settings), sort_keys=True, default=str), []).append(run)
    for group in groups.values():
        seeds = [run.seed for run in group]
        if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
            folders = " and ".join(str(run.folder) for run in group if run.seed == twice[0])
            raise CompareError(f"{folders} are the same run, seed {twice[0]}, twice; name one of them")
    kinds = list(groups.values())
    names = [_plainest(kinds, group) for group in kinds]
    return [Entrant(name, tuple(sorted(group, key=lambda run: run.seed))) for name, group in zip(names, kinds, strict=True)]


def _plainest(kinds: Sequence[Sequence[Played]], group: Sequence[Played]) -> str:
    """The run's name; the optimizer; both; or the folder."""
    for way in (_by_name, _by_optimizer, _by_both):
        if [way(other[0]) for other in kinds].count(way(group[0])) == 1 and len({way(run) for run in group}) == 1:
            return way(group[0])
    return str(group[0].folder)


def _by_name(run: Played) -> str:
    return str(run.settings["name"])


def _by_optimizer(run: Played) -> str:
    return str(run.settings["optimizer"]["use"]).rpartition("/")[2]


def _by_both(run: Played) -> str:
    source = str(run.settings.get("feedback", {}).get("use", "")).rpartition("/")[2]
    return f"{_by_optimizer(run)} on {source}" if source else _by_optimizer(run)


def _nature(settings: Any) -> Any:
    """Settings without seeds, wherever they are: a run's seed is its parts' too."""
    if isinstance(settings, Mapping):
        return {name: _nature(value) for name, value in settings.items() if name not in _NOT_ITS_NATURE}
    return [_nature(value) for value in settings] if isinstance(settings, list) else settings
