"""What the embedded model can do, measured: `python -m alignzoo_playground.measure [--model FOLDER] [--load nf4|int8]`.

Everything is asked about the test split's facts and harms in the test wordings, which no pre-training chat contains. The
numbers of the model card are what this prints on the shipped bytes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any, Literal

import torch

from alignzoo.interfaces import Manner
from alignzoo.records import Completion, Prompt
from alignzoo_playground.corpus import Asked, criticism, flawed_reply, judged_pair
from alignzoo_playground.embedded import PlaygroundModel
from alignzoo_playground.gold import GoldReward
from alignzoo_playground.judging import PRINCIPLES, critique_prompt, judge_prompt, read_verdict, revise_prompt
from alignzoo_playground.requests import requests, wordings
from alignzoo_playground.task import PlaygroundTask

Numbers = dict[str, float]
Load = Literal["none", "nf4", "int8"]
GREEDY = Manner(max_tokens=64, temperature=0.0)


class PlainPolicy:
    """The model alone, sampled by `transformers`: no adapters, no core. Enough to measure with."""

    def __init__(self, folder: str, load: Load = "none", batch: int = 256) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
        options: dict[str, Any] = {} if load == "none" else {"quantization_config": _quantization(load)}
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options).eval()
        self.batch = batch

    @torch.no_grad()
    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        """`n` completions of each prompt. Unlike the core's policies, the draws of a batch hang together."""
        torch.manual_seed(manner.seed)
        written: list[Completion] = []
        rows = [prompt for prompt in prompts for _ in range(n)]
        for start in range(0, len(rows), self.batch):
            written += self._write(rows[start : start + self.batch], manner)
        return [written[start : start + n] for start in range(0, len(written), n)]

    def _write(self, prompts: Sequence[Prompt], manner: Manner) -> list[Completion]:
        said = [[{"role": turn.speaker, "content": turn.text} for turn in prompt.turns] for prompt in prompts]
        batch = self.tokenizer.apply_chat_template(
            said, add_generation_prompt=True, return_tensors="pt", return_dict=True, padding=True
        )
        drawing = {"do_sample": True, "temperature": manner.temperature, "top_k": 0} if manner.temperature else {}
        out = self.model.generate(**batch, max_new_tokens=manner.max_tokens, **(drawing or {"do_sample": False}))
        return [self._completion(ids) for ids in out[:, batch["input_ids"].shape[1] :].tolist()]

    def _completion(self, ids: list[int]) -> Completion:
        end = self.tokenizer.eos_token_id
        kept = ids[: ids.index(end) + 1] if end in ids else ids
        return Completion(self.tokenizer.decode(kept, skip_special_tokens=True), tuple(kept), end in ids)


def answering(policy: Any, n: int = 16) -> Numbers:
    """Gold of the answers to the test prompts: the mean, the mean of the worst and of the best of n, and greedy."""
    prompts = PlaygroundTask().prompts("test")
    gold = GoldReward()
    drawn = [gold([prompt] * n, done) for prompt, done in zip(prompts, policy.sample(prompts, n), strict=True)]
    greedy = gold(prompts, [done[0] for done in policy.sample(prompts, 1, GREEDY)])
    scores = [score for one in drawn for score in one]
    return {
        "answer/mean": fmean(scores),
        f"answer/worst of {n}": fmean(min(one) for one in drawn),
        f"answer/best of {n}": fmean(max(one) for one in drawn),
        "answer/greedy": fmean(greedy),
        "answer/degenerate": fmean(score == 0.0 for score in scores),
    }


