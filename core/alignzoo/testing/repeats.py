"""Checks of an optimizer that take a second training: in smaller batches, with the same seed, interrupted and resumed, stopped,
saved and loaded.
"""

from __future__ import annotations

import math
import os
import random
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alignzoo.interfaces import Lesson, Manner, Policy, Reward
from alignzoo.learning.descent import Descent
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.role import load_role, policy_on
from alignzoo.testing.checks import Failed, NotRun, Subject, check
from alignzoo.testing.course import Course, pull
from alignzoo.testing.lessons import LONGEST, PROMPTS
from alignzoo.testing.offered import quick
from alignzoo.testing.optimizers import course_of, deployed, taught, trained
from alignzoo.testing.toy import toy_base, toy_folder

SHORT, HALF = 4, 2
"""Updates of the trainings that are compared, and after which one is interrupted."""
CLOSE = 2e-3
"""Share by which figures may differ that are computed in another order."""


@check("optimizer", after=("runs", "finite"))
def same_seed(subject: Subject) -> None:
    """The same seed gives the same adapter and the same figures, also the second time in one process."""
    trained(subject)
    first, second = _whole(subject), pull(quick(subject), taught(subject), SHORT)
    if first.digests != second.digests or first.told != second.told:
        raise Failed("two trainings with one seed differ: chance comes from a `Dice`, and nothing is left in a module or class")


def _whole(subject: Subject) -> Course:
    whole: Course = subject.once("whole", lambda: pull(quick(subject), taught(subject), SHORT))
    return whole


@check("optimizer", after=("same-seed", "moves"))
def heeds_rows(subject: Subject) -> None:
    """What it learns depends on the rows that it is given: on those in odd places, on those in even places, on those behind the
    first few."""
    trained(subject)
    given, optimizer = taught(subject), quick(subject)
    most = max(len(rows) for rows in _rows(given).values())
    if most < 4:
        raise NotRun("its lesson has too few rows")
    places = {"in odd places": range(1, most, 2), "in even places": range(0, most, 2), "behind the eighth": range(8, most)}
    usual = pull(optimizer, given, HALF).digests
    for where, changed in places.items():
        if changed and pull(optimizer, _without(given, changed), HALF).digests == usual:
            raise Failed(f"{HALF} updates are the same with other rows {where}: what is dealt to it does not reach its loss")


def _rows(lesson: Lesson) -> dict[str, Sequence[Any]]:
    return {name: rows for name, rows in vars(lesson).items() if name != "reward"}


def _without(lesson: Lesson, places: Sequence[int]) -> Lesson:
    """The row in each of these places is the one two places before: thumbs up and down, which take turns, stay as they are."""
    others: dict[str, Any] = {
        name: tuple(rows[i - 2] if i in places and i > 1 else row for i, row in enumerate(rows))
        for name, rows in _rows(lesson).items()
    }
    return replace(lesson, **others)


@check("optimizer", after=("same-seed",))
def micro_batches(subject: Subject) -> None:
    """An update in micro-batches is the update at once."""
    optimizer = quick(subject)
    descent = getattr(optimizer, "descent", None)
    if not isinstance(descent, Descent):
        raise NotRun("it has no setting `descent`")
    trained(subject)
    told = [
        pull(replace(optimizer, descent=replace(descent, micro_tokens=limit)), taught(subject), 1).told[0]
        for limit in (8192, 40)
    ]
    for name in ("loss", "grad_norm"):
        if name in told[0] and not math.isclose(told[0][name], told[1][name], rel_tol=CLOSE, abs_tol=1e-4):
            raise Failed(
                f"{name} is {told[0][name]:.6g} at once and {told[1][name]:.6g} in micro-batches: sum the losses and count "
                "them (Loss.over), rather than take means"
            )


