"""What of a lesson can be learned from: every row that is left out, cut, tied, doubled or contradicted is counted, by reason,
and a run refuses to go on where it is more than a stated share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from alignzoo.interfaces import Lesson, LessonError
from alignzoo.learning.choices import Limits
from alignzoo.model.text import Text, TextError
from alignzoo.records import Comparison, Completion, Prompt, Rating

T = TypeVar("T")


class IntakeError(ValueError):
    """Too much of the feedback cannot be used."""


@dataclass
class Intake:
    """Counts of one lesson's rows."""

    rows: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    noticed: Counter[str] = field(default_factory=Counter)
    """Rows that were kept: ties, duplicates, contradictions, prompts that were cut."""

    @property
    def kept(self) -> int:
        return self.rows - self.dropped.total()

    def lines(self) -> list[str]:
        """For a reader."""
        told = [f"{self.rows} rows, {self.kept} kept"] if self.rows else []
        told += [f"  dropped {count}: {reason}" for reason, count in self.dropped.most_common()]
        return told + [f"  noticed {count}: {reason}" for reason, count in self.noticed.most_common()]

    def row(self) -> dict[str, object]:
        return {"rows": self.rows, "kept": self.kept, "dropped": dict(self.dropped), "noticed": dict(self.noticed)}


def check_lesson(lesson: Lesson, needs: Sequence[str], text: Text) -> None:
    """Raise `LessonError`, before the first forward pass, where something needed is missing or a row of it cannot be learned
    from. By then a run has left such rows out, and counted them (`admit`); who calls an optimizer himself is told."""
    lesson.check(needs)
    for kind in (need for need in needs if need in _UNFIT):
        for place, row in enumerate(getattr(lesson, kind)):
            if reason := _UNFIT[kind](row, text):
                about = f"it begins: {row.prompt.text[:60]!r}"
                raise LessonError(f"{kind}[{place}] cannot be learned from: {reason}. Leave it out ({about})")


def admit(lesson: Lesson, needs: Sequence[str], text: Text, limits: Limits = Limits()) -> tuple[Lesson, Intake]:
    """The lesson without the rows that an optimizer with these needs cannot use, and the count of everything odd in it."""
    intake = Intake()
    changes: dict[str, Any] = {}
    if "comparisons" in needs:
        changes["comparisons"] = _kept("comparisons", lesson.comparisons, intake, text)
        _notice_cuts(((pair.prompt, (pair.chosen, pair.rejected)) for pair in changes["comparisons"]), text, intake)
        _notice_pairs(lesson.comparisons, intake)
        _refuse_ties(changes["comparisons"])
    if "demonstrations" in needs:
        changes["demonstrations"] = _kept("demonstrations", lesson.demonstrations, intake, text)
        _notice_cuts(((shown.prompt, (shown.completion,)) for shown in changes["demonstrations"]), text, intake)
        _notice_doubles(((d.prompt, d.completion.text) for d in lesson.demonstrations), intake)
    if "ratings" in needs:
        changes["ratings"] = _kept("ratings", lesson.ratings, intake, text)
        _notice_cuts(((rated.prompt, (rated.completion,)) for rated in changes["ratings"]), text, intake)
        _notice_ratings(lesson.ratings, intake)
    if "rankings" in needs:
        changes["rankings"] = _kept("rankings", lesson.rankings, intake, text)
        _notice_cuts(((ranked.prompt, ranked.completions) for ranked in changes["rankings"]), text, intake)
    if intake.rows and intake.dropped.total() > limits.dropped * intake.rows:
        raise IntakeError(
            f"{intake.dropped.total()} of {intake.rows} rows cannot be used, more than intake.dropped = {limits.dropped:g} "
            "allows:\n" + "\n".join(intake.lines())
        )
    contradicted = intake.noticed["contradicted by another row"]
    if contradicted > limits.contradictory * max(1, intake.rows):
        raise IntakeError(
            f"{contradicted} of {intake.rows} comparisons are contradicted by others, more than intake.contradictory = "
            f"{limits.contradictory:g} allows"
        )
    return replace(lesson, **changes), intake


