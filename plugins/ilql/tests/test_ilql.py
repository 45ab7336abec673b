"""ILQL on the toy base: that it learns, what is deployed, what survives the disk and an interruption."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from alignzoo.interfaces import Lesson, LessonError, Manner, Metrics, Optimizer, Policy
from alignzoo.learning.canaries import Canaries, watching
from alignzoo.learning.descent import Descent
from alignzoo.learning.memory import newest, remembering
from alignzoo.learning.rewards import ScoreError
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.role import Role, load_role, policy_on, role_on
from alignzoo.records import Completion, Prompt, Rating, Turn
from alignzoo.testing import toy_base, toy_folder
from alignzoo_ilql import ilql
from alignzoo_ilql.episodes import planted
from alignzoo_ilql.heads import Heads, grown_on
from alignzoo_ilql.ilql import ILQL, bellman, expectile
from alignzoo_ilql.steering import Steered, Steering

PROMPTS = [Prompt.ask(f"is the {thing} {how}") for thing in ("cat", "dog", "bird", "house") for how in ("small", "old")]
SAID = {"yes please": 1.0, "no": 0.0, "true thanks": 0.8, "false and bad": 0.1}
RATINGS = [Rating(prompt, Completion(text), score) for prompt in PROMPTS for text, score in SAID.items()]
LESSON = Lesson(ratings=RATINGS)
QUICK = ILQL(cql=0.1, epochs=2, batch_size=8, hidden=(32,), alpha=0.3, sync_every=1, descent=Descent(lr=3e-3))
FREELY = Manner(max_tokens=6, seed=5)
BASE = toy_base()


def run(optimizer: ILQL, base: Base, lesson: Lesson = LESSON) -> tuple[Role, list[Metrics]]:
    policy = policy_on(base)
    with watching(Canaries(base)):
        told = list(optimizer.improve(policy, lesson))
    return policy, told


def said(policy: Policy, n: int = 16) -> Counter[str]:
    return Counter(reply.text for group in policy.sample(PROMPTS[:2], n, FREELY) for reply in group)


def steering(policy: Role, **how: Any) -> Steered:
    return replace(QUICK, steering=Steering(**how)).deploy(policy, Lesson())


def moved_heads(role: Role, names: Sequence[str]) -> None:
    """Heads that say clearly different things."""
    dice = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name in names:
            for parameter in role.head(name).parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=dice))


def begun(heads: str = "apart") -> tuple[Role, Heads]:
    policy = policy_on(toy_base())
    grown = grown_on(policy, shared=heads == "shared", hidden=(8,), seed=0)
    moved_heads(policy, sorted(policy.heads))
    return policy, grown


def test_it_is_an_optimizer_and_says_what_it_needs() -> None:
    assert isinstance(ILQL(), Optimizer)
    assert ILQL().needs == ("ratings",)
    assert ILQL(rewards="reward").needs == ("ratings", "reward")
    with pytest.raises(LessonError, match="this run lacks ratings"):
        next(iter(ILQL().improve(policy_on(toy_base()), Lesson())))
    assert isinstance(ILQL().deploy(policy_on(toy_base()), Lesson()), Policy)


@pytest.mark.parametrize("how", [{}, {"trunk": "detached"}, {"heads": "shared", "adapter": "own"}])
def test_it_learns_to_say_what_was_rated_highly(how: dict[str, Any]) -> None:
    """Steering raises the good answers step by step over the imitation of all four."""
    policy, told = run(replace(QUICK, epochs=25, batch_size=16, **how), toy_base())
    good = []
    for beta in (0.0, 4.0):
        texts = said(steering(policy, beta=beta))
        good.append(sum(texts[text] for text in ("yes please", "true thanks")) / texts.total())
    assert good[1] > max(0.85, good[0] + 0.1)
    assert told[-1]["q_loss"] < 0.2 * told[0]["q_loss"]
    assert told[-1]["nll"] < told[0]["nll"]
    assert all(math.isfinite(value) for row in told for value in row.values())


def test_on_a_four_bit_base_it_learns_too(tmp_path: Path) -> None:
    base = Base.load(str(toy_folder(tmp_path)), Loading(quantize="nf4", device="cpu"), Lora(rank=4, alpha=8.0))
    policy, told = run(replace(QUICK, epochs=6), base)
    assert told[-1]["loss"] < told[0]["loss"]
    assert {parameter.dtype for parameter in policy.heads.parameters()} == {torch.float32}
    assert said(steering(policy, beta=0.0)) == said(policy)


# The loss ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("heads", ["apart", "shared"])
@pytest.mark.parametrize("awac_beta", [0.0, 0.7])
def test_the_loss_is_the_sum_of_its_four_terms(heads: str, awac_beta: float) -> None:
    """Against the formulas written plainly on whole rows of Q, one dialogue of two turns among the episodes."""
    policy, grown = begun(heads)
    dialogue = Prompt((Turn("user", "is the cat old"), Turn("assistant", "maybe"), Turn("user", "why")))
    lesson = Lesson(ratings=[*RATINGS[:3], Rating(dialogue, Completion("because"), 0.3)])
    optimizer = ILQL(heads=heads, awac_beta=awac_beta, cql=0.3, awac=0.5, tau=0.7, gamma=0.9)  # type: ignore[arg-type]
    batch = planted(optimizer.paths(lesson, policy.base.text))
    loss = optimizer.loss(policy, grown, batch)

    acts = batch.tokens["act"]
    assert int((~acts).sum()) > 0
    with torch.no_grad():
        states, actions = policy.read(batch).states[acts], batch.targets[acts]
        rows = {name: policy.head(name)(states) for name in grown.names}
        slow = {name: policy.head(f"{name}_target")(states) for name in grown.names}
        q, target = (torch.cat([row.unflatten(-1, (grown.twins, -1)) for row in of.values()], 1) for of in (rows, slow))
        taken, lowest = (of.gather(2, actions[:, None, None].expand(-1, 2, 1))[..., 0] for of in (q, target))
        lowest = lowest.amin(1)
        v = policy.values(batch, "v")[acts]
        y = bellman(batch.tokens["reward"][acts], v, batch.reply[acts], 0.9)
        logps = policy.logps(batch)[acts]
        wanted = {
            "q_loss": ((taken - y[:, None]) ** 2).sum(1),
            "v_loss": expectile(lowest - v, 0.7),
            "cql": (q.logsumexp(-1) - taken).sum(1),
            "awac": -(awac_beta * (lowest - v)).exp() * logps,
        }
    total = sum(part.sum() * c for part, c in zip(wanted.values(), (1, 1, 0.3, 0.5), strict=True))
    assert loss.count == int(acts.sum())
    assert float(loss.total.detach()) == pytest.approx(float(total), rel=1e-4)
    told = {name: float(value) / count for name, (value, count) in loss.told.items()}
    assert told["q_loss"] == pytest.approx(float(wanted["q_loss"].mean()) / 2, rel=1e-4)
    assert told["v_loss"] == pytest.approx(float(wanted["v_loss"].mean()), rel=1e-4)
    assert told["cql"] == pytest.approx(float(wanted["cql"].mean()) / 2, rel=1e-4)
    assert told["nll"] == pytest.approx(-float(logps.mean()), rel=1e-4)
    assert told["advantage"] == pytest.approx(float((lowest - v).mean()), rel=1e-4)
    above = float((lowest > v).float().mean())
    assert told["above"] == pytest.approx(above)
    assert above not in (0.0, 0.5, 1.0)
    assert told["v"] == pytest.approx(float(v.mean()), rel=1e-4)
    assert told["q"] == pytest.approx(float(taken.mean()), rel=1e-4)
    assert told["twins"] == pytest.approx(float((taken[:, 0] - taken[:, 1]).abs().mean()), rel=1e-3)
    assert told["weight"] == pytest.approx(float((awac_beta * (lowest - v)).exp().mean()), rel=1e-4)


@pytest.mark.parametrize("heads", ["apart", "shared"])
def test_every_head_has_the_gradient_of_its_own_term(heads: str) -> None:
    """Targets have none; V has none through y or the imitation's weight; Q none through V's loss."""
    policy, grown = begun(heads)
    optimizer = ILQL(awac_beta=1.0, cql=0.0, awac=1.0)
    batch = planted(optimizer.paths(LESSON, policy.base.text)[:6])
    optimizer.loss(policy, grown, batch).total.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for name in grown.names for p in policy.head(f"{name}_target").parameters())
    states = policy.read(batch).states.detach()
    acts, actions = batch.tokens["act"], batch.targets
    assert bool(acts.all())
    slow = grown.slow(states, actions)
    parameters = list(policy.head("v").parameters())
    own = torch.autograd.grad(expectile(slow - grown.values(states), optimizer.tau).sum(), parameters)
    for parameter, wanted in zip(parameters, own, strict=True):
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, wanted, atol=1e-4)


def test_detached_values_do_not_move_the_adapter() -> None:
    for trunk, moves in (("detached", False), ("trained", True)):
        policy, told = run(replace(QUICK, awac=0.0, trunk=trunk), toy_base())  # type: ignore[arg-type]
        assert policy.idle is not moves
        assert "nll" not in told[0]


def test_values_on_an_adapter_of_their_own_leave_the_policy_alone() -> None:
    policy, _ = run(replace(QUICK, awac=0.0, adapter="own", epochs=1), toy_base())
    values = policy.companions["critic"]
    assert policy.idle
    assert not values.idle
    assert not policy.heads


def test_a_policy_that_imitates_is_moved_beside_values_of_their_own_and_deployed_with_them() -> None:
    policy, told = run(replace(QUICK, adapter="own", epochs=1), toy_base())
    deployed = QUICK.deploy(policy, LESSON)
    assert not policy.idle
    assert told[0]["nll"] > 0
    assert deployed.policy is policy
    assert deployed.values is policy.companions["critic"]


@pytest.mark.parametrize("heads", ["apart", "shared"])
@pytest.mark.parametrize("awac", [0.0, 1.0])
@pytest.mark.parametrize("adapter", ["shared", "own"])
def test_who_is_moved_and_how_heads_are_grown(heads: Any, awac: float, adapter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is imitated, a policy beside values of their own is left alone."""
    grown: list[tuple[str, dict[str, Any]]] = []
    moved: list[tuple[list[str], int]] = []

    def grow(role: Role, **how: Any) -> Heads:
        grown.append((role.name, how))
        return Heads(role)

    def on(descent: Descent, *roles: Role, updates: int) -> None:
        moved.append(([role.name for role in roles], updates))
        raise InterruptedError

    monkeypatch.setattr(ilql, "grown_on", grow)
    monkeypatch.setattr(Descent, "on", on)
    how = replace(QUICK, heads=heads, awac=awac, adapter=adapter, hidden=(7, 5), seed=11, epochs=3)
    policy = policy_on(BASE)
    with pytest.raises(InterruptedError):
        next(how.improve(policy, LESSON))
    values = policy if adapter == "shared" else policy.companions["critic"]
    assert grown == [(values.name, {"shared": heads == "shared", "hidden": (7, 5), "seed": 11})]
    assert moved == [([values.name, *([policy.name] if awac and values is not policy else [])], 3 * 4)]
    if values is not policy:
        assert values.digest == role_on(toy_base(), "critic", seed=11).digest
    BASE.dismiss_all()


