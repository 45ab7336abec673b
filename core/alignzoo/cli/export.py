"""`alignzoo export`: merge a run's adapter into a plain model folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from alignzoo.cli.quiet import quiet_libraries


def add(verbs: Any) -> None:
    page = verbs.add_parser(
        "export",
        help="merge a run's policy into a plain model folder",
        description="Merge a run's adapter into its base and write a folder that transformers loads without alignzoo.",
        allow_abbrev=False,
    )
    page.add_argument("target", metavar="DIR", help="the folder of a trained run")
    page.add_argument("folder", metavar="MODEL_DIR", help="where the model goes; must not be there yet")
    page.add_argument(
        "--onto-original",
        action="store_true",
        help="merge into the unquantized weights, instead of the quantized ones that the adapter was trained on",
    )
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    quiet_libraries()
    from alignzoo.lab.export import export
    from alignzoo.lab.run import Run

    print(export(Run.at(args.target), Path(args.folder), onto_original=args.onto_original))
    return 0
