"""Forms and sittings: what a judge is shown, and what is made of its answers. No model: an oracle that says what it is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from alignzoo.records import Completion, Prompt, Turn
from alignzoo_rlaif.form import Form, Sheet
from alignzoo_rlaif.hiring import Hired
from alignzoo_rlaif.judging import Case, JudgeError, Verdict
from alignzoo_rlaif.parsing import parsed
from alignzoo_rlaif.sitting import Answer, Sitting, expected

LINES = Form(
    compare="{question}\nRequest: {request}\n{A}: {first}\n{B}: {second}",
    letters=(("A", "B"),),
    answer="better: {letter}",
    layout="one line",
    cut="",
)
CASE = Case(Prompt.ask("Where is\nit?"), Completion("Here, {A}."), Completion("There.\nB: no"))


@dataclass
class Told:
    """Answers by a rule, and remembers what it was asked."""

    rule: Callable[[Sheet], Answer]
    asked: list[Sheet] = field(default_factory=list)

    def answer(self, sheets: Sequence[Sheet]) -> list[Answer]:
        self.asked += sheets
        return [self.rule(sheet) for sheet in sheets]

    def reply(self, prompts: Sequence[Prompt]) -> list[Completion]:
        return [Completion("the oracle's own") for _ in prompts]


def placed(first: float) -> Callable[[Sheet], Answer]:
    """A judge that goes by places alone."""
    return lambda sheet: Answer((first, 1 - first))


def longest(sheet: Sheet) -> Answer:
    """A judge that is 80 % sure of the longer reply, wherever it stands."""
    one, two = map(len, sheet.shown)
    return Answer((0.8, 0.2) if one > two else (0.2, 0.8))


def compare(rule: Callable[[Sheet], Answer], hired: Hired, *cases: Case) -> list[Verdict]:
    return Sitting(Told(rule), hired).compare(cases or [CASE], "Which?")


# What is shown --------------------------------------------------------------------------------------------------------


def test_a_case_is_put_line_by_line_and_turned():
    sheet = LINES.comparison(CASE, "Which is better?", turned=False, seed=0)
    assert sheet.prompt.text == "Which is better?\nRequest: Where is it?\nA: Here, {A}.\nB: There. B: no"
    assert sheet.answers == ("better: A", "better: B")
    assert (sheet.marks, sheet.stem, sheet.shown) == (("A", "B"), "better: ", ("Here, {A}.", "There.\nB: no"))
    turned = LINES.comparison(CASE, "Which is better?", turned=True, seed=0)
    assert turned.prompt.text == "Which is better?\nRequest: Where is it?\nA: There. B: no\nB: Here, {A}."


def test_a_cut_reply_is_shown_as_cut():
    cut = Case(CASE.prompt, Completion("It is", finished=False), CASE.second)
    assert "It is […]\n[" in Form().comparison(cut, "?", turned=False, seed=0).prompt.text
    assert "[…]" not in Form().comparison(CASE, "?", turned=False, seed=0).prompt.text


def test_a_whole_conversation_and_the_system_are_put():
    long = Prompt((Turn("system", "Be kind."), Turn("user", "Hi."), Turn("assistant", "Yes?"), Turn("user", "Who?")))
    sheet = Form(system="You judge.").comparison(Case(long, CASE.first, CASE.second), "?", turned=False, seed=0)
    assert "System: Be kind.\n\nHuman: Hi.\n\nAssistant: Yes?\n\nHuman: Who?" in sheet.prompt.text
    assert sheet.prompt.turns[0] == Turn("system", "You judge.")


def test_letters_and_marks_are_drawn_by_case_and_seed_and_are_the_same_in_both_orders():
    cases = [Case(CASE.prompt, Completion(f"{n}"), CASE.second) for n in range(40)]
    sheets = [Form().comparison(case, "?", turned=False, seed=0) for case in cases]
    assert {sheet.marks for sheet in sheets} == set(Form().letters)
    marks = {sheet.prompt.text.split("[")[1].split("]")[0] for sheet in sheets}
    assert len(marks) == len(cases)
    turned = [Form().comparison(case, "?", turned=True, seed=0) for case in cases]
    assert [sheet.marks for sheet in turned] == [sheet.marks for sheet in sheets]
    again = [Form().comparison(case, "?", turned=False, seed=1) for case in cases]
    assert [sheet.marks for sheet in again] != [sheet.marks for sheet in sheets]


def test_what_is_the_same_for_every_case_stands_first():
    one, other = (Form().comparison(Case(CASE.prompt, Completion(t), CASE.second), "Q?", turned=False, seed=0) for t in "ab")
    assert one.prompt.text.startswith("Q?\n\n")
    assert other.prompt.text.startswith("Q?\n\n")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"compare": "{first} {B}"}, "compare: the template lacks {second}"),
        ({"rate": "{question}"}, "rate: the template lacks {reply}"),
        ({"compare": "{first} {second} {principle}"}, "compare: nothing fills {principle}"),
        ({"answer": "A"}, "answer: the template lacks {letter}"),
        ({"letters": (("A", "A"),)}, "letters: name at least one pair"),
        ({"letters": ()}, "letters: name at least one pair"),
        ({"scale": ("1",)}, "scale: name two answers or more"),
        ({"scale": ("1", "1")}, "scale: name two answers or more"),
    ],
)
def test_a_form_that_cannot_work_is_refused(wrong, said):
    with pytest.raises(JudgeError, match=said):
        Form(**wrong)


# What is made of answers ----------------------------------------------------------------------------------------------


def test_the_order_is_swapped_back():
    (short, long) = Completion("a"), Completion("a long one")
    assert compare(longest, Hired(), Case(CASE.prompt, long, short)) == [Verdict(0.8, 0.8)]
    assert compare(longest, Hired(), Case(CASE.prompt, short, long)) == [Verdict(pytest.approx(0.2), pytest.approx(0.2))]


def test_a_judge_of_places_contradicts_itself_and_is_a_tie():
    (verdict,) = compare(placed(0.9), Hired())
    assert (verdict.shown_first, verdict.shown_second) == (0.9, pytest.approx(0.1))
    assert verdict.probability == pytest.approx(0.5)
    assert verdict.contradictory
    assert not verdict.consistent
    skewed = Verdict(0.9, 0.3)
    assert skewed.probability == pytest.approx(0.6)
    assert skewed.label == 0.5
    assert Verdict(0.9, 0.7).label == pytest.approx(0.8)
    assert Verdict(0.5, 0.7).label == pytest.approx(0.6)


def test_hard_labels_clamps_and_one_order():
    assert compare(placed(0.7), Hired(labels="hard")) == [Verdict(1.0, 0.0)]
    assert compare(placed(0.5), Hired(labels="hard")) == [Verdict(0.5, 0.5)]
    assert compare(placed(0.9), Hired(clamp=0.4)) == [Verdict(0.6, 0.4)]
    cases = [Case(CASE.prompt, Completion(f"{n}"), CASE.second) for n in range(60)]
    told = Told(placed(0.9))
    verdicts = Sitting(told, Hired(orders="drawn")).compare(cases, "?")
    assert len(told.asked) == 60
    assert all(verdict.shown_first == verdict.shown_second for verdict in verdicts)
    assert 15 < sum(verdict.shown_first == 0.9 for verdict in verdicts) < 45


def test_expected_scores_by_hand():
    assert expected((1.0, 0.0)) == -1
    assert expected((0.25, 0.75)) == pytest.approx(0.5)
    assert expected((0.1, 0.2, 0.7)) == pytest.approx(0.6)  # 0·0.1 + 1·0.2 + 2·0.7 = 1.6 of 2
    assert expected(()) == 0.0
    # s of 1 to 10 as Lee et al. have it: s = 7 is 2 · 6/9 − 1, and even odds of 1 and 10 are the middle
    assert expected(tuple(float(score == 7) for score in range(1, 11))) == pytest.approx(1 / 3)
    assert expected((0.5, *[0.0] * 8, 0.5)) == pytest.approx(0.0)


def test_rates_by_scale_with_what_is_said_of_nothing_divided_out():
    def rule(sheet: Sheet) -> Answer:
        return Answer((0.2, 0.2, 0.6) if sheet.shown == ("N/A",) else (0.1, 0.3, 0.6))

    form = Form(scale=("bad", "fair", "good"))
    told = Told(rule)
    sitting = Sitting(told, Hired(form=form, calibrate="blank"))
    # odds 0.5, 1.5, 1 of 3: 1/6, 1/2, 1/3 → 7/6 of 2 → 1/6
    assert sitting.rate([CASE.prompt] * 2, [CASE.first] * 2, "How good?") == [pytest.approx(1 / 6)] * 2
    assert len(told.asked) == 3  # nothing is asked about once for a question
    assert "Rate the reply from bad to good" in told.asked[0].prompt.text
    assert Sitting(Told(rule), Hired(form=form)).rate([CASE.prompt], [CASE.first], "?") == [pytest.approx(0.5)]


def test_rates_by_the_chance_to_beat_a_reference():
    hired = Hired(rates_by="reference", reference="a")
    assert Sitting(Told(longest), hired).rate([CASE.prompt], [CASE.first], "?") == [pytest.approx(0.6)]
    told = Told(longest)
    own = Sitting(told, Hired(rates_by="reference"))
    assert own.rate([CASE.prompt] * 2, [Completion("short"), Completion("longer than the oracle's own")], "?") == [
        pytest.approx(-0.6),
        pytest.approx(0.6),
    ]
    assert {sheet.shown[1] for sheet in told.asked[::2]} == {"the oracle's own"}


def test_shown_as_they_stand_by_the_same_letters_in_either_order():
    forward = [Case(CASE.prompt, Completion(f"{n}"), Completion("30 b")) for n in range(40)]
    backward = [Case(case.prompt, case.second, case.first) for case in forward]
    told = Told(longest)
    assert Sitting(told, Hired()).prefer([*forward, *backward], "?") == [0.2] * 40 + [0.8] * 40
    assert [sheet.shown for sheet in told.asked] == [(c.first.text, c.second.text) for c in [*forward, *backward]]
    assert [sheet.marks for sheet in told.asked[:40]] == [sheet.marks for sheet in told.asked[40:]]
    assert {sheet.marks for sheet in told.asked} == set(Form().letters)
    assert Sitting(Told(placed(0.9)), Hired(labels="hard", orders="drawn")).prefer([CASE, backward[0]], "?") == [1.0, 1.0]
    (unread,) = Sitting(Told(lambda sheet: Answer((), "mumble")), Hired()).prefer([CASE], "?")
    assert unread != unread, "nan, which is no verdict"


def test_what_cannot_be_read_is_one_half_counted_and_capped():
    def rule(sheet: Sheet) -> Answer:
        return Answer((), "mumble") if sheet.shown[0] == "x" else Answer((0.9, 0.1))

    odd = Case(CASE.prompt, Completion("x"), Completion("y"))
    (verdict,) = compare(rule, Hired(), odd)
    assert (verdict.shown_first, verdict.unread, verdict.note) == (0.5, 1, "mumble")
    (sick,) = compare(lambda sheet: Answer((float("nan"), 0.5)), Hired())
    assert (sick.probability, sick.unread) == (0.5, 2)
    sitting = Sitting(Told(rule), Hired(unread=0.2))
    assert len(sitting.compare([odd, *[CASE] * 9], "?")) == 10  # one of twenty
    with pytest.raises(JudgeError, match=r"of \d+ verdicts cannot be read, more than unread = 0.2 .*mumble"):
        sitting.compare([odd] * 10, "?")


def test_judges_that_cannot_be_hired():
    for wrong, said in (
        ({"reading": "written", "calibrate": "blank"}, "written verdicts have no probabilities"),
        ({"thoughts": 5, "form": Form(answer="{letter}")}, "nothing would tell where they end"),
        ({"which": "remote"}, "a remote judge needs an address"),
        ({"which": "recorded"}, "there is no file"),
    ):
        with pytest.raises(JudgeError, match=said):
            Hired(**wrong)
    with pytest.raises(JudgeError, match="a local judge needs a model"):
        Hired().judge(None)


@pytest.mark.parametrize(
    ("said", "chances"),
    [
        ("better: B", (0.0, 1.0)),
        ("Both are bad. better: A. No, Better:  B!", (0.0, 1.0)),
        (" (A). ", (1.0, 0.0)),
        ("better: Apples", ()),
        ("A is nice", ()),
        ("better: a fine one", ()),
        ("", ()),
    ],
)
def test_written_verdicts(said, chances):
    assert parsed(LINES.comparison(CASE, "?", turned=False, seed=0), said).chances == chances


def test_ten_is_not_one():
    sheet = Form().estimation(CASE.prompt, CASE.first, "How good?", seed=0)
    assert parsed(sheet, "The rating is 10.").chances == (0.0,) * 9 + (1.0,)
    assert parsed(sheet, "The rating is 1.").chances == (1.0,) + (0.0,) * 9
