"""The step that writes a token in few operations says what the model's own code says, where it is taken at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from families import PACKED, ROWED
from plain import close, loaded, stirred

from alignzoo.model import panels, step
from alignzoo.model.base import Base
from alignzoo.model.branches import Branched
from alignzoo.model.head import Head
from alignzoo.model.panels import Panel, rounded
from alignzoo.model.past import Cached
from alignzoo.model.role import policy_on

Family = Callable[[str], Path]
STEPPED = ("llama", "mistral", "qwen2")
ASKED = [(3, 10, 17, 24, 31, 9, 30, 44), (38, 45, 52)]


def uneven(base: Base) -> Base:
    """Norms that are no ones and biases that are no zeros, as training leaves them."""
    dice = torch.Generator().manual_seed(4)
    for key, weight in base.model.named_parameters():
        if "norm" in key or key.endswith(".bias"):
            weight.add_(0.3 * torch.randn(weight.shape, generator=dice))
    return base


@pytest.mark.parametrize("quantize", ["none", "nf4"])
@pytest.mark.parametrize("kind", [Cached, Branched])
@pytest.mark.parametrize("name", STEPPED)
def test_a_step_says_what_the_models_own_code_says(name: str, kind: type, quantize: str, family: Family) -> None:
    """With an adapter and without, over more tokens than a window forgives, and with rows that leave."""
    base = uneven(loaded(family(name), quantize))  # type: ignore[arg-type]
    role = stirred(policy_on(base))
    steps = base.steps
    for worn in (role.worn, None):
        told = []
        for base.steps in (steps, None):
            with torch.no_grad(), base.acting_as(worn):
                past = kind(base, ASKED, 2, 12)
                assert bool(past.step) == bool(base.steps)
                for number in range(10):
                    past.append((torch.arange(len(past.positions)) + 5 * number + 7) % 60)
                    if number == 4:
                        past.keep(torch.tensor([0, 3]))
            told.append((past.states, past.logits))
        assert close(told[0][0], told[1][0], 2e-5)
        assert close(told[0][1], told[1][1], 2e-5)
        base.steps = steps


def test_an_adapter_over_some_of_the_layers_counts_for_them(family: Family) -> None:
    """Of three layers that are one product, one may have none."""
    from alignzoo.model.choices import Loading, Lora

    lora = Lora(4, 8.0, targets=("q_proj", "v_proj", "up_proj"))
    base = Base.load(str(family("llama")), Loading(quantize="none", device="cpu"), lora)
    role, told = stirred(policy_on(base)), []
    assert base.steps is not None
    for steps in (base.steps, None):
        base.steps = steps
        with torch.no_grad(), base.acting_as(role.worn):
            past = Cached(base, ASKED, 1, 3)
            past.append(torch.tensor([5, 12]))
        told.append(past.logits)
    assert close(*told, 2e-5)


def test_who_is_stepped_through(family: Family) -> None:
    for name in PACKED + ROWED:
        assert bool(loaded(family(name)).steps) == (name in STEPPED)
    assert loaded(family("llama"), "int8").steps is None
    half = loaded(family("llama"))
    assert Base(half.model.to(torch.bfloat16), half.text).steps is None


def test_no_more_is_copied_than_there_is_room_for(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    llama = loaded(family("llama"))
    matrices, head = step.Steps.bytes(llama.trunk), llama.head.weight.nbytes
    assert matrices == 4 * 2 * (64 * 64 + 2 * 64 * 32 + 64 * 64 + 3 * 64 * 128)
    for room, stepped, panel in ((matrices + head, True, True), (matrices + head - 1, False, True), (head - 1, False, False)):
        monkeypatch.setattr(panels, "ROOM", room)
        base = loaded(family("llama"))
        assert (bool(base.steps), bool(base.head.panel)) == (stepped, panel)


def test_a_step_that_differs_is_not_taken(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step.Norm, "__call__", lambda norm, x: x * norm.weight)
    base = loaded(family("llama"))
    assert base.steps is None
    assert base.head.panel is None


def test_a_panel_is_the_matrix_as_it_is_now() -> None:
    dice = torch.Generator().manual_seed(0)
    weight, bias, x = (torch.randn(size, generator=dice) for size in ((70, 33), (70,), (17, 33)))
    panel = Panel(lambda: (weight, bias), [weight, bias])
    assert close(panel(x), x @ weight.t() + bias, 1e-5)
    weight.mul_(2)
    bias.add_(1)
    assert close(panel(x), x @ weight.t() + bias, 1e-5)


def test_numbers_of_rows_share_their_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """oneDNN gives no program back: a run whose batches had every number of rows grew by half a megabyte for each."""
    assert [rounded(rows) for rows in (0, 1, 15, 16, 17, 31, 33, 63)] == [0, 1, 15, 16, 18, 32, 36, 64]
    assert [rounded(rows) for rows in (65, 127, 129)] == [72, 128, 144]
    assert all(8 * (rounded(rows) - rows) < rows for rows in range(1, 5000))
    asked, weight = set(), torch.randn(5, 3)
    product = torch.ops.mkldnn._linear_pointwise

    def heard(x: torch.Tensor, *others: object) -> torch.Tensor:
        asked.add(len(x))
        return product(x, *others)  # type: ignore[no-any-return]

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", heard)
    panel = Panel(lambda: (weight, None), [weight])
    for rows in range(1, 257):
        x = torch.randn(rows, 3)
        assert close(panel(x), x @ weight.t(), 1e-5)
    assert len(asked) == 15 + 8 * 4 + 1


def test_a_heads_panel_never_stands_where_a_gradient_is_asked_for() -> None:
    weight = torch.randn(70, 33)
    of = Head(weight, None, Panel(lambda: (weight, None), [weight]))
    states = torch.randn(3, 33, requires_grad=True)
    of.logits(states).sum().backward()  # type: ignore[no-untyped-call]
    assert states.grad is not None
    assert close(states.grad, weight.sum(0).expand(3, 33), 1e-5)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_a_norm_is_the_models_own_down_to_the_smallest_states(size: float) -> None:
    """Where ε is as large as what is normed, which no proof on ordinary states would notice."""
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    own = LlamaRMSNorm(12, eps=1e-3)
    dice = torch.Generator().manual_seed(0)
    with torch.no_grad():
        own.weight.copy_(torch.randn(12, generator=dice))
        states = size * torch.randn(5, 12, generator=dice)
        assert torch.allclose(step.Norm.of(own)(states), own(states), rtol=1e-5, atol=1e-6)
