"""Heads that grow on a role: float32 maps from a state to some numbers, one layer or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


def chain(widths: Sequence[int], device: torch.device) -> nn.Module:
    """Linear maps from width to width with a ReLU between each two; one map alone is just that. Nothing is drawn for it."""
    layers: list[nn.Module] = [nn.utils.skip_init(nn.Linear, *pair, device=device) for pair in pairwise(widths)]  # type: ignore[no-untyped-call]
    if len(layers) == 1:
        return layers[0]
    return nn.Sequential(*[piece for layer in layers for piece in (layer, nn.ReLU())][:-1])


def layers_of(head: nn.Module) -> list[nn.Linear]:
    return [layer for layer in head.modules() if isinstance(layer, nn.Linear)]


def widths_of(state: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """The widths that each head's layers give, first to last, by the tensors of all heads as they were saved."""
    widths: dict[str, dict[int, int]] = {}
    for key, tensor in state.items():
        name, *place, kind = key.split(".")
        if kind == "weight":
            widths.setdefault(name, {})[int(place[0]) if place else 0] = len(tensor)
    return {name: [layers[place] for place in sorted(layers)] for name, layers in widths.items()}
