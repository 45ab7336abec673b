"""Reward models on the toy base: what is deployed, its units, and what is saved and loaded again."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from judged import LESSON, PAIRS, QUICK, THINGS, run, scored

from alignzoo.interfaces import Lesson, LessonError, Manner
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.loading import ModelError
from alignzoo.model.role import load_role, policy_on, role_on
from alignzoo.model.text import TextError
from alignzoo.records import Completion, Prompt
from alignzoo.testing import toy_base, toy_folder
from alignzoo_reward_model.model import LearnedReward, head_names, heads_of
from alignzoo_reward_model.reward_model import RewardModel

# Normalising ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", [1, 3])
def test_the_start_policys_answers_score_zero_on_average_with_deviation_one(members: int) -> None:
    base = toy_base()
    role = role_on(base, "reward")
    optimizer = replace(QUICK, members=members)
    start = policy_on(toy_base())
    told = list(optimizer.improve(role, LESSON))
    prompts = optimizer.asked(LESSON, toy_base().text)
    answers = [one for [one] in start.sample(prompts, 1, Manner(max_tokens=6, seed=0))]
    scores = optimizer.deploy(role, LESSON).members(prompts, answers)
    assert scores.shape == (8, members)
    assert scores.mean(0).tolist() == pytest.approx([0.0] * members, abs=1e-5)
    assert scores.std(0, correction=0).tolist() == pytest.approx([1.0] * members, abs=1e-5)
    assert {"reward_mean", "reward_deviation"} <= set(told[-1])
    assert "reward_mean" not in told[-2]


def test_normalising_changes_units_and_no_order() -> None:
    raw, told = run(replace(QUICK, samples=0))
    folded, again = run(QUICK)
    before, after = scored(LearnedReward(raw)), scored(LearnedReward(folded))
    assert torch.allclose((before - again[-1]["reward_mean"]) / again[-1]["reward_deviation"], after, atol=1e-4)
    assert told[-1]["held_out_log_loss"] == again[-1]["held_out_log_loss"]  # figures are of the scores that were learned


def test_prompts_of_the_lesson_go_before_those_of_the_feedback() -> None:
    asked = [Prompt.ask(f"why {thing}") for thing in THINGS]
    assert QUICK.asked(replace(LESSON, prompts=asked), toy_base().text) == asked
    assert {p.id for p in replace(QUICK, samples=100).asked(LESSON, toy_base().text)} == {pair.prompt.id for pair in PAIRS}
    assert len(replace(QUICK, samples=5).asked(LESSON, toy_base().text)) == 5


def test_scores_that_are_all_the_same_are_only_shifted() -> None:
    lesson = replace(LESSON, prompts=[PAIRS[0].prompt])
    role, told = run(QUICK, lesson)
    assert told[-1]["reward_deviation"] == 0.0
    assert bool(torch.isfinite(scored(LearnedReward(role))).all())


def test_a_reward_that_was_stopped_early_says_so() -> None:
    base = toy_base()
    role = role_on(base, "reward")
    updates = QUICK.improve(role, LESSON)
    next(updates)
    with pytest.warns(UserWarning, match="'reward' was stopped before its last planned update"):
        reward = QUICK.deploy(role, LESSON)
    assert not reward.normalised
    list(updates)
    assert QUICK.deploy(role, LESSON).normalised


def test_who_goes_on_training_a_normalised_reward_unmarks_it() -> None:
    role, _ = run(QUICK)
    assert LearnedReward(role).normalised
    next(iter(QUICK.improve(role, LESSON)))
    assert not LearnedReward(role).normalised


# What is deployed -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learned() -> LearnedReward:
    return LearnedReward(run(replace(QUICK, members=2))[0], "uncertain")


def test_a_score_is_the_same_alone_in_company_and_in_any_order(learned: LearnedReward) -> None:
    prompts = [pair.prompt for pair in PAIRS] * 2
    answers = [pair.chosen for pair in PAIRS] + [pair.rejected for pair in PAIRS]
    together = learned(prompts, answers)
    alone = [learned([prompt], [answer])[0] for prompt, answer in zip(prompts, answers, strict=True)]
    assert together == pytest.approx(alone, abs=1e-5)
    assert learned(prompts[::-1], answers[::-1]) == pytest.approx(together[::-1], abs=1e-5)
    assert replace(learned, at_once=20)(prompts, answers) == pytest.approx(together, abs=1e-5)
    assert len(set(together)) > 12


def test_a_prompt_that_must_be_cut_is_cut_for_each_answer_alone(learned: LearnedReward) -> None:
    prompt = Prompt.ask(" ".join(["cat", "dog", "small"] * 36))
    answers = [Completion("yes"), Completion(" ".join(["no", "bad"] * 20))]
    alone = [learned([prompt], [answer])[0] for answer in answers]
    assert learned([prompt] * 2, answers) == pytest.approx(alone, abs=1e-5)


def test_tokens_that_were_written_go_before_text(learned: LearnedReward) -> None:
    text = learned.role.base.text
    prompt = PAIRS[0].prompt
    yes, please, end = text.reply_ids(Completion("yes please"))
    pad = text.tokenizer.pad_token_id  # which says nothing, and is read
    written = Completion("yes please", (yes, pad, please, end))
    assert learned([prompt], [written]) != pytest.approx(learned([prompt], [Completion("yes please")]), abs=1e-3)


def test_strange_answers_have_finite_scores(learned: LearnedReward) -> None:
    prompt = PAIRS[0].prompt
    strange = [Completion(""), Completion("", finished=False), Completion("🙂 🙂"), Completion("cat " * 60, finished=False)]
    scores = learned([prompt] * 4, strange)
    assert all(map(math.isfinite, scores))
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)  # nothing written is an answer that ended at once
    assert learned([], []) == []


def test_an_answer_without_its_prompt_is_refused(learned: LearnedReward) -> None:
    with pytest.raises(ValueError, match="got 2 prompts and 1 answers"):
        learned([PAIRS[0].prompt] * 2, [PAIRS[0].chosen])


def test_a_role_without_a_head_is_no_reward() -> None:
    with pytest.raises(LessonError, match=r"the role 'policy' has no head that scores.*heads\.safetensors"):
        RewardModel().deploy(policy_on(toy_base()), Lesson())


@pytest.mark.parametrize("members", [1, 2])
def test_what_is_saved_scores_the_same_when_it_is_loaded(members: int, tmp_path: Path) -> None:
    role, _ = run(replace(QUICK, members=members))
    role.save(tmp_path)
    again = QUICK.deploy(load_role(toy_base(), tmp_path, "reward"), Lesson())
    assert again.normalised
    assert heads_of(again.role) == head_names(members)
    assert torch.equal(scored(again), scored(LearnedReward(role)))


def test_a_reward_model_of_another_base_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    """It would fit, and score."""
    run(QUICK)[0].save(tmp_path)
    with pytest.raises(ModelError, match=r"was trained on another base than this one.*base\.json"):
        load_role(toy_base(seed=1), tmp_path, "reward")
    (tmp_path / "base.json").unlink()
    LearnedReward(load_role(toy_base(seed=1), tmp_path, "reward"))


def test_answers_that_another_tokenizer_wrote_are_refused(learned: LearnedReward) -> None:
    """The same text with tokens that say something else."""
    prompts, own = [PAIRS[0].prompt] * 2, learned.role.base.text
    yes = Completion("yes", own.reply_ids(Completion("yes")))
    learned(prompts, [yes, Completion("no")])
    for tokens in (own.reply_ids(Completion("no")), (10_000, 2)):
        with pytest.raises(TextError, match=r"answers whose tokens its base did not write \(1 of 2; one says 'yes'\)"):
            learned(prompts, [yes, replace(yes, tokens=tokens)])


@pytest.mark.parametrize("quantize", ["int8", "nf4"])
def test_it_learns_on_a_quantized_base(quantize: str, tmp_path: Path) -> None:
    base = Base.load(str(toy_folder(tmp_path)), Loading(quantize=quantize, device="cpu"), Lora(rank=4, alpha=8.0))  # type: ignore[arg-type]
    scores = scored(LearnedReward(run(QUICK, base=base)[0]))
    assert bool((scores[:, 0] > scores[:, 1]).all())
