"""Bad input, put to every parser of a file that is no feedback source: groups and gold of annotators, recorded verdicts,
pairs to check a judge on, constitutions, model-written questions, references, prompts. What is wrong is told with the file, and
the line where there are lines, and never by an error of Python's."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from corpora import json_lines
from hypothesis import given, settings
from hypothesis import strategies as st
from test_feedback_hostile import DEEP, PIECES, broken

from alignzoo.lab.answering import read_prompts
from alignzoo.lab.store import StoreError
from alignzoo.records import Comparison, Completion, Prompt, Provenance, to_json
from alignzoo.rows import ReadError
from alignzoo.tally import Tally
from alignzoo.who import Who, WhoError
from alignzoo_annotators.command import gold_in
from alignzoo_evaluations.questions import QuestionError, questions_in
from alignzoo_lexical.lexical import LexicalError, read_references
from alignzoo_rlaif.check import pairs_in
from alignzoo_rlaif.constitution import ConstitutionError, read_constitution
from alignzoo_rlaif.judging import JudgeError
from alignzoo_rlaif.recorded import RecordedOracle

Told = (ConstitutionError, JudgeError, LexicalError, QuestionError, ReadError, StoreError, WhoError)
Row = Mapping[str, Any]


def questions(path: Path) -> Any:
    tally = Tally()
    found = list(questions_in(path, tally))
    assert tally.unexplained == 0
    if tally.dropped:
        raise ReadError(
            "; ".join(f"{path.with_name(place)}: {why}" for why, cases in tally.dropped.items() for place in cases.places)
        )
    return found


@dataclass(frozen=True)
class Parser:
    """A parser, and rows or bytes that it takes."""

    read: Callable[[Path], Any]
    name: str
    rows: tuple[Row, ...] = ()
    whole: bytes = b""
    packed: bool = True
    """Whether it unpacks what is packed."""

    @property
    def sound(self) -> bytes:
        return self.whole or json_lines(self.rows)


PAIR = Comparison(Prompt.ask("Which?"), Completion("this"), Completion("that"), provenance=Provenance("gold", "ann"))
JUDGED = {
    "input": "Which?",
    "output_1": "this",
    "output_2": "that",
    "judges": {"one": {"ab": {"winner": "1"}, "ba": {"winner": "2"}}},
}
KNOWN = {"input": "Which?", "output_1": "this", "output_2": "that", "label": 1}
OURS = {"turns": [{"speaker": "user", "text": "Which?"}], "shown": ["this", "that"], "question": "", "chances": [0.9, 0.1]}
ASKED = {"question": "Do you?", "answer_matching_behavior": " Yes", "answer_not_matching_behavior": " No"}
PRINCIPLE = {"key": "kind", "prompt": ["\n\nCritiqueRequest: What?\n\nCritique:"], "edit_request": "Rewrite."}
PARSERS = {
    "groups-csv": Parser(
        lambda path: Who(str(path)).named(), "g.csv", whole=b"annotator,group\nann,old\nbob,young\n", packed=False
    ),
    "groups-json": Parser(
        lambda path: Who(str(path)).named(), "g.json", whole=b'{"ann": "old",\n "bob": "young"}', packed=False
    ),
    "gold": Parser(lambda path: list(gold_in(path)), "gold.jsonl", (json.loads(to_json(PAIR)),) * 2),
    "recorded-ours": Parser(lambda path: RecordedOracle.of(path).answers, "said.jsonl", (OURS, {**OURS, "question": "Why?"})),
    "recorded-pairs": Parser(lambda path: RecordedOracle.of(path, "one").answers, "said.jsonl", (JUDGED,) * 2),
    "constitution-jsonl": Parser(
        read_constitution, "c.jsonl", (PRINCIPLE, {"key": "brief", "instruction": "Be brief."}), packed=False
    ),
    "constitution-json": Parser(read_constitution, "c.json", whole=b'[{"key": "a", "instruction": "Be kind."}]', packed=False),
    "constitution-toml": Parser(
        read_constitution,
        "c.toml",
        whole=b'name = "n"\n[[principle]]\nid = "kind"\ntext = "Be kind."\nweight = 2\n',
        packed=False,
    ),
    "known-pairs": Parser(pairs_in, "known.jsonl", (KNOWN, {**KNOWN, "input": "Why?", "label": 2})),
    "known-records": Parser(pairs_in, "known.jsonl", (json.loads(to_json(PAIR)),) * 2),
    "references": Parser(
        read_references, "r.jsonl", ({"prompt": "Which?", "reference": "this"}, {"turns": OURS["turns"], "reference": "this"})
    ),
    "questions": Parser(questions, "q.jsonl", (ASKED, {**ASKED, "question": "Would you?"})),
    "prompts": Parser(read_prompts, "p.jsonl", ({"prompt": "Which?"}, {"turns": [{"speaker": "user", "text": "Why?"}]})),
}
each = pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
OF_ROWS = {name: parser for name, parser in PARSERS.items() if parser.rows}
of_rows = pytest.mark.parametrize("parser", OF_ROWS.values(), ids=OF_ROWS)


def read_or_told(parser: Parser, path: Path) -> str:
    """What is told of a file; empty if it is read. What is read can be written."""
    try:
        repr(parser.read(path)).encode()
    except Told as error:
        said = str(error)
    else:
        return ""
    assert path.name in said
    return said


@each
def test_what_is_sound_is_read_also_with_a_mark_of_the_byte_order(parser: Parser, tmp_path: Path) -> None:
    path = tmp_path / parser.name
    path.write_bytes(parser.sound)
    whole = parser.read(path)
    assert whole
    path.write_bytes(b"\xef\xbb\xbf" + parser.sound.replace(b"\n", b"\r\n"))
    assert parser.read(path) == whole


@each
@pytest.mark.parametrize("packed", [".gz", ".zst"])
def test_what_is_packed_is_read_or_told_and_what_is_cut_is_told(parser: Parser, packed: str, tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    data = gzip.compress(parser.sound, mtime=0) if packed == ".gz" else zstandard.compress(parser.sound)
    (tmp_path / parser.name).write_bytes(parser.sound)
    path = tmp_path / f"{parser.name}{packed}"
    path.write_bytes(data)
    told = read_or_told(parser, path)
    assert (told == "") == parser.packed
    if parser.packed:
        assert parser.read(path) == parser.read(tmp_path / parser.name) or parser.name == "q.jsonl"
    path.write_bytes(data[: len(data) // 2])
    assert read_or_told(parser, path)


@of_rows
@pytest.mark.parametrize(
    "line",
    [b'{"cut": "sho', b'{"bytes": "\xff\xfe"}', DEEP, b"[1]", b"null", b'{"n": ' + b"9" * 5000 + b"}", b'{"a": "\\ud800"}'],
    ids=["cut", "bytes", "deep", "list", "null", "digits", "half a letter"],
)
def test_a_line_that_is_no_row_is_told_with_its_number(parser: Parser, line: bytes, tmp_path: Path) -> None:
    path = tmp_path / parser.name
    path.write_bytes(json_lines(parser.rows[:1]) + line + b"\n" + json_lines(parser.rows[1:]))
    told = read_or_told(parser, path)
    if b"\xff" not in line or not parser.name.startswith("c."):
        assert f"{parser.name}:2" in told


@of_rows
def test_every_field_may_be_anything(parser: Parser, tmp_path: Path) -> None:
    path = tmp_path / parser.name
    refused = 0
    for row in parser.rows:
        for (field, *_), case in broken(dict(row)):
            path.write_bytes(json_lines([case]))
            told = read_or_told(parser, path)
            refused += bool(told)
            assert not told or f"{parser.name}:1" in told or "no principle" in told or "no verdicts" in told, (field, told)
    assert refused > 10


@each
@settings(max_examples=40)
@given(data=st.data())
def test_any_damage_is_read_or_told(parser: Parser, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "parsers"
    folder.mkdir(exist_ok=True)
    whole = parser.sound
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole)))
        piece = data.draw(st.sampled_from(PIECES) | st.binary(max_size=4))
        whole = whole[:at] + piece + whole[at + data.draw(st.sampled_from([0, 1, 2, 9, 99])) :]
    path = folder / parser.name
    path.write_bytes(whole)
    read_or_told(parser, path)
