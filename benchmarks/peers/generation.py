"""Writing beside transformers' generate: the same greedy ids first, then the clock. `python benchmarks/peers/generation.py`."""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import clock

RANK, ALPHA = 8, 16.0
SIZE = "tiny32k"


@dataclass(frozen=True)
class Case:
    """Prompts of known lengths, replies of known lengths, and what is to be reached."""

    number: int
    what: str
    prompts: tuple[int, ...]
    n: int
    lengths: tuple[int, ...]
    """Of every reply, prompt by prompt. Random weights end nowhere, so both sides are told."""
    ratio: float

    @property
    def longest(self) -> int:
        return max(self.lengths)


def _tailed(dice: random.Random, least: int, most: int, middle: int, spread: float) -> int:
    return int(min(most, max(least, dice.lognormvariate(0, spread) * middle)))


def _cases() -> dict[int, Case]:
    dice = random.Random(3)
    prompts = sorted((_tailed(dice, 16, 384, 96, 0.7) for _ in range(16)), reverse=True)
    lengths = tuple(_tailed(dice, 4, 96, 32, 0.8) for _ in range(16))
    return {
        7: Case(7, "best of 16, one prompt of 384 tokens, 32 new", (384,), 16, (32,) * 16, 2.9),
        8: Case(8, "16 prompts, replies with a heavy tail", tuple(prompts), 1, lengths, 1.9),
    }


