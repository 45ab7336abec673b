"""The whole table: on judgements that can be counted by hand, on the playground's crowd, and from the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from alignzoo.cli import main
from alignzoo.interfaces import Asking
from alignzoo.lab.statistics import ceiling_of_agreement
from alignzoo.lab.store import write_feedback
from alignzoo.records import (
    Comparison,
    Completion,
    Demonstration,
    Feedback,
    Prompt,
    Provenance,
    Ranking,
    Rating,
    from_json,
    to_json,
)
from alignzoo.seam.discovery import discover
from alignzoo.who import Who, WhoError
from alignzoo_annotators.merged import Merged
from alignzoo_annotators.section import Section
from alignzoo_annotators.sheet import Sheet, item_name, judgements_in, plain_names, scale_of
from alignzoo_annotators.survey import survey
from alignzoo_annotators.told import lines_of


def ask(number: int) -> Prompt:
    return Prompt.ask(f"question {number}")


def choice(
    number: int, who: str, better: str, worse: str, note: str = "", strength: float = 1.0, source: str = "test"
) -> Comparison:
    where = Provenance(source, who, note=note)
    return Comparison(ask(number), Completion(better), Completion(worse), strength, where)


def of(records: Sequence[Feedback], gold: Sequence[Feedback] = (), who: Who = Who()) -> Section:
    [section] = survey(records, who, gold, resamples=50)
    return section


FEW: list[Feedback] = [
    choice(0, "ann", "yes it is", "no", "group old; chose the first"),
    choice(0, "bob", "yes it is", "no", "group old; chose the second"),
    choice(0, "cem", "no", "yes it is", "group young; chose the first"),
    choice(1, "ann", "up", "down there", "group old; chose the second"),
    choice(1, "bob", "up", "down there", "group old; chose the first", strength=0.5),
    choice(2, "cem", "left", "right", "group young; chose the first"),
    choice(2, "cem", "right", "left", "group young; chose the second"),
    choice(3, "", "in", "out"),
]


def test_every_figure_by_hand() -> None:
    told = of(FEW)
    assert (told.judgements, told.items, told.shared, told.ties, told.nameless, told.repeated) == (8, 4, 2, 1, 1, 1)
    assert told.agreement is not None
    assert told.lenient is not None
    assert told.agreement.mean == pytest.approx((1 / 3 + 0) / 2)
    assert told.lenient.mean == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert told.first is not None
    assert told.first.mean == pytest.approx(3 / 5)  # bob's tie shows no side; cem's second thought does not count
    assert told.longer is not None
    assert told.longer.mean == pytest.approx(2 / 4)
    assert told.ceiling is not None
    assert told.ceiling.mean == ceiling_of_agreement(1 / 3) == 0.5
    ann, bob, cem = sorted(told.people, key=lambda one: one.name)
    assert (ann.judgements, ann.shared, ann.group) == (2, 2, "old")
    assert ann.agreement is not None
    assert ann.agreement.mean == pytest.approx(1 / 3)  # with bob, not with cem, not with bob
    assert cem.agreement is not None
    assert (cem.judgements, cem.shared, cem.agreement.mean) == (2, 1, 0.0)
    assert ann.longer is not None
    assert (ann.longer.mean, ann.mean) == (0.5, None)
    assert bob.first is not None
    assert bob.first.mean == 0.0
    old, young = told.groups
    assert (old.name, old.people, old.judgements, young.name, young.people) == ("old", 2, 4, "young", 1)
    assert old.within is not None
    assert old.across is not None
    assert (old.within.mean, old.across.mean) == (0.5, 0.0)
    assert young.within is None
    assert told.between == {"old, old": 0.5, "old, young": 0.0}


def test_kappa_is_twice_the_agreement_less_one() -> None:
    """Whichever answers happen to be called the first: pairs are laid out both ways."""
    pairs = [(n, who, n % 25 < 19 or who == "ann") for n in range(25) for who in ("ann", "bob")]
    told = of([choice(n, who, *(("a", "b") if alike else ("b", "a"))) for n, who, alike in pairs])
    assert told.agreement is not None
    assert told.fleiss_kappa is not None
    assert told.agreement.mean == pytest.approx(0.76)
    assert told.fleiss_kappa.mean == pytest.approx(0.52)
    assert [one.kappa for one in told.people] == pytest.approx([0.52, 0.52])
    assert told.ceiling is not None
    assert told.ceiling.mean == pytest.approx(ceiling_of_agreement(0.76))


def test_agreement_with_gold() -> None:
    """Ann is right once, and half where gold is a tie; bob's tie is half right."""
    gold = [choice(0, "me", "yes it is", "no"), choice(1, "me", "up", "down there", strength=0.5)]
    told = of(FEW, gold)
    by = {one.name: one.gold for one in told.people}
    assert by["ann"] is not None
    assert by["bob"] is not None
    assert by["cem"] is not None
    assert (by["ann"].mean, by["bob"].mean, by["cem"].mean) == (0.75, 1.0, 0.0)
    assert told.gold is not None
    assert told.gold.mean == pytest.approx((1.5 + 2 + 0) / 5)
    assert 0.1 < told.gold.low < 0.5 < told.gold.high < 0.97
    with pytest.raises(WhoError, match="none of the 1 gold judgements is of something that is judged here"):
        of(FEW, [choice(9, "me", "a", "b")])


