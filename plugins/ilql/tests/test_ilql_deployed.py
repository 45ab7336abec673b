"""ILQL on the toy base: what is deployed, what can be interrupted, and what it is given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rated_answers import BASE, FREELY, LESSON, PROMPTS, QUICK, RATINGS, begun, run, steering

from alignzoo.interfaces import Lesson, LessonError, Metrics
from alignzoo.learning.descent import Descent
from alignzoo.learning.memory import newest, remembering
from alignzoo.learning.rewards import ScoreError
from alignzoo.model.base import Base
from alignzoo.model.role import load_role, policy_on
from alignzoo.records import Completion, Prompt, Rating, Turn
from alignzoo.testing import toy_base
from alignzoo_ilql.heads import Heads
from alignzoo_ilql.ilql import ILQL
from alignzoo_ilql.steering import Steered, Steering

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
    by_rounding = Lesson(ratings=[replace(rating, score=(0.1 + 0.2, 0.3)[n % 2]) for n, rating in enumerate(RATINGS)])
    with pytest.raises(LessonError, match=r"all 32 ratings are 0\.3"):
        next(iter(ILQL(scale="none").improve(policy, by_rounding)))
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
    for name, said in (("one_too_few", "gave 2 scores for 3 answers"), ("not_a_number", "gave nan for answer 1")):
        with pytest.raises(ScoreError, match=f"token_rewards = '{__name__}:{name}' {said}"):
            ILQL(token_rewards=f"{__name__}:{name}").paths(Lesson(ratings=RATINGS[:2]), BASE.text)
    with pytest.raises(LessonError, match='token_rewards = "math:pi" names no function: it is float'):
        ILQL(token_rewards="math:pi")


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="leave one of the two out"):
        ILQL(adapter="own", trunk="detached")
