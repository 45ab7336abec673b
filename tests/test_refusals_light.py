"""A run that cannot be is refused before the libraries of models are imported, which takes longer than all else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alignzoo.seam.discovery import discover

MODELS = ("transformers.modeling_utils", "peft", "bitsandbytes", "accelerate", "datasets")
SPY = f"""
import json, sys
from alignzoo.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print(json.dumps([code, [name for name in {MODELS!r} if name in sys.modules]]))
"""
FIT = {
    "task": {"use": "playground"},
    "model": {"use": "playground"},
    "feedback": {"use": "playground", "kind": "thumbs"},
    "optimizer": {"use": "kto"},
    "judge": {"use": "playground-gold"},
}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an impossible pairing": ({"optimizer": {"use": "dpo"}}, "needs comparisons, but feedback:playground/playground"),
    "a reward that is missing": ({"optimizer": {"use": "ppo"}}, "needs reward"),
    "an unknown optimizer": ({"optimizer": {"use": "dpoo"}}, "dpo"),
    "an unknown setting": ({"optimizer": {"use": "kto", "betta": 1}}, "betta"),
    "a setting out of bounds": ({"optimizer": {"use": "kto", "beta": -1}}, "beta"),
    "no budget": ({"budget": {"tokens": 0}}, "budget.tokens"),
}


def refused(folder: Path, verb: list[str], file: str) -> tuple[int, list[str], str]:
    """How a verb ends, what it has imported, and what it says."""
    (folder / "wrong.toml").write_text(file)
    command = [sys.executable, "-c", SPY, verb[0], "wrong.toml", *verb[1:], "--out", "out"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    code, imported = json.loads(done.stdout.splitlines()[-1])
    assert not (folder / "out").exists()
    return code, imported, done.stderr


def toml(tables: dict[str, dict[str, Any]]) -> str:
    def table(name: str, rows: dict[str, Any]) -> str:
        return "\n".join([f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in rows.items())])

    return "\n".join(table(name, rows) for name, rows in tables.items())


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_refused_before_a_library_of_models_is_imported(case: str, tmp_path: Path) -> None:
    changes, told = WRONG[case]
    code, imported, said = refused(tmp_path, ["run"], 'name = "wrong"\n' + toml({**FIT, **changes}))
    assert (code, imported) == (2, [])
    assert told in said
    assert len(said.splitlines()) == 1


def test_a_bench_refuses_as_soon(tmp_path: Path) -> None:
    entries = '[[entry]]\nname = "kto"\noptimizer = {use = "kto"}\n[[entry]]\nname = "dpo"\noptimizer = {use = "dpo"}\n'
    ground = {name: table for name, table in FIT.items() if name != "optimizer"}
    file = 'name = "wrong"\n' + toml({**ground, "budget": {"tokens": 1000}}) + "\n" + entries
    for verb in (["bench"], ["bench", "--dry-run"]):
        code, imported, said = refused(tmp_path, verb, file)
        assert imported == []
        assert (code, "needs comparisons" in said) == (2, True)


def test_no_bundled_component_needs_them_to_be_set_up() -> None:
    """What a component does with a model, it does when it has one: an import at a module's top delays every refusal."""
    places = sorted({found.component.object.partition(":")[0] for found in discover().components})
    spy = (
        "import importlib, json, sys\n"
        f"told = {{}}\nfor place in {places!r}:\n"
        "    importlib.import_module(place)\n"
        f"    told[place] = [name for name in {MODELS!r} if name in sys.modules]\n"
        "print(json.dumps(told))"
    )
    done = subprocess.run([sys.executable, "-c", spy], capture_output=True, text=True, check=True)
    assert {place: heavy for place, heavy in json.loads(done.stdout).items() if heavy} == {}
    assert "alignzoo_dpo.dpo" in places
