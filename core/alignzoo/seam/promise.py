"""What was promised to plugins, and whether it is kept: the surface as it was, beside the surface as it is.

A promise is `docs/reference/plugin-api.json`: it grows with every minor version, and shrinks with none.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from alignzoo.seam.surface import Name

CALLED = ("function", "method", "dataclass", "class", "hook")
"""Kinds whose `said` is a signature."""


@dataclass(frozen=True)
class Change:
    """How one name differs from what was promised. One that `breaks` would stop somebody's plugin from working."""

    name: str
    what: str
    breaks: bool

    def __str__(self) -> str:
        return f"{self.name}: {self.what}"


@dataclass(frozen=True)
class Promised:
    """One name as it was promised, and the version of the plugin API that it came with."""

    kind: str
    said: str
    since: str


def read(text: str) -> dict[str, Promised]:
    """The promise of a file."""
    return {name: Promised(**made) for name, made in json.loads(text)["names"].items()}


def written(promise: Mapping[str, Promised]) -> str:
    """The file of a promise."""
    return json.dumps({"names": {name: asdict(made) for name, made in promise.items()}}, indent=1, ensure_ascii=False) + "\n"


def renewed(promise: Mapping[str, Promised], now: Mapping[str, Name], version: str) -> dict[str, Promised]:
    """The promise with everything that is there now, what is new since this version; what is gone or narrower stays as it was
    promised, to be told of."""
    broken = {change.name for change in changes(promise, now) if change.breaks}
    kept = {name: made for name, made in promise.items() if name not in now}
    for name, made in now.items():
        since = promise[name].since if name in promise else version
        kept[name] = promise[name] if name in broken and name in promise else Promised(made.kind, made.said, since)
    return kept


def changes(promise: Mapping[str, Promised], now: Mapping[str, Name]) -> list[Change]:
    """Everything in which the surface differs from what was promised."""
    found = [Change(name, "it is gone", True) for name in promise if name not in now]
    for name, made in now.items():
        if name not in promise:
            within = promise.get(name.rpartition(".")[0])
            unmet = within is not None and within.kind == "protocol"
            found.append(Change(name, "a new demand of an old protocol, which no old plugin meets" if unmet else "new", unmet))
        elif promise[name].kind != made.kind:
            found.append(Change(name, f"it was a {promise[name].kind} and is a {made.kind}", True))
        elif promise[name].said != made.said:
            demanded = promise.get(name.rpartition(".")[0], Promised("", "", "")).kind == "protocol"
            found += _differences(name, promise[name], made, demanded)
    return found


def _differences(name: str, old: Promised, new: Name, demanded: bool) -> Iterator[Change]:
    if demanded:
        yield Change(name, f"plugins have it as {old.said}, and now it is to be {new.said}", True)
    elif old.kind in CALLED:
        yield from (Change(name, what, breaks) for what, breaks in _calls(old.said, new.said, old.kind))
    elif lost := _choices(old.said) - _choices(new.said):
        yield Change(name, f"it was {old.said}, and is {new.said} (without {', '.join(sorted(lost))})", True)
    else:
        yield Change(name, f"it is wider: {new.said}", False)


def _choices(said: str) -> set[str]:
    """The alternatives of a type: the words of a Literal, the arms of a union; anything else is one of its own."""
    node: ast.expr = ast.parse(said or "None", mode="eval").body
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
        words = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return {ast.unparse(word) for word in words}
    arms = set()
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        arms.add(ast.unparse(node.right))
        node = node.left
    return arms | {ast.unparse(node)}


# Signatures ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Parameter:
    name: str
    hint: str
    default: str
    place: int
    """Its place among those that can be given by place; -1 for one that is given by name only."""


def _calls(old: str, new: str, kind: str) -> Iterator[tuple[str, bool]]:
    """Whether every call that was right is right still. A hook is called by us, with what it wants to hear."""
    before, after = _parameters(old), _parameters(new)
    for name, parameter in before.items():
        if name not in after:
            yield f"its parameter '{name}' is gone", True
            continue
        now = after[name]
        if now.place != parameter.place and not (parameter.place < 0 <= now.place):
            yield f"its parameter '{name}' has another place", True
        if now.hint != parameter.hint:
            wider = parameter.hint and _choices(parameter.hint) <= _choices(now.hint)
            yield f"its parameter '{name}' was of {parameter.hint or 'any type'}, and is of {now.hint or 'any type'}", not wider
        if now.default != parameter.default:
            yield (
                f"its parameter '{name}' had the default {parameter.default or '(none)'}, and has {now.default or 'none'}",
                True,
            )
    for name in after.keys() - before.keys():
        required = not after[name].default and not name.startswith("*") and kind != "hook"
        yield f"a new parameter '{name}'{' that must be given' if required else ''}", required
    if old.partition(" -> ")[2] != new.partition(" -> ")[2]:
        yield f"it gave {old.partition(' -> ')[2]}, and gives {new.partition(' -> ')[2]}", True


def _parameters(said: str) -> dict[str, _Parameter]:
    head, arrow, result = said.rpartition(" -> ")
    source = f"def f{head} -> {result}: ..." if arrow else f"def f{said or '()'}: ..."
    [function] = ast.parse(source).body
    args: Any = getattr(function, "args")  # noqa: B009 (a function, by its first word)
    placed = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(placed) - len(args.defaults)) + args.defaults
    found = [(arg, default, i) for i, (arg, default) in enumerate(zip(placed, defaults, strict=True))]
    found += [(arg, default, -1) for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    known = {arg.arg: _Parameter(arg.arg, _text(arg.annotation), _text(default), place) for arg, default, place in found}
    for star, arg in (("*", args.vararg), ("**", args.kwarg)):
        if arg is not None:
            known[star + arg.arg] = _Parameter(star + arg.arg, _text(arg.annotation), "", -1)
    return known


def _text(node: ast.expr | None) -> str:
    return ast.unparse(node) if node else ""
