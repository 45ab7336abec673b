"""Reads the command line."""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from alignzoo import __version__
from alignzoo.seam.vetting import VERBS

if TYPE_CHECKING:
    from alignzoo.seam.zoo import Added

SHELLS = ("bash", "zsh", "tcsh")
EPILOG = """\
exit codes: 0 done; 1 a bug (with its traceback); 2 something to mend in the command or a file; 130 stopped by Ctrl-C"""


class UsageError(ValueError):
    """A command line that says nothing we know."""


def parser() -> argparse.ArgumentParser:
    """The whole command line, every verb in it."""
    return _pages(VERBS, _added())[""]


def bundled_pages() -> dict[str, argparse.ArgumentParser]:
    """The page of every verb that comes with alignzoo, those of its plugins filled in: what its reference is made from."""
    added = [one for one in _added() if one.distribution == "alignzoo"]
    pages = _pages(VERBS, added)
    for one in added:
        _filled(one, pages)
    return pages


def _added() -> tuple[Added, ...]:
    """The commands of plugins."""
    from alignzoo.seam.discovery import discover

    return discover().commands


def _pages(names: Sequence[str] = VERBS, added: Sequence[Added] = ()) -> dict[str, argparse.ArgumentParser]:
    """The command line's own parser, under "", and that of each verb named. What an added command takes is not known until
    it is used (`_filled`)."""
    top = argparse.ArgumentParser(
        prog="alignzoo",
        description="A pluggable zoo of alignment algorithms for language models.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"alignzoo {__version__}")
    top.add_argument("--print-completion", choices=SHELLS, help="print the completion script for a shell")
    verbs = top.add_subparsers(title="commands", metavar="COMMAND", dest="verb")
    for verb in names:
        importlib.import_module(f"alignzoo.cli.{verb}").add(verbs)
    for one in added:
        about = f"{one.command.summary} (of plugin '{one.plugin}')"
        verbs.add_parser(one.command.verb, help=about, description=about, allow_abbrev=False)
    return {"": top, **verbs.choices}


def _filled(one: Added, pages: dict[str, argparse.ArgumentParser]) -> None:
    """Let a plugin's command say what it takes."""
    module = importlib.import_module(one.command.module)
    page = pages[one.command.verb]
    module.arguments(page)
    page.set_defaults(run=module.run)


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments, with the function to `run`."""
    pages = _pages_for(argv[0] if argv else "")
    args, unknown = pages[""].parse_known_args(argv)
    if unknown:
        raise UsageError(_unknown(unknown[0], argv[0], pages))
    if args.print_completion:
        args.run = _print_completion
    elif not args.verb:
        args.run = _print_help
    return args


def _pages_for(first: str) -> dict[str, argparse.ArgumentParser]:
    """The pages that a command line beginning so needs: one verb need not wait for the others."""
    from alignzoo.seam.nearest import nearest

    if first in VERBS:
        return _pages((first,))
    added = _added()
    if not first or first.startswith("-"):
        return _pages(VERBS, added)
    named = [one for one in added if one.command.verb == first]
    if not named:
        known = (*VERBS, *(one.command.verb for one in added))
        raise UsageError(f"no command named '{first}'{nearest(first, known)}")
    pages = _pages((), named)
    _filled(named[0], pages)
    return pages


def _unknown(argument: str, first: str, pages: dict[str, argparse.ArgumentParser]) -> str:
    from alignzoo.seam.nearest import near

    verb = first if first in pages else ""
    if not argument.startswith("-"):
        return f"'{argument}' is one argument too many; see alignzoo {verb} --help"
    options = re.findall(r"--[a-z-]+", pages[verb].format_help())
    close = near(argument.partition("=")[0], options)
    hint = f"; did you mean '{close}'?" if close else f"; see alignzoo {verb + ' ' if verb else ''}--help"
    return f"no option '{argument}'{hint}"


def _print_completion(args: argparse.Namespace) -> int:
    import shtab

    print(shtab.complete(parser(), args.print_completion))
    return 0


def _print_help(args: argparse.Namespace) -> int:
    parser().print_help()
    return 0
