"""New plugins: small ones that work, written from the templates that lie beside this package."""

from __future__ import annotations

import ast
import importlib.util
import keyword
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Template

from alignzoo.seam.hookspecs import API
from alignzoo.seam.zoo import Zoo

SUMMARIES: Mapping[str, str] = {
    "optimizer": "Learns from comparisons by a loss of its own",
    "reward": "A penalty for every word beyond those that are free",
    "feedback": "Choices between two answers, read from a file",
    "filter": "Holds back records in which some words are said",
    "acquisition": "Asks about the answers that differ most",
    "policy": "Instructions before every prompt",
}
"""The kinds that can be begun, and what each does as it stands."""
FACTS: Mapping[str, str] = {"optimizer": 'needs=("comparisons",)', "feedback": 'gives=("comparison",)'}
EVERY: Mapping[str, str] = {
    "pyproject.toml": "every/pyproject.toml",
    "README.md": "every/README.md",
    "WHAT-TO-EDIT.md": "every/edit.md",
    ".gitignore": "every/gitignore",
    ".github/workflows/check.yml": "every/ci.yml",
    "$package/__init__.py": "every/init.py",
    "$package/$plugin.py": "$kind.py",
    "tests/test_$plugin.py": "$kind_test.py",
}
"""Each file of a plugin, and the template that it is written from."""
MORE: Mapping[str, Mapping[str, str]] = {"feedback": {"$package/examples.jsonl": "feedback_examples.jsonl"}}
"""Files that only one kind has."""


class ScaffoldError(ValueError):
    """A plugin that cannot be begun as asked."""


@dataclass(frozen=True)
class Seed:
    """What a new plugin is to be."""

    kind: str
    name: str

    @property
    def words(self) -> dict[str, str]:
        """What stands for what in the templates."""
        plugin = self.name.replace("-", "_")
        return {
            "kind": self.kind,
            "name": self.name,
            "plugin": plugin,
            "package": f"alignzoo_{plugin}",
            "dist": f"alignzoo-{self.name}",
            "class_": "".join(part.capitalize() for part in self.name.split("-")),
            "summary": SUMMARIES[self.kind],
            "api": API,
            "imports": "",
            "facts": f"\n        {FACTS[self.kind]}," if self.kind in FACTS else "",
            "line": f", {FACTS[self.kind]}" if self.kind in FACTS else "",
        }

    def project(self) -> dict[str, str]:
        """The files of a plugin in a package of its own."""
        words = self.words
        words["edit"] = _filled(f"{self.kind}.md", words).rstrip() + "\n"
        words["run"] = _filled(f"{self.kind}.toml", words)
        return {
            Template(path).substitute(words): _filled(template.replace("$kind", self.kind), words)
            for path, template in {**EVERY, **MORE.get(self.kind, {})}.items()
        }

    def file(self) -> dict[str, str]:
        """The same in a single file, without packaging."""
        if self.kind in MORE:
            raise ScaffoldError(f"a plugin of kind {self.kind} brings files with it, so it is a package; leave --file out")
        if importlib.util.find_spec(self.words["plugin"]):
            raise ScaffoldError(f"a file {self.words['plugin']}.py would hide a module of that name; choose another name")
        words = {**self.words, "imports": "\nfrom alignzoo.seam.hookspecs import Component"}
        return {f"{words['plugin']}.py": _filled(f"{self.kind}.py", words) + _filled("every/single.py", words)}


def check(seed: Seed, zoo: Zoo) -> None:
    """Refuse a name that cannot be, or that means something already."""
    name, words = seed.name, seed.words
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        close = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")
        hint = f", such as {close}" if close else ""
        raise ScaffoldError(f"'{name}' cannot be a name: lower-case letters and digits, with hyphens between them{hint}")
    taken = {found.component.id: found.full_name for found in zoo.components} | {
        plugin: f"the plugin '{plugin}'" for plugin in (*_plugins(zoo), *(entry.id for entry in zoo.registry.plugin))
    }
    for word in (name, words["plugin"]):
        if word in taken:
            raise ScaffoldError(f"'{name}' is taken: it means {taken[word]}; choose another name")
    if importlib.util.find_spec(words["package"]):
        raise ScaffoldError(f"'{name}' is taken: there is a package {words['package']} already; choose another name")
    used = _names(_filled(f"{seed.kind}.py", {**words, "class_": "Nothing_"}))
    reserved = [word for word in (words["plugin"], words["class_"]) if keyword.iskeyword(word)]
    if odd := [*reserved, *({words["class_"]} & {*used, "Component"})]:
        raise ScaffoldError(f"'{name}' would be called {odd[0]}, which is taken in its code; choose another name")


def write(files: Mapping[str, str], folder: str) -> list[str]:
    """Write the files into a folder, none over another; their paths."""
    paths = [os.path.join(folder, path) for path in files]
    for path in paths:
        if os.path.exists(path):
            raise ScaffoldError(f"{path} is there already; nothing was written")
    for path, text in zip(paths, files.values(), strict=True):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
    return paths


def _plugins(zoo: Zoo) -> set[str]:
    return {found.plugin for found in zoo.components} | {fault.plugin for fault in zoo.broken}


def _filled(template: str, words: Mapping[str, str]) -> str:
    """A template with every word in its place; one that is missing is an error."""
    path = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "templates", f"{template}.txt")
    with open(path, encoding="utf-8") as file:
        return Template(file.read()).substitute(words)


def _names(source: str) -> set[str]:
    """Every name that a module's code uses."""
    tree = list(ast.walk(ast.parse(source)))
    imported = {alias.asname or alias.name for node in tree if isinstance(node, ast.ImportFrom) for alias in node.names}
    defined = {node.name for node in tree if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    return imported | defined | {node.id for node in tree if isinstance(node, ast.Name)}
