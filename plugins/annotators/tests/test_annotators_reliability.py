"""Dawid and Skene, and Crowd-BT: worked examples, planted truths, and what has no answer."""

from __future__ import annotations

import numpy as np
import pytest

from alignzoo_annotators.agreement import Numbers
from alignzoo_annotators.crowd_bt import Choices, TrustError, counted, crowd_bt, objective, stepped, turned
from alignzoo_annotators.dawid_skene import Places, dawid_skene, habits, shares, truths

Long = tuple[Places, Places, Places]

ANAESTHETISTS = """
111 1 1 1 1|333 4 3 3 4|112 2 1 2 2|222 3 1 2 1|222 3 2 2 2|222 3 3 2 2|122 2 1 1 1|333 3 4 3 3|222 2 2 2 3|232 2 2 2 3
444 4 4 4 4|222 3 3 4 3|111 1 1 1 1|222 3 2 1 2|121 1 1 1 1|111 2 1 1 1|111 1 1 1 1|111 1 1 1 1|222 2 2 2 1|222 1 3 2 2
222 2 2 2 2|222 2 2 2 1|222 3 2 2 2|221 2 2 2 2|111 1 1 1 1|111 1 1 1 1|232 2 2 2 2|111 1 1 1 1|111 1 1 1 1|112 1 1 2 1
111 1 1 1 1|333 3 2 3 3|111 1 1 1 1|222 2 2 2 2|222 3 2 3 2|433 4 3 4 3|221 2 2 3 2|232 3 2 3 3|333 3 4 3 2|111 1 1 1 1
111 1 1 1 1|121 2 1 1 1|232 2 2 2 2|121 1 1 1 1|222 2 2 2 2"""
"""Table 1 of Dawid and Skene (1979): 45 patients, five anaesthetists, the first of whom judged everybody three times."""


def anaesthetists() -> Long:
    rows = [
        (patient, who, int(said) - 1)
        for patient, told in enumerate(ANAESTHETISTS.replace("\n", "|").strip("|").split("|"))
        for who, every in enumerate(told.split())
        for said in every
    ]
    items, annotators, labels = (np.array(column) for column in zip(*rows, strict=True))
    return items, annotators, labels


def test_the_example_of_dawid_and_skene() -> None:
    """What they give for it: the classes' shares, and the habits of the first observer."""
    items, annotators, labels = anaesthetists()
    assert len(items) == 45 * 7
    found = dawid_skene(items, annotators, labels, 4)
    assert found.prior == pytest.approx([0.40, 0.42, 0.11, 0.07], abs=0.005)
    table = [[0.89, 0.11, 0, 0], [0.07, 0.88, 0.05, 0], [0, 0.34, 0.66, 0], [0, 0, 0.56, 0.44]]
    assert found.confusion[0] == pytest.approx(np.array(table), abs=0.006)
    assert found.posterior[[0, 1, 7, 10]].argmax(1).tolist() == [0, 3, 2, 3]
    assert found.right[0] == pytest.approx(found.prior @ [0.89, 0.88, 0.66, 0.44], abs=0.01)


def test_one_round_by_hand() -> None:
    """Two items, three people; the third differs on the second item."""
    items, annotators, labels = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 2] * 2), np.array([0, 0, 0, 1, 1, 0])
    first = shares(items, labels, 2)
    assert first.tolist() == [[1.0, 0.0], [1 / 3, 2 / 3]]
    prior, confusion = habits(first, items, annotators, labels, 0.0)
    assert prior == pytest.approx([2 / 3, 1 / 3])
    assert confusion[0] == pytest.approx(np.array([[0.75, 0.25], [0.0, 1.0]]))  # a truth of 0: 1 of 4/3
    assert confusion[2] == pytest.approx(np.array([[1.0, 0.0], [1.0, 0.0]]))
    posterior, likelihood = truths(prior, confusion, items, annotators, labels)
    # item 0: 2/3·¾·¾·1 against 1/3·0; item 1: 2/3·¼·¼·1 against 1/3·1·1·1
    assert posterior[0].tolist() == [1.0, 0.0]
    assert posterior[1] == pytest.approx([1 / 9, 8 / 9])
    assert likelihood == pytest.approx(np.log(3 / 8) + np.log(3 / 8))


