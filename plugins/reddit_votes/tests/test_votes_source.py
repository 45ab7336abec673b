"""The source as a run uses it: whole threads, splits, what was read twice, names, accounts, and real samples."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alignzoo.interfaces import Asking, FeedbackSource
from alignzoo.records import from_json, to_json
from alignzoo.seam.settings import SettingsError, build, table_of
from alignzoo_reddit_votes.harvest import Splits
from alignzoo_reddit_votes.reddit import RedditVotes, _base36
from alignzoo_reddit_votes.rules import Rules
from alignzoo_reddit_votes.votes import Pairing

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "plugins" / "reddit_votes" / "example"
SAMPLES = ROOT.parent / "shared" / "data"
NOON = 1_550_000_000
NAMES = "0123456789abcdefghijklmnopqrstuvwxyz"


def many(make: Any, count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Posts with a pair each."""
    ids = [f"{NAMES[10 + i // 36]}{NAMES[i % 36]}x" for i in range(count)]
    comments = [row | {"link_id": f"t3_{id}", "parent_id": f"t3_{id}", "id": row["id"] + id} for id in ids for row in make.pair]
    return [make.post(id) for id in ids], comments


# Records ----------------------------------------------------------------------------------------------------------------


def test_a_pair_becomes_a_record(forum: Any, make: Any) -> None:
    late = make.comment("two", 40, 9, body="Use [tongs](http://x.y) &amp; patience, two.")
    [record], _ = forum.collect([make.post(selftext="Round &gt; flat.")], [make.pair[0], late])
    assert record.prompt.text == "How do I repot a cactus (aaa)? Round > flat."
    assert (record.chosen.text, record.rejected.text) == ("Use tongs & patience, two.", "Wrap it in paper, says one.")
    assert record.strength == 1.0
    said = record.provenance
    assert (said.source, said.annotator, said.time) == ("reddit", "", "2019-02-12T19:42:20+00:00")
    assert said.note == "succulents t3_aaa: t1_two (40) over t1_one (4), written 480 s later"
    assert "no licence" in said.licence
    assert from_json(to_json(record)) == record


def test_comments_on_different_posts_are_never_compared(forum: Any, make: Any) -> None:
    comments = [make.comment("one", 4, 1), make.comment("two", 40, 9, to="bbb")]
    records, tally = forum.collect([make.post("aaa"), make.post("bbb")], comments)
    assert (records, make.filtered(tally)) == ([], {"in no pair": 4})


def test_the_order_of_rows_and_files_changes_nothing_but_the_places(forum: Any, make: Any) -> None:
    posts, comments = many(make, 30)
    first, _ = forum.collect(posts, comments)
    again, _ = forum.collect(posts, comments)
    turned, _ = forum.collect(posts[::-1], comments[::-1])
    assert first == again == turned
    assert len(first) == 30


def test_ids_are_written_as_reddit_writes_them() -> None:
    assert [_base36(number) for number in (0, 35, 36, int("zz9abc", 36))] == ["0", "z", "10", "zz9abc"]


# Read twice -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("later_first", [False, True])
def test_of_what_was_read_twice_the_later_reading_counts(later_first: bool, forum: Any, make: Any) -> None:
    one, two = make.pair
    again = make.comment("two", 3, 9, retrieved_on=NOON + 10**6)
    rows = [one, again, two] if later_first else [one, two, again]
    records, tally = forum.collect([make.post()], rows, pairing=Pairing(ratio=1.0))
    assert records == []  # 3 against 4, where the earlier reading had 40
    assert make.filtered(tally) == {"the same id, read earlier": 1, "in no pair": 3}
    assert tally.set_aside["the same id, read earlier"].places == [f"RC.jsonl:{3 if later_first else 2}"]


def test_of_two_readings_at_one_time_the_last_row_counts(forum: Any, make: Any) -> None:
    one, two = make.pair
    [record], _ = forum.collect([make.post()], [one, two, two | {"body": "Second thoughts, two."}])
    assert record.chosen.text == "Second thoughts, two."


