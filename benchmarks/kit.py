"""What the conformance kit takes for each optimizer: `alignzoo check NAME`, one after the other, by the clock and by CPU time.

The goal is a minute for each on two cores. `python benchmarks/kit.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "peers"))

GOAL = 60.0
"""Seconds that an optimizer may take."""


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("names", metavar="NAME", nargs="*", help="only these optimizers")
    options = words.parse_args()
    import report

    for name in options.names or optimizers():
        row = checked(name)
        command = f"alignzoo check optimizer:{name}"
        report.keep("kit", name, row | report.circumstances(command) | {"load": round(os.getloadavg()[0], 1)})
        print(f"{name:24} {row['seconds']:6.1f} s, {row['cpu_seconds']:6.1f} of CPU   {row['counts']}", flush=True)
        if row["seconds"] > GOAL:
            print(f"{name} takes more than {GOAL:g} s; its slowest checks: {row['slowest']}", flush=True)
    return 0


def optimizers() -> list[str]:
    """The full names of all that are installed, without their kind."""
    told = subprocess.run([*ALIGNZOO, "list", "--kind", "optimizer", "--json"], capture_output=True, text=True, check=True)
    return [row["name"].partition(":")[2] for row in json.loads(told.stdout)["components"]]


def checked(name: str) -> dict[str, Any]:
    """The seconds and the verdicts of one optimizer. CPU time is that of the kit's process and of all it waited for."""
    began, before = time.perf_counter(), os.times()
    done = subprocess.run([*ALIGNZOO, "check", f"optimizer:{name}", "--json"], capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - began, os.times()
    told = json.loads(done.stdout)
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    slowest = sorted(told["verdicts"], key=lambda verdict: -verdict.get("seconds", 0.0))[:3]
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(spent, 1),
        "counts": told["counts"],
        "slowest": {verdict["check"]: verdict.get("seconds") for verdict in slowest},
    }


ALIGNZOO = (sys.executable, "-m", "alignzoo")

if __name__ == "__main__":
    sys.exit(main())
