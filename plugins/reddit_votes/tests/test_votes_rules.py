"""Every rule, one row against it at a time, through the whole source: the name under which it is counted, and its switch."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from alignzoo_reddit_votes.rules import COMMENTS, POSTS, Extra, Rules, Switch

DAY = 86_400
POST_FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("self_post", {"is_self": False}),
    ("before", {"created_utc": 1_672_531_200, "retrieved_on": 1_672_531_200 + 9 * DAY}),  # the first second of 2023
    ("post_edited", {"edited": 1_550_000_500}),
    ("post_edited", {"edited": 1_550_000_500.0}),
    ("post_edited", {"edited": True}),
    ("post_edited", {"edited": "02-12-2019 20:57:39"}),
    ("over_18", {"over_18": True}),
    ("post_author", {"author": "[deleted]"}),
    ("post_moderator", {"distinguished": "moderator"}),
    ("post_moderator", {"distinguished": "admin"}),
    ("post_score", {"score": 9}),
]
COMMENT_FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("score_hidden", {"score_hidden": True}),
    ("author", {"author": "[deleted]"}),
    ("moderator", {"distinguished": "moderator"}),
    ("automoderator", {"author": "AutoModerator"}),
    ("stickied", {"stickied": True}),
    ("submitter", {"is_submitter": True}),
    ("submitter", {"author": "asker_of_things", "is_submitter": None}),
    ("score", {"score": 1}),
    ("score_age", {"retrieved_on": 1_550_000_060 + DAY - 1}),
    ("read_again", {"_meta": {"note": "no_2nd_retrieval"}}),
]
ALWAYS: list[tuple[str, dict[str, Any]]] = [
    ("deleted", {"body": "[deleted]"}),
    ("deleted", {"body": "[removed]"}),
    ("deleted", {"body": " [ Removed by Reddit ]\n"}),
    ("deleted", {"body": "[ Removed by reddit in response to a copyright notice. ]"}),
    ("deleted", {"body": "[ Removed by Reddit on account of violating the [content policy](/help/contentpolicy). ]"}),
    ("deleted", {"removal_reason": "legal"}),
    ("deleted", {"_meta": {"was_deleted_later": True}}),
    ("deleted", {"_meta": {"was_initially_deleted": True}}),
    ("deleted", {"_meta": {"removal_type": "moderator"}}),
    ("no score", {"score": None}),
    ("no words", {"body": " \n"}),
    ("no words", {"body": "&amp;#x200B;\n\n&amp;nbsp;"}),
]
UNSWITCHED = {"deleted", "no score", "no words"}


def test_each_rule_has_one_name_and_each_name_a_rule() -> None:
    assert {*POSTS, *COMMENTS} - UNSWITCHED == {*get_args(Switch), *get_args(Extra)}
    assert set(POSTS) & set(COMMENTS) <= UNSWITCHED
    faults = {name for name, _ in [*POST_FAULTS, *COMMENT_FAULTS]} | {"nested"}
    assert faults == set(get_args(Switch)), "a rule without a test"


def test_rows_that_break_no_rule_give_a_pair(forum: Any, make: Any) -> None:
    records, tally = forum.collect([make.post()], make.pair)
    assert make.ids(records) == [("two", "one")]
    assert (tally.read, tally.kept, make.filtered(tally), tally.noticed) == (3, 3, {}, {})


@pytest.mark.parametrize(("name", "change"), POST_FAULTS)
def test_a_post_that_breaks_a_rule_gives_no_pair_and_one_without_the_rule_does(
    name: str, change: dict[str, Any], forum: Any, make: Any
) -> None:
    posts = [make.post() | change]
    records, tally = forum.collect(posts, make.pair)
    assert records == []
    assert make.filtered(tally) == {name: 1, "its post is missing or left aside": 2}
    records, _ = forum.collect(posts, make.pair, rules=Rules(off=(name,)))
    assert make.ids(records) == [("two", "one")]


@pytest.mark.parametrize(("name", "change"), COMMENT_FAULTS)
def test_a_comment_that_breaks_a_rule_is_in_no_pair_and_without_the_rule_it_is(
    name: str, change: dict[str, Any], forum: Any, make: Any
) -> None:
    comments = [make.comment("one", 4, 1) | change, make.pair[1]]
    records, tally = forum.collect([make.post()], comments)
    assert records == []
    assert make.filtered(tally) == {name: 1, "in no pair": 2}
    records, _ = forum.collect([make.post()], comments, rules=Rules(off=(name,)))
    assert make.ids(records) == [("two", "one")]


@pytest.mark.parametrize(("name", "change"), ALWAYS)
def test_what_was_deleted_or_says_nothing_has_no_switch(name: str, change: dict[str, Any], forum: Any, make: Any) -> None:
    comments = [make.comment("one", 4, 1) | change, make.pair[1]]
    records, tally = forum.collect([make.post()], comments, rules=Rules(off=get_args(Switch)))
    assert records == []
    assert make.filtered(tally)[name] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"selftext": "[removed]"},
        {"selftext": "[deleted]"},
        {"title": "[deleted by user]"},
        {"title": "[ Removed by Reddit ]"},
        {"selftext": "[ Removed by reddit in response to a copyright notice. ]"},
        {"selftext": "[ Removed by Reddit on account of violating the [content policy](/help/contentpolicy). ]"},
        {"removed_by_category": "copyright_takedown"},
        {"removal_reason": "legal"},
        {"_meta": {"was_deleted_later": True}},
    ],
)
def test_a_post_that_was_taken_down_is_honoured(change: dict[str, Any], forum: Any, make: Any) -> None:
    records, tally = forum.collect([make.post() | change], make.pair, rules=Rules(off=get_args(Switch)))
    assert (records, tally.set_aside["deleted"].count) == ([], 1)


def test_the_least_that_passes(forum: Any, make: Any) -> None:
    """Scores of exactly 10 and 2, a day of age, the last second of 2022."""
    eve = 1_672_531_199
    posts = [make.post(score=10, created_utc=eve)]
    early = make.comment("one", 2, 1, created_utc=eve, retrieved_on=eve + DAY)
    late = make.comment("two", 4, 1, created_utc=eve + 1, retrieved_on=eve + 1 + DAY)
    assert make.ids(forum.collect(posts, [early, late])[0]) == [("two", "one")]


@pytest.mark.parametrize(
    ("name", "row", "limit"),
    [
        ("bots", {"author": "remind_me_bot"}, {}),
        ("edited", {"edited": 1_550_000_500}, {}),
        ("length", {"body": "Yes, one"}, {"length": 9}),
    ],
)
def test_rules_that_shp_does_not_have_are_switched_on(
    name: str, row: dict[str, Any], limit: dict[str, Any], forum: Any, make: Any
) -> None:
    comments = [make.comment("one", 4, 1) | row, make.pair[1]]
    assert len(forum.collect([make.post()], comments)[0]) == 1
    records, tally = forum.collect([make.post()], comments, rules=Rules(on=(name,), **limit))
    assert (records, tally.set_aside[name].count) == ([], 1)


def test_a_controversial_post_is_left_aside_on_demand(forum: Any, make: Any) -> None:
    posts = [make.post(upvote_ratio=0.6)]
    assert len(forum.collect(posts, make.pair, rules=Rules(on=("upvote_ratio",)))[0]) == 1
    records, _ = forum.collect(posts, make.pair, rules=Rules(on=("upvote_ratio",), upvote_ratio=0.61))
    assert records == []


# Replies ----------------------------------------------------------------------------------------------------------------


def test_a_reply_to_a_comment_is_in_no_pair(forum: Any, make: Any) -> None:
    reply = make.comment("re", 400, 20, parent_id="t1_one")
    records, tally = forum.collect([make.post()], [*make.pair, reply])
    assert make.ids(records) == [("two", "one")]
    assert make.filtered(tally) == {"nested": 1}


def test_replies_are_compared_with_their_siblings_only_and_with_what_they_reply_to(forum: Any, make: Any) -> None:
    replies = [make.comment("ra", 3, 20, parent_id="t1_one"), make.comment("rb", 30, 21, parent_id="t1_one")]
    records, tally = forum.collect([make.post()], [*make.pair, *replies], rules=Rules(off=("nested",)))
    assert sorted(make.ids(records)) == [("rb", "ra"), ("two", "one")]
    [asked] = [record.prompt.text for record in records if "rb" in record.chosen.text]
    assert asked.endswith("full of thorns.\n\nWrap it in paper, says one.")
    assert tally.kept == 5


def test_a_reply_whose_parent_was_deleted_has_no_question(forum: Any, make: Any) -> None:
    replies = [make.comment("ra", 3, 20, parent_id="t1_one"), make.comment("rb", 30, 21, parent_id="t1_one")]
    gone = make.comment("one", 4, 1, body="[deleted]")
    records, tally = forum.collect([make.post()], [gone, *replies], rules=Rules(off=("nested",)))
    assert records == []
    assert make.filtered(tally)["a comment that it replies to is missing"] == 2


def test_a_poor_comment_is_context_still(forum: Any, make: Any) -> None:
    replies = [make.comment("ra", 3, 20, parent_id="t1_one"), make.comment("rb", 30, 21, parent_id="t1_one")]
    poor = make.comment("one", -4, 1)
    [record], _ = forum.collect([make.post()], [poor, *replies], rules=Rules(off=("nested",)))
    assert record.prompt.text.endswith("says one.")


# What a row does not say --------------------------------------------------------------------------------------------------


def without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def test_what_a_row_does_not_say_is_told_and_can_be_refused(forum: Any, make: Any) -> None:
    comments = [without(row, "retrieved_on") for row in make.pair]
    records, tally = forum.collect([make.post()], comments)
    assert make.ids(records) == [("two", "one")]
    assert tally.noticed["score_age (the row does not say)"].count == 2
    records, tally = forum.collect([make.post()], comments, rules=Rules(unknown="leave out"))
    assert (records, make.filtered(tally)["score_age (the row does not say)"]) == ([], 2)


def test_who_asks_is_known_by_the_name_where_the_row_does_not_say(forum: Any, make: Any) -> None:
    old = [without(row, "is_submitter") for row in make.pair]
    assert make.filtered(forum.collect([make.post(author="writer_one")], old)[1]) == {"submitter": 1, "in no pair": 2}
    records, tally = forum.collect([without(make.post(), "author")], old)
    assert make.ids(records) == [("two", "one")]
    assert tally.noticed["submitter (the row does not say)"].count == 2
    records, tally = forum.collect([without(make.post(), "author")], old, rules=Rules(unknown="leave out"))
    assert records == []


def test_two_who_deleted_their_accounts_are_not_the_same_person(forum: Any, make: Any) -> None:
    old = [without(row, "is_submitter") | {"author": "[deleted]"} for row in make.pair]
    rules = Rules(off=("author", "post_author"))
    records, _ = forum.collect([make.post(author="[deleted]")], old, rules=rules)
    assert make.ids(records) == [("two", "one")]


def test_a_day_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="before must be a day such as 2023-01-01; got '2023-13-01'"):
        Rules(before="2023-13-01")