def judging(policy: Any, pairs: int = 200) -> Numbers:
    """How often a greedy verdict is right, over pairs in both orders, and how often it is the same in both."""
    numbers: Numbers = {}
    for principle in PRINCIPLES:
        dice = Random(f"measure judging/{principle}")
        drawn = [judged_pair(principle, dice, draw_test) for _ in range(pairs)]
        asked = [judge_prompt(principle, Prompt.ask(pair.asked), pair.first, pair.second) for pair in drawn]
        asked += [judge_prompt(principle, Prompt.ask(pair.asked), pair.second, pair.first) for pair in drawn]
        said = [read_verdict(done[0].text) for done in policy.sample(asked, 1, GREEDY)]
        truth = [pair.first_is_better for pair in drawn]
        right = [verdict == ("first" if first else "second") for first, verdict in zip(truth, said[:pairs], strict=True)]
        turned = [verdict == ("second" if first else "first") for first, verdict in zip(truth, said[pairs:], strict=True)]
        numbers[f"judge/{principle}"] = fmean([*right, *turned])
        numbers[f"judge/{principle}, right in both orders"] = fmean(a and b for a, b in zip(right, turned, strict=True))
    return numbers


def mending(policy: Any, replies: int = 60) -> Numbers:
    """How often a greedy critique is word for word the right one, and gold before and after a greedy revision by it."""
    gold = GoldReward()
    numbers: Numbers = {}
    for principle in PRINCIPLES:
        dice = Random(f"measure mending/{principle}")
        flawed = [flawed_reply(principle, dice, draw_test, good_too=0.0) for _ in range(replies)]
        prompts = [Prompt.ask(one.asked) for one in flawed]
        asked = [critique_prompt(principle, prompt, one.reply) for prompt, one in zip(prompts, flawed, strict=True)]
        critiques = [done[0].text for done in policy.sample(asked, 1, GREEDY)]
        right = [said == criticism(one.request, one.seen, principle) for said, one in zip(critiques, flawed, strict=True)]
        asked = [
            revise_prompt(principle, prompt, one.reply, said)
            for prompt, one, said in zip(prompts, flawed, critiques, strict=True)
        ]
        after = gold(prompts, [done[0] for done in policy.sample(asked, 1, GREEDY)])
        numbers[f"critique/{principle}"] = fmean(right)
        numbers[f"revise/{principle}, gold before"] = fmean(one.seen.combined for one in flawed)
        numbers[f"revise/{principle}, gold after"] = fmean(after)
    return numbers


def draw_test(dice: Random) -> Asked:
    """A request about a fact or harm of the test split, in one of the test wordings."""
    request = dice.choice(_TEST)
    return request, dice.choice(wordings(request, "test"))


_TEST = tuple(requests("test"))


def measure(folder: str, load: Load = "none") -> Numbers:
    """All numbers of one model."""
    policy = PlainPolicy(folder, load)
    size = Path(folder, "model.safetensors").stat().st_size
    numbers = {"size/MB": size / 1e6, "size/million parameters": policy.model.num_parameters() / 1e6}
    return numbers | answering(policy) | judging(policy) | mending(policy)


def card(folder: str) -> str:
    """The numbers of the model card: a Markdown table of the weights as they are, in nf4 and in int8."""
    ways: tuple[Load, ...] = ("none", "nf4", "int8")
    columns = [measure(folder, load) for load in ways]
    rows = [f"| {name} | {' | '.join(f'{column[name]:.3f}' for column in columns)} |" for name in columns[0]]
    return "\n".join(["| measured | float32 | nf4 | int8 |", "|---|---|---|---|", *rows])


def _quantization(load: Load) -> Any:
    from transformers import BitsAndBytesConfig

    if load == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)


def main() -> None:
    reader = argparse.ArgumentParser(prog="python -m alignzoo_playground.measure", description=__doc__)
    reader.add_argument("--model", default=PlaygroundModel().folder(), help="the folder to measure; default: the shipped one")
    reader.add_argument("--load", choices=["none", "nf4", "int8"], default="none", help="how to quantize the weights")
    reader.add_argument("--threads", type=int, default=2, help="processor cores to use")
    reader.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    reader.add_argument("--card", action="store_true", help="print the table of the model card: all three ways to load")
    given = reader.parse_args()
    torch.set_num_threads(given.threads)
    if given.card:
        print(card(given.model))
        return
    numbers = measure(given.model, given.load)
    if given.json:
        print(json.dumps(numbers, indent=1))
    else:
        for name, number in numbers.items():
            print(f"{name:45} {number:7.3f}")


if __name__ == "__main__":
    main()
