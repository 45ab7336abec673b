"""What each filter holds back, on every kind of record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from alignzoo.interfaces import Asking, Filter
from alignzoo.records import Comparison, Completion, Critique, Demonstration, Feedback, Prompt, Provenance, Ranking, Rating
from alignzoo_preference_sets.filters import (
    Boilerplate,
    Contradictions,
    Duplicates,
    Finished,
    Lengths,
    Overlap,
    PerPrompt,
    Script,
    answers_in,
    plain,
    shingles,
)
from alignzoo_preference_sets.nearness import PLACES, NearDuplicates, signature

ASK = Prompt.ask("How do I repot a cactus?")


def pair(chosen: str, rejected: str, prompt: Prompt = ASK, strength: float = 1.0, who: str = "") -> Comparison:
    return Comparison(prompt, Completion(chosen), Completion(rejected), strength, Provenance("test", who))


def passed(sieve: Filter, records: Sequence[Feedback], evaluation: Sequence[Prompt] = ()) -> list[int]:
    """The numbers of the records that pass; the rest is told."""
    asking = Asking(evaluation=evaluation)
    kept = list(sieve.sift(records, asking))
    assert isinstance(sieve, Filter)
    assert sum(cases.count for cases in asking.tally.sifted.values()) == len(records) - len(kept)
    places = [i for i, record in enumerate(records) if any(record is one for one in kept)]
    assert len(places) == len(kept)
    return places


def test_answers_of_every_kind() -> None:
    a, b = Completion("a"), Completion("b")
    kinds: list[Feedback] = [
        Demonstration(ASK, a),
        Comparison(ASK, a, b),
        Ranking(ASK, (a, b)),
        Rating(ASK, a, 1.0),
        Critique(ASK, b, "no", a),
    ]
    assert [tuple(answer.text for answer in answers_in(record)) for record in kinds] == [
        ("a",),
        ("a", "b"),
        ("a", "b"),
        ("a",),
        ("a", "b"),
    ]


def test_boilerplate() -> None:
    records = [
        pair("Use gloves.", "As an AI language model, I cannot."),
        pair("As an AI   language\nmodel, I cannot.", "Use gloves."),
        pair("I’m just an AI.", "Use gloves."),
        pair("Has a language modelled it?", "no"),
    ]
    assert passed(Boilerplate(), records) == [0, 3]
    assert passed(Boilerplate(sides="all"), records) == [3]
    assert passed(Boilerplate(phrases=("gloves",)), records) == [1, 2, 3]


def test_answers_that_were_cut() -> None:
    whole, cut = Completion("Use gloves."), Completion("Use", finished=False)
    records: list[Feedback] = [
        Comparison(ASK, whole, cut),
        Comparison(ASK, cut, whole),
        Comparison(ASK, whole, whole),
        Demonstration(ASK, cut),
        Ranking(ASK, (whole, whole, cut)),
    ]
    assert passed(Finished(), records) == [2]
    assert passed(Finished(sides="good"), records) == [0, 2, 4]


def test_lengths() -> None:
    records = [pair("one two three", "one"), pair("one", "one two"), pair("", "one"), pair("one two", "one two three four")]
    assert passed(Lengths(), records) == [0, 1, 3]
    assert passed(Lengths(most=3), records) == [0, 1]
    assert passed(Lengths(least=0, ratio=2.0), records) == [1, 2, 3]
    assert passed(Lengths(ratio=3.0, least=2), records) == [3]


def test_duplicates() -> None:
    records: list[Feedback] = [
        pair("Use gloves!", "No."),
        pair("use  gloves", "no", Prompt.ask("how do I repot a CACTUS")),
        pair("No.", "Use gloves!", who="other"),
        pair("Use gloves!", "No.", Prompt.ask("And a fern?")),
        Rating(ASK, Completion("No."), 1.0),
        Rating(ASK, Completion("No."), 0.0),
    ]
    assert passed(Duplicates(), records) == [0, 3, 4]
    assert passed(Duplicates(judgements="same"), [*records, pair("use gloves", "no")]) == [0, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("C++", "C", False),
        ("-5", "5", False),
        ("It is (-5).", "it is -5", True),
        ("1-5", "1 5", True),
        ("x > y", "x < y", False),
        ("\U0001f642", "\U0001f44e", False),
        ("5 €", "5 $", False),
        ("a well-known, `sure` thing", "A well known sure thing!", True),
        ("天空是蓝色的。", "天空 是蓝色的", True),
    ],
)
def test_a_sign_is_no_punctuation(one: str, other: str, same: bool) -> None:
    for records in ([pair(one, "No."), pair(other, "No.")], [pair("a", "b", Prompt.ask(text)) for text in (one, other)]):
        assert passed(Duplicates(), records) == ([0] if same else [0, 1])


def test_where_no_spaces_are_written_a_letter_is_a_word() -> None:
    held = "请用简单的语言向一个孩子解释一下为什么白天的天空是蓝色的"
    records = [pair("a", "b", Prompt.ask(text)) for text in (f"{held}谢谢你", f"你好{held[3:9]}", held[:7])]
    assert passed(Overlap(), records, evaluation=(Prompt.ask(held),)) == [1, 2]
    alike = [pair(held * 3, "没有"), pair(held * 3 + "谢谢", "没有"), pair("天空是蓝色的", "没有")]
    assert passed(NearDuplicates(), alike) == [0, 2]
    assert plain("東京へ行く the ก็ดี x・y") == "東 京 へ 行 く the ก ด x y" == plain("東京 へ行く THE ก็ดี x y")


def test_per_prompt() -> None:
    other = Prompt.ask("And a fern?")
    records = [
        pair("a", "b"),
        pair("a", "c"),
        pair("a", "b", other),
        pair("a", "d"),
        pair("a", "c", other),
        pair("b", "d", other),
    ]
    assert passed(PerPrompt(most=2), records) == [0, 1, 2, 4]


def test_contradictions() -> None:
    tie = pair("a", "b", strength=0.5)
    records = [
        pair("a", "b"),
        pair("b", "a"),
        pair("a", "b", strength=0.2),
        pair("a", "b"),
        tie,
        pair("b", "a", Prompt.ask("Else?")),
    ]
    assert passed(Contradictions(), records) == [0, 3, 4, 5]
    assert passed(Contradictions(keep="none"), records) == [4, 5]


def test_contradictory_thumbs() -> None:
    """Of one answer, by one value. A score in the middle takes no side, and a repeated thumb contradicts nobody."""
    up, down = (Rating(ASK, Completion("a"), score) for score in (1.0, 0.0))
    others = [Rating(ASK, Completion("a"), 0.0, "funny"), Rating(ASK, Completion("b"), 0.0)]
    records = [up, down, replace(up, score=0.5), replace(up, score=0.9), *others, replace(down, prompt=Prompt.ask("Else?"))]
    assert passed(Contradictions(), records) == [0, 2, 3, 4, 5, 6]
    assert passed(Contradictions(keep="none"), records) == [2, 4, 5, 6]
    stars = [replace(up, score=score) for score in (4.0, 5.0, 3.0, 2.0)]
    assert passed(Contradictions(), stars) == [0, 1, 2, 3]
    assert passed(Contradictions(middle=3.0), stars) == [0, 1, 2]


def test_a_ranking_contradicts_with_any_of_its_pairs() -> None:
    a, b, c = map(Completion, "abc")
    records: list[Feedback] = [
        Ranking(ASK, (a, b, c), (0, 1, 1)),
        pair("c", "b"),
        pair("c", "a"),
        Ranking(ASK, (b, a)),
        Critique(ASK, a, "no", b),
        Ranking(ASK, (c, c)),
        Demonstration(ASK, b),
    ]
    assert passed(Contradictions(), records) == [0, 1, 5, 6]
    assert passed(Contradictions(keep="none"), records) == [1, 5, 6]


def test_overlap_with_what_is_judged_on() -> None:
    long = "please tell me in a few words how one may best repot a cactus without being hurt"
    asked = [Prompt.ask("Why?"), Prompt.ask(f"Hello! {long.upper()}.")]
    records = [
        pair("a", "b", Prompt.ask("why")),
        pair("a", "b", Prompt.ask("Why not?")),
        pair("a", "b", Prompt.ask(f"Now {long}, and a fern too")),
        pair("a", "b", Prompt.ask("please tell me in a few sentences how to swim")),
    ]
    assert passed(Overlap(), records, asked) == [1, 3]
    assert passed(Overlap(words=6), records, asked) == [1]
    assert passed(Overlap(), records) == [0, 1, 2, 3]
    assert len(shingles("one two three four", 3)) == 2


def test_script() -> None:
    records = [pair("Ça va très bien.", "ok"), pair("Хорошо", "ok"), pair("123 …", "ok"), pair("abcdefgh жж", "ok")]
    assert passed(Script(), records) == [0, 2, 3]
    assert passed(Script(("CYRILLIC", "LATIN")), records) == [0, 1, 2, 3]
    assert passed(Script(share=0.81), records) == [0, 2]


def test_plain_words() -> None:
    assert plain("  Don’t\nSTOP-me_now, Straße ") == "dont stop me now strasse"


# Near-duplicates --------------------------------------------------------------------------------------------------------------


def words(start: int, count: int = 60) -> str:
    return " ".join(f"w{number}" for number in range(start, start + count))


def test_near_duplicates() -> None:
    base = words(0)
    records: list[Any] = [
        pair(base, "no"),
        pair(words(1), "no"),
        pair(words(500), "no"),
        pair(words(40), "no"),
        pair(base, "no"),
    ]
    assert passed(NearDuplicates(), records) == [0, 2, 3]
    assert passed(NearDuplicates(alike=1.0), records) == [0, 1, 2, 3]


def test_signatures_agree_as_often_as_shingles_do() -> None:
    """Shingles w0…w59 and w20…w79 of one word: 40 of 80 are shared."""
    ones = [signature(words(0), 1, seed) for seed in range(20)]
    others = [signature(words(20), 1, seed) for seed in range(20)]
    share = float(np.mean([np.mean(one == other) for one, other in zip(ones, others, strict=True)]))
    assert share == pytest.approx(0.5, abs=0.03)
    assert len(ones[0]) == PLACES
    assert (signature("", 3, 0) == signature("!", 3, 0)).all()
