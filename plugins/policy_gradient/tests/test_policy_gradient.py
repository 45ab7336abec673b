"""RLOO, GRPO, REINFORCE++ and NLPO on the toy base: where they start, where they go, and that they can be interrupted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from alignzoo.interfaces import Lesson, LessonError, Manner, Metrics, Optimizer, Reward
from alignzoo.lab.store import Training
from alignzoo.lab.training import Seat, Terms, train
from alignzoo.learning.canaries import Canaries, watching
from alignzoo.learning.choices import Budget, Watch
from alignzoo.learning.descent import Descent
from alignzoo.learning.divergence import Leash, k3
from alignzoo.learning.rollouts import Explorer, Exploring
from alignzoo.model.forest import Forest, per_reply
from alignzoo.model.role import Role, policy_on
from alignzoo.records import Completion, Prompt
from alignzoo.testing import toy_base
from alignzoo_policy_gradient.grpo import GRPO
from alignzoo_policy_gradient.nlpo import NLPO
from alignzoo_policy_gradient.reinforce import ReinforcePlusPlus
from alignzoo_policy_gradient.rloo import RLOO, leave_one_out

PROMPTS = [Prompt.ask(f"tell i about the {thing}") for thing in ("cat", "dog", "house", "river", "sun", "moon")]
THINGS = frozenset("cat dog bird fish tree house river stone sun moon".split())
EXPLORING = Exploring(max_tokens=6, unfinished="ignore")
QUICK: dict[str, Any] = {"prompts_per_update": 6, "replies": 6, "exploring": EXPLORING, "descent": Descent(lr=1e-2)}
ALL = [RLOO(**QUICK), GRPO(**QUICK), ReinforcePlusPlus(**QUICK), NLPO(**QUICK, mask_every=2)]
every = pytest.mark.parametrize("optimizer", ALL, ids=lambda optimizer: type(optimizer).__name__)


def things(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    """The share of words that name things."""
    words = [completion.text.split() for completion in completions]
    return [sum(word in THINGS for word in said) / max(1, len(said)) for said in words]


def against(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    return [-score for score in things(prompts, completions)]


def lesson(reward: Reward = things) -> Lesson:
    return Lesson(prompts=PROMPTS, reward=reward)


def run(optimizer: Any, reward: Reward = things, updates: int = 6) -> tuple[Role, list[Metrics]]:
    base = toy_base()
    policy = policy_on(base)
    with watching(Canaries(base)):
        told = list(replace(optimizer, updates=updates).improve(policy, lesson(reward)))
    return policy, told


def quality(policy: Role) -> float:
    groups = policy.sample(PROMPTS, 16, Manner(max_tokens=6, seed=99))
    scores = [score for prompt, group in zip(PROMPTS, groups, strict=True) for score in things([prompt] * 16, group)]
    return sum(scores) / len(scores)


@every
def test_it_is_an_optimizer_and_says_what_it_needs(optimizer: Any) -> None:
    assert isinstance(optimizer, Optimizer)
    with pytest.raises(LessonError, match="this run lacks prompts and reward"):
        Lesson().check(optimizer.needs)
    policy = policy_on(toy_base())
    assert optimizer.deploy(policy, Lesson()) is policy


@every
def test_the_first_step_starts_from_where_the_answers_come(optimizer: Any) -> None:
    """Ratio 1, nothing clipped, no divergence; whatever the temperature."""
    for temperature in (1.0, 0.7):
        exploring = replace(EXPLORING, temperature=temperature)
        _, [first] = run(replace(optimizer, exploring=exploring), updates=1)
        assert first["ratio"] == pytest.approx(1, abs=1e-5)
        assert first["first_ratio"] == first["ratio"]
        assert first["clipped"] == 0
        for name in ("kl", "approx_kl", *(["divergence"] if isinstance(optimizer, GRPO) else [])):
            assert first[name] == pytest.approx(0, abs=1e-5), name


@every
def test_every_round_is_told_in_finite_numbers(optimizer: Any) -> None:
    _, told = run(replace(optimizer, epochs=2, minibatches=3), updates=2)
    wanted = {"score", "kl", "entropy", "ended", "length", "coefficient", "loss", "ratio", "first_ratio", "clipped"}
    for row in told:
        assert wanted | {"approx_kl", "grad_norm", "lr"} <= set(row)
        assert all(math.isfinite(value) for value in row.values())
        assert row["first_ratio"] == pytest.approx(1, abs=1e-5)
    assert told[0]["approx_kl"] > 1e-3  # the later steps of a round have moved
    assert told[1]["kl"] > 0


@every
def test_it_learns_what_is_rewarded_and_with_the_reward_negated_the_opposite(optimizer: Any) -> None:
    start = quality(policy_on(toy_base()))
    better, told = run(optimizer, updates=14)
    worse, _ = run(optimizer, against, updates=14)
    assert quality(better) > start + 0.15
    assert quality(worse) < start - 0.05
    assert told[-1]["score"] > told[0]["score"] + 0.1
    assert told[-1]["kl"] > 0.1


@every
def test_a_shorter_leash_keeps_it_nearer(optimizer: Any) -> None:
    loose, tight = (run(replace(optimizer, leash=Leash(beta)), updates=8)[1][-1]["kl"] for beta in (0.0, 1.0))
    assert tight < 0.5 * loose


@every
def test_the_leash_is_steered(optimizer: Any) -> None:
    """KL is 0 in the first round, below any target: β falls by 20 % of 36 replies in 72."""
    _, told = run(replace(optimizer, leash=Leash(0.5, target=6.0, horizon=72.0, approach=1.0)), updates=2)
    assert told[0]["coefficient"] == 0.5
    assert told[1]["coefficient"] == pytest.approx(0.5 * (1 - 0.2 * 36 / 72))
    assert told[0]["kl_over_target"] == pytest.approx(told[0]["kl"] / 3)
    assert told[1]["kl_over_target"] == pytest.approx(told[1]["kl"] / 6)


@every
def test_micro_batches_change_nothing(optimizer: Any) -> None:
    told = []
    for limit in (8192, 60):
        two = replace(optimizer, descent=replace(optimizer.descent, micro_tokens=limit), epochs=2)
        told.append(run(two, updates=1)[1])
    assert told[0][0] == pytest.approx(told[1][0], rel=1e-4, abs=1e-6)


@every
def test_the_same_seed_gives_the_same_adapter_and_another_seed_another(optimizer: Any) -> None:
    digests = [run(replace(optimizer, seed=seed, minibatches=2), updates=2)[0].digest for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]


@every
@pytest.mark.parametrize("stop", [1, 2])
def test_interrupted_is_uninterrupted_bit_for_bit(optimizer: Any, stop: int, tmp_path: Path) -> None:
    """Through the lab's own training, with all that survives an update at work: the adaptive leash, the scale of the scores, a
    schedule, epochs and minibatches, and prompts for more than an epoch."""
    careful = replace(
        optimizer,
        updates=3,
        epochs=2,
        minibatches=2,
        prompts_per_update=4,
        exploring=replace(EXPLORING, scale="start"),
        leash=Leash(0.2, target=2.0, horizon=50.0),
        descent=Descent(lr=5e-3, schedule="linear", warmup=2),
    )

    def go_on(folder: str, updates: int) -> tuple[str, str]:
        files = Training(tmp_path / folder)
        terms = Terms(Budget(updates=updates), Watch(every=0, prompts=2, tokens=4))
        done = train(careful, lesson(), Seat(toy_base(), policy_on), files, terms)
        rows = [line.partition('"seconds"')[0] for line in files.updates.read_text().splitlines()]
        return done.policy.digest, "\n".join(rows)

    whole = go_on("whole", 99)
    go_on("halves", stop)
    assert go_on("halves", 99) == whole
    assert whole[1].count("\n") == 2


# What a loss is made of ------------------------------------------------------------------------------------------------


def stirred(policy: Role, seed: int = 0) -> Role:
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, tensor in sorted(policy.base.wardrobe.tensors(policy.name).items()):
            if ".lora_B." in key:
                tensor.copy_(0.05 * torch.randn(tensor.shape, generator=dice))
    return policy


def experienced(policy: Role, advantages: str, replies: int = 3) -> Forest:
    """A round, after which the policy has moved, with made-up advantages on its replies or tokens."""
    forest = Explorer(EXPLORING, policy, policy.frozen(), lesson(), 0)(PROMPTS[:3], replies).forest
    stirred(policy)
    count = len(forest.last) if advantages == "replies" else len(forest.targets)
    made_up = torch.randn(count, generator=torch.Generator().manual_seed(1))
    return forest.attach(**{advantages: {"advantage": made_up}})  # type: ignore[arg-type]


def pessimistic(ratio: Tensor, advantages: Tensor, low: float, high: float) -> Tensor:
    return -torch.minimum(advantages * ratio, advantages * ratio.clamp(low, high))


def test_the_loss_of_rloo_is_of_whole_replies() -> None:
    policy = policy_on(toy_base())
    forest = experienced(policy, "replies")
    with torch.no_grad():
        ratio = per_reply(policy.logps(forest) - forest.tokens["old"], forest).exp()
    loss = RLOO(exploring=EXPLORING).loss(policy, forest)
    wanted = pessimistic(ratio, forest.replies["advantage"], 0.8, 1.2)
    assert loss.count == 9
    assert float(loss.total.detach()) == pytest.approx(float(wanted.sum()), rel=1e-4)
    assert float((ratio - 1).abs().max()) > 0.3  # the clip is at work


def test_in_its_first_step_rloo_is_reinforce() -> None:
    """The gradient of the clipped ratio is that of −A Σ log π, where nothing has moved yet."""
    policy = policy_on(toy_base())
    forest = Explorer(EXPLORING, policy, policy.frozen(), lesson(), 0)(PROMPTS, 4).forest
    forest = forest.attach(replies={"advantage": leave_one_out(forest.replies["score"], 4)})
    gradients = []
    for total in (
        RLOO(exploring=EXPLORING).loss(policy, forest).total,
        -(forest.replies["advantage"] * per_reply(policy.logps(forest), forest)).sum(),
    ):
        found = torch.autograd.grad(total, policy.parameters(), allow_unused=True)
        gradients.append(torch.cat([g.flatten() for g in found if g is not None]))
    assert float(gradients[0].norm()) > 1
    assert torch.allclose(gradients[0], gradients[1], atol=1e-3)


@pytest.mark.parametrize("clip_high", [None, 0.6])
@pytest.mark.parametrize("per", ["reply", "token", "constant"])
def test_grpos_loss_by_its_averages(per: str, clip_high: float | None) -> None:
    policy = policy_on(toy_base())
    forest = experienced(policy, "replies")
    with torch.no_grad():
        logps = policy.logps(forest)
    ratio, advantages = (logps - forest.tokens["old"]).exp(), forest.replies["advantage"][forest.reply]
    losses = pessimistic(ratio, advantages, 0.8, 1 + (clip_high or 0.2)) + 0.3 * k3(logps, forest.tokens["reference"])
    pieces = losses.split(forest.lengths.tolist())
    wanted = {
        "reply": sum(float(piece.mean()) for piece in pieces) / 9,
        "token": float(losses.mean()),
        "constant": float(losses.sum()) / (9 * 6),
    }[per]
    loss = GRPO(per=per, clip_high=clip_high, exploring=EXPLORING).loss(policy, 0.3, forest)  # type: ignore[arg-type]
    assert float(loss.total.detach()) / loss.count == pytest.approx(wanted, rel=1e-4)


def test_grpos_divergence_has_a_gradient_and_is_counted_once() -> None:
    """With equal scores only β k3 is left: its gradient is β times k3's own. And no score is lowered by it."""
    policy = policy_on(toy_base())
    forest = experienced(policy, "replies").attach(replies={"advantage": torch.zeros(9)})
    total = GRPO(per="token", exploring=EXPLORING).loss(policy, 0.3, forest).total
    found = torch.autograd.grad(total, policy.parameters(), allow_unused=True)
    own = 0.3 * k3(policy.logps(forest), forest.tokens["reference"]).sum()
    wanted = torch.autograd.grad(own, policy.parameters(), allow_unused=True)
    assert any(bool(g.any()) for g in wanted if g is not None)
    for one, other in zip(found, wanted, strict=True):
        if one is not None and other is not None:
            assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)


