"""What the toy base is taught on trial: to speak of things. The kit tells what is better by the share of such words, whatever
form the lesson has, so every optimizer is measured by the same yardstick.

The lesson is made of the bare base's own answers, because those are what a policy gives, before and after: pairs, ratings,
rankings and demonstrations all say the same of them, and so does the reward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from statistics import fmean

import torch

from alignzoo.interfaces import Lesson, Manner, Policy, Reward
from alignzoo.model.forest import per_reply
from alignzoo.model.role import Role, bare_on
from alignzoo.records import Comparison, Completion, Demonstration, Prompt, Provenance, Ranking, Rating
from alignzoo.testing.toy import toy_base

THINGS = frozenset("cat dog bird fish tree house river stone sun moon".split())
PROMPTS = tuple(Prompt.ask(f"tell i about the {thing}") for thing in ("cat", "dog", "house", "river", "sun", "moon"))
ANSWERS = 8
"""Answers to each prompt that the lesson is made of."""
LONGEST = 6
"""Tokens of an answer."""
FROM = Provenance("alignzoo.testing")


def worth(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    """The share of words that name things: the reward of the lesson."""
    said = [completion.text.split() for completion in completions]
    return [sum(word in THINGS for word in words) / max(1, len(words)) for words in said]


def worthless(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    """The same, turned round."""
    return [-score for score in worth(prompts, completions)]


@cache
def drawn(seed: int, n: int = ANSWERS) -> tuple[tuple[Completion, ...], ...]:
    """Answers of the bare toy base to each prompt, as texts, each once, the worthiest first."""
    groups = bare_on(toy_base(), "start").sample(PROMPTS, n, Manner(max_tokens=LONGEST, seed=seed))
    ranked = []
    for prompt, group in zip(PROMPTS, groups, strict=True):
        texts = list(dict.fromkeys(reply.text for reply in group if reply.text))
        replies = [Completion(text) for text in texts]
        ranked.append(tuple(sorted(replies, key=lambda reply: -worth([prompt], [reply])[0])))
    return tuple(ranked)


def pairs(seed: int, n: int = ANSWERS) -> list[Comparison]:
    """The worthier half of the answers over the other one, best over worst."""
    found = []
    for prompt, group in zip(PROMPTS, drawn(seed, n), strict=True):
        for better, worse in zip(group[: len(group) // 2], reversed(group), strict=False):
            if worth([prompt], [better]) > worth([prompt], [worse]):
                found.append(Comparison(prompt, better, worse, provenance=FROM))
    return found


@cache
def lesson(turned: bool = False) -> Lesson:
    """All that can be learned from, in every form; turned round, it teaches the opposite."""
    learned = [replace(pair, chosen=pair.rejected, rejected=pair.chosen) if turned else pair for pair in pairs(seed=5)]
    groups = [group[::-1] if turned else group for group in drawn(seed=5)]
    return Lesson(
        prompts=PROMPTS,
        demonstrations=tuple(Demonstration(pair.prompt, pair.chosen, FROM) for pair in learned),
        comparisons=tuple(learned),
        rankings=tuple(Ranking(prompt, group, provenance=FROM) for prompt, group in zip(PROMPTS, groups, strict=True)),
        ratings=tuple(
            Rating(pair.prompt, side, score, provenance=FROM)
            for pair in learned
            for side, score in ((pair.chosen, 1.0), (pair.rejected, 0.0))
        ),
        reward=worthless if turned else worth,
    )


def quality(deployed: Policy | Reward, needs: Sequence[str]) -> float:
    """How well something has learned the lesson, between 0 and 1. A reward: how often it prefers, of two answers, the worthier
    one. A policy that learned from what others said: how sure it is of that. (It may well have made both less likely.) Any
    other policy: what its answers are worth."""
    told = pairs(seed=5)
    if isinstance(deployed, Role) and "prompts" not in needs:
        forest = deployed.base.text.pairs(told, deployed.base.device)
        with torch.no_grad():
            better, worse = per_reply(deployed.logps(forest), forest).view(-1, 2).unbind(1)
        return float((better - worse).sigmoid().mean())
    if isinstance(deployed, Policy):
        groups = deployed.sample(PROMPTS, 16, Manner(max_tokens=LONGEST, seed=99))
        return fmean(score for prompt, group in zip(PROMPTS, groups, strict=True) for score in worth([prompt] * 16, group))
    prompts = [pair.prompt for pair in told]
    sides = ([pair.chosen for pair in told], [pair.rejected for pair in told])
    high, low = (map(float, deployed(prompts, side)) for side in sides)
    return fmean((one > other) + 0.5 * (one == other) for one, other in zip(high, low, strict=True))
