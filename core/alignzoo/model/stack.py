"""Whether torch, CUDA and bitsandbytes really work here: a 4-bit product is computed and compared with its definition.

    python -m alignzoo.model.stack

prints one JSON object a line: {"what", "works", "words"}; `works` is null where something is absent, and nothing is wrong with
that. Run in a process of its own by `alignzoo doctor`, because a broken driver or library does not raise, it crashes.
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
"""How long a device is kept at it, so that one that falls over under load does so here."""
FLOAT = (0.05, 0.15)
"""By how much of itself a product in NF4 is off the one in floating point: numbers drawn from a bell curve cost 9 %."""

Found = tuple[bool | None, str]
"""Whether something works (None: it is absent, and nothing is wrong with that), and what there is to say of it."""


def main() -> int:
    for what, found in checks():
        try:
            works, words = found()
        except Exception as error:  # whatever a broken stack raises is the finding
            works, words = False, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no words'}"
        print(json.dumps({"what": what, "works": works, "words": words}), flush=True)
    return 0


def checks() -> Iterator[tuple[str, Callable[[], Found]]]:
    """What is looked at, each after what it stands on."""
    yield "torch", _torch
    yield "cuda", _cuda
    import torch

    gpus = torch.cuda.device_count()
    yield "4 bits on the CPU", lambda: four_bits("cpu", 0.0 if gpus else SECONDS)
    for number in range(gpus):
        yield f"4 bits on GPU {number}", lambda number=number: four_bits(f"cuda:{number}", SECONDS)  # type: ignore[misc]


def _torch() -> Found:
    import torch

    product = torch.ones(2, 3) @ torch.ones(3, 2)
    return bool((product == 3).all()), f"torch {torch.__version__}, built for {_built_for()}, {torch.get_num_threads()} threads"


def _built_for() -> str:
    import torch

    return f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU"


def _cuda() -> Found:
    """Everything works on a CPU; what is wrong is a driver and a torch for it that do not come together."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return True, f"CUDA {torch.version.cuda}: {', '.join(names)}"
    return absent(torch.version.cuda or "", driver())


def absent(built: str, driver: bool) -> Found:
    """What of CUDA is missing: the driver, a torch that is built for it, or a device that both of them see."""
    if built and driver:
        return False, f"an NVIDIA driver is here and torch is built for CUDA {built}, but torch sees no GPU"
    lacks = [f"torch is built {f'for CUDA {built}' if built else 'without CUDA'}"]
    lacks += [
        "an NVIDIA driver is here" if driver else "there is no NVIDIA driver",
        "no GPU is seen: everything runs on the CPU",
    ]
    if driver:
        lacks.append("a torch built for CUDA would use the GPU")
    return None, "; ".join(lacks)


def driver() -> bool:
    """Whether the library that every NVIDIA driver brings can be loaded."""
    import ctypes

    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def four_bits(device: str, seconds: float) -> Found:
    """Multiply by a matrix in NF4, and compare with the product by what those four bits stand for, which it must be, and with
    the product in floating point, which it must be near."""
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
    true = x @ weight.to(device).t()
    lost = float((layer(x) - true).norm() / true.norm())
    works = worst < 0.05 and FLOAT[0] < lost < FLOAT[1]
    return works, (
        f"bitsandbytes {bitsandbytes.__version__}: {rounds} product{'s' * (rounds > 1)} in NF4, off by {worst:.1e} at most "
        f"from what the four bits say, and by {lost:.1%} from floating point"
    )


def dequantized(layer: Any) -> Any:
    """The numbers that a layer's four bits stand for."""
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(layer.weight.data, layer.weight.quant_state)


if __name__ == "__main__":
    sys.exit(main())
