"""Synthetic preference pairs. Only their lengths matter to a clock, and those have the shape of two well-known corpora."""

from __future__ import annotations

import random
from dataclasses import dataclass

from alignzoo.records import Comparison, Completion, Prompt


@dataclass(frozen=True)
class Lengths:
    """Of one pair, in tokens; those of the replies include the end token."""

    prompt: int
    chosen: int
    rejected: int

    @property
    def once(self) -> int:
        """Tokens to read when the prompt is read once for both replies."""
        return self.prompt + self.chosen + self.rejected

    @property
    def unread(self) -> int:
        """Tokens whose last state nobody reads: all of the prompt but its last."""
        return self.prompt - 1

    @property
    def seen(self) -> float:
        """(query, key) pairs that exact causal attention has to look at, the prompt's counted once."""
        own = sum(reply * (self.prompt + reply / 2) for reply in (self.chosen, self.rejected))
        return self.prompt**2 / 2 + own


def hh(dice: random.Random) -> Lengths:
    """Chat with a heavy tail, as in Anthropic's helpful and harmless dialogues."""

    def drawn(median: int, least: int, most: int) -> int:
        return int(min(most, max(least, dice.lognormvariate(0, 0.7) * median)))

    return Lengths(drawn(96, 16, 384), drawn(64, 8, 256), drawn(64, 8, 256))


def tldr(dice: random.Random) -> Lengths:
    """A long post and two short summaries of it, as in Reddit TL;DR."""
    return Lengths(dice.randint(256, 384), dice.randint(24, 56), dice.randint(24, 56))


MIXES = {"hh": hh, "tldr": tldr}


def comparisons(count: int, mix: str, vocabulary: int, seed: int = 5) -> list[Comparison]:
    """So many pairs of random words."""
    dice = random.Random(seed)

    def words(number: int) -> str:
        return " ".join(f"w{dice.randrange(4, vocabulary)}" for _ in range(number))

    pairs = []
    for _ in range(count):
        lengths = MIXES[mix](dice)
        prompt, chosen, rejected = words(lengths.prompt), words(lengths.chosen - 1), words(lengths.rejected - 1)
        pairs.append(Comparison(Prompt.ask(prompt), Completion(chosen), Completion(rejected)))
    return pairs
