"""NLPO's mask: one set of tokens for sampler, log-probabilities and gradient, and a masking policy that grows old."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from alignzoo.interfaces import Lesson, Manner
from alignzoo.lab.store import Training
from alignzoo.lab.training import Seat, Terms, train
from alignzoo.learning.canaries import Canaries, CanaryError, watching
from alignzoo.learning.choices import Budget, Watch
from alignzoo.learning.descent import Descent
from alignzoo.learning.rollouts import Explorer, Exploring
from alignzoo.model import head
from alignzoo.model.forest import Forest, Tree, plant
from alignzoo.model.role import Role, policy_on
from alignzoo.model.steering import Sight
from alignzoo.records import Completion, Prompt
from alignzoo.testing import toy_base
from alignzoo_policy_gradient.masks import Mask, Masked, breadth, likely
from alignzoo_policy_gradient.nlpo import NLPO
from alignzoo_policy_gradient.reinforce import ReinforcePlusPlus

PROMPTS = [Prompt.ask(f"tell i about the {thing}") for thing in ("cat", "dog", "house", "river", "sun", "moon")]
EXPLORING = Exploring(max_tokens=6, unfinished="ignore")
QUICK: dict[str, Any] = {"prompts_per_update": 4, "replies": 3, "exploring": EXPLORING, "descent": Descent(lr=1e-2)}


def lengths(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    return [len(completion.text) / 30 for completion in completions]


LESSON = Lesson(prompts=PROMPTS, reward=lengths)


def stirred(role: Role, seed: int, size: float = 0.1) -> Role:
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, tensor in sorted(role.base.wardrobe.tensors(role.name).items()):
            if ".lora_B." in key:
                tensor.copy_(size * torch.randn(tensor.shape, generator=dice))
    return role


def grown_apart(*, plain_head: bool = True) -> tuple[Role, Mask]:
    """A policy that has moved since its masking policy was made."""
    base = toy_base()
    base.plain_head = plain_head
    policy = stirred(policy_on(base), 0)
    mask = Mask(policy, 0.6, every=99)
    return stirred(policy, 1), mask


# The sets of tokens ----------------------------------------------------------------------------------------------------


def test_the_nucleus_by_hand() -> None:
    """The token that reaches p is still in. At temperature ½ chances are squared: 0.25 and 0.09 of 0.365."""
    logits = torch.tensor([[0.15, 0.50, 0.05, 0.30]]).log()
    assert likely(logits, 1.0, 0.75).tolist() == [[False, True, False, True]]
    assert likely(logits, 1.0, 0.85).tolist() == [[True, True, False, True]]
    assert likely(logits, 0.5, 0.6).tolist() == [[False, True, False, False]]
    assert likely(logits, 1.0, 1.0).all()


def test_steering_leaves_the_policys_logits_inside_and_nothing_outside() -> None:
    _, mask = grown_apart()
    masking = torch.tensor([[0.15, 0.50, 0.05, 0.30]]).log()
    steered = mask.steer(1.0, Sight(torch.zeros(1, 1), torch.tensor([[1.0, 2.0, 3.0, 4.0]])), Sight(torch.zeros(1, 1), masking))
    assert steered.tolist() == [[-torch.inf, 2.0, -torch.inf, 4.0]]


def by_hand(policy: Role, masking: Role, forest: Forest, temperature: float, top_p: float) -> tuple[Tensor, Tensor]:
    """The allowed sets, word by word, and the policy's probabilities renormalised among them."""
    with torch.no_grad():
        theirs, own = masking.spread(forest, temperature).exp(), policy.spread(forest, temperature).exp()
    allowed = torch.zeros_like(theirs, dtype=torch.bool)
    for row, chances in enumerate(theirs):
        held = 0.0
        for token in chances.argsort(descending=True).tolist():
            if held >= top_p:
                break
            allowed[row, token], held = True, held + float(chances[token])
    inside = own * allowed
    return allowed, (inside / inside.sum(1, keepdim=True)).log()


