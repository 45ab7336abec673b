"""Whether one component of a plugin can be used, as far as that shows without importing its object."""

from __future__ import annotations

import sys

from alignzoo.seam.hookspecs import API, Command, Component
from alignzoo.seam.light import TYPE_CHECKING
from alignzoo.seam.nearest import nearest
from alignzoo.seam.source import file_of, source_of

if TYPE_CHECKING:
    from typing import Any

    from alignzoo.seam.hookspecs import Kind
    from alignzoo.seam.installed import Entry

KINDS: tuple[Kind, ...] = ("optimizer", "reward", "feedback", "filter", "acquisition", "policy", "model", "task")
"""The kinds of component."""
VERBS = (
    *("list", "info", "search", "install", "uninstall", "disable", "enable", "new", "check", "doctor", "lock", "verify"),
    *("run", "collect", "train", "answer", "judge", "show", "compare", "bench", "chat", "export"),
)
"""The commands of alignzoo itself, which no plugin can replace."""


class Fault(Exception):
    """Why a plugin, or one component of it, cannot be used, and what to do."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix


def tell(entry: Entry) -> str:
    """What a user can do about a plugin's own mistake."""
    if entry.file:
        return f"Mend {entry.distribution}"
    return f"Install another version of {entry.distribution}, or tell its author"


def check(component: Any, entry: Entry, sources: dict[str, bytes]) -> None:
    """Raise a `Fault` if a component cannot be used. `sources` are the modules of the plugin that were read before."""
    if not isinstance(component, Component):
        raise Fault(f"alignzoo_components gives a {type(component).__name__}, not a Component", tell(entry))
    if component.kind not in KINDS:
        known = nearest(str(component.kind), KINDS)
        raise Fault(f"component '{component.id}' is of no known kind: '{component.kind}'{known}", tell(entry))
    if not _is_word(str(component.id), f"{LETTERS}0123456789"):
        fix = f"An id is lower-case letters, digits and hyphens. {tell(entry)}"
        raise Fault(f"'{component.id}' cannot be the id of a component", fix)
    for name in ("needs", "gives"):
        words = getattr(component, name)
        if not isinstance(words, tuple) or not all(isinstance(word, str) for word in words):
            fix = f'Write a tuple of words, as in {name}=("comparisons",). {tell(entry)}'
            raise Fault(f"component '{component.id}': {name} is {words!r}", fix)
    _check_api(f"component '{component.id}'", component.api, entry)
    _check_object(component, entry, sources)


def check_command(command: Any, entry: Entry) -> None:
    if not isinstance(command, Command):
        raise Fault(f"alignzoo_commands gives a {type(command).__name__}, not a Command", tell(entry))
    if not _is_word(str(command.verb), LETTERS):
        raise Fault(f"'{command.verb}' cannot be a command", f"A verb is lower-case letters and hyphens. {tell(entry)}")
    if command.verb in VERBS:
        raise Fault(f"the command '{command.verb}' is alignzoo's own, which keeps it", tell(entry))
    _check_api(f"command '{command.verb}'", command.api, entry)
    if not file_of(str(command.module)):
        raise Fault(f"command '{command.verb}' is in '{command.module}', but there is no such module", tell(entry))


def _check_api(what: str, api: str, entry: Entry) -> None:
    """Compatible if the major version is ours and the minor one is not newer."""
    if api == API:
        return
    parts = str(api).split(".")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise Fault(f"{what}: '{api}' is no API version such as {API}", tell(entry))
    major, minor = map(int, parts)
    our_major, our_minor = map(int, API.split("."))
    reason = f"{what} is built for plugin API {api}; this alignzoo has {API}"
    if (major, minor) > (our_major, our_minor):
        raise Fault(reason, f"pip install --upgrade alignzoo, or install an older {entry.distribution}")
    if major != our_major:
        raise Fault(reason, f"pip install --upgrade {entry.distribution}")


def _check_object(component: Component, entry: Entry, sources: dict[str, bytes]) -> None:
    """Say that an object is missing before somebody needs it, as far as its file shows without being imported."""
    module, colon, attribute = str(component.object).partition(":")
    where = f"component '{component.id}' is '{component.object}', but"
    if not (module and colon and attribute.isidentifier()):
        raise Fault(f"{where} that is not of the form module:attribute", tell(entry))
    if module not in sources:
        source = source_of(module)
        if source is None:
            raise Fault(f"{where} there is no module '{module}'", tell(entry))
        sources[module] = source
    text = sources[module]
    loaded = entry.file and module in sys.modules
    named = attribute in vars(sys.modules[module]) if loaded else _has_word(text, attribute.encode())
    if not named and b"import *" not in text and b"__getattr__" not in text:
        raise Fault(f"{where} {module} has no '{attribute}'", tell(entry))


LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _is_word(name: str, letters: str) -> bool:
    """Whether a name is made of these letters, and of hyphens within or at its end."""
    return name[:1] not in ("", "-") and not name.strip(f"{letters}-")


def _has_word(text: bytes, word: bytes) -> bool:
    """Whether an identifier occurs in a source. Looked for by hand: a regular expression would be compiled for each."""
    place = text.find(word)
    while place >= 0:
        around = text[max(place - 1, 0) : place], text[place + len(word) : place + len(word) + 1]
        if all(letter.isascii() and letter != b"_" and not letter.isalnum() for letter in around):
            return True
        place = text.find(word, place + 1)
    return False