def test_smoothing_by_hand() -> None:
    items, annotators, labels = np.array([0, 0]), np.array([0, 1]), np.array([0, 0])
    _, confusion = habits(np.array([[1.0, 0.0]]), items, annotators, labels, 0.5)
    assert confusion[0] == pytest.approx(np.array([[0.75, 0.25], [0.5, 0.5]]))
    _, plain = habits(np.array([[1.0, 0.0]]), items, annotators, labels, 0.0)
    assert plain[0] == pytest.approx(np.array([[1.0, 0.0], [0.5, 0.5]]))  # nothing is known of a class that nobody met


def crowd(rates: list[float], count: int, seed: int) -> tuple[Long, Places]:
    """Everybody judges every item, and says the truth, 0 or 1, at a rate of his own."""
    dice = np.random.default_rng(seed)
    truth = dice.integers(2, size=count)
    right = dice.random((count, len(rates))) < np.array(rates)
    labels = np.where(right, truth[:, None], 1 - truth[:, None])
    return (np.repeat(np.arange(count), len(rates)), np.tile(np.arange(len(rates)), count), labels.ravel()), truth


RATES = [0.85, 0.8, 0.8, 0.1, 0.15]
"""Two of five say the opposite of what they see."""


@pytest.mark.parametrize("seed", range(5))
def test_it_beats_the_majority_where_some_are_adversaries(seed: int) -> None:
    (items, annotators, labels), truth = crowd(RATES, 300, seed)
    found = dawid_skene(items, annotators, labels, 2)
    voted = shares(items, labels, 2)[:, 1] > 0.5
    assert float((found.posterior.argmax(1) == truth).mean()) > float((voted == truth).mean()) + 0.1
    assert found.right == pytest.approx(RATES, abs=0.1)


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_the_objective_never_falls_and_it_stops_at_a_fixed_point(smoothing: float) -> None:
    items, annotators, labels = anaesthetists()
    found = dawid_skene(items, annotators, labels, 4, smoothing=smoothing, tolerance=1e-12)
    assert np.all(np.diff(found.objective) >= -1e-9)
    assert len(found.objective) < 2000
    prior, confusion = habits(found.posterior, items, annotators, labels, smoothing)
    again, _ = truths(prior, confusion, items, annotators, labels)
    assert again == pytest.approx(found.posterior, abs=1e-4)


def test_neither_order_nor_names_matter() -> None:
    items, annotators, labels = anaesthetists()
    mixed = np.random.default_rng(1).permutation(len(items))
    found, other = dawid_skene(items, annotators, labels, 4), dawid_skene(items[mixed], 4 - annotators[mixed], labels[mixed], 4)
    assert other.posterior == pytest.approx(found.posterior, abs=1e-9)
    assert other.confusion[::-1] == pytest.approx(found.confusion, abs=1e-9)


def test_one_annotator_is_believed_because_nobody_contradicts() -> None:
    found = dawid_skene(np.arange(4), np.zeros(4, int), np.array([0, 1, 1, 0]), 2)
    assert found.posterior.argmax(1).tolist() == [0, 1, 1, 0]
    assert found.right == pytest.approx([1.0])
    assert np.isfinite(found.objective).all()


def test_one_class_only() -> None:
    found = dawid_skene(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.zeros(4, int), 3)
    assert found.posterior[:, 0].tolist() == [1.0, 1.0]
    assert np.isfinite(found.confusion).all()


def test_many_judgements_of_one_item_do_not_underflow() -> None:
    labels = np.random.default_rng(0).random(4000) < 0.3
    found = dawid_skene(np.zeros(4000, int), np.arange(4000) % 4, labels.astype(int), 2)
    assert np.isfinite(found.objective).all()
    assert found.posterior.sum() == pytest.approx(1.0)


# Crowd-BT -------------------------------------------------------------------------------------------------------------


def games(rates: list[float], each: int, seed: int, answers: int = 12, spread: float = 4.0) -> tuple[Choices, Numbers]:
    """Everybody compares answers of known worth, and turns a choice round at a rate of his own."""
    dice = np.random.default_rng(seed)
    worth = np.linspace(-spread, spread, answers)
    rows = []
    for who, rate in enumerate(rates):
        for _ in range(each):
            one, two = dice.choice(answers, 2, replace=False)
            first = dice.random() < 1 / (1 + np.exp(worth[two] - worth[one]))
            rows.append((one, two, who, float(first if dice.random() < rate else not first)))
    one, two, annotator, strength = (np.array(column) for column in zip(*rows, strict=True))
    return Choices.of(one, two, annotator, strength), worth


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_who_turns_choices_round(seed: int) -> None:
    """Two of five are adversaries; the prior keeps what is good good."""
    choices, worth = games([0.95, 0.95, 0.9, 0.1, 0.5], 150, seed)
    found = crowd_bt(choices)
    assert np.corrcoef(found.answers, worth)[0, 1] > 0.95
    assert found.reliability == pytest.approx([0.95, 0.95, 0.9, 0.1, 0.5], abs=0.15)


