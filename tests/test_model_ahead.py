"""A batch that is read ahead of its loss, other replies to its prompts along with it, and prompts that are scored, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from families import PACKED, ROWED
from plain import loaded, stirred

from alignzoo.learning import reference
from alignzoo.model import whole
from alignzoo.model.ahead import Ahead
from alignzoo.model.base import Base
from alignzoo.model.forest import Forest, Tree, per_reply, plant
from alignzoo.model.role import Role, policy_on
from alignzoo.testing import toy_base

FIRST, SECOND, SHORT = (1, 9, 12, 17, 5, 30, 31, 8), (1, 22), (7,)
BATCH = plant([Tree(FIRST, ((6, 7, 2), (40, 2))), Tree(SECOND, ((11, 12, 13, 14, 15, 16, 2),)), Tree(SHORT, ((2,),))])
OTHERS = plant([Tree(FIRST, ((33, 34, 35, 36, 2),)), Tree(SECOND, ((2,), (21, 2))), Tree(SHORT, ((19, 20, 2),))])


def gradients(role: Role, total: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(total, role.parameters()))


@pytest.mark.parametrize("name", [*PACKED, *ROWED])
def test_other_replies_are_as_if_they_had_been_read_by_themselves(name: str, family: Callable[[str], Path]) -> None:
    base = loaded(family(name), "none")
    assert base.keeps == (name in PACKED)
    policy = stirred(policy_on(base))
    wanted, own = policy.logps(OTHERS).detach(), policy.logps(BATCH)
    for at_once in (8192, 9):
        ahead = Ahead(policy, BATCH, at_once)
        said = ahead.others(OTHERS)
        assert not said.requires_grad
        torch.testing.assert_close(said, wanted, atol=1e-5, rtol=1e-4)
        again = ahead.logps(BATCH.attach(trees={"z0": torch.zeros(3)}))
        torch.testing.assert_close(again, own, atol=1e-5, rtol=1e-4)
        for one, other in zip(gradients(policy, again.sum()), gradients(policy, policy.logps(BATCH).sum()), strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)
    part = BATCH.select([1])
    torch.testing.assert_close(Ahead(policy, BATCH, 8192).logps(part), policy.logps(part))


def test_a_batch_that_is_too_large_at_once_is_not_read_ahead() -> None:
    policy = policy_on(toy_base())
    assert Ahead(policy, BATCH, BATCH.size).read is not None
    late = Ahead(policy, BATCH, BATCH.size - 1)
    assert late.read is None
    with torch.no_grad():
        torch.testing.assert_close(late.others(OTHERS), policy.logps(OTHERS))


def test_equal_trees_of_one_batch_are_each_known_as_they_were_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """In another place rounding may be another one, and a policy that has not moved says the same only at the same place."""

    class Placed:
        """Says of every token where it lies."""

        def __init__(self, role: Role, forest: Forest, at_once: int) -> None: ...

        def logps(self, forest: Forest) -> torch.Tensor:
            return torch.arange(len(forest.targets), dtype=torch.float32)

        def others(self, forest: Forest) -> torch.Tensor:
            return -self.logps(forest)

    monkeypatch.setattr(reference, "Ahead", Placed)
    batch = plant([Tree(SECOND, ((11, 2),)), Tree(SHORT, ((2,),)), Tree(SECOND, ((11, 2),))])
    known = reference.Remembered(policy_on(toy_base()).frozen())
    for _ in range(2):  # the second time nobody is asked
        own, others = known.beside(batch, batch)
        assert own.tolist() == (-others).tolist() == [0 + 1, 2, 3 + 4]  # the same trees, read in two ways
    assert known.beside(batch.select([2]), batch.select([2]))[0].tolist() == [0 + 1]
    more = plant([batch.trees[0], Tree(FIRST, ((5, 6, 2),)), batch.trees[1], Tree(FIRST, ((9, 2),)), batch.trees[2]])
    own, others = known.beside(more, more)
    assert own.tolist() == (-others).tolist() == [0 + 1, 0 + 1 + 2, 2, 3 + 4, 3 + 4]  # two were asked about, among themselves


def test_replies_to_other_prompts_are_asked_by_themselves(family: Callable[[str], Path]) -> None:
    """A prompt may have lost its beginning to a longer reply."""
    policy = stirred(policy_on(loaded(family("llama"), "none")))
    shortened = plant([Tree(FIRST[3:], OTHERS.trees[0].replies), *OTHERS.trees[1:]])
    said = Ahead(policy, BATCH, 8192).others(shortened)
    torch.testing.assert_close(said, policy.logps(shortened).detach(), atol=1e-5, rtol=1e-4)


def test_what_other_replies_cost(family: Callable[[str], Path]) -> None:
    """The batch, and of the others their own tokens: the work of one packed tree less the learning."""
    base = loaded(family("llama"), "none")
    policy = policy_on(base)
    ahead = Ahead(policy, BATCH, 8192)
    read, flops = base.meter.read, base.meter.flops
    assert read == BATCH.size
    ahead.others(OTHERS)
    assert base.meter.read - read == len(OTHERS.targets) == 11
    sizes, lengths = base.sizes(policy.worn), ((FIRST, 5), (SECOND, 1), (SECOND, 2), (SHORT, 3))
    seen = sum(len(prompt) * n + n * (n + 1) / 2 for prompt, n in lengths)
    assert base.meter.flops - flops == 2 * (sizes.linear + sizes.adapter + sizes.head) * 11 + 4 * sizes.attention * seen


def test_a_checkpointed_base_keeps_nothing(family: Callable[[str], Path]) -> None:
    base = loaded(family("llama"), "none")
    again = Base(base.model, base.text, base.lora, checkpointing=True)
    assert base.keeps
    assert not again.keeps


@pytest.mark.parametrize("name", [*PACKED, *ROWED])
def test_prompts_are_scored_once_and_as_any_text(name: str, family: Callable[[str], Path]) -> None:
    base = loaded(family(name), "none")
    policy = stirred(policy_on(base))
    said, prompts = whole.logps(policy, BATCH)
    torch.testing.assert_close(said, policy.logps(BATCH), atol=1e-5, rtol=1e-4)
    alone = plant([Tree(FIRST[:1], (FIRST[1:],)), Tree(SECOND[:1], (SECOND[1:],))])
    wanted = torch.cat([per_reply(policy.logps(alone), alone), torch.zeros(1)])
    torch.testing.assert_close(prompts, wanted, atol=1e-5, rtol=1e-4)
    for one, other in zip(gradients(policy, prompts.sum()), gradients(policy, wanted.sum()), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_what_scored_prompts_cost(family: Callable[[str], Path]) -> None:
    base = loaded(family("llama"), "none")
    policy = policy_on(base)
    policy.logps(BATCH)
    plain = base.meter.flops
    whole.logps(policy, BATCH)
    assert base.meter.read == 2 * BATCH.size
    assert base.meter.flops - 2 * plain == 4 * base.sizes(policy.worn).head * (7 + 1 + 0)
