"""Experience on the toy base: whose log-probabilities it holds, how scores are made, and that it can be gathered again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import pytest
import torch
from plain import stirred
from torch import Tensor

from alignzoo.interfaces import Lesson, LessonError, Manner, Reward, Writing
from alignzoo.learning.canaries import Canaries, CanaryError, watching
from alignzoo.learning.memory import newest, remembering
from alignzoo.learning.rewards import Scored, ScoreError
from alignzoo.learning.rollouts import Experience, Explorer, Exploring, Scale
from alignzoo.model import head
from alignzoo.model.base import Base
from alignzoo.model.forest import per_reply
from alignzoo.model.head import Head
from alignzoo.model.role import Role, policy_on
from alignzoo.model.text import TextError
from alignzoo.records import Completion, Prompt
from alignzoo.testing import WORDS, toy_base
from alignzoo_best_of_n.expert_iteration import ExpertIteration
from alignzoo_online_dpo.online_dpo import OnlineDPO
from alignzoo_policy_gradient.grpo import GRPO
from alignzoo_policy_gradient.nlpo import NLPO
from alignzoo_policy_gradient.reinforce import ReinforcePlusPlus
from alignzoo_policy_gradient.rloo import RLOO
from alignzoo_ppo.ppo import PPO

PROMPTS = [Prompt.ask(f"tell i about the {thing}") for thing in ("cat", "old river", "sun and moon and tree", "house")]


def variety(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[int]:
    """Different words in an answer: a whole number, as many a rule gives."""
    return [len(set(completion.text.split())) for completion in completions]


def explorer(policy: Role, how: Exploring = Exploring(max_tokens=8), reward: Reward = variety, seed: int = 0) -> Explorer:
    return Explorer(how, policy, policy.frozen(), Lesson(prompts=PROMPTS, reward=reward), seed)


def flat(experience: Experience) -> list[Completion]:
    return [reply for group in experience.groups for reply in group]


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.6])
def test_old_log_probabilities_are_the_policys_at_the_temperature_of_the_samples(base: Base, temperature: float) -> None:
    policy = stirred(policy_on(base))
    seen = explorer(policy, Exploring(max_tokens=8, temperature=temperature))(PROMPTS, 3)
    with torch.no_grad():
        again = policy.logps(seen.forest, temperature)
        elsewhere = policy.logps(seen.forest, temperature + 0.2)
    assert torch.allclose(seen.forest.tokens["old"], again, atol=1e-4)
    assert not torch.allclose(seen.forest.tokens["old"], elsewhere, atol=1e-2)


def test_a_prompt_too_long_to_answer_is_refused_before_any_is_answered(base: Base) -> None:
    """However late its round would come."""
    base.sampler = lambda *given: pytest.fail("was asked")
    lesson = Lesson(prompts=[*PROMPTS, Prompt.ask("cat dog " * 60)], reward=variety)
    for optimizer in (PPO(), RLOO(), GRPO(), ReinforcePlusPlus(), OnlineDPO(), ExpertIteration()):
        assert isinstance(optimizer, Writing)
        assert optimizer.longest == 48
        with pytest.raises(TextError, match="1 of 5 prompts leave no room for a reply: the longest has 123 tokens"):
            list(optimizer.improve(policy_on(base), lesson))
        base.dismiss_all()


@pytest.mark.parametrize("temperature", [0.7, 1.0])
@pytest.mark.parametrize("begun", [False, True])
def test_before_any_update_there_is_no_divergence(base: Base, begun: bool, temperature: float) -> None:
    policy = stirred(policy_on(base)) if begun else policy_on(base)
    seen = explorer(policy, Exploring(max_tokens=8, temperature=temperature))(PROMPTS, 3)
    assert float(seen.divergence.abs().max()) < 1e-4
    assert seen.kl == pytest.approx(0, abs=1e-4)


def test_after_an_update_the_divergence_is_from_the_start(base: Base) -> None:
    policy = policy_on(base)
    explore = explorer(policy)
    reference = explore.reference
    stirred(policy)
    seen = explore(PROMPTS, 3)
    with torch.no_grad():
        ratios = policy.logps(seen.forest) - reference.logps(seen.forest)
    assert torch.allclose(seen.divergence, ratios, atol=1e-4)
    assert seen.kl == pytest.approx(float(per_reply(ratios, seen.forest).mean()), abs=1e-4)
    assert seen.kl > 0.1


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_in_half_precision_old_comes_from_the_same_pass_as_later_log_probabilities(temperature: float) -> None:
    base = toy_base()
    base.model.to(torch.bfloat16)
    base = Base(base.model, base.text, base.lora)
    policy = stirred(policy_on(base))
    assert not base.exact
    seen = explorer(policy, Exploring(max_tokens=8, temperature=temperature))(PROMPTS, 3)
    with torch.no_grad():
        assert torch.equal(seen.forest.tokens["old"], policy.logps(seen.forest, temperature))
    assert not seen.forest.tokens["old"].requires_grad


def test_scores_belong_to_their_answers(base: Base) -> None:
    """Several answers to each prompt, of any length, some finished: score i is that of reply i of the forest."""
    asked: list[tuple[str, str]] = []

    def noting(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        asked.extend((prompt.text, completion.text) for prompt, completion in zip(prompts, completions, strict=True))
        return [float(len(prompt.text)) + len(c.tokens) / 100 for prompt, c in zip(prompts, completions, strict=True)]

    seen = explorer(policy_on(base), Exploring(max_tokens=8, unfinished="ignore"), noting)(PROMPTS, 3)
    lengths = [len(reply) for tree in seen.forest.trees for reply in tree.replies]
    wanted = [len(prompt.text) + lengths[3 * i + k] / 100 for i, prompt in enumerate(PROMPTS) for k in range(3)]
    assert seen.forest.replies["score"].tolist() == pytest.approx(wanted)
    assert seen.raw.tolist() == pytest.approx(wanted)
    assert [prompt for prompt, _ in asked] == [prompt.text for prompt in PROMPTS for _ in range(3)]
    assert len({tuple(reply.tokens) for reply in flat(seen)}) == 12


@pytest.mark.parametrize(
    ("unfinished", "clip", "wanted"),
    [
        ("replace", None, [-4.0, 3.0, -4.0, -1.0]),
        ("subtract", None, [1.0, 3.0, -11.0, -1.0]),
        ("ignore", None, [5.0, 3.0, -7.0, -1.0]),
        ("replace", 2.0, [-4.0, 2.0, -4.0, -1.0]),  # the substitute is not clipped
        ("subtract", 2.0, [-2.0, 2.0, -6.0, -1.0]),  # clipped first, then lowered
        ("ignore", 2.0, [2.0, 2.0, -2.0, -1.0]),
    ],
)
def test_unfinished_answers_and_clipping_by_hand(unfinished: str, clip: float | None, wanted: list[float]) -> None:
    how = Exploring(unfinished=unfinished, unfinished_score=-4.0, clip=clip)  # type: ignore[arg-type]
    scores = Scale(how, PROMPTS)(torch.tensor([5.0, 3.0, -7.0, -1.0]), torch.tensor([False, True, False, True]))
    assert scores.tolist() == wanted


def test_each_answer_is_scored_by_its_own_end(base: Base) -> None:
    """Where a group has answers that ended and answers that did not, −1 stands at those that did not."""
    seen = explorer(policy_on(base), Exploring(max_tokens=8, unfinished="replace", unfinished_score=-7.0))(PROMPTS, 6)
    assert any(len({reply.finished for reply in group}) == 2 for group in seen.groups)
    wanted = [score if reply.finished else -7.0 for reply, score in zip(flat(seen), seen.raw.tolist(), strict=True)]
    assert seen.forest.replies["score"].tolist() == wanted


class Writer:
    """Notes how it is asked to answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[Sequence[Prompt], int, Manner]] = []

    def sample(self, prompts: Sequence[Prompt], n: int, manner: Manner) -> list[list[Completion]]:
        self.asked.append((prompts, n, manner))
        return [[Completion("yes")] for _ in prompts]


