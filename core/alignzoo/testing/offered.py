"""Checks of what a plugin offers, and of any component: what shows without training anything."""

from __future__ import annotations

import csv
import importlib.metadata
import inspect
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import tomli_w

from alignzoo.interfaces import Acquisition, FeedbackSource, Filter, ModelSource, Optimizer, Reward, Task, Wrapper
from alignzoo.seam.discovery import HEAVY
from alignzoo.seam.hookspecs import Kind
from alignzoo.seam.settings import SettingsError, build, table_of
from alignzoo.seam.source import file_of
from alignzoo.testing.checks import Failed, NotRun, Subject, check

PROTOCOLS: dict[Kind, type] = {
    "optimizer": Optimizer,
    "reward": Reward,
    "feedback": FeedbackSource,
    "filter": Filter,
    "acquisition": Acquisition,
    "policy": Wrapper,
    "task": Task,
    "model": ModelSource,
}
METHODS = {
    "optimizer": {"improve": 2, "deploy": 2},
    "reward": {"__call__": 2},
    "feedback": {"collect": 1},
    "filter": {"sift": 2},
    "acquisition": {"choose": 3},
    "policy": {"wrap": 1},
    "task": {"prompts": 1},
    "model": {"folder": 0},
}
"""How many arguments each verb is called with."""
AT_MOST = 60
"""Seconds that an import may take."""

QUICK: dict[str, Any] = {
    "batch_size": 8,
    "epochs": 40,
    "updates": 40,
    "rounds": 40,
    "prompts_per_update": 6,
    "replies": 6,
    "n": 6,
    "max_tokens": 6,
    "exploring": {"max_tokens": 6, "unfinished": "ignore"},
    "descent": {"lr": 1e-2, "schedule": "constant", "warmup": 0},
}
"""What makes an optimizer quick on the toy base, where it has a setting of this name that takes the value."""
ONLINE = {**QUICK, "epochs": 1}
"""The same for one that answers prompts itself: its epochs are passes over a round of answers."""

PROBE = """
import json, os, sys, tempfile
sys.path[:] = {path!r}
import alignzoo.seam.hookspecs
heard, told = tempfile.TemporaryFile(), os.dup(1)
os.dup2(heard.fileno(), 1); os.dup2(heard.fileno(), 2)
failed = ""
try:
    __import__({module!r})
except BaseException as error:
    failed = f"{{type(error).__name__}}: {{error}}"
sys.stdout.flush(); sys.stderr.flush(); heard.seek(0)
found = {{"failed": failed, "heavy": [n for n in {heavy!r} if n in sys.modules], "said": heard.read().decode(errors="replace")}}
os.write(told, json.dumps(found).encode())
os._exit(0)
"""


@cache
def _imported(module: str, path: tuple[str, ...]) -> dict[str, Any]:
    """What comes of importing a plugin's module in a process of its own."""
    probe = PROBE.format(path=list(path), module=module, heavy=list(HEAVY))
    try:
        done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=AT_MOST, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"it is not imported after {AT_MOST} seconds", "heavy": [], "said": ""}
    found: dict[str, Any] = json.loads(done.stdout) if done.stdout else {"failed": done.stderr, "heavy": [], "said": ""}
    return found


def _import(subject: Subject) -> dict[str, Any]:
    if not subject.plugin.module:
        raise NotRun("it is no installed plugin")
    return _imported(subject.plugin.module, tuple(sys.path))


# Of a plugin ----------------------------------------------------------------------------------------------------------


@check("plugin", "static")
def imports(subject: Subject) -> None:
    """Its module can be imported in a process of its own, and ends."""
    if failed := _import(subject)["failed"]:
        raise Failed(f"importing {subject.plugin.module} fails: {failed}")


@check("plugin", "static", after=("imports",))
def light(subject: Subject) -> None:
    """Its module imports nothing heavy: listing what is installed must stay quick."""
    if heavy := _import(subject)["heavy"]:
        raise Failed(f"{subject.plugin.module} imports {', '.join(heavy)}; leave that to the module that a component names")


@check("plugin", "static", after=("imports",))
def silent(subject: Subject) -> None:
    """Its module prints nothing when it is imported."""
    if said := _import(subject)["said"].strip():
        raise Failed(f"{subject.plugin.module} says {said[:80]!r} when it is imported; what it has to say belongs in a run")


@check("plugin", "static", after=("imports", "light", "silent"))
def offered(subject: Subject) -> None:
    """Whatever it offers can be used: nothing of it is shown as a fault by `alignzoo list`."""
    if subject.plugin.broken:
        raise Failed("; ".join(f"{fault.reason}. {fault.fix}" for fault in subject.plugin.broken))


@check("plugin", "static", after=("imports",))
def complete(subject: Subject) -> None:
    """The files of its package are those that its distribution lists: nothing was left out of the wheel, nothing slipped in."""
    try:
        listed = importlib.metadata.distribution(subject.plugin.distribution)
    except importlib.metadata.PackageNotFoundError:
        raise NotRun(f"no distribution '{subject.plugin.distribution}' is installed here") from None
    record = listed.read_text("RECORD") or ""  # `files` leaves out those that are missing, from Python 3.12 on
    if '"editable": true' in (listed.read_text("direct_url.json") or "") or not record:
        raise NotRun("it is installed from a folder, not from a wheel")
    package = subject.plugin.module.partition(".")[0]
    root = Path(file_of(package)).parent
    there = {f"{package}/{path.relative_to(root).as_posix()}" for path in root.rglob("*") if path.is_file()}
    there = {name for name in there if "__pycache__" not in name}
    named = {row[0] for row in csv.reader(record.splitlines()) if row and row[0].startswith(f"{package}/")}
    named = {name for name in named if "__pycache__" not in name}
    if not named:
        raise NotRun("it is installed from a folder, not from a wheel")
    if odd := sorted(there ^ named):
        raise Failed(f"{odd[0]} is {'in the folder, not in' if odd[0] in there else 'missing, and listed by'} the distribution")


