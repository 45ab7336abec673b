"""Rewards in a run: held to their word, charged to the ledger, and composed of several where a run names several."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from statistics import fmean, pvariance

from alignzoo.interfaces import LessonError, Metrics, Reward
from alignzoo.learning.choices import Combine, Voice
from alignzoo.learning.ledger import charge
from alignzoo.learning.memory import State
from alignzoo.records import Completion, Prompt

_MOST = 3.4e38
"""What a score may be in size: beyond it is endless in single precision, which optimizers compute in."""


class ScoreError(ValueError):
    """A reward whose scores cannot be used."""


@dataclass(frozen=True)
class Scored:
    """A reward that is held to its word: one finite score for each answer, and each is charged to the ledger."""

    reward: Reward
    name: str

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        charge(scores=len(completions))
        try:
            given = self.reward(prompts, completions)
        except (Exception, SystemExit) as error:
            raise ScoreError(f"{self.name} raised {type(error).__name__}: {error}") from error
        return checked(self.name, given, len(completions))


def scored(reward: Reward, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    """The scores of a reward that no run may have wrapped (`Scored`): held to its word, and named where it breaks it."""
    name = f"the reward '{getattr(reward, '__qualname__', type(reward).__qualname__)}'"
    try:
        given = reward(prompts, completions)
    except (ScoreError, LessonError):  # which say themselves whose they are
        raise
    except (Exception, SystemExit) as error:
        raise ScoreError(f"{name} raised {type(error).__name__}: {error}") from error
    return checked(name, given, len(completions))


def checked(name: str, scores: Iterable[float], count: int) -> list[float]:
    """The scores as numbers, or an error that names the reward that gave them."""
    try:
        given = [_number(score) for score in _in_order(scores)]
    except Exception as error:  # nothing, a word, an iterator that raises: a function of one's own may give anything
        raise ScoreError(f"{name} gave no number for each answer ({type(error).__name__}: {error})") from error
    if len(given) != count:
        raise ScoreError(f"{name} gave {len(given)} scores for {count} answers")
    if odd := [place for place, score in enumerate(given) if not abs(score) <= _MOST]:
        raise ScoreError(f"{name} gave {given[odd[0]]} for answer {odd[0] + 1}; a score is a finite number")
    return given


def _in_order(scores: Iterable[float]) -> Iterable[float]:
    """Texts, tables and sets can be gone through, too, and what they hold may even be numbers: it is not a score for each."""
    if isinstance(scores, str | bytes | Mapping | Set):
        raise TypeError(f"a {type(scores).__name__} is no list of scores")
    return scores


def _number(score: float) -> float:
    if isinstance(score, str | bytes):
        raise TypeError(f"{score!r} is a text")
    return float(score)


@dataclass
class Combined:
    """Several rewards as one. Sums are weighted; an ensemble is judged by its mean, its worst member, or its mean less
    its disagreement (Coste et al. 2023). A cost's multiplier follows dual ascent, λ ← max(0, λ + step · (mean − at_most)),
    as in safe RLHF (Dai et al. 2023)."""

    parts: Sequence[tuple[Voice, Reward]]
    combine: Combine = "sum"
    doubt: float = 0.5
    """Under `uncertain`: how much of the members' variance is taken off."""
    multipliers: dict[str, float] = field(default_factory=dict)
    _heard: dict[str, list[float]] = field(default_factory=dict)

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        scores = {voice.name: _clipped(voice, reward(prompts, completions)) for voice, reward in self.parts}
        for name, given in scores.items():
            self._heard.setdefault(name, []).extend(given)
        counted = [(voice, scores[voice.name]) for voice, _ in self.parts if voice.counts]
        costs = [(multiplier, scores[name]) for name, multiplier in self.multipliers.items()]
        whole = (
            self._joined([voice.weight * given[i] for voice, given in counted]) - sum(by * cost[i] for by, cost in costs)
            for i in range(len(completions))
        )
        return checked("the rewards together", whole, len(completions))

    def after_update(self) -> Metrics:
        """Move the multipliers by what was heard since the last update, and tell it."""
        means = {name: fmean(given) for name, given in self._heard.items() if given}
        self._heard.clear()
        for voice, _ in self.parts:
            if voice.at_most is not None and voice.name in means:
                excess = means[voice.name] - voice.at_most
                self.multipliers[voice.name] = max(0.0, self.multipliers.get(voice.name, 0.0) + voice.step * excess)
        told = {f"score_{name}": mean for name, mean in means.items()}
        return told | {f"multiplier_{name}": value for name, value in self.multipliers.items()}

    def _joined(self, scores: Sequence[float]) -> float:
        match self.combine:
            case "sum":
                return math.fsum(scores)
            case "mean":
                return fmean(scores)
            case "worst":
                return min(scores)
            case "uncertain":
                return fmean(scores) - self.doubt * pvariance(scores)

    def state(self) -> State:
        return {"multipliers": dict(self.multipliers)}

    def restore(self, state: State) -> None:
        self.multipliers = dict(state["multipliers"])


def _clipped(voice: Voice, scores: Sequence[float]) -> list[float]:
    return list(scores) if voice.clip is None else [max(-voice.clip, min(voice.clip, score)) for score in scores]