@check("optimizer", after=("same-seed", "base-unchanged"))
def resumes(subject: Subject) -> None:
    """Interrupted after any update and resumed, it ends bit for bit where it would have without."""
    trained(subject)
    with tempfile.TemporaryDirectory() as folder:
        pull(quick(subject), taught(subject), HALF, folder=Path(folder))
        resumed = pull(quick(subject), taught(subject), SHORT - HALF, folder=Path(folder))
    whole = _whole(subject)
    if resumed.digests != whole.digests:
        raise Failed(
            f"{HALF} updates and then {len(resumed.told)} from the checkpoint are not {SHORT} at once: what survives an "
            "update must be a deck, a step, a `Dice`, or announce itself with alignzoo.learning.memory.track"
        )


@check("optimizer", after=("runs", "base-unchanged"))
def stops(subject: Subject) -> None:
    """It stops when it is no longer pulled: nothing moves after the last update that was asked for."""
    trained(subject)
    base = toy_base()
    policy = policy_on(base)
    going = iter(quick(subject).improve(policy, taught(subject)))
    next(going)
    before, spent = policy.digest, base.meter.read + base.meter.written
    try:
        going.close()
    except RuntimeError as error:
        raise Failed(f"it goes on after it was stopped: {error}") from None
    if policy.digest != before or base.meter.read + base.meter.written != spent:
        raise Failed("it goes on after it was stopped: one `yield` is one update, and after the last comes nothing")


@check("optimizer", after=("runs",))
def globals_kept(subject: Subject) -> None:
    """Nothing global is changed: random states, default dtype, gradients on or off, threads, the environment."""
    trained(subject)
    seen: list[dict[str, Any]] = []
    before = _globals()
    pull(quick(subject), taught(subject), HALF, each=lambda: seen.append(_globals()))
    for after in (*seen, _globals()):
        if changed := [name for name, value in before.items() if after[name] != value]:
            raise Failed(f"it changes {', '.join(changed)}; chance comes from a `Dice`, and what is set is set back")


def _globals() -> dict[str, Any]:
    return {
        "Python's random state": random.getstate(),
        "NumPy's random state": str(np.random.get_state()),
        "torch's random state": torch.get_rng_state().sum().item(),
        "the default dtype": torch.get_default_dtype(),
        "gradients on or off": torch.is_grad_enabled(),
        "the number of threads": torch.get_num_threads(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "the environment": dict(os.environ),
        "the current folder": os.getcwd(),
    }


@check("optimizer", after=("runs", "same-seed", "base-unchanged"))
def saved(subject: Subject) -> None:
    """What it deploys is the same after the adapter was saved and loaded on another base."""
    course, optimizer = course_of(subject), quick(subject)
    before = deployed(subject)
    with tempfile.TemporaryDirectory() as folder:
        course.policy.save(Path(folder))
        again = optimizer.deploy(load_role(toy_base(), Path(folder), "policy"), taught(subject))
    if _said(before) != _said(again):
        raise Failed("loaded from its files it answers otherwise: keep what it deploys in the role, its heads or companions")


def _said(given: Policy | Reward) -> Any:
    if isinstance(given, Policy):
        return given.sample(PROMPTS, 2, Manner(max_tokens=LONGEST, seed=3))
    answers = policy_on(toy_base()).sample(PROMPTS, 1, Manner(max_tokens=LONGEST, seed=3))
    return [round(float(score), 5) for score in given(PROMPTS, [group[0] for group in answers])]


@check("optimizer", "gpu", after=("runs",))
def on_gpu(subject: Subject) -> None:
    """It trains on a GPU, on a base in 4 bits, with finite figures."""
    if not torch.cuda.is_available():
        raise NotRun("there is no GPU here")
    trained(subject)
    with tempfile.TemporaryDirectory() as folder:
        loading = Loading(quantize="nf4", device="cuda")
        base = Base.load(str(toy_folder(Path(folder))), loading, Lora(rank=4, alpha=8.0))
        course = pull(quick(subject), taught(subject), HALF, base=base)
    if not course.told or any(not math.isfinite(value) for metrics in course.told for value in metrics.values()):
        raise Failed("on a GPU its figures are not finite")
