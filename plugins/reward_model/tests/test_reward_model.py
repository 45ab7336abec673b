"""Reward models on the toy base: what is learned from each kind of judgement, what is saved, and what can be interrupted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from alignzoo.interfaces import Lesson, LessonError, Manner, Metrics, Optimizer, Reward
from alignzoo.lab.store import Training
from alignzoo.lab.training import Seat, Terms, train
from alignzoo.learning.canaries import Canaries, watching
from alignzoo.learning.choices import Budget, Watch
from alignzoo.learning.descent import Descent
from alignzoo.learning.ledger import Ledger, counting
from alignzoo.learning.memory import newest, remembering
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.loading import ModelError
from alignzoo.model.role import Role, load_role, policy_on, role_on
from alignzoo.model.text import TextError
from alignzoo.records import Comparison, Completion, Prompt, Provenance, Ranking, Rating
from alignzoo.testing import toy_base, toy_folder
from alignzoo_reward_model.model import LearnedReward, grow_heads, head_names, heads_of
from alignzoo_reward_model.reward_model import RewardModel, bootstraps

THINGS = ("cat", "dog", "bird", "house", "tree", "river")
PAIRS = [
    Comparison(Prompt.ask(f"is the {thing} {how}"), Completion(good), Completion(bad))
    for thing in THINGS
    for how, good, bad in (("small", "yes please", "no"), ("old", "true thanks", "false and bad because"))
]
ORDERS = [
    Ranking(Prompt.ask(f"is the {thing} small"), tuple(map(Completion, ("yes please", "yes", "no", "bad"))), (0, 1, 2, 2))
    for thing in THINGS
]
THUMBS = [
    Rating(Prompt.ask(f"is the {thing} small"), Completion(text), thumb)
    for thing in THINGS
    for text, thumb in (("yes please", 1.0), ("no", 0.0), ("bad", 0.0))
]
SCORES = [replace(one, score=1 + 4 * one.score) for one in THUMBS]
LESSONS = {"comparisons": Lesson(comparisons=PAIRS), "rankings": Lesson(rankings=ORDERS), "ratings": Lesson(ratings=THUMBS)}
LESSON = LESSONS["comparisons"]
QUICK = RewardModel(batch_size=4, epochs=6, samples=8, sample_tokens=6, descent=Descent(lr=3e-3))


def run(optimizer: RewardModel, lesson: Lesson = LESSON, base: Base | None = None) -> tuple[Role, list[Metrics]]:
    base = base or toy_base()
    role = role_on(base, "reward")
    with watching(Canaries(base)):
        told = list(optimizer.improve(role, lesson))
    return role, told


def scored(reward: Reward, pairs: Sequence[Comparison] = PAIRS) -> torch.Tensor:
    """(pairs, 2)"""
    prompts = [pair.prompt for pair in pairs]
    sides = [reward(prompts, [pair.chosen for pair in pairs]), reward(prompts, [pair.rejected for pair in pairs])]
    return torch.tensor(sides).T


def test_it_is_an_optimizer_and_says_what_it_needs() -> None:
    for on, lesson in LESSONS.items():
        optimizer = RewardModel(on=on)  # type: ignore[arg-type]
        assert isinstance(optimizer, Optimizer)
        assert optimizer.needs == (on,)
        lesson.check(optimizer.needs)
        with pytest.raises(LessonError, match=f"this run lacks {on}"):
            list(optimizer.improve(policy_on(toy_base()), Lesson()))


@pytest.mark.parametrize(("on", "lesson"), [*LESSONS.items(), ("ratings", Lesson(ratings=SCORES))])
def test_it_learns_what_is_better(on: str, lesson: Lesson) -> None:
    role, told = run(replace(QUICK, on=on, epochs=10), lesson)  # type: ignore[arg-type]
    reward = QUICK.deploy(role, lesson)
    assert isinstance(reward, Reward)
    assert told[-1]["loss"] < 0.5 * told[0]["loss"]
    prompt = Prompt.ask("is the cat small")
    [best, worst] = reward([prompt] * 2, [Completion("yes please"), Completion("no")])
    assert best > worst + 0.5
    assert told[-1]["held_out_accuracy"] == 1.0
    assert all(math.isfinite(value) for row in told for value in row.values())


def test_recorded_prompts_too_long_to_be_answered_are_learned_from_and_passed_over_in_normalising() -> None:
    """The context has 128 tokens; a pair's prompt may lose its beginning, one that is to be answered may not."""
    long = [replace(pair, prompt=Prompt.ask("cat dog " * 60 + pair.prompt.text)) for pair in PAIRS[:2]]
    optimizer, text = replace(QUICK, samples=64), toy_base().text
    lesson = Lesson(comparisons=[*PAIRS, *long])
    assert optimizer.asked(lesson, text) == optimizer.asked(Lesson(comparisons=PAIRS), text)
    assert replace(optimizer, samples=0).asked(lesson, text) == []
    role, _ = run(optimizer, lesson)
    assert optimizer.deploy(role, lesson).normalised
    with pytest.raises(TextError, match="prompts leave no room for a reply"):
        run(optimizer, Lesson(comparisons=long))