def test_the_order_of_episodes_in_a_batch_changes_nothing() -> None:
    policy, grown = begun()
    paths = QUICK.paths(LESSON, policy.base.text)[:8]
    totals = [float(QUICK.loss(policy, grown, planted(some)).total.detach()) for some in (paths, paths[::-1])]
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)


# The targets ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [False, True])
def test_targets_begin_as_their_twins_and_follow_slowly(shared: bool) -> None:
    policy = policy_on(toy_base())
    heads = grown_on(policy, shared=shared, hidden=(8,), seed=3)
    assert ("q" in policy.heads) is shared
    for name in heads.names:
        assert all(map(torch.equal, policy.head(name).parameters(), policy.head(f"{name}_target").parameters()))
        assert not any(parameter.requires_grad for parameter in policy.head(f"{name}_target").parameters())
    name = heads.names[0]
    quick, slow = policy.head(name).state_dict(), policy.head(f"{name}_target").state_dict()
    before = {key: tensor.clone() for key, tensor in slow.items()}
    moved_heads(policy, [name])
    heads.follow(0.25)
    for key, tensor in slow.items():
        assert torch.allclose(tensor, 0.25 * quick[key] + 0.75 * before[key])
        assert not torch.equal(tensor, before[key])


def test_the_twins_differ_from_the_start() -> None:
    policy, states = policy_on(toy_base()), torch.randn(3, 64)
    for shared in (False, True):
        q, _ = grown_on(policy, shared=shared, hidden=(8,), seed=0).asked(states, torch.tensor([3, 4, 5]), sums=False)
        assert float((q[0] - q[1]).abs().min()) > 1e-4


