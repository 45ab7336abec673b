"""PPO beside TRL's PPOTrainer: the same update first, then the clock. `python benchmarks/peers/ppo.py`.

TRL 1.12 is the last release that has one, and cannot be installed beside the one of the other cases: `pip install -e
.[peers-ppo]` in an environment of its own."""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import clock
from proximal import Critic, Proximal, Weights, update_flops

CASE, SIZE, MIX = 6, "tiny32k", "hh"
GOALS: dict[Critic, float] = {"adapter": 2.1, "trunk": 2.9}
"""How many times the peer's CPU time ours must fit into, by where the critic sits."""
MEMORY_GOAL = 1 / 3
PARITY_TOLERANCE = 1e-4
PARITY_RATE = 1e-3
"""A learning rate at which the later epochs are far enough away for the clip to hold some tokens still."""
UPDATES_PER_ROUND = 1


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rounds", type=int, default=5, help="alternating rounds; the median counts")
    words.add_argument("--memory-of", choices=["theirs", *GOALS], help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.memory_of:
        return _print_memory(asked.memory_of)
    strict = clock.strict_environment(tunables=True)
    if os.environ.get("GLIBC_TUNABLES") != clock.TUNABLES or os.environ.get("OMP_NUM_THREADS") != "1":
        os.execve(sys.executable, [sys.executable, *sys.argv], strict)
    import report
    import torch

    torch.set_num_threads(1)
    result: dict[str, Any] = {"size": SIZE, "mix": MIX, "goals": {**GOALS, "memory": MEMORY_GOAL}, "parity": parity()}
    print(f"parity: {result['parity']}", flush=True)
    if max(result["parity"]["differences"].values()) > PARITY_TOLERANCE:
        print(f"a difference of more than {PARITY_TOLERANCE:g}: not the same training, so there is nothing to time")
        return 1
    result |= race(asked.rounds)
    print(f"race: {result}", flush=True)
    result["memory"] = memory()
    result["missed"] = _missed(result)
    command = f"python benchmarks/peers/ppo.py --rounds {asked.rounds}"
    kept = report.keep("peers-ppo", f"case {CASE}", result | report.circumstances(command))
    (report.RESULTS / "peers-ppo.md").write_text(_table(kept))
    print(f"memory: {result['memory']}", "\n".join(result["missed"]) or "every goal is reached", sep="\n")
    return 0


# Parity ---------------------------------------------------------------------------------------------------------------


def parity() -> dict[str, Any]:
    """The largest relative difference of everything that leads to an update, over the same answers, which the peer wrote.

    The two cannot draw the same answers, so ours takes the peer's: tokens only. From policy and critic that are not the
    start (so that the penalty and the values are not 0), the peer makes one update, watched in its own loop. Ours says of
    the same tokens what it thinks: log-probabilities of policy and reference, values, token rewards (with a score of its own
    reward model), whitened advantages, returns. Then, at the weights that the peer had in each of its epochs, the loss and
    the gradients of policy and critic. How much the clip held still in the last one is told, too."""
    from our_ppo import Retraced

    setting = replace(Proximal(), lr=PARITY_RATE)
    ours, theirs, batches = _contenders(1, setting, ("adapter", "theirs"))
    retraced = Retraced(ours)
    start = retraced.start()
    update = theirs.watched(batches[0], start)
    _check_ids(ours, theirs, update)
    retraced.wear(start)
    batch, tokens = retraced.judged(update)
    differences = {name: _apart(tokens[name], seen.flatten()) for name, seen in update.tokens.items()}
    for number, epoch in enumerate(update.epochs, 1):
        own = retraced.slope(batch, epoch.at)
        differences[f"loss {number}"] = abs(own.loss - epoch.loss) / (1 + abs(epoch.loss))
        differences[f"policy gradient {number}"] = _apart(*map(_policy_of, (own.gradient, epoch.gradient)))
        differences[f"critic gradient {number}"] = _apart(*map(_critic_of, (own.gradient, epoch.gradient)))
    ours.close()
    nats = float((tokens["old"] - tokens["reference"]).sum()) / setting.rows
    return {"differences": differences, "nats_per_reply": nats, "clipped": retraced.clipped}


def _check_ids(ours: Any, theirs: Any, update: Any) -> None:
    """The same prompts, and answers of which each token counts: where one ends early, the peer has another rule."""
    from models import EOS, PAD

    if [tuple(ids) for ids in theirs.ids] != [ours.prompt_ids(prompt) for prompt in theirs.prompts]:
        raise AssertionError("a prompt is tokenized differently")
    if any(token in (EOS, PAD) for ids in update.completions for token in ids):
        raise AssertionError("an answer ended early, by a chance of one in a hundred; take another seed")


def _policy_of(weights: Weights) -> Any:
    import torch

    return torch.cat([weights.policy[key].flatten() for key in sorted(weights.policy)])


def _critic_of(weights: Weights) -> Any:
    import torch

    return torch.cat([*(weights.critic[key].flatten() for key in sorted(weights.critic)), weights.head.flatten()])


def _apart(one: Any, other: Any) -> float:
    """The largest difference, by the largest entry."""
    return float((one - other).abs().max() / other.abs().max())


# Time -----------------------------------------------------------------------------------------------------------------


def race(rounds: int) -> dict[str, Any]:
    """CPU time per update, in alternating rounds over the same prompts, after one round to warm up."""
    updates, setting = UPDATES_PER_ROUND, Proximal()
    adapter, trunk, theirs, batches = _contenders(updates * (rounds + 1), setting, ("adapter", "trunk", "theirs"))
    gc.collect()
    gc.freeze()  # the peer collects garbage twice per update; it need not look through what is ours
    theirs.train(batches[:updates])
    adapter.pull(updates)
    trunk.pull(updates)
    ceiling = clock.matmul_ceiling()
    times = clock.alternate(
        {
            "theirs": lambda n: theirs.train(batches[(n + 1) * updates : (n + 2) * updates]),
            "adapter": lambda _: clock.cpu(lambda: adapter.pull(updates)),
            "trunk": lambda _: clock.cpu(lambda: trunk.pull(updates)),
        },
        rounds,
    )
    ceiling = max(ceiling, clock.matmul_ceiling())
    trunk.close()
    adapter.close()
    lengths = [len(theirs.ids[place]) for batch in batches[updates:] for place in batch]
    return {"ceiling_gflops": round(ceiling / 1e9, 1)} | _figures(times, lengths, setting, ceiling)


def _figures(times: dict[str, list[float]], lengths: list[int], setting: Proximal, ceiling: float) -> dict[str, Any]:
    """By critic. The peer's share of the ceiling is that of the work with a critic apart, which is its own."""
    from models import SIZES

    seconds = {name: clock.median(of) / UPDATES_PER_ROUND for name, of in times.items()}
    updates = len(lengths) / setting.prompts
    flops = {
        critic: sum(update_flops(SIZES[SIZE], length, setting, critic) for length in lengths) / updates for critic in GOALS
    }
    work = {**flops, "theirs": flops["adapter"]}
    return {
        "ms_per_update": {name: round(1e3 * of, 1) for name, of in seconds.items()},
        "ratio": {critic: seconds["theirs"] / seconds[critic] for critic in GOALS},
        "ratio_by_round": {
            critic: [round(a / b, 2) for a, b in zip(times["theirs"], times[critic], strict=True)] for critic in GOALS
        },
        "gflop_per_update": {critic: round(of / 1e9, 2) for critic, of in flops.items()},
        "share_of_ceiling": {name: work[name] / of / ceiling for name, of in seconds.items()},
    }


# Memory ---------------------------------------------------------------------------------------------------------------


def memory() -> dict[str, dict[str, float]]:
    """MiB that each side grows by from before its models are loaded to its largest, and its largest as a whole: each in a
    fresh process with the allocator as it comes."""
    found = {}
    for side in ("theirs", *GOALS):
        run = [sys.executable, __file__, "--memory-of", side]
        done = subprocess.run(run, env=clock.strict_environment(tunables=False), capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the process that measures the memory of '{side}' failed:\n{done.stderr[-2000:]}")
        found[side] = json.loads(done.stdout.splitlines()[-1])
    return found


def _print_memory(side: str) -> int:
    import torch

    torch.set_num_threads(1)
    if side == "theirs":
        import trl.experimental.ppo  # noqa: F401
        import trl_ppo  # noqa: F401
    else:
        import our_ppo  # noqa: F401
    with clock.watching_memory() as peak:
        contender, batches = _contenders(UPDATES_PER_ROUND, Proximal(), (side,))
        if side == "theirs":
            contender.train(batches)
        else:
            contender.pull(UPDATES_PER_ROUND)
            contender.close()
    print(json.dumps({"growth": round(peak.growth, 1), "peak": round(peak.most, 1)}))
    return 0


# Both -----------------------------------------------------------------------------------------------------------------


def _contenders(updates: int, setting: Proximal, sides: tuple[str, ...]) -> tuple[Any, ...]:
    """These sides over the prompts of so many updates, from one start, and which prompts each update is about. The peer, which
    starts from our files, comes last."""
    from models import SHELF, SIZES
    from pairs import comparisons
    from proximal import order

    size = SIZES[SIZE]
    prompts = [pair.prompt for pair in comparisons(updates * setting.prompts, MIX, size.vocabulary)]
    policy, judge = (SHELF / f"{size.name}-ppo-{role}" for role in ("policy", "judge"))
    made: list[Any] = []
    for side in sides:
        if side == "theirs":
            from trl_ppo import Theirs

            made.append(Theirs(size, setting, prompts, policy, judge))
        else:
            from our_ppo import Ours

            made.append(Ours(size, setting, prompts, side))
            made[-1].save(policy, judge)
    return *made, order(setting, len(prompts))


def _missed(result: dict[str, Any]) -> list[str]:
    missed = []
    for critic, goal in GOALS.items():
        if result["ratio"][critic] < goal:
            missed.append(f"critic {critic}: ratio {result['ratio'][critic]:.2f}, goal {goal}")
        share = result["memory"][critic]["growth"] / result["memory"]["theirs"]["growth"]
        if share > MEMORY_GOAL:
            missed.append(f"critic {critic}: 1/{1 / share:.2f} of the peer's memory, goal 1/{1 / MEMORY_GOAL:.0f}")
    return missed


def _table(kept: dict[str, Any]) -> str:
    lines = [
        "# PPO beside TRL's PPOTrainer",
        "",
        "Written by `benchmarks/peers/ppo.py`; the rules are in [benchmarks/peers/README.md](../peers/README.md).",
        "CPU milliseconds per update (writing, reward, reference, values, four epochs), one thread, medians of alternating",
        "rounds. Parity is the largest relative difference of all that leads to an update. Memory is what a process grows by",
        "from before its models are loaded.",
        "",
        "| case | critic | parity | TRL ms | alignzoo ms | ratio | by round | of the ceiling (TRL) | memory MiB, TRL / ours |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key, row in kept.items():
        lines += [_row(key, row, critic) for critic in GOALS]
    lines += ["", "| case | goals missed | command | date | processor | versions |", "|---|---|---|---|---|---|"]
    for key, row in kept.items():
        versions = ", ".join(f"{name} {number}" for name, number in row["versions"].items())
        missed = "; ".join(row["missed"]) or "none"
        lines.append(f"| {key} | {missed} | `{row['command']}` | {row['date']} | {row['processor']} | {versions} |")
    return "\n".join(lines) + "\n"


def _row(key: str, row: dict[str, Any], critic: Critic) -> str:
    ms, share, rounds = row["ms_per_update"], row["share_of_ceiling"], row["ratio_by_round"][critic]
    theirs, ours = (row["memory"][side]["growth"] for side in ("theirs", critic))
    cells = [
        f"{key}: {row['size']} {row['mix']}",
        critic,
        f"{max(row['parity']['differences'].values()):.1e}",
        f"{ms['theirs']:.0f}",
        f"{ms[critic]:.0f}",
        f"**{row['ratio'][critic]:.2f}**",
        f"{min(rounds)}–{max(rounds)}",
        f"{share[critic]:.0%} ({share['theirs']:.0%})",
        f"{theirs:.0f} / {ours:.0f} = {theirs / ours:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
