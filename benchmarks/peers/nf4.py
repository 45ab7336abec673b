"""Four bits on a CPU: gradients after sampling are still gradients (case 10), and a step costs what it costs in bfloat16
(case 12). `python benchmarks/peers/nf4.py`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from typing import Any

import clock
from setting import Setting

COSINE, SLOWER = 0.999, 1.05
UPDATES_PER_ROUND, SIZE, MIX = 4, "tiny4k", "hh"


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rounds", type=int, default=8, help="alternating rounds, an even number")
    rounds = words.parse_args().rounds
    if os.environ.get("GLIBC_TUNABLES") != clock.TUNABLES or os.environ.get("OMP_NUM_THREADS") != "1":
        os.execve(sys.executable, [sys.executable, *sys.argv], clock.strict_environment(tunables=True))
    import report
    import torch

    torch.set_num_threads(1)
    results: dict[str, Any] = {"case 10": {"ours": after_sampling(), "bitsandbytes as it comes": as_it_comes()}}
    print(f"case 10: {results['case 10']}", flush=True)
    results["case 12"] = race(rounds)
    print(f"case 12: {results['case 12']}", flush=True)
    for case, result in results.items():
        command = f"python benchmarks/peers/nf4.py --rounds {rounds}"
        report.keep("peers-nf4", case, result | report.circumstances(command))
    missed = []
    if results["case 10"]["ours"]["cosine"] < COSINE:
        missed.append(f"the gradient after sampling has cosine {results['case 10']['ours']['cosine']:.3f}, goal {COSINE}")
    if results["case 12"]["nf4_over_bf16"] > SLOWER:
        missed.append(f"nf4 takes {results['case 12']['nf4_over_bf16']:.3f} of bf16's time, goal {SLOWER}")
    print("\n".join(missed) or "every goal is reached")
    return 0


def after_sampling() -> dict[str, float]:
    """The gradient of our policy's log-probabilities before and after it has sampled."""
    import torch
    from our_dpo import Ours

    from alignzoo.interfaces import Manner
    from alignzoo.model.forest import per_reply

    ours = Ours(_size(), Setting(4), _pairs(4), quantize="nf4", dtype="bfloat16")
    _stir(ours.policy.parameters())
    forest = ours.base.text.pairs(_pairs(4))

    def gradient() -> Any:
        for parameter in ours.policy.parameters():
            parameter.grad = None
        per_reply(ours.policy.logps(forest), forest).sum().backward()
        return torch.cat([parameter.grad.flatten().float() for parameter in ours.policy.parameters()])

    before = gradient()
    ours.policy.sample([pair.prompt for pair in _pairs(4)], 1, Manner(max_tokens=8))
    after = gradient()
    ours.close()
    return _likeness(before, after)


def as_it_comes() -> dict[str, float]:
    """The same of transformers, peft and bitsandbytes without a guard: train, look once in eval mode, train."""
    import torch
    from models import folder
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    four_bit = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    base = AutoModelForCausalLM.from_pretrained(
        folder(_size()), dtype=torch.bfloat16, quantization_config=four_bit, device_map={"": "cpu"}
    )
    model = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    moved = [parameter for parameter in model.parameters() if parameter.requires_grad]
    _stir(moved)
    ids = torch.arange(4, 68).view(2, 32)

    def gradient() -> Any:
        model.train().zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        return torch.cat([parameter.grad.flatten().float() for parameter in moved])

    before = gradient()
    with torch.no_grad():
        model.eval()(input_ids=ids)
    return _likeness(before, gradient())


def _stir(parameters: Iterable[Any]) -> None:
    """Away from B = 0, where half of the gradients are zero."""
    import torch

    dice = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in parameters:
            parameter += 0.02 * torch.randn(parameter.shape, generator=dice).to(parameter)


def _likeness(before: Any, after: Any) -> dict[str, float]:
    import torch

    cosine = torch.nn.functional.cosine_similarity(before, after, dim=0)
    return {"cosine": round(float(cosine), 4), "norm_ratio": round(float(after.norm() / before.norm()), 4)}


def race(rounds: int) -> dict[str, Any]:
    """CPU time of a DPO update with the base in nf4 (computing in bfloat16) beside the same base in bfloat16."""
    from our_dpo import Ours

    updates = UPDATES_PER_ROUND
    pairs, setting = _pairs(4 * updates), Setting(4)
    contenders = {
        "bf16": Ours(_size(), setting, pairs, rounds + 1, "none", "bfloat16"),
        "nf4": Ours(_size(), setting, pairs, rounds + 1, "nf4", "bfloat16"),
    }
    for contender in contenders.values():
        contender.pull(updates)
    times = clock.alternate(
        {name: lambda _, one=one: clock.cpu(lambda: one.pull(updates)) for name, one in contenders.items()}, rounds
    )
    for contender in reversed(contenders.values()):
        contender.close()
    # Whoever comes first in a round prepares oneDNN's bfloat16 products of new shapes for both: two rounds, one in each order,
    # are one measurement.
    paired = {name: [sum(two) / 2 for two in zip(of[::2], of[1::2], strict=True)] for name, of in times.items()}
    milliseconds = {name: 1e3 * clock.median(of) / updates for name, of in paired.items()}
    return {
        "ms_per_update": {name: round(of, 1) for name, of in milliseconds.items()},
        "nf4_over_bf16": clock.median([a / b for a, b in zip(paired["nf4"], paired["bf16"], strict=True)]),
        "by_two_rounds": [round(a / b, 3) for a, b in zip(paired["nf4"], paired["bf16"], strict=True)],
    }


def _size() -> Any:
    from models import SIZES

    return SIZES[SIZE]


def _pairs(count: int) -> Any:
    from pairs import comparisons

    return comparisons(count, MIX, _size().vocabulary)


if __name__ == "__main__":
    sys.exit(main())
