"""A reward model beside TRL's RewardTrainer (case 4): parity first, then the clock. `python benchmarks/peers/reward.py`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import clock
from setting import Setting

SIZE, MIX, GOAL = "tiny4k", "hh", 2.7
SETTING = Setting(batch=8)
PARITY_UPDATES, PARITY_EPOCHS, PARITY_TOLERANCE = 20, 4, 1e-4
UPDATES_PER_ROUND = 4


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rounds", type=int, default=5, help="alternating rounds; the median counts")
    words.add_argument("--memory-of", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.memory_of:
        return _print_memory(asked.memory_of)
    if os.environ.get("GLIBC_TUNABLES") != clock.TUNABLES or os.environ.get("OMP_NUM_THREADS") != "1":
        os.execve(sys.executable, [sys.executable, *sys.argv], clock.strict_environment(tunables=True))
    return _run(asked.rounds)


def _run(rounds: int) -> int:
    import report
    import torch

    torch.set_num_threads(1)
    result: dict[str, Any] = {"size": SIZE, "mix": MIX, "batch": SETTING.batch, "parity": parity()}
    print(f"parity: {result['parity']}", flush=True)
    if result["parity"]["largest_difference"] > PARITY_TOLERANCE:
        print(f"the losses differ by more than {PARITY_TOLERANCE:g}: not the same training, so there is nothing to time")
        return 1
    result["race"] = race(rounds)
    print(f"race: {result['race']}", flush=True)
    result["memory"] = memory()
    print(f"memory: {result['memory']}", flush=True)
    ratio = result["race"]["ratio"]
    result["missed"] = [f"ratio {ratio:.2f}, goal {GOAL}"] if ratio < GOAL else []
    command = f"python benchmarks/peers/reward.py --rounds {rounds}"
    report.keep("peers-reward", "case 4", result | report.circumstances(command))
    print("\n".join(result["missed"]) or "every goal is reached")
    return 0


def parity() -> dict[str, Any]:
    """Twenty updates of each side from one adapter and one head over one order of pairs, in several epochs."""
    ours, theirs, batches = _contenders(PARITY_UPDATES // PARITY_EPOCHS, PARITY_EPOCHS)
    told = ours.pull(PARITY_UPDATES)
    theirs["tuned"].train(batches)
    losses = [(mine["loss"], float(loss)) for mine, loss in zip(told, theirs["tuned"].losses, strict=True)]
    ours.close()
    return {
        "updates": len(losses),
        "largest_difference": max(abs(a - b) for a, b in losses),
        "losses_ours": [round(a, 6) for a, _ in losses],
        "losses_theirs": [round(b, 6) for _, b in losses],
    }


def race(rounds: int) -> dict[str, Any]:
    """CPU time per update, in alternating rounds over the same batches, after one round to warm up. The better of the peer's
    two manners counts."""
    from models import SIZES

    updates, laps = UPDATES_PER_ROUND, rounds + 1
    ours, theirs, batches = _contenders(updates, laps)

    def lap(number: int) -> Sequence[Sequence[int]]:
        return batches[number * updates : (number + 1) * updates]

    ours.pull(updates)
    for peer in theirs.values():
        peer.train(lap(0))
    ceiling = clock.matmul_ceiling()
    runners = {f"theirs, {manner}": lambda n, peer=peer: peer.train(lap(n + 1)) for manner, peer in theirs.items()}
    times = clock.alternate(runners | {"ours": lambda _: clock.cpu(lambda: ours.pull(updates))}, rounds)
    ceiling = max(ceiling, clock.matmul_ceiling())
    ours.close()
    pairs = [ours.lengths[place] for batch in batches[updates:] for place in batch]
    flops = clock.reward_flops(SIZES[SIZE], pairs, SETTING.rank) / (rounds * updates)
    seconds = {name: clock.median(of) / updates for name, of in times.items()}
    best = min((name for name in seconds if name != "ours"), key=seconds.__getitem__)
    return {
        "ms_per_update": {name: round(1e3 * of, 1) for name, of in seconds.items()},
        "peer": best,
        "ratio": seconds[best] / seconds["ours"],
        "ratio_by_round": [round(a / b, 2) for a, b in zip(times[best], times["ours"], strict=True)],
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
    """Our model is made in both processes, to give the peer its ids; only what training adds counts."""
    import torch

    torch.set_num_threads(1)
    ours, theirs, batches = _contenders(UPDATES_PER_ROUND, 1)
    with clock.watching_memory() as peak:
        if side == "ours":
            ours.pull(UPDATES_PER_ROUND)
        else:
            theirs["tuned"].train(batches)
    print(json.dumps(round(peak.growth, 1)))
    return 0


def _contenders(updates: int, epochs: int) -> tuple[Any, dict[str, Any], list[list[int]]]:
    """Both sides over `updates` batches of pairs, from one start, and the batches of every epoch in the order they come in."""
    from models import SHELF, SIZES
    from our_dpo import order
    from our_reward import Ours
    from pairs import comparisons
    from trl_reward import Theirs

    size = SIZES[SIZE]
    pairs = comparisons(updates * SETTING.batch, MIX, size.vocabulary)
    batches = order(SETTING, len(pairs), epochs)
    ours = Ours(size, SETTING, pairs, epochs)
    adapter = SHELF / f"{size.name}-reward"
    head = ours.save(adapter)
    theirs = {manner: Theirs(size, SETTING, ours.ids, adapter, head, manner) for manner in ("tuned", "default")}
    return ours, theirs, batches


if __name__ == "__main__":
    sys.exit(main())
