"""One round of criticism and revision (Bai et al. 2022, section 3.1), and the rules by which a revision is thrown away.

    reply → critique ~ π(· | dialogue, reply, what is wrong with it?)
          → revision ~ π(· | dialogue, reply, critique, write a better one)

Known ways in which it goes wrong, each with a name in `flaw`: a context that is full, a text that was cut, words of the
critique in the revision, a model that goes on as somebody else ("Human: …"), an empty revision.

Left out: the paper's few-shot examples before the dialogue, which a model that was not taught to follow requests needs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from alignzoo.interfaces import Manner, Policy
from alignzoo.model.text import RoomError
from alignzoo.records import Completion, Prompt, Turn
from alignzoo_rlaif.constitution import Principle, drawn

Layout = Literal["dialogue", "form"]
"""`dialogue` asks in further turns, as a person would; `form` asks in one turn with a line for each thing."""

_SPEAKERS = re.compile(r"^\s*(human|user|assistant|system)\s*:", re.IGNORECASE | re.MULTILINE)
_LABELS = re.compile(r"^\s*(critique|revision|critique ?request|revision ?request)\s*:", re.IGNORECASE | re.MULTILINE)
_NO_ROOM = Completion("", finished=False)
_TELLING = 4
"""Words that a sentence of a critique must have to be recognised in a revision."""


@dataclass(frozen=True)
class Revised:
    """What became of one reply in one round."""

    principle: Principle
    before: Completion
    critique: Completion
    after: Completion
    flaw: str
    """Why the revision cannot be used; empty if it can."""

    @property
    def unchanged(self) -> bool:
        return _words(self.before.text) == _words(self.after.text)

    @property
    def best(self) -> Completion:
        """The revision, or the reply as it was where the revision cannot be used."""
        return self.before if self.flaw else self.after


def ask_critique(layout: Layout, principle: Principle, prompt: Prompt, reply: str) -> Prompt:
    """What is wrong with this reply?"""
    if layout == "form":
        return Prompt.ask(f"{principle.critique}\nRequest: {_line(prompt.text)}\nReply: {_line(reply)}")
    return Prompt((*prompt.turns, Turn("assistant", reply), Turn("user", principle.critique)))


def ask_revision(layout: Layout, principle: Principle, prompt: Prompt, reply: str, critique: str) -> Prompt:
    """Write a better one."""
    if layout == "form":
        return Prompt.ask(
            f"{principle.revision}\nRequest: {_line(prompt.text)}\nReply: {_line(reply)}\nCritique: {_line(critique)}"
        )
    asked = ask_critique(layout, principle, prompt, reply)
    return Prompt((*asked.turns, Turn("assistant", critique), Turn("user", principle.revision)))


def revise(
    critic: Policy,
    prompts: Sequence[Prompt],
    replies: Sequence[Completion],
    principles: Sequence[Principle],
    layout: Layout,
    manner: Manner,
) -> list[Revised]:
    """One round for each reply, under its principle."""
    asked = [ask_critique(layout, p, x, y.text) for p, x, y in zip(principles, prompts, replies, strict=True)]
    critiques = _asked(critic, asked, replace(manner, seed=stream(manner.seed, "critique")))
    told = zip(principles, prompts, replies, critiques, strict=True)
    asked = [ask_revision(layout, p, x, y.text, c.text) for p, x, y, c in told]
    revisions = _asked(critic, asked, replace(manner, seed=stream(manner.seed, "revision")))
    rows = zip(principles, prompts, replies, critiques, revisions, strict=True)
    return [Revised(p, y, c, r, flaw(x, y, c, r)) for p, x, y, c, r in rows]


def _asked(critic: Policy, asked: Sequence[Prompt], manner: Manner) -> list[Completion]:
    """What it says to each. What is asked has grown by what others wrote, and may have outgrown the context: nobody's fault."""
    try:
        return [reply for [reply] in critic.sample(asked, 1, manner)]
    except RoomError:
        if len(asked) == 1:
            return [_NO_ROOM]
    return [reply for prompt in asked for reply in _asked(critic, [prompt], manner)]


def revise_in_rounds(
    critic: Policy,
    prompts: Sequence[Prompt],
    replies: Sequence[Completion],
    principles: Sequence[Principle],
    rounds: int,
    layout: Layout,
    manner: Manner,
) -> list[list[Revised]]:
    """Round after round; each reply goes on from its last good text, under a principle drawn for it. The same prompt, reply and
    seed draw the same principles, whatever else is in the batch."""
    chains: list[list[Revised]] = [[] for _ in replies]
    current = list(replies)
    dice = [Random(f"{manner.seed}/{x.id}/{y.text}") for x, y in zip(prompts, replies, strict=True)]
    for number in range(rounds):
        chosen = [drawn(principles, die) for die in dice]
        done = revise(critic, prompts, current, chosen, layout, replace(manner, seed=stream(manner.seed, number)))
        for chain, one in zip(chains, done, strict=True):
            chain.append(one)
        current = [one.best for one in done]
    return chains


def flaw(prompt: Prompt, reply: Completion, critique: Completion, revision: Completion) -> str:
    """Why this revision cannot be used; empty if it can."""
    if _NO_ROOM in (critique, revision):
        return "the context has no room for a critique and a revision"
    if not critique.finished:
        return "the critique was cut"
    if not revision.finished:
        return "the revision was cut"
    if not revision.text.strip():
        return "the revision is empty"
    if _SPEAKERS.search(critique.text):
        return "the critique speaks for somebody else"
    if _SPEAKERS.search(revision.text):
        return "the revision speaks for somebody else"
    if _LABELS.search(revision.text) or _leaks(f"{prompt.text}\n{reply.text}", critique.text, revision.text):
        return "the critique leaks into the revision"
    return ""


def _leaks(known: str, critique: str, revision: str) -> bool:
    """Whether a whole sentence of the critique, which was not there before, stands in the revision."""
    sentences = (_words(sentence) for sentence in re.split(r"[.!?\n]+", critique))
    telling = [words for words in sentences if len(words) >= _TELLING and not _within(words, _words(known))]
    return any(_within(words, _words(revision)) for words in telling)


def _within(words: Sequence[str], text: Sequence[str]) -> bool:
    return f" {' '.join(words)} " in f" {' '.join(text)} "


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _line(text: str) -> str:
    return " ".join(text.split())


def stream(*names: object) -> int:
    """A seed of its own for each combination of these."""
    whole = hashlib.sha256("/".join(map(str, ("rlaif", *names))).encode()).digest()
    return int.from_bytes(whole[:4], "big") >> 1
