"""TOML that is written plainly, as a registry is: `key = "text"` and `key = ["text", "text"]`, under [[headings]].

`tomllib` and the checks of `settings` take three times as long as all else that `alignzoo search` does. What is written in
any other way is left to them, and so is every mistake: they say what is wrong, and where.
"""

from __future__ import annotations

from alignzoo.seam.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from typing import Any

    Row = dict[str, Any]


def tables(written: bytes, lists: Container[str]) -> list[tuple[str, Row]] | None:
    """Every table with its heading, in the order of the file; first what stands above all headings, under "". The keys in
    `lists` have lists, the others texts. None where something is not plain, or not so."""
    row: Row = {}
    found, latest, known = [("", row)], {"": row}, set[str]()
    try:
        text = written.decode()
    except UnicodeDecodeError:
        return None
    if not text.replace("\n", "").isprintable() or "\\" in text:
        return None
    lines = iter(text.split("\n"))
    for line in lines:
        if not line or line[0] == "#":
            continue
        if line[:2] == "[[" and line[-2:] == "]]":
            above, _, last = line[2:-2].rpartition(".")
            if not _is_key(last) or last in latest.get(above, [last]):
                return None
            row = latest[line[2:-2]] = {}
            found.append((line[2:-2], row))
            continue
        key, equals, said = line.partition(" = ")
        value = _text(said) if key not in lists else _list(lines) if said == "[" else _items(said)
        if not equals or value is None or key in row or not (key in known or _is_key(key)):
            return None
        known.add(key)
        row[key] = value
    return found


def _is_key(key: str) -> bool:
    return key.isascii() and key.replace("-", "_").isidentifier()


def _text(said: str) -> str | None:
    return said[1:-1] if said[:1] == said[-1:] == '"' and said.count('"') == 2 else None


def _items(said: str) -> tuple[str, ...] | None:
    if said[:2] != '["' or said[-2:] != '"]':
        return () if said == "[]" else None
    items = said[2:-2].split('", "')
    return None if said.count('"') > 2 * len(items) else tuple(items)


def _list(lines: Iterator[str]) -> tuple[str, ...] | None:
    """A list that goes over several lines, each of which ends in a comma."""
    found: tuple[str, ...] = ()
    for line in lines:
        if line == "]":
            return found
        more = _items(f"[{line.strip(' ').removesuffix(',')}]") if line.endswith('",') else None
        if more is None:
            return None
        found += more
    return None
