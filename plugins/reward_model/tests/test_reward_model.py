"""Reward models on the toy base: what is learned from each kind of judgement, what is told, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from judged import LESSON, LESSONS, ORDERS, PAIRS, QUICK, SCORES, THUMBS, judgements, run, scored

from alignzoo.interfaces import Lesson, LessonError, Optimizer, Reward
from alignzoo.learning.descent import Descent
from alignzoo.learning.ledger import Ledger, counting
from alignzoo.model.role import policy_on, role_on
from alignzoo.model.text import TextError
from alignzoo.records import Completion, Prompt, Provenance, Ranking
from alignzoo.testing import toy_base
from alignzoo_reward_model.model import LearnedReward
from alignzoo_reward_model.reward_model import RewardModel


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
