"""A judge with a constitution beside plain forward passes: the same probabilities first, then the clock.
`python benchmarks/peers/judge.py`."""

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

SIZE = "tiny32k"
LETTERS = ("w10", "w11")


@dataclass(frozen=True)
class Case:
    """So many sheets at a time (half as many pairs, in both orders), each with the same constitution before it."""

    number: int
    what: str
    sheets: int
    constitution: int
    request: int
    reply: tuple[int, int]
    """Words that a reply has, at least and at most."""
    ratio: float


CASES = {
    case.number: case
    for case in (
        Case(9, "8 sheets (4 pairs in both orders) after a constitution of 512 tokens", 8, 512, 12, (12, 40), 6.5),
        Case(16, "16 sheets (8 pairs in both orders) after a constitution of 512 tokens", 16, 512, 12, (12, 40), 6.5),
    )
}


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--case", default="all", choices=[*map(str, CASES), "all"])
    words.add_argument("--rounds", type=int, default=7, help="alternating rounds; the median counts")
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

    torch.set_num_threads(1)
    ours, theirs = Ours(case), Theirs()
    apart = max(difference(ours, theirs, -1 - number) for number in range(3))
    if not apart < 1e-4:
        print(f"the probabilities are {apart:.1e} apart: not the same judge, so there is nothing to time")
        return 1
    print(f"parity: the probabilities of three calls are within {apart:.1e}", flush=True)
    raced = race(case, ours, theirs, rounds)
    print(raced, flush=True)
    result = {"what": case.what, "parity": apart, **raced, "memory": memory(case)}
    missed = [f"ratio {raced['ratio']:.2f}, goal {case.ratio}"] if raced["ratio"] < case.ratio else []
    command = f"python benchmarks/peers/judge.py --case {case.number} --rounds {rounds}"
    kept = report.keep("peers-judge", f"case {case.number:2}", result | {"missed": missed} | report.circumstances(command))
    (report.RESULTS / "peers-judge.md").write_text(_table(kept))
    print("\n".join(missed) or "every goal is reached")
    return 0


def difference(ours: Ours, theirs: Theirs, number: int) -> float:
    """The largest between two probabilities of the same sheet, the peer being given our very ids and letters."""
    verdicts = ours.judge(number)
    chances = [chance for verdict in verdicts for chance in (verdict.shown_first, 1 - verdict.shown_second)]
    wanted = theirs.one_by_one(*ours.asked(number))
    return max(abs(a - b) for a, b in zip(chances, wanted, strict=True))


def race(case: Case, ours: Ours, theirs: Theirs, rounds: int) -> dict[str, Any]:
    """CPU seconds of one call, in alternating rounds after one to warm up, with pairs that nobody has seen. The peer's better
    way counts, and it gets its ids made. What ours warms up with is the constitution: it is read once for a run."""
    contenders: dict[str, Callable[[int], object]] = {
        "theirs, one by one": lambda n: theirs.one_by_one(*ours.asked(n)),
        "theirs, padded batch": lambda n: theirs.batched(*ours.asked(n)),
        "ours": ours.judge,
    }
    for contender in contenders.values():
        contender(rounds)
    for number in range(rounds):
        ours.asked(number)  # made outside of the clock
    ceiling = clock.matmul_ceiling()
    timed = {name: lambda n, work=work: clock.cpu(lambda: work(n)) for name, work in contenders.items()}
    times = clock.alternate(timed, rounds)
    ceiling = max(ceiling, clock.matmul_ceiling())
    seconds = {name: clock.median(of) for name, of in times.items()}
    best = min((name for name in seconds if name != "ours"), key=lambda name: seconds[name])
    ids, _ = ours.asked(0)
    flops = least_flops(case, [len(row) for row in ids])
    return {
        "ms": {name: round(1e3 * of, 1) for name, of in seconds.items()},
        "ratio": seconds[best] / seconds["ours"],
        "ratio_by_round": [round(a / b, 2) for a, b in zip(times[best], times["ours"], strict=True)],
        "tokens": {"theirs": sum(map(len, ids)), "ours": sum(len(row) - case.constitution for row in ids)},
        "ceiling_gflops": round(ceiling / 1e9, 1),
        "share_of_ceiling": flops / seconds["ours"] / ceiling,
    }


def least_flops(case: Case, lengths: list[int]) -> float:
    """FLOP with the constitution read before: linear layers and attention at every other token."""
    from models import SIZES

    size = SIZES[SIZE]
    rests = [length - case.constitution for length in lengths]
    seen = sum(rest * case.constitution + rest * (rest + 1) / 2 for rest in rests)
    return 2 * size.linear_parameters * sum(rests) + 4 * size.hidden * size.layers * seen


