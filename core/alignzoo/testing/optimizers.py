"""Checks of an optimizer: it is trained on the toy base for some updates, rightly and with the lesson turned round, again with
the same seed, interrupted and resumed, and what it does on the way is looked at.
"""

from __future__ import annotations

import math
import os
import random
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alignzoo.interfaces import Lesson, LessonError, Manner, Policy, Reward, no_reward
from alignzoo.learning.descent import Descent
from alignzoo.model.base import Base
from alignzoo.model.loading import Loading
from alignzoo.model.role import Role, bare_on, load_role, policy_on
from alignzoo.model.wardrobe import Lora
from alignzoo.records import Completion
from alignzoo.testing.checks import Failed, NotRun, Subject, check
from alignzoo.testing.course import Course, pull
from alignzoo.testing.lessons import LONGEST, PROMPTS, lesson, quality
from alignzoo.testing.offered import quick
from alignzoo.testing.toy import toy_base, toy_folder

LEARN, SHORT, HALF = 12, 4, 2
"""Updates of the course that must teach something, of those that are compared, and after which one is interrupted."""
GAIN = 0.02
"""How much better than at the start what was taught must be, and how much worse what was taught the opposite."""
CLOSE = 2e-3
"""Share by which figures may differ that are computed in another order."""


def _lesson(subject: Subject, turned: bool = False) -> Lesson:
    """The trial's lesson, or of the kit's what the optimizer says that it needs and nothing else, so that it says all."""
    if subject.trial.lesson is not None:
        return subject.trial.lesson
    whole, needs = lesson(turned), set(quick(subject).needs)
    return Lesson(**{name: value for name, value in vars(whole).items() if name in needs})


def _course(subject: Subject) -> Course:
    """The training that most checks look at."""
    course: Course = subject.once("course", lambda: pull(quick(subject), _lesson(subject), LEARN))
    return course


def deployed(subject: Subject) -> Policy | Reward:
    """What the optimizer deploys after that training."""
    found: Policy | Reward = quick(subject).deploy(_course(subject).policy, _lesson(subject))
    return found


def _trained(subject: Subject) -> Course:
    """The same, where there are updates to look at."""
    course = _course(subject)
    if not course.told:
        raise NotRun("it makes no updates: what it does, it does when it is deployed")
    return course


@check("optimizer", after=("component.made", "component.protocol"))
def runs(subject: Subject) -> None:
    """It trains on a lesson that holds what it needs and nothing else, and deploys something."""
    if subject.trial.slow and not subject.thorough:
        raise NotRun(f"it takes long: {subject.trial.slow} (--all)")
    if not isinstance(given := deployed(subject), Policy | Reward):
        raise Failed(f"deploy returns a {type(given).__name__}, which is neither a Policy nor a Reward")


@check("optimizer", after=("runs",))
def refuses(subject: Subject) -> None:
    """A lesson without something that it needs is refused with a `LessonError`, before the first forward pass."""
    optimizer, base = quick(subject), toy_base()
    whole, read = _lesson(subject), base.meter.read + base.meter.written
    empty = {need: no_reward if need == "reward" else () for need in optimizer.needs}
    lacking = [(need, Lesson(**{**vars(whole), need: nothing})) for need, nothing in empty.items()]
    for need, poorer in [("everything", Lesson()), *lacking]:
        try:
            poorer.check(optimizer.needs)
            next(iter(optimizer.improve(policy_on(base), poorer)), None)
        except LessonError:
            if base.meter.read + base.meter.written != read:
                raise Failed(f"without {need} it is refused only after the model was asked") from None
        except Exception as error:
            raise Failed(f"without {need} it raises {type(error).__name__}: {error}; name what it needs in `needs`") from None
        else:
            raise Failed(f"without {need} it goes on; name what it needs in `needs`, or raise a LessonError")


