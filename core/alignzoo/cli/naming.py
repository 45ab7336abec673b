"""How a verb is told of a plugin in a file."""

from __future__ import annotations

from alignzoo.seam.light import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_plugin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="FILE",
        dest="plugins",
        help="a plugin in a file of your own: ./my_loss.py",
    )
