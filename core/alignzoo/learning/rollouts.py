"""Experience: answers that the policy has just written, and what reward and reference said of them at the time.

Every on-policy optimizer gathers it in the same way: at one temperature on every side (the distribution that is sampled from
is the one whose log-probabilities are compared), each prompt read once for all its answers, and an answer that did not end
scored as such.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

import torch
from annotated_types import Gt
from torch import Tensor

from alignzoo.interfaces import Count, Lesson, LessonError, Manner, Metrics, Positive, Reward
from alignzoo.learning.divergence import k1
from alignzoo.learning.memory import Dice, State, track
from alignzoo.learning.rewards import scored
from alignzoo.limits import check_settings
from alignzoo.model.forest import Forest, per_reply
from alignzoo.records import Completion, Prompt

if TYPE_CHECKING:
    from alignzoo.model.base import Base


@dataclass(frozen=True)
class Exploring:
    """How answers are written and scored."""

    max_tokens: Count = 48
    """The longest answer."""
    temperature: Positive = 1.0
    """T of the samples and of every log-probability compared with theirs. Top-k and top-p stay off: what they leave out would
    have no probability."""
    unfinished: Literal["replace", "subtract", "ignore"] = "replace"
    """What is done about an answer that did not end: its score is replaced by `unfinished_score`, or lowered by its size."""
    unfinished_score: float = -1.0
    """In the units of the score after it was scaled and clipped."""
    scale: Literal["none", "start"] = "none"
    """`start` shifts and scales scores so that the start policy's own have mean 0 and deviation 1."""
    clip: Annotated[float, Gt(0)] | None = None
    """Scores beyond this many units, after scaling, are cut."""

    def __post_init__(self) -> None:
        check_settings(self)
        self.manner(seed=0)  # which may refuse the temperature
        if self.unfinished == "subtract" and self.unfinished_score > 0:
            raise ValueError("unfinished_score is added where unfinished = 'subtract': it must not be above 0")

    def manner(self, seed: int) -> Manner:
        return Manner(max_tokens=self.max_tokens, temperature=self.temperature, seed=seed)


@dataclass(frozen=True)
class Experience:
    """One round. The forest has a tree for each prompt and notes on its tokens (`old`, `reference`: log-probabilities) and
    replies (`score`: what the optimizer is to raise)."""

    prompts: Sequence[Prompt]
    groups: Sequence[Sequence[Completion]]
    forest: Forest
    raw: Tensor
    """(replies) The reward's own scores."""

    @property
    def divergence(self) -> Tensor:
        """(tokens) log π_old − log π_ref."""
        return k1(self.forest.tokens["old"], self.forest.tokens["reference"])

    @property
    def kl(self) -> float:
        """Nats per reply."""
        return float(per_reply(self.divergence, self.forest).mean())

    def metrics(self) -> Metrics:
        """What every on-policy optimizer tells of a round. Entropy is per token, by the samples."""
        ended = [reply.finished for group in self.groups for reply in group]
        return {
            "score": float(self.raw.mean()),
            "score_spread": float(self.raw.std(correction=0)),
            "kl": self.kl,
            "entropy": float(-self.forest.tokens["old"].mean()),
            "ended": fmean(ended),
            "length": float(self.forest.lengths.float().mean()),
        }


class Writer(Protocol):
    """Who answers while exploring, and says how likely the answer was: a role, or one that is held to a part of what it could
    write."""

    @property
    def base(self) -> Base: ...

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        """As `Role.sample`."""
        ...

    def logps(self, forest: Forest, temperature: float = 1.0) -> Tensor:
        """(tokens) log p of each reply token, in the distribution that `sample` draws it from."""
        ...


def nothing_more(forest: Forest) -> Mapping[str, Tensor]:
    return {}


