"""The nouns: what they refuse, how they look on disk, and what each conversion keeps."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignzoo.records import (
    NOWHERE,
    Comparison,
    Completion,
    Critique,
    Demonstration,
    Feedback,
    Prompt,
    Provenance,
    Ranking,
    Rating,
    RecordError,
    Turn,
    comparison_of_critique,
    comparisons_in,
    comparisons_of_ratings,
    completion_from_row,
    completion_to_row,
    demonstration_of_comparison,
    demonstration_of_critique,
    demonstrations_in,
    from_json,
    oriented,
    pairs_of_ranking,
    prompt_from_row,
    prompt_to_row,
    ratings_in,
    ratings_of_comparison,
    record_from_row,
    to_json,
)

ASK = Prompt.ask("Is the tent small?")
A, B, C = Completion("yes"), Completion("no"), Completion("perhaps")
HERE = Provenance("votes", annotator="ann", licence="CC0")

# What records refuse ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Turn("robot", "hi"), "a turn belongs to one of system, user, assistant; got 'robot'"),
        (lambda: Prompt(()), "a prompt needs at least one turn"),
        (lambda: Completion("a", (1, 2), logps=(0.5,)), "2 tokens cannot have 1 log-probabilities"),
        (lambda: Comparison(ASK, A, B, strength=1.2), "between 0 and 1; got 1.2"),
        (lambda: Comparison(ASK, A, B, strength=math.nan), "between 0 and 1; got nan"),
        (lambda: Ranking(ASK, (A,)), "a ranking needs two answers or more; got 1"),
        (lambda: Ranking(ASK, (A, B), (0,)), "2 answers cannot have 1 ranks"),
        (lambda: Ranking(ASK, (A, B), (1, 0)), "a ranking lists the best first; got the ranks [1, 0]"),
        (lambda: Rating(ASK, A, math.inf), "a rating is a finite number; got inf"),
        (lambda: Rating(ASK, A, math.nan), "a rating is a finite number; got nan"),
        (lambda: Rating(ASK, A, 10**309), "a rating is a finite number; got 1000"),
        (lambda: Turn("user", None), "what a turn says is a text; got None"),
        (lambda: Prompt("why"), "a prompt is a tuple of turns, and Prompt.ask(text) makes one of a question; got 'why'"),
        (lambda: Prompt([Turn("user", "why")]), "a prompt is a tuple of turns"),
        (lambda: Completion(3), "a completion is a text; got 3"),
        (lambda: Demonstration("why", A), "what was asked is a Prompt, and Prompt.ask(text) makes one; got 'why'"),
        (lambda: Demonstration(ASK, "a"), "what was answered is a Completion, and Completion(text) makes one; got 'a'"),
        (lambda: Comparison(ASK, A, "b"), "what was answered is a Completion"),
        (lambda: Comparison(ASK, "a", B), "what was answered is a Completion"),
        (lambda: Ranking(ASK, (A, "b")), "what was answered is a Completion"),
        (lambda: Rating("why", A, 1.0), "what was asked is a Prompt"),
        (lambda: Critique(ASK, A, "too short", "b"), "what was answered is a Completion"),
    ],
)
def test_a_record_that_cannot_be_is_refused(make: Any, message: str) -> None:
    with pytest.raises(RecordError) as error:
        make()
    assert message in str(error.value)


def test_records_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ASK.turns = ()  # type: ignore[misc]


def test_a_prompt_is_asked_with_or_without_instructions() -> None:
    assert Prompt.ask("hi").turns == (Turn("user", "hi"),)
    assert Prompt.ask("hi", system="be brief").turns == (Turn("system", "be brief"), Turn("user", "hi"))
    assert Prompt.ask("hi", system="be brief").text == "hi"


def test_the_id_of_a_prompt_is_its_turns() -> None:
    assert Prompt.ask("hi").id == Prompt((Turn("user", "hi"),)).id
    others = [Prompt.ask("hi "), Prompt((Turn("assistant", "hi"),)), Prompt.ask("i", system="h"), Prompt.ask("hï")]
    assert len({Prompt.ask("hi").id, *(prompt.id for prompt in others)}) == 5
    assert Prompt.ask("hi").id == "675b797826f34c78", "ids are in files: they cannot change"


def test_a_ranking_without_ranks_has_no_ties() -> None:
    assert Ranking(ASK, (A, B, C)).ranks == (0, 1, 2)


def test_logps_are_no_part_of_what_was_said() -> None:
    assert Completion("a", (1,), logps=(-0.5,)) == Completion("a", (1,))


# On disk ----------------------------------------------------------------------------------------------------------------

texts = st.text(max_size=12)
words = st.text(min_size=1, max_size=8)
prompts = st.builds(
    Prompt, st.lists(st.builds(Turn, st.sampled_from(["system", "user", "assistant"]), texts), min_size=1).map(tuple)
)
completions = st.builds(Completion, texts, st.lists(st.integers(0, 50_000), max_size=5).map(tuple), st.booleans())
provenances = st.just(NOWHERE) | st.builds(Provenance, words, texts, texts, texts, texts, texts)
shares = st.floats(0, 1)


@st.composite
def rankings(draw: st.DrawFn) -> Ranking:
    answers = tuple(draw(st.lists(completions, min_size=2, max_size=5)))
    ranks = sorted(draw(st.lists(st.integers(0, 4), min_size=len(answers), max_size=len(answers))))
    return Ranking(draw(prompts), answers, tuple(ranks), draw(provenances))


feedback: st.SearchStrategy[Feedback] = st.one_of(
    st.builds(Demonstration, prompts, completions, provenances),
    st.builds(Comparison, prompts, completions, completions, shares, provenances),
    rankings(),
    st.builds(Rating, prompts, completions, st.floats(allow_nan=False, allow_infinity=False), words, provenances),
    st.builds(Critique, prompts, completions, texts, completions, texts, provenances),
)


@given(feedback)
def test_every_record_comes_back_from_its_line(record: Feedback) -> None:
    line = to_json(record)
    assert "\n" not in line
    assert from_json(line) == record
    assert to_json(from_json(line)) == line


@given(prompts, completions)
def test_prompts_and_completions_come_back_from_their_rows(prompt: Prompt, completion: Completion) -> None:
    assert prompt_from_row(json.loads(json.dumps(prompt_to_row(prompt)))) == prompt
    assert completion_from_row(json.loads(json.dumps(completion_to_row(completion)))) == completion


@given(feedback)
def test_a_row_that_is_parsed_already_is_the_same_record_and_stays_as_it_is(record: Feedback) -> None:
    row = json.loads(to_json(record))
    assert record_from_row(row) == record
    assert row == json.loads(to_json(record))


def test_a_line_is_what_a_person_would_write() -> None:
    assert json.loads(to_json(Rating(ASK, A, 1.0, provenance=HERE))) == {
        "kind": "rating",
        "prompt": {"turns": [{"speaker": "user", "text": "Is the tent small?"}]},
        "completion": {"text": "yes", "finished": True},
        "score": 1.0,
        "value": "overall",
        "provenance": {"source": "votes", "annotator": "ann", "licence": "CC0"},
    }


def test_log_probabilities_stay_in_memory() -> None:
    line = to_json(Demonstration(ASK, Completion("a", (1,), logps=(-0.25,))))
    assert "logps" not in line
    assert "-0.25" not in line


GOOD: dict[str, Any] = json.loads(to_json(Comparison(ASK, A, B, provenance=HERE)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "vote"}, "'kind' must be one of demonstration, comparison, ranking, rating, critique; got 'vote'"),
        ({"kind": None}, "got None"),
        ({"kind": ["comparison"]}, "got ['comparison']"),
        ({"better": 1}, "'comparison' has no field 'better'; it has prompt, chosen, rejected, strength, provenance"),
        ({"chosen": "yes"}, "'comparison.chosen' must be a table; got str"),
        ({"chosen": {"txt": "yes"}}, "'comparison.chosen' has no field 'txt'"),
        ({"chosen": {"finished": True}}, "'comparison.chosen' is missing 'text'"),
        ({"chosen": {"text": 3}}, "'comparison.chosen.text' must be str; got 3"),
        ({"chosen": {"text": "a", "finished": "no"}}, "'comparison.chosen.finished' must be bool; got 'no'"),
        ({"chosen": {"text": "a", "tokens": [1, 2.5]}}, "'comparison.chosen.tokens' must be a list of whole numbers"),
        ({"chosen": {"text": "a", "tokens": [True]}}, "'comparison.chosen.tokens' must be a list of whole numbers"),
        ({"chosen": {"text": "a", "logps": [-1.0]}}, "'comparison.chosen' has no field 'logps'"),
        ({"strength": True}, "'comparison.strength' must be int or float; got True"),
        ({"strength": 2}, "between 0 and 1; got 2"),
        ({"prompt": {"turns": "hi"}}, "'comparison.prompt.turns' must be a list; got str"),
        ({"prompt": {"turns": []}}, "a prompt needs at least one turn"),
        ({"prompt": {"turns": ["hi"]}}, "'comparison.prompt.turns[0]' must be a table; got str"),
        ({"prompt": {"turns": [{"speaker": "me", "text": "a"}]}}, "a turn belongs to one of system, user, assistant; got 'me'"),
        ({"prompt": {"turns": [{"speaker": 1, "text": "a"}]}}, "'comparison.prompt.turns[0].speaker' must be str"),
        ({"provenance": {"source": 1}}, "'comparison.provenance.source' must be str; got 1"),
        ({"provenance": {"source": "\ud800"}}, "'comparison.provenance.source' holds half of a surrogate pair"),
        ({"rejected": {"text": "\ud800"}}, "'comparison.rejected.text' holds half of a surrogate pair"),
    ],
)
def test_a_bad_line_says_what_and_where(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError) as error:
        from_json(json.dumps({**GOOD, **change}))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "'kind' must be one of demonstration, comparison, ranking, rating, critique; got 'list'"),
        ('{"kind": "rating"}', "'rating' is missing"),
        ('{"kind": ' + "[" * 100_000, "not JSON"),
        ('{"kind": "rating", "score": ' + "9" * 5000 + "}", "not JSON"),
    ],
)
def test_a_line_that_is_no_record_says_so(line: str, message: str) -> None:
    with pytest.raises(RecordError) as error:
        from_json(line)
    assert message in str(error.value)


def test_every_missing_field_is_named() -> None:
    with pytest.raises(RecordError, match="'rating' is missing 'prompt', 'completion', and 'score'"):
        from_json('{"kind": "rating"}')


# Conversions ------------------------------------------------------------------------------------------------------------


def test_a_ranking_gives_every_pair_whose_ranks_differ() -> None:
    pairs = pairs_of_ranking(Ranking(ASK, (A, B, C), (0, 1, 1), HERE))
    assert pairs == (Comparison(ASK, A, B, provenance=HERE), Comparison(ASK, A, C, provenance=HERE))
    assert [(p.chosen, p.rejected) for p in pairs_of_ranking(Ranking(ASK, (A, B, C)))] == [(A, B), (A, C), (B, C)]
    assert pairs_of_ranking(Ranking(ASK, (A, B), (0, 0))) == ()


def test_a_comparison_gives_two_ratings() -> None:
    up, down = ratings_of_comparison(Comparison(ASK, A, B, strength=0.75, provenance=HERE))
    assert up == Rating(ASK, A, 0.75, provenance=HERE)
    assert down == Rating(ASK, B, 0.25, provenance=HERE)


def test_a_critique_gives_a_comparison_and_a_demonstration() -> None:
    critique = Critique(ASK, B, "rude", A, "polite", HERE)
    assert comparison_of_critique(critique) == Comparison(ASK, A, B, provenance=HERE)
    assert demonstration_of_critique(critique) == Demonstration(ASK, A, HERE)


def test_a_comparison_gives_a_demonstration_when_asked() -> None:
    assert demonstration_of_comparison(Comparison(ASK, A, B, 0.9, HERE)) == Demonstration(ASK, A, HERE)


def test_ratings_of_one_prompt_source_and_value_give_comparisons() -> None:
    rows = [Rating(ASK, A, 1, provenance=HERE), Rating(ASK, B, 5, provenance=HERE), Rating(ASK, C, 5, provenance=HERE)]
    other_prompt = Rating(Prompt.ask("else"), A, 9, provenance=HERE)
    other_source = Rating(ASK, Completion("x"), 9, provenance=Provenance("elsewhere"))
    other_value = Rating(ASK, Completion("y"), 9, "polite", HERE)
    same_text = Rating(ASK, A, 7, provenance=HERE)
    expected = (Comparison(ASK, B, A, provenance=HERE), Comparison(ASK, C, A, provenance=HERE))
    assert comparisons_of_ratings([*rows, other_prompt, other_source, other_value]) == expected
    assert comparisons_of_ratings([rows[0], same_text]) == ()


def test_an_unlikely_side_is_turned_round() -> None:
    turned = oriented(Comparison(ASK, A, B, 0.25, HERE))
    assert turned == Comparison(ASK, B, A, 0.75, HERE)
    assert oriented(turned) is turned


@given(st.builds(Comparison, prompts, completions, completions, shares, provenances))
def test_turning_round_loses_nothing(comparison: Comparison) -> None:
    turned = oriented(comparison)
    assert turned.strength >= 0.5
    if turned is not comparison:
        assert (turned.chosen, turned.rejected) == (comparison.rejected, comparison.chosen)
        assert turned.strength == 1 - comparison.strength


BODY: tuple[Feedback, ...] = (
    Demonstration(ASK, C, HERE),
    Comparison(ASK, A, B, 0.25, HERE),
    Ranking(ASK, (A, B, C), (0, 1, 1), HERE),
    Rating(ASK, A, 4, provenance=HERE),
    Critique(ASK, B, "rude", A, "polite", HERE),
)


def test_one_body_of_feedback_teaches_in_every_form() -> None:
    assert [(c.chosen, c.rejected, c.strength) for c in comparisons_in(BODY)] == [
        (B, A, 0.75),
        (A, B, 1.0),
        (A, C, 1.0),
        (A, B, 1.0),
    ]
    assert [(r.completion, r.score) for r in ratings_in(BODY)] == [
        *[(B, 0.75), (A, 0.25)],
        *[(A, 1.0), (B, 0.0), (A, 1.0), (C, 0.0)],
        (A, 4),
        *[(A, 1.0), (B, 0.0)],
    ]
    assert [d.completion for d in demonstrations_in(BODY)] == [C, A]


def test_provenance_survives_every_conversion() -> None:
    out = [*comparisons_in(BODY), *ratings_in(BODY), *demonstrations_in(BODY)]
    assert {record.provenance for record in out} == {HERE}


def test_a_tie_is_half() -> None:
    assert Comparison(ASK, A, B, 0.5).tie
    assert not Comparison(ASK, A, B, 0.51).tie