def test_targets_follow_as_often_as_they_are_told() -> None:
    """Two updates, following every second one, all the way: then they are the twins. After the first they are not."""
    optimizer = replace(QUICK, alpha=1.0, sync_every=2, batch_size=16, epochs=1)
    policy = policy_on(toy_base())
    alike = []
    for _ in optimizer.improve(policy, LESSON):
        alike.append(all(map(torch.equal, policy.head("q1").parameters(), policy.head("q1_target").parameters())))
    assert alike == [False, True]


def test_targets_follow_as_far_as_they_are_told() -> None:
    """Both begin alike, so after one update the slow one is as far behind as the setting says."""
    policy = policy_on(toy_base())
    training = replace(QUICK, alpha=0.25).improve(policy, LESSON)
    next(training)
    quick, slow = policy.head("q1").state_dict(), policy.head("q1_target").state_dict()
    before = {key: tensor.clone() for key, tensor in slow.items()}
    next(training)
    for key, tensor in slow.items():
        assert torch.allclose(tensor, 0.25 * quick[key] + 0.75 * before[key], atol=1e-7)
        assert not torch.equal(tensor, quick[key])


# What is deployed -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [None, 0.0])
def test_at_zero_the_policy_itself_answers(cut: float | None) -> None:
    """Sample for sample, and so it does by the long way, through the heads."""
    policy, _ = begun()
    plain = policy.sample(PROMPTS, 2, FREELY)
    assert steering(policy, beta=0.0, cut=cut).sample(PROMPTS, 2, FREELY) == plain
    idle = steering(policy, beta=0.0, cut=cut)
    assert policy.sample(PROMPTS, 2, FREELY, steer=idle.scores) == plain


