"""Pages of code that are read and not imported: what a name means on one, through any number of imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from alignzoo.seam.source import file_of


@dataclass(frozen=True)
class Page:
    """A module's source, parsed."""

    module: str
    package: bool
    lines: tuple[str, ...]
    body: tuple[ast.stmt, ...]


def is_dataclass(node: ast.ClassDef) -> bool:
    return any(ast.unparse(mark).split("(")[0].endswith("dataclass") for mark in node.decorator_list)


@cache
def page_of(module: str) -> Page | None:
    path = file_of(module)
    if not path.endswith(".py"):
        return None
    with open(path, encoding="utf-8") as file:
        text = file.read()
    return Page(module, path.endswith("__init__.py"), tuple(text.splitlines()), tuple(ast.parse(text, path).body))


def definition(page: Page, name: str) -> tuple[Page, Any] | None:
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
                        there = page_of(_source_module(page, statement))
                        return definition(there, word.name) if there else None
    return None


def _open(body: tuple[ast.stmt, ...]) -> Iterator[ast.stmt]:
    """The statements of a page, and those under its `if`s."""
    for statement in body:
        yield from _open(tuple(statement.body)) if isinstance(statement, ast.If) else (statement,)


def _source_module(page: Page, statement: ast.ImportFrom) -> str:
    if not statement.level:
        return statement.module or ""
    up = statement.level - 1 if page.package else statement.level
    parts = page.module.split(".")
    return ".".join([*parts[: len(parts) - up], *([statement.module] if statement.module else [])])
