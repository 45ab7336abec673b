"""A table of a TOML file <-> a frozen dataclass, strictly: what a file says is what a run does.

An unknown key, a missing one, a wrong type or a value out of range is a problem; all problems of a table are reported
together. Types: bool, int, float, str, Path, Literal, nested dataclasses, unions (`| None` is written "none"), tuples,
mappings from str; ranges in `Annotated` with `annotated_types`. Whatever other metadata says is not looked at.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from alignzoo.seam.nearest import near

T = TypeVar("T")
NONE = "none"
NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}


class SettingsError(ValueError):
    """Everything that is wrong with a table, one problem a line."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class _Walk:
    """One walk through a table, gathering the problems on its way. Where there is one, the value returned means
    nothing."""

    file: str
    problems: list[str]

    def wrong(self, at: str, message: str) -> None:
        place = ": ".join(part for part in (self.file, at) if part)
        self.problems.append(f"{place}: {message}" if place else message)

    def table(self, kind: type[Any], table: Any, at: str) -> Any:
        """An instance of the dataclass `kind`."""
        if not isinstance(table, Mapping):
            return self.wrong(at, f"must be a table; got {_shown(table)}")
        before = len(self.problems)
        known = {f.name: f for f in fields(kind) if f.init}
        for name in table:
            if name not in known:
                self.wrong(_below(at, name), f"no such setting{_meant(name, list(known))}")
        for name, f in known.items():
            if name not in table and _required(f):
                self.wrong(_below(at, name), "missing, and it has no default")
        hints = _hints(kind)
        given = {name: _over_default(f, hints[name], table[name]) for name, f in known.items() if name in table}
        values = {
            name: raw if _endless(raw) and raw == known[name].default else self.value(hints[name], raw, _below(at, name))
            for name, raw in given.items()
        }
        if len(self.problems) > before:
            return None
        try:
            return kind(**values)
        except ValueError as error:
            return self.wrong(at, str(error))

    def value(self, hint: Any, raw: Any, at: str) -> Any:
        """A value of the type `hint`, within its limits."""
        if get_origin(hint) is Annotated:
            from alignzoo.limits import broken_limit, names  # late: the registry has no limits, and listing is quick

            inner, *limits = get_args(hint)
            if inner is float and _endless(raw) and names(limits, raw):
                return raw
            before = len(self.problems)
            value = self.value(inner, raw, at)
            if len(self.problems) == before and value is not None and (broken := broken_limit(value, limits)):
                return self.wrong(at, f"{broken}; got {_shown(raw)}")
            return value
        if get_origin(hint) in (Union, UnionType):
            return self.union(get_args(hint), raw, at)
        if is_dataclass(hint) and isinstance(hint, type):
            return self.table(hint, raw, at)
        if get_origin(hint) is tuple:
            return self.row(get_args(hint), raw, at)
        if _is_mapping(hint):
            return self.mapping(get_args(hint)[1], raw, at)
        return self.leaf(hint, raw, at)

    def union(self, arms: tuple[Any, ...], raw: Any, at: str) -> Any:
        """The one arm that takes the value. None is the word "none", where no other arm would take that word."""
        whole = [arm for arm in arms if arm is not NoneType]
        trials = [(arm, *_tried(arm, raw, self.file, at)) for arm in whole]
        good = [(arm, value) for arm, value, problems in trials if not problems]
        if raw == NONE and NoneType in arms and not good:
            return None
        exact = [(arm, value) for arm, value in good if type(raw) is _bare(arm)] or good
        if len(exact) > 1 and isinstance(raw, Mapping):
            names = " and ".join(_name(arm) for arm, _ in exact)
            return self.wrong(at, f"can mean {names}; give it a setting that only one of them has")
        if exact:
            return exact[0][1]
        fitting = [problems for arm, _, problems in trials if _akin(raw, _bare(arm))]
        if len(fitting) == 1:
            return self.problems.extend(fitting[0])
        names = " or ".join([_name(arm) for arm in whole] + ([f'"{NONE}"'] if NoneType in arms else []))
        return self.wrong(at, f"must be {names}; got {_shown(raw)}")

    def row(self, items: tuple[Any, ...], raw: Any, at: str) -> Any:
        if not isinstance(raw, list | tuple):
            return self.wrong(at, f"must be a list; got {_shown(raw)}")
        if len(items) == 2 and items[1] is Ellipsis:
            items = (items[0],) * len(raw)
        if len(items) != len(raw):
            return self.wrong(at, f"must be a list of {len(items)}; got {len(raw)}")
        pairs = enumerate(zip(items, raw, strict=True))
        return tuple(self.value(item, part, f"{at}[{i}]") for i, (item, part) in pairs)

    def mapping(self, item: Any, raw: Any, at: str) -> Any:
        if not isinstance(raw, Mapping):
            return self.wrong(at, f"must be a table; got {_shown(raw)}")
        return {name: self.value(item, part, _below(at, name)) for name, part in raw.items()}

    def leaf(self, hint: Any, raw: Any, at: str) -> Any:
        if hint is Any:
            return raw
        if get_origin(hint) is Literal:
            choices = get_args(hint)
            if any(raw == choice and type(raw) is type(choice) for choice in choices):
                return raw
            return self.wrong(at, f"must be {_name(hint)}; got {_shown(raw)}{_meant(raw, choices, only_near=True)}")
        if hint not in NAMES:
            raise TypeError(f"{at}: settings cannot be of the type {hint}; see alignzoo.seam.settings for those that can")
        if type(raw) is int and not -(2**63) <= raw < 2**63:  # TOML's own limit, which Python's reader does not keep
            return self.wrong(at, f"must be below 2⁶³ in size; got a number of {raw.bit_length()} bits")
        if hint is float and type(raw) is int:
            return float(raw)
        if hint is Path and isinstance(raw, str):
            return Path(raw)
        if type(raw) is not hint:
            exact = f"; write {int(raw)}" if hint is int and isinstance(raw, float) and raw.is_integer() else ""
            return self.wrong(at, f"must be {NAMES[hint]}; got {_shown(raw)}{exact}")
        if isinstance(raw, float) and math.isnan(raw):
            return self.wrong(at, "must be a number; got nan")
        if _endless(raw):  # computed with, it would make numbers that are none, long after the model was loaded
            return self.wrong(at, f"must be a number with an end; got {raw}")
        return raw