def test_turned_pairs_turn_the_scores() -> None:
    right = scored(LearnedReward(run(QUICK)[0]))
    backwards = Lesson(comparisons=[replace(p, chosen=p.rejected, rejected=p.chosen) for p in PAIRS])
    wrong = scored(LearnedReward(run(QUICK, backwards)[0]))
    assert bool((right[:, 0] > right[:, 1]).all())
    assert bool((wrong[:, 0] < wrong[:, 1]).all())


def test_the_first_loss_is_that_of_the_head_as_it_was_grown() -> None:
    base, twin = toy_base(), toy_base()
    [first, *_] = run(replace(QUICK, batch_size=12, held_out=0.0), base=base)[1]
    role = role_on(twin, "reward")
    role.grow("score", seed=0)
    forest = twin.text.pairs(PAIRS)
    with torch.no_grad():
        states = role.read(forest).reading.hidden[role.read(forest).reading.end]
        scores = torch.nn.functional.linear(states, role.head("score").weight, role.head("score").bias).view(-1, 2)  # type: ignore[arg-type]
    assert first["loss"] == pytest.approx(float(torch.nn.functional.softplus(scores[:, 1] - scores[:, 0]).mean()), rel=1e-5)
    assert first["reward"] == pytest.approx(float(scores.mean()), rel=1e-4)


def test_the_head_is_grown_small_and_in_float32() -> None:
    role, _ = run(replace(QUICK, samples=0, epochs=1, descent=Descent(lr=1e-12)))
    weight = role.head("score").get_parameter("weight").detach()
    assert weight.dtype == torch.float32
    assert float(weight.std()) == pytest.approx(1 / math.sqrt(65), rel=0.25)
    assert float(role.head("score").get_parameter("bias").detach()) == pytest.approx(0.0, abs=1e-9)


def test_a_score_is_read_at_the_last_token_of_the_reply() -> None:
    """The same as that of a plain model of one row: the end token where it was finished, else the last word."""
    base = toy_base()
    role, _ = run(QUICK, base=base)
    prompt = Prompt.ask("is the cat small")
    head = role.head("score")
    for reply in (Completion("yes please"), Completion("yes please", finished=False)):
        ids = torch.tensor([[*base.text.prompt_ids(prompt), *base.text.reply_ids(reply)]])
        with torch.no_grad(), base.acting_as(role.worn):
            state = base.trunk(input_ids=ids).last_hidden_state[0, -1]
            wanted = float(head(state))
        assert LearnedReward(role)([prompt], [reply]) == pytest.approx([wanted], rel=1e-4)


# Noisy annotators -----------------------------------------------------------------------------------------------------


def doubly_judged(flips: float) -> list[Comparison]:
    """Two annotators choose between a friendly answer and an unfriendly one, to many questions; each errs at random."""
    dice = Random(1)
    kind, unkind = ("yes please", "true thanks", "good and kind", "i can help you"), ("no", "false and bad", "rude", "hurt you")
    judged = []
    for thing in (*THINGS, "fish", "stone", "sun", "moon"):
        for how in ("small", "big", "red", "blue", "green", "old", "new", "fast", "slow"):
            pair = Comparison(
                Prompt.ask(f"is the {thing} {how}"), Completion(dice.choice(kind)), Completion(dice.choice(unkind))
            )
            for who in ("one", "two"):
                flipped = replace(pair, chosen=pair.rejected, rejected=pair.chosen) if dice.random() < flips else pair
                judged.append(replace(flipped, provenance=Provenance("toy", who)))
    return judged


