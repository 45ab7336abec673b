"""Where rows come from, and which are wanted: splits, limits, the hub's way in."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignzoo.interfaces import Asking
from alignzoo.records import Comparison, Feedback, Ranking
from alignzoo.rows import Fault, ReadError
from alignzoo_preference_sets.choices import PandaLM
from alignzoo_preference_sets.data import TORN, Data, Seen, collected
from alignzoo_preference_sets.fields import Row, Taken, Unfit
from alignzoo_preference_sets.file import File
from alignzoo_preference_sets.hh import HH
from alignzoo_preference_sets.oasst import Oasst, trees
from alignzoo_preference_sets.shp import SHP
from alignzoo_preference_sets.summaries import SummarizeFromFeedback
from alignzoo_preference_sets.webgpt import WebGPT


def dialogue(thread: int, answer: str) -> str:
    return f"\n\nHuman: Question {thread}?\n\nAssistant: Well {answer}"


def pairs(count: int) -> list[dict[str, Any]]:
    """Three rows to a thread."""
    return [{"chosen": dialogue(i // 3, f"yes {i}"), "rejected": dialogue(i // 3, f"no {i}")} for i in range(count)]


def written(folder: Path, rows: list[Any], name: str = "pairs.jsonl") -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(lines) if name.endswith(".gz") else lines)
    return str(path)


def gathered(source: Any) -> tuple[list[Feedback], Asking]:
    asking = Asking()
    return list(source.collect(asking)), asking


def talks(rows: list[tuple[int, str]]) -> list[dict[str, Any]]:
    """(conversation, prompt)"""
    return [
        {"conversation_id": f"c{talk}", "prompt": asked, "chosen": f"yes {i}", "rejected": "no"}
        for i, (talk, asked) in enumerate(rows)
    ]


@pytest.mark.parametrize("remembered", [200_000, 40, 0])
def test_neither_a_conversation_nor_a_prompt_is_on_both_sides(
    remembered: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three rows to a conversation, every tenth a greeting that all begin with, every seventh a question that comes again."""
    monkeypatch.setattr("alignzoo_preference_sets.data.REMEMBERED", remembered)
    asked = ["hello" if i % 10 == 0 else f"again {i % 14}?" if i % 7 == 0 else f"question {i}?" for i in range(600)]
    path = written(tmp_path, talks([(i // 3, prompt) for i, prompt in enumerate(asked)]))
    sides, told = {}, {}
    for split in ("train", "test"):
        sides[split], asking = gathered(File(Data(path, split=split, test=0.3)))
        told[split] = asking.tally
    prompts = {split: {record.prompt.id for record in records} for split, records in sides.items()}
    assert prompts["train"].isdisjoint(prompts["test"])
    talk = {f"yes {i}": f"c{i // 3}" for i in range(600)}
    heard = {split: {talk[record.chosen.text] for record in records} for split, records in sides.items()}
    assert heard["train"].isdisjoint(heard["test"])
    assert all(sides.values())
    torn = {split: tally.set_aside[TORN].count for split, tally in told.items()}
    assert torn["train"] == torn["test"] > 0  # the same rows are on neither side
    assert len(sides["train"]) + len(sides["test"]) + torn["train"] == 600
    assert all(tally.unexplained == 0 for tally in told.values())
    assert remembered < 200_000 or torn["train"] < 60


def test_a_prompt_stays_where_it_first_came_by(tmp_path: Path) -> None:
    data = Data(split="train", test=0.5)
    train, test = (next(i for i in range(99) if data.side(f"c{i}") == side) for side in ("train", "test"))
    rows = talks([(train, "hello"), (test, "hello"), (train, "hello"), (test, "why?"), (train, "why?")])
    path = written(tmp_path, rows)
    kept = {split: gathered(File(replace(data, path=path, split=split)))[0] for split in ("train", "test")}
    assert [record.chosen.text for record in kept["train"]] == ["yes 0", "yes 2"]
    assert [record.chosen.text for record in kept["test"]] == ["yes 3"]
    assert len(gathered(File(Data(path)))[0]) == 5


@pytest.mark.parametrize("source", [SHP, WebGPT, Oasst, SummarizeFromFeedback])
def test_sets_whose_groups_go_by_names_say_so(source: Any) -> None:
    shaped: dict[Any, dict[str, Any]] = {
        SHP: {"labels": 1, "score_A": 2, "score_B": 1, "score_ratio": 2, "seconds_difference": 1, "human_ref_A": "a",
              "human_ref_B": "b", "domain": "ask_train", "post_id": "p", "history": "Why?"},
        WebGPT: {"question": {"id": "q", "full_text": "Why?"}, "score_0": 1, "score_1": -1, "answer_0": "a", "answer_1": "b"},
        Oasst: {"message_tree_id": "t", "tree_state": "ready_for_export", "prompt": {"role": "prompter", "text": "Why?",
                "replies": [{"role": "assistant", "text": text, "rank": i} for i, text in enumerate("ab")]}},
        SummarizeFromFeedback: {"info": {"id": "i", "post": "Long."}, "summaries": [{"text": "a"}, {"text": "b"}], "choice": 0,
                                "worker": "w", "batch": "1", "split": "train"},
    }  # fmt: skip
    one = source()
    convert = one.compared if source is SummarizeFromFeedback else one.taken
    assert convert(Row(shaped[source])).named


def test_marked_summaries_are_grouped_by_the_posts_name() -> None:
    marked = {"info": {"id": "i", "post": "Long."}, "summary": {"text": "a", "axes": {"overall": 3}}}
    taken = SummarizeFromFeedback(kind="axis").marked(Row(marked))
    assert (taken.group, taken.named) == ("i", True)


def test_records_below_the_same_instructions_are_split_by_what_is_asked(tmp_path: Path) -> None:
    turns = [[{"speaker": "system", "text": "Be brief."}, {"speaker": "user", "text": f"question {i}?"}] for i in range(40)]
    rows = [
        {"kind": "comparison", "prompt": {"turns": said}, "chosen": {"text": "yes"}, "rejected": {"text": "no"}}
        for said in turns
    ]
    path = written(tmp_path, rows)
    sides = [len(gathered(File(Data(path, split=split, test=0.5)))[0]) for split in ("train", "test")]
    assert sum(sides) == 40
    assert min(sides) > 8


def test_a_split_keeps_threads_together_and_loses_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, pairs(600))
    sides = {split: gathered(HH(Data(path, split=split, test=0.3)))[0] for split in ("train", "test", "all")}
    threads = {split: {record.prompt.id for record in records} for split, records in sides.items()}
    assert threads["train"] & threads["test"] == set()
    assert threads["train"] | threads["test"] == threads["all"]
    assert len(sides["train"]) + len(sides["test"]) == len(sides["all"]) == 600
    assert len(threads["test"]) / 200 == pytest.approx(0.3, abs=0.08)
    assert {record.provenance.split for record in sides["test"]} == {"test"}
    assert {record.provenance.split for record in sides["all"]} == {""}


def test_a_split_is_the_same_tomorrow_and_another_with_another_seed(tmp_path: Path) -> None:
    path = written(tmp_path, pairs(90))
    one, again, other = (gathered(HH(Data(path, split="test", test=0.5, seed=seed)))[0] for seed in (0, 0, 1))
    assert one == again
    assert one != other
    more = written(tmp_path, pairs(30) + pairs(90), "more.jsonl")
    assert {r.prompt.id for r in gathered(HH(Data(more, split="test", test=0.5)))[0]} == {r.prompt.id for r in one}


def test_the_other_side_is_set_aside_and_not_dropped(tmp_path: Path) -> None:
    _, asking = gathered(HH(Data(written(tmp_path, pairs(90)), split="test", test=0.1)))
    tally = asking.tally
    assert (tally.read, tally.left_out, tally.unexplained) == (90, 0, 0)
    assert tally.aside == 90 - tally.kept > 60
    tally.check(0.0)


def test_what_a_threshold_leaves_out_is_set_aside(tmp_path: Path) -> None:
    row = json.loads((Path(__file__).resolve().parents[3] / "benchmarks" / "feedback" / "shp.jsonl").read_text())
    _, asking = gathered(SHP(Data(written(tmp_path, [row, {**row, "score_ratio": 1.5}])), ratio=2.0))
    assert (asking.tally.kept, asking.tally.aside, asking.tally.left_out) == (1, 1, 0)
    assert asking.tally.set_aside["'score_ratio' below `ratio`"].places == ["pairs.jsonl:2"]


def test_a_limit_counts_kept_rows(tmp_path: Path) -> None:
    rows = [{"chosen": "nothing", "rejected": "at all"}, *pairs(30)]
    records, asking = gathered(HH(Data(written(tmp_path, rows), limit=10)))
    assert (len(records), asking.tally.read, asking.tally.kept) == (10, 11, 10)


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"no file or folder ./none"):
        Data("./none")
    with pytest.raises(ValueError, match=r"no file or folder sets/none.jsonl.gz"):
        Data("sets/none.jsonl.gz")
    with pytest.raises(ValueError, match="groups on both sides"):
        Data(split="train", test=0)
    assert not Data("Anthropic/hh-rlhf").local
    with pytest.raises(ReadError, match=r"say where the rows are: data.path"):
        list(PandaLM().collect(Asking()))


def test_a_file_of_which_nothing_can_be_used_is_the_wrong_one(tmp_path: Path) -> None:
    path = written(tmp_path, [{"prompt": "Hi"}] * 3)
    with pytest.raises(ReadError, match=r"is it the right file(.|\n)*dropped 'chosen' is missing: 3 \(pairs.jsonl:1"):
        gathered(HH(Data(path)))


def test_every_row_is_kept_dropped_or_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(
        b'{"chosen": 1}\n' + Path(written(tmp_path, pairs(9), "x.jsonl")).read_bytes() + b'caf\xe9\n{"chosen": "cut'
    )
    _, asking = gathered(HH(Data(str(path), split="train", test=0.5)))
    assert asking.tally.read == 12
    assert asking.tally.unexplained == 0
    assert {reason: cases.places for reason, cases in asking.tally.dropped.items()} == {
        "'chosen' must be text, not a number": ["pairs.jsonl:1"],
        "invalid UTF-8": ["pairs.jsonl:11"],
        "the last line is cut, or no JSON": ["pairs.jsonl:12"],
    }


def test_names_that_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alignzoo_preference_sets.data.REMEMBERED", 2)
    seen = Seen()
    assert [seen.before(name) for name in ("a", "", "b", "", "a", "c", "c")] == [False, False, False, False, True, False, False]


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 0.99), st.integers(0, 5), st.lists(st.text(max_size=9), min_size=1, max_size=9))
def test_a_group_is_on_one_side(test: float, seed: int, groups: list[str]) -> None:
    data = Data(test=test, seed=seed)
    assert [data.side(group) for group in groups] == [data.side(group) for group in groups]
    assert {data.side(group) for group in groups} <= {"train", "test"}


