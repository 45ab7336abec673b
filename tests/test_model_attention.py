"""Attention over a packed forest, over a cache and over columns that stay, against softmax(s · q K) V of what each token may
see, token by token."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from alignzoo.model.attention import Columns, Packing, UnknownAttention, forest_attention
from alignzoo.model.forest import Forest, Tree, plant
from alignzoo.model.tail import Tail

HEADS, KEPT, WIDTH = 4, 2, 8
FOREST = plant([Tree((1, 2, 3), ((4, 5), (6, 7, 8, 9))), Tree((1,), ((2, 3),)), Tree((5, 6, 7, 8), ((1,), (2, 3), (4, 5)))])
WINDOWS = [0, 1, 2, 3, 4, 5, 6, 50]


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def plainly(query: Tensor, keys: Tensor, values: Tensor, scale: float | None) -> Tensor:
    """(heads, width) What one token sees in these keys and values, (kept heads, tokens, width)."""
    keys, values = (of.repeat_interleave(HEADS // KEPT, 0) for of in (keys, values))
    weights = ((WIDTH**-0.5 if scale is None else scale) * (keys @ query[:, :, None])[..., 0]).softmax(-1)
    return (weights[:, None] @ values)[:, 0]


def sights(forest: Forest) -> list[list[int]]:
    """Of each packed token, the packed tokens that it sees: its prompt up to itself, or its prompt and its own reply so far."""
    seen = []
    for segment in forest.segments:
        seen += [list(range(segment.start, place + 1)) for place in range(segment.start, segment.split)]
        for first, stop in segment.replies:
            seen += [[*range(segment.start, segment.split), *range(first, place + 1)] for place in range(first, stop)]
    return seen


@pytest.mark.parametrize("scale", [None, 0.9])
@pytest.mark.parametrize("window", WINDOWS)
def test_every_token_of_a_forest_sees_its_prompt_and_its_own_reply(window: int, scale: float | None) -> None:
    count = FOREST.size
    query, key, value = drawn(1, HEADS, count, WIDTH), drawn(1, KEPT, count, WIDTH), drawn(1, KEPT, count, WIDTH)
    for layers, needed in ((0, list(range(count))), (1, FOREST.needed.tolist())):  # in the last layer few rows are finished
        packing, module = Packing.of(FOREST, FOREST.needed, Tail(), layers), SimpleNamespace(layer_idx=0)
        for _ in range(2):  # masks that were made once serve the next layer
            found, _ = forest_attention(
                module, query, key, value, None, packing=packing, scaling=scale, sliding_window=window or None  # type: ignore[arg-type]
            )  # fmt: skip
        assert found.shape == (1, count, HEADS, WIDTH)
        for place, seen in enumerate(sights(FOREST)):
            near = seen[-window:] if window else seen
            if place in needed:
                wanted = plainly(query[0, :, place], key[0][:, near], value[0][:, near], scale)
                assert torch.allclose(found[0, place], wanted, atol=1e-5), (place, layers)
        assert packing.tail.rows is None if layers == 0 else torch.equal(packing.tail.rows, FOREST.needed)  # type: ignore[arg-type]


@pytest.mark.parametrize("places", [[], [(0, 2), (4, 5), (2, 4)]])
@pytest.mark.parametrize("window", WINDOWS)
def test_a_forest_goes_on_from_what_was_kept(window: int, places: list[tuple[int, int]]) -> None:
    """Each tree from a beginning of its own, or all from the same."""
    count, past = FOREST.size, 5
    query, key, value = drawn(1, HEADS, count, WIDTH), drawn(1, KEPT, count, WIDTH), drawn(1, KEPT, count, WIDTH)
    states = drawn(1, KEPT, past, WIDTH)
    kept = [(torch.zeros_like(states), states), (states, states.flip(2))]
    module: Any = SimpleNamespace(layer_idx=1)
    first, last = (Packing.of(FOREST, FOREST.needed, Tail(), layers, kept) for layers in (0, 2))
    first.places = last.places = places
    found, few = (
        forest_attention(module, query, key, value, None, packing=of, sliding_window=window or None)[0] for of in (first, last)
    )
    assert torch.allclose(few[0, FOREST.needed], found[0, FOREST.needed], atol=1e-5)
    for number, segment in enumerate(FOREST.segments):
        start, stop = places[number] if places else (0, past)
        for place in range(segment.start, segment.stop):
            near = sights(FOREST)[place]
            keys, values = (
                torch.cat([old[0][:, start:stop], new[0][:, near]], 1) for old, new in zip(kept[1], (key, value), strict=True)
            )
            keys, values = (of[:, -window:] if window else of for of in (keys, values))
            assert torch.allclose(found[0, place], plainly(query[0, :, place], keys, values, None), atol=1e-5), place


@pytest.mark.parametrize("window", WINDOWS)
def test_a_next_token_sees_the_columns_of_its_own_row(window: int) -> None:
    """Rows that begin in columns 0, 2 and 4 of six, in growing columns and in eight that stay; what lies behind is not seen."""
    firsts, count = [0, 2, 4], 6
    query, key, value = drawn(3, HEADS, 1, WIDTH), drawn(3, KEPT, 8, WIDTH), drawn(3, KEPT, 8, WIDTH)
    real = torch.arange(count) >= torch.tensor(firsts)[:, None]
    mask = torch.zeros(3, count).masked_fill_(~real, -torch.inf)[:, None, None]
    module: Any = SimpleNamespace(layer_idx=0)
    columns = Columns(torch.tensor(firsts)[:, None], torch.tensor([count - 1]), 8)
    grown, _ = forest_attention(
        module, query, key[:, :, :count], value[:, :, :count], mask, scaling=0.7, sliding_window=window or None
    )
    stayed, _ = forest_attention(module, query, key, value, None, columns=columns, scaling=0.7, sliding_window=window or None)
    again = columns.mask(0 if window else 3, key)  # one window's mask is not another's
    assert int((again == 0).sum()) == (3 + 3 + 2 if not window else 6 + 4 + 2)
    for row, first in enumerate(firsts):
        begin = max(first, count - window) if window else first
        wanted = plainly(query[row, :, 0], key[row, :, begin:count], value[row, :, begin:count], 0.7)
        assert torch.allclose(grown[row, 0], wanted, atol=1e-5)
        assert torch.allclose(stayed[row, 0], wanted, atol=1e-5)


@pytest.mark.parametrize("window", WINDOWS)
def test_several_tokens_at_once_are_causal_within_their_window(window: int) -> None:
    query, key, value = drawn(1, HEADS, 5, WIDTH), drawn(1, KEPT, 5, WIDTH), drawn(1, KEPT, 5, WIDTH)
    module: Any = SimpleNamespace(layer_idx=0)
    causal = torch.ones(5, 5, dtype=torch.bool).tril()[None, None]
    for mask in (None, causal) if window == 0 or window >= 5 else (causal,):
        found, _ = forest_attention(module, query, key, value, mask, sliding_window=window or None)
        for place in range(5):
            begin = max(0, place + 1 - window) if window else 0
            wanted = plainly(query[0, :, place], key[0, :, begin : place + 1], value[0, :, begin : place + 1], None)
            assert torch.allclose(found[0, place], wanted, atol=1e-5)


def test_what_the_packed_form_does_not_know_is_refused() -> None:
    states, module = drawn(1, KEPT, 3, WIDTH), SimpleNamespace(layer_idx=0)
    forest_attention(module, states, states, states, None, softcap=None, use_cache=True)  # type: ignore[arg-type]
    with pytest.raises(UnknownAttention, match="softcap"):
        forest_attention(module, states, states, states, None, softcap=30.0, use_cache=True)  # type: ignore[arg-type]
