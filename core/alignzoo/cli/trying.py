"""The other end of `alignzoo check`: makes the checks in a process of its own, and tells each on its output as a line of JSON,
before it begins and when it is known. What a plugin prints goes elsewhere."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tomllib
from typing import Any

from alignzoo.seam.settings import override


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("names", nargs="*")
    options.add_argument("--all", action="store_true")
    options.add_argument("--set", action="append", default=[], dest="changes")
    args = options.parse_args()
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(row: dict[str, Any]) -> None:
        told.write(json.dumps(row) + "\n")
        told.flush()

    tell({"begun": "plugin.imports", "subject": ", ".join(args.names), "says": ""})
    if mistake := _unknown(args.names):
        tell({"mistake": mistake})
        return 2
    tell({"loading": True})  # torch takes its time
    from alignzoo.testing.checks import Trial, judged
    from alignzoo.testing.conformance import checks_of, subjects

    trial = Trial(settings=_settings(args.changes)) if args.changes else None
    some = [one for name in args.names or [""] for one in subjects(name, trial, thorough=args.all)]
    for subject in some:
        plugin = subject.plugin
        tell({"subject": subject.name, "distribution": plugin.distribution, "version": plugin.version})
        for one in checks_of(subject):
            tell({"begun": one.id, "subject": subject.name, "says": one.says})
            tell(judged(one, subject).row())
        subject.close()
    tell({"ended": True})
    return 0


def _unknown(names: list[str]) -> str:
    """What is wrong with the names, found out before anything heavy is imported."""
    from alignzoo.seam.discovery import discover
    from alignzoo.seam.installed import entries
    from alignzoo.seam.local import LocalError
    from alignzoo.seam.zoo import ZooError

    files = [name for name in names if name.endswith(".py")]
    plugins = {entry.plugin for entry in entries()}
    try:
        zoo = discover(files=files)
        for name in (name for name in names if name not in plugins and name not in files):
            zoo.lookup(name)
    except (LocalError, ZooError) as error:
        return str(error)
    return ""


def _settings(changes: list[str]) -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads("")
    for change in changes:
        table = override(table, change)
    return table


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # a plugin may have left threads behind, or something that runs at exit
