"""How time and memory are measured here, and what a step would cost on a machine without any waste."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from models import Size
from pairs import Lengths

TUNABLES = "glibc.malloc.mmap_threshold=8589934592:glibc.malloc.trim_threshold=17179869184:glibc.malloc.top_pad=268435456"
"""Without these, glibc maps every tensor above 32 MiB anew and the page faults are a large part of what a peer costs. They
help the peer much and us hardly: the strict rules give them to both."""


def strict_environment(*, tunables: bool) -> dict[str, str]:
    """One thread, no network, and the allocator as asked."""
    environment = dict(os.environ) | {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONWARNINGS": "ignore",
    }
    environment.pop("GLIBC_TUNABLES", None)
    return environment | ({"GLIBC_TUNABLES": TUNABLES} if tunables else {})


def alternate(contenders: Mapping[str, Callable[[int], float]], rounds: int) -> dict[str, list[float]]:
    """Run each contender once per round, first and last changing places, so that both see the same machine. A contender takes
    the number of the round and returns the CPU seconds of what is to be timed in it."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            times[name].append(contenders[name](number))
    return times


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of this process: nearly deaf to what the neighbours do."""
    start = time.process_time()
    work()
    return time.process_time() - start


def matmul_ceiling(side: int = 1024, tries: int = 7) -> float:
    """FLOP per CPU second of a large float32 product, here and now, at its best."""
    left, right = torch.randn(side, side), torch.randn(side, side)
    for _ in range(2):
        left @ right
    return 2 * side**3 / min(cpu(lambda: left @ right) for _ in range(tries))


def step_flops(size: Size, lengths: Sequence[Lengths], rank: int) -> float:
    """FLOP of a DPO step (reference known) with nothing done twice and nothing for nobody: each prompt once, no padding, the
    head at reply tokens, and after the last attention only the rows that are read.

    Linear layers: forward, and backward to their inputs. LoRA: the same and the gradients of its weights. Head: one product
    for the logits and one for the gradient. Attention: two products forward, four backward and one recomputed, which is
    what flash kernels do."""
    once, unread = sum(pair.once for pair in lengths), sum(pair.unread for pair in lengths)
    seen = sum(size.layers * pair.seen - pair.prompt**2 / 2 for pair in lengths)
    replies = sum(pair.chosen + pair.rejected for pair in lengths)
    linear = 2 * 2 * (size.linear_parameters * once - size.closing_parameters * unread)
    lora = 3 * 2 * rank * (size.lora_sides * once - size.closing_sides * unread)
    head = 2 * 2 * size.head_parameters * replies
    attention = 3.5 * 4 * size.hidden * seen
    return linear + lora + head + attention


def prompt_flops(size: Size, lengths: Sequence[Lengths], rank: int) -> float:
    """What a loss adds to a step that asks for every token of a prompt, too: the head there, and the rows that others leave
    out behind the last attention."""
    unread = sum(pair.unread for pair in lengths)
    linear, lora = 2 * 2 * size.closing_parameters * unread, 3 * 2 * rank * size.closing_sides * unread
    attention = 3.5 * 4 * size.hidden * sum(pair.prompt**2 / 2 for pair in lengths)
    return linear + lora + 2 * 2 * size.head_parameters * unread + attention


def met_flops(size: Size, met: Sequence[tuple[int, int]], rank: int) -> float:
    """Replies that are read without a gradient, behind a prompt that is read in any case: (its length, the reply's)."""
    tokens = sum(reply for _, reply in met)
    seen = sum(reply * (prompt + reply / 2) for prompt, reply in met)
    parameters = size.linear_parameters + rank * size.lora_sides + size.head_parameters
    return 2 * parameters * tokens + 4 * size.hidden * size.layers * seen


def reward_flops(size: Size, lengths: Sequence[Lengths], rank: int) -> float:
    """The same of a reward model's step: there is no head to speak of, and after the last attention only the last token of
    each reply is read."""
    once, ends = sum(pair.once for pair in lengths), 2 * len(lengths)
    seen = sum((size.layers - 1) * pair.seen + pair.once + pair.prompt for pair in lengths)
    linear = 2 * 2 * (size.linear_parameters * once - size.closing_parameters * (once - ends))
    lora = 3 * 2 * rank * (size.lora_sides * once - size.closing_sides * (once - ends))
    return linear + lora + 3.5 * 4 * size.hidden * seen


@dataclass
class Peak:
    """Resident memory in MiB: when a block was entered, and at most inside it."""

    before: float
    most: float

    @property
    def growth(self) -> float:
        return self.most - self.before


@contextmanager
def watching_memory() -> Iterator[Peak]:
    """Looks every two milliseconds."""
    peak = Peak(_resident(), _resident())
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.002):
            peak.most = max(peak.most, _resident())

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()
        peak.most = max(peak.most, _resident())


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def median(times: Sequence[float]) -> float:
    return statistics.median(times)
