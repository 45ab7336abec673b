"""A command line that is written plainly, read without argparse, which takes longer to import than to list every plugin.

Only words, flags and options with their values, each spelled out. Anything else, and every mistake, is left to argparse.
"""

from __future__ import annotations

from alignzoo.seam.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

QUICK = ("list", "search")
"""The verbs that are read so. They take nothing that `Page` does not know."""


class Args:
    """What a command line says, as `argparse.Namespace` has it."""

    def __init__(self, **said: Any) -> None:
        vars(self).update(said)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class Page:
    """What `argparse` is told of a verb, kept as it is told."""

    def __init__(self, name: str = "", **about: Any) -> None:
        self.options: dict[str, Args] = {}
        self.words: Args | None = None
        self.said: dict[str, Any] = {}

    def add_parser(self, name: str, **about: Any) -> Page:
        return self

    def add_argument(self, name: str, **how: Any) -> None:
        option = name.startswith("-")
        dest = how.get("dest") or name.lstrip("-").replace("-", "_")
        argument = Args(dest=dest, action=how.get("action"), choices=how.get("choices"))
        self.said[dest] = how.get("default", False if how.get("action") == "store_true" else None if option else [])
        if option:
            self.options[name] = argument
        else:
            self.words = argument

    def set_defaults(self, **said: Any) -> None:
        self.said |= said


def plainly(argv: Sequence[str]) -> Args | None:
    """The arguments, with the function to `run`; None where they are not plain."""
    page = Page()
    match argv[:1]:
        case ["list"]:
            from alignzoo.cli.list import add as add_list

            add_list(page)
        case ["search"]:
            from alignzoo.cli.search import add as add_search

            add_search(page)
        case _:
            return None
    said, rest = dict(page.said), list(argv[1:])
    while rest:
        option = page.options.get(rest[0])
        if option is None:
            count = next((i for i, word in enumerate(rest) if word.startswith("-")), len(rest))
            if not count or not page.words or said[page.words.dest]:
                return None  # an option that nobody knows, or words in two places
            said[page.words.dest], rest = rest[:count], rest[count:]
        elif option.action == "store_true":
            said[option.dest], rest = True, rest[1:]
        elif len(rest) == 1 or rest[1].startswith("-") or (option.choices and rest[1] not in option.choices):
            return None
        else:
            several = option.action == "append"
            said[option.dest], rest = [*(said[option.dest] or []), rest[1]] if several else rest[1], rest[2:]
    return Args(verb=argv[0], print_completion=None, **said)