class Ours:
    """The public code: a hired judge compares cases by a question, which is the constitution."""

    def __init__(self, case: Case) -> None:
        from models import SIZES, folder

        from alignzoo.model.base import Base
        from alignzoo.model.choices import Loading
        from alignzoo.model.role import bare_on
        from alignzoo_rlaif.form import Form
        from alignzoo_rlaif.hiring import Hired

        self.case = case
        how = Loading(quantize="none", dtype="float32", device="cpu", template="plain")
        self.base = Base.load(str(folder(SIZES[SIZE])), how)
        dice = random.Random(9)
        self.question = " ".join(self._words(dice, case.constitution - 1))  # and a BOS
        form = Form(compare="{question} {request} w4 {first} w5 {second} w6", letters=(LETTERS,), answer=" {letter}")
        self.form = form
        self.hired = Hired(form=form).judge(bare_on(self.base, "judge"))
        self.made: dict[int, tuple[list[list[int]], list[int]]] = {}

    def judge(self, number: int) -> Any:
        return self.hired.compare(self._cases(number), self.question)

    def asked(self, number: int) -> tuple[list[list[int]], list[int]]:
        """The ids of every sheet of a call, and those of the two answers."""
        if number not in self.made:
            text = self.base.text
            sheets = [
                self.form.comparison(case, self.question, turned=turned, seed=0)
                for case in self._cases(number)
                for turned in (False, True)
            ]
            ids = [list(text.prompt_ids(sheet.prompt)) for sheet in sheets]
            self.made[number] = (ids, [text.tokenizer.convert_tokens_to_ids(letter) for letter in LETTERS])
        return self.made[number]

    def _cases(self, number: int) -> list[Any]:
        from alignzoo.records import Completion, Prompt
        from alignzoo_rlaif.judging import Case as Pair

        dice = random.Random(f"cases/{number}")
        return [
            Pair(
                Prompt.ask(" ".join(self._words(dice, self.case.request))),
                *(Completion(" ".join(self._words(dice, dice.randint(*self.case.reply)))) for _ in range(2)),
            )
            for _ in range(self.case.sheets // 2)
        ]

    def _words(self, dice: random.Random, count: int) -> list[str]:
        return [f"w{dice.randrange(12, 32000)}" for _ in range(count)]


class Theirs:
    """transformers' model as it comes: a forward pass over every whole sheet, with the logits of its last token only."""

    def __init__(self) -> None:
        import transformers
        from models import SIZES, folder

        transformers.logging.set_verbosity_error()
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder(SIZES[SIZE]), dtype="float32").eval()

    def one_by_one(self, ids: list[list[int]], letters: list[int]) -> list[float]:
        import torch

        with torch.no_grad():
            logits = [self.model(torch.tensor([row]), use_cache=False, logits_to_keep=1).logits[0, -1] for row in ids]
        return [float(torch.softmax(row[letters].double(), 0)[0]) for row in logits]

    def batched(self, ids: list[list[int]], letters: list[int]) -> list[float]:
        import torch

        wide = max(map(len, ids))
        rows = torch.tensor([[0] * (wide - len(row)) + row for row in ids])
        seen = torch.tensor([[0] * (wide - len(row)) + [1] * len(row) for row in ids])
        with torch.no_grad():
            logits = self.model(rows, attention_mask=seen, use_cache=False, logits_to_keep=1).logits[:, -1]
        return torch.softmax(logits[:, letters].double(), 1)[:, 0].tolist()


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
    ours = Ours(case)
    if side == "ours":
        work: Callable[[], object] = lambda: ours.judge(0)  # noqa: E731
    else:
        theirs, asked = Theirs(), ours.asked(0)
        work = lambda: theirs.one_by_one(*asked)  # noqa: E731
    with clock.watching_memory() as peak:
        work()
    print(json.dumps(round(peak.growth, 1)))
    return 0


def _table(kept: dict[str, Any]) -> str:
    lines = [
        "# A judge with a constitution beside plain forward passes",
        "",
        "Written by `benchmarks/peers/judge.py`; the rules are in [benchmarks/peers/README.md](../peers/README.md).",
        "CPU milliseconds of one call, one thread, medians of alternating rounds; the ratio is to the peer's better way.",
        "",
        "| case | parity | forward ms, one by one / padded batch | alignzoo ms | ratio | by round | tokens read, theirs / ours "
        "| of the ceiling | memory growth MiB, theirs / ours |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key, row in kept.items():
        ms, rounds, grown = row["ms"], row["ratio_by_round"], row["memory"]
        cells = [
            f"{key}: {row['what']}",
            f"{row['parity']:.1e}",
            f"{ms['theirs, one by one']:.0f} / {ms['theirs, padded batch']:.0f}",
            f"{ms['ours']:.0f}",
            f"**{row['ratio']:.2f}**",
            f"{min(rounds)}–{max(rounds)}",
            f"{row['tokens']['theirs']} / {row['tokens']['ours']}",
            f"{row['share_of_ceiling']:.0%}",
            f"{grown['theirs']:.0f} / {grown['ours']:.0f}",
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