@pytest.mark.parametrize("cut", [0.1, 0.0])
@pytest.mark.parametrize("shared", ["apart", "shared"])
def test_scores_are_by_the_lower_of_the_slow_twins(shared: str, cut: float) -> None:
    policy, heads = begun(shared)
    seen: list[tuple[Any, torch.Tensor]] = []
    how = steering(policy, beta=2.0, cut=cut)

    def watched(own: Any, *others: Any) -> torch.Tensor:
        seen.append((own, how.scores(own, *others)))
        return seen[-1][1]

    policy.sample(PROMPTS[:3], 1, FREELY, steer=watched)
    own, scores = seen[0]
    with torch.no_grad():
        rows = [policy.head(f"{name}_target")(own.states).unflatten(-1, (heads.twins, -1)) for name in heads.names]
        lowest = torch.cat(rows, 1).amin(1)
        v = policy.head("v")(own.states)
    assert torch.allclose(scores, own.logits + 2 * (lowest - v).clamp(max=cut), atol=1e-5)


@pytest.mark.parametrize("shared", ["apart", "shared"])
def test_among_the_likeliest_the_scores_are_the_same(shared: str) -> None:
    policy, _ = begun(shared)
    own = type("Sight", (), {})()
    own.states, own.logits = torch.randn(3, 64), torch.randn(3, policy.base.vocabulary)
    whole = steering(policy, beta=2.0).scores(own)
    some = steering(policy, beta=2.0, among=7).scores(own)
    kept = own.logits.topk(7).indices
    assert torch.allclose(some.gather(1, kept), whole.gather(1, kept), atol=1e-4)
    others = torch.ones_like(own.logits, dtype=torch.bool).scatter(1, kept, False)
    worst = Heads(policy).slow_all(own.states).gather(1, kept).amin(1, keepdim=True)
    assert torch.allclose(some[others], (own.logits + 2 * worst)[others], atol=1e-4)
    both = steering(policy, beta=2.0, among=7, top_k=2).scores(own)
    assert both.isfinite().sum(1).tolist() == [2, 2, 2]
    assert torch.equal(both.argmax(1), some.argmax(1))


