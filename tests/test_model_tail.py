"""After the last attention only the rows that are read from go on, and nobody can tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from families import PACKED
from plain import gradients, loaded, mixed, pairs, stirred

from alignzoo.model.role import Role, bare_on, policy_on
from alignzoo.model.tail import pick, spread


def told(role: Role, tail_layers: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    role.base.tail_layers = tail_layers
    logps = role.logps(mixed())
    for parameter in role.parameters():
        parameter.grad = None
    (logps @ torch.linspace(-1, 1, len(logps))).backward()
    return logps.detach(), gradients(role)


@pytest.mark.parametrize("name", PACKED)
def test_a_pass_with_a_tail_is_a_whole_pass(name: str, family: Callable[[str], Path]) -> None:
    base = loaded(family(name), "none")
    policy = stirred(policy_on(base))
    assert base.tail_layers == 2, "the proof at loading left the tail off"
    short, whole = told(policy, 2), told(policy, 0)
    assert torch.allclose(short[0], whole[0], atol=1e-5)
    for key, wanted in whole[1].items():
        assert float((short[1][key] - wanted).norm()) <= 1e-5 * float(wanted.norm()), key


def test_the_last_layer_looks_at_few_rows(family: Callable[[str], Path]) -> None:
    """Which is the point of it: of the prompts, only the last token goes through the last layer's products."""
    base, forest = loaded(family("llama"), "none"), pairs()
    looked: list[int] = []
    last = base.model.model.layers[-1].mlp
    for layer in (last.gate_proj, last.down_proj):
        told_of = layer.forward.args[0]
        layer.forward = lambda x, told_of=told_of: base.tail.through(lambda y: (looked.append(y.shape[1]), told_of(y))[1], x)
    bare_on(base, "judge").logps(forest)
    assert looked == [len(forest.needed)] * 2
    assert len(forest.needed) == sum(1 + sum(map(len, tree.replies)) for tree in forest.trees) < forest.size


def test_the_next_pass_begins_with_every_row(family: Callable[[str], Path]) -> None:
    base = loaded(family("llama"), "none")
    policy = policy_on(base)
    before = policy.logps(mixed()).detach()
    assert base.tail.rows is None

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("in the middle")

    base.model.model.norm.forward, whole = broken, base.model.model.norm.forward
    with pytest.raises(RuntimeError, match="in the middle"):
        policy.logps(mixed())
    base.model.model.norm.forward = whole
    assert base.tail.rows is None
    assert torch.equal(policy.logps(mixed()).detach(), before)


def test_pick_and_spread_are_each_others_gradient() -> None:
    rows = torch.tensor([1, 2, 5])
    x = torch.randn(1, 6, 4, dtype=torch.float64, requires_grad=True)
    y = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: pick(x, rows), x)
    assert torch.autograd.gradcheck(lambda y: spread(y, rows, 6), y)


@pytest.mark.parametrize("name", PACKED)
def test_ends_alone_are_the_ends_of_a_whole_pass(name: str, family: Callable[[str], Path]) -> None:
    """What a reward model reads: the same states, the same gradients, and no other row is finished."""
    base, forest = loaded(family(name), "none"), mixed()
    policy = stirred(policy_on(base))
    found = []
    for states in (policy.ends(forest), (read := policy.read(forest).reading).hidden[read.end]):
        for parameter in policy.parameters():
            parameter.grad = None
        (states.sum(1) @ torch.linspace(-1, 1, len(states))).backward()
        found.append((states.detach(), gradients(policy)))
    (short, own), (whole, wanted) = found
    assert short.shape == (len(forest.last), base.width)
    assert torch.allclose(short, whole, atol=1e-5)
    for key in wanted:
        assert float((own[key] - wanted[key]).norm()) <= 1e-5 * float(wanted[key].norm()), key


def test_only_ends_go_through_the_last_layer(family: Callable[[str], Path]) -> None:
    base, forest = loaded(family("llama"), "none"), pairs()
    looked: list[int] = []
    layer = base.model.model.layers[-1].mlp.down_proj
    told_of = layer.forward.args[0]
    layer.forward = lambda x: base.tail.through(lambda y: (looked.append(y.shape[1]), told_of(y))[1], x)
    bare_on(base, "judge").ends(forest)
    assert looked == [len(forest.last)]
