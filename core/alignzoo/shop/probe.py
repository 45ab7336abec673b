"""Looks at one plugin in a process of its own, so that a crash or an endless loop is a finding and nothing else.

    python -m alignzoo.shop.probe NAME [--deep]

The last line on standard output is JSON: its faults, what it says itself (`alignzoo_findings`), and with --deep also the faults
of its components' own modules.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from alignzoo.seam.discovery import discover_one
from alignzoo.seam.hooks import Hooks
from alignzoo.seam.zoo import Found, ZooError


def main() -> int:
    name, distribution, *options = sys.argv[1:]
    zoo = discover_one(name, distribution)
    faults = [{"reason": fault.reason, "fix": fault.fix} for fault in zoo.broken]
    complaints: list[str] = []
    faults += [{"reason": f.problem, "fix": f.fix} for _, f in Hooks(zoo.hooked, complaints.append).findings()]
    faults += [{"reason": words, "fix": "alignzoo uninstall it, or tell its author"} for words in complaints]
    if "--deep" in options:
        faults += [{"reason": reason, "fix": "alignzoo uninstall it, or tell its author"} for reason in _deep(zoo.components)]
    print()  # what the plugin wrote past Python may not have ended its line
    print(json.dumps({"faults": faults, "components": [found.full_name for found in zoo.components]}))
    return 0


def _deep(components: tuple[Found, ...]) -> Iterator[str]:
    """Import what the components name: torch and all."""
    for found in components:
        try:
            found.load()
        except ZooError as error:
            yield str(error)


if __name__ == "__main__":
    sys.exit(main())