def test_a_converter_that_gives_several_records_keeps_one_row(tmp_path: Path) -> None:
    def twice(row: Row) -> Taken:
        if row.whole("n") == 2:
            raise Unfit("two")
        taken = HH().taken(Row(pairs(1)[0]))
        return Taken("g", taken.records * 2)

    asking = Asking()
    assert len(list(collected(Data(written(tmp_path, [{"n": 1}, {"n": 2}, {"n": 3}])), twice, asking.tally))) == 4
    assert (asking.tally.read, asking.tally.kept, asking.tally.left_out) == (3, 2, 1)


# By way of `datasets` ---------------------------------------------------------------------------------------------------------


def test_a_folder_laid_out_like_the_hubs_set_gives_what_the_file_gives(tmp_path: Path) -> None:
    rows = pairs(12)
    file = written(tmp_path, rows, "set/harmless-base/train.jsonl.gz")
    written(tmp_path, rows[:3], "set/harmless-base/test.jsonl.gz")
    written(tmp_path, rows[:6], "set/helpful-base/train.jsonl.gz")
    folder = str(tmp_path / "set")
    by_file, by_set = gathered(HH(Data(file)))[0], gathered(HH(Data(folder, subset="harmless-base")))[0]
    assert [(r.prompt, r.chosen) for r in by_file if isinstance(r, Comparison)] == [
        (r.prompt, r.chosen) for r in by_set if isinstance(r, Comparison)
    ]
    assert (by_set[0].provenance.source, by_set[0].provenance.split) == ("hh-rlhf/harmless-base", "train")
    tested, asking = gathered(HH(Data(folder, subset="harmless-base", published="test")))
    assert (len(tested), asking.tally.read, tested[0].provenance.split) == (3, 3, "test")


def parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def examples_of(name: str) -> list[dict[str, Any]]:
    folder = Path(__file__).resolve().parents[3] / "benchmarks" / "feedback"
    return [json.loads(line) for line in (folder / f"{name}.jsonl").open()]


def test_folders_laid_out_like_the_hubs_own_parquet(tmp_path: Path) -> None:
    """Its branch refs/convert/parquet has a folder for each subset and in it one for each split."""
    examples = Path(__file__).resolve().parents[3] / "benchmarks" / "feedback"
    rows = {
        name: [json.loads(line) for line in (examples / f"{name}.jsonl").open()] for name in ("summaries", "axis", "webgpt")
    }
    for folder in ("comparisons/train", "comparisons/validation"):
        parquet(tmp_path / "summaries" / folder / "0000.parquet", rows["summaries"])
    for folder in ("axis/validation", "axis/test"):
        parquet(tmp_path / "summaries" / folder / "0000.parquet", rows["axis"] * (1 + (folder == "axis/test")))
    parquet(tmp_path / "webgpt" / "default" / "train" / "0000.parquet", rows["webgpt"])
    summaries = Data(str(tmp_path / "summaries"))
    assert len(gathered(SummarizeFromFeedback(summaries))[0]) == 1
    assert len(gathered(SummarizeFromFeedback(summaries, kind="axis"))[0]) == 1
    assert len(gathered(SummarizeFromFeedback(replace(summaries, published="test"), kind="axis"))[0]) == 2
    [answered] = gathered(WebGPT(Data(str(tmp_path / "webgpt"))))[0]
    assert [answered] == [
        replace(one, provenance=answered.provenance) for one in gathered(WebGPT(Data(str(examples / "webgpt.jsonl"))))[0]
    ]
    assert answered.provenance.split == "train"


