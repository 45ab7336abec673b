"""What a base has done so far, and by which formula its work is counted: see docs/explanation/costs.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alignzoo.model.forest import Forest, pairs_seen

Written = tuple[int, Sequence[int]]
"""Of one prompt: its length, and the lengths of its replies."""


@dataclass(frozen=True)
class Sizes:
    """What the formula multiplies: parameters of the trunk's matrices, of the head's matrix and of one adapter, and the width
    of attention summed over the layers."""

    linear: int = 0
    head: int = 0
    attention: int = 0
    adapter: int = 0


@dataclass
class Meter:
    """Tokens read and written, and FLOPs."""

    read: int = 0
    written: int = 0
    flops: float = 0.0

    def charge_reading(self, forest: Forest, sizes: Sizes, *, learning: bool, recomputing: bool, before: int = 0) -> None:
        """A pass over a forest, behind so many tokens that were read `before`. A frozen matrix costs 2 per weight and token
        forward and 2 backward; an adapter's 2 and 4, because it learns; attention 4 · width per pair of tokens and layer
        forward and twice that backward. Recomputed layers pay their forward share again."""
        forward = 1 + (learning and recomputing)
        trunk = 2 * (forward + learning) * sizes.linear + 2 * (forward + 2 * learning) * sizes.adapter
        attention = 4 * (forward + 2 * learning) * sizes.attention * (forest.seen + before * forest.size)
        head = 2 * (1 + learning) * sizes.head * len(forest.targets)
        self.read += forest.size
        self.flops += trunk * forest.size + attention + head

    def charge_prefixed(self, before: int, rests: Sequence[int], sizes: Sizes) -> None:
        """Texts whose beginning of so many tokens was read before and kept; the head is asked once for each."""
        seen = pairs_seen(before, rests) - pairs_seen(before, ())
        self.read += sum(rests)
        self.flops += 2 * (sizes.linear + sizes.adapter) * sum(rests) + 4 * sizes.attention * seen + 2 * sizes.head * len(rests)

    def charge_gone_on(self, trees: Sequence[tuple[int, int]], sizes: Sizes) -> None:
        """Replies that went on, each from a prompt that was read with others: (its length, theirs)."""
        tokens = sum(reply for _, reply in trees)
        seen = sum(pairs_seen(prompt, [reply]) - pairs_seen(prompt, ()) for prompt, reply in trees)
        self.read += tokens
        self.flops += 2 * (sizes.linear + sizes.adapter + sizes.head) * tokens + 4 * sizes.attention * seen

    def charge_writing(self, groups: Sequence[Written], sizes: Sizes) -> None:
        """What was sampled."""
        self.read += sum(prompt for prompt, _ in groups)
        self.written += sum(sum(replies) for _, replies in groups)
        self.flops += _token_by_token(groups, sizes)

    def charge_following(self, groups: Sequence[Written], sizes: Sizes) -> None:
        """What was read, token by token, by a role beside the one that wrote it."""
        self.read += sum(prompt + sum(length - 1 for length in replies) for prompt, replies in groups)
        self.flops += _token_by_token(groups, sizes)


def _token_by_token(groups: Sequence[Written], sizes: Sizes) -> float:
    """FLOPs. A prompt is read once, and the last token of a reply is not read any more."""
    flops = 0.0
    for prompt, replies in groups:
        again = [length - 1 for length in replies]
        trunk = 2 * (sizes.linear + sizes.adapter) * (prompt + sum(again))
        attention = 4 * sizes.attention * pairs_seen(prompt, again)
        flops += trunk + attention + 2 * sizes.head * (1 + sum(again))
    return flops