def test_rankings_are_all_their_pairs_with_ties() -> None:
    answers = tuple(map(Completion, "abc"))
    records = [
        Ranking(ask(0), answers, (0, 1, 1), Provenance("test", "ann")),
        choice(0, "bob", "a", "b"),
        choice(0, "bob", "b", "c"),
    ]
    told = of(records)
    assert (told.judgements, told.items, told.shared, told.ties) == (5, 3, 2, 1)
    assert told.agreement is not None
    assert told.agreement.mean == 0.5


def test_scores_have_an_order() -> None:
    def rating(number: int, who: str, score: float, value: str = "helpful") -> Rating:
        return Rating(ask(number), Completion("a"), score, value, Provenance("test", who))

    records: list[Feedback] = [rating(n, who, 1 + n + (who == "bob")) for n in range(4) for who in ("ann", "bob")]
    told = of(records)
    assert told.of == "helpful"
    assert told.agreement is not None
    assert told.agreement.mean == 0.0
    assert set(told.alpha) == {"ordinal", "interval"}
    assert told.alpha["ordinal"] is not None
    assert told.alpha["ordinal"].mean > 0.6
    assert [one.mean for one in told.people] == [2.5, 3.5]
    assert all(one.dawid_skene is not None for one in told.people)
    assert (told.ceiling, told.first, told.longer) == (None, None, None)
    other = survey([*records, rating(0, "ann", 1, "safe"), *FEW], resamples=10)
    assert [section.of for section in other] == ["", "helpful", "safe"]
    gold = of(records, [rating(0, "me", 1.0), rating(1, "me", 2.0)])
    assert gold.gold is not None
    assert gold.gold.mean == 0.5


def test_fine_scores_are_rounded_to_even_steps() -> None:
    records = [
        Rating(ask(n), Completion("a"), n / 7, "x", Provenance("test", who)) for n in range(150) for who in ("ann", "bob")
    ]
    judgements = list(judgements_in(records, Who()))
    assert len(scale_of(judgements)) == 100
    told = of(records)
    assert told.agreement is not None
    assert told.agreement.mean == 1.0
    assert all(one.dawid_skene is None for one in told.people)  # a hundred scores are too many to have habits in


def test_nobody_who_judged_with_another_tells_nothing_of_agreement() -> None:
    told = of([choice(0, "ann", "a", "b"), choice(1, "bob", "a", "b")])
    assert (told.agreement, told.fleiss_kappa, told.ceiling) == (None, None, None)
    assert all(one.dawid_skene is None and one.crowd_bt is None for one in told.people)
    assert "no two annotators judged the same item" in "\n".join(lines_of(told))


def test_who_met_nobody_is_neither_reliable_nor_not() -> None:
    told = of([*(choice(n, who, "a", "b") for n in range(3) for who in ("ann", "bob")), choice(9, "cem", "a", "b")])
    ann, bob, cem = told.people
    assert None not in (ann.dawid_skene, bob.dawid_skene, ann.crowd_bt, bob.crowd_bt)
    assert (cem.shared, cem.agreement, cem.kappa, cem.dawid_skene, cem.crowd_bt) == (0, None, None, None, None)