@pytest.mark.parametrize("mean", [0.7, 0.95])
@pytest.mark.parametrize("seed", range(3))
def test_how_far_a_crowd_means_what_it_says_is_found_whatever_was_thought_before(mean: float, seed: int) -> None:
    """Twelve people, as reliable on the average as the prior (0.8) does not say."""
    rates = np.clip(np.random.default_rng(seed).normal(mean, 0.1, 12), 0.05, 0.99).tolist()
    choices, worth = games(rates, 120, seed)
    found = crowd_bt(choices)
    assert float(found.reliability.mean()) == pytest.approx(np.mean(rates), abs=0.04)
    assert np.corrcoef(found.answers, worth)[0, 1] > 0.95


def test_believing_everybody_is_worse() -> None:
    choices, worth = games([0.95, 0.95, 0.9, 0.1, 0.1], 60, 7)
    plain = crowd_bt(choices, trust=(1e6, 1e-6))
    found = crowd_bt(choices)
    assert np.corrcoef(found.answers, worth)[0, 1] > np.corrcoef(plain.answers, worth)[0, 1] + 0.03


def test_the_log_posterior_never_falls() -> None:
    choices, _ = games([0.9, 0.8, 0.2], 80, 3)
    found = crowd_bt(choices, tolerance=1e-12)
    assert np.all(np.diff(found.objective) >= -1e-9)


def test_it_is_a_maximum() -> None:
    """No single worth or reliability does better if it is moved a little."""
    choices, _ = games([0.9, 0.7], 60, 5, answers=4, spread=1.5)
    found = crowd_bt(choices, tolerance=0.0, rounds=2000)
    best = objective(choices, np.exp(found.answers), found.reliability, (4.0, 1.0), 0.1)
    for place in range(4):
        for step in (-0.05, 0.05):
            moved = found.answers.copy()
            moved[place] += step
            assert objective(choices, np.exp(moved), found.reliability, (4.0, 1.0), 0.1) < best
    for step in (-0.02, 0.02):
        moved = found.reliability.copy()
        moved[0] += step
        assert objective(choices, np.exp(found.answers), moved, (4.0, 1.0), 0.1) < best


def test_a_round_by_hand() -> None:
    """One choice of 0 over 1 by somebody with η = 0.8, worths 3 and 1: meant with 0.8·¾ of 0.8·¾ + 0.2·¼."""
    choices = Choices.of(np.array([0]), np.array([1]), np.array([0]), np.array([1.0]))
    strength = np.array([3.0, 1.0])
    meant = turned(choices, strength, np.array([0.8]))
    assert meant == pytest.approx([0.6 / 0.65])
    assert counted(choices, meant, (4.0, 1.0)) == pytest.approx([(0.6 / 0.65 + 4) / 6])
    after = stepped(choices, meant, strength, 0.1)
    played = [1 / 4 + 0.2 / 4, 1 / 4 + 0.2 / 2]
    assert after == pytest.approx([(0.1 + 0.6 / 0.65) / played[0], (0.1 + 0.05 / 0.65) / played[1]])
    said = np.log(0.65) + 4 * np.log(0.8) + np.log(0.2)
    drawn = 0.1 * (np.log(3) - 2 * np.log(4) - 2 * np.log(2))
    assert objective(choices, strength, np.array([0.8]), (4.0, 1.0), 0.1) == pytest.approx(said + drawn)


def test_an_answer_that_never_lost_has_a_finite_worth() -> None:
    choices = Choices.of(np.array([0] * 5), np.array([1, 2, 3, 1, 2]), np.zeros(5, int), np.ones(5))
    found = crowd_bt(choices)
    assert np.isfinite(found.answers).all()
    assert found.answers[0] > max(found.answers[1:])


def test_ties_only_put_everything_level() -> None:
    choices = Choices.of(np.array([0, 1, 2]), np.array([1, 2, 0]), np.zeros(3, int), np.full(3, 0.5))
    found = crowd_bt(choices)
    assert found.answers == pytest.approx([0.0, 0.0, 0.0], abs=1e-6)
    assert len(choices.weight) == 6


def test_a_prior_without_trust_is_refused() -> None:
    choices, _ = games([0.9], 10, 0)
    with pytest.raises(TrustError, match="not be above one half"):
        crowd_bt(choices, trust=(1.0, 1.0))
