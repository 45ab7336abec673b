"""What issue and page promise of every source, source by source: where a record comes from, the same records for the same file
and settings, memory that does not grow with the file, and no group on both sides of a split."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import subprocess
import sys
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from corpora import CORPORA, Corpus, digests

from alignzoo.interfaces import Asking, Manner
from alignzoo.model.role import bare_on
from alignzoo.records import Feedback, from_json, to_json
from alignzoo.seam.discovery import discover
from alignzoo.testing import toy_base
from alignzoo.testing.checks import Subject
from alignzoo.testing.conformance import subjects
from alignzoo.testing.lessons import LONGEST, PROMPTS
from alignzoo.testing.offered import instance
from alignzoo_reddit_votes import dumps, threads

each = pytest.mark.parametrize("corpus", CORPORA, ids=[corpus.id for corpus in CORPORA])
OF_DATA = [corpus for corpus in CORPORA if corpus.name == "rows.jsonl" and corpus.source != "reddit-votes"]
"""Those that read whatever form a set comes in."""
ASKED = {
    "ai-preferences": ("ai-preferences", "judge local"),
    "critique-revision": ("critique-revision", "base"),
    "playground": ("playground", r"\w+-\d+"),
    "random-walks": ("random-walks", ""),
    "refusals": ("refusals", ""),
    "self-rated": ("self-rated", "alignzoo.testing.lessons:worth"),
}
"""The sources that ask a policy or make their records up: what they say of source and annotator. The kit checks that they are
deterministic and keep to the prompts that they are given (`feedback.same-again`, `feedback.groups-apart`)."""
DEAR = "critique-revision"
"""It takes half a minute on the toy base. What its records say is in the plugin's own tests."""


def groups(records: Iterable[Feedback]) -> Counter[str]:
    """How many records each thread has."""
    return Counter(re.findall(r"thread-(\d+)", to_json(record))[0] for record in records)


def bundled() -> dict[str, bool]:
    """Every source of feedback that comes with alignzoo, and whether it reads: then it asks the run for nothing."""
    ours = [found for found in discover().components if found.distribution == "alignzoo" and found.component.kind == "feedback"]
    return {found.component.id: not found.component.needs for found in ours}


def test_no_source_is_forgotten() -> None:
    assert {name for name, reads in bundled().items() if reads} == {corpus.source for corpus in CORPORA}
    assert {name for name, reads in bundled().items() if not reads} == set(ASKED)


# Sources that read ------------------------------------------------------------------------------------------------------


@each
def test_a_record_says_where_it_comes_from(corpus: Corpus, tmp_path: Path) -> None:
    records, asking = corpus.collected(corpus.file(tmp_path, [7]))
    assert replace(records[0].provenance, split="") == corpus.provenance
    assert all(record.provenance.source == corpus.provenance.source for record in records)
    assert (asking.tally.left_out, asking.tally.unexplained) == (0, 0)
    assert asking.tally.read == asking.tally.kept + asking.tally.aside > 0
    assert all(from_json(to_json(record)) == record for record in records)


@each
def test_no_group_is_on_both_sides_and_none_is_lost(corpus: Corpus, tmp_path: Path) -> None:
    path = corpus.file(tmp_path, range(120))
    every = groups(corpus.collected(path)[0])
    assert len(every) == 120
    parts: Counter[str] = Counter()
    for side in corpus.sides:
        records, asking = corpus.collected(path, side)
        assert asking.tally.unexplained == 0
        assert {record.provenance.split for record in records} == {corpus.says_split or side}
        assert 0 < len(groups(records)) < 120
        assert not parts.keys() & groups(records).keys()
        parts += groups(records)
    assert parts == every


@each
def test_a_thread_is_on_the_same_side_in_whatever_file_it_is(corpus: Corpus, tmp_path: Path) -> None:
    """Two shards of the set, each with rows of every thread where rows stand for themselves, in another order."""
    whole = corpus.file(tmp_path, range(60), f"whole-{corpus.name}")
    alone = corpus.rows(0) if corpus.together or corpus.written is not CORPORA[0].written else ()
    rows = [row for thread in range(60) for row in corpus.rows(thread)]
    if alone or corpus.source == "reddit-votes":  # rows are compared with each other: threads stay whole
        order = random.Random(1).sample(range(60), 60)
        shards = [[row for thread in half for row in corpus.rows(thread)] for half in (order[:30], order[20:])]
    else:
        random.Random(1).shuffle(rows)
        shards = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    sides: dict[str, set[str]] = defaultdict(set)
    for number, shard in enumerate([None, *shards]):
        path = whole
        if shard is not None:
            path = tmp_path / f"{number}-{corpus.name}"
            path.write_bytes(corpus.written(shard))
        for side in corpus.sides:
            for group in groups(corpus.collected(path, side)[0]):
                sides[group].add(side)
    assert len(sides) == 60
    assert all(len(where) == 1 for where in sides.values())


