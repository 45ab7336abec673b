"""Run folders: making one for a plan, taking one up again, and telling how far one is."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from alignzoo.lab import store
from alignzoo.lab.plan import Plan, differences
from alignzoo.lab.report import jury_in
from alignzoo.lab.runfile import local_files, plan_of, trained_plan_of
from alignzoo.learning.memory import newest
from alignzoo.seam.discovery import discover


class RunError(ValueError):
    """A run folder that cannot be used as asked."""


def settle(plan: Plan, files: store.Folder, *, other_bytes: bool = False) -> None:
    """Make the folder of a plan, or make sure that it is this plan's. With `other_bytes` plugins may have changed since it
    was made; that is noted in its run.toml. Jurors may join: they hear the answers that are there."""
    if not files.settings.exists():
        if files.root.exists() and any(files.root.iterdir()):
            raise RunError(f"{files.root} is there already and is no run; choose another folder with --out")
        for path in plan.plugins:
            files.plugin(path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, files.plugin(path))
        store.write_text(files.settings, tomli_w.dumps({**plan.table(), "made_with": plan.made_with()}))
        return
    table, made_with = _read(files)
    told = differences(placeless(table), placeless(plan.table()))
    joined = bool(told) and _joined(table, plan)
    if not joined:
        _refuse(files, "settings", told)
    _same_bytes(plan, _with_theirs(plan, made_with) if joined else made_with, files, other_bytes)
    if joined:
        _seat(plan, files)


def plan_in(root: Path, *, other_bytes: bool = False) -> Plan:
    """The plan of a run's folder. One that is not trained yet must be continued by the plugins that it was begun with, unless
    `other_bytes` are allowed; then it is noted that they were. One that is trained is opened from what its folder holds: that
    the data which it learned from has been moved is no fault of it."""
    files = store.Folder(root)
    if not files.settings.exists():
        raise RunError(f"{root} is no run: there is no run.toml in it")
    table, made_with = _read(files)
    copies = [str(files.plugin(path)) for path in local_files(table, str(files.settings))]
    zoo, named = discover(files=copies), str(files.settings)
    if files.train.done:
        return trained_plan_of(table, zoo, named)
    plan = plan_of(table, zoo, named)
    _same_bytes(plan, made_with, files, other_bytes)
    return plan


def progress_in(root: Path) -> dict[str, str]:
    """How far the run in a folder is, stage by stage."""
    files, plan = store.Folder(root), plan_in(root)
    trainings = {"start": files.start} if plan.start else {}
    rewards = [files.reward(number) for number, _ in enumerate((r for r in plan.rewards if r.feedback), start=1)]
    jury = [files.juror(number) for number in plan.trained_jury]
    trainings |= {training.folder.name: training for training in (*rewards, *jury)} | {"train": files.train}
    states = {name: _state(training) for name, training in trainings.items()}
    written = {"collect": files.feedback, "answer": files.answers, "judge": files.scores}
    states |= {name: "done" if path.exists() else "to do" for name, path in written.items()}
    order = ("start", *(training.folder.name for training in (*rewards, *jury)), "collect", "train", "answer", "judge")
    return {name: states[name] for name in order if name in states}


def _joined(table: Mapping[str, Any], plan: Plan) -> bool:
    """Whether a plan is that of a folder with more jurors behind those that it has. Its folders are numbered as they stand."""
    there, now = jury_in(table), jury_in(plan.table())
    alike = [placeless({**settings, "jury": []}) for settings in (table, plan.table())]
    return there == now[: len(there)] and alike[0] == alike[1]


def _with_theirs(plan: Plan, made_with: Mapping[str, Any]) -> dict[str, Any]:
    """What a run was made with, and beside it the plugins of jurors that join it."""
    return {**made_with, "plugins": {**plan.made_with()["plugins"], **made_with.get("plugins", {})}}


def _seat(plan: Plan, files: store.Folder) -> None:
    """Write jurors into a run that they joined. What was said of its answers is to be said again, and by them."""
    made_with = _with_theirs(plan, _read(files)[1])
    store.write_text(files.settings, tomli_w.dumps({**plan.table(), "made_with": made_with}))
    for path in (files.scores, files.judging, files.report, files.root / "report.json"):
        path.unlink(missing_ok=True)


def _state(training: store.Training) -> str:
    if training.done:
        return "done"
    checkpoint = newest(training.checkpoint)
    return f"checkpoint after update {checkpoint.update}" if checkpoint else "to do"


def _read(files: store.Folder) -> tuple[dict[str, Any], Mapping[str, Any]]:
    table = store.read_settings(files)
    return table, table.pop("made_with", {})


def placeless(table: Mapping[str, Any]) -> dict[str, Any]:
    """Without saying where the plugins in files lie: their bytes decide whether they are the same."""
    return {**table, "plugins": [Path(path).name for path in table.get("plugins", [])]}


def _same_bytes(plan: Plan, made_with: Mapping[str, Any], files: store.Folder, other_bytes: bool) -> None:
    """Refuse a run whose plugins are other ones now; or, if that is wanted, note which they were until when."""
    then, now = made_with.get("plugins", {}), plan.made_with()
    changed = differences(then, now["plugins"])
    if not other_bytes or not changed:
        _refuse(files, "bytes of its plugins", changed, "; or go on with these, which is noted in the run: --other-bytes")
        return
    checkpoint = newest(files.train.checkpoint)
    before = {"until_update": checkpoint.update if checkpoint else 0, "plugins": dict(then)}
    history = [*made_with.get("before", ()), before]
    store.write_text(files.settings, tomli_w.dumps({**plan.table(), "made_with": {**now, "before": history}}))


def _refuse(files: store.Folder, what: str, told: Sequence[str], otherwise: str = "") -> None:
    if told:
        raise RunError(
            f"{files.root} was made with other {what}; choose another folder with --out, or remove it{otherwise}:\n  "
            + "\n  ".join(told)
        )