def test_a_set_that_is_a_script_is_read_from_the_hubs_own_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` since 4 runs no script; a path that is written without its revision is the set all the same."""
    import datasets

    load, names = datasets.load_dataset, datasets.get_dataset_config_names
    parquet(tmp_path / "comparisons" / "train" / "0000.parquet", examples_of("summaries"))
    asked: list[tuple[str, str]] = []

    def hub(path: str, revision: str = "") -> str:
        asked.append((path, revision))
        if revision != "refs/convert/parquet":
            raise RuntimeError("Dataset scripts are no longer supported, but found summarize_from_feedback.py")
        return str(tmp_path)

    monkeypatch.setattr(datasets, "load_dataset", lambda path, *, revision="", **rest: load(hub(path, revision), **rest))
    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda path, *, revision="": names(hub(path, revision)))
    name = "openai/summarize_from_feedback"
    for data in (Data(name), Data(name, revision="refs/convert/parquet"), SummarizeFromFeedback().data):
        assert len(gathered(SummarizeFromFeedback(data))[0]) == 1
    assert asked[0] == (name, "")
    assert [revision for _, revision in asked[1:]] == ["refs/convert/parquet"] * 6
    with pytest.raises(ReadError, match=rf"{name}: cannot be read: RuntimeError: Dataset scripts are no longer supported"):
        gathered(SummarizeFromFeedback(Data(name, revision="main")))


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "set" / "pairs.parquet"
    parquet(path, [*pairs(3), {"chosen": None, "rejected": "x"}])
    records, asking = gathered(HH(Data(str(path))))
    assert len(records) == 3
    assert asking.tally.dropped["'chosen' is null"].places == ["pairs.parquet:4"]
    assert File(Data(str(path))).gives == ("comparison",)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ReadError, match=r"pairs.parquet: cannot be read after row 0: .*; fetch it again"):
        gathered(HH(Data(str(path))))


def test_a_set_that_the_hub_does_not_give_is_named() -> None:
    """In a process of its own: whether the hub may be asked is settled when its client is imported."""
    code = (
        "from alignzoo.interfaces import Asking\nfrom alignzoo_preference_sets.hh import HH\n"
        "from alignzoo.rows import ReadError\n"
        "try:\n    list(HH().collect(Asking()))\nexcept ReadError as error:\n    print(error)\n"
    )
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("Anthropic/hh-rlhf: cannot be read: "), done.stderr
    assert "HF_HUB_OFFLINE is set: unset it, or download it, and give the path" in done.stdout


# Messages → trees ----------------------------------------------------------------------------------------------------------


def message(name: str, parent: str | None, role: str, rank: int | None = None, tree: str = "t1") -> dict[str, Any]:
    row = {"message_id": name, "parent_id": parent, "message_tree_id": tree, "tree_state": "ready_for_export"}
    return {**row, "text": f"text {name}", "role": role, "rank": rank, "deleted": False, "lang": "en"}


def test_messages_become_trees(tmp_path: Path) -> None:
    rows = [
        message("r", None, "prompter"),
        message("a", "r", "assistant", 1),
        message("b", "r", "assistant", 0),
        message("b", "r", "assistant", 5),  # once more: the first counts
        message("x", "nobody", "assistant", 0),
        message("r2", None, "prompter", tree="t2"),
        message("c", "r2", "assistant", 0, tree="t2"),
        message("d", "r2", "assistant", 1, tree="t2"),
        message("e", "lost", "prompter", tree="t3"),
    ]
    records, asking = gathered(Oasst(Data(written(tmp_path, rows))))
    assert [[a.text for a in r.completions] for r in records if isinstance(r, Ranking)] == [
        ["text b", "text a"],
        ["text c", "text d"],
    ]
    assert (asking.tally.read, asking.tally.kept) == (3, 2)
    assert [cases.places for cases in asking.tally.dropped.values()] == [["pairs.jsonl:9"]]


def test_faults_between_messages_stay_faults() -> None:
    rows: list[Any] = [("f:1", message("r", None, "prompter")), ("f:2", Fault("not JSON")), ("f:3", {"message_id": 3})]
    found = list(trees(rows))
    assert [place for place, _ in found] == ["f:1", "f:2", "f:3"]
    assert found[1][1] == Fault("not JSON")
