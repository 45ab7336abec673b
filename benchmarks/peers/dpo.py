"""DPO and its relatives beside TRL's trainers: the same losses first, then the clock.

python benchmarks/peers/dpo.py --case 1                  # DPO
python benchmarks/peers/dpo.py --case 3 --method kto     # or kto-pairs, ipo, orpo, simpo
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import clock
from pairs import Lengths
from setting import CASES, METHODS, Case, Setting

PARITY_UPDATES, PARITY_EPOCHS, PARITY_TOLERANCE = 20, 4, 1e-4
UPDATES_PER_ROUND = 4


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--case", default="all", choices=[*map(str, CASES), "all"])
    words.add_argument("--method", default="dpo", choices=METHODS)
    words.add_argument("--rounds", type=int, default=5, help="alternating rounds; the median counts")
    words.add_argument("--memory-of", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.memory_of:
        return _print_memory(CASES[int(asked.case)], asked.method, asked.memory_of)
    strict = clock.strict_environment(tunables=True)
    if asked.case == "all":  # each case in a fresh process: none inherits the heap of another
        words_of = ["--method", asked.method, "--rounds", str(asked.rounds)]
        runs = [[sys.executable, __file__, "--case", str(n), *words_of] for n in CASES]
        return max(subprocess.run(run, env=strict).returncode for run in runs)
    if os.environ.get("GLIBC_TUNABLES") != clock.TUNABLES or os.environ.get("OMP_NUM_THREADS") != "1":
        os.execve(sys.executable, [sys.executable, *sys.argv], strict)
    return _run(CASES[int(asked.case)], asked.method, asked.rounds)


def _run(case: Case, method: str, rounds: int) -> int:
    import report
    import torch

    torch.set_num_threads(1)
    result: dict[str, Any] = {"parity": parity(case, method)}
    print(f"parity: {result['parity']}", flush=True)
    if result["parity"]["largest_difference"] > PARITY_TOLERANCE:
        print(f"the losses differ by more than {PARITY_TOLERANCE:g}: not the same training, so there is nothing to time")
        return 1
    result["remembered"] = race(case, method, rounds, first_epoch=False)
    print(f"reference remembered: {result['remembered']}", flush=True)
    if case.first_epoch and method == "dpo":
        result["first_epoch"] = race(case, method, rounds, first_epoch=True)
        print(f"reference asked in the step: {result['first_epoch']}", flush=True)
    result["memory"] = memory(case, method)
    command = f"python benchmarks/peers/dpo.py --case {case.number} --method {method} --rounds {rounds}"
    missed = report.write(case, method, result, command)
    print("\n".join(missed) or "every goal is reached")
    return 0


def parity(case: Case, method: str) -> dict[str, Any]:
    """Twenty updates of each side from one adapter over one order of pairs: the largest difference between their losses. Over
    several epochs, because only then do the losses of random pairs fall and have room to part."""
    ours, theirs, batches = _contenders(case, method, PARITY_UPDATES // PARITY_EPOCHS, PARITY_EPOCHS)
    told = ours.pull(PARITY_UPDATES)
    theirs.train(sum(map(len, batches)))
    losses = [(mine["loss"], float(loss)) for mine, loss in zip(told, theirs.losses, strict=True)]
    ours.close()
    return {
        "updates": len(losses),
        "largest_difference": max(abs(a - b) for a, b in losses),
        "losses_ours": [round(a, 6) for a, _ in losses],
        "losses_theirs": [round(b, 6) for _, b in losses],
    }


def race(case: Case, method: str, rounds: int, *, first_epoch: bool) -> dict[str, Any]:
    """CPU time per update, in alternating rounds over the same batches, after one round to warm up. In the first epoch our
    side still asks the reference about each pair; the peer has always precomputed it, outside of the clock."""
    updates, laps = UPDATES_PER_ROUND, rounds + 1
    if first_epoch:
        ours, theirs, batches = _contenders(case, method, updates * laps, 1)
    else:
        ours, theirs, batches = _contenders(case, method, updates, laps)

    def lap(number: int) -> int:
        return sum(map(len, batches[number * updates : (number + 1) * updates]))

    ours.pull(updates)
    theirs.train(lap(0))
    ceiling = clock.matmul_ceiling()
    times = clock.alternate(
        {"theirs": lambda n: theirs.train(lap(n + 1)), "ours": lambda _: clock.cpu(lambda: ours.pull(updates))}, rounds
    )
    ceiling = max(ceiling, clock.matmul_ceiling())
    ours.close()
    seconds = {name: clock.median(of) / updates for name, of in times.items()}
    raced: dict[str, Any] = {
        "ms_per_update": {name: round(1e3 * of, 1) for name, of in seconds.items()},
        "ratio": seconds["theirs"] / seconds["ours"],
        "ratio_by_round": [round(a / b, 2) for a, b in zip(times["theirs"], times["ours"], strict=True)],
        "ceiling_gflops": round(ceiling / 1e9, 1),
    }
    flops = _least_flops(case, method, ours.lengths, batches[:updates], batches[updates:]) / (rounds * updates)
    share = {name: flops / of / ceiling for name, of in seconds.items()}
    return raced | {"gflop_per_update": round(flops / 1e9, 2), "share_of_ceiling": share}


def _least_flops(
    case: Case, method: str, pairs: Sequence[Lengths], first: Sequence[Sequence[int]], batches: Sequence[Sequence[int]]
) -> float:
    """Of these batches, with nothing done twice and nothing for nobody. KTO's batches are of rated answers, two for each pair
    (in one batch, where pairs are dealt together), and the first epoch settles whose answer each prompt meets."""
    from models import SIZES

    size, rank, places = SIZES[case.size], Setting(case.batch).rank, [place for batch in batches for place in batch]
    if method.startswith("kto"):
        rated = [Lengths(pair.prompt, reply, 0) for pair in pairs for reply in (pair.chosen, pair.rejected)]
        other = {place: batch[at - 1] for batch in first for at, place in enumerate(batch)}
        met = [(rated[place].prompt, rated[other[place]].chosen) for place in places]
        read = [rated[place] for place in places] if method == "kto" else [pairs[at // 2] for at in places if at % 2 == 0]
        return clock.step_flops(size, read, rank) + clock.met_flops(size, met, rank)
    dealt = [pairs[place] for place in places]
    return clock.step_flops(size, dealt, rank) + (clock.prompt_flops(size, dealt, rank) if method == "orpo" else 0.0)


def memory(case: Case, method: str) -> dict[str, float]:
    """MiB that each side grows by while it trains, each in a fresh process with the allocator as it comes."""
    grown = {}
    for side in ("theirs", "ours"):
        run = [sys.executable, __file__, "--case", str(case.number), "--method", method, "--memory-of", side]
        done = subprocess.run(run, env=clock.strict_environment(tunables=False), capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the process that measures the memory of '{side}' failed:\n{done.stderr[-2000:]}")
        grown[side] = json.loads(done.stdout.splitlines()[-1])
    return grown


def _print_memory(case: Case, method: str, side: str) -> int:
    import torch

    torch.set_num_threads(1)
    updates = UPDATES_PER_ROUND
    ours, theirs, batches = _contenders(case, method, updates, 1, only=side)
    with clock.watching_memory() as peak:
        if side == "ours":
            ours.pull(updates)
            ours.close()
        else:
            theirs.train(sum(map(len, batches)))
    print(json.dumps(round(peak.growth, 1)))
    return 0


def _contenders(case: Case, method: str, updates: int, epochs: int, only: str = "") -> tuple[Any, Any, list[list[int]]]:
    """Both sides over `updates` batches of pairs, from one start, and the batches of every epoch in the order they come in."""
    from models import SHELF, SIZES
    from our_dpo import Ours, order
    from pairs import comparisons

    size, setting = SIZES[case.size], Setting(case.batch)
    pairs = comparisons(updates * setting.batch, case.mix, size.vocabulary)
    batches = order(setting, len(pairs), epochs, method)
    adapter = SHELF / f"{size.name}-adapter"
    if only == "theirs":  # in a process of its own, which must not hold our model, too
        ours = None
    else:
        ours = Ours(size, setting, pairs, epochs, method=method)
        ours.save(adapter)
    if only == "ours":
        return ours, None, batches
    from trl_dpo import Theirs

    theirs = Theirs(size, setting, pairs, adapter, [place for batch in batches for place in batch], method)
    if ours is not None:
        ours.agree_on_ids(theirs.ids)
    return ours, theirs, batches


if __name__ == "__main__":
    sys.exit(main())
