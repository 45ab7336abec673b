"""`alignzoo install`: get a plugin, after looking at it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignzoo.shop.installing import Order

RIGHTS = "There is no sandbox: a plugin runs with your rights (docs/trust.md)."


def add(verbs: Any) -> None:
    page = verbs.add_parser(
        "install",
        help="install a plugin",
        description="Install a plugin: its wheel is fetched, compared with the registry and looked into before anything runs. "
        + RIGHTS,
        allow_abbrev=False,
    )
    page.add_argument("name", metavar="NAME", nargs="?", help="a registered plugin (grpo, grpo==1.2), or a wheel (./x.whl)")
    page.add_argument("-e", "--editable", metavar="DIR", help="a plugin in a folder of your own; it is built, so its code runs")
    page.add_argument("--for", metavar="RUN", dest="run_file", help="what a run file names and this environment has not")
    page.add_argument("--dry-run", action="store_true", help="do everything but the installation, and say what it would be")
    page.add_argument("--unlisted", action="store_true", help="take a wheel or a distribution that no registry lists")
    page.add_argument("--registry", metavar="PATH", default="", help="a private registry, beside alignzoo's own")
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from alignzoo.cli.parser import UsageError

    if sum(word is not None for word in (args.name, args.editable, args.run_file)) != 1:
        raise UsageError("say what to install: NAME, or -e DIR, or --for RUN")
    if args.editable:
        return _from_folder(args)
    for order in _orders(args):
        _carry_out(order, args.dry_run)
    return 0


def _from_folder(args: argparse.Namespace) -> int:
    from alignzoo.cli.parser import UsageError
    from alignzoo.shop.installing import install_folder

    if args.dry_run:
        raise UsageError("-e has no dry run: to know what a folder is, it has to be built")
    install_folder(Path(args.editable))
    print(f"installed from {args.editable}: what you change there counts at once")
    return 0


def _orders(args: argparse.Namespace) -> Iterator[Order]:
    from alignzoo.shop.installing import Order

    if args.name:
        yield Order(args.name, args.registry, args.unlisted)
        return
    from alignzoo.seam.discovery import discover
    from alignzoo.shop.catalogue import catalogue
    from alignzoo.shop.wanted import missing

    names = missing(Path(args.run_file), discover(), catalogue(args.registry))
    if not names:
        print(f"everything that {args.run_file} names is installed")
    yield from (Order(name, args.registry) for name in names)


def _carry_out(order: Order, dry: bool) -> None:
    from alignzoo.shop.installing import install, prepare

    ready = prepare(order) if dry else install(order)
    print(*ready.lines(), sep="\n")
    if dry:
        print("nothing was installed (--dry-run)")
    else:
        print(f"installed. {RIGHTS} Look: alignzoo info {next(iter(ready.wheel.plugins))}")