@pytest.mark.parametrize("plain_head", [True, False])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_everybody_uses_the_same_mask(temperature: float, plain_head: bool) -> None:
    """Sampler, recorded log-probabilities, those asked for afterwards, and the bits that are kept: all as by hand."""
    policy, mask = grown_apart(plain_head=plain_head)
    masked = Masked(policy, mask)
    groups = masked.sample(PROMPTS, 8, Manner(max_tokens=6, temperature=temperature, seed=4))
    forest = policy.base.text.replies(PROMPTS, groups)
    allowed, spread = by_hand(policy, mask.role, forest, temperature, 0.6)
    wanted = spread.gather(1, forest.targets[:, None])[:, 0]
    recorded = torch.tensor([logp for group in groups for reply in group for logp in reply.logps])
    assert bool(wanted.isfinite().all())  # nothing was written from outside
    assert torch.allclose(recorded, wanted, atol=2e-4)
    bits = mask.allowed(forest, temperature)
    assert bits.shape == (len(forest.targets), 8)
    assert torch.equal(head.opened(bits, 64), allowed)
    assert breadth(bits, 64) == pytest.approx(float(allowed.sum(1).float().mean()))
    assert 1 < breadth(bits, 64) < 40
    with torch.no_grad():
        assert torch.allclose(masked.logps(forest.attach(tokens={"allowed": bits}), temperature), wanted, atol=2e-4)
        assert not torch.allclose(policy.logps(forest, temperature), wanted, atol=0.1)


def test_tokens_come_as_often_as_the_renormalised_distribution_says() -> None:
    policy, mask = grown_apart()
    forest = plant([Tree(tuple(policy.base.text.prompt_ids(PROMPTS[0])), ((9,),))])
    _, spread = by_hand(policy, mask.role, forest, 1.0, 0.6)
    draws = 4000
    [group] = Masked(policy, mask).sample(PROMPTS[:1], draws, Manner(max_tokens=1))
    counts = torch.bincount(torch.tensor([reply.tokens[0] for reply in group]), minlength=64)
    hoped = spread[0].exp() * draws
    assert counts[hoped == 0].sum() == 0
    inside = hoped > 0
    chi_square = float(((counts[inside] - hoped[inside]) ** 2 / hoped[inside]).sum())
    assert chi_square < 2 * int(inside.sum()) + 12


def test_what_was_written_is_always_among_what_was_allowed() -> None:
    """Rounding may put the last word of a nucleus in or out: an answer that was written must not have probability 0."""
    policy, mask = grown_apart()
    forest = plant([Tree((8, 9), ((11, 50, 33, 20), (60, 7)))])
    marks = head.opened(mask.allowed(forest, 1.0), 64)
    assert bool(marks.gather(1, forest.targets[:, None]).all())
    outside, _ = by_hand(policy, mask.role, forest, 1.0, 0.6)
    assert not bool(outside.gather(1, forest.targets[:, None]).all())


def test_the_gradient_stays_inside() -> None:
    """That of the log-probability renormalised by hand, which asks nothing of what is outside."""
    policy, mask = grown_apart()
    groups = Masked(policy, mask).sample(PROMPTS[:3], 2, Manner(max_tokens=6))
    forest = policy.base.text.replies(PROMPTS[:3], groups)
    forest = forest.attach(tokens={"allowed": mask.allowed(forest, 1.0)})
    weights = torch.linspace(-1, 2, len(forest.targets))
    allowed, _ = by_hand(policy, mask.role, forest, 1.0, 0.6)
    spread = policy.spread(forest).masked_fill(~allowed, -torch.inf).log_softmax(-1)
    own = (Masked(policy, mask).logps(forest) * weights).sum()
    theirs = (spread.gather(1, forest.targets[:, None])[:, 0] * weights).sum()
    for one, other in zip(*(torch.autograd.grad(t, policy.parameters()) for t in (own, theirs)), strict=True):
        assert torch.allclose(one, other, atol=1e-3 * float(other.abs().max() + 1e-3))
        assert bool(one.any())


# The masking policy ----------------------------------------------------------------------------------------------------


def test_the_masking_policy_is_copied_anew_after_every_so_many_rounds() -> None:
    """And stays as it is in between; the former copy is gone, and no name comes twice."""
    base = toy_base()
    policy = policy_on(base)
    mask = Mask(policy, 0.9, every=2)
    assert mask.role.bare
    names = []
    for number in range(6):
        then = mask.role.digest
        stirred(policy, number)
        mask.round_over()
        assert (mask.role.digest == then) == (number % 2 == 0)
        if number % 2:
            with torch.no_grad():
                forest = plant([Tree((8, 9), ((11, 50),))])
                assert torch.equal(mask.role.logps(forest), policy.logps(forest))
            names.append(mask.role.name)
        assert sorted(base.roles) == sorted({"policy", mask.role.name})
        assert not mask.role.trained
    assert len(set(names)) == 3