def test_accuracy_approaches_the_ceiling_and_does_not_exceed_it() -> None:
    lesson = Lesson(comparisons=doubly_judged(flips=0.2))
    optimizer = replace(QUICK, batch_size=18, epochs=4, held_out=0.4, samples=0, descent=Descent(lr=2e-3))
    told = run(optimizer, lesson)[1][-1]
    assert told["agreement_pairs"] == 90
    assert told["ceiling"] == pytest.approx(0.8, abs=0.06)
    assert told["held_out_accuracy_low"] <= told["ceiling"]
    assert told["held_out_accuracy"] > told["ceiling"] - 0.15


def test_without_noise_the_ceiling_is_one_and_is_nearly_reached() -> None:
    optimizer = replace(QUICK, batch_size=18, epochs=8, held_out=0.4, samples=0, descent=Descent(lr=3e-3))
    told = run(optimizer, Lesson(comparisons=doubly_judged(flips=0.0)))[1][-1]
    assert told["ceiling"] == 1.0
    assert told["held_out_accuracy"] > 0.9


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


# Ensembles ------------------------------------------------------------------------------------------------------------


def test_members_differ_and_are_not_copies() -> None:
    role, told = run(replace(QUICK, members=3))
    scores = LearnedReward(role).members([p.prompt for p in PAIRS], [p.chosen for p in PAIRS])
    assert float((scores[:, 0] - scores[:, 1]).abs().mean()) > 0.05
    assert float((scores[:, 1] - scores[:, 2]).abs().mean()) > 0.05
    assert told[-1]["members_apart"] > 0


def test_every_member_and_every_seed_begins_elsewhere() -> None:
    begun = []
    for seed in (0, 1):
        role = role_on(toy_base(), "reward")
        begun += [role.head(name).get_parameter("weight").detach() for name in grow_heads(role, 2, seed)]
    assert not any(torch.equal(a, b) for a, b in combinations(begun, 2))


def test_bootstraps_draw_as_many_as_there_are_and_differ() -> None:
    drawn = bootstraps(50, 3, seed=1)
    assert drawn.sum(0).tolist() == [50.0] * 3
    assert not torch.equal(drawn[:, 0], drawn[:, 1])
    assert torch.equal(drawn, bootstraps(50, 3, seed=1))
    assert not torch.equal(drawn, bootstraps(50, 3, seed=2))
    assert torch.equal(bootstraps(5, 1, seed=1), torch.ones(5, 1))


def test_a_member_learns_from_a_pair_as_often_as_it_has_drawn_it() -> None:
    base = toy_base()
    role = role_on(base, "reward")
    for name in ("score1", "score2"):
        role.grow(name)
    judged = judgements(QUICK, LESSON)
    forest = judged.forest(PAIRS, base)
    one, two = (
        QUICK.loss(role, (name,), judged, forest.attach(trees={"weight": torch.ones(12, 1)})) for name in ("score1", "score2")
    )
    weights = torch.zeros(12, 2)
    weights[:, 0] = 3.0
    both = QUICK.loss(role, ("score1", "score2"), judged, forest.attach(trees={"weight": weights}))
    assert float(one.total.detach()) == float(two.total.detach())
    assert float(both.total.detach()) == pytest.approx(1.5 * float(one.total.detach()), rel=1e-6)
    assert both.count == 12


def judgements(optimizer: RewardModel, lesson: Lesson) -> Any:
    from alignzoo_reward_model.judgements import KINDS, judgements_in
    from alignzoo_reward_model.judgements import Terms as Added

    return KINDS[optimizer.on](judgements_in(lesson, optimizer.on), Added(optimizer.margin, optimizer.centring))


