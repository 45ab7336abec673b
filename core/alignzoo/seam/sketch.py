"""The settings of a component as a dataclass that is made from its source: enough to see that a table is wrong before anything
heavy is imported.

A field whose type or default the page does not say plainly takes anything; a class that is no plain dataclass has no sketch.
What only the component itself can tell (in its `__post_init__`, from its files) it tells when it is made.
"""

from __future__ import annotations

import ast
import dataclasses
import math
from collections.abc import Mapping
from functools import cache, reduce
from operator import or_
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal

import annotated_types

from alignzoo.seam.pages import Page, definition, is_dataclass, page_of

_WORDS: Mapping[str, Any] = {"bool": bool, "int": int, "float": float, "str": str, "Path": Path, "None": None}
_LIMITS = ("Gt", "Ge", "Lt", "Le", "Interval", "MultipleOf", "MinLen", "MaxLen", "Len")


_SILENT: Mapping[str, Any] = {"needs": (), "asks": ()}
"""What a component that does not say it plainly is taken to say: nothing is refused for that."""


class _Unsaid(Exception):
    """The page does not say it plainly."""


def sketch(name: str) -> type[Any] | None:
    """The dataclass "module:attribute" with its fields, and with what it says of itself in class variables; None where its
    source does not show it."""
    module, _, attribute = name.partition(":")
    try:
        page = page_of(module)
        place = definition(page, attribute) if page else None
        return _drawn(*place) if place and isinstance(place[1], ast.ClassDef) else None
    except (SyntaxError, _Unsaid):
        return None


@cache
def _drawn(page: Page, kind: ast.ClassDef) -> type[Any]:
    if kind.bases or kind.keywords or not is_dataclass(kind):
        raise _Unsaid
    rows: list[tuple[str, Any, Any]] = []
    said: dict[str, Any] = dict(_SILENT)
    for statement in kind.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=hint) if _word(hint) == "ClassVar":
                said |= _told(page, name, statement.value)
            case ast.AnnAssign(target=ast.Name(id=name), annotation=hint) if _word(hint) not in ("InitVar", "KW_ONLY"):
                rows.append((name, *_field(page, hint, statement.value)))
            case ast.Expr() | ast.FunctionDef() | ast.Assign() | ast.Pass():
                pass
            case _:  # what an `if` adds is not known
                raise _Unsaid
    return dataclasses.make_dataclass(kind.name, rows, namespace=said, frozen=True, kw_only=True)


def _told(page: Page, name: str, node: ast.expr | None) -> dict[str, Any]:
    try:
        return {name: _value(page, node)}
    except _Unsaid:
        return {}


def _field(page: Page, hint: ast.expr, default: ast.expr | None) -> tuple[Any, Any]:
    """A field's type, and how it is made; where either is not said, what takes anything."""
    if default is None:
        return _plainly(page, hint), dataclasses.field()
    try:
        value = _value(page, default)
        return _plainly(page, hint), dataclasses.field(default_factory=lambda: value)
    except _Unsaid:
        if isinstance(default, ast.Call) and any(word.arg == "init" for word in default.keywords):
            raise
        return Any, dataclasses.field(default=None)


def _plainly(page: Page, node: ast.expr) -> Any:
    try:
        return _hint(page, node)
    except _Unsaid:
        return Any


def _hint(page: Page, node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Constant(value=str() as text):
            return _hint(page, ast.parse(text, mode="eval").body)
        case ast.Name(id=name):
            return _named(page, name)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _hint(page, left) | _hint(page, right)
        case ast.Subscript():
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            return _subscripted(page, _word(node), parts)
    raise _Unsaid


def _named(page: Page, name: str) -> Any:
    own = any(isinstance(statement, ast.ClassDef) and statement.name == name for statement in page.body)
    if name in _WORDS and not own:
        return _WORDS[name]
    there, node = definition(page, name) or (page, None)
    if isinstance(node, ast.ClassDef):
        return _drawn(there, node)
    if isinstance(node, ast.expr):
        return _hint(there, node)
    raise _Unsaid


def _subscripted(page: Page, word: str, parts: list[ast.expr]) -> Any:
    if word == "Annotated":
        limits = [limit for part in parts[1:] if (limit := _limit(page, part)) is not None]
        return Annotated[(_hint(page, parts[0]), *limits)] if limits else _hint(page, parts[0])
    if word == "Literal":
        return Literal[tuple(_value(page, part) for part in parts)]
    if word in ("Union", "Optional"):
        arms = [*(_hint(page, part) for part in parts), *([NoneType] if word.startswith("O") else [])]
        return reduce(or_, arms)
    if word == "tuple":
        items = [... if isinstance(part, ast.Constant) and part.value is ... else _hint(page, part) for part in parts]
        return tuple[tuple(items)]  # type: ignore[misc]
    if word in ("Mapping", "dict") and len(parts) == 2:
        return Mapping[str, _plainly(page, parts[1])]  # type: ignore[misc]
    raise _Unsaid


def _limit(page: Page, node: ast.expr) -> Any:
    """A limit of `annotated_types`; None for any other, which nobody keeps."""
    if not isinstance(node, ast.Call) or _word(node.func) not in _LIMITS:
        return None
    words = {word.arg: _value(page, word.value) for word in node.keywords if word.arg}
    return getattr(annotated_types, _word(node.func))(*(_value(page, part) for part in node.args), **words)


def _value(page: Page, node: ast.expr | None) -> Any:
    """A literal, a number without end, a name of one, or a dataclass made of such."""
    match node:
        case ast.Attribute(value=ast.Name(id="math"), attr="inf"):
            return math.inf
        case ast.Name(id=name) if (place := definition(page, name)) and isinstance(place[1], ast.expr):
            return _value(*place)
        case ast.Call(func=ast.Name(id=name), args=given, keywords=words) if place := definition(page, name):
            if not isinstance(place[1], ast.ClassDef) or not all(word.arg for word in words):
                raise _Unsaid
            drawn = _drawn(*place)
            names = [field.name for field in dataclasses.fields(drawn)]
            made = dict(zip(names, (_value(page, part) for part in given), strict=False))
            try:
                return drawn(**made, **{str(word.arg): _value(page, word.value) for word in words})
            except TypeError:
                raise _Unsaid from None
        case ast.expr():
            try:
                return ast.literal_eval(node)
            except (ValueError, TypeError):
                raise _Unsaid from None
    raise _Unsaid


def _word(node: ast.expr) -> str:
    """Its name without what is before and behind: `Literal` of `typing.Literal["a"]`."""
    return ast.unparse(node).partition("[")[0].rpartition(".")[2]
