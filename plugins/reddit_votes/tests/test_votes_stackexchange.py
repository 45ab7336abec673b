"""The same extraction where questions are posts and answers are comments."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alignzoo.interfaces import Asking, FeedbackSource
from alignzoo.seam.settings import SettingsError, build, table_of
from alignzoo_reddit_votes import stackexchange
from alignzoo_reddit_votes.stackexchange import StackExchangeVotes
from alignzoo_reddit_votes.unpacking import DumpError

CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
QUESTION = {
    "Id": "10",
    "PostTypeId": "1",
    "AcceptedAnswerId": "12",
    "CreationDate": "2010-07-19T19:12:12.510",
    "Score": "7",
    "Body": "<p>It is <em>round</em> &amp; full of thorns.</p>",
    "OwnerUserId": "8",
    "Title": "How do I repot a cactus?",
    "Tags": "<cactus>",
    "ContentLicense": "CC BY-SA 2.5",
}


def answer(id: int, score: int, hour: int, **changes: str) -> dict[str, str]:
    row = {
        "Id": f"{id}",
        "PostTypeId": "2",
        "ParentId": "10",
        "CreationDate": f"2010-07-20T{hour:02}:00:00.000",
        "Score": f"{score}",
        "Body": f"<p>Wrap it in paper, says {id}.</p>",
        "OwnerUserId": f"{100 + id}",
        "ContentLicense": "CC BY-SA 3.0",
    }
    return row | changes


def xml(*rows: dict[str, str]) -> str:
    inner = "\n".join(f"  <row {' '.join(f'{name}={quoteattr(value)}' for name, value in row.items())} />" for row in rows)
    return f'\ufeff<?xml version="1.0" encoding="utf-8"?>\n<posts>\n{inner}\n</posts>\n'


def collect(folder: Path, text: str | bytes, make: Any, **how: Any) -> Any:
    path = folder / "Posts.xml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return make.gathered(StackExchangeVotes(path, **{"split": "all", **how}))


def test_a_later_answer_that_is_ahead_is_preferred(tmp_path: Path, make: Any) -> None:
    rows = [QUESTION, answer(11, 2, 1), answer(13, 9, 5), answer(14, 1, 9)]
    [record], tally = collect(tmp_path, xml(*rows), make, site="gardening.example")
    assert record.prompt.text == "How do I repot a cactus? It is round & full of thorns."
    assert (record.chosen.text, record.rejected.text) == ("Wrap it in paper, says 13.", "Wrap it in paper, says 11.")
    said = record.provenance
    assert (said.source, said.licence, said.time) == ("stackexchange", "CC BY-SA 3.0", "2010-07-20T05:00:00+00:00")
    assert said.note == "gardening.example 10: 13 (9) over 11 (2), written 14400 s later"
    assert (tally.read, tally.kept) == (4, 3)
    assert tally.set_aside["in no pair"].places == ["Posts.xml:6"]
    assert tally.said[0].startswith("of siblings with different scores, the earlier comment is ahead in 2, the later one in 1")


def test_the_accepted_answer_loses_none_unless_it_is_ignored(tmp_path: Path, make: Any) -> None:
    rows = xml(QUESTION, answer(12, 2, 1), answer(13, 9, 5))
    records, tally = collect(tmp_path, rows, make)
    assert records == []
    assert tally.said[-1] == "0 pairs given; left out: 1 against the accepted answer"
    assert len(collect(tmp_path, rows, make, accepted="ignore")[0]) == 1


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"Score": "0"}, "score"),
        ({"OwnerUserId": "8"}, "submitter"),
        ({"DeletionDate": "2011-01-01T00:00:00.000"}, "deleted"),
        ({"Body": "<p> </p>"}, "no words"),
        ({"PostTypeId": "5"}, "neither question nor answer"),
    ],
)
def test_rules_hold_here_too(change: dict[str, str], rule: str, tmp_path: Path, make: Any) -> None:
    records, tally = collect(tmp_path, xml(QUESTION, answer(11, 2, 1, **change), answer(13, 9, 5)), make)
    assert (records, tally.set_aside[rule].count) == ([], 1)


def test_who_has_no_account_is_left_aside(tmp_path: Path, make: Any) -> None:
    nobody = {name: value for name, value in answer(11, 2, 1).items() if name != "OwnerUserId"}
    _, tally = collect(tmp_path, xml(QUESTION, nobody, answer(13, 9, 5)), make)
    assert tally.set_aside["author"].count == 1


def test_young_votes_are_left_aside_if_the_day_of_the_dump_is_known(tmp_path: Path, make: Any) -> None:
    rows = xml(QUESTION, answer(11, 2, 1), answer(13, 9, 5))
    assert len(collect(tmp_path, rows, make, fetched="2010-07-21T05:00:00")[0]) == 1
    records, tally = collect(tmp_path, rows, make, fetched="2010-07-21T04:59:59")
    assert (records, tally.set_aside["score_age"].count) == ([], 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Score": "many"}, "'Score' must be a whole number"),
        ({"Score": "NaN"}, "'Score' must be a whole number"),
        ({"Score": "9" * 400}, "'Score' must be a whole number"),
        ({"CreationDate": "1279566732"}, "'CreationDate' must be a time such as"),
        ({"CreationDate": "1970-01-01T00:00:00"}, "'CreationDate' must be a time such as"),
        ({"ParentId": "x"}, "'ParentId' must be the number of a post"),
        ({"Id": "-1"}, "'Id' must be the number of a post"),
    ],
)
def test_a_wrong_attribute_is_named_with_its_line(change: dict[str, str], reason: str, tmp_path: Path, make: Any) -> None:
    records, tally = collect(tmp_path, xml(QUESTION, answer(11, 2, 1), answer(12, 4, 4, **change), answer(13, 9, 5)), make)
    assert len(records) == 1
    [(told, cases)] = tally.dropped.items()
    assert told.startswith(reason)
    assert cases.places == ["Posts.xml:5"]


def test_a_missing_attribute_is_named(tmp_path: Path, make: Any) -> None:
    for name in ("Id", "PostTypeId", "CreationDate", "Score", "Body"):
        row = {key: value for key, value in answer(11, 2, 1).items() if key != name}
        _, tally = collect(tmp_path, xml(QUESTION, row), make)
        assert list(tally.dropped) == [f"'{name}' is missing"]


def test_a_document_type_is_refused(tmp_path: Path, make: Any) -> None:
    bomb = '<?xml version="1.0"?>\n<!DOCTYPE p [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>\n<posts><row Body="&b;"/></posts>'
    with pytest.raises(DumpError, match=r"Posts.xml:\d: a document type has no place in a dump"):
        collect(tmp_path, bomb, make)


@pytest.mark.parametrize("encoding", ["tf-8", "shift_jis", "idna"])
def test_an_encoding_that_cannot_be_is_told(encoding: str, tmp_path: Path, make: Any) -> None:
    with pytest.raises(DumpError, match=r"Posts.xml:1: not XML from here on .* it must be Posts.xml of a dump, in UTF-8"):
        collect(tmp_path, f'<?xml version="1.0" encoding="{encoding}"?>\n<posts/>', make)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_cut_file_is_an_error_and_on_demand_what_is_there(pack: Any, tmp_path: Path, make: Any) -> None:
    whole = xml(QUESTION, *(answer(11 + i, 2 + i, i % 24) for i in range(20))).encode()
    cut = pack(whole)[:-30] if pack is not bytes else whole[: whole.index(b'<row Id="29"') + 9]
    with pytest.raises(DumpError, match=r"ends before its end; fetch it again.*, or write cut_files"):
        collect(tmp_path, cut, make)
    records, tally = collect(tmp_path, cut, make, cut_files="accept")
    assert len(records) == 5
    assert "ends before its end" in tally.said[0]


def test_what_is_no_xml_is_an_error_with_its_line(tmp_path: Path, make: Any) -> None:
    with pytest.raises(DumpError, match=r"Posts.xml:5: not XML from here on"):
        collect(tmp_path, xml(QUESTION, answer(11, 2, 1), answer(12, 2, 1)).replace('<row Id="12"', "<row Id=12"), make)
    with pytest.raises(DumpError, match=r"Posts.xml:1: not XML"):
        collect(tmp_path, b'{"id": 1}', make)


def test_an_enormous_row_is_an_error(tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stackexchange, "LONGEST", 1 << 20)
    rows = xml(QUESTION, answer(11, 2, 1, Body="a" * (5 << 20)))
    with pytest.raises(DumpError, match=r"Posts.xml:\d: a row of more than 1 MB"):
        collect(tmp_path, rows, make)


def test_settings(tmp_path: Path) -> None:
    path = tmp_path / "Posts.xml"
    with pytest.raises(SettingsError, match="there is no file"):
        build(StackExchangeVotes, {"file": str(path)})
    path.write_text(xml())
    with pytest.raises(SettingsError, match="fetched must be a day"):
        build(StackExchangeVotes, {"file": str(path), "fetched": "soon"})
    source = build(StackExchangeVotes, {"file": str(path), "rules": {"post_score": 3}})
    assert (source.rules.post_score, source.rules.score, source.rules.off) == (3, 1, ("before", "post_edited"))
    assert build(StackExchangeVotes, table_of(source)) == source
    assert isinstance(source, FeedbackSource)
    assert (source.gives, source.asks) == (("comparison",), ())
    assert list(source.collect(Asking())) == []


TAG = ['<row Id="1" PostTypeId="1"', ' Score="3"', ' Body="&lt;p&gt;"', "/>"]
PARTS = [*TAG, "<posts>", "</posts>", "<?xml?>", "<!--", '"', "&#0;"]


@CALM
@given(st.lists(st.sampled_from(PARTS) | st.text(max_size=9), max_size=12).map("".join))
def test_any_text_is_accounted_for_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "Posts.xml"
    path.write_bytes(text.encode("utf-8", "replace"))
    asking = Asking()
    try:
        list(StackExchangeVotes(path, cut_files="accept").collect(asking))
    except DumpError:
        return
    asking.tally.check(1.0)
