"""What drifted over the years, and what is wrong with a row: the field is named, and what stood there is not."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alignzoo_reddit_votes.rows import Reader, RowError, rows_in
from alignzoo_reddit_votes.votes import Comment, Post
from alignzoo_reddit_votes.words import nameless, of_html, plain, sound, unescaped, unlinked

CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
READ = Reader(key=b"k" * 16)


def comment(make: Any, **changes: Any) -> Comment:
    row = READ(make.comment("one", 4, 1) | changes, (0, 1))
    assert isinstance(row, Comment)
    return row


def post(make: Any, **changes: Any) -> Post:
    row = READ(make.post() | changes, (0, 1))
    assert isinstance(row, Post)
    return row


# Drift ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", [1_400_000_000, "1400000000", 1_400_000_000.0, "1400000000.0"])
def test_times_are_numbers_or_text(make: Any, moment: Any) -> None:
    assert comment(make, created_utc=moment).created == 1_400_000_000


def test_times_as_text_are_compared_as_numbers(forum: Any, make: Any) -> None:
    comments = [make.comment("one", 4, 0, created_utc="1199999999"), make.comment("two", 40, 0, created_utc=1_200_000_000)]
    assert make.ids(forum.collect([make.post()], comments)[0]) == [("two", "one")]


def test_a_score_may_be_null_or_a_whole_float(make: Any) -> None:
    assert comment(make, score=None).score is None
    assert comment(make, score=4.0).score == 4
    assert comment(make, score=-7).score == -7


def test_an_id_may_come_as_name_only(make: Any) -> None:
    row = make.comment("one", 4, 1)
    del row["id"]
    read = READ(row | {"name": "t1_one"}, (0, 1))
    assert (read.id, comment(make, id="t1_one").id) == ("one", "one")


def test_fields_that_years_of_dumps_lack_may_be_lacking(make: Any) -> None:
    fields = {"id", "body", "created_utc", "score", "link_id", "parent_id"}
    row = READ({name: value for name, value in make.comment("one", 4, 1).items() if name in fields}, (0, 1))
    assert isinstance(row, Comment)
    assert (row.stickied, row.hidden, row.submitter, row.author_deleted, row.age, row.edited) == (None,) * 6


@pytest.mark.parametrize(
    ("edited", "expected"), [(False, False), (None, None), (1.4e9, True), (0, False), ("02-22-2021", True)]
)
def test_edited_is_false_or_a_time(make: Any, edited: Any, expected: bool | None) -> None:
    assert comment(make, edited=edited).edited is expected


def test_the_age_of_a_score_is_that_of_the_last_reading(make: Any) -> None:
    assert comment(make, created_utc=1_700_000_000, retrieved_on=1_700_000_010).age == 10
    assert comment(make, created_utc=1_700_000_000, retrieved_on="1700000011").age == 11
    again = {"retrieved_2nd_on": 1_700_129_600}
    assert comment(make, created_utc=1_700_000_000, retrieved_on=1_700_000_010, _meta=again).age == 129_600
    row = make.comment("one", 4, 1, created_utc=1_700_000_000, retrieved_on=None)
    assert READ(row | {"retrieved_utc": 1_700_000_012}, (0, 1)).retrieved == 1_700_000_012
    later = Reader(fetched=1_700_000_100)(row, (0, 1))
    assert isinstance(later, Comment)
    assert later.age == 100


def test_rows_are_known_by_their_kind_or_their_fields(make: Any) -> None:
    assert isinstance(READ(make.comment("one", 4, 1, kind="comment"), (0, 1)), Comment)
    assert isinstance(READ(make.post(kind="submission"), (0, 1)), Post)
    bare = READ({"kind": "submission", "id": "aaa", "title": "Why?", "selftext": ""}, (0, 1))
    assert isinstance(bare, Post)
    assert (bare.created, bare.score, bare.self_post, bare.over_18) == (None, None, None, None)


def test_listings_of_the_site_are_taken_apart(make: Any) -> None:
    inner = {"kind": "Listing", "data": {"children": [{"kind": "t1", "data": {"id": "re"}}]}}
    shown = [{"kind": "t1", "data": {"id": "one", "replies": inner}}, {"kind": "t1", "data": {"id": "two", "replies": ""}}]
    thread = [
        {"kind": "Listing", "data": {"children": [{"kind": "t3", "data": {"id": "aaa"}}]}},
        {"kind": "Listing", "data": {"children": [*shown, {"kind": "more", "data": {"count": 9}}]}},
    ]
    told = [("t3", "aaa"), ("t1", "one"), ("t1", "re"), ("t1", "two")]
    assert [(row["kind"], row["id"]) for row in rows_in(thread)] == told
    assert [(row["kind"], row["id"]) for row in rows_in({"data": thread})] == told  # as an archive's service answers


def test_rows_of_an_answer_of_an_archive_are_rows_and_a_row_with_data_of_its_own_is_one(make: Any) -> None:
    assert list(rows_in({"data": list(make.pair), "error": None})) == list(make.pair)
    for row in (make.post(data=None), make.post(data={"children": []}), {"data": 7}, {}):
        assert list(rows_in(row)) == [row]


# What is wrong ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": math.nan}, "'score' must be a whole number or null"),
        ({"score": 4.5}, "'score' must be a whole number or null"),
        ({"score": "4"}, "'score' must be a whole number or null"),
        ({"score": True}, "'score' must be a whole number or null"),
        ({"score": 10**400}, "'score' must be a whole number or null"),
        ({"score": 1e300}, "'score' must be a whole number or null"),
        ({"created_utc": "yesterday"}, "'created_utc' must be a time in seconds since 1970"),
        ({"created_utc": None}, "'created_utc' must be a time in seconds since 1970"),
        ({"created_utc": math.inf}, "'created_utc' must be a time in seconds since 1970"),
        ({"created_utc": 1_550_000_000_000}, "'created_utc' is no time between 2005 and 2099"),
        ({"created_utc": 0}, "'created_utc' is no time between 2005 and 2099"),
        ({"retrieved_on": "soon"}, "'retrieved_on' must be a time"),
        ({"body": None}, "'body' must be text"),
        ({"author": 7}, "'author' must be text or null"),
        ({"stickied": "no"}, "'stickied' must be true, false or null"),
        ({"edited": math.nan}, "'edited' must be false or a time"),
        ({"edited": [1]}, "'edited' must be false or a time"),
        ({"link_id": "aaa"}, "'link_id' must be t3_ and an id"),
        ({"link_id": "t3_a b"}, "'link_id' must be t3_ and an id"),
        ({"link_id": "t3_" + "a" * 40}, "'link_id' must be t3_ and an id"),
        ({"id": ""}, "'id' must be an id"),
        ({"parent_id": 55}, "'parent_id' must be text"),
        ({"parent_id": "aaa"}, "'parent_id' must be t1_ or t3_ and an id"),
        ({"_meta": []}, "'_meta' must be a table or null"),
    ],
)
def test_a_wrong_field_is_named(make: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(RowError) as error:
        comment(make, **change)
    assert str(error.value).startswith(message)


def test_a_missing_field_is_named_and_so_is_what_is_no_row(make: Any) -> None:
    for name in ("id", "created_utc", "score", "link_id", "parent_id"):
        row = make.comment("one", 4, 1)
        del row[name]
        with pytest.raises(RowError, match=f"^'{name}' is missing$"):
            READ(row, (0, 1))
    with pytest.raises(RowError, match="neither a post"):
        READ({"id": "one"}, (0, 1))
    for value in (None, 3, "text", True):
        with pytest.raises(RowError, match="a row must be a table"):
            READ(value, (0, 1))
    with pytest.raises(RowError, match="'upvote_ratio' must be a number from 0 to 1"):
        post(make, upvote_ratio=97)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["t3_a", "t1_b", "[deleted]"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kind", "data", "note", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)
FIELDS = (
    "id name kind data author body title selftext created_utc retrieved_on score link_id parent_id edited _meta distinguished"
)
strange = st.dictionaries(st.sampled_from(FIELDS.split()), json_values, max_size=4)


@CALM
@given(strange, st.booleans())
def test_whatever_stands_in_a_row_it_is_read_or_refused(change: dict[str, Any], as_post: bool) -> None:
    sound_row = {"id": "a", "created_utc": 1_550_000_000, "score": 3}
    whole = {"title": "a"} if as_post else {"body": "a", "link_id": "t3_a", "parent_id": "t3_a"}
    for row in rows_in({**sound_row, **whole, **change}):
        with suppress(RowError):
            read = READ(row, (0, 1))
            assert isinstance(read, Post | Comment)
            json.dumps([read.id, read.score, read.text, read.community], ensure_ascii=False).encode()


# Names ------------------------------------------------------------------------------------------------------------------


def test_no_name_of_a_user_is_in_a_row_that_was_read(make: Any) -> None:
    for row in (comment(make, body="Thanks u/Jane_Doe-7 and /u/John", author="SecretName"), post(make, author="SecretName")):
        assert not any(name in repr(row) for name in ("SecretName", "Jane", "John"))


def test_the_hash_of_a_name_is_of_this_run_only(make: Any) -> None:
    row = make.comment("one", 4, 1, is_submitter=None)
    first, second = Reader(), Reader()
    assert first(row | {"is_submitter": False}, (0, 1)).author is None
    assert first(row, (0, 1)).author == first(row | {"id": "b"}, (0, 1)).author != second(row, (0, 1)).author
    assert first(row | {"author": "[deleted]"}, (0, 1)).author is None
    assert first.key.hex() not in repr(first)
    assert repr(first.key) not in repr(first)


# Words ------------------------------------------------------------------------------------------------------------------


def test_what_reddit_escapes_is_undone_once() -> None:
    assert unescaped("&gt; a &lt;b&gt; &amp; c") == "> a <b> & c"
    assert unescaped("typed &amp;gt;") == "typed &gt;"
    assert unescaped("&copy; &quot;") == "&copy; &quot;"


def test_a_link_is_its_words() -> None:
    assert unlinked("see [the manual](https://a.b/c_(d)) now") == "see the manual now"
    assert unlinked('[x](http://a "title") [y] (z) [w](no closing') == "x [y] (z) [w](no closing"
    assert plain("[a](http://b)", links=True) == "[a](http://b)"
    assert plain(" [a](http://b?x&amp;y) ", links=False) == "a"


def test_users_that_are_spoken_to_are_nobody() -> None:
    assert nameless("ask u/Jane_Doe-7, /u/John!") == "ask u/someone, u/someone!"
    assert nameless("www.reddit.com/user/JaneDoe/comments") == "www.reddit.com/u/someone/comments"
    assert nameless("you/they and a/b") == "you/they and a/b"
    assert nameless("xu/name 1u/name or/u") == "xu/name 1u/name or/u"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("ask u/jane\\_doe\\_7.", "ask u/someone."),  # as Reddit's editor writes what would be italics
        ("_u/jane_doe_ says", "_u/someone says"),
        ("**/u/jane**", "**u/someone**"),
        ("u\\/jane \\/u\\/jane", "u/someone u/someone"),
        ("on r/u_jane, r/u\\_jane\\_doe", "on r/u_someone, r/u_someone"),
        ('[jane](/u/jane) or [jane d](https://old.reddit.com/user/jane/?x=1 "jane")', "u/someone or u/someone"),
        ("[this](https://www.reddit.com/user/jane/comments/1/x)", "this"),
        ("[Jane\\_D's post](https://www.reddit.com/user/jane_d/comments/1/x)", "someone's post"),
        ("[[jane]](/u/jane), [jane]( /u/jane)", "u/someone, u/someone"),
        (
            "https://www.reddit.com/message/compose/?to=jane&amp;subject=hi",
            "https://www.reddit.com/message/compose/?to=someone&subject=hi",
        ),
        ("[me](/message/compose?subject=hi&amp;to=%2Fu%2Fjane)", "me"),
        ("https://www.reddit.com/r/x/search?q=author%3Ajane", "https://www.reddit.com/r/x/search?q=author%3Asomeone"),
        ("https://www.reddit.com/u%2Fjane", "https://www.reddit.com/u%2Fsomeone"),
    ],
)
def test_however_a_user_is_spoken_to(written: str, read: str) -> None:
    assert plain(written, links=False) == read
    assert "jane" not in plain(written, links=True)


def test_an_address_that_names_nobody_stays() -> None:
    for address in ("https://x.example/convert?from=usd&to=eur", "https://www.reddit.com/message/compose/?to=%2Fr%2Fferns"):
        assert plain(f"at {address} it is", links=True) == f"at {address} it is"


def test_what_reddit_writes_for_an_empty_line_is_no_word() -> None:
    assert plain("Soil.\n\n&amp;#x200B;\n\nMore&amp;nbsp;soil.\u200b", links=False) == "Soil.\n\n\n\nMore soil."


def test_a_community_that_is_called_after_a_user_is_not_told(make: Any) -> None:
    for name, told in (("u_jane", "u_someone"), ("U_Jane", "u_someone"), ("ukulele", "ukulele"), (None, "")):
        assert (post(make, subreddit=name).community, comment(make, subreddit=name).community) == (told, told)


def test_half_a_letter_can_be_written() -> None:
    assert sound("a\ud83d b 漢") == "a? b 漢"


def test_html_becomes_words() -> None:
    said = "<p>Use <b>tongs</b> &amp; a &lt;glove&gt;.</p>\n\n<ul><li>one</li><li>two</li></ul>"
    assert of_html(said + "<p>See <a href='/users/7/jane'>it</a>.</p>") == "Use tongs & a <glove>.\n\none\ntwo\n\nSee someone."
    assert of_html("<a href='/q/7'>it</a> by <A\nHREF='x/users/7/jane' rel=x>jane d</a>, at x.com/users/7/jane-d?y") == (
        "it by someone, at x.com/users/someone?y"
    )
    assert of_html("<a href='/users/7'><b>jane</b> d</a> of <a href='//x.example/u/7'>jane</a>") == "someone of someone"


def test_who_is_spoken_to_with_an_at_is_nobody_and_an_at_in_code_stays() -> None:
    said = "<p>As @jane-d said: <code>@property</code>, <pre><code class=x>@override\n@x</code></pre>, me@home.example, @7.</p>"
    assert of_html(said) == "As @someone said: @property, @override\n@x\n, me@home.example, @7."


@CALM
@given(st.text())
def test_any_text_becomes_words_that_can_be_written(text: str) -> None:
    for words in (plain(text, True), plain(text, False), of_html(text)):
        words.encode()
