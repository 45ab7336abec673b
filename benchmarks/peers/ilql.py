"""ILQL beside a plain padded implementation of the same losses, and steered beside plain writing. Parity first, then the clock.
`python benchmarks/peers/ilql.py`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import clock
from setting import Setting

SIZES, MIX = ("tiny4k", "tiny32k"), "hh"
SETTING = Setting(batch=4)
PARITY_UPDATES, PARITY_EPOCHS, PARITY_TOLERANCE = 20, 4, 1e-4
UPDATES_PER_ROUND = 4
VOCABULARY, WIDTH, STATES = 150_000, 256, 512
"""Of the heads whose memory is measured alone."""
HEADS = {
    "two layers of 512": (False, (512,)),
    "rank 64": (False, (64,)),
    "twins share a trunk": (True, (512,)),
    "both": (True, (64,)),
}
STEERING_GOAL = 1.5


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--size", choices=SIZES, default="tiny4k")
    words.add_argument("--rounds", type=int, default=5, help="alternating rounds; the median counts")
    words.add_argument("--memory-of", help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.memory_of:
        return _print_memory(asked.size, asked.memory_of)
    if os.environ.get("GLIBC_TUNABLES") != clock.TUNABLES or os.environ.get("OMP_NUM_THREADS") != "1":
        os.execve(sys.executable, [sys.executable, *sys.argv], clock.strict_environment(tunables=True))
    return _run(asked.size, asked.rounds)


def _run(size: str, rounds: int) -> int:
    import report
    import torch

    torch.set_num_threads(1)
    result: dict[str, Any] = {"size": size, "mix": MIX, "batch": SETTING.batch, "parity": parity(size)}
    print(f"parity: {result['parity']}", flush=True)
    if result["parity"]["largest_difference"] > PARITY_TOLERANCE:
        print(f"the losses differ by more than {PARITY_TOLERANCE:g}: not the same training, so there is nothing to time")
        return 1
    for name, measure in (("race", race), ("steering", steering)):
        result[name] = measure(size, rounds)
        print(f"{name}: {result[name]}", flush=True)
    result["memory"] = {side: _memory(size, side) for side in ("theirs", "ours")}
    print(f"memory: {result['memory']}", flush=True)
    result["memory of heads"] = {name: _memory(size, name) for name in (*HEADS, "written plainly, two layers of 512")}
    print(f"memory of heads: {result['memory of heads']}", flush=True)
    command = f"python benchmarks/peers/ilql.py --size {size} --rounds {rounds}"
    kept = report.keep("peers-ilql", size, result | report.circumstances(command))
    (report.RESULTS / "peers-ilql.md").write_text("\n\n".join(map(told, kept.values())) + "\n")
    return 0


def told(result: Mapping[str, Any]) -> str:
    """One size's results, for people."""
    ratio, rounds = result["race"]["ratio"], result["race"]["ratio_by_round"]
    lines = [f"`{result['command']}` · {result['processor']} · {result['date']}", "", "| | |", "|---|---|"]
    lines += [f"| losses of {result['parity']['updates']} updates agree to | {result['parity']['largest_difference']:.1e} |"]
    lines += [f"| CPU ms per update, padded | {result['race']['ms_per_update']['theirs']} |"]
    lines += [f"| CPU ms per update, ours | {result['race']['ms_per_update']['ours']} |"]
    lines += [f"| updates in the time of one padded one | {ratio:.2f} ({min(rounds):.2f}–{max(rounds):.2f}) |"]
    for way, times in result["steering"]["times_plain"].items():
        lines += [f"| writing, steered: {way} (goal ≤ {result['steering']['goal']:g}) | {times:.2f} × the policy alone |"]
    lines += [f"| memory of training, {side}, MiB | {grown:.0f} |" for side, grown in result["memory"].items()]
    what = f"vocabulary {VOCABULARY:,}, width {WIDTH}, {STATES} states, one step of AdamW"
    lines += [f"| heads alone ({what}): {name}, MiB | {grown:.0f} |" for name, grown in result["memory of heads"].items()]
    return "\n".join(lines)


