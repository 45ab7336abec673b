"""The pairs that a reward is tried on: of any source of feedback that reads, or of a file of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import isfinite
from typing import Any

from alignzoo.interfaces import Asking, FeedbackSource, Lesson
from alignzoo.lab.plan import TEACHES
from alignzoo.learning.choices import Limits
from alignzoo.learning.intake import admit
from alignzoo.model.text import Text
from alignzoo.records import Comparison, Provenance, comparisons_in
from alignzoo.seam.discovery import discover
from alignzoo.seam.nearest import nearest
from alignzoo.seam.settings import build
from alignzoo.tally import Tally
from alignzoo_evaluations.accuracy import Evaluation, EvaluationError, Scored, evaluated
from alignzoo_evaluations.candidates import Candidate

_AT_ONCE = 64
"""Pairs that are scored together."""


@dataclass(frozen=True)
class Trial:
    """Pairs, what each says of where it comes from that makes its subset, and what was left out on the way."""

    pairs: tuple[Comparison, ...]
    subset: str = ""
    """A field of their provenance, such as "note" or "source"; without one they are one subset."""
    tally: Tally = field(default_factory=Tally)

    def subset_of(self, pair: Comparison) -> str:
        return str(getattr(pair.provenance, self.subset)) or "(none)" if self.subset else "all"


def trial_of(source: str, settings: Mapping[str, Any], subset: str = "", limits: Limits = Limits()) -> Trial:
    """The pairs of a source of feedback, by its name and settings."""
    known = [f.name for f in fields(Provenance)]
    if subset and subset not in known:
        raise EvaluationError(f"records say nothing of '{subset}'; they have {', '.join(known)}{nearest(subset, known)}")
    found = discover().find("feedback", source)
    made: FeedbackSource = build(found.load(), settings, "feedback")
    if made.asks:
        raise EvaluationError(
            f"{found.full_name} asks a run for {' and '.join(made.asks)}, so it is no set of pairs that are there; collect it "
            "with a run, and evaluate on the run's feedback.jsonl"
        )
    if not any("comparisons" in TEACHES[kind] for kind in made.gives):
        raise EvaluationError(f"{found.full_name} as it is set gives {', '.join(made.gives)}: no pairs to be right about")
    tally = Tally()
    pairs = tuple(comparisons_in(made.collect(Asking(tally=tally))))
    tally.check(limits.dropped)
    if not pairs:
        raise EvaluationError(f"{found.full_name} gave no pair:\n" + "\n".join(tally.lines()))
    return Trial(pairs, subset, tally)


def tried(candidate: Candidate, trial: Trial, limits: Limits = Limits()) -> tuple[Evaluation, list[str]]:
    """The evaluation, and what there is to say of pairs that this candidate's model cannot read."""
    pairs, told = trial.pairs, list[str]()
    if candidate.text is not None:
        pairs, told = _readable(pairs, candidate.text(), limits)
    reward, scored = candidate.load(), list[Scored]()
    for first in range(0, len(pairs), _AT_ONCE):
        some = pairs[first : first + _AT_ONCE]
        prompts = [pair.prompt for pair in some for _ in range(2)]
        replies = [reply for pair in some for reply in (pair.chosen, pair.rejected)]
        scores = [float(score) for score in reward(prompts, replies)]
        if odd := [place for place, score in enumerate(scores) if not isfinite(score)]:
            asked = prompts[odd[0]].text[:60]
            raise EvaluationError(
                f"{candidate.name} gave {scores[odd[0]]} for an answer to {asked!r}; a score is a finite number: "
                "a model whose training went astray has none"
            )
        sides = zip(some, scores[::2], scores[1::2], strict=True)
        scored += [Scored(pair, trial.subset_of(pair), chosen, rejected) for pair, chosen, rejected in sides]
    return evaluated(candidate.name, scored), told


def _readable(pairs: Sequence[Comparison], text: Text, limits: Limits) -> tuple[tuple[Comparison, ...], list[str]]:
    kept, intake = admit(Lesson(comparisons=pairs), ("comparisons",), text, Limits(limits.dropped, 1.0))
    if not kept.comparisons:
        raise EvaluationError("none of the pairs can be read by this model:\n" + "\n".join(intake.lines()))
    return tuple(kept.comparisons), intake.lines()
