"""The pure functions of KTO and BCO: numbers by hand, who is mismatched with whom, and a closed form as an oracle."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from alignzoo.learning.memory import State
from alignzoo_kto import bco, kto
from alignzoo_kto.bco import Shift
from alignzoo_kto.kto import MISMATCHES, divergence, neighbours, strangers
from alignzoo_kto.thumbs import Weights

RATIOS = torch.tensor([2.0, -1.0, 0.0, 3.0], dtype=torch.float64)
UP = torch.tensor([1.0, 0.0, 1.0, 0.75], dtype=torch.float64)
ONE = torch.tensor(1.0, dtype=torch.float64)


def test_kto_by_hand() -> None:
    """At β = ½ and z₀ = 1 the gains β(ρ − z₀) are ½, −1, −½ and 1; σ of them 0.6225, 0.2689, 0.3775, 0.7311."""
    got = kto.losses_of(RATIOS, UP, ONE, 0.5, Weights(2.0, 3.0)).tolist()
    wanted = [
        2 * (1 - 0.6224593312),
        3 * (1 - 0.7310585786),
        2 * (1 - 0.3775406688),
        0.75 * 2 * (1 - 0.7310585786) + 0.25 * 3 * (1 - 0.2689414214),
    ]
    assert got == pytest.approx(wanted, rel=1e-8)


def test_bco_by_hand() -> None:
    """With δ = 1 the logits are 1, −2, −1 and 2."""
    got = bco.losses_of(RATIOS, UP, ONE, Weights(2.0, 3.0)).tolist()
    wanted = [
        2 * 0.3132616875,
        3 * 0.1269280110,
        2 * 1.3132616875,
        0.75 * 2 * 0.1269280110 + 0.25 * 3 * 2.1269280110,
    ]
    assert got == pytest.approx(wanted, rel=1e-8)


def test_where_nothing_is_gained_kto_is_half_the_weight() -> None:
    losses = kto.losses_of(ONE.expand(4), UP, ONE, 0.1, Weights(1.0, 4.0))
    assert losses.tolist() == pytest.approx([0.5, 2.0, 0.5, 0.5 * (0.75 + 0.25 * 4)])


def test_the_value_of_a_gain_levels_off_on_both_sides() -> None:
    """dL/dρ = ∓ λ β σ(g)(1 − σ(g)): largest at z₀, nothing far from it on either side, downwards for a thumb up."""
    ratios = torch.tensor([1.0, 3.0, -1.0, 1e4, -1e4], requires_grad=True)
    steep = [0.25, 0.1966119, 0.1966119, 0.0, 0.0]
    for up, weight, sign in ((1.0, 2.0, -1), (0.0, 3.0, 1)):
        total = kto.losses_of(ratios, torch.full((5,), up), torch.tensor(1.0), 0.5, Weights(2.0, 3.0)).sum()
        (slope,) = torch.autograd.grad(total, ratios)
        assert slope.tolist() == pytest.approx([sign * weight * 0.5 * s for s in steep], rel=1e-5)


def test_z0_is_a_mean_that_is_never_negative() -> None:
    policy, reference = torch.tensor([-4.0, -9.0, -2.0]), torch.tensor([-6.0, -10.0, -2.0])
    assert float(divergence(policy, reference)) == 1.0
    assert float(divergence(reference, policy)) == 0.0


@pytest.mark.parametrize("losses_of", ["kto", "bco"])
def test_extremes_stay_finite_with_finite_gradients(losses_of: str) -> None:
    ratios = torch.tensor([-1e4, 1e4, -1e4, 1e4], requires_grad=True)
    up = torch.tensor([1.0, 1.0, 0.0, 0.0])
    if losses_of == "kto":
        kto.losses_of(ratios, up, torch.tensor(0.0), 1.0, Weights(1, 1)).sum().backward()
    else:
        bco.losses_of(ratios, up, torch.tensor(0.0), Weights(1, 1)).sum().backward()
    assert ratios.grad is not None
    assert bool(torch.isfinite(ratios.grad).all())


# Who is mismatched with whom ---------------------------------------------------------------------------------------------


def test_mismatched_by_hand() -> None:
    prompts = ["a", "b", "b", "c", "d", "a"]
    assert neighbours([3, 0, 1, 2], prompts) == [2, 3, 0, 1]
    assert strangers([3, 0, 1, 2], prompts) == [2, 3, 0, 0]  # place 2 would have met its own prompt at place 1
    assert strangers([0, 5, 4], prompts) == [4, 4, 5]
    assert strangers([1, 2], prompts) == [0, 0]  # all of one prompt: from the data
    assert strangers([4], prompts) == [3]
    assert strangers([0], prompts) == [4]  # round the end, past its own prompt
    assert set(MISMATCHES) == {"strangers", "neighbours"}


@given(st.data())
def test_strangers_are_never_of_the_same_prompt_and_are_neighbours_where_all_differ(data: st.DataObject) -> None:
    prompts = data.draw(st.lists(st.sampled_from("abcd"), min_size=2, max_size=12).filter(lambda said: len(set(said)) > 1))
    places = data.draw(st.lists(st.sampled_from(range(len(prompts))), min_size=1, unique=True))
    others = strangers(places, prompts)
    assert len(others) == len(places)
    assert all(prompts[other] != prompts[place] for place, other in zip(places, others, strict=True))
    if len(places) > 1 and len({prompts[place] for place in places}) == len(places):
        assert others == neighbours(places, prompts)
    if len({prompts[place] for place in places}) > 1:
        assert set(others) <= set(places)


# δ ---------------------------------------------------------------------------------------------------------------------


def test_the_shift_by_hand() -> None:
    """Thumbs up earn 2, 2, 2 and then 2, 2, 2; thumbs down 0 and then 2, 1, 1."""
    for middle, wanted in (("sides", [0.0, 1.0, 1.5]), ("examples", [0.0, 1.5, 1.6])):
        shift = Shift(1.0, middle)
        seen = [shift()]
        shift.hear({"reward_up": 2.0, "reward_down": 0.0}, 3, 1)
        seen.append(shift())
        shift.hear({"reward_up": 2.0}, 1, 0)  # a batch of one side
        shift.hear({"reward_down": 2.0}, 0, 1)
        shift.hear({"reward_up": 2.0, "reward_down": 1.0}, 2, 2)
        assert [*seen, shift()] == pytest.approx(wanted)


def test_what_was_heard_earlier_fades() -> None:
    shift = Shift(0.5, "sides")
    shift.hear({"reward_up": 4.0}, 2, 0)
    assert shift() == 4.0  # the other side was never seen
    shift.hear({"reward_up": 1.0}, 2, 0)
    assert shift() == pytest.approx((0.5 * 8 + 2) / (0.5 * 2 + 2))
    state: State = shift.state()
    other = Shift(0.5, "sides")
    other.restore(state)
    assert other() == shift()
    other.hear({"reward_down": 0.0}, 0, 1)
    assert other() == pytest.approx(shift() / 2)


# The closed form: π*(y) = ref(y) exp(r(y)/β) / Z ---------------------------------------------------------------------


def test_bco_on_exact_thumbs_finds_the_closed_form() -> None:
    """Where a thumb is up with probability σ(r(y)), and δ is −β log Z, the classifier is exact at π*."""
    beta, dice = 0.5, torch.Generator().manual_seed(3)
    reward = torch.randn(6, generator=dice, dtype=torch.float64)
    reference = torch.randn(6, generator=dice, dtype=torch.float64).log_softmax(0)
    delta = -beta * torch.logsumexp(reference + reward / beta, 0)
    table = reference.clone().requires_grad_()
    descent = torch.optim.LBFGS([table], max_iter=300, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        descent.zero_grad()
        rewards = beta * (table.log_softmax(0) - reference)
        total = bco.losses_of(rewards, reward.sigmoid(), delta, Weights(1.0, 1.0)).mean()
        total.backward()
        return total

    descent.step(closure)  # type: ignore[arg-type]
    assert torch.allclose(table.detach().softmax(0), (reference + reward / beta).softmax(0), atol=1e-6)
