"""The settings of a component, read from its source: nothing is imported, so that `info` is quick and safe.

Follows what a page of code says plainly: names it imports, aliases (`Positive = Annotated[float, Gt(0)]`), nested
dataclasses, and the string or comment after a field. What is computed is shown as it is written.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from alignzoo.seam.pages import Page, definition, is_dataclass, page_of

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
class _Type:
    """An annotation with its aliases resolved."""

    text: str
    range: str = ""
    page: Page | None = None
    fields: ast.ClassDef | None = None


def describe(kind: type[Any]) -> list[Setting]:
    """The settings of a dataclass."""
    return described(f"{kind.__module__}:{kind.__qualname__}")


def described(name: str) -> list[Setting]:
    """The settings of the dataclass "module:attribute"; none where its source does not show them."""
    module, _, attribute = name.partition(":")
    page = page_of(module)
    place = definition(page, attribute) if page else None
    if place is None or not isinstance(place[1], ast.ClassDef):
        return []
    return list(_settings(place[0], place[1], "", {}))


def _settings(page: Page, kind: ast.ClassDef, above: str, given: dict[str, ast.expr]) -> Iterator[Setting]:
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


def _type(page: Page, node: ast.expr) -> _Type:
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


def _named(page: Page, name: str) -> _Type:
    place = definition(page, name)
    if place is None:
        return _Type(name)
    there, node = place
    if isinstance(node, ast.ClassDef):
        return _Type(name, page=there, fields=node if is_dataclass(node) else None)
    return _type(there, node)


def _subscripted(page: Page, node: ast.Subscript) -> _Type:
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


def _default(page: Page, node: ast.expr | None) -> str:
    if node is None:
        return ""
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "field":
        words = {word.arg: word.value for word in node.keywords}
        if "default" in words:
            return _default(page, words["default"])
        return f"{ast.unparse(words['default_factory'])}()" if "default_factory" in words else ""
    if isinstance(node, ast.Name) and (place := definition(page, node.id)) and isinstance(place[1], ast.Constant):
        node = place[1]
    return ast.unparse(node).replace("'", '"') if isinstance(node, ast.Constant) else ast.unparse(node)


def _doc(page: Page, field: ast.AnnAssign, after: ast.stmt | None) -> str:
    """The string that follows a field, or the comment at the end of its line."""
    if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
        return " ".join(after.value.value.split())
    rest = page.lines[(field.end_lineno or field.lineno) - 1].encode()[field.end_col_offset :].decode()
    return rest.partition("#")[2].strip()
