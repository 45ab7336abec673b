"""The generation loop: each prompt is read once for all its replies, and finished rows leave the batch.

Every reply has its own stream of random numbers, from its prompt, its number and the seed, so it does not depend on its
neighbours. The log-probabilities of what was drawn are recorded under the distribution really drawn from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import DynamicCache

from alignzoo.interfaces import Manner
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
    ids, real = _left_padded(prompts, base.device)
    chances = torch.stack([_chances(prompt, k, manner) for prompt in prompts for k in range(n)]).to(base.device)
    cache = DynamicCache()
    states, logits = _step(base, ids, real, cache)
    if n > 1:
        cache.batch_repeat_interleave(n)
        states, logits, real = (x.repeat_interleave(n, 0) for x in (states, logits, real))
    rows = torch.arange(len(prompts) * n, device=base.device)  # which reply each row of the batch is
    tokens: list[list[int]] = [[] for _ in rows]
    logps: list[list[float]] = [[] for _ in rows]
    ends = torch.tensor(sorted(base.text.ends), device=base.device)
    for place in range(manner.max_tokens):
        drawn, logp = draw(steer(states, logits) if steer else logits, chances[rows, place], manner)
        for row, token, value in zip(rows.tolist(), drawn.tolist(), logp.tolist(), strict=True):
            tokens[row].append(token)
            logps[row].append(value)
        going = ~torch.isin(drawn, ends)
        if place == manner.max_tokens - 1 or not going.any():
            break
        if not going.all():
            kept = going.nonzero()[:, 0]
            cache.batch_select_indices(kept)
            rows, drawn, real = rows[kept], drawn[kept], real[kept]
        real = torch.cat([real, real.new_ones(len(rows), 1)], 1)
        states, logits = _step(base, drawn[:, None], real, cache)
    lengths = [(len(p), [len(t) for t in tokens[i * n : (i + 1) * n]]) for i, p in enumerate(prompts)]
    base.meter.charge_writing(lengths, base.sizes(base.worn.name))
    replies = [base.text.completion(t, lp) for t, lp in zip(tokens, logps, strict=True)]
    return [replies[i : i + n] for i in range(0, len(replies), n)]


def _step(base: Base, ids: Tensor, real: Tensor, cache: DynamicCache) -> tuple[Tensor, Tensor]:
    """Read these ids after what is cached: the last state of each row, and the logits of its next token."""
    count = ids.shape[1]
    positions = (real.cumsum(1) - 1).clamp(min=0)[:, -count:]
    inputs: dict[str, Any] = {"input_ids": ids, "past_key_values": cache, "use_cache": True}
    if base.packs:
        inputs |= {"position_ids": positions, "attention_mask": _seen(real, count)}
    else:
        inputs |= {"attention_mask": real.long()} | ({"position_ids": positions} if base.positions else {})
    if base.plain_head:
        states = base.trunk(**inputs).last_hidden_state[:, -1]
        return states, base.head.logits(states)
    out = base.model(**inputs, logits_to_keep=1, output_hidden_states=True)
    return out.hidden_states[-1][:, -1], out.logits[:, -1].float()


def _seen(real: Tensor, count: int) -> Tensor | None:
    """(rows, 1, count, columns) What each of the last `count` columns may look at; None where nothing is padded."""
    if bool(real.all()):
        return None
    columns = real.shape[1]
    causal = torch.ones(columns, columns, dtype=torch.bool, device=real.device).tril()[-count:]
    itself = torch.eye(columns, dtype=torch.bool, device=real.device)[-count:]  # a padded query must look at something
    return (causal & real[:, None, None, :]) | itself


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


def _left_padded(rows: Sequence[tuple[int, ...]], device: torch.device) -> tuple[Tensor, Tensor]:
    wide = max(map(len, rows))
    ids = torch.tensor([(0,) * (wide - len(row)) + row for row in rows], device=device)
    real = torch.tensor([(False,) * (wide - len(row)) + (True,) * len(row) for row in rows], device=device)
    return ids, real
