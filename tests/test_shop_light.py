"""With thirty plugins installed and three hundred listed, the light verbs import nothing heavy, and nothing in vain."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from shelf import Shelf

HEAVY = ("torch", "transformers", "peft", "bitsandbytes", "datasets", "accelerate", "numpy", "rich", "packaging")
SLOW = ("importlib.metadata", "email", "subprocess", "urllib.request", "zipfile", "tempfile", "json", "asyncio", "inspect")
DEAR = (
    *("dataclasses", "typing", "re", "enum", "contextlib", "argparse", "pluggy", "tomllib", "importlib.util", "threading"),
    *("warnings", "contextvars", "signal", "functools"),
)
"""What costs more than ten plugins, and every plugin and every entry of a registry can be listed without."""
SPY = f"""
import sys
before = set(sys.modules)
from alignzoo.cli import main
code = main(sys.argv[1:])
print([name for name in {HEAVY!r} + {SLOW!r} + {DEAR!r} if name in set(sys.modules) - before], file=sys.stderr)
sys.exit(code)
"""


def listing(count: int) -> str:
    entry = (
        '[[plugin]]\nid = "p{0}"\ndist = "zoo-p{0}"\ntier = "community"\nsummary = "Does number {0} in its own way"\n'
        'components = ["optimizer:p{0}", "reward:p{0}"]\nneeds = ["comparisons"]\nlicense = "MIT"\nrepo = "https://example.org"\n'
        'maintainers = ["X"]\n[[plugin.release]]\nversion = "1.0"\napi = "1.0"\nsha256 = "{1}"\n'
    )
    return "".join(entry.format(i, "a" * 64) for i in range(count))


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty plugins, and a registry of three hundred."""
    folder = tmp_path_factory.mktemp("crowd")
    shelf = Shelf(folder)
    for i in range(30):
        shelf.healthy(f"p{i}", f"p{i}-one", f"p{i}-two")
    (folder / "registry.toml").write_text(listing(300))
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["list"],
        ["search", "number", "--registry", "registry.toml"],
        ["info", "p7-one", "--registry", "registry.toml"],
        ["info", "p200", "--registry", "registry.toml"],
        ["install", "--help"],
        ["doctor", "--help"],
    ],
    ids=lambda words: "-".join(words[:2]),
)
def test_light_verbs_stay_light_in_a_crowd(crowd: Path, words: list[str]) -> None:
    env = {**os.environ, "PYTHONPATH": str(crowd), "ALIGNZOO_STATE": str(crowd / "none.toml")}
    words = [word.replace("registry.toml", str(crowd / "registry.toml")) for word in words]
    command = [sys.executable, "-c", SPY, *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd="/")
    if words[-1] != "--help":
        imported = set(done.stderr.strip("[]\n").replace("'", "").split(", ")) - {""}
        allowed = {"json", "inspect", "email", *DEAR} if words[0] == "info" else set()
        assert done.returncode == 0, done.stderr
        assert imported <= allowed
    assert done.stdout
