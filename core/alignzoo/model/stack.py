"""Whether torch, CUDA and bitsandbytes really work here: a 4-bit product is computed and compared with its definition.

    python -m alignzoo.model.stack

prints one JSON object a line: {"what", "works", "words"}. Run in a process of its own by `alignzoo doctor`, because a broken
driver or library does not raise, it crashes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

SIDE = 256
"""Of the matrix. Small on a CPU; the test is whether it is right, not how fast it is."""
SECONDS = 1.0
"""How long a GPU is kept at it, so that a card that falls over under load does so here."""


def main() -> int:
    for what, found in checks():
        try:
            works, words = found()
        except Exception as error:  # whatever a broken stack raises is the finding
            works, words = False, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no words'}"
        print(json.dumps({"what": what, "works": works, "words": words}), flush=True)
    return 0


def checks() -> Iterator[tuple[str, Callable[[], tuple[bool, str]]]]:
    """What is looked at, each after what it stands on."""
    yield "torch", _torch
    yield "cuda", _cuda
    yield "4 bits on the CPU", lambda: four_bits("cpu", 0.0)
    import torch

    for number in range(torch.cuda.device_count()):
        yield f"4 bits on GPU {number}", lambda number=number: four_bits(f"cuda:{number}", SECONDS)  # type: ignore[misc]


def _torch() -> tuple[bool, str]:
    import torch

    product = torch.ones(2, 3) @ torch.ones(3, 2)
    return bool((product == 3).all()), f"torch {torch.__version__}, built for {_built_for()}, {torch.get_num_threads()} threads"


def _built_for() -> str:
    import torch

    return f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU"


def _cuda() -> tuple[bool, str]:
    """A CPU-only build without a GPU is in order; a CUDA build that sees none may not be."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return True, ", ".join(names)
    return True, "no GPU is seen; everything runs on the CPU" + (
        ", though torch is built for CUDA" if torch.version.cuda else ""
    )


def four_bits(device: str, seconds: float) -> tuple[bool, str]:
    """Multiply by a matrix in NF4 and compare with the product by what those four bits stand for."""
    import bitsandbytes
    import torch

    weight = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    layer = bitsandbytes.nn.Linear4bit(SIDE, SIDE, bias=False, compute_dtype=torch.float32, quant_type="nf4")
    layer.weight = bitsandbytes.nn.Params4bit(weight, requires_grad=False, quant_type="nf4")
    layer = layer.to(device)
    x = torch.randn(8, SIDE, generator=torch.Generator().manual_seed(1)).to(device)
    stood_for = dequantized(layer).to(x)
    meant = x @ stood_for.t()
    began, rounds, worst = time.monotonic(), 0, 0.0
    while rounds == 0 or time.monotonic() - began < seconds:
        worst = max(worst, float((layer(x) - meant).abs().max() / x.abs().max()))
        rounds += 1
    lost = float((weight.to(device) - stood_for).abs().mean())
    works = worst < 0.05 and 0.01 < lost < 0.2
    words = f"bitsandbytes {bitsandbytes.__version__}: {rounds} products, off by {worst:.1e} at most; rounding costs {lost:.3f}"
    return works, words


def dequantized(layer: Any) -> Any:
    """The numbers that a layer's four bits stand for."""
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(layer.weight.data, layer.weight.quant_state)


if __name__ == "__main__":
    sys.exit(main())
