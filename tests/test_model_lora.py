"""An adapter over a frozen layer, held against y = W x + b + s·B(A x) as autograd has it: value and every gradient."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from alignzoo.model.base import Base
from alignzoo.model.loading import ModelError
from alignzoo.model.lora import Pair, adapted, frozen_weight
from alignzoo.model.role import policy_on
from alignzoo.model.wardrobe import pair_on


class Opaque(nn.Linear):
    """A layer that only itself knows how to multiply by, as a quantized one."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


def turned(inputs: int, outputs: int) -> Conv1D:
    layer = Conv1D(outputs, inputs)
    nn.init.normal_(layer.bias)
    return layer


@pytest.mark.parametrize("rows", [(1, 3), (1, 40), (4, 5, 2)])
@pytest.mark.parametrize(("made", "known"), [(nn.Linear, True), (turned, True), (Opaque, False)])
def test_an_adapted_layer_is_its_formula_to_every_gradient(
    made: Callable[[int, int], nn.Module], known: bool, rows: tuple[int, ...]
) -> None:
    """With few tokens and with many, which are multiplied in another order, and where nobody asks for a gradient."""
    torch.manual_seed(0)
    layer = made(6, 7).requires_grad_(False)
    assert (frozen_weight(layer, torch.float32) is not None) is known
    weight = layer.get_parameter("weight")
    weight = weight.t() if isinstance(layer, Conv1D) else weight
    x, down, up = (torch.randn(shape, requires_grad=True) for shape in ((*rows, 6), (2, 6), (7, 2)))
    pair, aside = Pair(down, up, 0.37), torch.randn(*rows, 7)
    ours = adapted(layer, x, pair)
    theirs = x @ weight.t() + layer.get_parameter("bias") + 0.37 * (x @ down.t()) @ up.t()
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs)
    wanted = torch.autograd.grad((theirs * aside).sum(), (x, down, up))
    for got, own in zip(torch.autograd.grad((ours * aside).sum(), (x, down, up)), wanted, strict=True):
        torch.testing.assert_close(got, own, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(adapted(layer, x, pair), theirs)


def test_adapters_weigh_alpha_over_rank_and_the_bare_base_wears_none(base: Base) -> None:
    policy = policy_on(base)
    layers = [layer for layer in base.model.modules() if pair_on(layer, policy.name)]
    assert len(layers) == 7 * 2
    assert base.lora.alpha != base.lora.rank
    for layer in layers:
        pair = pair_on(layer, policy.name)
        assert pair is not None
        assert pair.scale == base.lora.alpha / base.lora.rank
        assert pair_on(layer, None) is None
        assert pair_on(layer, "critic") is None


def test_tensors_of_the_right_names_and_of_another_shape_are_refused_and_nothing_is_taken(base: Base) -> None:
    policy = policy_on(base)
    own, before = base.wardrobe.tensors(policy.name), policy.digest
    for key in (next(iter(own)), list(own)[-1]):
        broken = {name: torch.ones_like(tensor) for name, tensor in own.items()} | {key: torch.ones(1, *own[key].shape[1:])}
        with pytest.raises(ModelError, match=f"first difference at '{key}'"):
            base.wardrobe.load(policy.name, broken)
        assert policy.digest == before


def test_where_adapters_begin_is_a_matter_of_their_seed_and_of_no_other_luck(base: Base) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    downs = [base.add_adapter(name, seed)[0].clone() for name, seed in (("one", 1), ("two", 2), ("again", 1))]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(downs[0], downs[2])
    assert not torch.equal(downs[0], downs[1])
