"""What a plugin may count on: the names of the plugin API, with their signatures, read from source. Nothing is imported.

`CONTRACT` says which names they are. `promise` compares them with what was promised before.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from alignzoo.seam.source import file_of

CONTRACT: Mapping[str, tuple[str, ...]] = {
    "alignzoo.seam.hookspecs": (),
    "alignzoo.interfaces": (),
    "alignzoo.records": (),
    "alignzoo.tally": (),
    "alignzoo.limits": ("check_settings",),
    "alignzoo.deprecation": (),
    "alignzoo.model.role": (
        *("Role.base", "Role.name", "Role.parameters", "Role.grow", "Role.head", "Role.read", "Role.logps", "Role.values"),
        *("Role.scores", "Role.sample", "Role.frozen", "Role.digest", "Read", "role_on", "policy_on", "bare_on"),
    ),
    "alignzoo.model.base": ("Base.load", "Base.text", "Base.device", "Base.sampler"),
    "alignzoo.model.text": ("Text.pairs", "Text.replies", "Text.tree", "Text.prompt_ids", "Text.reply_ids", "Text.completion"),
    "alignzoo.model.forest": ("Tree", "Forest", "plant", "joined", "per_reply"),
    "alignzoo.learning.decks": ("Deck",),
    "alignzoo.learning.descent": ("Loss", "Descent", "Step", "DescentError"),
    "alignzoo.learning.intake": ("check_lesson",),
    "alignzoo.learning.memory": ("State", "Tracked", "track", "Dice"),
    "alignzoo.learning.reference": ("Remembered",),
    "alignzoo.learning.rollouts": ("Exploring", "Experience", "Explorer"),
    "alignzoo.learning.credit": (),
    "alignzoo.learning.divergence": (),
    "alignzoo.learning.rewards": ("Scored", "ScoreError", "checked"),
    "alignzoo.testing.toy": ("WORDS", "toy_base", "toy_folder"),
    "alignzoo.testing.conformance": ("conformance",),
    "alignzoo.testing.checks": ("Trial",),
}
"""Pages of the plugin API, and which of their names belong to it; without any, every public one. "Role.logps" is a member."""

VERSION = "alignzoo.seam.hookspecs.API"
"""The number of the contract itself, which is no part of it."""


@dataclass(frozen=True)
class Name:
    """One name. `kind` is protocol, class, dataclass, error, function, method, property, attribute, value or hook; `said` is
    its signature, type or value, as it is written."""

    kind: str
    said: str
    doc: str = ""
    deprecated: str = ""


def surface() -> dict[str, Name]:
    """Every name of the contract, in the order of the pages."""
    found: dict[str, Name] = {}
    for page, chosen in CONTRACT.items():
        names = dict(_page(page))
        known = {name for name in names if _chosen(name, names[name], chosen)}
        if missing := [name for name in chosen if name not in names]:
            raise LookupError(f"{page} has no {', '.join(missing)}, which the contract names (alignzoo.seam.surface.CONTRACT)")
        whole = {name: _bare(names[name]) if _only_members(name, chosen) else names[name] for name in known}
        found |= {f"{page}.{name}": whole[name] for name in names if name in known}
    del found[VERSION]
    return found


def _chosen(name: str, made: Name, chosen: tuple[str, ...]) -> bool:
    """Whether a name belongs to the contract. What an object sets on itself does only where it is asked for by name; a class
    of which only members are chosen does as what they are members of."""
    if name in chosen:
        return True
    if made.kind == "attribute" and not made.said:
        return False
    if not chosen or name.partition(".")[0] in chosen:
        return True
    return _only_members(name, chosen)


def _only_members(name: str, chosen: tuple[str, ...]) -> bool:
    return name not in chosen and any(other.startswith(f"{name}.") for other in chosen)


def _bare(made: Name) -> Name:
    """A class that plugins are given and never make: how it is made is no part of the contract."""
    return replace(made, said="")


def _page(module: str) -> Iterator[tuple[str, Name]]:
    with open(file_of(module), encoding="utf-8") as file:
        body = [node for outer in ast.parse(file.read()).body for node in _inside(outer)]
    for i, node in enumerate(body):
        match node:
            case ast.FunctionDef(name=name) if not name.startswith("_"):
                kind = "hook" if "hookspec" in _marks(node) else "function"
                yield name, Name(kind, _signature(node), _doc(node), _deprecation(node))
            case ast.ClassDef(name=name) if not name.startswith("_"):
                yield from _class(node)
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if not name.startswith("_"):
                yield name, Name("value", ast.unparse(value), _after(body, i))
            case ast.AnnAssign(target=ast.Name(id=name), annotation=kind_of) if not name.startswith("_"):
                yield name, Name("value", ast.unparse(kind_of), _after(body, i))


def _inside(node: ast.stmt) -> list[ast.stmt]:
    """What only checkers of types read belongs to the page."""
    return node.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" else [node]


# Classes ------------------------------------------------------------------------------------------------------------


def _class(node: ast.ClassDef) -> Iterator[tuple[str, Name]]:
    bases = [ast.unparse(base) for base in node.bases]
    inits = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
    if any(base.split("[")[0].endswith("Protocol") for base in bases):
        kind, said = "protocol", ""
    elif any(base.endswith(("Error", "Exception", "Lost")) for base in bases):
        kind, said = "error", f"({', '.join(bases)})"
    elif "dataclass" in _marks(node):
        kind, said = "dataclass", _constructor(node)
    else:
        kind, said = "class", _signature(inits[0], bound=True).partition(" -> ")[0] if inits else "()"
    yield node.name, Name(kind, said, _doc(node), _deprecation(node))
    for init in inits:
        yield from ((f"{node.name}.{name}", made) for name, made in _attributes(init))
    for i, part in enumerate(node.body):
        match part:
            case ast.FunctionDef(name=name) if not name.startswith("_") or name in ("__call__", "__iter__", "__len__"):
                yield f"{node.name}.{name}", _member(part)
            case ast.AnnAssign(target=ast.Name(id=name), annotation=hint) if not name.startswith("_"):
                if kind != "dataclass" or "ClassVar" in ast.unparse(hint):  # its other fields are in its signature
                    yield f"{node.name}.{name}", Name("attribute", ast.unparse(hint), _after(node.body, i))


def _member(node: ast.FunctionDef) -> Name:
    marks = _marks(node)
    if {"property", "cached_property"} & marks:
        return Name("property", ast.unparse(node.returns) if node.returns else "", _doc(node), _deprecation(node))
    return Name("method", _signature(node, bound="staticmethod" not in marks), _doc(node), _deprecation(node))


def _constructor(node: ast.ClassDef) -> str:
    """What a dataclass is made of, as a signature."""
    parts = []
    for field in node.body:
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        hint, default = ast.unparse(field.annotation), ast.unparse(field.value) if field.value else ""
        if not hint.split("[")[0].endswith("ClassVar") and "init=False" not in default:
            parts.append(f"{field.target.id}: {hint}{f' = {default}' if default else ''}")
    return f"({', '.join(parts)})"


def _attributes(init: ast.FunctionDef) -> Iterator[tuple[str, Name]]:
    """What `__init__` sets in the open, also by a tuple of names: `self.base, self.name = base, name`."""
    for node in ast.walk(init):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        parts = [part for target in targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])]
        for part in parts:
            match part:
                case ast.Attribute(value=ast.Name(id="self"), attr=name) if not name.startswith("_"):
                    yield name, Name("attribute", "")


# Small parts --------------------------------------------------------------------------------------------------------


def _signature(node: ast.FunctionDef, bound: bool = False) -> str:
    """As it is written, without the argument that the call is bound to."""
    args = node.args
    if bound:
        first = "posonlyargs" if args.posonlyargs else "args"
        kept = {name: getattr(args, name) for name in args._fields} | {first: getattr(args, first)[1:]}
        args = ast.arguments(**kept)
    return f"({ast.unparse(args)}) -> {ast.unparse(node.returns) if node.returns else 'None'}"


def _marks(node: ast.FunctionDef | ast.ClassDef) -> set[str]:
    """The names of its decorators."""
    return {ast.unparse(mark).partition("(")[0].rpartition(".")[2] for mark in node.decorator_list}


def _deprecation(node: ast.FunctionDef | ast.ClassDef) -> str:
    """What `@deprecated(since, instead)` says of it."""
    for mark in node.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func).rpartition(".")[2] == "deprecated":
            words = [*mark.args, *(keyword.value for keyword in mark.keywords)]
            return "; ".join(str(word.value) for word in words if isinstance(word, ast.Constant))
    return ""


def _doc(node: ast.FunctionDef | ast.ClassDef) -> str:
    return " ".join((ast.get_docstring(node) or "").split())


def _after(body: list[ast.stmt], i: int) -> str:
    """The string below a value."""
    match body[i + 1 : i + 2]:
        case [ast.Expr(value=ast.Constant(value=str(words)))]:
            return " ".join(words.split())
    return ""
