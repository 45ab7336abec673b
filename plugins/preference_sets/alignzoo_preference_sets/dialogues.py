"""Cells that hold a dialogue: a list of messages, also as JSON in a text; a transcript with "Human:" and "Assistant:"; or what
each side said, round by round."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from alignzoo.records import Speaker, Turn
from alignzoo_preference_sets.fields import Row, Unfit, listed, whole_text
from alignzoo_preference_sets.transcripts import read_transcript

_ROLES: Mapping[str, Speaker] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
_WORDS = (("role", "content"), ("from", "value"), ("speaker", "text"))
"""How messages name who speaks, and what is said."""
_LIKE_MESSAGES = re.compile(r"\s*\[\s*\{\s*['\"](?:role|content|from|value|speaker|text)['\"]\s*:")
"""How a text begins that was a list of messages: as JSON, or as Python prints it."""
Said = tuple[tuple[Turn, ...], str]
"""The turns before an answer, and the answer."""


def dialogue_of(row: Row, column: str) -> Said:
    """The turns before an answer, if there are any, and the answer."""
    turns = turns_of(row, column)
    if not turns:
        return (), row.text(column)
    if turns[-1].speaker != "assistant" or not turns[-1].text:
        raise Unfit(f"'{column}' does not end with an answer")
    return turns[:-1], turns[-1].text


def turns_of(row: Row, column: str) -> tuple[Turn, ...]:
    """The turns of a cell; none where it is a text like others."""
    value = row.cells.get(column)
    if isinstance(value, Mapping) and "messages" in value:
        if value.get("tools"):
            raise Unfit(f"'{column}' offers tools, which no prompt here can hold")
        return messages_of(Row(value, f"{row.at}{column}."), "messages")
    if isinstance(value, str) and _LIKE_MESSAGES.match(value) and listed(value) is None:
        raise Unfit(f"'{column}' begins like a list of messages, and is no JSON")
    if isinstance(value, list) or (isinstance(value, str) and _LIKE_MESSAGES.match(value)):
        return messages_of(row, column)
    return _transcript(row, column)


def messages_of(row: Row, column: str) -> tuple[Turn, ...]:
    """A list of messages as turns."""
    turns = []
    for message in row.tables(column):
        known = [(who, what) for who, what in _WORDS if message.has(who)]
        if not known:
            raise Unfit(f"'{row.at}{column}' holds a message without a role")
        who, what = known[0]
        role = message.text(who).lower()
        if role not in _ROLES:
            raise Unfit(f"'{row.at}{column}' holds a message by neither system, user nor assistant")
        turns.append(Turn(_ROLES[role], _words(message, what)))
    if not turns:
        raise Unfit(f"'{row.at}{column}' is empty")
    return tuple(turns)


def _words(message: Row, what: str) -> str:
    """What was said; also in parts, as models that see take it."""
    if not isinstance(message.cells.get(what), list):
        return message.text(what)
    parts = message.tables(what)
    if not parts or any(part.maybe("type") != "text" for part in parts):
        raise Unfit(f"'{message.at}{what}' holds something else than text")
    return "\n".join(part.text("text") for part in parts)


def _transcript(row: Row, column: str) -> tuple[Turn, ...]:
    value: Any = row.cells.get(column)
    if not isinstance(value, str) or "\n\nHuman:" not in value:
        return ()
    read = read_transcript(whole_text(value, column))
    return () if read.before.strip() else read.turns  # words that happen to hold the marks are no transcript


def rounds_of(row: Row, prompt: str, first: str, second: str) -> tuple[Said, ...]:
    """Two dialogues of which each round has its own text: a list of prompts, and two of as many answers. None where the prompt
    is no list of texts."""
    value = row.cells.get(prompt)
    asked = listed(value)
    if asked is None and isinstance(value, str) and value.startswith('["'):
        raise Unfit(f"'{prompt}' begins like a list of texts, and is no JSON")
    if not asked or not all(text is None or isinstance(text, str) for text in asked):
        return ()
    lists = {name: row.texts(name) for name in (prompt, first, second)}
    if len({len(texts) for texts in lists.values()}) > 1:
        raise Unfit(f"'{prompt}' holds a text for each round, and an answer has more or fewer")
    spoken = []
    for name in (first, second):
        rounds = [
            (Turn("user", ask), Turn("assistant", answer)) for ask, answer in zip(lists[prompt], lists[name], strict=True)
        ]
        turns = tuple(turn for both in rounds for turn in both)
        spoken.append((turns[:-1], turns[-1].text))
    return tuple(spoken)


def continued(asked: tuple[Turn, ...], before: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """The prompt, of a prompt's column and what stands before the answer. Where both are there, what stands before begins with
    the prompt, or ends with it; instructions may stand above either."""
    if not before:
        return asked
    (above, prompt), (own, dialogue) = _headed(asked), _headed(before)
    if prompt and prompt not in (dialogue[: len(prompt)], dialogue[-len(prompt) :]):
        raise Unfit("the dialogue is about something else than the prompt")
    return (own or above) + dialogue


def _headed(turns: tuple[Turn, ...]) -> tuple[tuple[Turn, ...], tuple[Turn, ...]]:
    """The instructions above, and the rest."""
    count = next((i for i, turn in enumerate(turns) if turn.speaker != "system"), len(turns))
    return turns[:count], turns[count:]