def _kept(kind: str, rows: Sequence[T], intake: Intake, text: Text) -> tuple[T, ...]:
    intake.rows += len(rows)
    kept = []
    for row in rows:
        if reason := _UNFIT[kind](row, text):
            intake.dropped[reason] += 1
        else:
            kept.append(row)
    return tuple(kept)


def _unfit(replies: Sequence[Completion], text: Text, prompt: Prompt) -> str:
    if not all(map(text.wrote, replies)):
        return "token ids of another tokenizer"
    if not prompt.text.strip():
        return "a blank prompt"
    lengths = [len(text.reply_ids(reply)) for reply in replies]
    if min(lengths) == 0 or not all(reply.text.strip() or reply.tokens for reply in replies):
        return "an empty reply"  # one that a policy really wrote, an end token alone, is something to learn from
    if max(lengths) >= text.context:
        return "a reply longer than the context"
    try:
        text.prompt_ids(prompt)
    except TextError as error:
        return str(error)
    return ""


def _unfit_pair(pair: Comparison, text: Text) -> str:
    if pair.chosen.text == pair.rejected.text and pair.chosen.finished == pair.rejected.finished:
        return "both sides are the same"
    if unfit := _unfit((pair.chosen, pair.rejected), text, pair.prompt):
        return unfit
    return "both sides are the same to this tokenizer" if text.reply_ids(pair.chosen) == text.reply_ids(pair.rejected) else ""


_UNFIT: Mapping[str, Callable[[Any, Text], str]] = {
    "comparisons": _unfit_pair,
    "demonstrations": lambda shown, text: _unfit((shown.completion,), text, shown.prompt),
    "ratings": lambda rated, text: _unfit((rated.completion,), text, rated.prompt),
    "rankings": lambda ranked, text: _unfit(ranked.completions, text, ranked.prompt),
}
"""(row, text) → why nothing can be learned from a row of this kind; empty where something can."""


def _notice_cuts(asked: Iterable[tuple[Prompt, Sequence[Completion]]], text: Text, intake: Intake) -> None:
    cut = {
        prompt.id
        for prompt, replies in asked
        if len(text.prompt_ids(prompt)) + max(len(text.reply_ids(reply)) for reply in replies) > text.context
    }
    if cut:
        intake.noticed["prompts that lose their beginning to the context"] += len(cut)


def _notice_pairs(pairs: Sequence[Comparison], intake: Intake) -> None:
    seen = Counter((p.prompt.id, *_by_preference(p)) for p in pairs)
    decided = Counter((p.prompt.id, *_by_preference(p)) for p in pairs if not p.tie)
    intake.noticed["ties"] += sum(pair.tie for pair in pairs)
    intake.noticed["doubled"] += sum(count - 1 for count in seen.values())
    intake.noticed["contradicted by another row"] += sum(
        count for (prompt, better, worse), count in decided.items() if (prompt, worse, better) in decided and better != worse
    )
    intake.noticed += Counter()  # drops the zeros


def _by_preference(pair: Comparison) -> tuple[str, str]:
    """The better text and the worse: below a strength of one half that is not the chosen one."""
    sides = (pair.chosen.text, pair.rejected.text)
    return sides if pair.strength >= 0.5 else sides[::-1]


def _refuse_ties(pairs: Sequence[Comparison]) -> None:
    if pairs and all(pair.tie for pair in pairs):
        raise IntakeError(f"all {len(pairs)} comparisons that can be used are ties (strength 0.5): they prefer nothing")


def _notice_doubles(texts: Iterable[tuple[Prompt, str]], intake: Intake) -> None:
    seen = Counter((prompt.id, text) for prompt, text in texts)
    if doubled := sum(count - 1 for count in seen.values()):
        intake.noticed["doubled"] += doubled


def _notice_ratings(ratings: Sequence[Rating], intake: Intake) -> None:
    _notice_doubles(((rating.prompt, rating.completion.text) for rating in ratings), intake)
    if len({rating.score for rating in ratings}) == 1 and len(ratings) > 1:
        intake.noticed["equal: every score is the same"] += len(ratings)