def test_scores_are_measured_as_answers_are_written_on_prompts_from_everywhere() -> None:
    """At the temperature and length of the rounds to come, and on at most 256 prompts spread evenly over all."""
    prompts = [Prompt.ask(f"is {number} small") for number in range(600)]
    how = Exploring(max_tokens=9, temperature=0.4, scale="start")
    start, scale = Writer(), Scale(how, prompts)
    for _ in range(2):
        scale.measure(start, lambda asked, said: [float(len(prompt.text)) for prompt in asked])  # type: ignore[arg-type]
    assert start.asked == [(prompts[0:512:2], 1, Manner(max_tokens=9, temperature=0.4, seed=0))]
    assert Scale(how, prompts[:5]).prompts == prompts[:5]


def test_scores_are_clipped_after_they_are_scaled() -> None:
    scale = Scale(Exploring(scale="start", clip=1.5), PROMPTS)
    scale.restore({"mean": 1.0, "deviation": 2.0, "known": True})
    scores = scale(torch.tensor([5.0, 3.0, -7.0, 2.0]), torch.tensor([True, True, True, False]))
    assert scores.tolist() == [1.5, 1.0, -1.5, -1.0]


def test_a_reward_for_not_ending_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be above 0"):
        Exploring(unfinished="subtract", unfinished_score=1.0)


