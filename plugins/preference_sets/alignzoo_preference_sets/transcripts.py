"""Transcripts as Anthropic writes them: "\\n\\nHuman: …\\n\\nAssistant: …", read and written back without a loss.

A turn begins where, after a blank line, a speaker is named. Elsewhere "Human:" is a word like others, and a blank line is a
paragraph. Who speaks is read, never counted: two turns in a row may have one speaker.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from alignzoo.records import Speaker, Turn

_TURN = re.compile(r"\n\n(Human|Assistant):")
_WHO: dict[str, Speaker] = {"Human": "user", "Assistant": "assistant"}


@dataclass(frozen=True)
class Said:
    """A turn as it stands in the transcript: `raw` is everything after the colon, space included."""

    who: str
    raw: str

    @property
    def turn(self) -> Turn:
        """What was said, without the space around it."""
        return Turn(_WHO[self.who], self.raw.strip())


@dataclass(frozen=True)
class Transcript:
    """`before` is what stands above the first turn: nothing, in a sound one."""

    before: str
    said: tuple[Said, ...]

    @property
    def turns(self) -> tuple[Turn, ...]:
        return tuple(said.turn for said in self.said)


def read_transcript(text: str) -> Transcript:
    """The turns of a transcript. Any text is one, if only with no turns."""
    before, *parts = _TURN.split(text)
    return Transcript(before, tuple(Said(who, raw) for who, raw in zip(parts[::2], parts[1::2], strict=True)))


def write_transcript(transcript: Transcript) -> str:
    """The text that it was read from, to the letter."""
    return transcript.before + "".join(f"\n\n{said.who}:{said.raw}" for said in transcript.said)


def written(turns: Sequence[Turn]) -> str:
    """Turns in this form, for those that were not read from it."""
    names = {"user": "Human", "assistant": "Assistant"}
    return "".join(f"\n\n{names[turn.speaker]}: {turn.text}" for turn in turns)


def common(chosen: Sequence[Turn], rejected: Sequence[Turn]) -> int:
    """How many turns two transcripts share, from the first on."""
    count = 0
    for one, other in zip(chosen, rejected, strict=False):
        if one != other:
            break
        count += 1
    return count
