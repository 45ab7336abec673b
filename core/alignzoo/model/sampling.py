"""The generation loop: each prompt is read once for all its replies, and finished rows leave the batch.

Every reply has its own stream of random numbers, from its prompt, its number and the seed, so it does not depend on its
neighbours. The log-probabilities of what was drawn are recorded under the distribution really drawn from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from alignzoo.interfaces import Manner
from alignzoo.model.past import read
from alignzoo.model.text import TextError
from alignzoo.records import Completion, Prompt

if TYPE_CHECKING:
    from alignzoo.model.base import Base

Steer = Callable[[Tensor, Tensor], Tensor]

_CACHED = 16_384
"""Tokens whose keys and values are kept at once."""


@torch.no_grad()
def write(
    base: Base, worn: str | None, prompts: Sequence[Prompt], n: int, manner: Manner, steer: Steer | None = None
) -> list[list[Completion]]:
    """`n` completions of each prompt, in order."""
    if n < 1:
        raise ValueError(f"n is how many completions each prompt gets, 1 or more; got {n}")
    if manner.max_tokens >= base.text.context:
        raise TextError(
            f"max_tokens = {manner.max_tokens} leaves no room for a prompt in this model's context of {base.text.context}; "
            "ask for shorter replies"
        )
    asked = [base.text.fitted(prompt, manner.max_tokens) for prompt in prompts]
    order = sorted(range(len(asked)), key=lambda i: -len(asked[i]))
    written: dict[int, list[Completion]] = {}
    while order:
        rows = max(1, _CACHED // ((len(asked[order[0]]) + manner.max_tokens) * n))
        batch, order = order[:rows], order[rows:]
        with base.acting_as(worn):
            groups = _write_batch(base, [asked[i] for i in batch], n, manner, steer)
        written |= dict(zip(batch, groups, strict=True))
    return [written[i] for i in range(len(prompts))]


def _write_batch(
    base: Base, prompts: list[tuple[int, ...]], n: int, manner: Manner, steer: Steer | None
) -> list[list[Completion]]:
    chances = torch.stack([_chances(prompt, k, manner) for prompt in prompts for k in range(n)]).to(base.device)
    past = read(base, prompts)
    if n > 1:
        past.repeat(n)
    rows = torch.arange(len(prompts) * n, device=base.device)  # which reply each row of the batch is
    tokens: list[list[int]] = [[] for _ in rows]
    logps: list[list[float]] = [[] for _ in rows]
    ends = torch.tensor(sorted(base.text.ends), device=base.device)
    for place in range(manner.max_tokens):
        drawn, logp = draw(steer(past.states, past.logits) if steer else past.logits, chances[rows, place], manner)
        for row, token, value in zip(rows.tolist(), drawn.tolist(), logp.tolist(), strict=True):
            tokens[row].append(token)
            logps[row].append(value)
        going = ~torch.isin(drawn, ends)
        if place == manner.max_tokens - 1 or not going.any():
            break
        if not going.all():
            kept = going.nonzero()[:, 0]
            past.keep(kept)
            rows, drawn = rows[kept], drawn[kept]
        past.append(drawn)
    lengths = [(len(p), [len(t) for t in tokens[i * n : (i + 1) * n]]) for i, p in enumerate(prompts)]
    base.meter.charge_writing(lengths, base.sizes(base.worn.name))
    replies = [base.text.completion(t, lp) for t, lp in zip(tokens, logps, strict=True)]
    return [replies[i : i + n] for i in range(0, len(replies), n)]


def draw(logits: Tensor, chances: Tensor, manner: Manner) -> tuple[Tensor, Tensor]:
    """One token per row by inverting the cumulative distribution at `chances`, and its log-probability. Temperature 0 takes
    the best, with its log-probability at temperature 1."""
    if manner.temperature == 0:
        best = logits.argmax(-1)
        return best, logits.log_softmax(-1).gather(1, best[:, None])[:, 0]
    spread = narrowed(logits / manner.temperature, manner).log_softmax(-1)
    weights = spread.exp().double()
    heights = weights.cumsum(-1)
    found = torch.searchsorted(heights, chances[:, None].double() * heights[:, -1:], right=True)
    drawn = found.clamp(max=logits.shape[-1] - 1)
    missed = weights.gather(1, drawn) == 0  # rounding at the very end of the distribution
    drawn = torch.where(missed, weights.argmax(-1, keepdim=True), drawn)
    return drawn[:, 0], spread.gather(1, drawn)[:, 0]


def narrowed(logits: Tensor, manner: Manner) -> Tensor:
    """The logits with everything outside top-k and top-p at minus infinity."""
    if 0 < manner.top_k < logits.shape[-1]:
        least = logits.topk(manner.top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if manner.top_p < 1:
        ranked, order = logits.sort(descending=True)
        before = ranked.softmax(-1).cumsum(-1) - ranked.softmax(-1)
        logits = logits.masked_fill((before >= manner.top_p).scatter(1, order, before >= manner.top_p), -torch.inf)
    return logits


def _chances(prompt: tuple[int, ...], number: int, manner: Manner) -> Tensor:
    """The uniform numbers that reply `number` to this prompt is drawn with."""
    name = hashlib.sha256(repr((prompt, number, manner.seed)).encode()).digest()
    return torch.rand(manner.max_tokens, generator=torch.Generator().manual_seed(int.from_bytes(name[:8], "big") >> 1))
