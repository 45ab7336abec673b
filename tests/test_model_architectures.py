"""Every family of models, every quantization: the packed forest says, to the gradient, what a plain forward pass says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from families import LINEAR, PACKED, ROWED
from plain import Plain, close, gradients, loaded, mixed, pairs, stirred
from torch import Tensor

from alignzoo.model.choices import Quantization
from alignzoo.model.role import policy_on

Family = Callable[[str], Path]
QUANTIZED: tuple[Quantization, ...] = ("none", "int8", "nf4")


def weights(count: int, seed: int) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


def blend(logps: Tensor, values: Tensor, scores: Tensor) -> Tensor:
    """A loss in which every log-probability, value and score has its own weight, so that no two mistakes cancel."""
    return (
        logps @ weights(len(logps), 1) + values.square() @ weights(len(values), 2) + scores.square() @ weights(len(scores), 3)
    )


@pytest.mark.parametrize("quantize", QUANTIZED)
@pytest.mark.parametrize("name", PACKED + ROWED)
def test_all_numbers_and_gradients_are_those_of_a_plain_forward_pass(
    name: str, quantize: Quantization, family: Family, tmp_path: Path
) -> None:
    base = loaded(family(name), quantize)
    assert base.packs == (name in PACKED)  # or the comparison would be of rows with rows
    role = stirred(policy_on(base))
    role.grow("value", seed=1)
    role.grow("score", seed=2)
    role.save(tmp_path)
    plain = Plain.of(family(name), tmp_path, role, quantize)

    for forest in (mixed(), pairs()):
        ours = (role.logps(forest), role.values(forest), role.scores(forest))
        theirs = plain.ask(forest)
        for what, got, wanted in zip(("logps", "values", "scores"), ours, theirs, strict=True):
            assert close(got, wanted), f"{what} differ by {float((got - wanted).abs().max()):.2g}"

    blend(*ours).backward()
    blend(*theirs).backward()
    wanted_gradients, got_gradients = plain.gradients(), gradients(role)
    assert set(got_gradients) == set(wanted_gradients)
    largest = max(float(wanted.abs().max()) for wanted in wanted_gradients.values())
    for key, wanted in wanted_gradients.items():
        off, own = float((got_gradients[key] - wanted).abs().max()), float(wanted.abs().max())
        assert own > 0, f"the oracle has no gradient at {key}"
        assert off <= 1e-5 * largest, f"gradients differ by {off:.2g} at {key}"
        assert off <= 1e-4 * own, f"gradients differ by {off:.2g} at {key}, where the largest is {own:.2g}"


@pytest.mark.parametrize("name", PACKED + ROWED)
def test_every_linear_layer_but_the_head_is_adapted(name: str, family: Family) -> None:
    base = loaded(family(name))
    policy = policy_on(base)
    adapted = {key.partition(".lora_")[0] for key in base.wardrobe.tensors("policy")}
    assert len(adapted) == LINEAR.get(name, 14)
    head = base.model.get_output_embeddings()
    assert not hasattr(head, "base_layer")
    assert all(parameter.requires_grad for parameter in policy.parameters())
    assert len(policy.parameters()) == 2 * len(adapted)


@pytest.mark.parametrize("name", PACKED)
def test_these_pack_in_silence(name: str, family: Family, spoken: Callable[[], list[str]]) -> None:
    for quantize in QUANTIZED:
        assert loaded(family(name), quantize).packs
    assert spoken() == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bloom", "attention"),
        ("gemma2", "softcap"),
        ("lfm2", "conv"),
        ("recurrent_gemma", "attention"),  # its "linear_attention" has no such name in transformers 5.17
    ],
)
def test_the_others_fall_back_and_say_so_once(name: str, reason: str, family: Family, spoken: Callable[[], list[str]]) -> None:
    base = loaded(family(name))
    role = policy_on(base)
    for _ in range(2):
        role.logps(pairs())
    assert not base.packs
    said = [line for line in spoken() if "not packed" in line]
    assert len(said) == 1
    assert reason in said[0]
    assert "one row per reply" in said[0]


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", ["gpt2", "opt", "bloom"])
def test_dropout_of_the_config_changes_nothing(name: str, checkpointing: bool, family: Family, tmp_path: Path) -> None:
    """Their configs ask for a dropout of 0.1: log-probabilities with a gradient are those without."""
    base = loaded(family(name), checkpointing=checkpointing)
    role = stirred(policy_on(base))
    learning = role.logps(mixed())
    assert learning.requires_grad
    with torch.no_grad():
        still = role.logps(mixed())
    assert torch.equal(learning.detach(), still)
    learning.sum().backward()
    first = gradients(role)
    for parameter in role.parameters():
        parameter.grad = None
    role.logps(mixed()).sum().backward()
    assert all(torch.equal(first[key], again) for key, again in gradients(role).items())


def test_dropout_modules_stay_off_whoever_calls_train(family: Family) -> None:
    base = loaded(family("gpt2"))
    role = stirred(policy_on(base))
    with torch.no_grad():
        still = role.logps(mixed())
        base.model.train()
        assert torch.equal(role.logps(mixed()), still)
