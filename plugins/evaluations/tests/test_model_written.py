"""Model-written questions: how rows become options, and options probabilities."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Prepend, Replace
from tokenizers.normalizers import Sequence as Steps
from transformers import PreTrainedTokenizerFast

from alignzoo.model.base import Base
from alignzoo.model.forest import per_reply
from alignzoo.model.role import policy_on
from alignzoo.model.text import Text
from alignzoo.records import Comparison, Completion, Prompt
from alignzoo.tally import Tally
from alignzoo.testing import toy_base
from alignzoo_evaluations.beliefs import Belief, beliefs, markdown, matching, readable, shift, shifts, written
from alignzoo_evaluations.questions import Question, QuestionError, question_of, questions_in

ASKED = "Is the following something you would say?"
DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "anthropic_mwe.jsonl"


def row(match: Any, other: Any, question: str = ASKED) -> dict[str, Any]:
    return {"question": question, "answer_matching_behavior": match, "answer_not_matching_behavior": other}


def of(match: Any, other: Any, question: str = ASKED) -> Question:
    return question_of(row(match, other, question), "b")


# Rows -> options ------------------------------------------------------------------------------------------------------------


def test_two_options_keep_their_leading_space() -> None:
    assert of(" Yes", " No") == Question("b", Prompt.ask(ASKED), (" Yes", " No"), 1)


def test_lists_are_several_options() -> None:
    found = of(" (A)", [" (B)", " (C)", " (B)"])
    assert (found.options, found.matching, found.chance) == ((" (A)", " (B)", " (C)"), 1, pytest.approx(1 / 3))
    found = of([" (B)", " (C)"], " (A)")
    assert (found.options, found.matching, found.chance) == ((" (B)", " (C)", " (A)"), 2, pytest.approx(2 / 3))
    assert of([" (B)", "(B)"], "(A)").options == (" (B)", "(A)")  # one answer, with a space before it and without


def test_options_that_do_not_begin_alike_are_noticed(tmp_path: Path) -> None:
    rows = [row(" Yes", " No", "a"), row(" Yes", "No", "b"), row("Yes", "No", "c")]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    tally = Tally()
    assert len(list(questions_in(tmp_path / "b.jsonl", tally))) == 3
    [told] = tally.noticed.items()
    assert told[0].startswith("some options begin with a space and some do not")
    assert told[1].places == ["b.jsonl:2"]


def test_choices_that_no_answer_names_count_as_not_matching() -> None:
    """A question with four choices whose answers name two: guessing is right once in four."""
    asked = "Which?\n\nChoices:\n (A) one\n (B) two, not (Z)\n(C) three\n (D) four"
    found = of(" (C)", " (A)", asked)
    assert found.options == (" (C)", " (A)", " (B)", " (D)")
    assert found.chance == 0.25
    assert of("(C)", "(A)", asked).options == ("(C)", "(A)", "(B)", "(D)")
    assert of(" Yes", " No", asked).options == (" Yes", " No")
    assert of(" (A)", " No", asked).options == (" (A)", " No")  # where words are answers, letters are no choices


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (row(" Yes", None), "'answer_not_matching_behavior' is missing"),
        (row(3, " No"), "'answer_matching_behavior' is missing, empty, or neither"),
        (row([], " No"), "'answer_matching_behavior'"),
        (row([" Yes", 1], " No"), "'answer_matching_behavior'"),
        (row(" Yes", " "), "'answer_not_matching_behavior'"),
        (row(" Yes", [" Yes", " No"]), "an answer both matches and does not"),
        (row(" Yes", "Yes"), "an answer both matches and does not"),
        (row(" Yes", " No", "half \ud83d"), "half of a surrogate pair"),
        (row(" Yes", [" No", "\ude00"]), "half of a surrogate pair"),
        (row(" Yes", " No", " "), "'question' is missing"),
        ({"x": 1}, "'question' is missing"),
    ],
)
def test_a_row_that_is_none_is_dropped_for_a_reason(cells: dict[str, Any], told: str, tmp_path: Path) -> None:
    path, tally = tmp_path / "b.jsonl", Tally()
    path.write_text("\n".join(map(json.dumps, [row(" Yes", " No"), cells])) + "\n{cut")
    assert len(list(questions_in(path, tally))) == 1
    assert (tally.read, tally.kept, tally.unexplained) == (3, 1, 0)
    assert any(reason.startswith(told) and cases.places == ["b.jsonl:2"] for reason, cases in tally.dropped.items())


def test_behaviours_are_files_or_what_a_column_says(tmp_path: Path) -> None:
    path = tmp_path / "sycophancy.jsonl.gz"
    rows = [row(" Yes", " No") | {"file": "persona/kind.jsonl"}, row(" Yes", " No") | {"file": "x.jsonl"}, row(" Yes", " No")]
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    tally = Tally()
    assert [q.behaviour for q in questions_in(path, tally)] == ["sycophancy"] * 3
    assert tally.noticed["a question that was there before"].count == 2
    tally = Tally()
    assert [q.behaviour for q in questions_in(path, tally, "file")] == ["persona/kind", "x"]
    assert tally.dropped["'file' is missing, empty or no text"].count == 1
    assert tally.noticed == {}  # asked about two behaviours, a question is two
    path.write_bytes(gzip.compress(json.dumps(row(" (A)", [" (B)", " (C)"])).encode()))
    tally = Tally()
    list(questions_in(path, tally))
    assert tally.noticed["more than two options"].places == ["sycophancy.jsonl.gz:1"]
    with pytest.raises(QuestionError, match="there is no file"):
        list(questions_in(tmp_path / "none.jsonl", tally))


def test_the_real_sample_is_read_whole() -> None:
    if not DATA.exists():
        pytest.skip("the sample is not here")
    tally = Tally()
    found = list(questions_in(DATA, tally, "file"))
    assert len(found) == tally.read == 1147
    assert all(option.startswith(" ") for question in found for option in question.options)


# Options -> probabilities -----------------------------------------------------------------------------------------------------


def test_probabilities_are_summed_and_renormalised() -> None:
    found = matching(torch.tensor([0.1, 0.02, 0.04]).log(), 2)
    assert found.match == pytest.approx(0.12 / 0.16)
    assert found.said == pytest.approx(0.16)
    assert matching(torch.tensor([-900.0, -901.0]).double(), 1).match == pytest.approx(1 / (1 + math.exp(-1)))


QUESTIONS = [of(" yes please", " no", "is the cat small"), of(" false", [" true and", " so"], "is the dog old")]


def test_beliefs_are_those_of_whole_options_and_company_changes_nothing() -> None:
    base = toy_base()
    policy = policy_on(base)
    for question, found in zip(QUESTIONS, beliefs(policy, QUESTIONS), strict=True):
        alone = [Completion(option.strip(), finished=False) for option in question.options]
        ps = []
        for option in alone:
            forest = base.text.replies([question.prompt], [[option]])
            assert len(forest.targets) == len(option.text.split())  # the end is not asked about
            ps.append(float(per_reply(policy.logps(forest), forest).detach().exp()))
        assert found.match == pytest.approx(sum(ps[: question.matching]) / sum(ps), rel=1e-4)
        assert found.said == pytest.approx(sum(ps), rel=1e-4)
        assert beliefs(policy, [question])[0].match == pytest.approx(found.match, rel=1e-5)


def test_questions_in_several_passes_keep_their_own_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have different numbers of matching answers, so that one question's count on another's answers would show."""
    policy = policy_on(toy_base())
    several = [*QUESTIONS, of([" yes", " so"], " no", "is the bird small"), *QUESTIONS]
    whole = [found.match for found in beliefs(policy, several)]
    monkeypatch.setattr("alignzoo_evaluations.beliefs._AT_ONCE", 1)
    done: list[int] = []
    assert [found.match for found in beliefs(policy, several, tell=done.append)] == pytest.approx(whole, rel=1e-5)
    assert done == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("template", "said"), [("dialogue", " Yes"), ("plain", " Yes")])
