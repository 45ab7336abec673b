"""The nouns: what people and models say about language, as plain text.

Everything here is frozen, free of tensors, and readable on disk as JSON lines (`to_json`, `from_json`). One body of
feedback can teach DPO, KTO, a reward model or ILQL because the conversions between kinds of judgement are explicit
functions with stated losses, at the end of this page.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import combinations
from typing import Any, Literal, get_args

Speaker = Literal["system", "user", "assistant"]


class RecordError(ValueError):
    """A record that cannot be what it says it is."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing that was said, and by whom."""

    speaker: Speaker
    text: str

    def __post_init__(self) -> None:
        if self.speaker not in get_args(Speaker):
            raise RecordError(f"a turn belongs to one of {', '.join(get_args(Speaker))}; got {self.speaker!r}")
        if not isinstance(self.text, str):
            raise RecordError(f"what a turn says is a text; got {self.text!r}")


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the policy is asked: the turns so far, oldest first."""

    turns: tuple[Turn, ...]

    def __post_init__(self) -> None:
        if not self.turns:
            raise RecordError("a prompt needs at least one turn")
        if not (isinstance(self.turns, tuple) and all(isinstance(turn, Turn) for turn in self.turns)):
            raise RecordError(f"a prompt is a tuple of turns, and Prompt.ask(text) makes one of a question; got {self.turns!r}")

    @classmethod
    def ask(cls, text: str, *, system: str = "") -> Prompt:
        """A prompt of one question, with instructions before it if there are any."""
        return cls((*((Turn("system", system),) if system else ()), Turn("user", text)))

    @property
    def text(self) -> str:
        """The last thing that was said."""
        return self.turns[-1].text

    @property
    def id(self) -> str:
        """A name that is the same wherever the same turns were said; splits and groups go by it."""
        said = json.dumps([[turn.speaker, turn.text] for turn in self.turns], ensure_ascii=False)
        return hashlib.sha256(said.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Completion:
    """What was answered. `tokens` are the ids that were really written (empty for text that no model here wrote), and
    `logps` the log-probability of each when it was drawn: text that a policy wrote is never tokenized a second time.
    `finished` is false where the answer was cut before its end."""

    text: str
    tokens: tuple[int, ...] = ()
    finished: bool = True
    logps: tuple[float, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise RecordError(f"a completion is a text; got {self.text!r}")
        if self.logps and len(self.logps) != len(self.tokens):
            raise RecordError(f"{len(self.tokens)} tokens cannot have {len(self.logps)} log-probabilities")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a judgement comes from: always the source; the annotator, time, licence and the rest where they are known."""

    source: str
    annotator: str = ""
    time: str = ""
    licence: str = ""
    split: str = ""
    note: str = ""


NOWHERE = Provenance("unknown")


def _judged(prompt: Prompt, *answers: Completion) -> None:
    """Raise where something else stands in the place of what was asked or answered: its text alone, most often."""
    if not isinstance(prompt, Prompt):
        raise RecordError(f"what was asked is a Prompt, and Prompt.ask(text) makes one; got {prompt!r}")
    for answer in answers:
        if not isinstance(answer, Completion):
            raise RecordError(f"what was answered is a Completion, and Completion(text) makes one; got {answer!r}")


