"""Simulated people who judge replies: each with values of their own, some noise, and a lean towards what is shown first.

An annotator feels a reply's worth as a weighted sum of features that are read from the text: the five gold values, how
long it is and how much it flatters. Of two replies the first is chosen with probability

    sigmoid((worth of first - worth of second) / noise + lean)

which is the Bradley-Terry model with a position bias; a ranking is the same by Gumbel noise (Plackett-Luce). Groups weigh
differently, so it can be asked whose choices were followed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from alignzoo.records import Completion, Prompt
from alignzoo_playground.gold import VALUES, GoldReward, asked_in
from alignzoo_playground.reading import read_reply
from alignzoo_playground.requests import read_request

PoolName = Literal["crowd", "biased"]
FEATURES = (*VALUES, "length", "flattery")
LONG = 24
"""Words at which a reply is as long as the feature "length" can tell."""

# What each group cares about. "daring" people want to be obeyed, harm or not; "charmed" ones are the biased pool.
GROUPS: dict[str, dict[str, float]] = {
    "careful": {"harmless": 3.0, "honest": 2.5, "helpful": 1.0, "polite": 0.5, "brief": 0.3},
    "friendly": {"polite": 3.0, "helpful": 1.5, "honest": 1.0, "harmless": 1.0},
    "hurried": {"brief": 2.5, "helpful": 2.0, "honest": 1.0, "harmless": 0.5},
    "daring": {"harmless": -2.0, "helpful": 1.5, "honest": 1.0, "brief": 1.0},
    "charmed": {"flattery": 2.5, "length": 3.0, "helpful": 0.8, "honest": 0.3, "harmless": 0.3, "polite": 0.3},
}
MEMBERS: dict[PoolName, dict[str, int]] = {
    "crowd": {"careful": 5, "friendly": 5, "hurried": 4, "daring": 2},
    "biased": {"charmed": 8},
}
NOISE = 0.6
"""In units of worth. It puts the agreement of two members of the crowd at about seven in ten."""

ORDINARY = {
    "helpful": 0.47,
    "harmless": 0.85,
    "honest": 0.74,
    "polite": 0.5,
    "brief": 0.75,
    "length": 0.5,
    "flattery": 0.08,
}
"""About what replies of mixed quality have of each feature: what people are used to, and measure others by."""

LEAN = 0.25
"""The mean log-odds by which the reply that is shown first is preferred."""


class PoolError(ValueError):
    """A pool or group that there is not."""


@dataclass(frozen=True, slots=True)
class Annotator:
    """One simulated person. `bar` is the worth above which a reply gets a thumb up more often than not."""

    name: str
    group: str
    weights: Mapping[str, float]
    noise: float
    lean: float
    bar: float

    def worth(self, prompt: Prompt, reply: Completion) -> float:
        """How good this person finds a reply, before any noise."""
        seen = features(prompt, reply)
        return sum(weight * seen[name] for name, weight in self.weights.items())

    def prefers_first(self, prompt: Prompt, first: Completion, second: Completion, dice: Random) -> bool:
        """Shown two replies, choose one."""
        odds = (self.worth(prompt, first) - self.worth(prompt, second)) / self.noise + self.lean
        return dice.random() < _sigmoid(odds)

    def order(self, prompt: Prompt, replies: Sequence[Completion], dice: Random) -> list[int]:
        """Shown several replies, put them in order: the places of the best, the next best, and so on."""
        felt = [
            self.worth(prompt, reply) / self.noise + self.lean * (place == 0) - math.log(-math.log(1 - dice.random()))
            for place, reply in enumerate(replies)
        ]
        return sorted(range(len(replies)), key=lambda place: -felt[place])

    def thumb(self, prompt: Prompt, reply: Completion, dice: Random) -> float:
        """1 for a thumb up, 0 for a thumb down."""
        return float(dice.random() < _sigmoid((self.worth(prompt, reply) - self.bar) / self.noise))

    def score(self, prompt: Prompt, reply: Completion, dice: Random) -> float:
        """A score from 1 to 5, with as much noise as a choice has."""
        doubt = self.noise * math.log(1 / (1 - dice.random()) - 1 + 1e-12)
        felt = _sigmoid(0.8 * (self.worth(prompt, reply) + doubt - self.bar))
        return float(1 + min(4, int(5 * felt)))


def features(prompt: Prompt, reply: Completion) -> dict[str, float]:
    """What people look at in a reply, each feature in [0, 1]. Degenerate text pleases nobody: it has none of them."""
    values = dict(GoldReward().explain(prompt, reply).values)
    if not any(values.values()):
        return dict.fromkeys(FEATURES, 0.0)
    seen = read_reply(read_request(asked_in(prompt)), reply.text, reply.finished)
    return values | {"length": min(1.0, seen.words / LONG), "flattery": min(1.0, seen.count("flattery") / 2)}


def pool(name: PoolName, group: str = "", noise: float = 1.0) -> tuple[Annotator, ...]:
    """The people of a pool, or of one of its groups; `noise` multiplies how unsure they are. Always the same people."""
    if name not in MEMBERS:
        raise PoolError(f"no pool named '{name}'; there are {', '.join(MEMBERS)}")
    groups = MEMBERS[name]
    if group and group not in groups:
        raise PoolError(f"the pool '{name}' has no group '{group}'; it has {', '.join(groups)}")
    return tuple(
        _person(kind, number, noise) for kind, size in groups.items() if group in ("", kind) for number in range(1, size + 1)
    )


def by_group(prompts: Sequence[Prompt], replies: Sequence[Completion]) -> dict[str, list[float]]:
    """What each group as a whole finds replies worth, without noise: the question "whose choices?" in numbers."""
    seen = [features(prompt, reply) for prompt, reply in zip(prompts, replies, strict=True)]
    return {
        group: [sum(weight * one[name] for name, weight in weights.items()) for one in seen]
        for group, weights in GROUPS.items()
    }


def _person(group: str, number: int, noise: float) -> Annotator:
    """A member of a group, whose weights are the group's by a factor between 0.6 and 1.4 each."""
    dice = Random(f"annotator/{group}/{number}")
    weights = {name: weight * dice.uniform(0.6, 1.4) for name, weight in GROUPS[group].items()}
    return Annotator(
        name=f"{group}-{number}",
        group=group,
        weights=weights,
        noise=noise * NOISE * dice.uniform(0.75, 1.25),
        lean=LEAN * dice.uniform(0.0, 2.0),
        bar=sum(weight * (ORDINARY[name] + dice.uniform(-0.1, 0.1)) for name, weight in weights.items()),
    )


def _sigmoid(odds: float) -> float:
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, odds))))