def test_everybody_always_says_the_same() -> None:
    """Ties only: they agree, and there is no chance to agree beyond."""
    told = of([choice(0, who, "a", "b", strength=0.5) for who in ("ann", "bob")])
    assert told.agreement is not None
    assert told.agreement.mean == 1.0
    assert told.fleiss_kappa is None
    assert told.ceiling is None
    assert "Fleiss's kappa: undefined: everybody always says the same" in lines_of(told)


def test_only_nameless_judgements() -> None:
    told = of([choice(0, "", "a", "b"), choice(0, "", "b", "a")])
    assert (told.judgements, told.nameless, told.shared, told.people) == (2, 2, 0, ())
    assert "  2 name no annotator and count nowhere below" in lines_of(told)


def test_no_judgement_at_all() -> None:
    with pytest.raises(WhoError, match="no judgement in this feedback"):
        survey([Demonstration(ask(0), Completion("a"))])


def test_people_of_two_sources_are_not_the_same() -> None:
    records = [
        choice(0, "w1", "a", "b", source="here"),
        choice(0, "w1", "a", "b", source="there"),
        choice(0, "w2", "b", "a", source="here"),
    ]
    names = {one.annotator for one in plain_names(list(judgements_in(records, Who())))}
    assert names == {"w1 (here)", "w1 (there)", "w2"}


def test_an_item_has_one_name_whichever_way_round() -> None:
    one, other = choice(0, "ann", "a", "b"), choice(0, "bob", "b", "a")
    assert item_name(one) == item_name(other) != item_name(choice(1, "ann", "a", "b"))
    first, second = judgements_in([one, other], Who())
    assert {first.value, second.value} == {0.0, 1.0}
    assert first.item == second.item == item_name(one)


def test_a_sheet_both_ways_counts_every_item_twice() -> None:
    sheet = Sheet.of(list(judgements_in(FEW[:5], Who())))
    counts, both = sheet.counts(), sheet.both_ways().counts()
    assert both[: len(counts)].tolist() == counts.tolist()
    assert both[len(counts) :].tolist() == counts[:, ::-1].tolist()
    assert both.sum(0)[0] == both.sum(0)[2]


# The playground's crowd -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crowd() -> list[Feedback]:
    zoo = discover()
    source = zoo.find("feedback", "playground").load()(candidates="world", judges=3, count=2400, skips=0.0, drop_out=0.0)
    prompts = zoo.find("task", "playground").load()().prompts("train")
    return list(source.collect(Asking(prompts=prompts)))


def test_the_crowd_agrees_within_groups_more_than_across(crowd: list[Feedback]) -> None:
    told = of(crowd)
    assert told.agreement is not None
    assert 0.62 < told.agreement.mean < 0.76  # "about seven in ten"
    assert told.agreement.low < told.agreement.mean < told.agreement.high
    assert [group.name for group in told.groups] == ["careful", "friendly", "hurried", "daring"]
    for group in told.groups[:3]:
        assert group.within is not None
        assert group.across is not None
        assert group.within.mean > group.across.mean
    habits = {group.name: [] for group in told.groups}  # type: ignore[var-annotated]
    for person in told.people:
        habits[person.group].append(person.dawid_skene)
    assert fmean(habits["daring"]) < min(fmean(habits[name]) for name in ("careful", "friendly", "hurried")) - 0.05


def test_a_turncoat_is_found(crowd: list[Feedback]) -> None:
    """Somebody who says the opposite of what friendly-1 would is told from all others by every figure."""
    turned = [
        Comparison(one.prompt, one.rejected, one.chosen, one.strength, Provenance("playground", "turncoat"))
        if isinstance(one, Comparison) and one.provenance.annotator == "friendly-1"
        else one
        for one in crowd
    ]
    told = of(turned)
    by = {one.name: one for one in told.people}
    assert by["turncoat"].kappa == min(one.kappa for one in told.people if one.kappa is not None)
    assert by["turncoat"].dawid_skene == min(one.dawid_skene for one in told.people if one.dawid_skene is not None)
    assert by["turncoat"].dawid_skene < 0.4
    assert by["turncoat"].crowd_bt == min(one.crowd_bt for one in told.people if one.crowd_bt is not None)


