"""Every row that is left out, cut, tied, doubled or contradicted is counted, and too many are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tokenizers.normalizers import Replace

from alignzoo.interfaces import Lesson, LessonError
from alignzoo.learning.choices import Limits
from alignzoo.learning.intake import Intake, IntakeError, admit, check_lesson
from alignzoo.model.text import Text, _prompt_ids, _reply_ids
from alignzoo.records import Comparison, Completion, Demonstration, Prompt, Ranking, Rating
from alignzoo.testing import toy_tokenizer

TEXT = Text.of(toy_tokenizer(), context=8)
PLAIN = Text.of(toy_tokenizer(), "plain", context=8)
ASK, OTHER = Prompt.ask("why"), Prompt.ask("how")
ANY = Limits(dropped=1.0, contradictory=1.0)
LONG = " ".join(["yes"] * 8)


def pair(chosen: str, rejected: str, ask: Prompt = ASK, strength: float = 1.0) -> Comparison:
    return Comparison(ask, Completion(chosen), Completion(rejected), strength)


def taken(*pairs: Comparison, limits: Limits = ANY, text: Text = TEXT) -> tuple[tuple[Comparison, ...], Intake]:
    lesson, intake = admit(Lesson(comparisons=pairs), ("comparisons",), text, limits)
    return tuple(lesson.comparisons), intake


def test_good_rows_are_kept_as_they_are() -> None:
    rows = (pair("yes", "no"), pair("yes", "no", OTHER))
    kept, intake = taken(*rows)
    assert kept == rows
    assert (intake.rows, intake.kept, dict(intake.dropped), dict(intake.noticed)) == (2, 2, {}, {})


def test_what_cannot_be_learned_from_is_left_out_by_reason() -> None:
    so, cut = Completion("so"), Completion("so", finished=False)
    rows = (
        pair("yes", "no"),
        pair("yes", "yes"),
        pair("yes", LONG),
        Comparison(ASK, Completion("", finished=False), cut),
        Comparison(ASK, so, cut),  # one ended and the other did not: a difference to learn from
    )
    kept, intake = taken(*rows)
    assert kept == (rows[0], rows[4])
    assert dict(intake.dropped) == {"both sides are the same": 1, "a reply longer than the context": 1, "an empty reply": 1}
    assert (intake.rows, intake.kept) == (5, 2)
    assert intake.lines()[0] == "5 rows, 2 kept"
    assert "  dropped 1: an empty reply" in intake.lines()
    assert intake.row() == {"rows": 5, "kept": 2, "dropped": dict(intake.dropped), "noticed": {}}


@pytest.mark.parametrize("text", [TEXT, PLAIN], ids=["chat", "plain"])
@pytest.mark.parametrize("asked", ["", " \n\t"])
def test_blank_prompts_are_left_out_as_files_of_prompts_refuse_them(asked: str, text: Text) -> None:
    """Also where a template puts tokens there, and whatever was said before."""
    kept, intake = taken(
        pair("yes", "no", Prompt.ask(asked)), pair("yes", "no", Prompt.ask(asked, system="why")), pair("yes", "no"), text=text
    )
    assert kept == (pair("yes", "no"),)
    assert dict(intake.dropped) == {"a blank prompt": 2}


def test_prompts_that_no_token_stands_for_are_left_out() -> None:
    """Before the training that would stumble over them."""
    deaf = toy_tokenizer()
    deaf.backend_tokenizer.normalizer = Replace("how", "")
    kept, intake = taken(pair("yes", "no", OTHER), pair("yes", "no"), text=Text.of(deaf, "plain", context=8))
    assert kept == (pair("yes", "no"),)
    assert dict(intake.dropped) == {"an empty prompt has no token to predict from; give it some text": 1}


def test_a_reply_must_leave_room_for_a_token_before_it() -> None:
    """In a context of 8: six words and their end are 7 tokens, seven words fill it."""
    six, seven = (" ".join(["yes"] * count) for count in (6, 7))
    kept, intake = taken(pair(six, "no"), pair(seven, "no"))
    assert kept == (pair(six, "no"),)
    assert dict(intake.dropped) == {"a reply longer than the context": 1}


def test_a_text_that_no_token_stands_for_is_an_empty_reply() -> None:
    """As a tokenizer may have it that drops what it does not know."""
    tokenizer = toy_tokenizer()
    tokenizer.backend_tokenizer.normalizer = Replace("~", "")
    _, intake = taken(Comparison(ASK, Completion("~", finished=False), Completion("no")), text=Text.of(tokenizer, context=8))
    assert dict(intake.dropped) == {"an empty reply": 1}


def test_prompts_are_cut_for_the_longest_of_their_replies() -> None:
    """A prompt of 4 tokens beside 4 of a reply fills the context of 8; beside 5 it loses its beginning."""
    assert len(TEXT.prompt_ids(ASK)) == 4
    assert dict(taken(pair("yes yes yes", "no"))[1].noticed) == {}
    said = taken(pair("yes", "no no no no"), pair("so", "no no no no"))[1].noticed
    assert said["prompts that lose their beginning to the context"] == 1


def test_ties_doubles_and_contradictions_are_counted_and_kept() -> None:
    rows = (
        pair("yes", "no"),
        pair("yes", "no"),  # doubled
        pair("no", "yes"),  # contradicts both, and they it
        pair("yes", "no", OTHER),  # another prompt
        pair("good", "bad", strength=0.5),
    )
    kept, intake = taken(*rows)
    assert kept == rows
    assert dict(intake.noticed) == {"ties": 1, "doubled": 1, "contradicted by another row": 3}
    assert "  noticed 3: contradicted by another row" in intake.lines()


def test_a_tie_contradicts_nobody() -> None:
    """However it is written down."""
    rows = (pair("yes", "no", strength=0.5), pair("no", "yes", strength=0.5), pair("no", "yes"))
    assert dict(taken(*rows)[1].noticed) == {"ties": 2, "doubled": 1}


def test_who_is_preferred_is_by_strength() -> None:
    """Below one half it is the rejected side: whoever is chosen with 0.3 is contradicted by who is chosen for sure, and says
    the same as the other way round with 0.7."""
    assert dict(taken(pair("yes", "no", strength=0.3), pair("yes", "no"))[1].noticed) == {"contradicted by another row": 2}
    assert dict(taken(pair("yes", "no", strength=0.3), pair("no", "yes", strength=0.7))[1].noticed) == {"doubled": 1}


def test_comparisons_that_are_all_ties_are_refused() -> None:
    """What is left of them counts: the only pair that prefers something cannot be read."""
    ties = [pair("yes", "no", strength=0.5), pair("good", "bad", strength=0.5)]
    with pytest.raises(IntakeError, match="all 2 comparisons that can be used are ties"):
        admit(Lesson(comparisons=[*ties, pair("yes", "")]), ("comparisons",), TEXT, Limits(dropped=0.9))
    assert admit(Lesson(comparisons=ties), ("demonstrations",), TEXT)[1].rows == 0


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (Completion("", finished=False), "an empty reply"),
        (Completion(""), "an empty reply"),
        (Completion(" \n"), "an empty reply"),
        (Completion("yes please", (9, 8, 7, 2)), "token ids of another tokenizer"),
        (Completion("yes please", (100_000, 2)), "token ids of another tokenizer"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_pairs_with_one_side_that_cannot_be_read_are_refused(odd: Completion, reason: str, turned: bool) -> None:
    """On either side, by the reason, before anything is asked of a model: `admit` has only the tokenizer."""
    sides = (odd, Completion("no")) if turned else (Completion("no"), odd)
    row = Comparison(ASK, *sides)
    assert dict(taken(row)[1].dropped) == {reason: 1}
    with pytest.raises(IntakeError, match=f"1 of 2 rows cannot be used, (.|\n)*dropped 1: {reason}"):
        taken(row, pair("yes", "no"), limits=Limits())


def test_an_answer_of_nothing_that_was_really_written_is_kept() -> None:
    row = Comparison(ASK, Completion("no"), Completion("", (TEXT.end,)))
    assert taken(row)[0] == (row,)


def test_too_many_left_out_are_refused() -> None:
    rows = [pair("yes", "no")] * 4 + [pair("no", "no")]
    assert taken(*rows, limits=Limits(dropped=0.2))[1].kept == 4
    with pytest.raises(IntakeError, match=r"2 of 6 rows cannot be used, more than intake.dropped = 0.2") as refused:
        taken(*rows, pair("yes", LONG), limits=Limits(dropped=0.2))
    assert "dropped 1: both sides are the same" in str(refused.value)


def test_too_many_contradictions_are_refused() -> None:
    rows = [pair("yes", "no"), pair("no", "yes"), pair("a", "the"), pair("a", "so")]
    assert taken(*rows, limits=Limits(contradictory=0.5))[1].kept == 4
    with pytest.raises(
        IntakeError, match=r"2 of 3 comparisons are contradicted by others, more than intake.contradictory = 0.5"
    ):
        taken(*rows[:3], limits=Limits(contradictory=0.5))


def test_only_what_is_needed_is_looked_at() -> None:
    lesson = Lesson(
        comparisons=(pair("yes", "yes"),),
        demonstrations=(Demonstration(ASK, Completion("yes")), Demonstration(ASK, Completion(LONG))),
    )
    admitted, intake = admit(lesson, ("demonstrations",), TEXT, ANY)
    assert (intake.rows, intake.kept) == (2, 1)
    assert admitted.comparisons == lesson.comparisons
    assert len(admitted.demonstrations) == 1
    assert admit(lesson, (), TEXT)[0] == lesson


def test_demonstrations_ratings_and_rankings_are_counted_too() -> None:
    yes, empty = Completion("yes"), Completion("", finished=False)
    lesson = Lesson(
        demonstrations=(Demonstration(ASK, yes), Demonstration(ASK, yes), Demonstration(OTHER, yes)),
        ratings=(Rating(ASK, yes, 1.0), Rating(ASK, Completion("no"), 1.0), Rating(ASK, empty, 1.0)),
        rankings=(Ranking(ASK, (yes, empty)), Ranking(ASK, (yes, Completion("no")))),
    )
    admitted, intake = admit(lesson, ("demonstrations", "ratings", "rankings"), TEXT, ANY)
    assert (len(admitted.demonstrations), len(admitted.ratings), len(admitted.rankings)) == (3, 2, 1)
    assert dict(intake.dropped) == {"an empty reply": 2}
    assert dict(intake.noticed) == {"doubled": 1, "equal: every score is the same": 3}


def test_each_time_beyond_the_first_is_one_doubled() -> None:
    yes, no = Completion("yes"), Completion("no")
    assert dict(taken(*[pair("yes", "no")] * 3, pair("yes", "no", OTHER))[1].noticed) == {"doubled": 2}
    lesson = Lesson(
        demonstrations=[Demonstration(ASK, yes)] * 3,
        ratings=[
            Rating(ASK, yes, 1.0),
            Rating(ASK, yes, 0.0),
            Rating(ASK, yes, 1.0),
            Rating(ASK, no, 1.0),
            Rating(OTHER, yes, 1.0),
        ],
    )
    for kind in ("demonstrations", "ratings"):
        assert dict(admit(lesson, (kind,), TEXT, ANY)[1].noticed) == {"doubled": 2}


def test_nothing_is_nothing() -> None:
    assert taken(limits=Limits(0.0, 0.0))[1].lines() == []  # who learns from no feedback is told nothing of it


def test_ids_of_another_tokenizer_are_left_out() -> None:
    """Ids that do not say the text beside them would be learned as something else."""
    own = TEXT.completion(TEXT.reply_ids(Completion("yes please")))
    foreign = Completion("yes please", (9, 8, 7, 2))
    beyond = Completion("yes please", (100_000, 2))
    lesson = Lesson(demonstrations=[Demonstration(Prompt.ask("why"), said) for said in (own, foreign, beyond)])
    kept, intake = admit(lesson, ("demonstrations",), TEXT, Limits(dropped=1.0))
    assert [shown.completion for shown in kept.demonstrations] == [own]
    assert intake.dropped == {"token ids of another tokenizer": 2}


def test_sides_that_this_tokenizer_cannot_tell_apart_are_left_out() -> None:
    lesson = Lesson(comparisons=[Comparison(Prompt.ask("why"), Completion("zebra"), Completion("yak"))])
    _, intake = admit(lesson, ("comparisons",), TEXT, Limits(dropped=1.0))
    assert intake.dropped == {"both sides are the same to this tokenizer": 1}


@pytest.mark.parametrize("kind", ["demonstrations", "ratings", "rankings"])
def test_prompts_that_will_be_cut_are_counted(kind: str) -> None:
    prompts, yes, no = (Prompt.ask("why " * TEXT.context), Prompt.ask("why")), Completion("yes"), Completion("no")
    lesson = Lesson(
        demonstrations=[Demonstration(prompt, yes) for prompt in prompts],
        ratings=[Rating(prompt, yes, float(place)) for place, prompt in enumerate(prompts)],
        rankings=[Ranking(prompt, (yes, no)) for prompt in prompts],
    )
    kept, intake = admit(lesson, (kind,), TEXT)
    assert len(getattr(kept, kind)) == 2
    assert intake.noticed == {"prompts that lose their beginning to the context": 1}


# Once ---------------------------------------------------------------------------------------------------------------------


def asked_for() -> int:
    """How often ids of a text were asked for."""
    return sum(read.cache_info().hits + read.cache_info().misses for read in (_prompt_ids, _reply_ids))


def test_a_row_that_was_kept_is_looked_at_once() -> None:
    """More rows than there are ids remembered of would be made into tokens once more for every look."""
    rows = [pair(f"yes {number}", f"no {number}", Prompt.ask(f"why {number}")) for number in range(20)]
    before = asked_for()
    lesson, _ = admit(Lesson(comparisons=rows), ("comparisons",), TEXT, ANY)
    assert asked_for() - before == 20 * 5  # the prompt, and both sides twice: also to tell whether they are the same
    before = asked_for()
    check_lesson(lesson, ("comparisons",), TEXT)
    assert asked_for() == before
    check_lesson(Lesson(comparisons=rows), ("comparisons",), TEXT)  # nobody admitted these
    assert asked_for() > before


BAD = pair("yes", LONG)


@pytest.mark.parametrize(
    ("needs", "change", "text"),
    [
        (("comparisons",), {"comparisons": (pair("yes", "no"), BAD)}, TEXT),
        (("comparisons",), {}, replace(TEXT, context=3)),
        (("comparisons",), {}, Text.of(toy_tokenizer(), context=3)),
        (("demonstrations",), {}, TEXT),
    ],
    ids=["other rows", "less context", "another tokenizer", "what was not looked at"],
)
def test_what_was_admitted_otherwise_is_looked_at(needs: tuple[str, ...], change: dict[str, Any], text: Text) -> None:
    shown = (Demonstration(ASK, Completion("yes")), Demonstration(ASK, Completion(LONG)))
    whole = Lesson(comparisons=[pair("yes", "no so", Prompt.ask("why yes"))], demonstrations=shown)
    lesson, intake = admit(whole, ("comparisons",), TEXT, ANY)
    assert intake.dropped.total() == 0
    with pytest.raises(LessonError, match=f"{needs[0]}.* cannot be learned from"):
        check_lesson(replace(lesson, **change), needs, text)


def test_a_list_that_is_changed_after_it_was_looked_at_is_looked_at() -> None:
    rows = [pair("yes", "no")]
    admitted, _ = admit(Lesson(comparisons=rows), ("comparisons",), TEXT, ANY)
    rows.append(BAD)
    check_lesson(admitted, ("comparisons",), TEXT)
    with pytest.raises(LessonError, match=r"comparisons\[1\]"):
        check_lesson(Lesson(comparisons=rows), ("comparisons",), TEXT)
