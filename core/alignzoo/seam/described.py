"""The settings of a component, read from its source: nothing is imported, so that `info` is quick and safe.

Follows what a page of code says plainly: names it imports, aliases (`Positive = Annotated[float, Gt(0)]`), nested
dataclasses, and the string or comment after a field. What is computed is shown as it is written.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from alignzoo.seam.source import file_of

SIGNS = {"Gt": ">", "Ge": ">=", "Lt": "<", "Le": "<=", "gt": ">", "ge": ">=", "lt": "<", "le": "<="}


@dataclass(frozen=True)
class Setting:
    """One hyper-parameter, in text. `default` is empty where it must be given; `name` is dotted for a nested one."""

    name: str
    type: str
    default: str
    range: str
    doc: str


@dataclass(frozen=True)
class _Page:
    """A module's source, parsed."""

    module: str
    package: bool
    lines: tuple[str, ...]
    body: tuple[ast.stmt, ...]


@dataclass(frozen=True)
class _Type:
    """An annotation with its aliases resolved."""

    text: str
    range: str = ""
    page: _Page | None = None
    fields: ast.ClassDef | None = None


def describe(kind: type[Any]) -> list[Setting]:
    """The settings of a dataclass."""
    return described(f"{kind.__module__}:{kind.__qualname__}")


def described(name: str) -> list[Setting]:
    """The settings of the dataclass "module:attribute"; none where its source does not show them."""
    module, _, attribute = name.partition(":")
    page = _page(module)
    place = _definition(page, attribute) if page else None
    if place is None or not isinstance(place[1], ast.ClassDef):
        return []
    return list(_settings(place[0], place[1], "", {}))


def _settings(page: _Page, kind: ast.ClassDef, above: str, given: dict[str, ast.expr]) -> Iterator[Setting]:
    """The fields of one dataclass; `given` are the defaults that an outer one chose for them."""
    for i, field in enumerate(kind.body):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if ast.unparse(field.annotation).split("[")[0].endswith("ClassVar"):
            continue
        name, default = field.target.id, given.get(field.target.id, field.value)
        known = _type(page, field.annotation)
        if known.page and known.fields:
            chosen = {word.arg: word.value for word in default.keywords if word.arg} if isinstance(default, ast.Call) else {}
            yield from _settings(known.page, known.fields, f"{above}{name}.", chosen)
        else:
            doc = _doc(page, field, kind.body[i + 1] if i + 1 < len(kind.body) else None)
            yield Setting(f"{above}{name}", known.text, _default(page, default), known.range, doc)


# Types --------------------------------------------------------------------------------------------------------------


def _type(page: _Page, node: ast.expr) -> _Type:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _type(page, ast.parse(node.value, mode="eval").body)
    if isinstance(node, ast.Name):
        return _named(page, node.id)
    if isinstance(node, ast.Subscript):
        return _subscripted(page, node)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        left, right = _type(page, node.left), _type(page, node.right)
        return _Type(f"{left.text} | {right.text}", left.range or right.range)
    return _Type(ast.unparse(node))


def _named(page: _Page, name: str) -> _Type:
    place = _definition(page, name)
    if place is None:
        return _Type(name)
    there, node = place
    if isinstance(node, ast.ClassDef):
        return _Type(name, page=there, fields=node if _is_dataclass(node) else None)
    return _type(there, node)


def _subscripted(page: _Page, node: ast.Subscript) -> _Type:
    base = ast.unparse(node.value).rpartition(".")[2]
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if base == "Annotated":
        inner = _type(page, parts[0])
        limits = [inner.range, *(_limit(part) for part in parts[1:])]
        return _Type(inner.text, ", ".join(limit for limit in limits if limit), inner.page, inner.fields)
    if base == "Literal":
        return _Type(" | ".join(ast.unparse(part).replace("'", '"') for part in parts))
    inside = [_type(page, part) for part in parts]
    ranges = [part.range for part in inside if part.range]
    texts = ", ".join(
        "..." if isinstance(p, ast.Constant) and p.value is ... else t.text for p, t in zip(parts, inside, strict=True)
    )
    return _Type(f"{base}[{texts}]", ranges[0] if ranges else "")


def _limit(node: ast.expr) -> str:
    """`Gt(0)` as "> 0"; metadata that is no limit is not shown."""
    if not isinstance(node, ast.Call):
        return ""
    name = ast.unparse(node.func).rpartition(".")[2]
    if name in SIGNS and node.args:
        return f"{SIGNS[name]} {ast.unparse(node.args[0]).removeprefix('math.')}"
    if name == "Interval":
        return ", ".join(f"{SIGNS[word.arg]} {ast.unparse(word.value)}" for word in node.keywords if word.arg in SIGNS)
    return ast.unparse(node) if name in ("MultipleOf", "MinLen", "MaxLen", "Len", "Predicate") else ""


# Defaults and words -------------------------------------------------------------------------------------------------


def _default(page: _Page, node: ast.expr | None) -> str:
    if node is None:
        return ""
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "field":
        words = {word.arg: word.value for word in node.keywords}
        if "default" in words:
            return _default(page, words["default"])
        return f"{ast.unparse(words['default_factory'])}()" if "default_factory" in words else ""
    if isinstance(node, ast.Name) and (place := _definition(page, node.id)) and isinstance(place[1], ast.Constant):
        node = place[1]
    return ast.unparse(node).replace("'", '"') if isinstance(node, ast.Constant) else ast.unparse(node)


def _doc(page: _Page, field: ast.AnnAssign, after: ast.stmt | None) -> str:
    """The string that follows a field, or the comment at the end of its line."""
    if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
        return " ".join(after.value.value.split())
    rest = page.lines[(field.end_lineno or field.lineno) - 1].encode()[field.end_col_offset :].decode()
    return rest.partition("#")[2].strip()


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any(ast.unparse(mark).split("(")[0].endswith("dataclass") for mark in node.decorator_list)


# Pages --------------------------------------------------------------------------------------------------------------


@cache
def _page(module: str) -> _Page | None:
    path = file_of(module)
    if not path.endswith(".py"):
        return None
    with open(path, encoding="utf-8") as file:
        text = file.read()
    return _Page(module, path.endswith("__init__.py"), tuple(text.splitlines()), tuple(ast.parse(text, path).body))


def _definition(page: _Page, name: str) -> tuple[_Page, Any] | None:
    """Where a name is defined, through any number of imports: the page, and the class or the expression there."""
    for statement in _open(page.body):
        match statement:
            case ast.ClassDef() if statement.name == name:
                return page, statement
            case ast.Assign(targets=[ast.Name(id=alias)], value=value) if alias == name:
                return page, value
            case ast.AnnAssign(target=ast.Name(id=alias), value=ast.expr() as value) if alias == name:
                return page, value
            case ast.ImportFrom(names=names):
                for word in names:
                    if name == (word.asname or word.name):
                        there = _page(_source_module(page, statement))
                        return _definition(there, word.name) if there else None
    return None


def _open(body: tuple[ast.stmt, ...]) -> Iterator[ast.stmt]:
    """The statements of a page, and those under its `if`s."""
    for statement in body:
        yield from _open(tuple(statement.body)) if isinstance(statement, ast.If) else (statement,)


def _source_module(page: _Page, statement: ast.ImportFrom) -> str:
    if not statement.level:
        return statement.module or ""
    up = statement.level - 1 if page.package else statement.level
    parts = page.module.split(".")
    return ".".join([*parts[: len(parts) - up], *([statement.module] if statement.module else [])])
