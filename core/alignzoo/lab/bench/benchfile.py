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

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from alignzoo.lab.bench.grid import MOST, BenchError, laid, nested, rows_of
from alignzoo.lab.bench.tuning import Space, Tuning, read_space, read_tuning
from alignzoo.lab.compare.umpire import Umpire, read_umpire
from alignzoo.lab.plan import Answering, Plan, PlanError, check_judge
from alignzoo.lab.runfile import PLACES, at_sight, by_source, held, local_files, plan_of, table_of_file, there
from alignzoo.learning.choices import Budget
from alignzoo.seam.discovery import discover
from alignzoo.seam.settings import SettingsError, build
from alignzoo.seam.zoo import Found, Unusable, Zoo, ZooError

OWN = ("name", "model", "start", "feedback", "reward", "combine", "optimizer")
"""What entries may differ in. All else is the same ground for all: prompts, judge, decoding, budget."""
SEEDS = 5


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
    umpire: Umpire | None = None
    """Who decides between two contestants' answers, beside the judge of one at a time."""

    @property
    def plugins(self) -> tuple[str, ...]:
        """Those that are files of one's own."""
        return tuple(self.shared.get("plugins", ()))

    @property
    def budget(self) -> Budget:
        """What each entry may spend."""
        return build(Budget, self.shared.get("budget", {}), "budget")

    def plan(self, entry: Entry, seed: int, changes: Mapping[str, Any] | None = None) -> Plan:
        """The run of an entry under a seed, with settings (dotted) that tuning has found or tries."""
        return trimmed(plan_of(self.run_file(entry, seed, changes), self.zoo, entry.name))

    def run_file(self, entry: Entry, seed: int, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The same as a table."""
        table = {**entry.table, "name": f"{self.name}-{entry.name}", "seed": seed}
        for place, value in (changes or {}).items():
            table = laid(table, nested(place, value))
        return table

    def table(self) -> dict[str, Any]:
        """The bench as a file that says it once more."""
        tune = {"tune": self.tuning.table()} if self.tuning else {}
        rows = []
        for entry in self.entries:
            space = {place: one.table() for place, one in entry.space.items()} or "none"
            rows.append({"name": entry.name, **entry.own, **({"tune": space} if self.tuning else {})})
        duels = {"duels": self.umpire.row()} if self.umpire else {}
        return {"name": self.name, "seeds": list(self.seeds), **self.shared, **tune, **duels, "entry": rows}

    @property
    def asked(self) -> int:
        """How many test prompts at most."""
        answering = self.shared.get("answer", {})
        there = answering.get("prompts", Answering.prompts) if isinstance(answering, Mapping) else Answering.prompts
        return there if isinstance(there, int) else Answering.prompts

    @property
    def verdicts(self) -> tuple[int, str]:
        """How many verdicts the umpire is asked for at most, and of what; 0 where there is none."""
        if self.umpire is None:
            return 0, ""
        prompts = min(self.umpire.terms.prompts, self.asked)
        seeds, parties = len(self.seeds), len(self.entries) + 1  # the start, too
        pairs = parties * (parties - 1) // 2
        what = f"{pairs} pairs × {seeds} seeds × {prompts} prompts, in both orders: "
        return 2 * pairs * seeds * prompts, what


def read_bench(path: Path, zoo: Zoo | None = None, changes: Sequence[str] = (), plugins: Sequence[str] = ()) -> Bench:
    """The bench of a file, with settings overridden as "budget.labels=400", and with more plugins in files."""
    table = _table(path, changes, plugins)
    return bench_of(table, zoo or discover(files=local_files(table, path.name)), path.name)


def _table(path: Path, changes: Sequence[str], plugins: Sequence[str]) -> dict[str, Any]:
    """A bench file as it is meant. The one in a bench's folder means the plugins that lie beside it, as they were."""
    table = table_of_file(path, changes, plugins, "bench", BenchError)
    if path.name != "bench.toml" or "plugins" not in table:
        return table
    copies = {file: path.parent / "plugins" / Path(file).name for file in local_files(table, path.name)}
    return {**table, "plugins": [str(copy if copy.is_file() else file) for file, copy in copies.items()]}


def look(path: Path, changes: Sequence[str] = (), plugins: Sequence[str] = ()) -> None:
    """Refuse a bench file for what is wrong with it at first sight (`runfile.look`): nothing heavy is imported."""
    table = _table(path, changes, plugins)
    zoo = discover(files=local_files(table, path.name))
    bench, problems = drawn(table, zoo, path.name)
    said: dict[str, list[str]] = {}
    for entry in bench.entries:
        with suppress(Exception):  # a plugin that breaks when it is looked at is told of when it is looked into
            fault = _fault(entry.table, zoo, by_source)
            said[entry.name] = [] if fault else list(_told(entry, partial(_look_into, bench, entry)))
    _refuse(problems, said, path.name)


def bench_of(given: Mapping[str, Any], zoo: Zoo, file: str) -> Bench:
    """The bench that a table describes. Everything wrong with any entry is reported at once."""
    bench, problems = drawn(given, zoo, file)
    entries = [replace(entry, fault=_fault(entry.table, zoo, Found.load)) for entry in bench.entries]
    said: dict[str, list[str]] = {}
    for place, entry in enumerate(entries):
        try:
            said[entry.name] = [] if entry.fault else list(_told(entry, partial(_check, bench, entry)))
        except ValueError:
            raise
        except Exception as error:  # a plugin that breaks when it is looked at
            entries[place] = replace(entry, fault=f"{type(error).__name__}: {error}")
    _refuse(problems, said, file)
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
    umpire = read_umpire(table.pop("duels", None), zoo, file)
    table.pop("gone", None)  # entries that a bench's folder had once
    own = list(rows_of(table.pop("entry", []), table.pop("grid", {}), table, file))
    name = str(table.pop("name"))
    if isinstance(table.get("budget"), Mapping):
        table["budget"] = {"rewards": True, **table["budget"]}  # a reward of one's own is paid for, too
    problems: list[str] = []
    entries = tuple(_entries(own, table, file, tuning, problems))
    bench = Bench(name, seeds, entries, table, zoo, tuning, umpire)
    if umpire:
        umpire.check(*bench.verdicts)
    return bench, problems


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


def _check(bench: Bench, entry: Entry) -> None:
    """Refuse an entry for whatever is wrong with it, found without a model."""
    plan = held(bench.plan(entry, bench.seeds[0]), entry.name)
    check_judge(plan)
    if bench.tuning and entry.space:
        bench.tuning.check(plan)
        for place, one in entry.space.items():
            for value in one.examples():
                bench.plan(entry, bench.seeds[0], {place: value})


def _look_into(bench: Bench, entry: Entry) -> None:
    """Refuse an entry for what is wrong with it at first sight."""
    plan = at_sight(bench.run_file(entry, bench.seeds[0]), bench.zoo, entry.name)
    there(plan, entry.name)
    check_judge(plan)
    for place, one in entry.space.items():
        for value in one.examples():
            at_sight(bench.run_file(entry, bench.seeds[0], {place: value}), bench.zoo, entry.name)


def _told(entry: Entry, check: Callable[[], None]) -> Iterator[str]:
    """What a check says against an entry."""
    try:
        check()
    except SettingsError as error:
        yield from (problem.removeprefix(f"{entry.name}: ") for problem in error.problems)
    except (PlanError, BenchError) as error:
        yield str(error).removeprefix(f"{entry.name}: ")


def _refuse(problems: Sequence[str], said: Mapping[str, Sequence[str]], file: str) -> None:
    """Tell everything that is wrong. What several entries have in common is told once: it stands above them, most likely."""
    have: dict[str, list[str]] = {}
    for name, told in said.items():
        for problem in dict.fromkeys(told):
            have.setdefault(problem, []).append(name)
    whole = [f"{file}: {'' if len(said) == len(names) > 1 else _named(names)}{problem}" for problem, names in have.items()]
    if problems or whole:
        raise SettingsError(*problems, *whole)


def _named(names: Sequence[str]) -> str:
    return f"entry '{names[0]}': " if len(names) == 1 else f"entries {', '.join(names)}: "


def _fault(table: Mapping[str, Any], zoo: Zoo, tried: Callable[[Found], Any]) -> str:
    """Why a component that an entry rightly names is of no use: an entry's misfortune, not the bench's."""
    for place, (kind, _) in PLACES.items():
        section = table.get(place)
        named = section.get("use") if isinstance(section, Mapping) else None
        try:
            if isinstance(named, str):
                tried(zoo.find(kind, named))
        except Unusable as error:
            return str(error)
        except ZooError:  # a wrong name is the file's mistake, and told as one
            continue
    return ""


def trimmed(plan: Plan) -> Plan:
    """The plan without what its optimizer does not ask for."""
    return replace(plan, rewards=plan.raised, feedback=plan.learned)


def _seeds(given: Any, file: str) -> tuple[int, ...]:
    if isinstance(given, list) and given and all(type(seed) is int and 0 <= seed < 2**63 for seed in given):
        if len(set(given)) < len(given):
            raise BenchError(f"{file}: seeds: one is there twice; the same run again says nothing new")
        return tuple(given)
    if type(given) is int and 0 < given <= MOST:
        return tuple(range(given))
    raise BenchError(f"{file}: seeds: must be how many (1 to {MOST:,}), or a list of seeds below 2⁶³; got {repr(given)[:60]}")
