"""What may be chosen of a base in a run file: how it is loaded, and the shape of its adapters. Light: a run file is read, and
refused, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt

from alignzoo.limits import check_settings

Quantization = Literal["nf4", "int8", "none"]
LongPrompts = Literal["refuse", "cut"]


@dataclass(frozen=True)
class Loading:
    """How a base is loaded."""

    quantize: Quantization = "nf4"
    """The frozen weights: 4-bit NormalFloat, 8-bit integers, or as they are."""
    double_quant: bool = True
    """Quantize the scales of nf4, too (saves 0.4 bit per parameter)."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What is computed in; auto is bfloat16 on a GPU that has it, and float32 elsewhere."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model lives; auto is the GPU if there is one."""
    checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, half as much work again (the base is frozen)."""
    decoding: Literal["auto", "plain"] = "auto"
    """How replies are written on a GPU: auto reads each token by a CUDA graph, where that is proven to say the same; plain
    never does. On a CPU there is nothing to record."""
    template: Literal["auto", "chat", "dialogue", "plain"] = "auto"
    """How turns become text: the tokenizer's chat template, or "dialogue" or "plain" where it has none."""
    long_prompts: LongPrompts = "refuse"
    """A prompt that leaves the context no room for the reply that is to be written: refuse is an error, cut leaves out the
    prompt's beginning, and counts it."""
    trust_remote_code: bool = False
    """Run code that comes with the model. It can do anything that you can; the run records that it was allowed."""

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class Lora:
    """The shape of every adapter on one base."""

    rank: Annotated[int, Ge(1)] = 16
    alpha: Annotated[float, Gt(0)] = 32.0
    targets: tuple[str, ...] = ()
    """Names of the layers to adapt; empty adapts every linear layer but the head, whatever the architecture."""

    def __post_init__(self) -> None:
        check_settings(self)