def build(kind: type[T], table: Mapping[str, Any], where: str = "", *, file: str = "") -> T:
    """The dataclass that a table describes. `where` is the table's own place in the file ("optimizer"). Raises one
    `SettingsError` with every problem."""
    walk = _Walk(file, [])
    made = walk.table(kind, table, where)
    if walk.problems:
        raise SettingsError(*walk.problems)
    return cast(T, made)


def table_of(instance: Any) -> dict[str, Any]:
    """Every setting, defaults included, as a table that TOML can write and `build` reads back to an equal instance.
    Left out: a default of None where "none" would be read as text."""
    hints = _hints(type(instance))
    table = {}
    for f in (f for f in fields(instance) if f.init):
        value = getattr(instance, f.name)
        if value is not None or not _takes_word(hints[f.name], NONE):
            table[f.name] = _written(value)
        elif f.default is not None:
            raise SettingsError(f'{f.name}: None cannot be written here, where "{NONE}" is a text like others')
    return table


def override(table: Mapping[str, Any], setting: str) -> dict[str, Any]:
    """A copy of the table with one setting replaced: "optimizer.beta=0.2". The value is TOML; a bare word is text."""
    path, equals, text = setting.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(re.fullmatch(r"[A-Za-z0-9_-]+", key) for key in keys):
        raise SettingsError(f"--set {setting}: write it as table.name=value, for example optimizer.beta=0.2")
    return cast(dict[str, Any], _replaced(table, keys, _parsed(text.strip(), setting), (), setting))


# Small parts --------------------------------------------------------------------------------------------------------