@dataclass(frozen=True, slots=True)
class Demonstration:
    """Somebody showed how to answer."""

    prompt: Prompt
    completion: Completion
    provenance: Provenance = NOWHERE

    def __post_init__(self) -> None:
        _judged(self.prompt, self.completion)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Somebody preferred `chosen` to `rejected`. `strength` is the probability that chosen is the better one: 1 for a
    plain choice, 0.5 for a tie."""

    prompt: Prompt
    chosen: Completion
    rejected: Completion
    strength: float = 1.0
    provenance: Provenance = NOWHERE

    def __post_init__(self) -> None:
        _judged(self.prompt, self.chosen, self.rejected)
        if not 0.0 <= self.strength <= 1.0:  # also refuses NaN
            raise RecordError(f"strength is the probability that chosen is better, between 0 and 1; got {self.strength}")

    @property
    def tie(self) -> bool:
        return self.strength == 0.5


@dataclass(frozen=True, slots=True)
class Ranking:
    """Somebody put several answers in order, best first. `ranks[i]` belongs to `completions[i]`; equal ranks are ties."""

    prompt: Prompt
    completions: tuple[Completion, ...]
    ranks: tuple[int, ...] = ()
    provenance: Provenance = NOWHERE

    def __post_init__(self) -> None:
        _judged(self.prompt, *self.completions)
        if len(self.completions) < 2:
            raise RecordError(f"a ranking needs two answers or more; got {len(self.completions)}")
        if not self.ranks:
            object.__setattr__(self, "ranks", tuple(range(len(self.completions))))
        if len(self.ranks) != len(self.completions):
            raise RecordError(f"{len(self.completions)} answers cannot have {len(self.ranks)} ranks")
        if list(self.ranks) != sorted(self.ranks):
            raise RecordError(f"a ranking lists the best first; got the ranks {list(self.ranks)}")


@dataclass(frozen=True, slots=True)
class Rating:
    """Somebody gave one answer a score. Only differences within one source and value mean anything; thumbs up and down
    are 1 and 0."""

    prompt: Prompt
    completion: Completion
    score: float
    value: str = "overall"
    provenance: Provenance = NOWHERE

    def __post_init__(self) -> None:
        _judged(self.prompt, self.completion)
        if not abs(self.score) <= sys.float_info.max:  # also refuses NaN, and whole numbers that no float holds
            raise RecordError(f"a rating is a finite number; got {self.score}")


@dataclass(frozen=True, slots=True)
class Critique:
    """Somebody said what was wrong with an answer under a principle, and wrote a better one."""

    prompt: Prompt
    completion: Completion
    critique: str
    revision: Completion
    principle: str = ""
    provenance: Provenance = NOWHERE

    def __post_init__(self) -> None:
        _judged(self.prompt, self.completion, self.revision)


Feedback = Demonstration | Comparison | Ranking | Rating | Critique
KINDS: dict[str, type[Feedback]] = {kind.__name__.lower(): kind for kind in get_args(Feedback)}


# On disk ------------------------------------------------------------------------------------------------------------


def to_json(record: Feedback) -> str:
    """One line. Empty fields are left out; log-probabilities of drawn tokens stay in memory."""
    return json.dumps({"kind": type(record).__name__.lower(), **_plain(record)}, ensure_ascii=False, sort_keys=True)


def from_json(line: str) -> Feedback:
    """The record of one line; a `RecordError` says what is missing or wrong in it."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:  # also a number with too many digits, and tables too deep
        raise RecordError(f"not JSON: {error}") from None
    return record_from_row(row)


def record_from_row(row: Any) -> Feedback:
    """The record of what one line says, once it is parsed."""
    if not isinstance(row, Mapping) or row.get("kind") not in list(KINDS):
        seen = row.get("kind") if isinstance(row, Mapping) else type(row).__name__
        raise RecordError(f"'kind' must be one of {', '.join(KINDS)}; got {seen!r}")
    name: str = row["kind"]
    record: Feedback = _built(KINDS[name], {part: value for part, value in row.items() if part != "kind"}, name)
    return record


def prompt_to_row(prompt: Prompt) -> dict[str, Any]:
    return dict(_plain(prompt))


def prompt_from_row(row: Mapping[str, Any]) -> Prompt:
    prompt: Prompt = _built(Prompt, row, "prompt")
    return prompt


def completion_to_row(completion: Completion) -> dict[str, Any]:
    return dict(_plain(completion))


def completion_from_row(row: Mapping[str, Any]) -> Completion:
    completion: Completion = _built(Completion, row, "completion")
    return completion


def _plain(value: Any) -> Any:
    if isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if value is NOWHERE:
        return {}
    parts = ((f, getattr(value, f.name)) for f in fields(value) if f.name != "logps")
    return {f.name: _plain(part) for f, part in parts if part not in ((), "", NOWHERE) or part != f.default}


_PARTS: dict[str, type] = {
    "prompt": Prompt,
    "completion": Completion,
    "chosen": Completion,
    "rejected": Completion,
    "revision": Completion,
    "provenance": Provenance,
}
_SCALARS: dict[str, tuple[type, ...]] = {
    "speaker": (str,),
    "text": (str,),
    "critique": (str,),
    "principle": (str,),
    "value": (str,),
    "finished": (bool,),
    "score": (int, float),
    "strength": (int, float),
}


def _built(kind: type[Any], row: Any, where: str) -> Any:
    if not isinstance(row, Mapping):
        raise RecordError(f"'{where}' must be a table; got {type(row).__name__}")
    names = [f.name for f in fields(kind) if f.name != "logps"]
    if unknown := sorted(set(row) - set(names)):
        raise RecordError(f"'{where}' has no field '{unknown[0]}'; it has {', '.join(names)}")
    try:
        return kind(**{name: _part(name, value, where) for name, value in row.items()})
    except TypeError as error:
        missing = str(error).partition("argument")[2].lstrip("s: ")
        raise RecordError(f"'{where}' is missing {missing}") from None


def _part(name: str, value: Any, where: str) -> Any:
    here = f"{where}.{name}"
    if name in _PARTS:
        return _built(_PARTS[name], value, here)
    if name in _SCALARS:
        allowed = _SCALARS[name]
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise RecordError(f"'{here}' must be {' or '.join(t.__name__ for t in allowed)}; got {value!r}")
        return _whole(value, here) if isinstance(value, str) else value
    if name in ("turns", "completions"):
        if not isinstance(value, list):
            raise RecordError(f"'{here}' must be a list; got {type(value).__name__}")
        kind: type = Turn if name == "turns" else Completion
        return tuple(_built(kind, item, f"{here}[{i}]") for i, item in enumerate(value))
    if name in ("tokens", "ranks"):
        if not isinstance(value, list) or not all(type(item) is int for item in value):
            raise RecordError(f"'{here}' must be a list of whole numbers; got {value!r}")
        return tuple(value)
    if not isinstance(value, str):
        raise RecordError(f"'{here}' must be str; got {value!r}")
    return _whole(value, here)