@check("optimizer", after=("runs", "finite", "moves"))
def learns(subject: Subject) -> None:
    """It learns: taught what is better it becomes better than it was, and taught the opposite, worse."""
    if subject.trial.lesson is not None:
        raise NotRun("the trial has a lesson of its own, and the kit cannot tell what would be better")
    optimizer = quick(subject)
    wrong = pull(optimizer, _lesson(subject, turned=True), LEARN)
    right = deployed(subject)
    better = quality(right, optimizer.needs)
    worse = quality(optimizer.deploy(wrong.policy, _lesson(subject, turned=True)), optimizer.needs)
    unmoved = bare_on(toy_base(), "start")
    needs = optimizer.needs if isinstance(right, Role) else ("prompts",)
    start = quality(unmoved, needs) if isinstance(right, Policy) else 0.5
    subject.kept["learned"] = (start, better, worse)
    if better < start + GAIN or worse > start - GAIN:
        raise Failed(
            f"from {start:.3f} it goes to {better:.3f}, and with the lesson turned round to {worse:.3f}: "
            + ("the wrong way; is a sign flipped?" if better < worse else "nowhere in particular")
        )


@check("optimizer", after=("runs",))
def base_unchanged(subject: Subject) -> None:
    """The frozen base is, byte for byte, what it was."""
    if _course(subject).base_moved:
        raise Failed("the base's own weights have moved; train only what `Role.parameters` gives")


@check("optimizer", after=("runs", "finite"))
def moves(subject: Subject) -> None:
    """The adapter of every role that it trains has moved."""
    course = _trained(subject)
    if course.digests[course.policy.name] == course.before[1][course.policy.name] and len(course.digests) == 1:
        raise Failed(f"after {len(course.told)} updates the adapter is what it was: no gradient reaches it")


@check("optimizer", after=("runs",))
def finite(subject: Subject) -> None:
    """Every update tells figures, and each is a finite number."""
    for number, metrics in enumerate(_trained(subject).told, start=1):
        if not isinstance(metrics, dict) or not metrics:
            raise Failed(f"update {number} tells nothing; yield a dict of figures, such as what a step returns")
        for name, value in metrics.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise Failed(f"update {number}: {name} is {value!r}, not a finite number")


@check("optimizer", after=("runs",))
def reference_fixed(subject: Subject) -> None:
    """A frozen role, such as a reference, never moves."""
    course = _trained(subject)
    if not course.spy.frozen:
        raise NotRun("it freezes no role")
    if course.spy.drifted:
        raise Failed(f"the frozen role {', '.join(sorted(course.spy.drifted))} has moved; what is measured against it is void")


@check("optimizer", after=("runs",))
def ledger(subject: Subject) -> None:
    """The ledger says what was really spent: every token that went through the model, each judgement once, every score."""
    course = _course(subject)
    spent, seen = course.ledger, course.spy.tokens
    if spent.tokens != seen:
        raise Failed(
            f"the ledger says {spent.tokens} tokens, and {seen} went through the model; ask roles, not the model itself, "
            "and leave the base's meter alone"
        )
    if spent.scores != course.scored:
        raise Failed(f"the ledger says {spent.scores} scores, and the reward was asked for {course.scored}")
    rows = _rows(course, _lesson(subject))
    judged = {"comparisons", "ratings", "rankings", "demonstrations"} & set(course.optimizer.needs)
    if judged and course.told and not 0 < spent.labels <= max(rows.values()):
        raise Failed(f"the ledger says {spent.labels} labels of {max(rows.values())} judgements; deal them from a Deck")


def _rows(course: Course, taught: Lesson) -> dict[str, int]:
    return {name: len(value) for name, value in vars(taught).items() if name not in ("prompts", "reward")}


@check("optimizer", after=("runs",))
def reply_only(subject: Subject) -> None:
    """What it raises and lowers is replies: those of the lesson, or its own answers, each to its prompt; never a prompt."""
    course, text = _trained(subject), toy_base().text
    if not course.spy.learned:
        raise NotRun("it learns from no log-probability")
    taught = _lesson(subject)
    replies = {text.reply_ids(reply) for reply in _replies(taught)} | course.spy.answers
    for prompt, reply in course.spy.learned:
        if reply not in replies:
            said, asked = text.said(reply), text.said(prompt)
            raise Failed(f"it learns from {said!r} after {asked!r}, which nobody answered: is part of the prompt in the loss?")


