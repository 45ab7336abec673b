"""From ratings to thumbs: what a score says, what is left out, what is refused, and what each side weighs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from alignzoo.interfaces import Lesson, LessonError
from alignzoo.records import Comparison, Completion, Prompt, Rating
from alignzoo.testing import toy_base
from alignzoo_kto.thumbs import Thumbs, Weights, balanced, thumbs_in


def rated(*scores: float) -> list[Rating]:
    return [Rating(Prompt.ask(f"question {i}"), Completion(f"answer {i}"), score) for i, score in enumerate(scores)]


def ups(thumbs: Thumbs) -> list[float]:
    return [thumb.up for thumb in thumbs.records]


def test_without_a_threshold_a_score_is_a_probability() -> None:
    thumbs = thumbs_in(rated(1, 0, 0.5, 0.75, 0.2), None)
    assert ups(thumbs) == [1, 0, 0.75, 0.2]
    assert thumbs.neutral == 1
    assert thumbs.ups == pytest.approx(1.95)
    assert thumbs.downs == pytest.approx(2.05)


def test_with_a_threshold_a_score_is_up_or_down_or_neither() -> None:
    thumbs = thumbs_in(rated(5, 4, 3, 3, 1, 3.5), 3)
    assert ups(thumbs) == [1, 1, 0, 1]
    assert thumbs.neutral == 2
    assert ups(thumbs_in(rated(0.9, 0.6, 0.5), 0.8)) == [1, 0, 0]  # also within 0 and 1, where 0.5 says something


def test_comparisons_come_as_two_thumbs_and_ties_as_none() -> None:
    prompt, one, other = Prompt.ask("why"), Completion("because"), Completion("no")
    pairs = [Comparison(prompt, one, other), Comparison(prompt, one, other, 0.9), Comparison(prompt, one, other, 0.5)]
    thumbs = thumbs_in(Lesson.of(pairs).ratings, None)
    assert ups(thumbs) == pytest.approx([1, 0, 0.9, 0.1])
    assert thumbs.neutral == 2


@pytest.mark.parametrize(
    ("scores", "threshold", "message"),
    [
        ((), None, "there is no rating to learn from"),
        ((1, 1, 1), None, "all 3 ratings are 1: there is nothing to tell apart"),
        ((3, 3), 2.0, "all 2 ratings are 3"),
        ((1, 3, 5), None, "the scores run from 1 to 5, and a thumb is 1 .up. or 0 .down.: set threshold"),
        ((-1, 1), None, "the scores run from -1 to 1"),
        ((1, 2, 3), 0.0, r"the ratings .from 1 to 3, threshold 0. are all thumbs up: both sides are needed"),
        ((1, 2, 3), 3.0, "threshold 3. are all thumbs down"),
        ((0.9, 0.8), None, "threshold 0.5. are all thumbs up"),
    ],
)
def test_what_nothing_can_be_learned_from_is_refused(scores: tuple[float, ...], threshold: float | None, message: str) -> None:
    with pytest.raises(LessonError, match=message):
        thumbs_in(rated(*scores), threshold)


def test_the_smaller_side_is_raised_until_the_ratio_is_right() -> None:
    assert balanced(5, 20) == Weights(4.0, 1.0)
    assert balanced(20, 5) == Weights(1.0, 3.0)
    assert balanced(9, 9) == balanced(10, 9) == balanced(12, 9) == Weights(1.0, 1.0)
    for up, down in ((1, 99), (99, 1), (7, 5), (5, 7)):
        weights = balanced(up, down)
        assert 1 - 1e-9 <= weights.desirable * up / (weights.undesirable * down) <= 4 / 3 + 1e-9
        assert min(weights.desirable, weights.undesirable) == 1


def test_weights_that_are_set_are_used() -> None:
    thumbs = thumbs_in(rated(1, 0, 0, 0), None)
    assert thumbs.weights(None, None) == Weights(3.0, 1.0)
    assert thumbs.weights(2.0, None) == Weights(2.0, 1.0)
    assert thumbs.weights(None, 0.5) == Weights(1.0, 0.5)
    assert thumbs.weights(0.0, 0.0) == Weights(0.0, 0.0)
    assert thumbs.facts(Weights(3.0, 1.0)) == {"ups": 1, "downs": 3, "neutral": 0, "weight_up": 3, "weight_down": 1}


def test_repeated_thumbs_stay_and_contradicted_ones_are_counted() -> None:
    prompt, other = Prompt.ask("why"), Prompt.ask("how")
    said = [
        Rating(prompt, Completion("a"), 1),
        Rating(prompt, Completion("a"), 1),
        Rating(prompt, Completion("a"), 0),
        Rating(prompt, Completion("b"), 0),
        Rating(other, Completion("a"), 0),
    ]
    thumbs = thumbs_in(said, None)
    assert len(thumbs.records) == 5
    assert thumbs.contradicted == 3


def test_the_sides_of_a_pair_are_a_couple() -> None:
    """Two by two, as far as neighbours in the log are of one prompt; who meets it again later is no couple of theirs."""
    prompts = {name: Prompt.ask(name) for name in "abc"}
    thumbs = thumbs_in([Rating(prompts[name], Completion("yes"), i % 2) for i, name in enumerate("aabcccba")], None, "together")
    assert thumbs.hands == [[0, 1], [2], [3, 4], [5], [6], [7]]
    assert replace(thumbs, pairs="apart").hands == [[place] for place in range(8)]


def test_the_prompt_of_a_couple_is_read_once() -> None:
    """And the answers of others that meet it stand at its own answers' places."""
    base, ask, other = toy_base(), Prompt.ask("why is the cat small"), Prompt.ask("how")
    said = [(ask, "yes", 1.0), (ask, "true thanks", 0.2), (other, "no please", 0.0), (other, "kind", 0.9)]
    thumbs = thumbs_in([Rating(prompt, Completion(text), up) for prompt, text, up in said], None, "together")
    dealt, others = [3, 0, 2, 1], {0: 2, 2: 1, 1: 3, 3: 0}
    forest, met = thumbs.forest(dealt, base), thumbs.strange(dealt, others, base)
    assert [base.text.said(reply[:-1]) for tree in forest.trees for reply in tree.replies] == [
        "kind", "no please", "yes", "true thanks"
    ]  # fmt: skip
    assert forest.replies["up"].tolist() == pytest.approx([0.9, 0.0, 1.0, 0.2])
    assert [tree.prompt for tree in met.trees] == [tree.prompt for tree in forest.trees]
    assert [base.text.said(reply[:-1]) for tree in met.trees for reply in tree.replies] == [
        "yes", "true thanks", "no please", "kind"
    ]  # fmt: skip
    alone = [base.text.replies([prompt], [[Completion(text)]]).size for prompt, text, _ in said]
    assert forest.size == sum(alone) - sum(len(tree.prompt) for tree in forest.trees)
    assert replace(thumbs, pairs="apart").forest(dealt, base).size == sum(alone)


def test_counts_and_weights_are_said_once(spoken_by_kto: Callable[[], list[str]]) -> None:
    thumbs = thumbs_in(rated(1, 0, 0, 0, 0.5), None)
    thumbs.announce(Weights(3.0, 1.0))
    thumbs.announce(Weights(1.0, 1.0))
    thumbs.announce(Weights(1.0, 0.0))
    first, second, third = spoken_by_kto()
    assert first == "1 thumbs up with weight 3, 3 down with 1; 1 neutral left out"
    assert "up outweighs down 0.333 times, and between 1 and 4/3 is advised" in second
    assert "inf" in third


@pytest.fixture
def spoken_by_kto(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level("WARNING", logger="alignzoo")
    return lambda: [record.getMessage() for record in caplog.records]
