"""Checks of an optimizer by one training on the toy base: whether it learns, also with its lesson turned round, and what goes
through the model on the way. What takes a second training is in `repeats`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from alignzoo.interfaces import Lesson, LessonError, Policy, Reward, no_reward
from alignzoo.model.role import Role, bare_on, policy_on
from alignzoo.records import Completion
from alignzoo.testing.checks import Failed, NotRun, Subject, check
from alignzoo.testing.course import Course, pull
from alignzoo.testing.lessons import lesson, quality
from alignzoo.testing.offered import quick
from alignzoo.testing.toy import toy_base

LEARN = 12
"""Updates that must teach something."""
GAIN = 0.02
"""How much better than at the start what was taught must be, and how much worse what was taught the opposite."""


def taught(subject: Subject, turned: bool = False) -> Lesson:
    """The trial's lesson, or of the kit's what the optimizer says that it needs and nothing else, so that it says all."""
    if subject.trial.lesson is not None:
        return subject.trial.lesson
    whole, needs = lesson(turned), set(quick(subject).needs)
    return Lesson(**{name: value for name, value in vars(whole).items() if name in needs})


def course_of(subject: Subject) -> Course:
    """The training that most checks look at."""
    course: Course = subject.once("course", lambda: pull(quick(subject), taught(subject), LEARN))
    return course


def deployed(subject: Subject) -> Policy | Reward:
    """What the optimizer deploys after that training."""
    found: Policy | Reward = quick(subject).deploy(course_of(subject).policy, taught(subject))
    return found


def trained(subject: Subject) -> Course:
    """The same, where there are updates to look at."""
    course = course_of(subject)
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
    whole, read = taught(subject), base.meter.read + base.meter.written
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
    wrong = pull(optimizer, taught(subject, turned=True), LEARN)
    right = deployed(subject)
    better = quality(right, optimizer.needs)
    worse = quality(optimizer.deploy(wrong.policy, taught(subject, turned=True)), optimizer.needs)
    unmoved = bare_on(toy_base(), "start")
    needs = optimizer.needs if isinstance(right, Role) else ("prompts",)
    start = quality(unmoved, needs) if isinstance(right, Policy) else 0.5
    if better < start + GAIN or worse > start - GAIN:
        raise Failed(
            f"from {start:.3f} it goes to {better:.3f}, and with the lesson turned round to {worse:.3f}: "
            + ("the wrong way; is a sign flipped?" if better < worse else "nowhere in particular")
        )


@check("optimizer", after=("runs",))
def base_unchanged(subject: Subject) -> None:
    """The frozen base is, byte for byte, what it was."""
    if course_of(subject).base_moved:
        raise Failed("the base's own weights have moved; train only what `Role.parameters` gives")


@check("optimizer", after=("runs", "finite"))
def moves(subject: Subject) -> None:
    """The adapter of every role that it trains has moved."""
    course = trained(subject)
    if course.digests[course.policy.name] == course.before[1][course.policy.name] and len(course.digests) == 1:
        raise Failed(f"after {len(course.told)} updates the adapter is what it was: no gradient reaches it")


@check("optimizer", after=("runs",))
def finite(subject: Subject) -> None:
    """Every update tells figures, and each is a finite number."""
    for number, metrics in enumerate(trained(subject).told, start=1):
        if not isinstance(metrics, dict) or not metrics:
            raise Failed(f"update {number} tells nothing; yield a dict of figures, such as what a step returns")
        for name, value in metrics.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise Failed(f"update {number}: {name} is {value!r}, not a finite number")


@check("optimizer", after=("runs",))
def reference_fixed(subject: Subject) -> None:
    """A frozen role, such as a reference, never moves."""
    course = trained(subject)
    if not course.spy.frozen:
        raise NotRun("it freezes no role")
    if course.spy.drifted:
        raise Failed(f"the frozen role {', '.join(sorted(course.spy.drifted))} has moved; what is measured against it is void")


@check("optimizer", after=("runs",))
def ledger(subject: Subject) -> None:
    """The ledger says what was really spent: every token that went through the model, each judgement once, every score."""
    course = course_of(subject)
    spent, seen = course.ledger, course.spy.tokens
    if spent.tokens != seen:
        raise Failed(
            f"the ledger says {spent.tokens} tokens, and {seen} went through the model; ask roles, not the model itself, "
            "and leave the base's meter alone"
        )
    if spent.scores != course.scored:
        raise Failed(f"the ledger says {spent.scores} scores, and the reward was asked for {course.scored}")
    rows = _rows(course, taught(subject))
    judged = {"comparisons", "ratings", "rankings", "demonstrations"} & set(course.optimizer.needs)
    if judged and course.told and not 0 < spent.labels <= max(rows.values()):
        raise Failed(f"the ledger says {spent.labels} labels of {max(rows.values())} judgements; deal them from a Deck")


def _rows(course: Course, taught: Lesson) -> dict[str, int]:
    return {name: len(value) for name, value in vars(taught).items() if name not in ("prompts", "reward")}


@check("optimizer", after=("runs",))
def reply_only(subject: Subject) -> None:
    """What it raises and lowers is replies: those of the lesson, or its own answers, each to its prompt; never a prompt."""
    course, text = trained(subject), toy_base().text
    if not course.spy.learned:
        raise NotRun("it learns from no log-probability")
    given = taught(subject)
    replies = {text.reply_ids(reply) for reply in _replies(given)} | course.spy.answers
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
    spy = trained(subject).spy
    if not spy.elsewhere or not spy.ends:
        raise NotRun("it learns from no log-probability of an end token")
    if not spy.at_ends:
        raise Failed("no gradient reaches the end-of-sequence tokens: the policy would never learn to stop")
