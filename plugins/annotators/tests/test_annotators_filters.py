"""What becomes of repeated judgements, and whose are learned from."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from alignzoo.interfaces import Asking, Filter
from alignzoo.lab.plan import Plan
from alignzoo.lab.runfile import plan_of
from alignzoo.records import Comparison, Completion, Feedback, Prompt, Provenance, Ranking, Rating
from alignzoo.seam.discovery import discover
from alignzoo.seam.settings import SettingsError
from alignzoo.who import Who, WhoError
from alignzoo_annotators.merged import Merged
from alignzoo_annotators.whose import Whose, drawn

ASK = Prompt.ask("How do I repot a cactus?")


def told(who: str, group: str = "", source: str = "test", note: str = "") -> Provenance:
    return Provenance(source, who, note=note or (f"group {group}; chose the first" if group else ""))


def pair(chosen: str, rejected: str, who: str = "", group: str = "", strength: float = 1.0, prompt: Prompt = ASK) -> Comparison:
    return Comparison(prompt, Completion(chosen), Completion(rejected), strength, told(who, group))


def sifted(sieve: Filter, records: Sequence[Feedback]) -> tuple[list[Any], Asking]:
    """What passes; whatever does not is in the tally."""
    asking = Asking()
    assert isinstance(sieve, Filter)
    kept = list(sieve.sift(iter(records), asking))
    assert sum(cases.count for cases in asking.tally.sifted.values()) == len(records) - len(kept)
    return kept, asking


# Merged ---------------------------------------------------------------------------------------------------------------

VOTES = [pair("a", "b", "ann"), pair("b", "a", "bob"), pair("a", "b", "cem"), pair("c", "d", "ann"), pair("d", "c", "bob")]


def test_the_majority_is_sure_and_votes_are_not() -> None:
    kept, asking = sifted(Merged(), VOTES)
    assert [(one.chosen.text, one.strength) for one in kept] == [("a", 1.0), ("c", 0.5)]
    assert asking.tally.said == ["merged by majority: 5 judgements of 2 pairs by 3 annotators; 1 not of one mind, 1 tied"]
    kept, _ = sifted(Merged("votes"), VOTES)
    assert [(one.chosen.text, one.strength) for one in kept] == [("a", pytest.approx(2 / 3)), ("c", 0.5)]
    assert kept[0].provenance == Provenance("test", "3 annotators", note="merged by votes: 2 for, 0 tied, 1 against")


def test_the_loser_may_come_first() -> None:
    """The first judgement only gives its place."""
    kept, _ = sifted(Merged("votes"), [pair("b", "a", "ann"), pair("a", "b", "bob"), pair("a", "b", "cem")])
    assert [(one.chosen.text, one.strength) for one in kept] == [("a", pytest.approx(2 / 3))]
    assert kept[0].provenance.note == "merged by votes: 2 for, 0 tied, 1 against"


def test_ties_count_half_and_are_kept_or_dropped() -> None:
    records = [pair("a", "b", "ann", strength=0.5), pair("b", "a", "bob"), pair("c", "d", "ann", strength=0.5)]
    kept, _ = sifted(Merged("votes"), records)
    assert [(one.chosen.text, one.strength) for one in kept] == [("b", 0.75), ("c", 0.5)]
    assert kept[0].provenance.note == "merged by votes: 1 for, 1 tied, 0 against"
    kept, _ = sifted(Merged("majority"), records)
    assert [(one.chosen.text, one.strength) for one in kept] == [("b", 1.0), ("c", 0.5)]
    kept, asking = sifted(Merged("majority", ties="drop"), records)
    assert [one.chosen.text for one in kept] == ["b"]
    assert asking.tally.sifted["merged: tied"].count == 1


def test_a_strength_is_a_share_of_a_vote() -> None:
    kept, _ = sifted(Merged("votes"), [pair("a", "b", "ann", strength=0.8), pair("b", "a", "bob", strength=0.6)])
    assert [(one.chosen.text, one.strength) for one in kept] == [("a", pytest.approx(0.6))]
    kept, _ = sifted(Merged("majority"), [pair("a", "b", "ann", strength=0.2)])
    assert [(one.chosen.text, one.strength) for one in kept] == [("b", 1.0)]


def test_too_few_judgements_and_other_prompts() -> None:
    other = Prompt.ask("How do I water it?")
    records = [pair("a", "b", "ann"), pair("a", "b", "bob"), pair("a", "b", "ann", prompt=other)]
    kept, asking = sifted(Merged(least=2), records)
    assert [one.prompt for one in kept] == [ASK]
    assert asking.tally.sifted["merged: too few judgements"].count == 1


def test_everything_else_passes_in_its_place() -> None:
    rating = Rating(ASK, Completion("a"), 1.0)
    ranking = Ranking(ASK, (Completion("a"), Completion("b")))
    kept, _ = sifted(Merged(), [rating, VOTES[0], ranking, VOTES[1], VOTES[2]])
    assert kept[0] is rating
    assert kept[2] is ranking
    assert len(kept) == 3
    assert sifted(Merged(), [rating])[1].tally.said == []
    assert sifted(Merged(by="dawid-skene"), [])[0] == []


def test_one_judgement_keeps_its_annotator() -> None:
    kept, _ = sifted(Merged(), [pair("a", "b", "ann", "careful")])
    assert kept == [pair("a", "b", "ann", "careful")]


def test_every_group_alike() -> None:
    """Three of one group against one of another: three to one as people, level as groups."""
    records = [*(pair("a", "b", f"ann-{i}", "many") for i in range(3)), pair("b", "a", "bob", "few")]
    together, _ = sifted(Merged("votes"), records)
    alike, _ = sifted(Merged("votes", groups="alike"), records)
    assert together[0].strength == 0.75
    assert alike[0].tie
    nobody = [pair("a", "b", "ann"), pair("a", "b", "cem"), pair("b", "a", "bob", "few")]
    assert sifted(Merged("votes", groups="alike"), nobody)[0][0].strength == pytest.approx(2 / 3)


def world(count: int = 120, seed: int = 0) -> tuple[list[Comparison], dict[str, str]]:
    """Three who are right four times in five and two who are wrong as often, on answers whose better one is known."""
    dice = random.Random(seed)
    records, truth = [], {}
    for number in range(count):
        prompt, sides = Prompt.ask(f"question {number}"), [f"x{number}", f"y{number}"]
        dice.shuffle(sides)
        truth[prompt.id] = sides[0]
        for who, rate in enumerate([0.8, 0.8, 0.8, 0.15, 0.15]):
            better, worse = sides if dice.random() < rate else sides[::-1]
            records.append(pair(better, worse, f"p{who}", prompt=prompt))
    return records, truth


def right(kept: Sequence[Comparison], truth: dict[str, str]) -> float:
    return sum((one.chosen.text == truth[one.prompt.id]) if not one.tie else 0.5 for one in kept) / len(kept)


def test_reliability_beats_the_majority_among_adversaries() -> None:
    records, truth = world()
    by = {name: sifted(Merged(name), records)[0] for name in ("majority", "dawid-skene", "crowd-bt")}  # type: ignore[arg-type]
    assert all(len(kept) == 120 for kept in by.values())
    assert right(by["dawid-skene"], truth) > right(by["majority"], truth) + 0.1
    assert all(0.5 <= one.strength <= 1 for one in by["dawid-skene"])
    surest = sorted(by["dawid-skene"], key=lambda one: -one.strength)
    assert right(surest[:40], truth) >= right(surest[-40:], truth)


def test_ties_are_half_by_reliability_too() -> None:
    records = [pair(f"a{n}", f"b{n}", who) for n in range(6) for who in ("ann", "bob")]
    records += [pair("c", "d", who, strength=0.5) for who in ("ann", "bob")]
    for by in ("dawid-skene", "crowd-bt"):
        kept, _ = sifted(Merged(by), records)  # type: ignore[arg-type]
        assert kept[-1].strength == pytest.approx(0.5, abs=1e-6)
        assert all(one.strength > 0.7 for one in kept[:-1])


def test_crowd_bt_follows_the_majority_where_all_mean_well() -> None:
    kept, _ = sifted(Merged("crowd-bt"), VOTES[:3])
    assert kept[0].chosen.text == "a"
    assert 0.5 < kept[0].strength < 1


def test_reliability_does_not_hang_on_which_answer_is_called_the_first() -> None:
    """Renaming every answer turns some pairs round; the strengths stay."""
    records, _ = world(40, 1)
    renamed = [
        Comparison(one.prompt, Completion(f"z{one.chosen.text}!"), Completion(f"z{one.rejected.text}!"), 1.0, one.provenance)
        for one in records
    ]
    for by in ("dawid-skene", "crowd-bt"):
        one, other = sifted(Merged(by), records)[0], sifted(Merged(by), renamed)[0]  # type: ignore[arg-type]
        assert [a.strength for a in one] == pytest.approx([b.strength for b in other], abs=1e-6)
        assert [f"z{a.chosen.text}!" for a in one] == [b.chosen.text for b in other]


def test_nobody_can_be_relied_on_who_has_no_name() -> None:
    with pytest.raises(WhoError, match=r'1 of 2 comparisons name no annotator; name the column .* merge by "votes"'):
        sifted(Merged("dawid-skene"), [pair("a", "b", "ann"), pair("a", "b")])


# Whose ----------------------------------------------------------------------------------------------------------------

CROWD = [pair(f"a{i}", f"b{i}", f"{group}-{i % 3}", group) for i in range(60) for group in ("careful", "daring", "hurried")]


def test_only_some_and_all_but_some() -> None:
    kept, asking = sifted(Whose(only=("careful",)), CROWD)
    assert {one.provenance.annotator for one in kept} == {"careful-0", "careful-1", "careful-2"}
    assert len(kept) == 60
    assert {reason: cases.count for reason, cases in asking.tally.sifted.items()} == {
        "whose: daring is not asked": 60,
        "whose: hurried is not asked": 60,
    }
    kept, _ = sifted(Whose(without=("daring", "careful-0")), CROWD)
    assert {one.provenance.annotator for one in kept} == {"careful-1", "careful-2", "hurried-0", "hurried-1", "hurried-2"}
    kept, _ = sifted(Whose(only=("careful-1", "daring")), CROWD)
    assert len(kept) == 20 + 60


def test_a_share_of_some() -> None:
    kept, asking = sifted(Whose(share={"daring": 0.5, "daring-0": 0.0, "careful": 0.0}), CROWD)
    owners = [one.provenance.annotator for one in kept]
    assert sum(name.startswith("hurried") for name in owners) == 60
    assert 10 <= sum(name.startswith("daring") for name in owners) <= 30
    assert not any(name.startswith("careful") or name == "daring-0" for name in owners)
    assert asking.tally.sifted["whose: beyond the share of careful"].count == 60
    less, _ = sifted(Whose(share={"daring": 0.25, "daring-0": 0.0, "careful": 0.0}), CROWD)
    assert all(one in kept for one in less)  # a smaller share is part of a larger one
    other, _ = sifted(Whose(share={"daring": 0.5, "daring-0": 0.0, "careful": 0.0}, seed=1), CROWD)
    assert other != kept


def test_a_draw_hangs_on_the_record_and_the_seed_alone() -> None:
    assert drawn(CROWD[0], 0) == drawn(CROWD[0], 0) != drawn(CROWD[0], 1)
    assert all(0 <= drawn(one, 0) < 1 for one in CROWD)


def test_everybody_alike() -> None:
    records = [*CROWD, *(pair(f"c{i}", f"d{i}", "careful-0", "careful") for i in range(40))]
    kept, asking = sifted(Whose(equal="groups"), records)
    assert len(kept) == 180
    assert [one for one in records if one in kept] == kept  # in the order in which they came
    assert asking.tally.sifted["whose: careful has more than others"].count == 40
    assert sifted(Whose(equal="groups", seed=1), records)[0] != kept
    kept, _ = sifted(Whose(equal="annotators"), records)
    assert set(Counter(one.provenance.annotator for one in kept).values()) == {20}
    assert sifted(Whose(equal="groups"), [])[0] == []


def test_lessons_of_the_same_size() -> None:
    for group in ("careful", "daring"):
        kept, asking = sifted(Whose(only=(group,), most=25), CROWD)
        assert len(kept) == 25
        assert asking.tally.sifted["whose: enough of them"].count == 35


def test_somebody_who_never_judged_is_a_mistake() -> None:
    with pytest.raises(WhoError, match="nobody judged who is, or is of the group, 'carefull'; did you mean 'careful'"):
        sifted(Whose(only=("carefull",)), CROWD)
    with pytest.raises(WhoError, match="'harsh'"):
        sifted(Whose(without=("harsh",)), CROWD)
    with pytest.raises(WhoError, match="'harsh'"):
        sifted(Whose(share={"harsh": 0.1}), CROWD)
    with pytest.raises(WhoError, match="'daring' is both in only and in without"):
        Whose(only=("daring",), without=("daring",))
    with pytest.raises(WhoError, match='equal = "groups" needs to know whose each record is'):
        sifted(Whose(equal="groups"), [pair("a", "b", "ann")])


# How groups are told --------------------------------------------------------------------------------------------------


def test_groups_by_note_by_name_and_by_file(tmp_path: Path) -> None:
    assert Who().group(told("ann", "careful")) == "careful"
    assert Who().group(told("ann")) == ""
    assert Who(read="annotator", pattern=r"^(\w+)-\d+$").group(told("daring-2")) == "daring"
    (tmp_path / "groups.json").write_text(json.dumps({"ann": "old"}))
    (tmp_path / "groups.csv").write_text("\ufeffannotator,group\nann,old\nbob,young\n", encoding="utf-8")
    for name in ("groups.json", "groups.csv"):
        assert Who(str(tmp_path / name)).group(told("ann", "careful")) == "old"
        assert Who(str(tmp_path / name)).group(told("cem", "careful")) == "careful"
    who = Who(str(tmp_path / "groups.csv"))
    assert who.group(told("bob")) == "young"
    (tmp_path / "groups.csv").write_text("annotator,group\nbob,ancient\n")
    assert who.group(told("bob")) == "ancient"


def test_what_was_shown_first() -> None:
    assert Who().chose_first(Provenance("test", note="group careful; chose the first")) is True
    assert Who().chose_first(Provenance("test", note="group careful; chose the second")) is False
    assert Who().chose_first(Provenance("test", note="group careful")) is None
    sides = Who(shown=r"side=(left|right)")
    assert [sides.chose_first(Provenance("x", note=f"side={side}")) for side in ("left", "right")] == [True, False]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.csv", None, "there is no file"),
        ("a.csv", "annotator,side\nann,old\n", "a.csv:1: no column 'group'"),
        ("b.csv", "annotator,group\nann,old\nbob,\n", "b.csv:3: a line names an annotator and a group"),
        ("c.csv", "annotator,group\nann,old\nann,young\n", "c.csv:3: 'ann' is in two groups"),
        ("d.json", '{"ann": 3}', "d.json:1: a line names an annotator and a group, which is text; got 'ann' and 3"),
        ("e.json", '{"ann": "old",}', "e.json:1: not JSON"),
        ("f.csv", "", "f.csv:1: no column"),
        ("g.json", '{"bob": "old",\n "ann": "old",\n "ann": "young"}', "g.json:3: 'ann' is in two groups"),
        ("h.csv", 'annotator,group\nann,"old"x\n', "h.csv:2: no row of a table"),
    ],
)
def test_a_file_of_groups_that_cannot_be_read(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(WhoError, match=message):
        Who(str(tmp_path / name))


@pytest.mark.parametrize(("pattern", "message"), [("(", "is no regular expression"), ("group", "has no bracket")])
def test_a_pattern_that_tells_nothing(pattern: str, message: str) -> None:
    with pytest.raises(WhoError, match=message):
        Who(pattern=pattern)
    with pytest.raises(WhoError, match=message):
        Who(shown=pattern)


# In a run file --------------------------------------------------------------------------------------------------------


def planned(*filters: dict[str, Any]) -> Plan:
    parts: dict[str, Any] = {name: {"use": "playground"} for name in ("task", "model")}
    feedback = {"use": "playground", "candidates": "world", "judges": 3, "count": 90, "filter": list(filters)}
    return plan_of({**parts, "optimizer": {"use": "dpo"}, "feedback": feedback}, discover(), "mine.toml")


def test_in_a_run_file_one_after_the_other() -> None:
    plan = planned({"use": "whose", "without": ["daring"]}, {"use": "merged", "by": "dawid-skene", "least": 2})
    assert plan.feedback is not None
    asking = Asking(prompts=plan.task.made.prompts("train")[:40])  # type: ignore[union-attr]
    kept = list(plan.feedback.collect(asking))
    assert 10 < len(kept) < 45
    assert all(one.provenance.annotator.endswith(" annotators") for one in kept)
    assert asking.tally.sifted["whose: daring is not asked"].count > 0


def test_in_a_run_file_a_mistake_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as told:
        planned({"use": "whose", "who": {"file": str(tmp_path / "no.csv")}}, {"use": "merged", "by": "majorty"})
    assert f"feedback.filter.0.who: there is no file {tmp_path / 'no.csv'} that would name groups" in str(told.value)
    assert "feedback.filter.1.by" in str(told.value)
    assert "did you mean 'majority'?" in str(told.value)