def test_values_beside_the_policy_are_read_off_their_own_states() -> None:
    policy, _ = begun()
    own, other = (type("Sight", (), {})() for _ in range(2))
    for sight in (own, other):
        sight.states, sight.logits = torch.randn(3, 64), torch.randn(3, policy.base.vocabulary)
    scores = Steered(policy_on(policy.base), policy, Steering(beta=2.0)).scores(own, other)
    assert torch.allclose(scores, own.logits + 2 * Heads(policy).slow_all(other.states), atol=1e-5)


def test_top_k_is_of_the_score_not_of_the_policy() -> None:
    """With a large β the best token is one that the policy itself finds unlikely."""
    policy, _ = begun()
    own = type("Sight", (), {})()
    own.states, own.logits = torch.randn(4, 64), torch.randn(4, policy.base.vocabulary)
    one = steering(policy, beta=1000.0, top_k=1).scores(own)
    q = Heads(policy).slow_all(own.states)
    assert one.argmax(1).tolist() == q.argmax(1).tolist()
    assert one.isfinite().sum(1).tolist() == [1, 1, 1, 1]
    assert bool((own.logits.argmax(1) != q.argmax(1)).any())


@pytest.mark.parametrize("how", [{}, {"heads": "shared"}, {"adapter": "own"}])
def test_saved_and_loaded_it_says_the_same(how: dict[str, Any], tmp_path: Path) -> None:
    policy, _ = run(replace(QUICK, epochs=4, **how), toy_base())
    before = steering(policy, beta=3.0).sample(PROMPTS, 2, FREELY)
    assert before != policy.sample(PROMPTS, 2, FREELY)
    policy.save(tmp_path / "adapter")
    again = load_role(toy_base(), tmp_path / "adapter", "policy")
    assert steering(again, beta=3.0).sample(PROMPTS, 2, FREELY) == before


# Interruption -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"heads": "shared", "adapter": "own", "sync_every": 2}])
@pytest.mark.parametrize("stop", [1, 3])
def test_interrupted_is_uninterrupted_bit_for_bit(stop: int, how: dict[str, Any], tmp_path: Path) -> None:
    """Slow targets among the rest."""
    optimizer = replace(QUICK, batch_size=16, descent=Descent(lr=3e-3, schedule="linear", warmup=2), **how)

    def go_on(updates: int) -> tuple[list[Metrics], dict[str, str]]:
        base, found = toy_base(), newest(tmp_path / "checkpoint")
        told: list[Metrics] = []
        with remembering(base, found) as memory:
            for metrics in optimizer.improve(policy_on(base), LESSON):
                told.append(metrics)
                if len(told) == updates:
                    memory.write(tmp_path / "checkpoint", updates, {})
                    break
        return told, {name: role.digest for name, role in base.roles.items()}

    whole, roles = go_on(99)
    assert len(whole) == 4
    first, _ = go_on(stop)
    rest, resumed = go_on(99)
    assert first + rest == whole
    assert resumed == roles


