"""A beginning that is read once and kept: what comes after it is as if all had been read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from families import PACKED
from plain import loaded, stirred

from alignzoo.model.base import Base
from alignzoo.model.forest import Tree, plant
from alignzoo.model.head import Head, logps
from alignzoo.model.prefix import Prefix
from alignzoo.model.role import policy_on

BEGINNING = tuple(5 + i * 3 % 40 for i in range(14))
RESTS = ((20,), (21, 30, 31), (22, 9, 8, 7, 6, 5, 4, 30))


def whole(base: Base, beginning: tuple[int, ...], worn: str | None = None) -> torch.Tensor:
    return base.ends(plant([Tree(beginning, RESTS)]), worn, learning=False)


@pytest.mark.parametrize("name", PACKED)
def test_what_follows_a_kept_beginning_is_as_if_all_were_read(name: str, family: Callable[[str], Path]) -> None:
    base = loaded(family(name), "none")
    assert base.prefixes, "the proof at loading says that beginnings cannot be kept"
    prefix = Prefix(base, None, BEGINNING)
    for length in (len(BEGINNING), 5):
        torch.testing.assert_close(prefix.until(length).ends(RESTS), whole(base, BEGINNING[:length]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(prefix.ends(RESTS[1:2]), whole(base, BEGINNING)[1:2], atol=1e-5, rtol=1e-4)


def test_it_is_read_by_the_role_that_wears_an_adapter(family: Callable[[str], Path]) -> None:
    base = loaded(family("llama"), "none")
    policy = stirred(policy_on(base))
    prefix = Prefix(base, policy.worn, BEGINNING)
    with base.acting_as(None):
        torch.testing.assert_close(prefix.ends(RESTS), whole(base, BEGINNING, policy.worn), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(prefix.ends(RESTS), whole(base, BEGINNING), atol=1e-3)


@pytest.mark.parametrize("name", PACKED)
def test_replies_after_a_kept_beginning_are_as_likely_as_if_all_were_read(name: str, family: Callable[[str], Path]) -> None:
    base = loaded(family(name), "none")
    policy = stirred(policy_on(base))
    trees = [((20, 21), ((30, 31, 9), (32,))), ((22,), ((8, 7),)), ((23, 24, 25, 26, 27), ((6, 5), (6, 4), (3, 3, 3)))]
    after = plant([Tree(prompt, replies) for prompt, replies in trees])
    for worn in (None, policy.worn):
        prefix = Prefix(base, worn, BEGINNING)
        for length in (len(BEGINNING), 5):
            full = plant([Tree(BEGINNING[:length] + prompt, replies) for prompt, replies in trees])
            reading = base.read(full, worn, learning=False)
            plain = logps(reading.hidden[reading.before], full.targets, base.head)
            torch.testing.assert_close(prefix.until(length).logps(after), plain, atol=1e-5, rtol=1e-4)


def test_what_it_costs(family: Callable[[str], Path]) -> None:
    """The beginning once, and then only what follows: together the work of one packed tree."""
    base = loaded(family("llama"), "none")
    assert (base.meter.read, base.meter.flops) == (0, 0.0)
    prefix = Prefix(base, None, BEGINNING)
    read = base.meter.read
    prefix.ends(RESTS)
    prefix.ends(RESTS)
    assert (read, base.meter.read) == (14, 14 + 2 * 12)
    sizes = base.sizes(None)
    seen = 14 * 15 / 2 + 2 * sum(len(rest) * 14 + len(rest) * (len(rest) + 1) / 2 for rest in RESTS)
    assert base.meter.flops == 2 * sizes.linear * 38 + 4 * sizes.attention * seen + 2 * sizes.head * (1 + 2 * 3)
    spent = base.meter.flops
    prefix.logps(plant([Tree((20, 21), ((30, 31, 9), (32,)))]))
    seen = 6 * 14 + (2 * 3 / 2) + (3 * 2 + 3 * 4 / 2) + (2 + 1)
    assert base.meter.read == 14 + 2 * 12 + 6
    assert base.meter.flops - spent == 2 * sizes.linear * 6 + 4 * sizes.attention * seen + 2 * sizes.head * 4


def test_a_model_that_cannot_pack_keeps_no_beginnings(family: Callable[[str], Path]) -> None:
    assert not loaded(family("lfm2"), "none").prefixes


@pytest.mark.parametrize("bias", [None, torch.linspace(-1, 1, 50)])
def test_a_few_columns_of_the_head(bias: torch.Tensor | None) -> None:
    dice = torch.Generator().manual_seed(0)
    head = Head(torch.randn(50, 8, generator=dice), bias)
    states, tokens = torch.randn(3, 8, generator=dice), torch.tensor([[4, 7], [7, 4], [0, 49]])
    torch.testing.assert_close(head.columns(states, tokens), head.logits(states).gather(1, tokens))
