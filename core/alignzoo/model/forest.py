"""The packed batch: `[prompt | reply | reply][prompt | reply]…` in one row, without padding.

A reply sees its prompt and itself, never its siblings; positions restart after the prompt; each prompt is there once.
Per-token tensors are flat: entry i of `forest.targets`, of `logps` or of `values` speaks of the i-th reply token, tree by
tree and reply by reply. The shift by one between a state and the token it predicts is made here (`before`) and nowhere
else. What an optimizer knows about tokens, replies or trees (advantages, old log-probs, strengths) is attached as notes and
follows the trees through every split.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

import torch
from torch import Tensor

Ids = tuple[int, ...]


class ForestError(ValueError):
    """A batch that cannot be packed."""


@dataclass(frozen=True)
class Tree:
    """One prompt and the replies to it, as ids. `ended[k]` says that reply k was finished, so that its last token must be
    an end token."""

    prompt: Ids
    replies: tuple[Ids, ...]
    ended: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if not self.prompt:
            raise ForestError("a prompt needs at least one token: the first reply token is predicted from it")
        if not self.replies or not all(self.replies):
            raise ForestError("every tree needs a reply, and every reply at least one token")

    @property
    def size(self) -> int:
        """How many tokens it packs to."""
        return len(self.prompt) + sum(map(len, self.replies))


@dataclass(frozen=True)
class Segment:
    """Where one tree lies in the packed row: its prompt from `start` to `split`, then its replies."""

    start: int
    split: int
    replies: tuple[tuple[int, int], ...]

    @property
    def stop(self) -> int:
        return self.replies[-1][1]


@dataclass(frozen=True)
class Forest:
    """A batch of trees, packed. Made by `plant`."""

    trees: tuple[Tree, ...]
    segments: tuple[Segment, ...]
    ids: Tensor  # (packed)
    positions: Tensor  # (packed)
    before: Tensor  # (tokens) packed index of the state that each reply token is predicted from
    targets: Tensor  # (tokens) the reply tokens
    reply: Tensor  # (tokens) which reply each belongs to
    last: Tensor  # (replies) index among the reply tokens of each reply's last one
    tree: Tensor  # (replies) which tree each belongs to
    tokens: Mapping[str, Tensor] = field(default_factory=dict)
    replies: Mapping[str, Tensor] = field(default_factory=dict)
    notes: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.trees)

    @property
    def size(self) -> int:
        """How many tokens are packed, prompts included."""
        return len(self.ids)

    @property
    def seen(self) -> int:
        """How many pairs of tokens attend, one to the other."""
        return sum(pairs_seen(len(tree.prompt), [len(reply) for reply in tree.replies]) for tree in self.trees)

    @property
    def lengths(self) -> Tensor:
        """(replies) How many tokens each reply has."""
        return torch.bincount(self.reply, minlength=len(self.last))

    @property
    def end(self) -> Tensor:
        """(replies) Packed index of each reply's last token: the state there has read the whole reply."""
        stops = [stop - 1 for segment in self.segments for _, stop in segment.replies]
        return torch.tensor(stops, device=self.ids.device)

    @property
    def needed(self) -> Tensor:
        """(rows) Packed indices of all states that anything is read from: each prompt's last, and those of the replies."""
        rows = [row for segment in self.segments for row in range(segment.split - 1, segment.stop)]
        return torch.tensor(rows, device=self.ids.device)

    def attach(
        self,
        *,
        tokens: Mapping[str, Tensor] | None = None,
        replies: Mapping[str, Tensor] | None = None,
        trees: Mapping[str, Tensor] | None = None,
    ) -> Forest:
        """The same forest with more notes: one entry per reply token, per reply, or per tree."""
        wanted = (("token", tokens, len(self.targets)), ("reply", replies, len(self.last)), ("tree", trees, len(self)))
        for what, given, count in wanted:
            for name, values in (given or {}).items():
                if len(values) != count:
                    raise ForestError(f"'{name}' has {len(values)} entries for {count} {what}s")
        return _with_notes(
            self,
            {**self.tokens, **(tokens or {})},
            {**self.replies, **(replies or {})},
            {**self.notes, **(trees or {})},
        )

    def select(self, chosen: Sequence[int]) -> Forest:
        """The forest of these trees, in this order, with their notes."""
        counts = [[len(reply) for reply in tree.replies] for tree in self.trees]
        first_reply = [0, *accumulate(map(len, counts))]
        first_token = [0, *accumulate(map(sum, counts))]
        at_tokens = self._index(i for t in chosen for i in range(first_token[t], first_token[t + 1]))
        at_replies = self._index(i for t in chosen for i in range(first_reply[t], first_reply[t + 1]))
        at_trees = self._index(chosen)
        return _with_notes(
            plant([self.trees[t] for t in chosen], self.ids.device),
            {name: note[at_tokens] for name, note in self.tokens.items()},
            {name: note[at_replies] for name, note in self.replies.items()},
            {name: note[at_trees] for name, note in self.notes.items()},
        )

    def _index(self, places: Iterable[int]) -> Tensor:
        return torch.tensor(list(places), dtype=torch.long, device=self.ids.device)

    def split(self, limit: int) -> Iterator[Forest]:
        """This forest in pieces of at most `limit` packed tokens, whole trees each (a larger tree goes alone)."""
        if self.size <= limit or len(self) == 1:
            yield self
            return
        piece: list[int] = []
        size = 0
        for place, tree in enumerate(self.trees):
            if piece and size + tree.size > limit:
                yield self.select(piece)
                piece, size = [], 0
            piece.append(place)
            size += tree.size
        yield self.select(piece)


