"""`alignzoo new`: begin a plugin that works."""

from __future__ import annotations

import argparse
from typing import Any


def add(verbs: Any) -> None:
    page = verbs.add_parser(
        "new",
        help="begin a plugin of your own, one that works",
        description="Begin a plugin of your own: a small one that works, with its tests and a page that says what to edit.",
        allow_abbrev=False,
    )
    page.add_argument("kind", metavar="KIND", help="optimizer, reward, feedback, filter, acquisition or policy")
    page.add_argument("name", metavar="NAME", help="what a run file calls it: my-loss")
    page.add_argument("--file", action="store_true", help="one file without packaging, for --plugin")
    page.add_argument("--out", metavar="DIR", default="", help="where it goes (default: ./NAME, or here for --file)")
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import os
    import shlex

    from alignzoo.seam.discovery import discover
    from alignzoo.seam.nearest import nearest
    from alignzoo.seam.scaffold import SUMMARIES, ScaffoldError, Seed, check, write

    if args.kind not in SUMMARIES:
        raise ScaffoldError(f"nothing to begin a plugin of kind '{args.kind}' with{nearest(args.kind, tuple(SUMMARIES))}")
    seed = Seed(args.kind, args.name)
    check(seed, discover())
    folder = args.out or ("." if args.file else args.name)
    if not args.file and os.path.exists(folder):
        raise ScaffoldError(f"{folder} is there already; choose another place with --out")
    paths = write(seed.file() if args.file else seed.project(), folder)
    print("\n".join(os.path.normpath(path) for path in paths))
    if args.file:
        print(f"\nIt works as it is: alignzoo info {args.name} --plugin {shlex.quote(os.path.normpath(paths[0]))}")
    else:
        print(f"\nIt works as it is: cd {shlex.quote(folder)}, then alignzoo check . What to edit is in WHAT-TO-EDIT.md.")
    return 0
