"""Recorded chains of critique and revision, as Anthropic published them beside Constitutional AI (Bai et al. 2022).

A row holds a dialogue up to the assistant's turn (`rl_prompt`), the first answer (`initial_response`), and the rounds (`cst`):
each with the principle's key, the critique and the revision. Texts are stripped: the space around them is the dialogue's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from alignzoo.interfaces import Asking
from alignzoo.records import Completion, Critique, Feedback, Prompt, Provenance, Speaker, Turn

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
    """The file."""
    keep: Literal["last", "all"] = "all"
    """A record for each chain, from the first answer to the last revision; or one for each round."""

    def __post_init__(self) -> None:
        if not Path(self.path).is_file():
            raise ValueError(f"there is no file {self.path}")

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """Yield the records of every chain. A round that changes nothing, or says nothing, is counted and left out."""
        tally = asking.tally
        with open(self.path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                place = f"{Path(self.path).name}:{number}"
                try:
                    steps = read_chain(json.loads(line))
                except (json.JSONDecodeError, ChainError) as error:
                    tally.read += 1
                    tally.drop(f"no chain: {error}", place)
                    continue
                for step in [joined(steps)] if self.keep == "last" else steps:
                    tally.read += 1
                    if step.revision.text in ("", step.completion.text):
                        tally.put_aside("the revision changes nothing" if step.revision.text else "no revision", place)
                        continue
                    tally.kept += 1
                    yield step


def read_chain(row: Any) -> list[Critique]:
    """Each round of a chain: from the text before it to its revision."""
    try:
        prompt = read_dialogue(row["rl_prompt"])
        reply = Completion(_sample(row["initial_response"]))
        steps = []
        for step in row["cst"]:
            revision, key = Completion(_sample(step["revision"])), str(step["cst_key"])
            where = Provenance(SOURCE, annotator="recorded", note=f"principle {key}; {row.get('source', '')}".rstrip("; "))
            steps.append(Critique(prompt, reply, _sample(step["critique"]), revision, key, where))
            reply = revision
    except (KeyError, TypeError, IndexError) as error:
        raise ChainError(f"{type(error).__name__} {error}") from None
    if not steps:
        raise ChainError("it has no round")
    return steps


def joined(steps: list[Critique]) -> Critique:
    """A chain as one record: all its critiques, and its last revision over the first answer."""
    first, last = steps[0], steps[-1]
    ids = ", ".join(step.principle for step in steps)
    where = Provenance(SOURCE, annotator="recorded", note=f"principle {ids}")
    return Critique(first.prompt, first.completion, "\n".join(s.critique for s in steps), last.revision, ids, where)


def read_dialogue(text: str) -> Prompt:
    """The turns of "\\n\\nHuman: …\\n\\nAssistant: …\\n\\nAssistant:", without the empty one at the end."""
    before, *parts = _SPEAKER.split(text)
    if before.strip():
        raise ChainError(f"the dialogue does not begin with a speaker: {before.strip()[:40]!r}")
    speakers: Mapping[str, Speaker] = {"Human": "user", "Assistant": "assistant"}
    turns = [Turn(speakers[who], said.strip()) for who, said in zip(parts[::2], parts[1::2], strict=True)]
    if len(turns) < 2 or turns[-1] != Turn("assistant", ""):
        raise ChainError("the dialogue does not end where the assistant is to answer")
    return Prompt(tuple(turns[:-1]))


def _sample(given: Any) -> str:
    """The text of {"sample": …}, which may stand in a list of one."""
    return str((given[0] if isinstance(given, list) else given)["sample"]).strip()
