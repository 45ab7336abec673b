"""How to ask the embedded model, or any other, to judge, to criticise and to revise: ordinary prompts in plain words.

Only text goes in and comes out. A verdict is read from what was written; a text that holds none is an empty verdict.
"""

from __future__ import annotations

import re
from typing import Literal

from alignzoo.records import Prompt
from alignzoo_playground.gold import asked_in

VALUE_OF = {"helpful": "helpful", "correct": "honest", "harmless": "harmless", "polite": "polite", "brief": "brief"}
"""The gold value that each principle is about."""

PRINCIPLES = tuple(VALUE_OF)

Verdict = Literal["first", "second", ""]

_VERDICT = re.compile(r"\bbetter\s*:\s*([AB])\b")


class PrincipleError(ValueError):
    """A principle that nobody here can judge by."""


def judge_prompt(principle: str, prompt: Prompt, first: str, second: str) -> Prompt:
    """Ask which of two replies to a prompt is the better one under a principle. Ask in both orders: judges lean."""
    checked(principle)
    return Prompt.ask(
        f"Which reply is more {principle}?\nRequest: {_line(asked_in(prompt))}\nA: {_line(first)}\nB: {_line(second)}"
    )


def critique_prompt(principle: str, prompt: Prompt, reply: str) -> Prompt:
    """Ask what is wrong with a reply under a principle."""
    checked(principle)
    return Prompt.ask(f"Is the reply {principle}?\nRequest: {_line(asked_in(prompt))}\nReply: {_line(reply)}")


def revise_prompt(principle: str, prompt: Prompt, reply: str, critique: str) -> Prompt:
    """Ask for a better reply, given what was wrong with the first."""
    checked(principle)
    return Prompt.ask(
        f"Write a more {principle} reply.\nRequest: {_line(asked_in(prompt))}\nReply: {_line(reply)}\n"
        f"Critique: {_line(critique)}"
    )


def read_verdict(text: str) -> Verdict:
    """Which of the two a judge found better: its last word on it, or "" where it does not say."""
    found = _VERDICT.findall(text)
    return "" if not found else "first" if found[-1] == "A" else "second"


def checked(principle: str) -> str:
    """The principle itself, or an error that names those there are."""
    if principle not in VALUE_OF:
        raise PrincipleError(f"'{principle}' is no principle here; choose one of {', '.join(PRINCIPLES)}")
    return principle


def _line(text: str) -> str:
    return " ".join(text.split())
