"""docs/tutorial/a-plugin-in-an-hour.md, from top to bottom: every file that it writes, every function that it replaces, every
command that it calls, in a folder and an environment of their own."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import stat
import subprocess
import sys
import venv
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tutorial" / "a-plugin-in-an-hour.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INSTALL = """
import os, sys, sysconfig, tempfile, zipfile
import hatchling.build
os.chdir(sys.argv[-1])
with tempfile.TemporaryDirectory() as folder:
    wheel = hatchling.build.build_wheel(folder)
    zipfile.ZipFile(os.path.join(folder, wheel)).extractall(sysconfig.get_path("purelib"))
"""
"""What `pip install --no-deps .` comes to, for an environment without pip."""


def environment(folder: Path) -> dict[str, str]:
    """A virtual environment that sees what this one sees, and whose `alignzoo`, `pytest`, `python` and `pip` are its own."""
    venv.create(folder, with_pip=False, symlinks=True)
    [site] = folder.glob("lib/python*/site-packages")
    seen = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site / "parent.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in seen))
    (folder / "install.py").write_text(INSTALL)
    pip = "-m pip --no-input install --no-build-isolation" if importlib.util.find_spec("pip") else str(folder / "install.py")
    for name, words in {"alignzoo": "-m alignzoo", "pytest": "-m pytest", "pip": pip}.items():
        script = folder / "bin" / name
        given = '"$@"'
        if name == "pip":  # `install` is said already; and what editable installs need beside hatchling is not always there
            given = '$(shift; echo "$@" | sed "s/-e //")'
        script.write_text(f'#!/bin/sh\nexec "{folder / "bin" / "python"}" {words} {given}\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return {**os.environ, **quiet, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": ""}


def put(block: str, home: Path) -> bool:
    """Write the file, or replace the function, that a block's first line names; whether it names one."""
    named = re.match(r"# (\S+\.(?:py|toml))(?:: (\w+))?\n", block)
    if not named:
        return False
    path, text = home / named[1], block[named.end() :]
    if named[2]:
        source = path.read_text(encoding="utf-8")
        [old] = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == named[2]]
        lines = source.splitlines(keepends=True)
        text = "".join([*lines[: old.lineno - 1], text, *lines[old.end_lineno :]])
    path.write_text(text, encoding="utf-8")
    return True


@pytest.mark.slow
def test_every_block_of_the_page_does_what_it_says(tmp_path: Path) -> None:
    env, place = environment(tmp_path / "env"), tmp_path
    said: list[str] = []
    for language, block in FENCE.findall(PAGE.read_text(encoding="utf-8")):
        if language in ("python", "toml"):
            assert put(block, tmp_path / "hour"), f"this block is nowhere used:\n{block}"
        elif language == "bash":
            script = f"set -e\ncd {place}\n{block}\npwd"
            done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
            *output, last = done.stdout.splitlines()
            place = Path(last)
            said += output
    whole = "\n".join(said)
    assert "optimizer:my_loss/my-loss" in whole
    hour = tmp_path / "hour"
    assert (hour / "runs" / "mine-or-dpo" / "report.html").is_file()
    kept = (hour / "runs" / "mine" / "plugins" / "my_loss.py").read_text()
    assert "sigmoid()) ** 2" in kept
    assert kept == (hour / "my_loss.py").read_text()
    assert "passed" in whole
    assert 'use = "optimizer:my_loss/my-loss"' in whole  # the plan with the packaged one


def test_the_page_shows_the_loss_that_is_written() -> None:
    """What it quotes of `my_loss.py` is there."""
    from alignzoo.seam.scaffold import Seed

    [(_, quoted)] = [(language, block) for language, block in FENCE.findall(PAGE.read_text()) if language == "text"]
    assert quoted in Seed("optimizer", "my-loss").file()["my_loss.py"]
