"""RLOO beside TRL's RLOOTrainer: the same round first, then the clock. `python benchmarks/peers/rloo.py`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import Any

import clock
from rounds import Rounds, round_flops

CASE, SIZE, MIX, GOAL = 5, "tiny4k", "tldr", 5.3
PARITY_TOLERANCE = 1e-4
UPDATES_PER_ROUND = 2


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rounds", type=int, default=5, help="alternating rounds; the median counts")
    words.add_argument("--memory-of", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.memory_of:
        return _print_memory(asked.memory_of)
    strict = clock.strict_environment(tunables=True)
    if os.environ.get("GLIBC_TUNABLES") != clock.TUNABLES or os.environ.get("OMP_NUM_THREADS") != "1":
        os.execve(sys.executable, [sys.executable, *sys.argv], strict)
    import report
    import torch

    torch.set_num_threads(1)
    result: dict[str, Any] = {"size": SIZE, "mix": MIX, "goal": GOAL, "parity": parity()}
    print(f"parity: {result['parity']}", flush=True)
    if max(result["parity"]["differences"].values()) > PARITY_TOLERANCE:
        print(f"a difference of more than {PARITY_TOLERANCE:g}: not the same training, so there is nothing to time")
        return 1
    result |= race(asked.rounds)
    print(f"race: {result}", flush=True)
    result["memory"] = memory()
    result["missed"] = [] if result["ratio"] >= GOAL else [f"ratio {result['ratio']:.2f}, goal {GOAL}"]
    command = f"python benchmarks/peers/rloo.py --rounds {asked.rounds}"
    report.keep("peers-rloo", f"case {CASE}", result | report.circumstances(command))
    print(f"memory: {result['memory']}", "\n".join(result["missed"]) or "every goal is reached", sep="\n")
    return 0


def parity() -> dict[str, Any]:
    """The largest relative difference of advantages, losses and gradients over the same answers, which the peer wrote.

    The two cannot draw the same answers, so ours takes the peer's: tokens only; log-probabilities, divergence, scores and
    advantages are each side's own. First where they were written, by an adapter that is not the reference (so that the
    penalty is not 0); then by one that has moved (so that the ratio is not 1 and some of it is clipped). How much of
    either there was is told, too."""
    import torch

    ours, theirs, batches = _contenders(2)
    start = ours.adapter
    writing = _moved(start, 1, by=0.03)
    later = _moved(writing, 2, by=0.003)
    ours.wear(writing)
    theirs.wear(writing)
    written = theirs.round(batches[0])
    wanted = [ours.prompt_ids(prompt) for prompt in written.prompts for _ in range(theirs.setting.replies)]
    if theirs.prompt_ids() != wanted:
        raise AssertionError("a prompt is tokenized differently")
    forest = ours.experience(written, start)
    differences = {"advantages": _apart(forest.replies["advantage"], torch.tensor(written.advantages))}
    for where, adapter in (("written", writing), ("moved", later)):
        ours.wear(adapter)
        theirs.wear(adapter)
        (own_loss, own), (their_loss, other) = ours.slope(forest), theirs.slope()
        if sorted(own) != sorted(other):
            raise AssertionError("the two train different weights")
        differences[f"loss where {where}"] = abs(own_loss - their_loss) / (1 + abs(their_loss))
        flat = [torch.cat([gradients[key].flatten() for key in sorted(own)]) for gradients in (own, other)]
        differences[f"gradient where {where}"] = _apart(*flat)
    ours.close()
    nats = float(forest.replies["divergence"].mean())
    return {"differences": differences, "nats_per_reply": nats, "clipped": ours.clipped(forest)}


def _moved(adapter: Any, seed: int, by: float) -> Any:
    import torch

    dice = torch.Generator().manual_seed(seed)
    return {
        key: tensor + by * torch.randn(tensor.shape, generator=dice) if "lora_B" in key else tensor
        for key, tensor in sorted(adapter.items())
    }


def _apart(one: Any, other: Any) -> float:
    """The largest difference, by the largest entry."""
    return float((one - other).abs().max() / other.abs().max())


def race(rounds: int) -> dict[str, Any]:
    """CPU time per update, in alternating rounds over the same prompts, after one round to warm up."""
    from models import SIZES

    updates = UPDATES_PER_ROUND
    ours, theirs, batches = _contenders(updates * (rounds + 1))
    ours.pull(updates)
    theirs.train(batches[:updates])
    ceiling = clock.matmul_ceiling()
    times = clock.alternate(
        {
            "theirs": lambda n: theirs.train(batches[(n + 1) * updates : (n + 2) * updates]),
            "ours": lambda _: clock.cpu(lambda: ours.pull(updates)),
        },
        rounds,
    )
    ceiling = max(ceiling, clock.matmul_ceiling())
    ours.close()
    prompts = [len(ours.prompt_ids(theirs.prompts[place])) for batch in batches[updates:] for place in batch]
    flops = sum(round_flops(SIZES[SIZE], prompt, theirs.setting) for prompt in prompts) / (rounds * updates)
    seconds = {name: clock.median(of) / updates for name, of in times.items()}
    return {
        "ms_per_update": {name: round(1e3 * of, 1) for name, of in seconds.items()},
        "ratio": seconds["theirs"] / seconds["ours"],
        "ratio_by_round": [round(a / b, 2) for a, b in zip(times["theirs"], times["ours"], strict=True)],
        "gflop_per_update": round(flops / 1e9, 2),
        "ceiling_gflops": round(ceiling / 1e9, 1),
        "share_of_ceiling": {name: flops / of / ceiling for name, of in seconds.items()},
    }


def memory() -> dict[str, float]:
    """MiB that each side grows by while it trains, each in a fresh process with the allocator as it comes."""
    grown = {}
    for side in ("theirs", "ours"):
        run = [sys.executable, __file__, "--memory-of", side]
        done = subprocess.run(run, env=clock.strict_environment(tunables=False), capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the process that measures the memory of '{side}' failed:\n{done.stderr[-2000:]}")
        grown[side] = json.loads(done.stdout.splitlines()[-1])
    return grown


def _print_memory(side: str) -> int:
    import torch

    torch.set_num_threads(1)
    ours, theirs, batches = _contenders(UPDATES_PER_ROUND, only=side)
    with clock.watching_memory() as peak:
        if side == "ours":
            ours.pull(UPDATES_PER_ROUND)
            ours.close()
        else:
            theirs.train(batches)
    print(json.dumps(round(peak.growth, 1)))
    return 0


def _contenders(updates: int, only: str = "") -> tuple[Any, Any, list[list[int]]]:
    """Both sides over the prompts of so many updates, from one start, and which prompts each update is about."""
    from models import SHELF, SIZES
    from our_rloo import Ours, order
    from pairs import comparisons

    size, setting = SIZES[SIZE], Rounds()
    prompts = [pair.prompt for pair in comparisons(updates * setting.prompts, MIX, size.vocabulary)]
    adapter = SHELF / f"{size.name}-rloo-adapter"
    ours = None
    if only != "theirs":  # which is in a process of its own, and must not hold our model, too
        ours = Ours(size, setting, prompts)
        ours.save(adapter)
    if only == "ours":
        return ours, None, []
    from trl_rloo import Theirs

    return ours, Theirs(size, setting, prompts, adapter), order(setting, len(prompts))


if __name__ == "__main__":
    sys.exit(main())
