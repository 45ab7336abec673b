"""The bitsandbytes trap: on CPUs with AVX512-BF16 one pass in eval mode repacks 4-bit weights, and from then on gradients are
wrong and saved weights damaged, without an error."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit, has_avx512bf16
from plain import gradients, loaded, mixed, stirred
from torch import Tensor

from alignzoo.interfaces import Manner
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.loading import checksum, quantized_layers
from alignzoo.model.role import Role, policy_on
from alignzoo.records import Prompt
from alignzoo.testing import toy_folder


def gradient(role: Role) -> Tensor:
    for parameter in role.parameters():
        parameter.grad = None
    logps = role.logps(mixed())
    (logps * torch.linspace(-1, 1, len(logps))).sum().backward()
    return torch.cat([tensor.flatten() for _, tensor in sorted(gradients(role).items())])


def likeness(one: Tensor, other: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one, other, dim=0))


def weights(base: Base) -> list[Tensor]:
    return [dequantize_4bit(layer.weight.data, layer.weight.quant_state) for _, layer in quantized_layers(base.model)]


def saved(base: Base) -> dict[str, Tensor]:
    return {key: t.clone() for key, t in base.model.state_dict().items() if ".lora_" not in key}


def look_and_write(role: Role) -> None:
    with torch.no_grad():
        role.logps(mixed())
    role.sample([Prompt.ask("is the cat small")], 2, Manner(max_tokens=4))


@pytest.mark.parametrize("double_quant", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_looking_and_writing_harm_no_gradient_and_no_weight(dtype: str, double_quant: bool, tmp_path: Path) -> None:
    how = Loading(quantize="nf4", dtype=dtype, double_quant=double_quant, device="cpu")  # type: ignore[arg-type]
    base = Base.load(str(toy_folder(tmp_path)), how, Lora(rank=4, alpha=8.0))
    role = stirred(policy_on(base))
    matrices, state, sum_of_bits = weights(base), saved(base), checksum(base.model)
    assert len(matrices) == 14
    first = gradient(role)
    for _ in range(3):
        look_and_write(role)
        assert likeness(gradient(role), first) >= 0.999
    assert all(torch.equal(now, then) for now, then in zip(weights(base), matrices, strict=True))
    assert all(torch.equal(now, state[key]) for key, now in saved(base).items())
    assert checksum(base.model) == sum_of_bits


@pytest.mark.skipif(not has_avx512bf16(), reason="bitsandbytes repacks 4-bit weights only on CPUs with AVX512-BF16")
def test_without_the_guard_the_trap_shuts(tmp_path: Path) -> None:
    """Why the guard exists, and that the checksum of the base sees it."""
    base = loaded(toy_folder(tmp_path), "nf4")
    role = stirred(policy_on(base))
    first, sum_of_bits = gradient(role), checksum(base.model)
    for _, layer in quantized_layers(base.model):
        assert layer.support_avx512bf16_for_cpu is False
        layer.support_avx512bf16_for_cpu = True
    look_and_write(role)
    assert likeness(gradient(role), first) < 0.9
    assert checksum(base.model) != sum_of_bits


def test_eight_bit_layers_do_not_look_at_the_batch(tmp_path: Path) -> None:
    """In eval mode bitsandbytes rounds the activations by columns that it picks from the whole batch."""
    base = loaded(toy_folder(tmp_path), "int8")
    role = stirred(policy_on(base))
    layers = quantized_layers(base.model)
    assert len(layers) == 14
    first = gradient(role)
    look_and_write(role)
    assert torch.equal(gradient(role), first)
    with torch.no_grad():
        forest = mixed()
        apart = torch.cat([role.logps(forest.select([place])) for place in range(len(forest))])
        assert torch.allclose(role.logps(forest), apart, atol=1e-5)
        for _, layer in layers:
            layer.training = False
        apart = torch.cat([role.logps(forest.select([place])) for place in range(len(forest))])
        assert not torch.allclose(role.logps(forest), apart, atol=1e-3)