def _replies(taught: Lesson) -> Iterator[Completion]:
    for pair in taught.comparisons:
        yield from (pair.chosen, pair.rejected)
    for ranking in taught.rankings:
        yield from ranking.completions
    yield from (shown.completion for shown in taught.demonstrations)
    yield from (rated.completion for rated in taught.ratings)


@check("optimizer", after=("runs",))
def learns_ends(subject: Subject) -> None:
    """The loss reaches the end tokens of replies, so that the policy learns to stop."""
    spy = _trained(subject).spy
    if not spy.elsewhere or not spy.ends:
        raise NotRun("it learns from no log-probability of an end token")
    if not spy.at_ends:
        raise Failed("no gradient reaches the end-of-sequence tokens: the policy would never learn to stop")


@check("optimizer", after=("same-seed",))
def micro_batches(subject: Subject) -> None:
    """An update in micro-batches is the update at once."""
    optimizer = quick(subject)
    descent = getattr(optimizer, "descent", None)
    if not isinstance(descent, Descent):
        raise NotRun("it has no setting `descent`")
    _trained(subject)
    told = [
        pull(replace(optimizer, descent=replace(descent, micro_tokens=limit)), _lesson(subject), 1).told[0]
        for limit in (8192, 40)
    ]
    for name in ("loss", "grad_norm"):
        if name in told[0] and not math.isclose(told[0][name], told[1][name], rel_tol=CLOSE, abs_tol=1e-4):
            raise Failed(
                f"{name} is {told[0][name]:.6g} at once and {told[1][name]:.6g} in micro-batches: sum the losses and count "
                "them (Loss.over), rather than take means"
            )


@check("optimizer", after=("runs", "finite"))
def same_seed(subject: Subject) -> None:
    """The same seed gives the same adapter and the same figures, also the second time in one process."""
    _trained(subject)
    first, second = _whole(subject), pull(quick(subject), _lesson(subject), SHORT)
    if first.digests != second.digests or first.told != second.told:
        raise Failed("two trainings with one seed differ: chance comes from a `Dice`, and nothing is left in a module or class")


def _whole(subject: Subject) -> Course:
    whole: Course = subject.once("whole", lambda: pull(quick(subject), _lesson(subject), SHORT))
    return whole


@check("optimizer", after=("same-seed", "base-unchanged"))
def resumes(subject: Subject) -> None:
    """Interrupted after any update and resumed, it ends bit for bit where it would have without."""
    _trained(subject)
    with tempfile.TemporaryDirectory() as folder:
        pull(quick(subject), _lesson(subject), HALF, folder=Path(folder))
        resumed = pull(quick(subject), _lesson(subject), SHORT - HALF, folder=Path(folder))
    whole = _whole(subject)
    if resumed.digests != whole.digests:
        raise Failed(
            f"{HALF} updates and then {len(resumed.told)} from the checkpoint are not {SHORT} at once: what survives an "
            "update must be a deck, a step, a `Dice`, or announce itself with alignzoo.learning.memory.track"
        )


@check("optimizer", after=("runs", "base-unchanged"))
def stops(subject: Subject) -> None:
    """It stops when it is no longer pulled: nothing moves after the last update that was asked for."""
    _trained(subject)
    base = toy_base()
    policy = policy_on(base)
    going = iter(quick(subject).improve(policy, _lesson(subject)))
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
    _trained(subject)
    seen: list[dict[str, Any]] = []
    before = _globals()
    pull(quick(subject), _lesson(subject), HALF, each=lambda: seen.append(_globals()))
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
    course, optimizer = _course(subject), quick(subject)
    before = deployed(subject)
    with tempfile.TemporaryDirectory() as folder:
        course.policy.save(Path(folder))
        again = optimizer.deploy(load_role(toy_base(), Path(folder), "policy"), _lesson(subject))
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
    _trained(subject)
    with tempfile.TemporaryDirectory() as folder:
        loading = Loading(quantize="nf4", device="cuda")
        base = Base.load(str(toy_folder(Path(folder))), loading, Lora(rank=4, alpha=8.0))
        course = pull(quick(subject), _lesson(subject), HALF, base=base)
    if not course.told or any(not math.isfinite(value) for metrics in course.told for value in metrics.values()):
        raise Failed("on a GPU its figures are not finite")
