"""PPO on the toy base: where it starts, where it goes, who is moved, and that it can be interrupted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cosine_similarity

from alignzoo.interfaces import Lesson, LessonError, Manner, Metrics, Optimizer
from alignzoo.lab.store import Training
from alignzoo.lab.training import Seat, Terms, train
from alignzoo.learning.canaries import Canaries, watching
from alignzoo.learning.choices import Budget, Voice, Watch
from alignzoo.learning.descent import Descent
from alignzoo.learning.divergence import Leash
from alignzoo.learning.rewards import Combined
from alignzoo.learning.rollouts import Explorer, Exploring
from alignzoo.model.base import Base
from alignzoo.model.role import Role, policy_on
from alignzoo.records import Completion, Demonstration, Prompt
from alignzoo.testing import toy_base
from alignzoo_ppo.ppo import PPO
from alignzoo_ppo.ptx import Reminder

PROMPTS = [Prompt.ask(f"is the {thing} {how}") for thing in ("cat", "dog", "bird", "house") for how in ("small", "old")]
SHORT = Exploring(max_tokens=6, unfinished="ignore")
QUICK = PPO(updates=12, prompts_per_update=8, replies=4, epochs=2, exploring=SHORT, descent=Descent(lr=1e-2))


def kindness(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    """How many of the words are kind ones."""
    return [sum(word in ("please", "thanks", "kind", "good") for word in reply.text.split()) for reply in completions]


def length(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    return [float(len(reply.tokens)) for reply in completions]


def unkindness(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    return [-score for score in kindness(prompts, completions)]


def run(optimizer: PPO, base: Base, reward=kindness, shown: Sequence[Demonstration] = ()) -> tuple[Role, list[Metrics]]:  # type: ignore[no-untyped-def]
    policy = policy_on(base)
    with watching(Canaries(base)):
        told = list(optimizer.improve(policy, Lesson(prompts=PROMPTS, reward=reward, demonstrations=shown)))
    return policy, told


def score(policy: Role) -> float:
    groups = policy.sample(PROMPTS, 32, Manner(max_tokens=6, seed=99))
    return sum(sum(kindness((), group)) for group in groups) / (32 * len(PROMPTS))


def test_it_is_an_optimizer_and_says_what_it_needs() -> None:
    assert isinstance(PPO(), Optimizer)
    assert PPO().needs == ("prompts", "reward")
    assert PPO(ptx=1.0).needs == ("prompts", "reward", "demonstrations")
    for lesson, lacks in ((Lesson(prompts=PROMPTS), "reward"), (Lesson(reward=kindness), "prompts")):
        with pytest.raises(LessonError, match=f"lacks {lacks}"):
            next(PPO().improve(policy_on(toy_base()), lesson))
    policy = policy_on(toy_base())
    assert PPO().deploy(policy, Lesson()) is policy


@pytest.mark.parametrize("critic", ["trunk", "adapter"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_before_the_first_update_nothing_has_moved(critic: str, temperature: float) -> None:
    """KL 0, and the ratio of the first step 1: samples, reference and update speak of the same distribution."""
    exploring = replace(SHORT, temperature=temperature)
    first = run(replace(QUICK, updates=1, critic=critic, exploring=exploring), toy_base())[1][0]  # type: ignore[arg-type]
    assert first["kl"] == pytest.approx(0.0, abs=1e-4)
    assert first["first_ratio"] == pytest.approx(1.0, abs=1e-5)
    assert first["explained"] <= 0  # a critic that foresees nothing


@pytest.mark.parametrize("critic", ["trunk", "adapter"])
def test_the_reward_rises_and_falls_where_it_is_negated(critic: str) -> None:
    optimizer = replace(QUICK, critic=critic)  # type: ignore[arg-type]
    before = score(policy_on(toy_base()))
    better, told = run(optimizer, toy_base())
    worse, _ = run(optimizer, toy_base(), unkindness)
    assert score(better) > before + 0.5
    assert score(worse) < before - 0.1
    assert told[-1]["kl"] > 0.1


@pytest.mark.parametrize("critic", ["trunk", "adapter"])
def test_the_critic_learns_to_foresee(critic: str) -> None:
    told = run(replace(QUICK, critic=critic, value_weight=1.0, value_clip=5.0, epochs=4, updates=24), toy_base())[1]  # type: ignore[arg-type]
    assert told[0]["explained"] < 0  # where every answer has come to the same score, nothing is left to foresee
    assert max(update["explained"] for update in told) > 0.4


def test_the_critic_adapter_is_moved_and_the_reference_is_not() -> None:
    base = toy_base()
    policy = policy_on(base)
    training = replace(QUICK, critic="adapter", updates=2).improve(policy, Lesson(prompts=PROMPTS, reward=kindness))
    next(training)
    critic, reference = base.roles["critic"], base.roles["reference"]
    digests = (policy.digest, critic.digest, reference.digest)
    next(training)
    assert policy.digest != digests[0]
    assert critic.digest != digests[1]
    assert reference.digest == digests[2]


def test_a_critic_of_its_own_leaves_the_policy_gradient_alone() -> None:
    """With an adapter critic the policy's gradient does not depend on the value loss; on a shared trunk it does."""
    gradients = {}
    for critic in ("trunk", "adapter"):
        for weight in (0.0, 5.0):
            base = toy_base()
            policy = policy_on(base)
            optimizer = replace(QUICK, critic=critic, value_weight=weight)  # type: ignore[arg-type]
            judge = optimizer.seat_critic(policy)
            with torch.no_grad():  # a head that foresees nothing sends nothing down
                judge.heads["value"].weight.fill_(0.1)
            explore = Explorer(SHORT, policy, policy.frozen(), Lesson(prompts=PROMPTS, reward=kindness), 0)
            batch, _ = optimizer.judged(explore(PROMPTS, 2), policy, judge, 0.0)
            optimizer.loss(policy, judge, batch).total.backward()
            gradients[critic, weight] = torch.cat([p.grad.flatten() for p in policy.adapter if p.grad is not None])
    apart, shared = (torch.dist(gradients[c, 0.0], gradients[c, 5.0]) / gradients[c, 0.0].norm() for c in ("adapter", "trunk"))
    assert float(apart) < 1e-6
    assert float(shared) > 1e-2


