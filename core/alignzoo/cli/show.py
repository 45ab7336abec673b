"""`alignzoo show`: what came of a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignzoo.lab.report import Report


def add(verbs: Any) -> None:
    page = verbs.add_parser("show", help="show what came of a run", description="Show what came of a run.", allow_abbrev=False)
    page.add_argument("target", metavar="DIR", help="the folder of a run")
    page.add_argument("--json", action="store_true", help="print JSON")
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import json

    from alignzoo.lab.folders import progress_in
    from alignzoo.lab.report import report_in

    root = Path(args.target)
    report = report_in(root)
    if args.json:
        print(json.dumps(report.row() if report else progress_in(root), ensure_ascii=False, indent=1))
    elif report:
        show(report, root)
    else:
        for stage, state in progress_in(root).items():
            print(f"{stage:8} {state}")
    return 0


def show(report: Report, root: Path) -> None:
    """The table, the values apart, and some answers before and after."""
    from rich.console import Console
    from rich.table import Table

    from alignzoo.lab.report import GROUP, STAGE

    console = Console(highlight=False, markup=False)  # [/INST] in an answer is no style
    whole = Table("", report.name, box=None, pad_edge=False)
    for what, value in report.rows():
        whole.add_row(what, value)
    console.print(whole)
    if report.values:
        apart = Table("value", "before", "after", box=None, pad_edge=False)
        for name, (before, after) in report.values.items():
            apart.add_row(name, str(before), str(after))
        console.print("", apart)
    if report.groups:
        whose = Table(*GROUP, title="whose choices", title_justify="left", box=None, pad_edge=False)
        for group in report.groups:
            whose.add_row(*group.cells())
        console.print("", whose)
        if not any(group.choices for group in report.groups):
            console.print(report.asked())
    if len(report.stages) > 1:
        stages = Table(*STAGE, box=None, pad_edge=False)
        for stage in report.stages:
            stages.add_row(*stage.cells())
        console.print("", stages)
    sides = Table("prompt", "before", "after", title="some answers, before and after (reward)", title_justify="left")
    for c in report.contrasts:
        said = ((c.before, c.score_before), (c.after, c.score_after))
        sides.add_row(_last(c.prompt), *(f"{_first(text)} ({score:.2f})" for text, score in said))
    console.print("", sides)
    console.print(f"{report.intervals()} Everything is in {root}")


_LONG = 300
"""Letters of one text in the table; all of it is in the files."""


def _first(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[:_LONG]} …"


def _last(text: str) -> str:
    """Of a long prompt its end: that is what is answered."""
    return text if len(text) <= _LONG else f"… {text[-_LONG:]}"
