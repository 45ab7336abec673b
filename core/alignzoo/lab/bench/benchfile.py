"""A bench file → its entries: the shared sections of a run file, and what each entry has instead.

    seeds = 5
    [task] …  [model] …  [judge] …  [budget] labels = 1200      # what a run file has, for all entries

    [[entry]]                     # what is this entry's own
    name = "dpo"
    optimizer = {use = "dpo"}

    [grid]                        # or every combination of some settings
    optimizer.use = ["dpo", "ipo"]

A table that names another `use` takes the place of the shared one; otherwise it changes what it names. What an entry's
optimizer does not need (feedback or rewards that others share) is left out of its runs.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from alignzoo.lab.bench.tuning import Space, Tuning, read_space, read_tuning
from alignzoo.lab.plan import Plan, PlanError, check_judge
from alignzoo.lab.runfile import PLACES, held, plan_of
from alignzoo.seam.settings import SettingsError, override
from alignzoo.seam.zoo import Unusable, Zoo, ZooError

OWN = ("name", "model", "start", "feedback", "reward", "combine", "optimizer")
"""What entries may differ in. All else is the same ground for all: prompts, judge, decoding, budget."""
SEEDS = 5


class BenchError(ValueError):
    """A bench that cannot work, or a folder that is not this bench's."""


@dataclass(frozen=True)
class Entry:
    """One row of the leaderboard."""

    name: str
    table: Mapping[str, Any]
    """Its run file, without name and seed."""
    own: Mapping[str, Any]
    """What of that the bench file says of this entry alone."""
    space: Mapping[str, Space] = field(default_factory=dict)
    """What may be tuned."""
    fault: str = ""
    """Why it cannot even be tried: a plugin that is installed and broken."""


@dataclass(frozen=True)
class Bench:
    """All entries and seeds, resolved."""

    name: str
    seeds: tuple[int, ...]
    entries: tuple[Entry, ...]
    shared: Mapping[str, Any]
    zoo: Zoo
    tuning: Tuning | None = None

    def plan(self, entry: Entry, seed: int, changes: Mapping[str, Any] | None = None) -> Plan:
        """The run of an entry under a seed, with settings (dotted) that tuning has found or tries."""
        table = {**entry.table, "name": f"{self.name}-{entry.name}", "seed": seed}
        for place, value in (changes or {}).items():
            table = laid(table, nested(place, value))
        return trimmed(plan_of(table, self.zoo, entry.name))

    def table(self) -> dict[str, Any]:
        """The bench as a file that says it once more."""
        tune = {"tune": self.tuning.table()} if self.tuning else {}
        rows = []
        for entry in self.entries:
            space = {place: one.table() for place, one in entry.space.items()} or "none"
            rows.append({"name": entry.name, **entry.own, **({"tune": space} if self.tuning else {})})
        return {"name": self.name, "seeds": list(self.seeds), **self.shared, **tune, "entry": rows}


def read_bench(path: Path, zoo: Zoo, changes: Sequence[str] = ()) -> Bench:
    """The bench of a file, with settings overridden as "budget.labels=400"."""
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BenchError(f"there is no bench file {path}") from None
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{path}: not TOML: {error}") from None
    for change in changes:
        table = override(table, change)
    return bench_of({"name": path.stem, **table}, zoo, path.name)


def bench_of(given: Mapping[str, Any], zoo: Zoo, file: str) -> Bench:
    """The bench that a table describes. Everything wrong with any entry is reported at once."""
    bench, problems = drawn(given, zoo, file)
    entries = [replace(entry, fault=_fault(entry.table, zoo)) for entry in bench.entries]
    for place, entry in enumerate(entries):
        try:
            problems += [] if entry.fault else _problems(bench, entry, file)
        except ValueError:
            raise
        except Exception as error:  # a plugin that breaks when it is looked at
            entries[place] = replace(entry, fault=f"{type(error).__name__}: {error}")
    if problems:
        raise SettingsError(*dict.fromkeys(problems))
    if all(entry.fault for entry in entries):
        raise BenchError(f"{file}: no entry can be tried: {entries[0].fault}")
    return replace(bench, entries=tuple(entries))


def drawn(given: Mapping[str, Any], zoo: Zoo, file: str) -> tuple[Bench, list[str]]:
    """The bench of a table, and what is wrong with it at first sight: no entry has been looked into."""
    table = dict(given)
    seeds = _seeds(table.pop("seeds", SEEDS), file)
    if "seed" in table:
        raise BenchError(f"{file}: seed: a bench has several; write seeds = {SEEDS}, or a list of them")
    tuning = read_tuning(table.pop("tune", None), file)
    table.pop("gone", None)  # entries that a bench's folder had once
    own = list(_own(table.pop("entry", []), table.pop("grid", {}), table, file))
    name = str(table.pop("name"))
    if isinstance(table.get("budget"), Mapping):
        table["budget"] = {"rewards": True, **table["budget"]}  # a reward of one's own is paid for, too
    problems: list[str] = []
    entries = tuple(_entries(own, table, file, tuning, problems))
    return Bench(name, seeds, entries, table, zoo, tuning), problems