@each
def test_the_order_of_the_threads_decides_no_record(corpus: Corpus, tmp_path: Path) -> None:
    one = corpus.collected(corpus.file(tmp_path, range(20), f"one-{corpus.name}"))[0]
    other = corpus.collected(corpus.file(tmp_path, reversed(range(20)), f"other-{corpus.name}"))[0]
    named = corpus.source == "file" and not corpus.settings.get("source")
    assert not named or {record.provenance.source for record in one} == {"tailors"}
    assert sorted(map(to_json, one)) == sorted(map(to_json, other))


def _array(rows: list[Any], path: Path) -> None:
    path.write_text(json.dumps(rows, indent=1))


def _parquet(rows: list[Any], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = dict.fromkeys(name for row in rows for name in row)
    pq.write_table(pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows]), path)


def _table(rows: list[Any], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)


def _packed(rows: list[Any], path: Path) -> None:
    import pyarrow as pa

    plain = path.with_suffix("")
    (_table if plain.suffix == ".csv" else _array)(rows, plain)
    with pa.CompressedOutputStream(str(path), {".gz": "gzip", ".zst": "zstd"}[path.suffix]) as file:
        file.write(plain.read_bytes())


@pytest.mark.parametrize(
    "name", ["rows.json", "rows.parquet", "rows.json.zst", "rows.csv", "rows.tsv", "rows.csv.gz", "rows.csv.zst"]
)
@pytest.mark.parametrize("corpus", OF_DATA, ids=[corpus.id for corpus in OF_DATA])
def test_the_same_rows_are_the_same_records_however_they_are_kept(corpus: Corpus, name: str, tmp_path: Path) -> None:
    path = corpus.file(tmp_path, range(4))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    if {".csv", ".tsv"} & set(Path(name).suffixes) and not _flat(rows):
        pytest.skip("a table has no cells within cells")
    form: Any = {".gz": _packed, ".zst": _packed, ".json": _array, ".parquet": _parquet}.get(Path(name).suffix, _table)
    form(rows, tmp_path / name)
    assert corpus.collected(tmp_path / name)[0] == corpus.collected(path)[0]


def _flat(rows: list[Any]) -> bool:
    return not any(isinstance(cell, dict | list) for row in rows for cell in row.values()) and len({*map(tuple, rows)}) == 1


def test_another_process_finds_the_same(tmp_path: Path) -> None:
    """One whose hashes of texts have another salt."""
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    script = Path(__file__).with_name("corpora.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "there")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert json.loads(done.stdout) == digests(tmp_path / "here")


@each
def test_memory_does_not_grow_with_the_file(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty threads of long texts, and three times as many: whoever keeps them takes more than what came to the file."""
    monkeypatch.setattr(threads, "TOGETHER", 64)
    monkeypatch.setattr(threads, "LARGE", 1 << 16)
    monkeypatch.setattr(dumps, "PIECE", 1 << 16)
    monkeypatch.setattr(dumps, "BLOCK", 1 << 16)
    long = replace(corpus, rows=lambda thread: [_padded(row) for row in corpus.rows(thread)])
    peaks, sizes = [], []
    for count in (30, 90):
        path = long.file(tmp_path, range(count))
        sizes.append(path.stat().st_size)
        source, asking = long.made(path), Asking()
        tracemalloc.start()
        assert sum(1 for _ in source.collect(asking)) >= count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert sizes[1] - sizes[0] > 1_000_000
    assert peaks[1] - peaks[0] < 0.2 * (sizes[1] - sizes[0])


def _padded(value: Any) -> Any:
    """The same with long texts, wherever they speak of a thread."""
    if isinstance(value, dict):
        return {name: _padded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_padded(inner) for inner in value]
    return re.sub(r"(thread-\d+)", r"\1" + " and so on" * 1200, value, count=1) if isinstance(value, str) else value


# Sources that ask -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asked() -> dict[str, Subject]:
    ours = [(one, one.component.component) for one in subjects(distribution="alignzoo") if one.component]
    return {component.id: one for one, component in ours if component.kind == "feedback"}


@pytest.mark.parametrize("name", sorted(set(ASKED) - {DEAR}))
def test_what_is_asked_for_says_who_judged(name: str, asked: dict[str, Subject], monkeypatch: pytest.MonkeyPatch) -> None:
    (source, who), subject = ASKED[name], asked[name]
    monkeypatch.chdir(subject.folder)
    made = instance(subject)
    asking = Asking(
        prompts=(subject.trial.prompts or PROMPTS) if "prompts" in made.asks else (),
        policy=bare_on(toy_base(), "start") if "policy" in made.asks else None,
        manner=Manner(max_tokens=LONGEST),
        seed=1,
    )
    records = list(islice(made.collect(asking), 40))
    assert records
    for record in records:
        assert record.provenance.source == source
        assert re.fullmatch(who, record.provenance.annotator)
        assert from_json(to_json(record)).provenance == record.provenance
