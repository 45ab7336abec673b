"""Recorded verdicts go through the same code: written down and given again, and those of six real judges, as published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignzoo.records import Completion, Prompt
from alignzoo_rlaif.check import pairs_in
from alignzoo_rlaif.form import Form
from alignzoo_rlaif.hiring import Hired
from alignzoo_rlaif.judging import Case, JudgeError, Verdict
from alignzoo_rlaif.measures import measured, of
from alignzoo_rlaif.parsing import parsed
from alignzoo_rlaif.recorded import RecordedOracle, Recording
from alignzoo_rlaif.sitting import Answer, Sitting

LLMBAR = Path(__file__).parents[4] / "shared" / "data" / "llmbar_pairs_judged.jsonl"
CASE = Case(Prompt.ask("Where?"), Completion("Here."), Completion("There."))
PAIR = {
    "input": "Where?",
    "output_1": "Here.",
    "output_2": "There.",
    "label": 1,
    "judges": {"one": {"ab": {"winner": "1"}, "ba": {"winner": "2"}}, "two": {"ab": {"winner": "1"}, "ba": {"winner": None}}},
}


class Sevenths:
    def answer(self, sheets):
        return [Answer((i / 7, 1 - i / 7), "so") if i else Answer(note="?") for i, _ in enumerate(sheets)]

    def reply(self, prompts):
        return [Completion("mine") for _ in prompts]


def test_what_is_written_down_is_given_again(tmp_path):
    file = tmp_path / "verdicts.jsonl"
    written = Sitting(Recording(Sevenths(), file), Hired())
    wanted = written.compare([CASE, Case(CASE.prompt, CASE.first, Completion("No."))], "Which?")
    hire = Hired(which="recorded", file=file)
    again = hire.judge(None)
    assert again.compare([CASE, Case(CASE.prompt, CASE.first, Completion("No."))], "Which?") == wanted
    with pytest.raises(JudgeError, match="2 of 2 things asked are not recorded; the first is about 'Where"):
        again.compare([CASE], "Another question?")
    with pytest.raises(JudgeError, match="answers nothing itself"):
        Hired(which="recorded", file=file, rates_by="reference").judge(None).rate([CASE.prompt], [CASE.first], "Which?")


def test_a_reply_may_hold_other_ends_of_lines(tmp_path):
    file, odd = tmp_path / "verdicts.jsonl", Case(CASE.prompt, Completion("Here.\u2028Or \x85 here."), CASE.second)
    wanted = Sitting(Recording(Sevenths(), file), Hired()).compare([odd], "Which?")
    assert Hired(which="recorded", file=file).judge(None).compare([odd], "Which?") == wanted
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps(PAIR | {"output_1": "Here.\u2028Or there."}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert len(pairs_in(pairs)) == 1


def test_chances_that_are_not_of_these_answers_are_refused(tmp_path):
    file = tmp_path / "verdicts.jsonl"
    about = {"turns": [{"speaker": "user", "text": "Where?"}], "shown": ["Here.", "There."]}
    for chances in ([0.9, 0.2], [1.5, -0.5], [float("nan"), 0.5]):
        file.write_text(json.dumps(about | {"chances": chances}) + "\n")
        with pytest.raises(JudgeError, match=r"verdicts.jsonl:1: no recorded verdict: .*do not sum to 1"):
            RecordedOracle.of(file)
    rows = [about | {"chances": [0.5, 0.25, 0.25], "shown": shown} for shown in (["Here.", "There."], ["There.", "Here."])]
    file.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(JudgeError, match="3 chances are recorded where there are 2 answers"):
        Hired(which="recorded", file=file).judge(None).compare([CASE], "Which?")


def test_published_pairs_are_read_in_both_orders(tmp_path):
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps(PAIR) + "\n" + json.dumps(PAIR | {"input": "Who?", "judges": {}}) + "\n")
    assert Sitting(RecordedOracle.of(file, "one"), Hired()).compare([CASE], "?") == [Verdict(1.0, 0.0)]
    (two,) = Sitting(RecordedOracle.of(file, "two"), Hired()).compare([CASE], "?")
    assert (two.shown_first, two.shown_second, two.unread) == (1.0, 0.5, 1)
    with pytest.raises(JudgeError, match="no verdicts of 'three'; there is one, two"):
        RecordedOracle.of(file, "three")


@pytest.mark.parametrize("line", ["{", "[1]", '{"turns": []}', '{"turns": [{"speaker": "user", "text": "x"}], "shown": ["a"]}'])
def test_lines_that_hold_no_verdict_are_named(tmp_path, line):
    file = tmp_path / "verdicts.jsonl"
    file.write_text(f"\n{line}\n")
    with pytest.raises(JudgeError, match=r"verdicts.jsonl:2: no recorded verdict"):
        RecordedOracle.of(file)


@pytest.mark.skipif(not LLMBAR.exists(), reason="the recorded verdicts are not here")
def test_six_real_judges_come_out_as_published():
    """Counted anew from the file by plain means; the extremes of this half are Falcon's 14.8 % and GPT-4's 82.0 %, where the
    whole set has 12.6 % and 92.8 % by its subsets."""
    rows = [json.loads(line) for line in LLMBAR.read_text().splitlines()]
    found = {}
    for who in sorted({name for row in rows for name in row["judges"]}):
        asked = [row for row in rows if who in row["judges"]]
        cases = [Case(Prompt.ask(r["input"]), Completion(r["output_1"]), Completion(r["output_2"])) for r in asked]
        judge = Hired(which="recorded", file=LLMBAR, who=who).judge(None)
        verdicts = judge.compare(cases, "Which follows the instruction better?")
        figures = measured(of(cases, verdicts, [float(str(row["label"]) == "1") for row in asked]))
        winners = [[str(row["judges"][who][order]["winner"]) for order in ("ab", "ba")] for row in asked]
        readable = [(w, str(row["label"])) for w, row in zip(winners, asked, strict=True)]
        consistent = sum(a == b != "None" for a, b in winners) / len(asked)
        right = (
            sum((a == gold) + (b == gold) + 0.5 * ((a == "None") + (b == "None")) for (a, b), gold in readable) / 2 / len(asked)
        )
        assert sum(verdict.consistent for verdict in verdicts) / len(verdicts) == pytest.approx(consistent)
        assert figures["order consistency"].mean == pytest.approx(consistent, abs=0.01)  # the mean goes by prompts
        assert figures["accuracy in either order"].mean == pytest.approx(right, abs=0.01)
        found[who] = consistent
    assert len(found) == 8
    assert min(found, key=found.__getitem__) == "Falcon/CoT"
    assert found["Falcon/CoT"] == pytest.approx(0.148, abs=1e-3)
    assert max(found, key=found.__getitem__) == "GPT-4/Vanilla"
    assert found["GPT-4/Vanilla"] == pytest.approx(0.820, abs=1e-3)


@pytest.mark.skipif(not LLMBAR.exists(), reason="the recorded verdicts are not here")
def test_what_real_judges_wrote_is_read_as_its_authors_read_it():
    form = Form(letters=(("a", "b"),), answer="Output ({letter})")
    sheet = form.comparison(CASE, "?", turned=False, seed=0)
    agreed = read = 0
    for row in map(json.loads, LLMBAR.read_text().splitlines()):
        for who, orders in row["judges"].items():
            for order, first in (("ab", "1"), ("ba", "2")):
                said = orders[order]
                if "Vanilla" in who and said["winner"] in ("1", "2") and (answer := parsed(sheet, said["completion"])).chances:
                    read += 1
                    agreed += answer.chances[0] == float(said["winner"] == first)
    assert read > 900
    assert agreed / read > 0.99
