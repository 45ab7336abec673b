"""PPO's arithmetic, by hand."""

from __future__ import annotations

import pytest
import torch

from alignzoo.model.forest import Forest, Tree, plant
from alignzoo_ppo.ppo import explained, token_rewards, value_loss


@pytest.fixture
def forest() -> Forest:
    """Two replies of 3 and 2 tokens."""
    return plant([Tree((1, 2), ((3, 4, 5),)), Tree((1,), ((6, 7),))])


def test_the_score_is_earned_at_the_last_token_and_the_divergence_at_each(forest: Forest) -> None:
    divergence = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0])
    rewards = token_rewards(torch.tensor([10.0, 20.0]), divergence, 0.1, forest)
    assert rewards.tolist() == pytest.approx([-0.1, 0.2, 9.95, -0.3, 20.0])


@pytest.mark.parametrize(
    ("value", "old", "target", "wanted"),
    [
        (1.0, 1.0, 2.0, 0.5),  # nothing clipped: ½ (1 − 2)²
        (1.5, 1.0, 2.0, 0.32),  # near = 1.2: ½ 0.8² is worse than ½ 0.5²
        (0.5, 1.0, 2.0, 1.125),  # it went the wrong way: its own error is the worse one
        (1.1, 1.0, 1.1, 0.0),  # within the clip, and right
    ],
)
def test_the_worse_of_the_value_and_the_value_kept_near(value: float, old: float, target: float, wanted: float) -> None:
    loss = value_loss(torch.tensor([value]), torch.tensor([old]), torch.tensor([target]), 0.2)
    assert float(loss) == pytest.approx(wanted)


def test_what_the_critic_foresaw() -> None:
    returns = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert explained(returns, returns) == pytest.approx(1.0)
    assert explained(torch.full((4,), 2.5), returns) == pytest.approx(0.0)
    assert explained(torch.tensor([4.0, 3.0, 2.0, 1.0]), returns) == pytest.approx(1 - 5 / 1.25)
    assert explained(torch.zeros(3), torch.ones(3)) == 0.0  # returns that do not vary cannot be explained
