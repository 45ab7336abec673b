"""A run file → a plan, with everything wrong in it found at once and before any model is loaded.

`look` finds most of it before anything heavy is imported: it reads components by their sources. The command line does that
first, so that a mistake is told in a moment.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Interval

from alignzoo.interfaces import Acquisition, FeedbackSource, Filter, ModelSource, Optimizer, Reward, Task, Wrapper
from alignzoo.lab.fit import check_apart, check_fit
from alignzoo.lab.gone import SPARED, Gone
from alignzoo.lab.plan import Answering, Juror, Part, Plan, PlanError, Rewarding, Trailing
from alignzoo.lab.prompts import read_prompts
from alignzoo.lab.reserve import Whose
from alignzoo.lab.swaps import swaps_told
from alignzoo.learning.choices import Budget, Combine, Limits, Voice, Watch
from alignzoo.model.choices import Loading, Lora
from alignzoo.seam.discovery import discover
from alignzoo.seam.hookspecs import Kind
from alignzoo.seam.local import bringing
from alignzoo.seam.nearest import nearest
from alignzoo.seam.settings import SettingsError, build, override
from alignzoo.seam.sketch import sketch
from alignzoo.seam.zoo import Found, Zoo, ZooError

PLACES: Mapping[str, tuple[Kind, type]] = {
    "task": ("task", Task),
    "feedback": ("feedback", FeedbackSource),
    "optimizer": ("optimizer", Optimizer),
    "start": ("optimizer", Optimizer),
    "policy": ("policy", Wrapper),
    "judge": ("reward", Reward),
}
SECTIONS: Mapping[str, type] = {
    "budget": Budget,
    "watch": Watch,
    "intake": Limits,
    "answer": Answering,
    "trail": Trailing,
    "whose": Whose,
}
_TOP = (
    "name",
    "seed",
    "checkpoint_every",
    "threads",
    "plugins",
    "combine",
    "model",
    "made_with",
    "reward",
    "jury",
    *SECTIONS,
    *PLACES,
)
_VOICE = tuple(f.name for f in fields(Voice))


def read_plan(path: Path, changes: Sequence[str] = (), zoo: Zoo | None = None, plugins: Sequence[str] = ()) -> Plan:
    """The plan of a run file, with settings overridden as "optimizer.beta=0.2", and with more plugins in files."""
    table = table_of_file(path, changes, plugins)
    zoo = zoo or discover(files=local_files(table, path.name))
    with swaps_told(path, changes):
        return held(plan_of(table, file=path.name, zoo=zoo), path.name)


def look(path: Path, changes: Sequence[str] = (), plugins: Sequence[str] = ()) -> None:
    """Refuse a run file for what is wrong with it at first sight."""
    table = table_of_file(path, changes, plugins)
    zoo = discover(files=local_files(table, path.name))
    with swaps_told(path, changes):
        there(at_sight(table, zoo, path.name), path.name)


def table_of_file(
    path: Path, changes: Sequence[str], plugins: Sequence[str], what: str = "run", refusal: type[ValueError] = PlanError
) -> dict[str, Any]:
    """A file as it is meant: with its changes, and with more plugins."""
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise refusal(f"there is no {what} file {path}") from None
    except (ValueError, RecursionError) as error:  # no UTF-8, no TOML, a number without end, or nested without end
        raise refusal(f"{path}: not TOML: {error}") from None
    for change in changes:
        table = override(table, change)
    if plugins:
        table = {**table, "plugins": [*table.get("plugins", []), *plugins]}
    return {"name": path.stem, **table}


def held(plan: Plan, file: str) -> Plan:
    """The same plan, if the files that it needs are there and what it is judged on is held out."""
    there(plan, file)
    check_apart(plan)
    return plan


def there(plan: Plan, file: str) -> None:
    """Refuse a plan whose files are not there."""
    if plan.answer.file and not Path(plan.answer.file).is_file():
        raise PlanError(f"{file}: answer.file: there is no file {plan.answer.file}")
    if plan.answer.file:
        read_prompts(Path(plan.answer.file))  # what is wrong in it is told before anything is trained
    if Path(plan.path).is_file() or (_is_place(plan.path) and not Path(plan.path).is_dir()):
        raise PlanError(f"{file}: model.path: there is no folder {plan.path}")
    if plan.trail.every and (plan.judge is None or plan.task is None):
        raise PlanError(f"{file}: trail: its points are judged on a task's prompts; name a task and a judge, or leave it out")


def _is_place(path: str) -> bool:
    """Whether it can be no name on a hub, only a folder."""
    return path.startswith(("/", "./", "../", "~")) or path in (".", "..") or path.count("/") > 1


def local_files(table: Mapping[str, Any], file: str) -> tuple[str, ...]:
    """The plugins that a run file brings along, each in a file of its own."""
    files = table.get("plugins", [])
    if not isinstance(files, list) or not all(isinstance(path, str) for path in files):
        raise PlanError(f'{file}: plugins: must be a list of files, as in plugins = ["./my_loss.py"]')
    return tuple(files)


def plan_of(table: Mapping[str, Any], zoo: Zoo, file: str = "") -> Plan:
    """The plan that a table describes. Everything wrong with it is reported at once."""
    return _read(_Reader(file, zoo), table)


def trained_plan_of(table: Mapping[str, Any], zoo: Zoo, file: str) -> Plan:
    """The plan of a run that is trained: what it learned from is in its folder, and what it has no need of may be gone."""
    return _read(_Reader(file, zoo, trained=True), table)


def at_sight(table: Mapping[str, Any], zoo: Zoo, file: str = "") -> Plan:
    """The plan that a table describes, its components drawn from their sources: enough to see what is wrong, not to run."""
    return _read(_Reader(file, zoo, described=by_source, serves=lambda made, protocol: True), table)


def part_of(place: str, kind: Kind, protocol: type, table: Mapping[str, Any], zoo: Zoo, file: str) -> Part:
    """A component that a file names beside its runs."""
    reader = _Reader(file, zoo)
    with bringing(zoo):
        part = reader.part(place, kind, protocol, dict(table), seed=0)
    if part is None:
        raise SettingsError(*reader.problems)
    return part


def _read(reader: _Reader, table: Mapping[str, Any]) -> Plan:
    with bringing(reader.zoo):
        plan = reader.plan(table)
    if reader.problems:
        raise SettingsError(*reader.problems)
    if not reader.trained:  # by then it fitted together, and what a source gives is told by what it gave
        check_fit(plan, reader.zoo)
    return plan


def by_source(found: Found) -> Any:
    """A component by its source; the component itself where that does not show its settings or, of a source of feedback, what
    it gives."""
    drawn = sketch(found.component.object)
    shown = drawn is not None and (found.component.kind != "feedback" or "gives" in vars(drawn))
    return drawn if shown else found.load()


@dataclass
class _Head:
    """The settings at the top of a run file."""

    name: str = "run"
    seed: Annotated[int, Ge(0)] = 0
    checkpoint_every: Annotated[int, Ge(1)] = 20
    combine: Combine = "sum"
    """What several rewards come to: their weighted sum, or, for an ensemble, its mean, worst, or mean less its doubt."""
    threads: Annotated[int, Interval(ge=0, le=1024)] = 0
    """CPU threads; 0 leaves it to torch. Small models are steadier, and no slower, on one."""
    plugins: tuple[str, ...] = ()
    """Plugins in files of your own, beside those that are installed: `["./my_loss.py"]`. The run keeps a copy of each."""

    def __post_init__(self) -> None:
        if self.name in ("", ".", "..") or "/" in self.name or os.sep in self.name or not self.name.isprintable():
            raise ValueError(
                f"name: is what the run's folder is called, so it has no slash in it and is not empty; got {self.name!r}"
            )


@dataclass
class _Nothing:
    """The settings of a function."""


@dataclass
class _Reader:
    """One reading of a run file, gathering the problems on its way."""

    file: str
    zoo: Zoo
    problems: list[str] = field(default_factory=list)
    described: Callable[[Found], Any] = Found.load
    """What a component's settings are built by."""
    serves: Callable[[Any, type], bool] = isinstance
    """Whether what was made can be used as what it is to be."""
    trained: bool = False
    """Whether the run has been trained: then a component that it can do without may be gone."""

    def plan(self, given: Mapping[str, Any]) -> Plan:
        table = self.tables(given)
        known = {f.name for f in fields(_Head)}
        odd = [name for name in table if name not in _TOP]
        self.problems += [f"{self.file}: {name}: no such setting{nearest(name, _TOP)}" for name in odd]
        head = self.section(_Head, {k: v for k, v in table.items() if k in known}, "")
        seed = head.seed
        start = dict(table.get("start", {}))
        start_feedback = start.pop("feedback", None)
        if start_feedback is not None and not isinstance(start_feedback, Mapping):
            self.problems.append(f"{self.file}: start.feedback: must be a table, [start.feedback]")
            start_feedback = None
        rewards = self.rewards(table.get("reward", ()), seed)
        parts = {
            place: self.part(place, *PLACES[place], dict(table[place] if place != "start" else start), seed)
            for place in PLACES
            if place in table
        }
        if start_feedback is not None:
            parts["start_feedback"] = self.part("start.feedback", "feedback", FeedbackSource, dict(start_feedback), seed)
        if "optimizer" not in table:
            self.problems.append(f'{self.file}: optimizer: missing; say which: [optimizer] use = "dpo"')
        model_table = dict(table.get("model", {}))
        lora = self.section(Lora, model_table.pop("lora", {}), "model.lora")
        path, model_part = self.model(model_table, seed)
        loading = self.section(Loading, model_table, "model")
        sections = {name: self.section(kind, table.get(name, {}), name) for name, kind in SECTIONS.items()}
        return Plan(
            name=head.name,
            seed=seed,
            checkpoint_every=head.checkpoint_every,
            threads=head.threads,
            plugins=tuple(dict.fromkeys(map(os.path.normpath, head.plugins))),
            combine=head.combine,
            rewards=rewards,
            jury=self.jury(table.get("jury", ()), seed),
            path=path,
            model_part=model_part,
            lora=lora,
            loading=loading,
            **sections,
            **{"optimizer": None, **parts},  # type: ignore[arg-type]
        )

    def tables(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The file with an empty table where something else stands in the place of one."""
        scalars = {f.name for f in fields(_Head)}
        wrong = [(name, value) for name, value in given.items() if name in _TOP and name not in scalars]
        wrong = [(name, value) for name, value in wrong if not isinstance(value, Mapping)]
        wrong = [(name, value) for name, value in wrong if not (name in ("reward", "jury") and _are_tables(value))]
        for name, value in wrong:
            self.problems.append(f'{self.file}: {name}: must be a table, [{name}] with use = "{value}" in it')
        return {**given, **{name: {} for name, _ in wrong}}

    def section(self, kind: type[Any], table: Any, place: str) -> Any:
        try:
            return build(kind, table, place, file=self.file)
        except SettingsError as error:
            self.problems += error.problems
            return kind()

    def rewards(self, given: Any, seed: int) -> tuple[Rewarding, ...]:
        """One [reward], or several [[reward]]: each with how it counts and, where it is to be trained, with its feedback."""
        rewards = []
        for number, (place, table) in enumerate(_several("reward", given)):
            voice = self.section(Voice, {name: table.pop(name) for name in _VOICE if name in table}, place)
            part, source = self.scoring(place, table, seed)
            if part is not None:
                rewards.append(Rewarding(part, replace(voice, name=_called(voice.name, part, number)), source))
        self.told_apart("reward", [rewarding.voice.name for rewarding in rewards])
        return tuple(rewards)

    def jury(self, given: Any, seed: int) -> tuple[Juror, ...]:
        """One [jury], or several [[jury]]: each with its name and, where it is to be trained, with its feedback."""
        jury = []
        for number, (place, table) in enumerate(_several("jury", given)):
            name = table.pop("name", "")
            part, source = self.scoring(place, table, seed)
            try:
                jury += [Juror(part, _called(name, part, number), source)] if part is not None else []
            except ValueError as error:
                self.problems.append(f"{self.file}: {place}.{error}")
        self.told_apart("jury", [juror.name for juror in jury])
        return tuple(jury)

    def scoring(self, place: str, table: dict[str, Any], seed: int) -> tuple[Part | None, Part | None]:
        """A reward; or, where it is to be trained, an optimizer and its feedback."""
        learns_from = table.pop("feedback", None)
        if learns_from is None:
            return self.part(place, "reward", Reward, table, seed), None
        if not isinstance(learns_from, Mapping):
            self.problems.append(f"{self.file}: {place}.feedback: must be a table, [{place.partition('.')[0]}.feedback]")
            return None, None
        part = self.part(place, "optimizer", Optimizer, table, seed)
        return part, self.part(f"{place}.feedback", "feedback", FeedbackSource, dict(learns_from), seed)

    def told_apart(self, place: str, names: Sequence[str]) -> None:
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            self.problems.append(f"{self.file}: {place}: two are called '{doubled[0]}'; give each a name of its own")

    def part(self, place: str, kind: Kind, protocol: type, table: dict[str, Any], seed: int) -> Part | None:
        """A component by its `use`, made with the rest of its table; the run's seed serves where it has none of its own."""
        name = table.pop("use", None)
        filters = self.filters(place, table.pop("filter", ()), seed) if kind == "feedback" else ()
        acquisition = self.acquisition(place, table.pop("acquisition", None), seed) if kind == "feedback" else None
        if not isinstance(name, str):
            self.problems.append(f'{self.file}: {place}: say what to use: use = "…" (see `alignzoo list --kind {kind}`)')
            return None
        try:
            found = self.zoo.find(kind, name)
            described = self.described(found)
        except ZooError as error:
            self.problems.append(f"{self.file}: {place}.use: {error}")
            return None
        if isinstance(described, type) and not is_dataclass(described):
            how = "its settings are its fields: write @dataclass(frozen=True) above it"
            self.problems.append(f"{self.file}: {place}.use: {found.full_name} is a class and no dataclass; {how}")
            return None
        if is_dataclass(described) and any(f.name == "seed" for f in fields(described)):
            table = {"seed": seed, **table}
        try:
            made: Any = build(described if isinstance(described, type) else _Nothing, table, place, file=self.file)
            made = made if isinstance(described, type) else described
        except SettingsError as error:
            if self.trained and kind in SPARED:
                return Part(found, Gone(table, error.problems), filters, acquisition)
            self.problems += error.problems
            return None
        if not self.serves(made, protocol):
            self.problems.append(f"{self.file}: {place}.use: {found.full_name} is no {protocol.__name__}; tell its author")
            return None
        return Part(found, made, filters, acquisition)

    def acquisition(self, place: str, given: Any, seed: int) -> Part | None:
        """[feedback.acquisition]: what chooses the answers that the source is asked about."""
        if given is not None and not isinstance(given, Mapping):
            self.problems.append(f"{self.file}: {place}.acquisition: must be a table, [{place}.acquisition]")
            return None
        return self.part(f"{place}.acquisition", "acquisition", Acquisition, dict(given), seed) if given is not None else None

    def filters(self, place: str, given: Any, seed: int) -> tuple[Part, ...]:
        """[[feedback.filter]], one after the other in the order of the file."""
        tables = [given] if isinstance(given, Mapping) else given
        if tables and not _are_tables(tables):
            self.problems.append(f"{self.file}: {place}.filter: must be tables, [[{place}.filter]]")
            return ()
        made = [self.part(f"{place}.filter.{i}", "filter", Filter, dict(table), seed) for i, table in enumerate(tables)]
        return tuple(part for part in made if part is not None)

    def model(self, table: dict[str, Any], seed: int) -> tuple[str, Part | None]:
        path = table.pop("path", "")
        if "use" not in table:
            if not path or not isinstance(path, str):
                self.problems.append(f'{self.file}: model: say which: path = "folder or hub name", or use = "playground"')
            return str(path), None
        own = {key: table.pop(key) for key in list(table) if key not in {f.name for f in fields(Loading)}}
        return "", self.part("model", "model", ModelSource, own, seed)


def _several(place: str, given: Any) -> list[tuple[str, dict[str, Any]]]:
    """One table or several, by their places."""
    if isinstance(given, Mapping):
        return [(place, dict(given))]
    return [(f"{place}.{number}", dict(table)) for number, table in enumerate(given)]


def _called(name: str, part: Part, number: int) -> str:
    """Its name; its component's where it has none."""
    return name or f"{part.found.component.id}{number or ''}"


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)
