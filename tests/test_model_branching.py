"""Attention to prompts whose keys and values are kept once, against the plain formula on each row's own copy."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from alignzoo.model.attention import Branching, forest_attention

COUNTS, LENGTHS = [3, 2], [6, 3]
"""Rows that go on from each prompt, and tokens of each prompt."""
HEADS, KEPT, WIDTH, WRITTEN = 4, 2, 8, 4


def plainly(query: Tensor, keys: Tensor, values: Tensor, scale: float, window: int) -> Tensor:
    """(heads, width) softmax(scale · q K) V over the last `window` tokens of one row, or over all."""
    keys, values = (of[:, -window:] if window else of for of in (keys, values))
    keys, values = (of.repeat_interleave(HEADS // KEPT, 0) for of in (keys, values))
    return ((scale * (keys @ query[:, :, None])[..., 0]).softmax(-1)[:, None] @ values)[:, 0]


@pytest.mark.parametrize("scaling", [None, 0.9])
@pytest.mark.parametrize("window", [0, 2, 4, 6, 9, 20])
def test_a_prompt_kept_once_is_attended_to_as_if_every_row_had_it(window: int, scaling: float | None) -> None:
    """A window that ends within what was written, just behind the prompt, within the short prompt, within the long one."""
    dice = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=dice)

    prompts = [(drawn(KEPT, length, WIDTH), drawn(KEPT, length, WIDTH)) for length in LENGTHS]
    query, key, value = drawn(5, HEADS, 1, WIDTH), drawn(5, KEPT, WRITTEN, WIDTH), drawn(5, KEPT, WRITTEN, WIDTH)
    layers = Branching([[], prompts], COUNTS)
    module: torch.nn.Module = SimpleNamespace(layer_idx=1)  # type: ignore[assignment]
    found, _ = forest_attention(
        module, query, key, value, None, branching=layers, scaling=scaling, sliding_window=window or None
    )
    assert found.shape == (5, 1, HEADS, WIDTH)
    whose = [number for number, count in enumerate(COUNTS) for _ in range(count)]
    for row, prompt in enumerate(whose):
        own = (torch.cat(both, 1) for both in zip(prompts[prompt], (key[row], value[row]), strict=True))
        wanted = plainly(query[row, :, 0], *own, WIDTH**-0.5 if scaling is None else scaling, window)
        assert torch.allclose(found[row, 0], wanted, atol=1e-6)