def test_a_tighter_leash_keeps_the_policy_nearer() -> None:
    loose, tight = (run(replace(QUICK, leash=Leash(beta)), toy_base())[1][-1]["kl"] for beta in (0.0, 1.0))
    assert tight < 0.5 * loose


def test_the_adaptive_leash_moves_towards_its_target() -> None:
    leash = Leash(coefficient=0.01, target=0.5, horizon=100, approach=0.5)
    told = run(replace(QUICK, leash=leash, updates=6), toy_base())[1]
    assert told[0]["beta"] < 0.01  # the divergence is 0 in the first round: far below its target
    for before, after in pairwise(told):
        assert (after["beta"] > before["beta"]) == (after["kl_over_target"] > 1)
    aims = (0.5 / 3, 1.0 / 3, 0.5, 0.5, 0.5, 0.5)  # it rises over three of the six updates
    assert [row["kl_over_target"] for row in told] == pytest.approx(
        [row["kl"] / aim for row, aim in zip(told, aims, strict=True)]
    )


def test_advantages_are_whitened_over_the_round_and_not_by_minibatch() -> None:
    base = toy_base()
    policy = policy_on(base)
    optimizer = replace(QUICK, minibatches=4)
    explore = Explorer(SHORT, policy, policy.frozen(), Lesson(prompts=PROMPTS, reward=kindness), 0)
    batch, _ = optimizer.judged(explore(PROMPTS, 4), policy, optimizer.seat_critic(policy), 0.05)
    assert float(batch.tokens["advantage"].mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(batch.tokens["advantage"].var(correction=0)) == pytest.approx(1.0, abs=1e-4)
    part = batch.select([0, 1]).tokens["advantage"]
    assert abs(float(part.mean())) > 1e-3


class Counting:
    """A descent that notes how many trees each step was made over."""

    micro_tokens = 8192

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on(self, *roles: Role, updates: int = 0) -> Callable[[Any, Any], Metrics]:
        step = Descent(lr=1e-2).on(*roles, updates=updates)

        def descend(loss_of: Any, batch: Any) -> Metrics:
            self.steps.append(len(batch))
            return step(loss_of, batch)

        return descend


@pytest.mark.parametrize(("stop", "most"), [(None, 12), (1e-9, 4)])
def test_epochs_and_minibatches_are_so_many_steps_and_stop_early_when_told(stop: float | None, most: int) -> None:
    counting = Counting()
    optimizer = replace(QUICK, updates=1, epochs=3, minibatches=4, descent=counting, stop_kl=stop)  # type: ignore[arg-type]
    run(optimizer, toy_base())
    assert counting.steps == [2] * len(counting.steps)
    assert len(counting.steps) == 12 if stop is None else len(counting.steps) <= most


@pytest.mark.parametrize(("minibatches", "sizes"), [(5, [2, 2, 2, 1, 1]), (8, [1] * 8), (3, [3, 3, 2])])
def test_a_pass_makes_as_many_steps_as_the_schedule_counts_on(minibatches: int, sizes: list[int]) -> None:
    """Eight prompts in five parts are five steps, not four: with fewer, the rate would never come down."""
    counting = Counting()
    optimizer = replace(QUICK, updates=1, epochs=1, minibatches=minibatches, descent=counting)  # type: ignore[arg-type]
    run(optimizer, toy_base())
    assert counting.steps == sizes


def test_more_minibatches_than_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="4 prompts make no 5 minibatches"):
        PPO(prompts_per_update=4, minibatches=5)


