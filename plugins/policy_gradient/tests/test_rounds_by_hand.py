"""Three rounds of each critic-free algorithm beside plain Python: what every answer or token is found to be worth, by what the
round's own answers scored and how far they were from the reference."""

from __future__ import annotations

from typing import Any

import pytest

from alignzoo.interfaces import Lesson
from alignzoo.learning.descent import Descent
from alignzoo.learning.divergence import Leash
from alignzoo.learning.rollouts import Experience, Explorer, Exploring
from alignzoo.model.role import policy_on
from alignzoo.records import Prompt
from alignzoo.testing import toy_base
from alignzoo_policy_gradient.grpo import GRPO
from alignzoo_policy_gradient.nlpo import NLPO
from alignzoo_policy_gradient.reinforce import ReinforcePlusPlus
from alignzoo_policy_gradient.rloo import RLOO

PROMPTS = [Prompt.ask("is the cat small"), Prompt.ask("why")]
LESSON = Lesson(prompts=PROMPTS, reward=lambda asked, said: [float(len(reply.text)) for reply in said])
ROUNDS: dict[str, Any] = {
    "updates": 3,
    "prompts_per_update": 2,
    "replies": 3,
    "epochs": 2,
    "minibatches": 2,
    "leash": Leash(0.5, target=50.0, horizon=12.0),
    "exploring": Exploring(max_tokens=4, unfinished="subtract", unfinished_score=-2.5),
    "descent": Descent(lr=5e-3),
}
BETAS = [0.5, 0.45, 0.405]
"""Far below its target, β falls by 20 % · 6/12 each round."""


def by_reply(experience: Experience, values: list[float]) -> list[list[float]]:
    own, lengths = iter(values), experience.forest.lengths.tolist()
    return [[next(own) for _ in range(length)] for length in lengths]


def scored(experience: Experience) -> list[float]:
    """The reward's own, less 2.5 where an answer did not end."""
    replies = [reply for group in experience.groups for reply in group]
    return [raw if reply.finished else raw - 2.5 for raw, reply in zip(experience.raw.tolist(), replies, strict=True)]


def apart(experience: Experience) -> list[list[float]]:
    """log π_old − log π_ref of each token."""
    tokens = experience.forest.tokens
    return by_reply(experience, (tokens["old"] - tokens["reference"]).tolist())


def rloo(experience: Experience, beta: float) -> list[float]:
    rewards = [score - beta * sum(own) for score, own in zip(scored(experience), apart(experience), strict=True)]
    found = []
    for first in (0, 3):
        group = rewards[first : first + 3]
        found += [mine - (sum(group) - mine) / 2 for mine in group]
    return found


def grpo(experience: Experience, beta: float) -> list[float]:
    """The divergence is in the loss, and in no score."""
    found, scores = [], scored(experience)
    for first in (0, 3):
        group = scores[first : first + 3]
        mean = sum(group) / 3
        deviation = (sum((score - mean) ** 2 for score in group) / 2) ** 0.5
        found += [(score - mean) / (deviation + 1e-4) if deviation else 0.0 for score in group]
    return found


def dr_grpo(experience: Experience, beta: float) -> list[float]:
    scores = scored(experience)
    return [score - sum(scores[i - i % 3 : i - i % 3 + 3]) / 3 for i, score in enumerate(scores)]


def to_go(experience: Experience, beta: float) -> list[float]:
    """Σ γ^(k−t) r_k, whitened over all tokens of the round."""
    returns = []
    for score, own in zip(scored(experience), apart(experience), strict=True):
        rewards = [-beta * nats for nats in own]
        rewards[-1] += score
        returns += [sum(0.8 ** (k - t) * rewards[k] for k in range(t, len(rewards))) for t in range(len(rewards))]
    mean = sum(returns) / len(returns)
    deviation = (sum((value - mean) ** 2 for value in returns) / len(returns)) ** 0.5
    return [(value - mean) / deviation for value in returns]


CASES = [
    (RLOO(**ROUNDS), rloo),
    (GRPO(**ROUNDS), grpo),
    (GRPO(**ROUNDS, scale="none"), dr_grpo),
    (ReinforcePlusPlus(**ROUNDS, gamma=0.8), to_go),
    (NLPO(**ROUNDS, gamma=0.8, mask_every=2), to_go),
]


@pytest.mark.parametrize(("optimizer", "worth"), CASES, ids=["rloo", "grpo", "dr-grpo", "reinforce++", "nlpo"])
def test_what_answers_are_found_to_be_worth(optimizer: Any, worth: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Experience] = []
    trained: list[tuple[Any, ...]] = []
    planned: list[int] = []
    explored, lost, on = Explorer.__call__, type(optimizer).loss, Descent.on

    def exploring(self: Explorer, prompts: Any, n: int) -> Experience:
        seen.append(explored(self, prompts, n))
        return seen[-1]

    def losing(self: Any, *given: Any) -> Any:
        trained.append(given)
        return lost(self, *given)

    def planning(self: Descent, *roles: Any, updates: int = 0) -> Any:
        planned.append(updates)
        return on(self, *roles, updates=updates)

    monkeypatch.setattr(Explorer, "__call__", exploring)
    monkeypatch.setattr(type(optimizer), "loss", losing)
    monkeypatch.setattr(Descent, "on", planning)
    told = list(optimizer.improve(policy_on(toy_base()), LESSON))
    assert planned == [3 * 2 * 2]
    assert [update["coefficient"] for update in told] == pytest.approx(BETAS)
    assert len(trained) == 12
    for number, (experience, beta) in enumerate(zip(seen, BETAS, strict=True)):
        wanted, found = worth(experience, beta), {}
        for *_, part in trained[4 * number : 4 * number + 2]:  # the two parts of the first pass
            notes = part.replies.get("advantage", part.tokens.get("advantage"))
            whose = part.tree if "advantage" in part.replies else part.tree[part.reply]
            found |= {tree.prompt: notes[whose == place].tolist() for place, tree in enumerate(part.trees)}
        flat = [value for tree in experience.forest.trees for value in found[tree.prompt]]
        assert flat == pytest.approx(wanted, abs=2e-4)
        if isinstance(optimizer, GRPO):
            assert [given[1] for given in trained[4 * number : 4 * number + 4]] == pytest.approx([beta] * 4)
    assert any(not reply.finished for group in seen[0].groups for reply in group)
    assert abs(seen[2].kl) > 1e-3  # the penalty is at work