def test_scores_are_scaled_by_those_of_the_start(base: Base) -> None:
    how = Exploring(max_tokens=8, scale="start", unfinished="ignore")
    policy = policy_on(base)
    explore = explorer(policy, how)
    start = explore.reference
    raw = variety(PROMPTS, [reply for [reply] in start.sample(PROMPTS, 1, how.manner(seed=0))])
    seen = explore(PROMPTS, 2)
    wanted = [(score - fmean(raw)) / pstdev(raw) for score in seen.raw.tolist()]
    assert seen.forest.replies["score"].tolist() == pytest.approx(wanted, rel=1e-5)
    own = explore.scale(torch.tensor(raw), torch.ones(4, dtype=torch.bool))
    assert float(own.mean()) == pytest.approx(0, abs=1e-6)
    assert float(own.std(correction=0)) == pytest.approx(1, rel=1e-6)


def test_the_scale_is_measured_once_and_of_the_start(base: Base) -> None:
    asked: list[int] = []

    def counting(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[int]:
        asked.append(len(completions))
        return variety(prompts, completions)

    policy = policy_on(base)
    explore = explorer(policy, Exploring(max_tokens=8, scale="start"), counting)
    explore(PROMPTS, 2)
    before = (explore.scale.mean, explore.scale.deviation)
    stirred(policy)
    explore(PROMPTS, 2)
    assert (explore.scale.mean, explore.scale.deviation) == before
    assert asked == [8, 4, 8]
    late = explorer(policy_on(toy_base()), Exploring(max_tokens=8, scale="start"))
    stirred(late.policy)  # measured only now, and still of the start
    late(PROMPTS, 2)
    assert (late.scale.mean, late.scale.deviation) == pytest.approx(before)


def test_where_the_start_always_scores_the_same_scores_are_only_shifted(base: Base) -> None:
    explore = explorer(policy_on(base), Exploring(max_tokens=4, scale="start"), lambda prompts, _: [7.0] * len(prompts))
    explore(PROMPTS, 2)
    assert (explore.scale.mean, explore.scale.deviation) == (7.0, 1.0)


def test_prompts_longer_than_the_context_lose_the_same_beginning_twice(base: Base) -> None:
    """In sampling and in the packed batch, also where the answer is shorter than it might have been; else `old` would speak
    of another prompt."""
    dice = torch.Generator().manual_seed(0)
    words = [WORDS[int(torch.randint(len(WORDS), (1,), generator=dice))] for _ in range(300)]
    long = [Prompt.ask(" ".join(words[start:])) for start in range(8)]
    base.text = replace(base.text, long_prompts="cut")
    policy = stirred(policy_on(base))
    seen = explorer(policy, Exploring(max_tokens=60))(long, 8)
    assert [len(tree.prompt) for tree in seen.forest.trees] == [68] * 8
    assert int(seen.forest.lengths.min()) < 60
    with torch.no_grad():
        assert torch.allclose(seen.forest.tokens["old"], policy.logps(seen.forest), atol=1e-4)


def test_without_prompts_there_is_nothing_to_answer(base: Base) -> None:
    policy = policy_on(base)
    with pytest.raises(LessonError, match="there is no prompt to answer"):
        Explorer(Exploring(), policy, policy.frozen(), Lesson(reward=variety), 0)


@pytest.mark.parametrize(
    ("reward", "words"),
    [
        (lambda asked, said: None, "gave no number for each answer"),
        (lambda asked, said: [0.0] * (len(said) - 1), "gave 7 scores for 8 answers"),
        (lambda asked, said: [0.0] * (len(said) - 1) + [float("nan")], "gave nan for answer 8"),
        (lambda asked, said: [1 / 0], "raised ZeroDivisionError: division by zero"),
        (Scored(lambda asked, said: [1 / 0], "mine"), None),
    ],
)
def test_a_reward_that_no_run_has_wrapped_is_held_to_its_word(base: Base, reward: Reward, words: str | None) -> None:
    """A lesson of one's own, in Python: before anything is learned from it. What says itself whose it is, says it once."""
    with pytest.raises(ScoreError, match=f"^the reward '<lambda>' {words}" if words else "^mine raised ZeroDivisionError"):
        explorer(policy_on(base), reward=reward)(PROMPTS, 2)


def test_what_a_round_tells(base: Base) -> None:
    policy = policy_on(base)
    seen = explorer(policy)(PROMPTS, 8)
    replies, raw = flat(seen), [float(score) for score in variety([], flat(seen))]
    told = seen.metrics()
    assert told["score"] == pytest.approx(fmean(raw))
    assert told["score_spread"] == pytest.approx(pstdev(raw))
    assert told["length"] == pytest.approx(fmean(len(reply.tokens) for reply in replies))
    assert 0 < told["ended"] < 1
    assert told["ended"] == pytest.approx(fmean(reply.finished for reply in replies))
    assert told["entropy"] == pytest.approx(-fmean(logp for reply in replies for logp in reply.logps), rel=1e-5)
    assert told["kl"] == pytest.approx(0, abs=1e-4)


def test_each_round_has_answers_of_its_own_and_each_seed_too(base: Base) -> None:
    explore, other = explorer(policy_on(base)), explorer(policy_on(toy_base()), seed=1)
    first, second = explore(PROMPTS, 2), explore(PROMPTS, 2)
    assert flat(first) != flat(second)
    assert flat(other(PROMPTS, 2)) != flat(first)
    assert flat(explorer(policy_on(toy_base()))(PROMPTS, 2)) == flat(first)


def test_a_resumed_explorer_goes_on_where_it_was(tmp_path: Path) -> None:
    def go_on(rounds: int) -> tuple[list[list[Completion]], Explorer]:
        base = toy_base()
        with remembering(base, newest(tmp_path)) as memory:
            explore = explorer(policy_on(base), Exploring(max_tokens=8, scale="start"))
            answers = [flat(explore(PROMPTS, 2)) for _ in range(rounds)]
            if rounds == 2:
                memory.write(tmp_path, rounds, {})
        return answers, explore

    whole, first = go_on(4)
    assert go_on(2)[0] == whole[:2]
    rest, resumed = go_on(0)
    assert rest == []
    assert (resumed.scale.mean, resumed.scale.deviation, resumed.scale.known) == (first.scale.mean, first.scale.deviation, True)
    assert go_on(1)[0] == whole[2:3]


COOL = Exploring(max_tokens=8, temperature=0.5, unfinished="ignore")
ON_POLICY = [
    PPO(exploring=COOL),
    PPO(exploring=COOL, critic="adapter"),
    RLOO(exploring=COOL),
    GRPO(exploring=COOL),
    ReinforcePlusPlus(exploring=COOL),
    NLPO(exploring=COOL),
    OnlineDPO(exploring=COOL),
]


@pytest.mark.parametrize("optimizer", ON_POLICY, ids=lambda optimizer: type(optimizer).__name__)
def test_every_optimizer_learns_at_the_temperature_that_it_samples_at(
    base: Base, optimizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left in peace as it is; stopped before anything moves where what is learned from is taken at temperature 1. Who compares
    with nothing that was said at sampling may learn at any."""

    def first(base: Base) -> Role:
        policy = stirred(policy_on(base), size=0.3)
        before = [parameter.clone() for parameter in policy.adapter]
        with watching(Canaries(base)):
            try:
                next(iter(optimizer.improve(policy, Lesson(prompts=PROMPTS, reward=variety))))
            except CanaryError:
                assert all(map(torch.equal, policy.adapter, before))
                raise
        return policy

    first(base)
    own = head.logps

    def forgetful(states: Tensor, targets: Tensor, of: Head, temperature: float = 1.0, allowed: Tensor | None = None) -> Tensor:
        return own(states, targets, of, 1.0 if states.requires_grad else temperature, allowed)

    monkeypatch.setattr(head, "logps", forgetful)
    if isinstance(optimizer, OnlineDPO):
        first(toy_base())
        return
    with pytest.raises(CanaryError, match="sampled at one temperature and compared at another"):
        first(toy_base())


def test_who_imitates_its_own_best_may_sample_at_any_temperature(base: Base) -> None:
    expert = ExpertIteration(n=2, max_tokens=8, temperature=0.5)
    with watching(Canaries(base)):
        next(iter(expert.improve(stirred(policy_on(base)), Lesson(prompts=PROMPTS, reward=variety))))
