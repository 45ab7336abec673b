"""Recorded chains of critique and revision, as Anthropic published them beside Constitutional AI (Bai et al. 2022).

A row holds a dialogue up to the assistant's turn (`rl_prompt`), the first answer (`initial_response`), and the rounds (`cst`):
each with the principle's key, the critique and the revision. Texts are stripped: the space around them is the dialogue's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from alignzoo.interfaces import Asking, Share
from alignzoo.records import Completion, Critique, Feedback, Prompt, Provenance, Speaker, Turn, is_whole
from alignzoo.rows import Fault, rows_in

SOURCE = "critique-chains"
_SPEAKER = re.compile(r"(?:^|\n)\s*(Human|Assistant):")


class ChainError(ValueError):
    """A row that is no chain."""


@dataclass(frozen=True)
class Chains:
    """Chains from a file of JSON lines."""

    gives: ClassVar[tuple[str, ...]] = ("critique",)
    asks: ClassVar[tuple[str, ...]] = ()

    path: str
    """The file, as it is or packed (.gz, .zst)."""
    keep: Literal["last", "all"] = "all"
    """A record for each chain, from the first answer to the last revision; or one for each round."""
    split: Literal["all", "train", "test"] = "all"
    """All chains, or one side of a split by how the dialogue opens: no dialogue is on both."""
    test: Share = 0.1
    """The share of the dialogues that is on the test side."""

    def __post_init__(self) -> None:
        if not Path(self.path).is_file():
            raise ValueError(f"there is no file {self.path}")
        if self.split != "all" and not 0 < self.test < 1:
            raise ValueError(f"a split needs dialogues on both sides; test = {self.test:g} leaves none on one of them")

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """Yield the records of every chain. A round that changes nothing, or says nothing, is counted and left out."""
        tally, path = asking.tally, Path(self.path)
        for place, row in rows_in(path, ".jsonl"):
            try:
                steps = read_chain(row, "" if self.split == "all" else self.split)
            except ChainError as error:
                tally.read += 1
                tally.drop(f"no chain: {error}", place)
                continue
            for step in [joined(steps)] if self.keep == "last" else steps:
                tally.read += 1
                if self.split not in ("all", self._side(step.prompt)):
                    tally.put_aside("on the other side of the split", place)
                elif step.revision.text in ("", step.completion.text):
                    tally.put_aside("the revision changes nothing" if step.revision.text else "no revision", place)
                else:
                    tally.kept += 1
                    yield step

    def _side(self, prompt: Prompt) -> str:
        """By a hash of what was said first: the side stays the same whatever else is in the file."""
        digest = hashlib.sha256(prompt.turns[0].text.encode()).digest()
        return "test" if int.from_bytes(digest[:8]) / 2**64 < self.test else "train"


def read_chain(row: Any, split: str = "") -> list[Critique]:
    """Each round of a chain: from the text before it to its revision."""
    if isinstance(row, Fault):
        raise ChainError(row.reason)
    prompt, reply = read_dialogue(_text(row, "rl_prompt")), Completion(_sample(row, "initial_response"))
    steps = []
    for step in _rounds(row):
        revision, key = Completion(_sample(step, "revision")), _text(step, "cst_key")
        note = f"principle {key}; {_text(row, 'source') if row.get('source') else ''}".rstrip("; ")
        where = Provenance(SOURCE, annotator="recorded", split=split, note=note)
        steps.append(Critique(prompt, reply, _sample(step, "critique"), revision, key, where))
        reply = revision
    return steps


def joined(steps: list[Critique]) -> Critique:
    """A chain as one record: all its critiques, and its last revision over the first answer."""
    first, last = steps[0], steps[-1]
    ids = ", ".join(step.principle for step in steps)
    where = replace(first.provenance, note=f"principle {ids}")
    return Critique(first.prompt, first.completion, "\n".join(s.critique for s in steps), last.revision, ids, where)


def read_dialogue(text: str) -> Prompt:
    """The turns of "\\n\\nHuman: …\\n\\nAssistant: …\\n\\nAssistant:", without the empty one at the end."""
    before, *parts = _SPEAKER.split(text)
    if before.strip():
        raise ChainError("the dialogue does not begin with a speaker, 'Human:' or 'Assistant:'")
    speakers: Mapping[str, Speaker] = {"Human": "user", "Assistant": "assistant"}
    turns = [Turn(speakers[who], said.strip()) for who, said in zip(parts[::2], parts[1::2], strict=True)]
    if len(turns) < 2 or turns[-1] != Turn("assistant", ""):
        raise ChainError("the dialogue does not end where the assistant is to answer")
    return Prompt(tuple(turns[:-1]))


# Cells ----------------------------------------------------------------------------------------------------------------


def _rounds(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rounds = row.get("cst")
    if not isinstance(rounds, list) or not all(isinstance(step, Mapping) for step in rounds):
        raise ChainError("'cst' must be a list of rounds, tables with cst_key, critique and revision")
    if not rounds:
        raise ChainError("it has no round: 'cst' is empty")
    return rounds


def _sample(row: Mapping[str, Any], name: str) -> str:
    """The text of {"sample": …}, which may stand in a list of one."""
    given = row.get(name)
    given = given[0] if isinstance(given, list) and given else given
    if not isinstance(given, Mapping):
        raise ChainError(f"'{name}' must be a table with a 'sample'")
    return _text(given, "sample", f"{name}.").strip()


def _text(row: Mapping[str, Any], name: str, at: str = "") -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise ChainError(f"'{at}{name}' must be text" if name in row else f"'{at}{name}' is missing")
    if not is_whole(value):
        raise ChainError(f"'{at}{name}' holds half of a surrogate pair, which is no text")
    return value