SHOWN = [Demonstration(prompt, Completion("true because the cat is small")) for prompt in PROMPTS]


def test_the_pretraining_mix_adds_its_gradient_and_nothing_else() -> None:
    """∇(PPO loss) + γ ∇(mean −log π of the demonstrations), by computing both apart."""
    base = toy_base()
    policy = policy_on(base)
    plain, mixed = replace(QUICK, ptx=0.0), replace(QUICK, ptx=0.5)
    critic = plain.seat_critic(policy)
    explore = Explorer(SHORT, policy, policy.frozen(), Lesson(prompts=PROMPTS, reward=kindness), 0)
    batch, _ = plain.judged(explore(PROMPTS, 2), policy, critic, 0.05)
    remind = Reminder(SHOWN, base, 0.5, len(SHOWN), 1, seed=0)

    def gradient(total: torch.Tensor) -> torch.Tensor:
        for parameter in policy.parameters():
            parameter.grad = None
        total.backward()  # type: ignore[no-untyped-call]
        return torch.cat([p.grad.flatten().clone() for p in policy.adapter if p.grad is not None])

    loss = mixed.loss(policy, critic, remind(batch))
    together = gradient(loss.total / loss.count)
    alone = plain.loss(policy, critic, batch)
    assert loss.count == alone.count
    own = gradient(alone.total / alone.count)
    shown = base.text.replies([d.prompt for d in SHOWN], [[d.completion] for d in SHOWN])
    other = gradient(-0.5 * policy.logps(shown).mean())
    assert float(cosine_similarity(together, own + other, dim=0)) > 0.99999
    assert float(together.norm()) == pytest.approx(float((own + other).norm()), rel=1e-4)


def test_the_pretraining_mix_keeps_demonstrations_likely() -> None:
    base = toy_base()
    shown = base.text.replies([d.prompt for d in SHOWN], [[d.completion] for d in SHOWN])
    likely = {}
    for weight in (0.0, 2.0):
        policy, _ = run(replace(QUICK, ptx=weight, updates=6), toy_base(), shown=SHOWN)
        with torch.no_grad():
            likely[weight] = float(policy.logps(shown).mean())
    assert likely[2.0] > likely[0.0] + 1.0


@pytest.mark.parametrize(
    "optimizer", [QUICK, replace(QUICK, critic="adapter", ptx=0.5, leash=Leash(target=1.0), minibatches=2)]
)
def test_a_stopped_training_goes_on_to_the_same_end(optimizer: PPO, tmp_path: Path) -> None:
    short = replace(optimizer, updates=4, exploring=replace(SHORT, scale="start"))
    ends = []
    for name, stops in (("whole", (None,)), ("broken", (2, None))):
        for most in stops:
            both = Combined([(Voice("kind"), kindness), (Voice("long", at_most=2.0, step=0.5), length)])
            lesson = Lesson(prompts=PROMPTS, reward=both, demonstrations=SHOWN)
            terms = Terms(Budget(updates=most), Watch(every=0), checkpoint_every=1)
            files = Training(tmp_path / name)
            ends.append(train(short, lesson, Seat(toy_base(), policy_on), files, terms).policy.digest)
    assert ends[0] == ends[2] != ends[1]


def test_every_figure_of_a_round_is_there() -> None:
    told = run(replace(QUICK, updates=1), toy_base())[1][0]
    wanted = {"score", "kl", "beta", "entropy", "ratio", "clipped", "approx_kl", "explained", "ended", "length", "value_loss"}
    assert wanted <= set(told)