# One update -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("micro_tokens", [1, 60])
@pytest.mark.parametrize("on", ["comparisons", "rankings", "ratings"])
def test_micro_batches_are_one_batch(on: str, micro_tokens: int) -> None:
    asked = replace(QUICK, on=on, epochs=1, held_out=0.0, samples=0, members=2, centring=0.1 if on != "ratings" else 0.0)  # type: ignore[arg-type]
    (one, told), (other, again) = (
        run(replace(asked, descent=Descent(lr=1e-3, micro_tokens=limit)), LESSONS[on]) for limit in (9999, micro_tokens)
    )
    for row, wanted in zip(again, told, strict=True):
        assert row == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    for key, tensor in one.tensors().items():
        assert torch.allclose(other.tensors()[key], tensor, atol=1e-5)


def test_a_ranking_counts_once_however_many_answers_it_has() -> None:
    """The loss of a batch is the mean over rankings of the mean over their pairs, by hand from the scores."""
    orders = [*ORDERS[:2], Ranking(Prompt.ask("why"), (Completion("yes"), Completion("no")))]
    optimizer = replace(QUICK, on="rankings", centring=0.25)
    base = toy_base()
    role = role_on(base, "reward")
    role.grow("score")
    judged = judgements(optimizer, Lesson(rankings=orders))
    forest = judged.forest(orders, base).attach(trees={"weight": torch.ones(3, 1)})
    with torch.no_grad():
        found = optimizer.loss(role, ("score",), judged, forest)
        scores = role.scores(forest).tolist()
    wanted = []
    for first, untied in (
        (0, [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)]),
        (4, [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)]),
        (8, [(0, 1)]),
    ):
        pairs = [(scores[first + a], scores[first + b]) for a, b in untied]
        wanted.append(sum(math.log1p(math.exp(b - a)) + 0.25 * (a + b) ** 2 for a, b in pairs) / len(pairs))
    assert found.count == 3
    assert float(found.total) == pytest.approx(sum(wanted), rel=1e-5)


def test_centring_holds_scores_near_zero() -> None:
    plain, held = (run(replace(QUICK, samples=0, centring=c))[0] for c in (0.0, 1.0))
    middles = [float(scored(LearnedReward(role)).sum(1).abs().mean()) for role in (plain, held)]
    assert middles[1] < 0.5 * middles[0]


def test_ties_are_pulled_level() -> None:
    tied = [replace(pair, strength=0.5) for pair in PAIRS if pair.chosen.text == "yes please"]
    sure = [pair for pair in PAIRS if pair.chosen.text != "yes please"]
    optimizer = replace(QUICK, held_out=0.0, samples=0, epochs=20)
    role, _ = run(optimizer, Lesson(comparisons=[*tied, *sure]))
    gaps = [float((s[:, 0] - s[:, 1]).mean()) for s in (scored(LearnedReward(role), some) for some in (tied, sure))]
    assert abs(gaps[0]) < 0.2 * gaps[1]


