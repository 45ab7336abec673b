"""The generation loop: each prompt is read once for all its replies, and finished rows leave the batch.

Every reply has its own stream of random numbers, from its prompt, its number and the seed, so it does not depend on its
neighbours. The log-probabilities of what was drawn are recorded under the distribution really drawn from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from alignzoo.interfaces import Manner
from alignzoo.model.branches import read
from alignzoo.model.fixed import Unfaithful
from alignzoo.model.past import Past
from alignzoo.model.steering import Sight, Steer
from alignzoo.records import Completion, Prompt

if TYPE_CHECKING:
    from alignzoo.model.base import Base


class SamplingError(ValueError):
    """Replies that cannot be written as asked."""


_MOST = 2**16
"""Replies to one prompt that are written at once. Nobody means more, and a slip of the hand would never end."""
_CACHED = 16_384
"""Tokens whose keys and values are kept at once."""

_THINNED = 0.75
"""Finished rows leave when no more than this share of the batch is still being written: moving the others has its price."""

_BLOCK = 64
"""Tokens of the vocabulary that are summed up before one is drawn; the vocabularies of most models are multiples of it."""


class Sampler(Protocol):
    """Whoever writes replies for a base: `write`, unless `Base.sampler` is set to another."""

    def __call__(
        self, base: Base, worn: str | None, prompts: Sequence[Prompt], n: int, manner: Manner, steer: Steer | None = None
    ) -> list[list[Completion]]:
        """Write `n` completions of each prompt, in order, as the base that wears the adapter `worn`: with the tokens really
        written, and the log-probability of each under the distribution that it was drawn from."""
        ...


@torch.no_grad()
def write(
    base: Base, worn: str | None, prompts: Sequence[Prompt], n: int, manner: Manner, steer: Steer | None = None
) -> list[list[Completion]]:
    """`n` completions of each prompt, in order."""
    if not 1 <= n <= _MOST:
        raise SamplingError(f"n is how many completions each prompt gets, from 1 to {_MOST:,} at once; got {n:,}")
    base.text.leave_room(manner.max_tokens)
    asked = [base.text.fitted(prompt, manner.max_tokens) for prompt in prompts]
    order = sorted(range(len(asked)), key=lambda i: -len(asked[i]))
    written: dict[int, list[Completion]] = {}
    while order:
        rows = max(1, _CACHED // ((len(asked[order[0]]) + manner.max_tokens) * n))
        batch, order = order[:rows], order[rows:]
        try:
            groups = _write_batch(base, worn, [asked[i] for i in batch], n, manner, steer)
        except Unfaithful:  # said, and not to happen again
            groups = _write_batch(base, worn, [asked[i] for i in batch], n, manner, steer)
        written |= dict(zip(batch, groups, strict=True))
    return [written[i] for i in range(len(prompts))]


def _write_batch(
    base: Base, worn: str | None, prompts: list[tuple[int, ...]], n: int, manner: Manner, steer: Steer | None
) -> list[list[Completion]]:
    chances = torch.stack([_chances(prompt, k, manner) for prompt in prompts for k in range(n)]).to(base.device)
    readers = _Readers(base, (worn, *(steer.beside if steer else ())), prompts, n, manner.max_tokens)
    tokens = torch.zeros(chances.shape, dtype=torch.long, device=base.device)
    logps = torch.zeros(chances.shape, device=base.device)
    lengths = torch.full((len(chances),), manner.max_tokens, device=base.device)
    ends = torch.tensor(sorted(base.text.ends), device=base.device)
    rows = torch.arange(len(chances), device=base.device)  # which reply each row of the batch is
    going = torch.ones_like(rows, dtype=torch.bool)
    for place in range(manner.max_tokens):
        own, *others = readers.see()
        drawn, logp = draw(steer.change(own, *others) if steer else own.logits, chances[rows, place], manner)
        tokens[rows, place], logps[rows, place] = drawn, logp
        over = going & torch.isin(drawn, ends)
        if manner.stop:
            over |= going & _stopped(base, tokens[rows, : place + 1], manner.stop)
        lengths[rows] = torch.where(over, place + 1, lengths[rows])
        going &= ~over
        left = int(going.sum())
        if not left or place == manner.max_tokens - 1:
            break
        if left <= _THINNED * len(going):
            kept = going.nonzero()[:, 0]
            readers.keep(kept)
            rows, drawn, going = rows[kept], drawn[kept], going[kept]
        readers.append(drawn)
    counts = lengths.tolist()
    readers.charge([(len(p), counts[i * n : (i + 1) * n]) for i, p in enumerate(prompts)])
    written = zip(tokens.tolist(), logps.tolist(), counts, strict=True)
    replies = [base.text.completion(ids[:count], of[:count], manner.stop) for ids, of, count in written]
    return [replies[i : i + n] for i in range(0, len(replies), n)]


class _Readers:
    """The role that writes and those beside it: each reads the same texts, wearing its own adapter."""

    def __init__(self, base: Base, worn: tuple[str | None, ...], prompts: list[tuple[int, ...]], n: int, room: int) -> None:
        self.base, self.worn = base, worn
        self.pasts: list[Past] = []
        for name in worn:
            with base.acting_as(name):
                self.pasts.append(read(base, prompts, n, room))

    def see(self) -> list[Sight]:
        return [Sight(past.states, past.logits) for past in self.pasts]

    def keep(self, rows: Tensor) -> None:
        for past in self.pasts:
            past.keep(rows)

    def append(self, drawn: Tensor) -> None:
        for name, past in zip(self.worn, self.pasts, strict=True):
            with self.base.acting_as(name):
                past.append(drawn)

    def charge(self, written: list[tuple[int, list[int]]]) -> None:
        writer, *others = map(self.base.sizes, self.worn)
        self.base.meter.charge_writing(written, writer)
        for sizes in others:
            self.base.meter.charge_following(written, sizes)


def _stopped(base: Base, written: Tensor, stop: tuple[str, ...]) -> Tensor:
    """(rows) Whether a stop string is in what each row says. Read anew from the start: words may be spread over tokens, and
    what a token says may depend on those before it."""
    said = [base.text.said(ids) for ids in written.tolist()]
    return torch.tensor([any(word in text for word in stop) for text in said], device=base.device)


def draw(logits: Tensor, chances: Tensor, manner: Manner) -> tuple[Tensor, Tensor]:
    """One token per row by inverting the cumulative distribution at `chances`, and its log-probability. Temperature 0 takes
    the best, with its log-probability at temperature 1.

    The distribution is inverted in two steps, first over the sums of blocks and then within one block: summing up the whole
    vocabulary, in the double precision that this takes, would cost more than the layers of a small model."""
    if manner.temperature == 0:
        best = logits.max(-1)
        return best.indices, best.values - logits.logsumexp(-1)
    weights = narrowed(logits if manner.temperature == 1 else logits / manner.temperature, manner).softmax(-1)
    short = -weights.shape[-1] % _BLOCK
    blocks = (pad(weights, (0, short)) if short else weights).view(len(weights), -1, _BLOCK)
    sums = blocks.sum(-1)
    block, rest = _found(sums, chances[:, None].double() * sums.sum(-1, dtype=torch.float64, keepdim=True))
    place, _ = _found(blocks[torch.arange(len(blocks), device=blocks.device), block[:, 0]], rest)
    drawn = block * _BLOCK + place
    return drawn[:, 0], weights.gather(1, drawn)[:, 0].log()


def _found(parts: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, 1) In which part of the line a point lies, when all parts (rows, parts) are laid end to end, and how far into it.
    A part of length zero is never found; a point behind the end, as rounding may have it, lies in the last part."""
    stops = parts.cumsum(-1, dtype=torch.float64)
    last = (parts > 0).cumsum(-1).argmax(-1, keepdim=True)
    place = torch.searchsorted(stops, point, right=True).minimum(last)
    return place, (point - stops.gather(1, place) + parts.gather(1, place)).clamp(min=0)


def narrowed(logits: Tensor, manner: Manner) -> Tensor:
    """The logits with everything outside top-k, top-p and min-p at minus infinity: in the order and with the arithmetic of
    transformers' own warpers, so that among equals, too, and at the very edge the same tokens are left."""
    if 0 < manner.top_k < logits.shape[-1]:
        least = logits.topk(manner.top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if manner.top_p < 1:
        ranked, order = logits.sort()
        outside = ranked.softmax(-1).cumsum(-1) <= 1 - manner.top_p
        outside[:, -1] = False
        logits = logits.masked_fill(outside.scatter(1, order, outside), -torch.inf)
    if manner.min_p > 0:
        shares = logits.softmax(-1)
        logits = logits.masked_fill(shares < manner.min_p * shares.amax(-1, keepdim=True), -torch.inf)
    return logits


def _chances(prompt: tuple[int, ...], number: int, manner: Manner) -> Tensor:
    """The uniform numbers that reply `number` to this prompt is drawn with."""
    name = hashlib.sha256(repr((prompt, number, manner.seed)).encode()).digest()
    dice = torch.Generator().manual_seed(int.from_bytes(name[:8], "big") >> 1)
    return torch.rand(manner.max_tokens, generator=dice, dtype=torch.float64)
