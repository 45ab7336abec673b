"""The losses of reward models: numbers by hand, and what must hold whatever the scores are."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alignzoo.interfaces import Manner
from alignzoo.model.forest import Tree, plant
from alignzoo.records import Completion, Prompt
from alignzoo_reward_model import model
from alignzoo_reward_model.judgements import Comparisons, Terms
from alignzoo_reward_model.losses import Pairs, bradley_terry, class_weights, off_centre, squared, thumb
from alignzoo_reward_model.model import COMBINE, fold


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_bradley_terry_by_hand() -> None:
    difference = torch.tensor([0.0, 2.0, -1.0], dtype=torch.float64)
    wanted = [math.log(2), 0.12692801104297263, 1.3132616875182228]
    assert bradley_terry(difference, torch.ones(3)).tolist() == pytest.approx(wanted, rel=1e-9)


def test_soft_labels_and_ties_by_hand() -> None:
    losses = bradley_terry(torch.full((3,), 1.5), torch.tensor([1.0, 0.75, 0.5]))
    wanted = [softplus(-1.5), 0.75 * softplus(-1.5) + 0.25 * softplus(1.5), (softplus(-1.5) + softplus(1.5)) / 2]
    assert losses.tolist() == pytest.approx(wanted, rel=1e-5)


@given(a=st.floats(-20, 20), b=st.floats(-20, 20), p=st.floats(0, 1))
def test_a_soft_label_is_the_cross_entropy_of_the_softmax(a: float, b: float, p: float) -> None:
    scores = torch.tensor([[a, b]], dtype=torch.float64)
    label = torch.tensor([[p, 1 - p]], dtype=torch.float64)
    wanted = torch.nn.functional.cross_entropy(scores, label)
    assert float(bradley_terry(scores[:, 0] - scores[:, 1], label[:, 0])) == pytest.approx(float(wanted), abs=1e-9)


@given(shift=st.floats(-100, 100))
def test_only_differences_count(shift: float) -> None:
    scores = torch.tensor([[0.3, -0.2], [1.0, 4.0]], dtype=torch.float64)
    losses = [bradley_terry(s[:, 0] - s[:, 1], torch.ones(2)) for s in (scores, scores + shift)]
    assert torch.allclose(losses[0], losses[1], atol=1e-9)


def test_the_gradient_by_hand() -> None:
    """−(1 − σ(d))/B at the chosen score, and as much the other way at the rejected one."""
    scores = torch.tensor([[0.3, -0.2], [1.0, 4.0], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    bradley_terry(scores[:, 0] - scores[:, 1], torch.ones(3)).mean().backward()
    wanted = -(1 - torch.sigmoid(scores[:, 0] - scores[:, 1])) / 3
    assert scores.grad is not None
    assert torch.allclose(scores.grad, torch.stack([wanted, -wanted], 1).detach())


@pytest.mark.parametrize(("p", "margin", "best"), [(0.8, 0.0, math.log(4)), (0.8, 1.0, math.log(4) + 0.6), (0.5, 1.0, 0.0)])
def test_where_a_soft_label_is_met(p: float, margin: float, best: float) -> None:
    d = torch.linspace(-6, 6, 12001, dtype=torch.float64)
    assert float(d[bradley_terry(d, torch.full_like(d, p), margin).argmin()]) == pytest.approx(best, abs=2e-3)


def test_a_margin_goes_by_the_strength() -> None:
    losses = bradley_terry(torch.tensor([2.0, 2.0]), torch.tensor([1.0, 0.5]), 1.5)
    assert losses.tolist() == pytest.approx([softplus(-0.5), (softplus(-2) + softplus(2)) / 2], rel=1e-5)


def test_large_differences_stay_finite_with_finite_gradients() -> None:
    d = torch.tensor([-1e4, 1e4], requires_grad=True)
    bradley_terry(d, torch.tensor([0.9, 0.9])).sum().backward()
    assert d.grad is not None
    assert bool(torch.isfinite(d.grad).all())
    assert d.grad.tolist() == pytest.approx([-0.9, 0.1])


def test_float32_is_as_good_as_float64() -> None:
    d = torch.linspace(-20, 20, 101, dtype=torch.float64)
    p = torch.linspace(0, 1, 101, dtype=torch.float64)
    assert torch.allclose(bradley_terry(d.float(), p.float()).double(), bradley_terry(d, p), rtol=1e-5, atol=1e-5)


def test_centring_by_hand() -> None:
    assert off_centre(torch.tensor([1.0, -2.0]), torch.tensor([0.5, 2.0])).tolist() == [2.25, 0.0]


def test_all_pairs_of_a_ranking_are_one_entry() -> None:
    """Three answers in order and, in another tree, two tied ones below a third: three pairs and two."""
    scores = torch.tensor([2.0, 1.0, -1.0, 0.5, 0.0, 3.0])
    ranks, tree = torch.tensor([0, 1, 2, 0, 1, 1]), torch.tensor([0, 0, 0, 1, 1, 1])
    pairs = Pairs.of(ranks, tree)
    assert list(zip(pairs.better.tolist(), pairs.worse.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 2), (3, 4), (3, 5)]
    losses = pairs.mean_per_tree(bradley_terry(scores[pairs.better] - scores[pairs.worse], torch.ones(5)))
    wanted = [(softplus(-1) + softplus(-3) + softplus(-2)) / 3, (softplus(-0.5) + softplus(2.5)) / 2]
    assert losses.tolist() == pytest.approx(wanted, rel=1e-5)


def test_a_ranking_of_two_is_a_pair() -> None:
    scores = torch.tensor([[0.3, 1.0], [-0.2, 4.0]])
    pairs = Pairs.of(torch.tensor([0, 1]), torch.tensor([0, 0]))
    losses = pairs.mean_per_tree(bradley_terry(scores[pairs.better] - scores[pairs.worse], torch.ones(1, 2)))
    assert losses.tolist() == [pytest.approx([softplus(-0.5), softplus(3.0)], rel=1e-5)]


def test_thumbs_by_hand() -> None:
    losses = thumb(torch.tensor([1.0, 1.0, -2.0]), torch.tensor([1.0, 0.0, 0.25]), 2.0, 0.5)
    wanted = [2 * softplus(-1), 0.5 * softplus(1), 2 * 0.25 * softplus(2) + 0.5 * 0.75 * softplus(-2)]
    assert losses.tolist() == pytest.approx(wanted, rel=1e-5)


def test_class_weights_by_hand() -> None:
    """One up of four: each class weighs two in all."""
    assert class_weights(torch.tensor([1.0, 0.0, 0.0, 0.0])) == pytest.approx((2.0, 2 / 3))


def test_scores_are_met_by_least_squares() -> None:
    assert squared(torch.tensor([1.0, -1.0]), torch.tensor([0.5, 1.0])).tolist() == [0.25, 4.0]


@pytest.mark.parametrize(
    ("combine", "wanted"), [("mean", [2.0, 0.0]), ("worst", [1.0, 0.0]), ("uncertain", [2 - 0.5 * 2 / 3, 0])]
)
def test_members_become_one_score(combine: str, wanted: list[float]) -> None:
    """Scores 1, 2, 3 have the variance 2/3, and the deviation √(2/3), which is another number."""
    assert COMBINE[combine](torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]), 0.5).tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("combine", sorted(COMBINE))
def test_an_ensemble_of_one_is_its_member(combine: str) -> None:
    assert COMBINE[combine](torch.tensor([[1.25], [-3.0]]), 0.5).tolist() == [1.25, -3.0]


def test_the_loss_of_pairs_has_strength_margin_and_centring() -> None:
    """Scores 2 and ½ with strength 1 and margin 1, then −1 and 1 with strength ¾ and so half the margin."""
    pairs = plant([Tree((1,), ((2,), (3,))), Tree((4,), ((5,), (6,)))]).attach(trees={"strength": torch.tensor([1.0, 0.75])})
    losses = Comparisons([], Terms(margin=1.0, centring=0.1)).losses(torch.tensor([[2.0], [0.5], [-1.0], [1.0]]), pairs)
    wanted = [softplus(-(1.5 - 1)) + 0.1 * 2.5**2, 0.75 * softplus(2 + 0.5) + 0.25 * softplus(-(2 + 0.5)) + 0.1 * 0.0]
    assert losses[:, 0].tolist() == pytest.approx(wanted, rel=1e-5)


# Normalising -------------------------------------------------------------------------------------------------------------


class Wearing:
    """A role with heads, and nothing else."""

    def __init__(self, **heads: torch.nn.Linear) -> None:
        self.heads = heads

    def head(self, name: str) -> torch.nn.Linear:
        return self.heads[name]


def linear(*weights: float, bias: float) -> torch.nn.Linear:
    head = torch.nn.Linear(len(weights), 1)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([weights]))
        head.bias.fill_(bias)
    return head


def test_a_folded_head_says_how_many_deviations_above_the_mean() -> None:
    """Where it said 2·1 + 4·½ + 1 = 5, and 3 ± 4 is what the start says: (5 − 3) / 4."""
    role, state = Wearing(score=linear(2.0, 4.0, bias=1.0)), torch.tensor([[1.0, 0.5]])
    assert role.head("score")(state).item() == 5.0
    fold(role, "score", 3.0, 4.0)  # type: ignore[arg-type]
    assert role.head("score")(state).item() == pytest.approx(0.5)


def test_each_head_is_folded_by_what_it_says_of_the_answers_of_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores 1, 3 and 5, 5: mean 2 and deviation 1 of the population; mean 5 and none, which is only shifted."""
    answered: list[str] = []

    class Start:
        def sample(self, prompts: list[Prompt], n: int, manner: Manner) -> list[list[Completion]]:
            return [[Completion(f"{prompt.text} said")] for prompt in prompts]

    def scoring(role: object, names: object, prompts: object, answers: list[Completion], at_once: int) -> torch.Tensor:
        answered.extend(answer.text for answer in answers)
        return torch.tensor([[1.0, 5.0], [3.0, 5.0]])

    monkeypatch.setattr(model, "score", scoring)
    role = Wearing(score1=linear(1.0, bias=0.0), score2=linear(1.0, bias=0.0), normalised=linear(0.0, bias=0.0))
    told = model.normalise(role, ("score1", "score2"), Start(), [Prompt.ask("a"), Prompt.ask("b")], Manner(), 100)  # type: ignore[arg-type]
    assert answered == ["a said", "b said"]
    assert told == {"reward_mean": 3.5, "reward_deviation": 0.5}
    said = {name: role.head(name)(torch.tensor([[7.0]])).item() for name in ("score1", "score2")}
    assert said == {"score1": pytest.approx(5.0), "score2": pytest.approx(2.0)}
    assert role.head("normalised").bias.item() == 1.0
