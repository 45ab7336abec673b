"""Heads on a role, the scores they give, and the reward that comes of them.

A score is read at the last token of a reply (the end token where it was finished), from a float32 head. Several heads on
one trunk are an ensemble. Folding a gain and a bias into a head makes the scores of the start policy's own answers have mean
0 and deviation 1, and what is saved is already so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from alignzoo.interfaces import LessonError, Manner, Metrics
from alignzoo.model.forest import Forest, Tree, plant
from alignzoo.model.role import Role
from alignzoo.model.text import Text, TextError
from alignzoo.records import Completion, Prompt

MARK = "normalised"
"""A head that reads nothing: its bias is 1 once the scores were normalised. It is saved with the others."""


# Heads ----------------------------------------------------------------------------------------------------------------


def head_names(members: int) -> tuple[str, ...]:
    """`score`, or `score1`, `score2`, … for an ensemble."""
    return ("score",) if members == 1 else tuple(f"score{number}" for number in range(1, members + 1))


def grow_heads(role: Role, members: int, seed: int) -> tuple[str, ...]:
    """Give a role the heads that it has not yet, each with weights of its own: N(0, 1/√(d+1)), bias 0."""
    names = head_names(members)
    for number, name in enumerate(names):
        if name not in role.heads:
            role.grow(name, seed=1_000_003 * seed + number)
    if MARK not in role.heads:
        role.grow(MARK, scale=0.0)
    return names


def heads_of(role: Role) -> tuple[str, ...]:
    """The scoring heads that a role has."""
    names = tuple(name for name in role.heads if name.startswith("score"))
    if not names:
        raise LessonError(
            f"the role '{role.name}' has no head that scores: it is no reward model, or only its adapter was kept. Train one "
            'with the optimizer "reward-model", or load a folder that holds its heads.safetensors beside the adapter'
        )
    return names


def is_normalised(role: Role) -> bool:
    return MARK in role.heads and bool(role.head(MARK).get_parameter("bias")[0] == 1)


def mark(role: Role, normalised: float) -> None:
    with torch.no_grad():
        role.head(MARK).get_parameter("bias").fill_(normalised)


# Scores ---------------------------------------------------------------------------------------------------------------


def member_scores(role: Role, forest: Forest, names: Sequence[str]) -> Tensor:
    """(replies, members) of one forward pass."""
    ends = role.ends(forest).float()
    return torch.cat([role.head(name)(ends) for name in names], dim=1)


def score(
    role: Role, names: Sequence[str], prompts: Sequence[Prompt], completions: Sequence[Completion], at_once: int
) -> Tensor:
    """(completions, members) Without gradients, in batches of at most `at_once` packed tokens. Neither the company nor the
    order of answers changes a score."""
    _check_own(role, completions)
    scores = torch.zeros(len(completions), len(names))
    with torch.no_grad():
        for places, trees in _batches(_trees(role.base.text, prompts, completions), at_once):
            scores[places] = member_scores(role, plant(trees, role.base.device), names).cpu()
    return scores


def _check_own(role: Role, completions: Sequence[Completion]) -> None:
    """Tokens of another base's tokenizer would be read as if they were one's own, and scored."""
    if foreign := [completion.text for completion in completions if not role.base.text.wrote(completion)]:
        raise TextError(
            f"the reward model '{role.name}' is asked about answers whose tokens its base did not write ({len(foreign)} of "
            f"{len(completions)}; one says {foreign[0][:60]!r}): they come from another base. Put the reward model on the "
            "policy's base, or give it answers as mere texts, without tokens"
        )


def _trees(text: Text, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Iterator[tuple[list[int], Tree]]:
    """Answers to one prompt share its reading, unless it would lose its beginning to the longest of them."""
    groups: dict[Prompt, list[int]] = {}
    for place, prompt in enumerate(prompts):
        groups.setdefault(prompt, []).append(place)
    for prompt, places in groups.items():
        replies = [_with_tokens(completions[place], text) for place in places]
        room = text.context - len(text.prompt_ids(prompt))
        if all(len(text.reply_ids(reply)) <= room for reply in replies):
            yield places, text.tree(prompt, replies)
        else:
            yield from (([place], text.tree(prompt, [reply])) for place, reply in zip(places, replies, strict=True))


def _with_tokens(completion: Completion, text: Text) -> Completion:
    """An answer without a single token is read as one that ended at once."""
    return completion if text.reply_ids(completion) else Completion("", (text.end,))


def _batches(grown: Iterator[tuple[list[int], Tree]], at_once: int) -> Iterator[tuple[list[int], list[Tree]]]:
    places: list[int] = []
    trees: list[Tree] = []
    for more, tree in grown:
        if trees and sum(t.size for t in trees) + tree.size > at_once:
            yield places, trees
            places, trees = [], []
        places, trees = places + more, [*trees, tree]
    if trees:
        yield places, trees


# Several members, one score -----------------------------------------------------------------------------------------------


def mean(scores: Tensor, caution: float) -> Tensor:
    return scores.mean(1)


def worst(scores: Tensor, caution: float) -> Tensor:
    """WCO: min_k r_k (Coste et al. 2023)."""
    return scores.min(1).values


def uncertain(scores: Tensor, caution: float) -> Tensor:
    """UWO: mean_k r_k − λ · 1/K Σ (r_k − mean)²: the members' variance, not their deviation (Coste et al. 2023)."""
    return scores.mean(1) - caution * scores.var(1, correction=0)