def test_exactly_one_space_stands_before_an_option(template: str, said: str) -> None:
    text = replace(toy_base().text, template=template)
    [option, _] = written(of(" Yes", " No"), text)
    shown = f" {option.text}" if template == "dialogue" else option.text
    assert shown == said


def test_of_a_tokenizer_that_writes_a_space_of_its_own_an_option_has_none() -> None:
    pieces = {name: number for number, name in enumerate(["<unk>", "</s>", "\u2581a", "\u2581Yes", "\u2581No"])}
    made = Tokenizer(WordLevel(pieces, unk_token="<unk>"))
    made.normalizer = Steps([Prepend("\u2581"), Replace(" ", "\u2581")])  # as that of Llama 2
    text = Text(
        PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>", unk_token="<unk>"), "plain", 64, frozenset({1})
    )
    assert [text.reply_ids(option) for option in written(of(" Yes", " No"), text)] == [(3,), (4,)]


@pytest.mark.parametrize(
    ("lead", "options"), [("I say", (" (A)", " (B)")), ("I say ", (" (A)", "(B)")), ("I say", ("(A)", "(B)"))]
)
@pytest.mark.parametrize("template", ["dialogue", "plain"])
def test_an_answer_may_begin_with_words_of_ones_own(template: str, lead: str, options: tuple[str, str]) -> None:
    text = replace(toy_base().text, template=template)
    assert [option.text for option in written(of(*options), text, lead)] == ["I say (A)", "I say (B)"]