@pytest.mark.parametrize("later_first", [False, True])
def test_what_was_deleted_when_it_was_read_again_is_gone(later_first: bool, forum: Any, make: Any) -> None:
    gone = make.comment("two", 40, 9, body="[deleted]", author="[deleted]", retrieved_on=NOON + 10**6)
    rows = [*make.pair, gone]
    records, _ = forum.collect([make.post()], rows[::-1] if later_first else rows)
    assert records == []
    post_gone = make.post(selftext="[removed]", retrieved_on=NOON + 10**6)
    posts = [post_gone, make.post()] if later_first else [make.post(), post_gone]
    assert forum.collect(posts, make.pair)[0] == []


# Splits -----------------------------------------------------------------------------------------------------------------


def test_a_thread_is_in_one_split_and_stays_there(forum: Any, make: Any) -> None:
    posts, comments = many(make, 200)
    whole, _ = forum.collect(posts, comments)
    parts: dict[str, set[str]] = {}
    for split in ("train", "validation", "test"):
        records, tally = forum.collect(posts, comments, split=split, validation=0.2, test=0.3)
        assert all(record.provenance.split == split for record in records)
        parts[split] = {record.prompt.text for record in records}
        assert tally.set_aside["in another split"].count + tally.set_aside["its post is missing or left aside"].count == (
            600 - 3 * len(records)
        )
    assert sum(map(len, parts.values())) == len(set().union(*parts.values())) == len(whole) == 200
    assert [len(parts[split]) // 10 for split in ("train", "validation", "test")] == [9, 4, 6]
    fewer, _ = forum.collect(posts[50:100], comments[100:200], split="test", validation=0.2, test=0.3)
    assert {record.prompt.text for record in fewer} <= parts["test"]


def test_all_pairs_of_a_post_are_in_its_split(forum: Any, make: Any) -> None:
    crowd = [make.comment(f"c{i}", 2 + i, i) for i in range(40)]
    every = Pairing(ratio=1.0, pairs_per_post=1000)
    counts = [len(forum.collect([make.post()], crowd, split=s, pairing=every)[0]) for s in ("train", "validation", "test")]
    assert sorted(counts) == [0, 0, 40 * 39 // 2]


def test_splits_leave_something_to_learn_on() -> None:
    with pytest.raises(ValueError, match="must be below 1"):
        Splits("train", 0.5, 0.5)


# Names ------------------------------------------------------------------------------------------------------------------


def test_no_name_leaves_the_source_nor_lies_in_its_folder(forum: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = forum.folder / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    posts, comments = many(make, 30)
    comments = [row | {"author": f"SecretName{i}"} for i, row in enumerate(comments)]
    posts = [row | {"author": "SecretAsker", "selftext": "as u/SecretFriend said"} for row in posts]
    source = RedditVotes(posts=forum.file("RS.jsonl", posts), comments=forum.file("RC.jsonl", comments), split="all")
    asking = Asking()
    records: Iterator[Any] = source.collect(asking)
    first = next(records)
    [folder] = scratch.iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    kept = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"Wrap it in paper" in kept
    told = "".join(map(to_json, [first, *records])) + json.dumps(asking.tally.row()) + repr(source)
    assert b"Secret" not in kept
    assert "Secret" not in told
    assert list(scratch.iterdir()) == []


def test_the_folder_goes_when_nobody_wants_more(forum: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = forum.folder / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    posts, comments = many(make, 5)
    source = RedditVotes(posts=forum.file("RS.jsonl", posts), comments=forum.file("RC.jsonl", comments), split="all")
    records: Any = source.collect(Asking())
    next(records)
    records.close()
    assert list(scratch.iterdir()) == []


# What is said of the whole ------------------------------------------------------------------------------------------------


def test_the_bias_that_was_removed_is_told(forum: Any, make: Any) -> None:
    crowd = [make.comment("a", 90, 1), make.comment("b", 50, 2), make.comment("c", 70, 3), make.comment("d", 20, 4)]
    _, tally = forum.collect([make.post()], crowd, pairing=Pairing(ratio=1.0))
    assert tally.said == [
        "of siblings with different scores, the earlier comment is ahead in 5, the later one in 1 (83.3% earlier)",
        "of those not earlier and ahead, the earlier comment is ahead in 0, the later one in 1 (0.0% earlier)",
        "1 pairs given",
    ]


def test_a_month_that_was_read_too_early_is_named(forum: Any, make: Any) -> None:
    fresh = {"created_utc": 1_692_000_000, "retrieved_on": 1_692_000_020}
    rows = [make.comment(f"c{i}", 2 if i % 50 == 0 else 1, 0, **fresh) for i in range(200)]
    _, tally = forum.collect([make.post()], rows)
    [line] = [line for line in tally.said if "mean" in line]
    assert line.startswith("2023-08: the mean score of 200 comments is 1.02, and 98% have exactly 1")
    _, tally = forum.collect([make.post(f"p{NAMES[i % 36]}{i // 36}", score=1) for i in range(150)], [])
    assert any("2019-02: the mean score of 150 posts is 1.00" in line for line in tally.said)


def test_an_ordinary_month_is_not_named_though_its_mean_is_low(forum: Any, make: Any) -> None:
    mixed = [make.comment(f"c{i}", (-3, 0, 1, 2, 5)[i % 5], 0) for i in range(200)]
    few = [make.comment(f"c{i}", 1, 0) for i in range(99)]
    liked = [make.comment(f"c{i}", 1 if i % 5 else 30, 0) for i in range(200)]
    for rows in (mixed, few, liked):
        _, tally = forum.collect([make.post()], rows)
        assert not any("mean" in line for line in tally.said)


# Settings ---------------------------------------------------------------------------------------------------------------


def test_a_missing_post_is_left_aside_or_stood_in_for(forum: Any, make: Any) -> None:
    _, tally = forum.collect([make.post("bbb")], make.pair)
    assert make.filtered(tally) == {"in no pair": 1, "its post is missing or left aside": 2}
    path = forum.file("RC.jsonl", make.pair)
    [record], tally = make.gathered(RedditVotes(comments=path, split="all", missing_post="A post in r/{subreddit}."))
    assert record.prompt.text == "A post in r/succulents."
    assert record.provenance.note.startswith("succulents t3_aaa: ")
    assert tally.kept == 2


def test_a_post_that_is_left_aside_is_not_missing(forum: Any, make: Any) -> None:
    for change in ({"is_self": False}, {"score": 3}, {"selftext": "[removed]"}):
        records, _ = forum.collect([make.post() | change], make.pair, missing_post="A post in r/{subreddit}.")
        assert records == []


def test_when_threads_were_fetched_can_be_told(forum: Any, make: Any) -> None:
    rows = [make.post(), *({n: v for n, v in row.items() if n != "retrieved_on"} for row in make.pair)]
    path = forum.file("mixed.jsonl", rows)
    assert len(make.gathered(RedditVotes(threads=path, split="all", fetched="2019-02-14"))[0]) == 1
    assert len(make.gathered(RedditVotes(threads=path, split="all", fetched="2019-02-13T12:00:00"))[0]) == 0


def test_links_may_stay(forum: Any, make: Any) -> None:
    rows = [make.pair[0], make.comment("two", 40, 9, body="[tongs](http://x.y)")]
    [record], _ = forum.collect([make.post()], rows, links="as written")
    assert record.chosen.text == "[tongs](http://x.y)"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "nothing to read; name files: comments and posts, or threads"),
        ({"comments": "RC.jsonl"}, "comments alone do not say what was asked; name the posts"),
        ({"threads": "nowhere.jsonl"}, "there is no file nowhere.jsonl"),
        ({"threads": "empty"}, "there is no dump in the folder empty"),
        ({"threads": "RC.jsonl", "fetched": "soon"}, "fetched must be a day such as 2024-05-31"),
        ({"threads": "RC.jsonl", "test": 0.6, "validation": 0.4}, "must be below 1"),
        ({"threads": "RC.jsonl", "rules": {"off": ["nsfw"]}}, "feedback.rules.off[0]"),
        ({"threads": "RC.jsonl", "rules": {"off": ["deleted"]}}, "feedback.rules.off[0]"),
        ({"threads": "RC.jsonl", "pairing": {"ratio": 0.5}}, "feedback.pairing.ratio"),
        ({"threads": "RC.jsonl", "pairing": {"comments_per_post": 100_000}}, "feedback.pairing.comments_per_post"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_read(
    table: dict[str, Any], message: str, forum: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(forum.folder)
    forum.file("RC.jsonl", make.pair)
    (forum.folder / "empty").mkdir()
    with pytest.raises(SettingsError) as error:
        build(RedditVotes, table, "feedback")
    assert message in str(error.value)


def test_settings_come_back_from_a_file(forum: Any, make: Any) -> None:
    path = forum.file("RC.jsonl", make.pair)
    source = RedditVotes(comments=(path, path), posts=path, rules=Rules(off=("over_18",)), pairing=Pairing(ratio=3.0))
    assert build(RedditVotes, table_of(source)) == source
    assert isinstance(source, FeedbackSource)
    assert (source.gives, source.asks) == (("comparison",), ())


# In a run ---------------------------------------------------------------------------------------------------------------

RUN = """
name = "votes"
[model]
use = "model:playground"
[task]
use = "task:playground"
[feedback]
use = "reddit-votes"
comments = "{example}/comments.jsonl"
posts = "{example}/posts.jsonl"
split = "all"
[optimizer]
use = "dpo"
"""


def test_a_run_previews_and_collects_the_example(tmp_path: Path) -> None:
    from alignzoo.lab.run import Run  # late: it brings torch

    file = tmp_path / "run.toml"
    file.write_text(RUN.format(example=EXAMPLE.as_posix()))
    run = Run.open(file, tmp_path / "out")
    records, tally = run.preview(2)
    assert len(records) == 2
    assert tally.unexplained == 0
    lines = run.collect().read_text().splitlines()
    assert [from_json(line) for line in lines[:2]] == records
    told = json.loads((tmp_path / "out" / "feedback.tally.json").read_text())
    assert told["read"] == sum(len((EXAMPLE / f"{name}.jsonl").read_text().splitlines()) for name in ("comments", "posts"))
    assert told["said"][0].startswith("of siblings with different scores")


# Real samples -----------------------------------------------------------------------------------------------------------


def sample(name: str) -> Path:
    path = SAMPLES / name
    if not path.exists():
        pytest.skip("the samples are not here")
    return path


def test_the_sample_of_the_first_months_loads_with_every_row_accounted_for(make: Any) -> None:
    path = sample("reddit_pushshift_comments.jsonl")
    every = Pairing(ratio=1.0, comments_per_post=1000, pairs_per_post=10**6)
    source = RedditVotes(comments=path, split="all", missing_post="A link on r/{subreddit}.", pairing=every)
    records, tally = make.gathered(source)
    assert tally.read == len(path.read_text().splitlines())
    assert (tally.left_out, tally.unexplained) == (0, 0)
    assert records
    authors = {json.loads(line)["author"] for line in path.read_text().splitlines()} - {"[deleted]"}
    written = "\n".join(map(to_json, records))
    assert not [author for author in authors if author in written]


def test_the_sample_of_modern_threads_loads_with_every_row_accounted_for(make: Any) -> None:
    path = sample("reddit_modern_threads.jsonl")
    records, tally = make.gathered(RedditVotes(threads=path, split="all"))
    assert tally.read == len(path.read_text().splitlines())
    assert (tally.left_out, tally.unexplained) == (0, 0)
    assert records
    assert all(" written " in record.provenance.note for record in records)
