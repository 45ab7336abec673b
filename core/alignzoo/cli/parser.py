"""Reads the command line."""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Sequence

from alignzoo import __version__

VERBS = ("list", "info", "run", "collect", "train", "answer", "judge", "show", "chat", "export")
SHELLS = ("bash", "zsh", "tcsh")
EPILOG = """\
exit codes: 0 done; 1 a bug (with its traceback); 2 something to mend in the command or a file; 130 stopped by Ctrl-C"""


class UsageError(ValueError):
    """A command line that says nothing we know."""


def parser() -> argparse.ArgumentParser:
    """The whole command line, every verb in it."""
    return _pages()[""]


def _pages(names: Sequence[str] = VERBS) -> dict[str, argparse.ArgumentParser]:
    """The command line's own parser, under "", and that of each verb named."""
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
    return {"": top, **verbs.choices}


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments, with the function to `run`."""
    _check_verb(argv)
    top = _pages(argv[:1] if argv and argv[0] in VERBS else VERBS)[""]  # one verb need not wait for the others
    args, unknown = top.parse_known_args(argv)
    if unknown:
        raise UsageError(_unknown(unknown[0], argv))
    if args.print_completion:
        args.run = _print_completion
    elif not args.verb:
        args.run = _print_help
    return args


def _check_verb(argv: Sequence[str]) -> None:
    from alignzoo.seam.nearest import nearest

    first = argv[0] if argv else ""
    if first and not first.startswith("-") and first not in VERBS:
        raise UsageError(f"no command named '{first}'{nearest(first, VERBS)}")


def _unknown(argument: str, argv: Sequence[str]) -> str:
    from alignzoo.seam.nearest import near

    if not argument.startswith("-"):
        return f"'{argument}' is one argument too many; see alignzoo {argv[0]} --help"
    verb = argv[0] if argv[0] in VERBS else ""
    close = near(argument.partition("=")[0], _options(verb))
    hint = f"; did you mean '{close}'?" if close else f"; see alignzoo {verb + ' ' if verb else ''}--help"
    return f"no option '{argument}'{hint}"


def _options(verb: str) -> list[str]:
    """The options of a verb, as its help writes them."""
    return re.findall(r"--[a-z-]+", _pages()[verb].format_help())


def _print_completion(args: argparse.Namespace) -> int:
    import shtab

    print(shtab.complete(parser(), args.print_completion))
    return 0


def _print_help(args: argparse.Namespace) -> int:
    parser().print_help()
    return 0
