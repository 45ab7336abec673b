"""Asking to be judged: plain prompts in, plain verdicts out."""

from __future__ import annotations

import pytest

from alignzoo.records import Prompt, Turn
from alignzoo_playground.judging import (
    PRINCIPLES,
    PrincipleError,
    critique_prompt,
    judge_prompt,
    read_verdict,
    revise_prompt,
)

ASKED = Prompt((Turn("user", "Hello!"), Turn("assistant", "Sure."), Turn("user", "Where is the\n tent?")))


def test_prompts_are_one_plain_user_turn():
    assert judge_prompt("polite", ASKED, "It is red.", "Ugh,\nno.").turns == (
        Turn("user", "Which reply is more polite?\nRequest: Where is the tent?\nA: It is red.\nB: Ugh, no."),
    )
    assert critique_prompt("brief", ASKED, "It is red.").turns == (
        Turn("user", "Is the reply brief?\nRequest: Where is the tent?\nReply: It is red."),
    )
    assert revise_prompt("correct", ASKED, "It is red.", "The reply is wrong.").turns == (
        Turn(
            "user",
            "Write a more correct reply.\nRequest: Where is the tent?\nReply: It is red.\nCritique: The reply is wrong.",
        ),
    )


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("better: A", "first"),
        ("think: the tent is small. A is wrong. B is right. better: B", "second"),
        ("better: A. No, better: B", "second"),
        ("better : B", "second"),
        ("A is better", ""),
        ("better: C", ""),
        ("", ""),
    ],
)
def test_verdicts_are_read_from_the_text(text, verdict):
    assert read_verdict(text) == verdict


def test_an_unknown_principle_is_refused_by_name():
    for ask in (
        lambda: judge_prompt("kind", ASKED, "a", "b"),
        lambda: critique_prompt("kind", ASKED, "a"),
        lambda: revise_prompt("kind", ASKED, "a", "b"),
    ):
        with pytest.raises(PrincipleError, match="'kind' is no principle here; choose one of helpful, correct"):
            ask()
    assert len(PRINCIPLES) == 5
