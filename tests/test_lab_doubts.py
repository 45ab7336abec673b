"""What a reader is warned of in a training that went through, by hand."""

from __future__ import annotations

import pytest

from alignzoo.lab.doubts import DISPLACED, displaced, doubts


def test_what_lost_more_than_a_nat_is_said_with_what_the_other_side_lost() -> None:
    said = displaced({"chosen": -2.34, "rejected": -9.87}, ())
    assert said.startswith("chosen replies became less likely by 2.3 nats (rejected ones by 9.9): ")
    assert "budget.updates" in said
    assert displaced({"chosen": -1.01}, ()).startswith("chosen replies became less likely by 1.0 nats: ")
    assert doubts({"chosen": -2.34}, ()) == (displaced({"chosen": -2.34}, ()),)


@pytest.mark.parametrize("chosen", [3.0, 0.0, -0.5, -DISPLACED])
def test_what_gained_or_lost_little_is_no_doubt(chosen: float) -> None:
    assert doubts({"chosen": chosen, "rejected": -20.0}, ()) == ()


def test_rejected_replies_that_gained_are_not_said_to_have_lost() -> None:
    assert "rejected" not in displaced({"chosen": -2.0, "rejected": 1.0}, ())


def test_without_a_look_the_last_batches_speak() -> None:
    """Five of them, as one batch is not much."""
    falling = [{"update": n, "displacement": -0.4 * n} for n in range(1, 11)]
    assert displaced({}, falling).startswith("chosen replies became less likely by 3.2 nats: ")
    assert displaced({"chosen": 0.0}, falling) == ""
    assert displaced({}, falling[:3]) == ""


def test_a_training_that_tells_neither_has_no_doubts() -> None:
    assert doubts({}, ()) == ()
    assert doubts({"kl": 1.0}, [{"update": 1, "loss": 0.5}]) == ()


# A divergence that is steered --------------------------------------------------------------------------------------------


def steered(*ratios: float) -> list[dict[str, float]]:
    return [{"update": number, "kl_over_target": ratio} for number, ratio in enumerate(ratios, start=1)]


@pytest.mark.parametrize("last", [0.75, 1.0, 1.25])
def test_a_target_that_was_held_is_no_doubt(last: float) -> None:
    """By the mean of the last quarter, whatever was before."""
    assert doubts({}, steered(*[9.0] * 15, *[last] * 5)) == ()
    assert doubts({}, steered(*[0.0] * 15, last, 2 * last, 0.0, last, last)) == ()


def test_one_that_was_not_is_told_with_what_to_do() -> None:
    [said] = doubts({}, steered(*[1.0] * 15, 1.0, 1.0, 1.5, 2.0, 2.0))
    assert said.startswith("the KL of the last 5 updates was not held within 0.75 to 1.25 times what it was steered to: ")
    assert "it was 1.50 times that" in said
    assert "larger leash.coefficient" in said
    [said] = doubts({}, steered(*[1.0] * 30, *[0.5] * 10))
    assert said.startswith("the KL of the last 10 updates was not held")
    assert "it was 0.50 times that" in said
    assert "smaller leash.coefficient" in said


def test_a_training_too_short_to_be_steered_anywhere_is_left_alone() -> None:
    assert doubts({}, steered(*[3.0] * 19)) == ()
    assert doubts({}, [{"update": number, "kl": 9.0} for number in range(40)]) == ()
