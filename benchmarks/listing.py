"""What it costs to list plugins: `alignzoo list` with thirty of them installed, beside those that come with alignzoo, and
`alignzoo search` among three hundred entries of a registry, against a bare `import alignzoo`.

Whole processes, CPU time of user and system, all in turn, compiled files warm. The same with a console script as pip before 25
writes it (it imports `re` first), and as pip and uv write it now. `python benchmarks/listing.py`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "peers"))

GOAL = 3.0
"""How many bare imports a listing may cost."""
CALL = "from alignzoo.cli import main; sys.exit(main())"
SCRIPTS = {"script": f"import sys; {CALL}", "older script": f"import re, sys; {CALL}"}
PLUGIN = """from collections.abc import Iterable

from alignzoo.seam.hookspecs import Component, hookimpl


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    yield Component("optimizer", "p{0}-one", "zoo_p{0}.work:One", "Does one thing", needs=("comparisons",))
    yield Component("reward", "p{0}-two", "zoo_p{0}.work:Two", "Does another")
"""
ENTRY = """[[plugin]]
id = "p{0}"
dist = "zoo-p{0}"
tier = "community"
summary = "Does number {0} in its own way"
components = ["optimizer:p{0}-one", "reward:p{0}-two"]
needs = ["comparisons"]
license = "MIT"
repo = "https://example.org"
maintainers = ["X"]
[[plugin.release]]
version = "1.0"
api = "1.0"
sha256 = "{1}"
"""


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--times", type=int, default=31, help="fresh processes of each, in turn; the median counts")
    words.add_argument("--plugins", type=int, default=30, help="plugins beside those that come with alignzoo")
    options = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder)
        for i in range(options.plugins):
            install(site, i)
        (site / "registry.toml").write_text("".join(ENTRY.format(i, "a" * 64) for i in range(300)))
        seconds = measured(commands(site), site, options.times)
    ratios = {name: statistics.median(of) / statistics.median(seconds["import alignzoo"]) for name, of in seconds.items()}
    for name, of in seconds.items():
        print(f"{name:28} {1e3 * min(of):6.1f} {1e3 * statistics.median(of):6.1f} ms   {ratios[name]:.2f}")
    import report

    rows = {
        name: {"min_ms": round(1e3 * min(of), 1), "median_ms": round(1e3 * statistics.median(of), 1)}
        for name, of in seconds.items()
    }
    kept = {name: {**row, "imports": round(ratios[name], 2)} for name, row in rows.items()}
    command = f"python benchmarks/listing.py --times {options.times} --plugins {options.plugins}"
    report.keep("listing", f"{options.plugins} plugins beside our own", {"cpu": kept} | report.circumstances(command))
    dear = [name for name, ratio in ratios.items() if ratio > GOAL]
    print(f"more than {GOAL:g} imports: {', '.join(dear)}" if dear else "every goal is reached")
    return 0


def install(site: Path, number: int) -> None:
    """Leave in the folder what pip would leave of a plugin."""
    package, info = site / f"zoo_p{number}", site / f"zoo_p{number}-1.0.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").write_text(PLUGIN.format(number))
    (package / "work.py").write_text("class One:\n    pass\n\n\nclass Two:\n    pass\n")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: zoo-p{number}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[alignzoo.plugins]\np{number} = zoo_p{number}\n")


def commands(site: Path) -> dict[str, list[str]]:
    search = ["search", "number", "--registry", str(site / "registry.toml")]
    return {
        "bare python": ["-c", "pass"],
        "import alignzoo": ["-c", "import alignzoo"],
        **{f"list, {name}": ["-c", code, "list"] for name, code in SCRIPTS.items()},
        "list, python -m": ["-m", "alignzoo", "list"],
        **{f"search, {name}": ["-c", code, *search] for name, code in SCRIPTS.items()},
    }


def measured(commands: dict[str, list[str]], site: Path, times: int) -> dict[str, list[float]]:
    """The CPU seconds of each command, one after the other and again, after a first round that is not counted."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(site),
        "ALIGNZOO_STATE": str(site / "none.toml"),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for i in range(times + 1):
        for name, command in commands.items():
            spent = cpu([sys.executable, *command], environment)
            seconds[name] += [spent] if i else []
    return seconds


def cpu(command: list[str], environment: dict[str, str]) -> float:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, cwd="/")
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