def test_scores_are_standardised_within_source_and_value() -> None:
    there = [replace(one, score=100 * one.score + 7, provenance=Provenance("elsewhere")) for one in THUMBS]
    judged = judgements(replace(QUICK, on="ratings"), Lesson(ratings=[*SCORES, *there]))
    wanted = judged.forest([*SCORES, *there], toy_base()).replies["wanted"]
    assert wanted[:18].tolist() == pytest.approx(wanted[18:].tolist(), abs=1e-5)
    assert float(wanted[:18].mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(wanted[:18].std(correction=0)) == pytest.approx(1.0, abs=1e-6)


# What is told, and what is refused ------------------------------------------------------------------------------------


def test_held_out_figures_come_every_so_often_and_at_the_end() -> None:
    told = run(replace(QUICK, evaluate_every=4))[1]
    looks = [number for number, row in enumerate(told, start=1) if "held_out_accuracy" in row]
    assert len(told) == 18
    assert looks == [4, 8, 12, 16, 18]
    assert "held_out_accuracy" not in run(replace(QUICK, held_out=0.0))[1][-1]


def test_held_out_prompts_are_not_learned_from() -> None:
    base, ledger = toy_base(), Ledger()
    with counting(ledger, base):
        list(replace(QUICK, held_out=0.5).improve(role_on(base, "reward"), LESSON))
    assert ledger.labels == 6


def test_the_weights_of_both_classes_are_told() -> None:
    _, told = run(replace(QUICK, on="ratings", held_out=0.0), LESSONS["ratings"])
    assert [told[0][name] for name in ("weight_up", "weight_down")] == [1.5, 0.75]


@pytest.mark.parametrize("score", [1.0, 0.0, 0.5])
def test_thumbs_that_all_say_the_same_are_refused(score: float) -> None:
    """One class alone has no lower end: its scores would rise for as long as there are updates."""
    level = Lesson(ratings=[replace(one, score=score) for one in THUMBS])
    with pytest.raises(LessonError, match=rf"every score to learn from is the same .*\({score:g}\)"):
        run(replace(QUICK, on="ratings", held_out=0.0), level)


def test_rankings_without_an_order_are_left_out_and_told() -> None:
    flat = [replace(order, prompt=Prompt.ask(f"why {n}"), ranks=(0, 0, 0, 0)) for n, order in enumerate(ORDERS[:2])]
    _, told = run(replace(QUICK, on="rankings", held_out=0.0), Lesson(rankings=[*ORDERS, *flat]))
    assert told[0]["dropped_rankings"] == 2.0


@pytest.mark.parametrize(
    ("on", "lesson", "error"),
    [
        ("comparisons", Lesson(comparisons=[replace(p, strength=0.5) for p in PAIRS]), "comparisons to learn from are ties"),
        (
            "rankings",
            Lesson(rankings=[replace(r, ranks=(0, 0, 0, 0)) for r in ORDERS]),
            "rankings to learn from puts one answer",
        ),
        ("ratings", Lesson(ratings=[replace(r, score=3.0) for r in THUMBS]), "every score to learn from is the same"),
        ("comparisons", Lesson(comparisons=PAIRS[:1]), "leaves none to learn from"),
    ],
)
def test_what_teaches_nothing_is_refused_before_the_first_forward_pass(on: str, lesson: Lesson, error: str) -> None:
    base, ledger = toy_base(), Ledger()
    role = role_on(base, "reward")
    with counting(ledger, base), pytest.raises(LessonError, match=error):
        next(iter(RewardModel(on=on).improve(role, lesson)))  # type: ignore[arg-type]
    assert ledger.read == 0


@pytest.mark.parametrize(
    ("settings", "error"), [({"margin": 1.0, "on": "rankings"}, "margin"), ({"centring": 0.1, "on": "ratings"}, "centring")]
)
def test_terms_that_have_nothing_to_act_on_are_refused(settings: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        RewardModel(**settings)


# Interruption ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [1, 9, 18])
@pytest.mark.parametrize("members", [1, 2])
def test_interrupted_is_uninterrupted_bit_for_bit(stop: int, members: int, tmp_path: Path) -> None:
    optimizer = replace(QUICK, members=members, evaluate_every=5, descent=Descent(lr=3e-3, schedule="linear", warmup=2))

    def go_on(updates: int) -> tuple[list[Metrics], dict[str, Any]]:
        base, found = toy_base(), newest(tmp_path)
        told: list[Metrics] = []
        with remembering(base, found) as memory:
            role = role_on(base, "reward")
            for metrics in optimizer.improve(role, LESSON):
                told.append(metrics)
                if len(told) == updates:
                    memory.write(tmp_path, updates, {})
                    break
        return told, {name: role.digest for name, role in base.roles.items()}

    whole, roles = go_on(99)
    assert len(whole) == 18
    first, _ = go_on(stop)
    rest, resumed = go_on(99)
    assert first + rest == whole
    assert resumed == roles


def test_a_training_of_the_lab_goes_on_after_its_budget_as_if_there_had_been_none(tmp_path: Path) -> None:
    def trained(folder: str, updates: int | None) -> str:
        seat = Seat(toy_base(), lambda base: role_on(base, "reward"))
        terms = Terms(Budget(updates=updates), Watch(every=0, prompts=2, tokens=4, kl_limit=math.inf))
        files = Training(tmp_path / folder)
        return train(QUICK, LESSON, seat, files, terms).policy.digest

    whole = trained("whole", None)
    assert trained("parts", 7) != whole
    assert trained("parts", None) == whole
    reward = QUICK.deploy(load_role(toy_base(), Training(tmp_path / "parts").adapter, "reward"), LESSON)
    assert reward.normalised


def test_seeds_decide() -> None:
    assert run(QUICK)[1] == run(QUICK)[1]
    assert run(QUICK)[1] != run(replace(QUICK, seed=1))[1]