class Explorer:
    """Has a policy answer, and its answers scored. What the writers need to know of the tokens before they are asked how likely
    these were is noted first."""

    def __init__(
        self,
        how: Exploring,
        policy: Writer,
        reference: Writer,
        lesson: Lesson,
        seed: int,
        note: Callable[[Forest], Mapping[str, Tensor]] = nothing_more,
    ) -> None:
        if not lesson.prompts:
            raise LessonError("there is no prompt to answer: the task's training split is empty")
        policy.base.text.make_room(lesson.prompts, how.max_tokens)
        self.how, self.policy, self.reference, self.reward = how, policy, reference, lesson.reward
        self.note = note
        self.dice = Dice(seed)
        self.scale = Scale(how, lesson.prompts)

    def __call__(self, prompts: Sequence[Prompt], n: int) -> Experience:
        """`n` answers to each prompt, and all that is to be known of them before the policy moves."""
        how, base = self.how, self.policy.base
        groups = self.policy.sample(prompts, n, how.manner(self.dice.integer()))
        forest = base.text.replies(prompts, groups, base.device, room=how.max_tokens)
        with torch.no_grad():
            pieces = [piece.attach(tokens=self.note(piece)) for piece in forest.split(_AT_ONCE)]
            reference = torch.cat([self.reference.logps(piece, how.temperature) for piece in pieces])
            if base.exact:
                drawn = [logp for group in groups for reply in group for logp in reply.logps]
                old = torch.tensor(drawn, device=base.device)
            else:  # in half precision a pass over the packed batch rounds otherwise than the sampler did
                old = torch.cat([self.policy.logps(piece, how.temperature) for piece in pieces])
        raw = torch.tensor(scores_of(self.reward, prompts, groups), dtype=torch.float32, device=base.device)
        self.scale.measure(self.reference, self.reward)
        scores = self.scale(raw, torch.tensor([r.finished for group in groups for r in group], device=base.device))
        notes = {name: torch.cat([piece.tokens[name] for piece in pieces]) for name in pieces[0].tokens}
        notes |= {"old": old, "reference": reference}
        return Experience(prompts, groups, forest.attach(tokens=notes, replies={"score": scores}), raw)


class Scale:
    """From the reward's scores to those that are raised: scaled, clipped, and then, where an answer did not end, replaced or
    lowered."""

    def __init__(self, how: Exploring, prompts: Sequence[Prompt]) -> None:
        self.how, self.prompts = how, prompts[:: max(1, len(prompts) // _MEASURED)][:_MEASURED]
        self.mean, self.deviation, self.known = 0.0, 1.0, how.scale == "none"
        track(self)

    def measure(self, start: Writer, reward: Reward) -> None:
        """Once: the mean and deviation of the scores of the start policy's answers."""
        if self.known:
            return
        groups = start.sample(self.prompts, 1, self.how.manner(seed=0))
        scores = scores_of(reward, self.prompts, groups)
        self.mean, self.deviation, self.known = fmean(scores), pstdev(scores) or 1.0, True

    def __call__(self, raw: Tensor, finished: Tensor) -> Tensor:
        how = self.how
        scores = (raw - self.mean) / self.deviation
        if how.clip is not None:
            scores = scores.clamp(-how.clip, how.clip)
        if how.unfinished == "replace":
            return torch.where(finished, scores, torch.full_like(scores, how.unfinished_score))
        if how.unfinished == "subtract":
            return torch.where(finished, scores, scores + how.unfinished_score)
        return scores

    def state(self) -> State:
        return {"mean": self.mean, "deviation": self.deviation, "known": self.known}

    def restore(self, state: State) -> None:
        self.mean, self.deviation, self.known = state["mean"], state["deviation"], state["known"]


def scores_of(reward: Reward, prompts: Sequence[Prompt], groups: Sequence[Sequence[Completion]]) -> list[float]:
    """The scores of all answers, group by group; of a reward, too, that no run has wrapped (`rewards.Scored`)."""
    asked = [prompt for prompt, group in zip(prompts, groups, strict=True) for _ in group]
    return scored(reward, asked, [reply for group in groups for reply in group])


_AT_ONCE = 8192
"""Packed tokens in one forward pass without gradients."""
_MEASURED = 256
"""Prompts from which scores are scaled."""