# The command ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_feedback(tmp_path / "feedback.jsonl", FEW)
    return tmp_path / "feedback.jsonl"


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["annotators", *words])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_the_command_prints_the_whole_table(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for target in (file, file.parent):
        code, out, _ = said(capsys, str(target), "--resamples", "20")
        assert code == 0
        assert out.startswith("choices: 8 judgements of 4 items, 2 judged twice or more\n  1 ties\n  1 name no annotator")
        assert "agreement of two: 0.167" in out
        head = next(line for line in out.splitlines() if line.startswith("ANNOTATOR"))
        assert head.split() == "ANNOTATOR GROUP JUDGED SHARED AGREES KAPPA FIRST LONGER DAWID-SKENE CROWD-BT".split()
        assert "  old, young: 0.000" in out


def test_the_command_prints_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, str(file), "--json", "--resamples", "20", "--gold", str(file))
    [section] = json.loads(out)
    assert code == 0
    assert section["agreement"]["mean"] == pytest.approx(1 / 6)
    assert section["people"][0]["name"] == "ann"
    assert section["groups"][1]["within"] is None
    assert section["gold"]["mean"] > 0.5


def test_the_command_draws_by_its_seed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = [said(capsys, str(file), "--json", "--resamples", "1", "--seed", f"{seed}")[1] for seed in (0, 1, 2, 3, 4, 5, 0)]
    assert told[0] == told[-1]
    assert len(set(told)) > 1


def test_the_command_takes_groups_from_a_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    groups = file.with_name("groups.json")
    groups.write_text(json.dumps({"ann": "north", "bob": "south", "cem": "south"}))
    _, out, _ = said(capsys, str(file), "--json", "--resamples", "5", "--groups", str(groups))
    assert {one["name"] for one in json.loads(out)[0]["groups"]} == {"north", "south"}
    _, out, _ = said(capsys, str(file), "--json", "--resamples", "5", "--group-in", "annotator", "--group-is", "^(.)")
    assert {one["name"] for one in json.loads(out)[0]["groups"]} == {"a", "b", "c"}


def test_the_command_collects_a_run_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.toml").write_text(
        'name = "few"\n[model]\nuse = "playground"\n[task]\nuse = "playground"\n[optimizer]\nuse = "dpo"\n'
        '[feedback]\nuse = "playground"\ncandidates = "world"\njudges = 2\ncount = 40\n'
    )
    code, out, _ = said(capsys, "few.toml", "--json", "--resamples", "5")
    assert code == 0
    assert json.loads(out)[0]["judgements"] == 40
    assert (tmp_path / "runs" / "few" / "feedback.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.jsonl"], "there is no file or folder none.jsonl"),
        (["."], ". has no feedback.jsonl; `alignzoo collect .` gathers it"),
        (["f.jsonl", "--gold", "none.jsonl"], "--gold none.jsonl: there is no such file"),
        (["f.jsonl", "--resamples", "0"], "--resamples 0: an interval needs at least one draw"),
        (["f.jsonl", "--groups", "none.csv"], "there is no file none.csv that would name groups"),
        (["f.jsonl", "--group-is", "group"], "pattern: 'group' has no bracket"),
        (["bad.jsonl"], "bad.jsonl:2: not JSON"),
        (["f.jsonl", "--gould", "x"], "no option '--gould'; did you mean '--gold'?"),
    ],
)
def test_a_mistake_is_told_in_a_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.jsonl").write_text(to_json(FEW[0]) + "\n")
    (tmp_path / "bad.jsonl").write_text(to_json(FEW[0]) + "\n{cut\n")
    code, out, err = said(capsys, *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"alignzoo: {message}")
    assert len(err.splitlines()) == 1


def test_the_example_on_the_page() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "feedback" / "annotators.md").read_text(encoding="utf-8")
    records = [from_json(line) for line in page.splitlines() if line.startswith('{"kind"')]
    told = of(records)
    assert told.agreement is not None
    assert told.lenient is not None
    assert told.first is not None
    assert (told.agreement.mean, told.lenient.mean, told.first.mean) == pytest.approx((1 / 6, 5 / 12, 1 / 2))
    assert told.between == {"old, old": 0.5, "old, young": 0.0}
    votes = list(Merged("votes").sift(records, Asking()))
    assert [one.strength for one in votes if isinstance(one, Comparison)] == pytest.approx([2 / 3, 3 / 4])


def test_rows_are_plain_data() -> None:
    row: Any = of(FEW).row()
    assert json.loads(json.dumps(row))["of"] == ""
