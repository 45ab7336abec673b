"""What of a lesson can be learned from: every row that is left out, cut, tied, doubled or contradicted is counted, by reason,
and a run refuses to go on where it is more than a stated share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary, ref

from alignzoo.interfaces import Lesson, LessonError
from alignzoo.learning.choices import Limits
from alignzoo.model.text import Text, TextError
from alignzoo.records import Comparison, Completion, Demonstration, Prompt, Ranking, Rating

T = TypeVar("T", Comparison, Demonstration, Rating, Ranking)


class IntakeError(ValueError):
    """Too much of the feedback cannot be used."""


class Look(NamedTuple):
    """What is seen of a row when it is looked at."""

    unfit: str = ""
    """Why nothing can be learned from it; empty where something can."""
    cut: bool = False
    """Whether its prompt loses its beginning to the context."""


@dataclass(frozen=True)
class _Admitted:
    """Rows that were looked at and kept, of these kinds of a lesson."""

    lesson: ref[Lesson]
    kinds: frozenset[str]

    def holds(self, kind: str, rows: Sequence[Any]) -> bool:
        """Whether these are those very rows: a tuple of them, which nobody can have changed since."""
        lesson = self.lesson()
        return lesson is not None and kind in self.kinds and getattr(lesson, kind) is rows


_ADMITTED: WeakKeyDictionary[Text, _Admitted] = WeakKeyDictionary()
"""What was admitted last before each text. Many more rows than a text remembers ids of would be made into tokens again, only to
be told what is known."""


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
    from. By then a run has left such rows out, and counted them (`admit`); what it kept is not looked at again. Who calls an
    optimizer himself is told."""
    lesson.check(needs)
    admitted = _ADMITTED.get(text)
    for kind in (need for need in needs if need in _LOOKS):
        rows = getattr(lesson, kind)
        if admitted is not None and admitted.holds(kind, rows):
            continue
        for place, row in enumerate(rows):
            if reason := _LOOKS[kind](row, text).unfit:
                about = f"it begins: {row.prompt.text[:60]!r}"
                raise LessonError(f"{kind}[{place}] cannot be learned from: {reason}. Leave it out ({about})")


def admit(lesson: Lesson, needs: Sequence[str], text: Text, limits: Limits = Limits()) -> tuple[Lesson, Intake]:
    """The lesson without the rows that an optimizer with these needs cannot use, and the count of everything odd in it."""
    intake = Intake()
    changes: dict[str, Any] = {}
    if "comparisons" in needs:
        changes["comparisons"] = _kept("comparisons", lesson.comparisons, intake, text)
        _notice_pairs(lesson.comparisons, intake)
        refuse_ties(changes["comparisons"])
    if "demonstrations" in needs:
        changes["demonstrations"] = _kept("demonstrations", lesson.demonstrations, intake, text)
        _notice_doubles(((d.prompt, d.completion.text) for d in lesson.demonstrations), intake)
    if "ratings" in needs:
        changes["ratings"] = _kept("ratings", lesson.ratings, intake, text)
        _notice_ratings(lesson.ratings, intake)
    if "rankings" in needs:
        changes["rankings"] = _kept("rankings", lesson.rankings, intake, text)
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
    admitted = replace(lesson, **changes)
    _ADMITTED[text] = _Admitted(ref(admitted), frozenset(changes))
    return admitted, intake


def _kept(kind: str, rows: Sequence[T], intake: Intake, text: Text) -> tuple[T, ...]:
    intake.rows += len(rows)
    kept: list[T] = []
    cut: set[str] = set()
    for row in rows:
        seen = _LOOKS[kind](row, text)
        if seen.unfit:
            intake.dropped[seen.unfit] += 1
            continue
        kept.append(row)
        if seen.cut:
            cut.add(row.prompt.id)
    if cut:
        intake.noticed["prompts that lose their beginning to the context"] += len(cut)
    return tuple(kept)


def _look(replies: Sequence[Completion], text: Text, prompt: Prompt) -> Look:
    if not all(map(text.wrote, replies)):
        return Look("token ids of another tokenizer")
    if not prompt.text.strip():
        return Look("a blank prompt")
    lengths = [len(text.reply_ids(reply)) for reply in replies]
    if min(lengths) == 0 or not all(reply.text.strip() or reply.tokens for reply in replies):
        return Look("an empty reply")  # one that a policy really wrote, an end token alone, is something to learn from
    if max(lengths) >= text.context:
        return Look("a reply longer than the context")
    try:
        return Look(cut=len(text.prompt_ids(prompt)) + max(lengths) > text.context)
    except TextError as error:
        return Look(str(error))


def _look_at_pair(pair: Comparison, text: Text) -> Look:
    if pair.chosen.text == pair.rejected.text and pair.chosen.finished == pair.rejected.finished:
        return Look("both sides are the same")
    seen = _look((pair.chosen, pair.rejected), text, pair.prompt)
    if not seen.unfit and text.reply_ids(pair.chosen) == text.reply_ids(pair.rejected):
        return Look("both sides are the same to this tokenizer")
    return seen


_LOOKS: Mapping[str, Callable[[Any, Text], Look]] = {
    "comparisons": _look_at_pair,
    "demonstrations": lambda shown, text: _look((shown.completion,), text, shown.prompt),
    "ratings": lambda rated, text: _look((rated.completion,), text, rated.prompt),
    "rankings": lambda ranked, text: _look(ranked.completions, text, ranked.prompt),
}
"""(row, text) → what is seen of a row of this kind."""


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


def refuse_ties(pairs: Sequence[Comparison]) -> None:
    """Comparisons that prefer nothing teach nobody who needs comparisons."""
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
