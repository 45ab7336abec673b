"""Run folders: making one for a plan, taking one up again, and telling how far one is."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from alignzoo.lab import store
from alignzoo.lab.plan import Plan, differences
from alignzoo.lab.runfile import local_files, plan_of
from alignzoo.learning.memory import newest
from alignzoo.seam.discovery import discover


class RunError(ValueError):
    """A run folder that cannot be used as asked."""


def settle(plan: Plan, files: store.Folder) -> None:
    """Make the folder of a plan, or make sure that it is this plan's."""
    if not files.settings.exists():
        if files.root.exists() and any(files.root.iterdir()):
            raise RunError(f"{files.root} is there already and is no run; choose another folder with --out")
        for path in plan.plugins:
            files.plugin(path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, files.plugin(path))
        store.write_text(files.settings, tomli_w.dumps({**plan.table(), "made_with": plan.made_with()}))
        return
    table, made_with = _read(files.settings)
    _refuse(files, "settings", differences(_placeless(table), _placeless(plan.table())))
    _same_bytes(plan, made_with, files)


def plan_in(root: Path) -> Plan:
    """The plan of a run's folder. One that is not trained yet must be continued by the plugins that it was begun with."""
    files = store.Folder(root)
    if not files.settings.exists():
        raise RunError(f"{root} is no run: there is no run.toml in it")
    table, made_with = _read(files.settings)
    copies = [str(files.plugin(path)) for path in local_files(table, str(files.settings))]
    plan = plan_of(table, discover(files=copies), file=str(files.settings))
    if not files.train.done:
        _same_bytes(plan, made_with, files)
    return plan


def progress_in(root: Path) -> dict[str, str]:
    """How far the run in a folder is, stage by stage."""
    files, plan = store.Folder(root), plan_in(root)
    trainings = {"start": files.start} if plan.start else {}
    rewards = [files.reward(number) for number, _ in enumerate((r for r in plan.rewards if r.feedback), start=1)]
    trainings |= {training.folder.name: training for training in rewards} | {"train": files.train}
    states = {name: _state(training) for name, training in trainings.items()}
    written = {"collect": files.feedback, "answer": files.answers, "judge": files.scores}
    states |= {name: "done" if path.exists() else "to do" for name, path in written.items()}
    order = ("start", *(training.folder.name for training in rewards), "collect", "train", "answer", "judge")
    return {name: states[name] for name in order if name in states}


def _state(training: store.Training) -> str:
    if training.done:
        return "done"
    checkpoint = newest(training.checkpoint)
    return f"checkpoint after update {checkpoint.update}" if checkpoint else "to do"


def _read(settings: Path) -> tuple[dict[str, Any], Mapping[str, Any]]:
    try:
        table = tomllib.loads(settings.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise RunError(f"{settings}: not TOML: {error}") from None
    return table, table.pop("made_with", {})


def _placeless(table: Mapping[str, Any]) -> dict[str, Any]:
    """Without saying where the plugins in files lie: their bytes decide whether they are the same."""
    return {**table, "plugins": [Path(path).name for path in table.get("plugins", [])]}


def _same_bytes(plan: Plan, made_with: Mapping[str, Any], files: store.Folder) -> None:
    _refuse(files, "bytes of its plugins", differences(made_with.get("plugins", {}), plan.made_with()["plugins"]))


def _refuse(files: store.Folder, what: str, told: Sequence[str]) -> None:
    if told:
        raise RunError(
            f"{files.root} was made with other {what}; choose another folder with --out, or remove it:\n  " + "\n  ".join(told)
        )