COMBINE: Mapping[str, Callable[[Tensor, float], Tensor]] = {"mean": mean, "worst": worst, "uncertain": uncertain}


# Normalising ----------------------------------------------------------------------------------------------------------


def normalise(
    role: Role, names: Sequence[str], start: Role, prompts: Sequence[Prompt], manner: Manner, at_once: int
) -> Metrics:
    """Fold into each head the gain and bias by which the start policy's answers to these prompts score 0 ± 1 (Ziegler et al.
    2019). Scores that are all the same are only shifted. Tells what was there before, as a mean over the members."""
    answers = [answer for [answer] in start.sample(prompts, 1, manner)]
    scores = score(role, names, prompts, answers, at_once).double()
    means, deviations = scores.mean(0), scores.std(0, correction=0)
    for name, centre, deviation in zip(names, means.tolist(), deviations.tolist(), strict=True):
        fold(role, name, centre, deviation if deviation > 1e-6 else 1.0)
    mark(role, 1.0)
    return {"reward_mean": float(means.mean()), "reward_deviation": float(deviations.mean())}


def fold(role: Role, name: str, centre: float, deviation: float) -> None:
    """Make the head say (r − centre) / deviation where it said r."""
    head = role.head(name)
    with torch.no_grad():
        head.get_parameter("weight").div_(deviation)
        head.get_parameter("bias").sub_(centre).div_(deviation)


# The reward -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LearnedReward:
    """Scores answers with the heads of a role. Give it answers of any policy on the same base."""

    role: Role
    combine: str = "mean"
    caution: float = 0.5
    at_once: int = 8192

    def __post_init__(self) -> None:
        heads_of(self.role)

    @property
    def normalised(self) -> bool:
        """Whether the start policy's answers score 0 ± 1; not so where training was stopped before its end."""
        return is_normalised(self.role)

    def members(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Tensor:
        """(completions, members) What each head says."""
        return score(self.role, heads_of(self.role), prompts, completions, self.at_once)

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        if len(prompts) != len(completions):
            raise ValueError(f"each answer has its prompt; got {len(prompts)} prompts and {len(completions)} answers")
        if not completions:
            return []
        scores: list[float] = COMBINE[self.combine](self.members(prompts, completions), self.caution).tolist()
        return scores