CASES = _cases()


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--case", default="all", choices=[*map(str, CASES), "all"])
    words.add_argument("--rounds", type=int, default=5, help="alternating rounds; the median counts")
    words.add_argument("--memory-of", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.memory_of:
        return _print_memory(CASES[int(asked.case)], asked.memory_of)
    strict = clock.strict_environment(tunables=True)
    if asked.case == "all":  # each case in a fresh process: none inherits the heap of another
        runs = [[sys.executable, __file__, "--case", str(n), "--rounds", str(asked.rounds)] for n in CASES]
        return max(subprocess.run(run, env=strict).returncode for run in runs)
    if os.environ.get("GLIBC_TUNABLES") != clock.TUNABLES or os.environ.get("OMP_NUM_THREADS") != "1":
        os.execve(sys.executable, [sys.executable, *sys.argv], strict)
    return _run(CASES[int(asked.case)], asked.rounds)


def _run(case: Case, rounds: int) -> int:
    import report
    import torch
    from their_generation import Theirs

    torch.set_num_threads(1)
    ours = Ours(case)
    ours.save()
    theirs = Theirs(ours.ids, SIZE, case.n, case.longest)
    told = ours.greedy()
    if told != theirs.greedy():
        print("the greedy replies differ: not the same model, so there is nothing to time")
        return 1
    print(f"parity: {len(told)} greedy replies of {case.longest} tokens are the same, id for id", flush=True)
    raced = race(case, ours, theirs, rounds)
    print(raced, flush=True)
    result = {"what": case.what, "parity": f"{len(told)} greedy replies, id for id", **raced, "memory": memory(case)}
    print(f"memory: {result['memory']}")
    missed = [f"ratio {raced['ratio']:.2f}, goal {case.ratio}"] if raced["ratio"] < case.ratio else []
    command = f"python benchmarks/peers/generation.py --case {case.number} --rounds {rounds}"
    kept = report.keep("peers-generation", f"case {case.number}", result | {"missed": missed} | report.circumstances(command))
    (report.RESULTS / "peers-generation.md").write_text(_table(kept))
    print("\n".join(missed) or "every goal is reached")
    return 0


def race(case: Case, ours: Ours, theirs: Any, rounds: int) -> dict[str, Any]:
    """CPU seconds of one call, in alternating rounds after one to warm up. The peer's better cache counts."""
    contenders: dict[str, Callable[[], object]] = {
        "theirs, dynamic cache": lambda: theirs.sample(None),
        "theirs, static cache": lambda: theirs.sample("static"),
        "ours": ours.sample,
    }
    for contender in contenders.values():
        contender()
    ceiling = clock.matmul_ceiling()
    timed = {name: lambda _, work=work: clock.cpu(work) for name, work in contenders.items()}
    times = clock.alternate(timed, rounds)
    ceiling = max(ceiling, clock.matmul_ceiling())
    seconds = {name: clock.median(of) for name, of in times.items()}
    best = min((name for name in seconds if name != "ours"), key=lambda name: seconds[name])
    flops = least_flops(case)
    return {
        "ms": {name: round(1e3 * of, 1) for name, of in seconds.items()},
        "ratio": seconds[best] / seconds["ours"],
        "ratio_by_round": [round(a / b, 2) for a, b in zip(times[best], times["ours"], strict=True)],
        "gflop": round(flops / 1e9, 2),
        "ceiling_gflops": round(ceiling / 1e9, 1),
        "share_of_ceiling": {name: flops / of / ceiling for name, of in seconds.items()},
    }


def least_flops(case: Case) -> float:
    """FLOP with every prompt read once and nothing for nobody: linear layers and adapters at every token that is read, the
    head where a token is written, attention between the tokens that see each other. A reply's last token is not read."""
    from models import SIZES

    size = SIZES[SIZE]
    read = [length - 1 for length in case.lengths]
    prompt_of = [length for length in case.prompts for _ in range(case.n)]
    seen = sum(length * (length + 1) / 2 for length in case.prompts)
    seen += sum(more * prompt + more * (more + 1) / 2 for more, prompt in zip(read, prompt_of, strict=True))
    trunk = 2 * (size.linear_parameters + RANK * size.lora_sides) * (sum(case.prompts) + sum(read))
    return trunk + 2 * size.head_parameters * sum(case.lengths) + 4 * size.hidden * size.layers * seen


def memory(case: Case) -> dict[str, float]:
    """MiB that each side grows by in its first call, each in a fresh process with the allocator as it comes."""
    grown = {}
    for side in ("theirs", "ours"):
        run = [sys.executable, __file__, "--case", str(case.number), "--memory-of", side]
        done = subprocess.run(run, env=clock.strict_environment(tunables=False), capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        grown[side] = float(json.loads(done.stdout.splitlines()[-1]))
    return grown


def _print_memory(case: Case, side: str) -> int:
    import torch

    torch.set_num_threads(1)
    if side == "ours":
        work = Ours(case).sample
    else:
        from their_generation import Theirs

        theirs = Theirs(written_ids(case), SIZE, case.n, case.longest)
        work = lambda: theirs.sample(None)  # noqa: E731
    with clock.watching_memory() as peak:
        work()
    print(json.dumps(round(peak.growth, 1)))
    return 0


def written_ids(case: Case) -> list[list[int]]:
    """The prompts, longest first, BOS included."""
    from models import BOS, SIZES

    dice = random.Random(7)
    vocabulary = SIZES[SIZE].vocabulary
    return [[BOS, *(dice.randrange(4, vocabulary) for _ in range(length - 1))] for length in case.prompts]


class Ours:
    """The public code: `Role.sample`. How long replies become is decided by a `steer`, which a real run has none of."""

    def __init__(self, case: Case) -> None:
        import torch
        from models import SIZES, folder

        from alignzoo.model.base import Base
        from alignzoo.model.choices import Loading, Lora
        from alignzoo.model.role import policy_on
        from alignzoo.records import Prompt

        self.case = case
        how = Loading(quantize="none", dtype="float32", device="cpu", template="plain")
        self.base = Base.load(str(folder(SIZES[SIZE])), how, Lora(RANK, ALPHA))
        self.role = policy_on(self.base)
        dice = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.role.adapter:  # an adapter that changes something
                parameter.add_(torch.randn(parameter.shape, generator=dice) * 0.02)
        self.prompts = [Prompt.ask(" ".join(f"w{token}" for token in ids[1:])) for ids in written_ids(case)]
        self.ids = [list(self.base.text.prompt_ids(prompt)) for prompt in self.prompts]
        self.asked = -1

    def save(self) -> None:
        from models import SHELF

        self.role.save(SHELF / f"{SIZE}-writer")

    def greedy(self) -> list[list[int]]:
        """Every reply's ids, as long as the longest: where nothing is drawn, both sides must write the same."""
        from alignzoo.interfaces import Manner

        manner = Manner(max_tokens=self.case.longest, temperature=0)
        groups = self.role.sample(self.prompts, self.case.n, manner, steer=never_ending)
        return [list(reply.tokens) for group in groups for reply in group]

    def sample(self) -> None:
        from alignzoo.interfaces import Manner

        self.asked += 1
        manner = Manner(max_tokens=self.case.longest, seed=self.asked)
        groups = self.role.sample(self.prompts, self.case.n, manner, steer=Ending(self.case.lengths))
        got = tuple(len(reply.tokens) for group in groups for reply in group)
        assert got == self.case.lengths, f"replies of {got} tokens instead of {self.case.lengths}"


def never_ending(own: Any) -> Any:
    from models import EOS

    own.logits[:, EOS] = -1e9
    return own.logits


class Ending:
    """Forces the end token where a reply is to end, and forbids it before. It knows which rows are left, because finished ones
    leave together and the others keep their order; a check of all lengths afterwards would show it if that were not so."""

    def __init__(self, lengths: tuple[int, ...]) -> None:
        self.left, self.place = list(lengths), 0

    def __call__(self, own: Any) -> Any:
        import torch
        from models import EOS

        logits = own.logits
        if len(logits) < len(self.left):
            self.left = [length for length in self.left if length > self.place]
        self.place += 1
        logits[:, EOS] = torch.tensor([1e9 if length <= self.place else -1e9 for length in self.left])
        return logits


def _table(kept: dict[str, Any]) -> str:
    lines = [
        "# Writing beside transformers' generate",
        "",
        "Written by `benchmarks/peers/generation.py`; the rules are in [benchmarks/peers/README.md](../peers/README.md).",
        "CPU milliseconds of one call, one thread, medians of alternating rounds; the ratio is to the peer's better cache.",
        "",
        "| case | parity | generate ms, dynamic / static cache | alignzoo ms | ratio | by round | of the ceiling "
        "| memory growth MiB, generate / ours |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for key, row in kept.items():
        ms, rounds, memory = row["ms"], row["ratio_by_round"], row["memory"]
        cells = [
            f"{key}: {row['what']}",
            row["parity"],
            f"{ms['theirs, dynamic cache']:.0f} / {ms['theirs, static cache']:.0f}",
            f"{ms['ours']:.0f}",
            f"**{row['ratio']:.2f}**",
            f"{min(rounds)}–{max(rounds)}",
            f"{row['share_of_ceiling']['ours']:.0%}",
            f"{memory['theirs']:.0f} / {memory['ours']:.0f} = {memory['theirs'] / memory['ours']:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| case | goals missed | command | date | processor | versions |", "|---|---|---|---|---|---|"]
    for key, row in kept.items():
        versions = ", ".join(f"{name} {number}" for name, number in row["versions"].items())
        missed = "; ".join(row["missed"]) or "none"
        lines.append(f"| {key} | {missed} | `{row['command']}` | {row['date']} | {row['processor']} | {versions} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
