"""The command line: light where it lists, plain in its mistakes, and steady among broken neighbours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from shelf import HEAD, Shelf, offering, optimizer
from test_seam_discovery import BAD

from alignzoo.cli.table import table

HEAVY = ("torch", "transformers", "peft", "bitsandbytes", "datasets", "accelerate", "numpy", "pydantic", "rich")
SPY = f"""
import sys
from alignzoo.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:  # argparse ends so after --help
    code = end.code
print("HEAVY", [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""


def alignzoo(*words: str, path: Path | None = None, spy: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(["-c", SPY] if spy else ["-m", "alignzoo"]), *words]
    env = {**os.environ, "PYTHONPATH": str(path) if path else ""}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd="/")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.fixture
def neighbours(shelf: Shelf) -> Shelf:
    """A healthy plugin among one that is bad in each way we know."""
    shelf.healthy("good")
    for case, (source, _, _) in BAD.items():
        name = "-".join(case.lower().split())
        shelf.put(name, source and source.replace("zoo_bad", f"zoo_{name.replace('-', '_')}"))
    shelf.put("dpo", offering(optimizer("dpo", "zoo_thief")), dist="zoo-thief")
    shelf.put("loud", "print('{')\n" + offering(optimizer("loud", "zoo_loud")))
    return shelf


def test_a_list_among_broken_neighbours_shows_each_and_stays_light(neighbours: Shelf) -> None:
    done = alignzoo("list", "--json", path=neighbours.folder, spy=True)
    assert done.returncode == 0
    assert done.stderr == "HEAVY []\n"
    seen = json.loads(done.stdout)
    names = {row["name"] for row in seen["components"]}
    assert {"optimizer:good/good", "optimizer:loud/loud"} <= names
    faults = {row["plugin"]: row for row in seen["broken"] if row["distribution"].startswith("zoo-")}
    assert len(faults) == len(BAD) + 2
    assert all(row["reason"] and row["fix"] for row in faults.values())
    assert "belongs to alignzoo" in faults["dpo"]["reason"]


def test_a_list_for_people_has_every_fault_below_its_table(neighbours: Shelf) -> None:
    done = alignzoo("list", path=neighbours.folder)
    assert done.returncode == 0
    assert done.stderr == ""
    table, _, faults = done.stdout.partition("faults in installed plugins:")
    rows = [line.split() for line in table.splitlines()]
    assert rows[0][:2] == ["KIND", "NAME"]
    assert ["optimizer", "good", "zoo-good", "1.0", "unlisted", "ok", "does", "good"] in rows
    assert ["optimizer", "loud", "zoo-loud", "1.0", "unlisted", "fault", "does", "loud"] in rows
    assert faults.count("    fix: ") >= len(BAD) + 2


def test_a_plugin_that_imports_something_heavy_works_and_is_told_of(shelf: Shelf) -> None:
    shelf.put("slow", "import numpy\n" + offering(optimizer("slow", "zoo_slow")))
    seen = json.loads(alignzoo("list", "--json", path=shelf.folder).stdout)
    assert "optimizer:slow/slow" in {row["name"] for row in seen["components"]}
    (fault,) = [row for row in seen["broken"] if row["plugin"] == "slow"]
    assert fault["reason"] == "it imports numpy when it is loaded"
    assert "every listing is slow" in fault["fix"]


@pytest.mark.parametrize("words", [["--help"], ["list", "--help"], ["--version"], ["info", "good"], []])
def test_the_light_verbs_are_light(shelf: Shelf, words: list[str]) -> None:
    shelf.healthy("good")
    done = alignzoo(*words, path=shelf.folder, spy=True)
    assert done.returncode == 0
    assert done.stderr == "HEAVY []\n"
    assert done.stdout


@pytest.mark.parametrize("module", ["report", "bench.report", "compare.words"])
def test_what_tells_of_finished_runs_imports_no_torch(module: str) -> None:
    """`show`, `compare` and a bench's report read files."""
    code = (
        f"import sys, alignzoo.lab.{module}; print([name for name in ('torch', 'transformers', 'peft') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_list_by_kind_and_by_what_a_run_has(shelf: Shelf) -> None:
    needs = ", needs=('prompts', 'reward')"
    reward = '"reward", "judge", "zoo_many.work:Work", "judges"'
    shelf.put("many", offering(optimizer("ppo", "zoo_many", needs), optimizer("free", "zoo_many"), reward))

    def mine(*words: str) -> set[str]:
        done = alignzoo("list", "--json", *words, path=shelf.folder)
        return {r["name"] for r in json.loads(done.stdout)["components"] if r["distribution"] == "zoo-many"}

    assert mine() == {"optimizer:many/ppo", "optimizer:many/free", "reward:many/judge"}
    assert mine("--kind", "reward") == {"reward:many/judge"}
    assert mine("--accepts", "prompts") == {"optimizer:many/free"}
    assert mine("--accepts", "prompts,reward") == {"optimizer:many/ppo", "optimizer:many/free"}
    assert mine("--accepts", "prompts", "--accepts", "reward") == {"optimizer:many/ppo", "optimizer:many/free"}


WORK = '''
from dataclasses import dataclass
from typing import Annotated

import torch
from alignzoo.interfaces import Manner, Positive


@dataclass(frozen=True)
class Work:
    beta: Positive = 0.1
    """How far from the reference."""
    manner: Manner = Manner()
'''


def test_info_shows_the_settings_without_importing_them(shelf: Shelf) -> None:
    component = optimizer("deep", "zoo_deep", ", needs=('comparisons',), paper='https://example.org'")
    shelf.put("deep", offering(component), work=WORK)
    done = alignzoo("info", "deep", path=shelf.folder, spy=True)
    assert done.stderr == "HEAVY []\n"
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["optimizer:deep/deep"]
    assert ["needs:", "comparisons"] in lines
    assert ["paper:", "https://example.org"] in lines
    assert ["beta", "float", "0.1", ">", "0", "How", "far", "from", "the", "reference."] in lines
    assert ["manner.max_tokens", "int", "64", ">=", "1"] in lines
    facts = json.loads(alignzoo("info", "deep", "--json", path=shelf.folder).stdout)
    assert facts["settings"][0]["doc"] == "How far from the reference."
    assert len(facts["digest"]) == 64


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lst"], "alignzoo: no command named 'lst'; did you mean 'list'?"),
        (["list", "--acepts", "x"], "alignzoo: no option '--acepts'; did you mean '--accepts'?"),
        (["--verion"], "alignzoo: no option '--verion'; did you mean '--version'?"),
        (["list", "more"], "alignzoo: 'more' is one argument too many; see alignzoo list --help"),
        (["list", "--accepts", "comparison"], "alignzoo: --accepts comparison: a lesson holds no such thing; did you mean"),
        (["info", "optimizer:goood"], "alignzoo: no optimizer named 'optimizer:goood'; did you mean 'good'?"),
        (["info", "bad"], "alignzoo: no component named 'bad' can be used: plugin 'bad' (zoo-bad 1.0) is installed but"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(shelf: Shelf, words: list[str], message: str) -> None:
    shelf.healthy("good")
    shelf.put("bad", "1 / 0")
    done = alignzoo(*words, path=shelf.folder)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_table_leaves_empty_columns_out_and_wraps_its_last_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("beta", "", "how far the policy may go from where it began"), ("lr", "", "a rate")]
    head = ("SETTING", "RANGE", "MEANING")
    assert table(head, rows).splitlines()[1] == "beta     how far the policy may go from where it began"
    assert "RANGE" not in table(head, rows)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    assert table(head, rows).splitlines()[1:] == [
        "beta     how far the policy may go from",
        "         where it began",
        "lr       a rate",
    ]


CRASH = """
import sys
from alignzoo import cli
from alignzoo.cli import list as verb
def run(args):
    raise {error}
verb.run = run
sys.exit(cli.main(["list"]))
"""


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        ("ValueError('a bug')", 1, "Traceback"),
        ("KeyError('a bug')", 1, "Traceback"),
        ("RuntimeError('a bug')", 1, "Traceback"),
        ("RuntimeError('CUDA out of memory. Tried 2 GiB')", 2, "alignzoo: out of memory; what was finished is kept"),
        ("MemoryError()", 2, "alignzoo: out of memory; what was finished is kept"),
        ("KeyboardInterrupt", 130, "alignzoo: interrupted"),
        ("FileNotFoundError(2, 'No such file', 'run.toml')", 2, "alignzoo: run.toml: No such file"),
        ("__import__('alignzoo.records').records.RecordError('x\\ny')", 2, "alignzoo: x\nalignzoo: y"),
    ],
)
def test_a_bug_keeps_its_traceback_and_a_mistake_has_none(error: str, code: int, words: str) -> None:
    done = subprocess.run([sys.executable, "-c", CRASH.format(error=error)], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr.startswith(words)


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m alignzoo list --json | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("0", "141")
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_the_verbs(shell: str) -> None:
    done = alignzoo("--print-completion", shell)
    assert done.returncode == 0
    assert "shtab" in done.stdout
    assert "info" in done.stdout


def test_main_can_be_called_again_and_again(capsys: pytest.CaptureFixture[str]) -> None:
    from alignzoo.cli import main

    assert [main(["list", "--json"]), main(["list", "--json"]), main(("lst",))] == [0, 0, 2]
    assert "did you mean 'list'" in capsys.readouterr().err


VERB = f"""
{HEAD}from alignzoo.seam.hookspecs import Command

@hookimpl
def alignzoo_commands():
    yield Command("greet", "zoo_greeter.greet", "say a word")
"""
GREET = """
def arguments(page):
    page.add_argument("word")
    page.add_argument("--twice", action="store_true")

def run(args):
    print(*[args.word] * (2 if args.twice else 1))
    return 3
"""


def test_a_plugin_adds_a_command_that_is_imported_only_when_used(shelf: Shelf) -> None:
    module = shelf.put("greeter", VERB)
    (shelf.folder / module / "greet.py").write_text(GREET)
    helped = alignzoo("--help", path=shelf.folder, spy=True)
    assert "greet" in helped.stdout
    assert "say a word (of plugin 'greeter')" in " ".join(helped.stdout.split())
    assert helped.stderr == "HEAVY []\n"
    done = alignzoo("greet", "hello", "--twice", path=shelf.folder)
    assert (done.returncode, done.stdout) == (3, "hello hello\n")
    odd = alignzoo("greet", "hello", "--twize", path=shelf.folder)
    assert (odd.returncode, odd.stderr) == (2, "alignzoo: no option '--twize'; did you mean '--twice'?\n")
    near = alignzoo("gret", path=shelf.folder)
    assert near.stderr == "alignzoo: no command named 'gret'; did you mean 'greet'?\n"


def test_a_broken_command_keeps_no_other_from_working(shelf: Shelf) -> None:
    shelf.put("greeter", VERB)  # its module is not there
    done = alignzoo("list", "--json", path=shelf.folder)
    assert done.returncode == 0
    faults = [row["reason"] for row in json.loads(done.stdout)["broken"] if row["plugin"] == "greeter"]
    assert faults == ["command 'greet' is in 'zoo_greeter.greet', but there is no such module"]
    assert "no command named 'greet'" in alignzoo("greet", path=shelf.folder).stderr


CHATTER = """
from alignzoo.cli.quiet import quiet_libraries

quiet_libraries()
from transformers.utils import logging

logging.get_logger("transformers.modeling_utils").warning("your input_ids may be padded")
"""


def test_what_libraries_say_of_our_use_of_them_stays_out_of_a_run() -> None:
    """Packed rows have no padding and no mask; transformers takes their first or last token for some."""
    environment = {name: value for name, value in os.environ.items() if name != "TRANSFORMERS_VERBOSITY"}
    done = subprocess.run([sys.executable, "-c", CHATTER], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