def _whole(words: str, where: str) -> str:
    if not is_whole(words):
        raise RecordError(f"'{where}' holds half of a surrogate pair, which is no text")
    return words


def is_whole(words: str) -> bool:
    """Whether words can be written to a file again: JSON can hold half of a surrogate pair, UTF-8 cannot."""
    if words.isascii():
        return True
    try:
        words.encode()
    except UnicodeEncodeError:
        return False
    return True


# Conversions: each says what it loses ----------------------------------------------------------------------------------


def pairs_of_ranking(ranking: Ranking) -> tuple[Comparison, ...]:
    """Every pair of a ranking whose ranks differ, in one group. Loses: ties, and that the pairs were one judgement
    (keep the tuple together where that matters, as InstructGPT does)."""
    places = zip(ranking.completions, ranking.ranks, strict=True)
    return tuple(
        Comparison(ranking.prompt, better, worse, provenance=ranking.provenance)
        for (better, high), (worse, low) in combinations(places, 2)
        if high < low
    )


def ratings_of_comparison(comparison: Comparison) -> tuple[Rating, Rating]:
    """Chosen is rated by the probability that it is better and rejected by the rest: 1 and 0 for a plain choice. Loses:
    that the two were judged against each other."""
    up, down = comparison.strength, 1.0 - comparison.strength
    return (
        Rating(comparison.prompt, comparison.chosen, up, provenance=comparison.provenance),
        Rating(comparison.prompt, comparison.rejected, down, provenance=comparison.provenance),
    )


def comparison_of_critique(critique: Critique) -> Comparison:
    """The revision over the original. Loses: the critique's words."""
    return Comparison(critique.prompt, critique.revision, critique.completion, provenance=critique.provenance)


def demonstration_of_critique(critique: Critique) -> Demonstration:
    """The revision as an example to follow. Loses: the original and the critique's words."""
    return Demonstration(critique.prompt, critique.revision, critique.provenance)


def demonstration_of_comparison(comparison: Comparison) -> Demonstration:
    """The chosen answer as an example to follow. Loses: the rejected one, and how sure the choice was."""
    return Demonstration(comparison.prompt, comparison.chosen, comparison.provenance)


def comparisons_of_ratings(ratings: Sequence[Rating]) -> tuple[Comparison, ...]:
    """Every pair of answers to one prompt that one source rated differently on one value, higher over lower. Loses: how
    far apart the scores were, and answers that stand alone or level."""
    groups: dict[tuple[str, str, str], list[Rating]] = {}
    for rating in ratings:
        groups.setdefault((rating.prompt.id, rating.provenance.source, rating.value), []).append(rating)
    return tuple(
        Comparison(high.prompt, high.completion, low.completion, provenance=high.provenance)
        for group in groups.values()
        for high, low in (sorted(two, key=lambda r: -r.score) for two in combinations(group, 2))
        if high.score > low.score and high.completion.text != low.completion.text
    )


def oriented(comparison: Comparison) -> Comparison:
    """The same judgement with the likelier side as chosen: a strength below one half turns the pair round. Loses
    nothing."""
    if comparison.strength >= 0.5:
        return comparison
    turned = replace(comparison, chosen=comparison.rejected, rejected=comparison.chosen)
    return replace(turned, strength=1.0 - comparison.strength)


def comparisons_in(feedback: Iterable[Feedback]) -> Iterator[Comparison]:
    """All pairwise preferences that this feedback implies without looking across records."""
    for record in feedback:
        match record:
            case Comparison():
                yield oriented(record)
            case Ranking():
                yield from pairs_of_ranking(record)
            case Critique():
                yield comparison_of_critique(record)
            case _:
                pass


def ratings_in(feedback: Iterable[Feedback]) -> Iterator[Rating]:
    """All single-answer scores that this feedback implies."""
    for record in feedback:
        match record:
            case Rating():
                yield record
            case Comparison() | Ranking() | Critique():
                for comparison in comparisons_in([record]):
                    yield from ratings_of_comparison(comparison)
            case _:
                pass


def demonstrations_in(feedback: Iterable[Feedback]) -> Iterator[Demonstration]:
    """Examples to follow: demonstrations as they are, and revisions. The chosen side of a pair is no demonstration
    unless a run asks for it (`demonstration_of_comparison`)."""
    for record in feedback:
        match record:
            case Demonstration():
                yield record
            case Critique():
                yield demonstration_of_critique(record)
            case _:
                pass