def test_reinforce_plus_plus_has_a_loss_for_each_token() -> None:
    policy = policy_on(toy_base())
    forest = experienced(policy, "tokens")
    with torch.no_grad():
        ratio = (policy.logps(forest) - forest.tokens["old"]).exp()
    loss = ReinforcePlusPlus(exploring=EXPLORING, clip_high=0.5).loss(policy, forest)
    wanted = pessimistic(ratio, forest.tokens["advantage"], 0.8, 1.5)
    assert loss.count == len(forest.targets)
    assert float(loss.total.detach()) == pytest.approx(float(wanted.sum()), rel=1e-4)


def noted(optimizer: Any, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> list[Forest]:
    """The batches that an optimizer trains on."""
    seen: list[Forest] = []
    kind = type(optimizer)
    own = kind.loss

    def listening(self: Any, *given: Any) -> Any:
        seen.append(given[-1])
        return own(self, *given)

    monkeypatch.setattr(kind, "loss", listening)
    base = toy_base()
    list(replace(optimizer, updates=1, **settings).improve(policy_on(base), lesson()))
    return seen


@every
def test_minibatches_use_the_statistics_of_the_whole_round(optimizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompt by prompt the same advantages as without minibatches."""
    [whole] = noted(optimizer, monkeypatch)
    parts = noted(optimizer, monkeypatch, minibatches=6)
    assert len(parts) == 6

    def by_prompt(forest: Forest) -> dict[Any, list[float]]:
        notes = forest.replies.get("advantage", forest.tokens.get("advantage"))
        assert notes is not None
        whose = forest.tree if "advantage" in forest.replies else forest.tree[forest.reply]
        return {tree.prompt: notes[whose == place].tolist() for place, tree in enumerate(forest.trees)}

    assert {prompt: values for part in parts for prompt, values in by_prompt(part).items()} == by_prompt(whole)


def test_groups_without_a_spread_are_counted() -> None:
    def cats_only(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        scores = things(prompts, completions)
        return [score if "cat" in prompt.text else 0.7 for prompt, score in zip(prompts, scores, strict=True)]

    _, [told] = run(GRPO(**QUICK), cats_only, updates=1)
    assert told["idle_groups"] == pytest.approx(5 / 6)
    assert math.isfinite(told["loss"])


def test_the_penalty_of_rloo_is_in_its_reward_once() -> None:
    _, told = run(replace(ALL[0], leash=Leash(0.5)), updates=3)
    for row in told:
        assert row["reward"] == pytest.approx(row["score"] - 0.5 * row["kl"], abs=1e-5)
    assert told[-1]["kl"] > 0.05


def test_reinforce_plus_plus_needs_one_answer_only() -> None:
    _, told = run(replace(ALL[2], replies=1), updates=1)
    assert told[0]["grad_norm"] > 0


def test_without_prompts_there_is_nothing_to_do() -> None:
    with pytest.raises(LessonError, match="this run lacks prompts"):
        next(iter(RLOO().improve(policy_on(toy_base()), Lesson(reward=things))))


def test_advantages_of_reinforce_plus_plus_are_whitened_over_the_round(monkeypatch: pytest.MonkeyPatch) -> None:
    [whole] = noted(ALL[2], monkeypatch)
    advantages = whole.tokens["advantage"]
    assert float(advantages.mean()) == pytest.approx(0, abs=1e-5)
    assert float(advantages.std(correction=0)) == pytest.approx(1, abs=1e-3)