def test_in_every_round_the_first_step_starts_from_where_the_answers_come() -> None:
    """The ratio is that of the masked policies: 1 before anything moves, however old the mask is."""
    base = toy_base()
    policy = policy_on(base)
    canaries = Canaries(base)
    with watching(canaries):
        told = list(NLPO(**QUICK, updates=5, mask_every=3, mask_top_p=0.5, epochs=2).improve(policy, LESSON))
        canaries.untouched()
    for row in told:
        assert row["first_ratio"] == pytest.approx(1, abs=1e-4)
        assert 1 <= row["allowed"] < 40
    assert told[0]["kl"] == pytest.approx(0, abs=1e-5)  # the mask alone is no divergence
    assert told[4]["kl"] > 1e-3
    assert [row["mask_age"] for row in told] == [0, 1, 2, 0, 1]


def test_the_loss_has_the_ratio_of_the_masked_policies() -> None:
    policy, mask = grown_apart()
    masked = Masked(policy, mask)
    optimizer = NLPO(**QUICK)
    explore = Explorer(EXPLORING, masked, Masked(policy.frozen(), mask), LESSON, 0, lambda f: optimizer.note(mask, f))
    forest = explore(PROMPTS[:3], 3).forest
    assert torch.allclose(forest.tokens["old"], masked.logps(forest).detach(), atol=1e-4)
    forest = forest.attach(tokens={"advantage": torch.linspace(-1, 1, len(forest.targets))})
    stirred(policy, 2)
    _, spread = by_hand(policy, mask.role, forest, 1.0, 0.6)
    ratio = (spread.gather(1, forest.targets[:, None])[:, 0] - forest.tokens["old"]).exp()
    gained = forest.tokens["advantage"]
    wanted = -torch.minimum(gained * ratio, gained * ratio.clamp(0.8, 1.2))
    loss = optimizer.loss(masked, forest)
    assert loss.count == len(forest.targets)
    assert float(loss.total.detach()) == pytest.approx(float(wanted.sum()), rel=1e-3)
    assert float((ratio - 1).abs().max()) > 0.3


def test_without_a_mask_it_is_reinforce_plus_plus() -> None:
    """Where everything is allowed nothing differs: the same answers, the same steps."""
    digests = []
    for optimizer in (NLPO(**QUICK, updates=2, mask_top_p=1.0, mask_every=1), ReinforcePlusPlus(**QUICK, updates=2)):
        policy = policy_on(toy_base())
        list(optimizer.improve(policy, LESSON))
        digests.append(policy.digest)
    assert digests[0] == digests[1]


def test_a_mask_that_leaves_no_choice_is_refused_before_anything_is_learned() -> None:
    """Its ratio is 1 and its gradient nought, whatever the reward says: such a run would train nothing, round by round."""
    policy = policy_on(toy_base())
    with pytest.raises(CanaryError, match="mask_top_p = 1e-06 leaves one token alone in every place of the first answers"):
        next(NLPO(**QUICK, mask_top_p=1e-6).improve(policy, LESSON))
    assert policy.idle
    assert next(NLPO(**QUICK, mask_top_p=0.5).improve(policy, LESSON))["allowed"] > 1


def test_what_is_deployed_writes_without_the_mask() -> None:
    policy, mask = grown_apart()
    assert NLPO().deploy(policy, LESSON) is policy
    manner = Manner(max_tokens=6)
    assert policy.sample(PROMPTS, 4, manner) != Masked(policy, mask).sample(PROMPTS, 4, manner)


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_masking_policy_is_taken_up_where_it_was(stop: int, every: int, tmp_path: Path) -> None:
    """Whether it is old or new at the time, and with more copies after the resume than before."""
    optimizer = replace(NLPO(**QUICK), updates=6, mask_every=every, mask_top_p=0.6, epochs=2)

    def go_on(folder: str, updates: int) -> tuple[str, str, set[str]]:
        base = toy_base()
        files = Training(tmp_path / folder)
        terms = Terms(Budget(updates=updates), Watch(every=0, prompts=2, tokens=4))
        done = train(optimizer, LESSON, Seat(base, policy_on), files, terms)
        rows = [line.partition('"seconds"')[0] for line in files.updates.read_text().splitlines()]
        masking = {role.digest for name, role in base.roles.items() if name.startswith("masking")}
        return done.policy.digest, "\n".join(rows), masking

    whole = go_on("whole", 99)
    go_on("halves", stop)
    assert go_on("halves", 99) == whole
    assert len(whole[2]) == 1
