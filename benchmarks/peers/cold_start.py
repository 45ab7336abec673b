"""What a command costs before it does anything (case 11): fresh processes, CPU time of user and system, median.
`python benchmarks/peers/cold_start.py`."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

GOAL = 0.1
"""CPU seconds that a command which needs no model may take, at most."""

COMMANDS = {
    "bare python": ["-c", "pass"],
    "alignzoo --help": ["-m", "alignzoo", "--help"],
    "alignzoo list": ["-m", "alignzoo", "list"],
    "import trl.DPOTrainer": ["-c", "from trl import DPOTrainer, DPOConfig"],
}


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--times", type=int, default=7, help="fresh processes of each; the median counts")
    times = words.parse_args().times
    import clock
    import report

    environment = clock.strict_environment(tunables=False)
    seconds = {name: statistics.median(_cpu(command, environment) for _ in range(times)) for name, command in COMMANDS.items()}
    for name, of in seconds.items():
        print(f"{name}: {of:.3f} s")
    kept = {"cpu_seconds": {name: round(of, 3) for name, of in seconds.items()}}
    report.keep(
        "peers-cold-start", "case 11", kept | report.circumstances(f"python benchmarks/peers/cold_start.py --times {times}")
    )
    slow = [name for name, of in seconds.items() if name.startswith("alignzoo") and of > GOAL]
    print(f"slower than {GOAL} s: {', '.join(slow)}" if slow else "every goal is reached")
    return 0


def _cpu(command: list[str], environment: dict[str, str]) -> float:
    before = os.times()
    subprocess.run([sys.executable, *command], env=environment, check=True, capture_output=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    sys.exit(main())