def parity(size: str) -> dict[str, Any]:
    """Twenty updates of each side from one adapter and the same heads over one order of rated answers, in several epochs."""
    ours, theirs = _contenders(size, PARITY_UPDATES // PARITY_EPOCHS, PARITY_EPOCHS)
    told = ours.pull(PARITY_UPDATES)
    theirs.train(ours.batches)
    losses = [(mine["loss"], loss) for mine, loss in zip(told, theirs.losses, strict=True)]
    ours.close()
    return {
        "updates": len(losses),
        "largest_difference": max(abs(a - b) / b for a, b in losses),  # a share: these losses are above 10
        "losses_ours": [round(a, 5) for a, _ in losses],
        "losses_theirs": [round(b, 5) for _, b in losses],
    }


def race(size: str, rounds: int) -> dict[str, Any]:
    """CPU time per update, in alternating rounds over the same batches, after one round to warm up."""
    updates = UPDATES_PER_ROUND
    ours, theirs = _contenders(size, updates, rounds + 1)
    laps = [ours.batches[number * updates : (number + 1) * updates] for number in range(rounds + 1)]
    ours.pull(updates)
    theirs.train(laps[0])
    times = clock.alternate(
        {"theirs": lambda n: theirs.train(laps[n + 1]), "ours": lambda _: clock.cpu(lambda: ours.pull(updates))}, rounds
    )
    ours.close()
    seconds = {name: clock.median(of) / updates for name, of in times.items()}
    return {
        "ms_per_update": {name: round(1e3 * of, 1) for name, of in seconds.items()},
        "ratio": seconds["theirs"] / seconds["ours"],
        "ratio_by_round": [round(a / b, 2) for a, b in zip(times["theirs"], times["ours"], strict=True)],
    }


def steering(size: str, rounds: int) -> dict[str, Any]:
    """CPU time of sixteen answers of 32 tokens, steered in several ways, over that of the policy's own."""
    from alignzoo.interfaces import Manner
    from alignzoo.records import Prompt
    from alignzoo_ilql.steering import Steered, Steering

    ways = {
        "as shipped": ((), Steering(beta=4.0)),
        "values of all tokens": ((), Steering(beta=4.0, among=0)),
        "rank 64, values of all tokens": ((64,), Steering(beta=4.0, among=0)),
    }
    sides = {hidden: _contenders(size, 1, 1, hidden)[0] for hidden in {hidden for hidden, _ in ways.values()}}
    prompts: list[Prompt] = [Prompt.ask(" ".join(f"w{5 + (7 * i * j) % 900}" for j in range(64 + 4 * i))) for i in range(16)]
    manner = Manner(max_tokens=32)
    for ours in sides.values():
        ours.pull(1)
    policy = sides[()].policy
    runs = {"plain": lambda n: clock.cpu(lambda: policy.sample(prompts, 1, manner))}
    for name, (hidden, how) in ways.items():
        steered = Steered(sides[hidden].policy, sides[hidden].policy, how)
        runs[name] = lambda n, steered=steered: clock.cpu(lambda: steered.sample(prompts, 1, manner))
    for run in runs.values():
        run(0)
    times = clock.alternate(runs, rounds)
    plain = clock.median(times["plain"])
    return {
        "plain_ms": round(1e3 * plain),
        "times_plain": {name: clock.median(times[name]) / plain for name in ways},
        "goal": STEERING_GOAL,
    }


def _memory(size: str, what: str) -> float:
    """MiB that a fresh process grows by, with the allocator as it comes."""
    run = [sys.executable, __file__, "--size", size, "--memory-of", what]
    done = subprocess.run(run, env=clock.strict_environment(tunables=False), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the process that measures the memory of '{what}' failed:\n{done.stderr[-2000:]}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def _print_memory(size: str, what: str) -> int:
    import torch

    torch.set_num_threads(1)
    if what in ("ours", "theirs"):
        ours, theirs = _contenders(size, UPDATES_PER_ROUND, 1)
        with clock.watching_memory() as peak:
            _ = ours.pull(UPDATES_PER_ROUND) if what == "ours" else theirs.train(ours.batches)
    else:
        with clock.watching_memory() as peak:
            _heads_alone(what)
    print(json.dumps(round(peak.growth, 1)))
    return 0


def _heads_alone(what: str) -> None:
    """Twin Qs with their targets over a vocabulary of 150,000, and one step of AdamW on their losses at 512 states."""
    import torch
    from torch import nn

    from alignzoo.model.grown import chain
    from alignzoo_ilql.asked import asked

    shared, hidden = HEADS.get(what, (False, (512,)))
    twins = 2 if shared else 1
    device, widths = torch.device("cpu"), (WIDTH, *hidden, VOCABULARY * twins)
    heads = [chain(widths, device) for _ in range(2 // twins)]
    slow = [chain(widths, device).requires_grad_(False) for _ in heads]
    for parameter in (p for head in (*heads, *slow) for p in head.parameters()):
        nn.init.normal_(parameter, std=0.02)
    states, actions = torch.randn(STATES, WIDTH), torch.randint(VOCABULARY, (STATES,))
    adam = torch.optim.AdamW([p for head in heads for p in head.parameters()], fused=True)
    total = states.new_zeros(())
    for head in heads:
        if what in HEADS:
            *inner, last = head.children()
            taken, spread = asked(nn.Sequential(*inner)(states), last, actions, twins=twins)  # type: ignore[arg-type]
            total = total + (taken**2).sum() + spread - taken.sum()
        else:
            rows = head(states)
            taken = rows.gather(1, actions[:, None])
            total = total + (taken**2).sum() + rows.logsumexp(-1).sum() - taken.sum()
    total.backward()  # type: ignore[no-untyped-call]
    adam.step()


def _contenders(size: str, updates: int, epochs: int, hidden: tuple[int, ...] = ()) -> tuple[Any, Any]:
    """Both sides over `updates` batches of rated answers, from one start."""
    from models import SHELF
    from models import SIZES as KNOWN
    from our_ilql import Ours
    from pairs import comparisons
    from plain_ilql import Plain

    from alignzoo.records import ratings_of_comparison

    named = KNOWN[size]
    pairs = comparisons(updates * SETTING.batch // 2, MIX, named.vocabulary)
    ratings = [rating for pair in pairs for rating in ratings_of_comparison(pair)]
    ours = Ours(named, SETTING, ratings, epochs, hidden)
    adapter = SHELF / f"{named.name}-ilql"
    heads = ours.save(adapter)
    return ours, Plain(named, SETTING, ours.optimizer, ours.walks, adapter, heads)


if __name__ == "__main__":
    sys.exit(main())
