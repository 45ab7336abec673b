"""The argument of visibility, by hand: who is preferred to whom, how clearly, and how many pairs one post gives."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alignzoo_reddit_votes.rows import RowError
from alignzoo_reddit_votes.shp import label_of
from alignzoo_reddit_votes.votes import Comment, Counts, Pairing, Preference, Timing, ahead, preferences, top, visible

CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
EVERY = Pairing(ratio=1.0, comments_per_post=1000, pairs_per_post=10**6)


def said(id: str, score: int, created: int, text: str = "") -> Comment:
    return Comment(0, id, (0, 0), score=score, created=created, text=text or id)


def pairs(comments: Sequence[Comment], pairing: Pairing = EVERY) -> list[tuple[str, str]]:
    return [(pair.chosen.id, pair.rejected.id) for pair in preferences(comments, pairing, Counts())]


def test_the_later_comment_that_is_ahead_is_preferred() -> None:
    assert pairs([said("early", 166, 100), said("late", 340, 102)]) == [("late", "early")]


def test_an_early_bird_gives_no_pair() -> None:
    assert pairs([said("early", 340, 100), said("late", 166, 102)]) == []


def test_planted_early_birds_give_no_pair_however_far_they_are_ahead() -> None:
    crowd = [said(f"{minute}", 10_000 // minute, minute) for minute in range(1, 40)]
    counts = Counts()
    assert preferences(crowd, EVERY, counts) == []
    assert (counts.before.earlier, counts.before.later, counts.after.earlier) == (39 * 38 // 2, 0, 0)


def test_the_same_second_is_not_earlier() -> None:
    assert pairs([said("a", 3, 100), said("b", 9, 100)]) == [("b", "a")]
    assert visible(said("a", 9, 100), said("b", 3, 100))


def test_equal_scores_say_nothing() -> None:
    assert pairs([said("a", 9, 100), said("b", 9, 200)]) == []


def test_the_order_of_rows_does_not_matter() -> None:
    comments = [said("a", 2, 1), said("b", 8, 2), said("c", 4, 3), said("d", 64, 4)]
    assert pairs(comments) == pairs(comments[::-1]) == [("d", "a"), ("d", "c"), ("d", "b"), ("b", "a"), ("c", "a")]


def test_the_ratio_is_preferred_over_rejected() -> None:
    pair = Preference(said("late", 340, 102), said("early", 166, 100))
    assert pair.ratio == pytest.approx(2.0481927711, abs=1e-10)
    assert pair.seconds == 2
    assert Preference(said("a", 3, 1), said("b", 0, 0)).ratio == float("inf")
    assert Preference(said("a", 3, 1), said("b", -4, 0)).ratio == float("inf")


def test_a_pair_at_the_ratio_is_taken_and_one_below_is_not() -> None:
    comments = [said("a", 10, 1), said("b", 20, 2), said("c", 39, 3)]
    assert pairs(comments, Pairing(ratio=2.0, pairs_per_post=100)) == [("c", "a"), ("b", "a")]
    counts = Counts()
    preferences(comments, Pairing(ratio=2.0), counts)
    assert (counts.low_ratio, counts.given) == (1, 2)


def test_a_capped_post_gives_its_clearest_pairs() -> None:
    comments = [said("a", 2, 1), said("b", 6, 2), said("c", 30, 3)]
    counts = Counts()
    kept = preferences(comments, Pairing(ratio=1.0, pairs_per_post=2), counts)
    assert [(pair.chosen.id, pair.rejected.id) for pair in kept] == [("c", "a"), ("c", "b")]  # 15 and 5; b over a is 3
    assert (counts.beyond_cap, counts.given) == (1, 2)


def test_only_the_top_comments_are_compared_by_score_not_by_time() -> None:
    comments = [said("a", 5, 1), said("b", 2, 2), said("c", 50, 3), said("d", 3, 4)]
    assert [one.id for one in top(comments, 2)] == ["c", "a"]
    assert pairs(comments, Pairing(ratio=1.0, comments_per_post=2)) == [("c", "a")]
    assert [one.id for one in top([said("y", 5, 2), said("x", 5, 2), said("z", 5, 1)], 3)] == ["z", "x", "y"]


def test_the_same_words_are_no_pair() -> None:
    counts = Counts()
    assert preferences([said("a", 2, 1, "yes"), said("b", 20, 2, "yes")], EVERY, counts) == []
    assert counts.same_words == 1


def test_the_accepted_answer_loses_none() -> None:
    comments = [said("a", 2, 1), said("b", 20, 2), said("c", 200, 3)]
    counts = Counts()
    kept = preferences(comments, EVERY, counts, accepted="b")
    assert [(pair.chosen.id, pair.rejected.id) for pair in kept] == [("c", "a"), ("b", "a")]
    assert counts.against_accepted == 1


def test_timing_is_counted_before_and_after_the_rule() -> None:
    counts = Counts()
    preferences([said("a", 9, 1), said("b", 5, 2), said("c", 7, 3), said("d", 6, 3)], EVERY, counts)
    # ahead: a over b, c, d (earlier); c over b, d over b (later); c over d (the same second)
    assert counts.before == Timing(earlier=3, later=2, together=1)
    assert counts.after == Timing(earlier=0, later=2, together=1)
    assert counts.lines()[0] == (
        "of siblings with different scores, the earlier comment is ahead in 3, the later one in 2 (60.0% earlier), "
        "1 written in the same second"
    )
    assert counts.lines()[2] == "3 pairs given"
    assert "%" not in str(Timing())


comments = st.lists(st.tuples(st.integers(-5, 50), st.integers(0, 9)), max_size=12).map(
    lambda rows: [said(f"c{i}", score, created) for i, (score, created) in enumerate(rows)]
)


@CALM
@given(comments, st.floats(1, 10), st.integers(2, 6), st.integers(1, 6))
def test_what_holds_for_every_pair(rows: list[Comment], ratio: float, most: int, cap: int) -> None:
    kept = preferences(rows, Pairing(ratio, most, cap), Counts())
    assert len(kept) <= cap
    assert len({one.id for pair in kept for one in (pair.chosen, pair.rejected)}) <= most
    for pair in kept:
        assert (pair.chosen.score or 0) > (pair.rejected.score or 0)
        assert pair.seconds >= 0
        assert pair.ratio >= ratio
    assert all(first.ratio >= second.ratio for first, second in pairwise(kept))


@CALM
@given(comments)
def test_every_pair_that_differs_is_counted_once(rows: list[Comment]) -> None:
    counts = Counts()
    kept = preferences(rows, EVERY, counts)
    timing = counts.before
    assert timing.earlier + timing.later + timing.together == len(list(ahead(top(rows, 1000))))
    assert counts.after.later + counts.after.together == len(kept) == counts.given


# SHP --------------------------------------------------------------------------------------------------------------------


def shp(score_a: int, score_b: int, second_a: int, second_b: int) -> dict[str, object]:
    """An invented row in the schema of the data set."""
    preferred = score_a > score_b
    return {
        "post_id": "zz9abc",
        "domain": "askgardening_train",
        "upvote_ratio": 0.97,
        "history": "How do I repot a cactus? It is round and full of thorns.",
        "c_root_id_A": "i1aaaaa",
        "c_root_id_B": "i1bbbbb",
        "created_at_utc_A": 1_650_000_000 + second_a,
        "created_at_utc_B": 1_650_000_000 + second_b,
        "score_A": score_a,
        "score_B": score_b,
        "human_ref_A": "Wrap it in newspaper.",
        "human_ref_B": "Use kitchen tongs.",
        "labels": int(preferred),
        "seconds_difference": float((second_a - second_b) * (1 if preferred else -1)),
        "score_ratio": max(score_a, score_b) / min(score_a, score_b),
    }


SHP = [shp(340, 166, 2, 0), shp(2, 8, 0, 1), shp(9, 3, 7, 7), shp(5, 4, 90, 10), shp(21, 100, 5, 5000)]


@pytest.mark.parametrize("row", SHP)
@pytest.mark.parametrize("ratio", [1.0, 2.0])
def test_rows_of_shp_get_their_own_label_back_above_the_ratio(row: dict[str, object], ratio: float) -> None:
    expected = row["labels"] if float(str(row["score_ratio"])) >= ratio else None
    assert label_of(row, Pairing(ratio=ratio)) == expected


def test_a_row_of_shp_that_follows_the_slip_of_its_card_gives_nothing() -> None:
    assert label_of(shp(340, 166, 0, 2)) is None


def test_times_of_shp_may_be_text_and_what_is_missing_is_named() -> None:
    assert label_of(SHP[0] | {"created_at_utc_A": "1650000002"}) == 1
    with pytest.raises(RowError, match="'c_root_id_B' is missing"):
        label_of({name: value for name, value in SHP[0].items() if name != "c_root_id_B"})