def _replaced(tree: Any, keys: list[str], value: Any, above: tuple[str, ...], setting: str) -> Any:
    if not keys:
        return value
    key, *rest = keys
    if isinstance(tree, list):
        if not key.isdigit() or int(key) >= len(tree):
            raise SettingsError(f"--set {setting}: '{'.'.join(above)}' is a list of {len(tree)}; '{key}' is not in it")
        changed = _replaced(tree[int(key)], rest, value, (*above, key), setting)
        return [changed if i == int(key) else item for i, item in enumerate(tree)]
    if not isinstance(tree, Mapping):
        raise SettingsError(f"--set {setting}: '{'.'.join(above)}' is {_shown(tree)}, not a table")
    return {**tree, key: _replaced(tree.get(key, {}), rest, value, (*above, key), setting)}


def _parsed(text: str, setting: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError) as error:
        if not text or text[0] in "\"'[{" or not text.isprintable():
            raise SettingsError(f"--set {setting}: the value is not TOML: {error}") from None
        return text
    if len(parsed) > 1:
        raise SettingsError(f"--set {setting}: one setting at a time")
    return parsed["value"]


def _written(value: Any) -> Any:
    if value is None:
        return NONE
    if is_dataclass(value):
        return table_of(value)
    if isinstance(value, tuple):
        return [_written(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _written(item) for name, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def _takes_word(hint: Any, word: str) -> bool:
    arms = get_args(_unannotated(hint)) if get_origin(_unannotated(hint)) in (Union, UnionType) else ()
    return any(not _tried(arm, word, "", "")[1] for arm in arms if arm is not NoneType)


def _tried(arm: Any, raw: Any, file: str, at: str) -> tuple[Any, list[str]]:
    walk = _Walk(file, [])
    return walk.value(arm, raw, at), walk.problems


_READ: dict[type[Any], dict[str, Any]] = {}


def _hints(kind: type[Any]) -> dict[str, Any]:
    """The types of a dataclass's fields. Read once: a registry has hundreds of tables of one kind."""
    if kind not in _READ:
        try:
            _READ[kind] = get_type_hints(kind, include_extras=True)
        except NameError as error:
            raise TypeError(f"the settings of {kind.__name__} cannot be read: {error}; import that type at run time") from None
    return _READ[kind]


def _over_default(f: Field[Any], hint: Any, raw: Any) -> Any:
    """A nested table changes what it names; for the rest, what the outer dataclass chose as its default stays."""
    default = f.default_factory() if f.default_factory is not MISSING else f.default
    if isinstance(raw, Mapping) and is_dataclass(default) and _unannotated(hint) is type(default):
        return _laid_over(table_of(default), raw)
    return raw


def _laid_over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = {name for name in over if isinstance(over[name], Mapping) and isinstance(under.get(name), Mapping)}
    return {**under, **over, **{name: _laid_over(under[name], over[name]) for name in both}}


def _endless(raw: Any) -> bool:
    """An infinite number. It is taken where it is the setting's default, or one of its limits: Le(math.inf)."""
    return isinstance(raw, float) and math.isinf(raw)


def _required(f: Field[Any]) -> bool:
    return f.default is MISSING and f.default_factory is MISSING


def _unannotated(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _bare(hint: Any) -> Any:
    inner = _unannotated(hint)
    return get_origin(inner) or inner


def _akin(raw: Any, kind: Any) -> bool:
    """Whether a value was meant for this type, though it may break its limits."""
    if isinstance(raw, Mapping):
        return is_dataclass(kind) or _is_mapping(kind)
    return type(raw) is kind or (type(raw) is int and kind is float) or (isinstance(raw, list) and kind is tuple)


def _is_mapping(hint: Any) -> bool:
    origin = get_origin(hint) or hint
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _name(hint: Any) -> str:
    inner = _unannotated(hint)
    if get_origin(inner) is Literal:
        return " or ".join(_shown(choice) for choice in get_args(inner))
    if get_origin(inner) is tuple:
        return "a list"
    return NAMES.get(inner) or f"a table ({getattr(inner, '__name__', inner)})"


def _meant(name: Any, known: Any, only_near: bool = False) -> str:
    words = [word for word in known if isinstance(word, str)]
    if isinstance(name, str) and (close := near(name, words)):
        return f"; did you mean '{close}'?"
    return "" if only_near or not words else f"; there is {', '.join(words)}"


def _below(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _shown(value: Any) -> str:
    """A value as it would stand in the file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return "a table" if isinstance(value, Mapping) else f"{value}"