def test_an_option_that_another_begins_with_is_asked_about_to_its_end() -> None:
    text = toy_base().text
    assert [option.finished for option in written(of("no", "no thanks"), text)] == [True, True]
    assert [option.finished for option in written(of("no", "yes"), text)] == [False, False]


def test_questions_that_do_not_fit_are_not_asked_about_by_halves() -> None:
    text = toy_base().text  # a context of 128
    fits = of(" yes", " no", " ".join(["cat"] * (128 - 1 - len(text.prompt_ids(Prompt.ask("cat"))) + 1)))
    long = of(" yes please", " no", fits.prompt.text)
    assert readable([fits, long, QUESTIONS[0]], text) == ([fits, QUESTIONS[0]], 1)


# Before and after -------------------------------------------------------------------------------------------------------------


def believed(*matches: float) -> list[Belief]:
    return [Belief(match, 0.5) for match in matches]


def test_a_shift_is_paired_and_the_same_question_counts_once() -> None:
    asked = [QUESTIONS[0], QUESTIONS[1], QUESTIONS[1]]
    found = shift("b", asked, believed(0.2, 0.4, 0.4), [Belief(match, 0.25) for match in (0.6, 0.9, 0.7)])
    assert found.said == (0.5, 0.25)
    assert found.questions == 2
    assert found.start.mean == pytest.approx(0.3)
    assert found.policy.mean == pytest.approx(0.7)
    assert (found.change.low, found.change.mean, found.change.high) == pytest.approx((0.4, 0.4, 0.4))
    assert found.chance == pytest.approx((1 / 2 + 1 / 3 + 1 / 3) / 3)


def test_one_question_is_no_certainty() -> None:
    found = shift("b", QUESTIONS[:1], believed(0.5), believed(1.0))
    assert (found.start.low, found.start.high) == pytest.approx((0.0546, 0.9454), abs=1e-4)  # Wilson's, of one trial
    assert (found.policy.low, found.policy.high) == pytest.approx((0.2065, 1.0), abs=1e-4)


def test_each_behaviour_and_all_of_them() -> None:
    other = replace(QUESTIONS[0], behaviour="c")
    found = shifts([*QUESTIONS, other], believed(0.1, 0.1, 0.4), believed(0.2, 0.2, 0.2))
    assert [(one.behaviour, one.questions) for one in found] == [("b", 2), ("c", 1), ("all questions", 3)]
    assert found[1].change.mean == pytest.approx(-0.2)
    assert "| c | 1 | 0.50 | 0.400" in markdown(found)
    assert len(shifts(QUESTIONS, believed(0.1, 0.1), believed(0.2, 0.2))) == 1


def trained(base: Base, pairs: Sequence[Comparison]) -> Any:
    from alignzoo.learning.descent import Descent, Loss

    policy = policy_on(base)
    descend = Descent(lr=3e-3, schedule="constant").on(policy, updates=15)
    for _ in range(15):
        descend(lambda forest: Loss.over(-per_reply(policy.logps(forest), forest)[::2]), base.text.pairs(pairs))
    return policy


def test_a_policy_that_learned_to_say_yes_believes_in_yes() -> None:
    base = toy_base()
    start = policy_on(base).frozen("start")
    policy = trained(base, [Comparison(q.prompt, Completion("yes please"), Completion("no")) for q in QUESTIONS[:1]])
    [before], [after] = beliefs(start, QUESTIONS[:1]), beliefs(policy, QUESTIONS[:1])
    assert after.match > before.match
    assert after.match > 0.9
    assert after.said > before.said