# Of any component -----------------------------------------------------------------------------------------------------


@check("component", "static")
def loads(subject: Subject) -> None:
    """What it names can be imported and called."""
    if not callable(subject.object):
        raise Failed(f"{subject.found.component.object} is a {type(subject.object).__name__}; it must be a class or a function")


@check("component", "static", after=("loads",))
def made(subject: Subject) -> None:
    """It can be made: by its defaults, or by the settings of its trial."""
    try:
        instance(subject)
    except SettingsError as error:
        raise Failed(
            f"it cannot be made: {'; '.join(error.problems)}. Give it a trial with settings: Component(…, trial='module:name')"
        ) from None


@check("component", "static", after=("made",))
def frozen(subject: Subject) -> None:
    """It is a frozen dataclass, so that a run is what its file says."""
    kind = subject.object
    if not isinstance(kind, type):
        raise NotRun("it is a function, which has no settings")
    if not is_dataclass(kind) or not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise Failed(f"{kind.__name__} is no frozen dataclass; write @dataclass(frozen=True) above it")


@check("component", "static", after=("made", "frozen"))
def settings(subject: Subject) -> None:
    """Its settings, written as TOML and read again, make an equal one."""
    first = instance(subject)
    if not is_dataclass(first):
        raise NotRun("it is a function, which has no settings")
    written = tomli_w.dumps(table_of(first))
    again = build(type(first), tomllib.loads(written))
    changed = [f.name for f in fields(first) if getattr(first, f.name) != getattr(again, f.name)]
    if changed:
        raise Failed(f"{', '.join(changed)}: written to a run file and read again, it is another value")


@check("component", "static", after=("made", "frozen"))
def refuses_unknown(subject: Subject) -> None:
    """A setting that it does not have is refused, in a run file and in Python."""
    kind = subject.object
    if not isinstance(kind, type):
        raise NotRun("it is a function, which has no settings")
    name = "no_such_setting"
    known = dict(subject.trial.settings)
    ways: tuple[tuple[str, Callable[[], Any]], ...] = (
        ("a run file", lambda: build(kind, {**known, name: 1})),
        ("Python", lambda: kind(**{f.name: getattr(instance(subject), f.name) for f in fields(kind) if f.init}, **{name: 1})),
    )
    for where, make in ways:
        try:
            make()
        except (SettingsError, TypeError):
            continue
        raise Failed(f"a setting '{name}' is accepted in {where}: a typing error would go unnoticed")


@check("component", "static", after=("made",))
def protocol(subject: Subject) -> None:
    """It has the methods of its kind, callable with what they are given, and says of itself what its component says."""
    component = subject.found.component
    thing: object = instance(subject)
    wanted = PROTOCOLS.get(component.kind)
    if wanted is None:
        raise NotRun(f"the kit knows no protocol for the kind '{component.kind}'")
    for verb, arguments in METHODS[component.kind].items():
        method = thing if verb == "__call__" else getattr(thing, verb, None)
        if not callable(method):
            raise Failed(f"it has no method '{verb}'")
        try:
            inspect.signature(method).bind(*range(arguments))
        except TypeError as error:
            raise Failed(f"'{verb}' cannot be called with {arguments} arguments: {error}") from None
    if not isinstance(thing, wanted):
        lacking = sorted(name for name in members(wanted) if name not in dir(thing))
        raise Failed(f"it is no {wanted.__name__}: it lacks {', '.join(lacking)}")
    if isinstance(thing, Optimizer) and set(thing.needs) != set(component.needs):
        raise Failed(f"it needs {tuple(thing.needs)}, and its component says needs={component.needs}")
    if isinstance(thing, FeedbackSource) and not set(thing.gives) <= set(component.gives):
        raise Failed(f"it gives {tuple(thing.gives)}, and its component says gives={component.gives}")


def members(kind: type) -> list[str]:
    """The members of a protocol."""
    return [name for name in vars(kind) if not name.startswith("_")]


# Making one -----------------------------------------------------------------------------------------------------------


def instance(subject: Subject) -> Any:
    """The component as its trial sets it, else by its defaults."""
    kind = subject.object
    if not isinstance(kind, type):
        return kind
    if not is_dataclass(kind):
        return kind()
    return build(kind, subject.trial.settings)


def quick(subject: Subject) -> Any:
    """The same, with the settings of `QUICK` that it has and the trial does not name."""
    kind = subject.object
    if not is_dataclass(kind) or not isinstance(kind, type):
        return instance(subject)
    table = dict(subject.trial.settings)
    online = "prompts" in subject.found.component.needs
    for name, value in _had(kind, ONLINE if online else QUICK).items():
        trial = {**table, name: {**value, **table.get(name, {})} if isinstance(value, dict) else table.get(name, value)}
        try:
            build(kind, trial)
        except SettingsError:
            continue
        table = trial
    return build(kind, table)


def _had(kind: type[Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Those of the wanted settings that a dataclass has, however deep."""
    found: dict[str, Any] = {}
    for f in fields(kind):
        default = f.default_factory() if f.default_factory is not MISSING else f.default
        if f.name in wanted:
            nested = isinstance(wanted[f.name], dict)
            if nested and is_dataclass(default):
                found[f.name] = _had(type(default), wanted[f.name])
            elif not nested:
                found[f.name] = wanted[f.name]
    return found
