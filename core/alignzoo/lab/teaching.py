"""Whether feedback teaches who learns from it anything: asked when it is gathered, before a model is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from alignzoo.interfaces import Choosy, Lesson, LessonError
from alignzoo.lab import store
from alignzoo.lab.cast import Cast
from alignzoo.lab.plan import Part
from alignzoo.learning.intake import IntakeError, refuse_ties
from alignzoo.records import Feedback

_RECORDS = ("demonstrations", "comparisons", "rankings", "ratings")


@dataclass(frozen=True)
class Training:
    """Who learns from which source, and where its feedback lies."""

    place: str
    """Of the source in the run file."""
    part: Part
    source: Part
    files: store.Training | store.Folder


def trainings(cast: Cast) -> Iterator[Training]:
    """All of a run that are still to be done, in their order."""
    plan, files = cast.plan, cast.files
    if plan.start and plan.start_feedback and not files.start.done:
        yield Training("start.feedback", plan.start, plan.start_feedback, files.start)
    for place, scoring, its in [*(cast.rewards() if plan.raised else ()), *cast.jury()]:
        if scoring.feedback and not its.done:
            yield Training(f"{place}.feedback", scoring.part, scoring.feedback, its)
    if plan.learned and not files.train.done:
        yield Training("feedback", plan.optimizer, plan.learned, files)


def check_teaches(training: Training, feedback: Iterable[Feedback]) -> None:
    """Refuse feedback from which an optimizer can learn nothing, whichever of it are left out later."""
    optimizer, lesson = training.part.made, Lesson.of(feedback)
    try:
        lesson.check([need for need in optimizer.needs if need in _RECORDS])
        if "comparisons" in optimizer.needs:
            refuse_ties(lesson.comparisons)
        if isinstance(optimizer, Choosy):
            optimizer.check_feedback(lesson)
    except (LessonError, IntakeError) as error:
        source, learner = training.source.found.full_name, training.part.found.full_name
        raise LessonError(f"{training.place}: {learner} can learn nothing from what {source} gave: {error}") from None
