"""The pure functions by hand numbers, what each must satisfy, and a table of probabilities as an oracle."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from alignzoo.learning.credit import clipped
from alignzoo.learning.divergence import k3
from alignzoo.learning.memory import Dice
from alignzoo.model.forest import Forest, Tree, plant
from alignzoo_policy_gradient.grpo import AVERAGES, GRPO, group_spread, relative
from alignzoo_policy_gradient.nlpo import NLPO
from alignzoo_policy_gradient.reinforce import ReinforcePlusPlus, returns
from alignzoo_policy_gradient.rloo import RLOO, leave_one_out
from alignzoo_policy_gradient.rounds import minibatches, shift

SCORES = st.lists(st.floats(-5, 5), min_size=6, max_size=6)


def grove(*lengths: int) -> Forest:
    return plant([Tree((7, 8), tuple(tuple(range(9, 9 + length)) for length in lengths))])


# RLOO ----------------------------------------------------------------------------------------------------------------


def test_leave_one_out_by_hand() -> None:
    """1, 2, 6 against (2+6)/2, (1+6)/2, (1+2)/2; the other group does not matter."""
    assert leave_one_out(torch.tensor([1.0, 2.0, 6.0, 0.0, 0.0, 3.0]), 3).tolist() == [-3, -1.5, 4.5, -1.5, -1.5, 3]


@given(SCORES)
def test_the_baseline_of_a_reply_does_not_hold_the_reply(scores: list[float]) -> None:
    """So the advantage rises by exactly as much as its own score, and is K/(K−1) of the distance from the mean."""
    before = torch.tensor(scores, dtype=torch.float64)
    after = before.clone()
    after[1] += 3.0
    assert float((leave_one_out(after, 3) - leave_one_out(before, 3))[1]) == pytest.approx(3.0)
    centred = before.view(-1, 3) - before.view(-1, 3).mean(1, keepdim=True)
    assert torch.allclose(leave_one_out(before, 3), (3 / 2 * centred).flatten())


@given(SCORES, st.floats(-100, 100))
def test_a_shift_of_a_prompts_scores_changes_no_advantage(scores: list[float], shift: float) -> None:
    plain = torch.tensor(scores, dtype=torch.float64)
    moved = plain + torch.tensor([shift] * 3 + [0.0] * 3, dtype=torch.float64)
    assert torch.allclose(leave_one_out(moved, 3), leave_one_out(plain, 3), atol=1e-9)
    assert torch.allclose(relative(moved, 3, "none"), relative(plain, 3, "none"), atol=1e-9)


# GRPO ----------------------------------------------------------------------------------------------------------------


def test_relative_by_hand() -> None:
    """1, 3: mean 2, deviation √2 of a sample. A group of equals is 0, not NaN, and not a rounding error."""
    scores = torch.tensor([1.0, 3.0, 0.1, 0.1])
    assert group_spread(scores, 2).tolist() == pytest.approx([2**0.5, 0])
    unit = 1 / (2**0.5 + 1e-4)
    assert relative(scores, 2, "group").tolist() == pytest.approx([-unit, unit, 0, 0])
    assert relative(scores, 2, "none").tolist() == pytest.approx([-1, 1, 0, 0])


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e6 + 0.3])
@pytest.mark.parametrize("scale", ["group", "none"])
def test_groups_of_equals_teach_exactly_nothing(scale: str, value: float) -> None:
    scores = torch.full((14,), value)
    assert relative(scores, 7, scale).tolist() == [0] * 14
    assert group_spread(scores, 7).tolist() == [0, 0]


def test_three_ways_to_average() -> None:
    """Replies of 1 and 3 tokens: the first token weighs ½, ¼, or 1/(2 · 5)."""
    losses, forest = torch.tensor([8.0, 1.0, 2.0, 3.0]), grove(1, 3)
    means = {name: AVERAGES[name](losses, forest, 5) for name in AVERAGES}
    assert means["reply"].tolist() == [8, 2]
    assert means["token"].tolist() == [8, 1, 2, 3]
    assert means["constant"].tolist() == pytest.approx([8 / 5, 6 / 5])
    for name in AVERAGES:
        GRPO(per=name)  # type: ignore[arg-type]


# REINFORCE++ -----------------------------------------------------------------------------------------------------------


def test_returns_by_hand() -> None:
    """β = ½. The score comes with the last token; a token pays for itself and for what it still leads to."""
    got = returns(torch.tensor([10.0, 4.0]), torch.tensor([2.0, 4.0, -6.0, 8.0]), grove(3, 1), 0.5, 1.0)
    assert got.tolist() == [10 - 1 - 2 + 3, 10 - 2 + 3, 10 + 3, 4 - 4]
    discounted = returns(torch.tensor([8.0]), torch.zeros(3), grove(3), 0.5, 0.5)
    assert discounted.tolist() == [2, 4, 8]


# What they share -------------------------------------------------------------------------------------------------------


def test_what_is_told_of_the_shift() -> None:
    """Clip 0.2 below and 0.5 above. Held still: raised and good, lowered and bad; not what may still be undone."""
    old = torch.full((6,), -2.0)
    ratio = torch.tensor([1.0, 1.6, 1.6, 0.7, 0.7, 1.4])
    told = shift(old + ratio.log(), old, torch.tensor([1.0, 1.0, -1.0, -1.0, 1.0, 1.0]), 0.2, 0.5)
    assert told["ratio"].tolist() == pytest.approx(ratio.tolist())
    assert told["clipped"].tolist() == [False, True, False, True, False, False]
    assert told["approx_kl"].tolist() == pytest.approx((ratio - 1 - ratio.log()).tolist(), abs=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
def test_minibatches_hold_every_prompt_once_with_its_notes(count: int) -> None:
    trees = [Tree((7,) * (i + 1), ((9,) * (i + 1), (9, 9))) for i in range(5)]
    forest = plant(trees).attach(replies={"advantage": torch.arange(10.0)})
    parts = list(minibatches(forest, count, Dice(0)))
    assert len(parts) == min(count, 5)
    assert sorted(len(part) for part in parts)[-1] - min(len(part) for part in parts) <= 1
    dealt = {tree: part.replies["advantage"].view(-1, 2)[i].tolist() for part in parts for i, tree in enumerate(part.trees)}
    assert dealt == {tree: [2.0 * i, 2.0 * i + 1] for i, tree in enumerate(trees)}


def test_every_epoch_has_an_order_of_its_own() -> None:
    forest, dice = plant([Tree((7,) * (i + 1), ((9,),)) for i in range(8)]), Dice(0)
    orders = [[tree for part in minibatches(forest, 4, dice) for tree in part.trees] for _ in range(3)]
    assert orders[0] != orders[1] != orders[2]


@pytest.mark.parametrize("optimizer", [RLOO, GRPO, ReinforcePlusPlus, NLPO])
def test_more_minibatches_than_prompts_are_refused(optimizer: type) -> None:
    with pytest.raises(ValueError, match="4 prompts make no 5 minibatches"):
        optimizer(prompts_per_update=4, minibatches=5)


@pytest.mark.parametrize("optimizer", [RLOO, GRPO])
def test_one_answer_has_nothing_to_be_compared_with(optimizer: type) -> None:
    with pytest.raises(ValueError, match="replies must be at least 2"):
        optimizer(replies=1)


# A table as an oracle: π*(y) = ref(y) exp(r(y)/β) / Z --------------------------------------------------------------------

BETA = 0.5
REWARD = torch.tensor([1.0, 0.2, -0.5, 0.4], dtype=torch.float64)
REFERENCE = torch.tensor([0.1, 0.4, 0.3, 0.2], dtype=torch.float64).log()
BEST = (REFERENCE + REWARD / BETA).softmax(0)


def rloo_step(own: Tensor, drawn: Tensor) -> Tensor:
    rewards = REWARD[drawn] - BETA * (own.detach() - REFERENCE)[drawn]
    return clipped(own[drawn], own[drawn].detach(), leave_one_out(rewards, 4), 0.2, 0.2).mean()


def dr_grpo_step(own: Tensor, drawn: Tensor) -> Tensor:
    losses = clipped(own[drawn], own[drawn].detach(), relative(REWARD[drawn], 4, "none"), 0.2, 0.2)
    return (losses + BETA * k3(own[drawn], REFERENCE[drawn])).mean()


def learned(step: object) -> Tensor:
    """A table of four log-probabilities after many rounds of its own samples, averaged over the last ones."""
    dice, table = torch.Generator().manual_seed(0), REFERENCE.clone().requires_grad_()
    descent = torch.optim.SGD([table], lr=0.2)
    seen = torch.zeros(4, dtype=torch.float64)
    for number in range(600):
        own = table.log_softmax(0)
        drawn = torch.multinomial(own.detach().exp(), 256, replacement=True, generator=dice)
        descent.zero_grad()
        step(own, drawn).backward()  # type: ignore[operator]
        descent.step()
        if number >= 300:
            seen += table.detach().softmax(0) / 300
    return seen


def test_rloo_finds_the_best_policy_under_the_penalty() -> None:
    assert torch.allclose(learned(rloo_step), BEST, atol=0.02)
    assert float((REFERENCE.exp() - BEST).abs().max()) > 0.2


def test_with_k3_in_the_loss_the_optimum_is_another_one() -> None:
    """k3's gradient is that of KL(reference ‖ policy): at the optimum (3/4) π (r − E r) = β (π − ref), where 3/4 is what the
    group's own mean takes from an advantage with four replies."""
    found = learned(dr_grpo_step)
    pull = 0.75 * found * (REWARD - (found * REWARD).sum())
    assert torch.allclose(pull, BETA * (found - REFERENCE.exp()), atol=0.01)
    assert float((found - BEST).abs().max()) > 0.05