def test_a_reward_is_asked_once_however_often_a_training_is_resumed(tmp_path: Path) -> None:
    asked: list[int] = []

    def short(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        asked.append(len(completions))
        return [-float(len(completion.text)) for completion in completions]

    optimizer, told = replace(QUICK, batch_size=16, rewards="reward"), []
    for _ in range(3):
        base = toy_base()
        with remembering(base, newest(tmp_path)) as memory:
            told.append(next(iter(optimizer.improve(policy_on(base), replace(LESSON, reward=short)))))
            memory.write(tmp_path, len(told), {})
    assert asked == [len(LESSON.ratings)]
    base, whole = toy_base(), []
    with remembering(base):
        for _, metrics in zip(range(3), optimizer.improve(policy_on(base), replace(LESSON, reward=short)), strict=False):
            whole.append(metrics)
    assert told == whole


# What it is given ---------------------------------------------------------------------------------------------------------


def test_bad_lessons_are_refused_before_any_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = policy_on(toy_base())
    monkeypatch.setattr(Base, "read", lambda *given: pytest.fail("a pass was made"))
    equal = Lesson(ratings=[replace(rating, score=1.0) for rating in RATINGS])
    with pytest.raises(LessonError, match="all 32 ratings are 1"):
        next(iter(ILQL().improve(policy, equal)))
    with pytest.raises(LessonError, match="this run lacks reward"):
        next(iter(ILQL(rewards="reward").improve(policy, LESSON)))
    foreign = replace(RATINGS[0], completion=Completion("yes please", (90, 91, 2)))
    with pytest.raises(ValueError, match="another tokenizer"):
        next(iter(ILQL().improve(policy, Lesson(ratings=[foreign, *RATINGS[1:]]))))
    assert not policy.heads


def test_earlier_turns_are_actions_unless_only_the_last_is_wanted() -> None:
    dialogue = Prompt((Turn("user", "is the cat old"), Turn("assistant", "maybe"), Turn("user", "why")))
    lesson = Lesson(ratings=[Rating(dialogue, Completion("because"), 1.0), RATINGS[1]])
    counted = {turns: ILQL(turns=turns).paths(lesson, toy_base().text)[0].acts.count(True) for turns in ("all", "last")}  # type: ignore[arg-type]
    assert counted["last"] == 2  # a word and its end
    assert counted["all"] > 2


def test_rewards_may_be_the_runs_own() -> None:
    """The reward is asked about the rated answers; their own scores count for nothing."""

    def short(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        return [-float(len(completion.text)) for completion in completions]

    lesson = Lesson(ratings=[replace(rating, score=1.0) for rating in RATINGS[:4]], reward=short)
    paths = ILQL(rewards="reward", scale="none").paths(lesson, toy_base().text)
    assert [path.rewards[-1] for path in paths] == [-10, -2, -11, -13]
    lesson = replace(lesson, reward=lambda prompts, completions: [math.nan] * len(completions))
    with pytest.raises(ValueError, match="a score is a finite number"):
        ILQL(rewards="reward").paths(lesson, toy_base().text)


def by_letters(prompt: Prompt, completion: Completion, tokens: Sequence[str]) -> list[float]:
    return [float(len(token)) for token in tokens]


def one_too_few(prompt: Prompt, answer: Completion, tokens: Sequence[str]) -> list[float]:
    return [0.0] * (len(tokens) - 1)


def not_a_number(prompt: Prompt, answer: Completion, tokens: Sequence[str]) -> list[float]:
    return [math.nan] * len(tokens)


def test_tokens_may_have_rewards_of_their_own() -> None:
    optimizer = ILQL(scale="none", token_rewards=f"{__name__}:by_letters")
    [path, _] = optimizer.paths(Lesson(ratings=RATINGS[:2]), toy_base().text)
    assert path.rewards[path.first :] == (3, 6, 5 + 1.0)
    with pytest.raises(LessonError, match="names no function"):
        ILQL(token_rewards="nowhere:nothing")
    with pytest.raises(LessonError, match='token_rewards = "math:pi" names no function: it is float'):
        ILQL(token_rewards="math:pi")
    for name, said in (("one_too_few", "gave 2 scores for 3 answers"), ("not_a_number", "gave nan for answer 1")):
        with pytest.raises(ScoreError, match=f"token_rewards = '{__name__}:{name}' {said}"):
            ILQL(token_rewards=f"{__name__}:{name}").paths(Lesson(ratings=RATINGS[:2]), BASE.text)


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="leave one of the two out"):
        ILQL(adapter="own", trunk="detached")