def plant(trees: Sequence[Tree], device: torch.device | str = "cpu") -> Forest:
    """Pack trees into a forest."""
    if not trees:
        raise ForestError("a batch needs at least one tree")
    ids: list[int] = []
    positions: list[int] = []
    before: list[int] = []
    targets: list[int] = []
    reply: list[int] = []
    tree: list[int] = []
    segments: list[Segment] = []
    for place, grown in enumerate(trees):
        start, split = len(ids), len(ids) + len(grown.prompt)
        ids += grown.prompt
        positions += range(len(grown.prompt))
        spans: list[tuple[int, int]] = []
        for tokens in grown.replies:
            first = len(ids)
            ids += tokens
            positions += range(len(grown.prompt), len(grown.prompt) + len(tokens))
            spans.append((first, len(ids)))
            before += [split - 1, *range(first, len(ids) - 1)]
            targets += tokens
            reply += [len(tree)] * len(tokens)
            tree.append(place)
        segments.append(Segment(start, split, tuple(spans)))
    lengths = [len(tokens) for grown in trees for tokens in grown.replies]

    def tensor(numbers: list[int]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.long, device=device)

    return Forest(
        trees=tuple(trees),
        segments=tuple(segments),
        ids=tensor(ids),
        positions=tensor(positions),
        before=tensor(before),
        targets=tensor(targets),
        reply=tensor(reply),
        last=tensor([stop - 1 for stop in accumulate(lengths)]),
        tree=tensor(tree),
    )


def joined(first: Forest, second: Forest) -> Forest:
    """Both as one batch. A note that only one of them has is zero in the other."""

    def both(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], one: int, other: int) -> dict[str, Tensor]:
        names = {**ours, **theirs}
        return {n: torch.cat([_or_zeros(ours, theirs, n, one), _or_zeros(theirs, ours, n, other)]) for n in names}

    return _with_notes(
        plant([*first.trees, *second.trees], first.ids.device),
        both(first.tokens, second.tokens, len(first.targets), len(second.targets)),
        both(first.replies, second.replies, len(first.last), len(second.last)),
        both(first.notes, second.notes, len(first), len(second)),
    )


def _or_zeros(own: Mapping[str, Tensor], other: Mapping[str, Tensor], name: str, count: int) -> Tensor:
    return own[name] if name in own else other[name].new_zeros(count)


def _with_notes(
    forest: Forest, tokens: Mapping[str, Tensor], replies: Mapping[str, Tensor], notes: Mapping[str, Tensor]
) -> Forest:
    return replace(forest, tokens=tokens, replies=replies, notes=notes)


def per_reply(values: Tensor, forest: Forest) -> Tensor:
    """(replies) The sum over each reply's tokens."""
    return values.new_zeros(len(forest.last)).index_add(0, forest.reply, values)


def pairs_seen(prompt: int, replies: Sequence[int]) -> int:
    """Pairs of tokens that attend in one tree, by its lengths: the prompt to itself, each reply to the prompt and itself."""
    return prompt * (prompt + 1) // 2 + sum(length * prompt + length * (length + 1) // 2 for length in replies)


def rows_of(forest: Forest) -> tuple[Tensor, Tensor]:
    """One right-padded row for each reply, and where in the flattened rows each reply token is predicted from."""
    rows = [tree.prompt + reply for tree in forest.trees for reply in tree.replies]
    starts = [len(tree.prompt) for tree in forest.trees for _ in tree.replies]
    wide = max(map(len, rows))
    ids = torch.zeros(len(rows), wide, dtype=torch.long, device=forest.ids.device)
    for row, content in zip(ids, rows, strict=True):
        row[: len(content)] = torch.tensor(content)
    flat = [
        r * wide + place - 1
        for r, (row, start) in enumerate(zip(rows, starts, strict=True))
        for place in range(start, len(row))
    ]
    return ids, torch.tensor(flat, device=ids.device)
