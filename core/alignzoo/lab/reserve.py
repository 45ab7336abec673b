"""Judgements that are held back from learning, so that in the end each group of annotators can be asked what it thinks of the
policy. The prompts are the same ones in every run, for every source: what one entry of a bench learns, no other is tried on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Ge, Interval

from alignzoo.records import Demonstration, Feedback, Prompt
from alignzoo.tally import Tally
from alignzoo.who import Who

HELD = "held back, to ask each group of annotators which policy it agrees with"


@dataclass(frozen=True)
class Whose:
    """Whose choices a policy follows: what is held back to tell it by."""

    held: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Share of the prompts whose judgements nobody learns from; 0 holds none back, and nobody is asked."""
    most: Annotated[int, Ge(1)] = 500
    """Judgements of each group that are asked about at most, the first ones."""
    who: Who = Who()
    """How groups are told."""

    def holds(self, prompt: Prompt) -> bool:
        """Whether this prompt is held back: by what it begins with alone, so that the turns of one dialogue stay together."""
        first = next((turn for turn in prompt.turns if turn.speaker == "user"), prompt.turns[0])
        digest = hashlib.blake2b(f"whose/{first.text}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest) < self.held * 2**64


@dataclass
class Reserve:
    """What was held back of one source."""

    whose: Whose
    kept: list[Feedback] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def sift(self, records: Iterable[Feedback], tally: Tally) -> Iterator[Feedback]:
        """What may be learned from. It stands before all filters: they choose what is learned, not who is asked."""
        for record in records:
            if isinstance(record, Demonstration) or not self.whose.holds(record.prompt):
                yield record
                continue
            tally.sift(HELD, record.prompt.id)
            group = self.whose.who.group(record.provenance)
            self.counts[group] += 1
            if self.counts[group] <= self.whose.most:
                self.kept.append(record)


def agreement(choices: Sequence[Mapping[str, Any]], group: str | None = None) -> dict[str, list[float]]:
    """For each prompt, how far a policy agrees with each choice of a group (or of all): the strength p of the choice where the
    policy leads the same way, 1 − p where the other, one half where it leads neither."""
    agreed: dict[str, list[float]] = {}
    for one in choices:
        if group is None or one["group"] == group:
            lead, p = one["lead"], one["strength"]
            agreed.setdefault(one["prompt"], []).append(p if lead > 0 else 1 - p if lead < 0 else 0.5)
    return agreed