def _entries(
    own: Sequence[dict[str, Any]], shared: Mapping[str, Any], file: str, tuning: Tuning | None, problems: list[str]
) -> Iterator[Entry]:
    """Each entry as it says it is, and what is wrong with that."""
    for row in own:
        called, space = row.pop("name"), row.pop("tune", None)
        place = f"{file}: entry '{called}'"
        if odd := [key for key in row if key not in OWN]:
            problems.append(f"{place}: {odd[0]}: the same for all entries of a bench; write it above them")
            continue
        entry = Entry(called, laid(shared, row), row, read_space(space, place))
        if tuning and not entry.space and space != "none":
            trials = f"each entry gets {tuning.trials} trials"
            problems.append(f'{place}: tune: {trials}; say what may be tuned of this one, or tune = "none"')
        yield entry


def _problems(bench: Bench, entry: Entry, file: str) -> Iterator[str]:
    """What is wrong with an entry, found without a model."""
    try:
        plan = held(bench.plan(entry, bench.seeds[0]), entry.name)
        check_judge(plan)
        if bench.tuning and entry.space:
            bench.tuning.check(plan)
            for place, one in entry.space.items():
                bench.plan(entry, bench.seeds[0], {place: one.example()})
    except SettingsError as error:
        yield from (f"{file}: entry '{entry.name}': {problem.removeprefix(f'{entry.name}: ')}" for problem in error.problems)
    except ValueError as error:
        if not isinstance(error, PlanError | BenchError):
            raise
        yield f"{file}: entry '{entry.name}': {str(error).removeprefix(f'{entry.name}: ')}"


def _fault(table: Mapping[str, Any], zoo: Zoo) -> str:
    """Why a component that an entry rightly names is of no use: an entry's misfortune, not the bench's."""
    for place, (kind, _) in PLACES.items():
        section = table.get(place)
        named = section.get("use") if isinstance(section, Mapping) else None
        try:
            if isinstance(named, str):
                zoo.find(kind, named).load()
        except Unusable as error:
            return str(error)
        except ZooError:  # a wrong name is the file's mistake, and told as one
            continue
    return ""


def trimmed(plan: Plan) -> Plan:
    """The plan without what its optimizer does not ask for."""
    return replace(plan, rewards=plan.raised, feedback=plan.learned)


# Entries and grids --------------------------------------------------------------------------------------------------------


def _own(entries: Any, grid: Any, shared: Mapping[str, Any], file: str) -> Iterator[dict[str, Any]]:
    """What each entry has of its own: every [[entry]], at every point of the grid."""
    if not isinstance(entries, list) or not all(isinstance(row, Mapping) for row in entries):
        raise BenchError(f"{file}: entry: must be tables, [[entry]] with a name in each")
    points = list(_points(grid, file))
    used = shared.get("optimizer", {}).get("use", "run") if isinstance(shared.get("optimizer"), Mapping) else "run"
    rows = entries or [{} if grid else {"name": str(used)}]
    names: list[str] = []
    for row, (suffix, point) in product(rows, points):
        name = "-".join(part for part in (str(row.get("name", "")), suffix) if part)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name):
            raise BenchError(f"{file}: entry: each needs a name of letters, digits, '.', '_' and '-'; one has {name!r}")
        if name in names:
            raise BenchError(f"{file}: entry: two are called '{name}'; give each a name of its own")
        names.append(name)
        yield {**laid(row, point), "name": name}


def _points(grid: Any, file: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """A name and the settings of every point of a grid; one point without any where there is no grid."""
    if not isinstance(grid, Mapping):
        raise BenchError(f'{file}: grid: must be a table of lists: optimizer.use = ["dpo", "ipo"]')
    axes = list(_axes(grid, "", file))
    for values in product(*(values for _, values in axes)):
        point: dict[str, Any] = {}
        for (place, _), value in zip(axes, values, strict=True):
            point = laid(point, nested(place, value))
        yield "-".join(_called(value) for value in values), point


def _axes(grid: Mapping[str, Any], above: str, file: str) -> Iterator[tuple[str, list[Any]]]:
    for name, values in grid.items():
        place = f"{above}.{name}" if above else name
        if isinstance(values, Mapping):
            yield from _axes(values, place, file)
        elif isinstance(values, list) and values:
            yield place, values
        else:
            raise BenchError(f"{file}: grid.{place}: must be a list of values to try")


def _called(value: Any) -> str:
    text = str(value.get("name", value.get("use", "")) if isinstance(value, Mapping) else value)
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", text).strip("_")


def _seeds(given: Any, file: str) -> tuple[int, ...]:
    if isinstance(given, list) and given and all(type(seed) is int and seed >= 0 for seed in given):
        if len(set(given)) < len(given):
            raise BenchError(f"{file}: seeds: one is there twice; the same run again says nothing new")
        return tuple(given)
    if type(given) is int and given > 0:
        return tuple(range(given))
    raise BenchError(f"{file}: seeds: must be how many (1 or more), or a list of seeds; got {given!r}")


# Tables -------------------------------------------------------------------------------------------------------------------


def laid(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A table with another laid over it. One that names another `use` is another thing and takes the whole place; the word
    "none" takes a table away."""
    whole = dict(under)
    for key, value in over.items():
        below = under.get(key)
        if value == "none" and isinstance(below, Mapping | list):
            del whole[key]
        elif isinstance(value, Mapping) and isinstance(below, Mapping) and not _another(below, value):
            whole[key] = laid(below, value)
        else:
            whole[key] = value
    return whole


def _another(under: Mapping[str, Any], over: Mapping[str, Any]) -> bool:
    return "use" in under and "use" in over and under["use"] != over["use"]


def nested(place: str, value: Any) -> dict[str, Any]:
    """{"optimizer": {"beta": 0.1}} for "optimizer.beta" and 0.1."""
    for key in reversed(place.split(".")):
        value = {key: value}
    return dict(value)
