"""`alignzoo check`: the conformance kit over a plugin, in a process of its own, so that a crash or a hang is a finding."""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

FAILED = 1
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""The toy base gains nothing from a second thread, and beside other work its threads wait for each other without end."""
STATUSES = ("passed", "failed", "expected", "not run")


class CheckError(ValueError):
    """Something that cannot be checked."""


def add(verbs: Any) -> None:
    page = verbs.add_parser(
        "check",
        help="put a plugin to the conformance kit",
        description=(
            "Put plugins to the conformance kit: component or plugin names, folders with a pyproject.toml, wheels, "
            "plugins in one file; without any, all that is installed. Exit code 0 if nothing failed, 1 if something did."
        ),
        allow_abbrev=False,
    )
    words = "grpo, or policy_gradient, or ., or my_loss.py, or a wheel"
    page.add_argument("what", metavar="NAME|DIR|FILE|WHEEL", nargs="*", help=words)
    page.add_argument("--all", action="store_true", help="also what takes long")
    page.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings", help="a setting to try it with: beta=0.2"
    )
    page.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS", help="how long one check may take")
    page.add_argument("--json", action="store_true", help="print JSON")
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        names, paths = _laid_out(args.what, Path(folder))
        options = [*(["--all"] if args.all else []), *(word for change in args.settings for word in ("--set", change))]
        path = os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
        env = {**ONE_THREAD, **os.environ, "PYTHONPATH": path}
        command = [sys.executable, "-m", "alignzoo.cli.trying", *names, *options]
        heard = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace"))
        process = stack.enter_context(
            subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=heard, text=True, start_new_session=True)
        )
        try:
            rows = list(_told(process, heard, args.timeout, show=not args.json))
        finally:
            process.kill()
    counts = Counter(row["status"] for row in rows)
    if args.json:
        print(json.dumps({"conforms": counts["failed"] == 0, "counts": dict(counts), "verdicts": rows}, indent=2))
    else:
        shown = (f"{counts[status]} {status}" for status in STATUSES if counts[status])
        print(f"\n{', '.join(shown)}")
    return FAILED if counts["failed"] else 0


# What is checked ------------------------------------------------------------------------------------------------------


def _laid_out(what: Sequence[str], room: Path) -> tuple[list[str], list[str]]:
    """The names to be checked, and the folders that have to be on the path for that."""
    names, paths = [], []
    for number, one in enumerate(what):
        path = Path(one)
        if path.suffix == ".whl":
            plugins, folders = _wheel(path, room / str(number))
        elif path.is_dir():
            plugins, folders = _project(path, room / str(number))
        else:
            plugins, folders = [one], []
        names += plugins
        paths += folders
    return names, paths


def _wheel(path: Path, room: Path) -> tuple[list[str], list[str]]:
    """A wheel, unpacked as an installer would: a pure one is installed by that."""
    from alignzoo.seam.installed import entries
    from alignzoo.shop.wheel import opened

    if not path.is_file():
        raise CheckError(f"there is no wheel {path}")
    with opened(path) as archive:
        archive.extractall(room)
    plugins = [entry.plugin for entry in entries([str(room)])]
    if not plugins:
        raise CheckError(f'{path} offers no plugin: it has no entry point of the group "alignzoo.plugins"')
    return plugins, [str(room)]


def _project(path: Path, room: Path) -> tuple[list[str], list[str]]:
    """A folder with a pyproject.toml, as if it were installed editable."""
    import tomllib

    file = path / "pyproject.toml"
    if not file.is_file():
        raise CheckError(f"{path} has no pyproject.toml; name a plugin's project folder, its wheel, or an installed plugin")
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
        points = project.get("entry-points", {}).get("alignzoo.plugins", {})
    except (ValueError, AttributeError) as error:
        raise CheckError(f"{file} cannot be read as the pyproject.toml of a plugin: {error}") from None
    if not points or "name" not in project:
        raise CheckError(f'{file} offers no plugin; it needs [project.entry-points."alignzoo.plugins"] with name = "module"')
    name, version = project["name"], project.get("version", "0")
    info = room / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = "".join(f"{plugin} = {module}\n" for plugin, module in points.items())
    (info / "entry_points.txt").write_text(f"[alignzoo.plugins]\n{lines}")
    roots = {_root(path, module.partition(".")[0]) for module in points.values()}
    return list(points), [str(room), *sorted(str(root.resolve()) for root in roots)]


def _root(project: Path, package: str) -> Path:
    """The folder that a package of a project lies in."""
    for folder in (project, project / "src"):
        if (folder / package).is_dir() or (folder / f"{package}.py").is_file():
            return folder
    raise CheckError(f"{project} has no package '{package}', which its pyproject.toml names; it is looked for here and in src/")


# What comes of it -----------------------------------------------------------------------------------------------------


def _told(process: subprocess.Popen[str], heard: IO[str], patience: float, *, show: bool) -> Iterator[dict[str, Any]]:
    """The verdicts, as they come; where the process falls silent or dies, that is the verdict of the check under way."""
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    under_way: dict[str, Any] = {"begun": "plugin.imports", "subject": "", "says": ""}
    waiting: float | None = patience
    while True:
        try:
            line, lost = lines.get(timeout=waiting), "the process ended: "
        except queue.Empty:
            line, lost = None, f"it has not ended after {patience:g} seconds; last heard: "
        if line is None:
            said = {"status": "failed", "said": lost + _last(heard), "seconds": 0.0}
            yield _shown({"subject": under_way["subject"], "check": under_way["begun"], **said}, under_way, show)
            return
        row = json.loads(line)
        waiting = None if "loading" in row else patience
        match row:
            case {"mistake": words}:
                raise CheckError(words)
            case {"ended": _}:
                return
            case {"begun": _}:
                under_way = row
            case {"check": _}:
                yield _shown(row, under_way, show)
            case {"distribution": origin} if show:
                print(f"\n{row['subject']} ({origin} {row['version']})")


def _read(pipe: IO[str] | None, lines: queue.Queue[str | None]) -> None:
    for line in pipe or ():
        lines.put(line)
    lines.put(None)


def _last(heard: IO[str]) -> str:
    """The last line of what a process complained of."""
    heard.seek(0)
    said = heard.read().strip().splitlines()
    return said[-1] if said else "it said nothing"


def _shown(row: dict[str, Any], under_way: dict[str, Any], show: bool) -> dict[str, Any]:
    """A verdict, told on its way."""
    from textwrap import indent

    if show:
        print(f"  {row['status']:<8} {row['check']}", flush=True)
    if show and row["status"] == "failed":
        print(indent(f"{row['said']}\n{under_way['says']}", "             "))
    elif show and row["said"]:
        print(indent(row["said"], "             "))
    return row
