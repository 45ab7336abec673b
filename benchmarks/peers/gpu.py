"""Cases G1 and G2, for whoever has a GPU: 7 billion random parameters in nf4 with a LoRA of rank 16.

    python benchmarks/peers/gpu.py writing     # G2: 8 prompts of 768 tokens, 256 new each
    python benchmarks/peers/gpu.py learning    # G1: a DPO step over 8 pairs of 768 + 2 × 256 tokens, the reference remembered

Writing is timed by CUDA graphs, kernel by kernel, and beside transformers' generate with its dynamic cache and its static one,
which it compiles where it can. The model is written to a temporary folder on first use: 13 GB. `--size tiny4k` is for trying.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import report
import torch
import transformers
from models import PAD, SHELF, SIZES, Size, tokenizer

from alignzoo.interfaces import Lesson, Manner
from alignzoo.learning.canaries import Canaries, watching
from alignzoo.learning.descent import Descent
from alignzoo.learning.memory import remembering
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.role import Role, policy_on
from alignzoo.records import Comparison, Completion, Prompt
from alignzoo_dpo.dpo import DPO

FLOORS = {"writing": 0.46, "learning": 0.36}
"""Seconds that the 7B shape takes on an H200 without any waste, worked out from its bytes and operations, not measured."""
NEVER = -1
"""An end token that nobody draws: random weights know no end."""


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("what", choices=list(FLOORS))
    words.add_argument("--size", default="llama7b", choices=list(SIZES))
    words.add_argument("--rows", type=int, default=8)
    words.add_argument("--prompt", type=int, default=768, help="tokens of each prompt")
    words.add_argument("--new", type=int, default=256, help="tokens of each reply")
    words.add_argument("--rounds", type=int, default=3, help="alternating rounds after one to warm up; the median counts")
    asked = words.parse_args()
    transformers.logging.set_verbosity_error()
    base = Base.load(str(folder(SIZES[asked.size])), Loading(template="plain"), Lora(rank=16))
    base.text = replace(base.text, ends=frozenset({NEVER}))
    result = writing(base, asked) if asked.what == "writing" else learning(base, asked)
    command = f"python benchmarks/peers/gpu.py {asked.what} --size {asked.size} --rounds {asked.rounds}"
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    result |= {"rows": asked.rows, "prompt": asked.prompt, "new": asked.new, "device": where, "floor_h200": FLOORS[asked.what]}
    print(result)
    if torch.cuda.is_available():  # elsewhere only the program was tried
        report.keep("peers-gpu", f"{asked.what}, {asked.size}", result | report.circumstances(command))
    return 0


def folder(size: Size) -> Path:
    """Where the model lies, written there on first use, in bfloat16 and on the device that makes it quickest."""
    place = SHELF / f"{size.name}-bfloat16"
    if (place / "tokenizer_config.json").exists():
        return place
    config = transformers.LlamaConfig(
        hidden_size=size.hidden,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        vocab_size=size.vocabulary,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(place)
    tokenizer(size.vocabulary).save_pretrained(place)
    return place


def prompts(asked: argparse.Namespace) -> list[Prompt]:
    """One word is one token; the tokenizer puts none before."""
    dice = random.Random(7)
    return [Prompt.ask(_words(dice, asked.prompt, asked.size)) for _ in range(asked.rows)]


def _words(dice: random.Random, count: int, size: str) -> str:
    return " ".join(f"w{dice.randrange(4, SIZES[size].vocabulary)}" for _ in range(count))


# G2 ------------------------------------------------------------------------------------------------------------------


def writing(base: Base, asked: argparse.Namespace) -> dict[str, Any]:
    role, record, given = policy_on(base), base.record, prompts(asked)
    contenders: dict[str, Callable[[int], object]] = {}

    def ours(recorder: Any) -> Callable[[int], object]:
        def write(number: int) -> object:
            base.record = recorder
            groups = role.sample(given, 1, Manner(max_tokens=asked.new, seed=number))
            assert base.record is recorder, "the step could not be recorded"
            assert all(len(reply.tokens) == asked.new for [reply] in groups)
            return groups

        return write

    if record:
        contenders["ours, graphs"] = ours(record)
    contenders["ours, kernel by kernel"] = ours(None)
    parity = {name: faithful(role, given, write(0)) for name, write in contenders.items()}
    print(f"parity: nats between what was recorded while writing and what one forward pass says: {parity}", flush=True)
    assert max(parity.values()) < 0.05, "not the same model, so there is nothing to time"
    theirs = Theirs(base, asked)
    contenders |= {
        "theirs, dynamic cache": lambda _: theirs.write(None),
        "theirs, static cache": lambda _: theirs.write("static"),
    }
    told = timed(contenders, asked.rounds)
    seconds = {name: figures["seconds"] for name, figures in told.items()}
    best = min(seconds[name] for name in seconds if name.startswith("theirs"))
    ratios = {name: best / of for name, of in seconds.items() if name.startswith("ours")}
    rates = {name: asked.rows * asked.new / of for name, of in seconds.items()}
    return {"contenders": told, "tokens_per_second": rates, "ratio_to_generate": ratios, "parity_nats": parity}


def faithful(role: Role, given: Sequence[Prompt], groups: Any) -> float:
    """Mean |log p| between what was recorded at writing and what the role says of the text. In half precision both round."""
    forest = role.base.text.replies(given, groups, role.base.device)
    drawn = torch.tensor([logp for [reply] in groups for logp in reply.logps], device=role.base.device)
    with torch.no_grad():
        said = torch.cat([role.logps(piece) for piece in forest.split(8192)])
    return float((said - drawn).abs().mean())


class Theirs:
    """generate on a model of its own, quantized and adapted alike. Nothing is asked about ends."""

    def __init__(self, base: Base, asked: argparse.Namespace) -> None:
        from peft import LoraConfig, get_peft_model

        from alignzoo.model.loading import load

        model, _ = load(str(folder(SIZES[asked.size])), Loading(template="plain"))
        model.generation_config = transformers.GenerationConfig(pad_token_id=PAD)
        shape = LoraConfig(r=16, lora_alpha=32, target_modules=list(base.wardrobe.targets), task_type="CAUSAL_LM")
        self.model, self.new = get_peft_model(model, shape).eval(), asked.new
        self.ids = torch.tensor([base.text.prompt_ids(prompt) for prompt in prompts(asked)], device=base.device)

    @torch.no_grad()
    def write(self, cache: str | None) -> torch.Tensor:
        how = {"cache_implementation": cache} if cache else {}
        seen = torch.ones_like(self.ids)
        return self.model.generate(
            input_ids=self.ids, attention_mask=seen, max_new_tokens=self.new, do_sample=True, top_k=0, top_p=1.0, **how
        )


# G1 ------------------------------------------------------------------------------------------------------------------


def learning(base: Base, asked: argparse.Namespace) -> dict[str, Any]:
    """Every update but those of the first epoch, in which the reference is asked."""
    dice, policy, seconds = random.Random(8), policy_on(base), []
    pairs = []
    for prompt in prompts(asked):
        chosen, rejected = (Completion(_words(dice, asked.new - 1, asked.size), finished=True) for _ in range(2))
        pairs.append(Comparison(prompt, chosen, rejected))
    dpo = DPO(likelihood=0.0, batch_size=asked.rows, epochs=asked.rounds + 2, descent=Descent(lr=1e-5, micro_tokens=16_384))
    base.text = replace(base.text, ends=base.text.ends | {base.text.end})
    with remembering(base), watching(Canaries(base)):
        updates, start = dpo.improve(policy, Lesson(comparisons=pairs)), now()
        for _ in updates:
            seconds.append(now() - start)
            start = now()
    timed = seconds[2:]
    return {"contenders": {"ours": {"seconds": statistics.median(timed), "all": timed, "first": seconds[0], **memory()}}}


def timed(contenders: dict[str, Callable[[int], object]], rounds: int) -> dict[str, dict[str, Any]]:
    """Seconds by the clock, first and last changing places; the first round warms up (and compiles)."""
    laps: dict[str, list[float]] = {name: [] for name in contenders}
    peaks: dict[str, dict[str, float]] = {}
    for number in range(rounds + 1):
        for name in list(contenders)[:: 1 if number % 2 else -1]:
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            start = now()
            contenders[name](number)
            laps[name].append(now() - start)
            peaks[name] = memory()
            print(f"{name}: {laps[name][-1]:.2f} s", flush=True)
    return {name: {"seconds": statistics.median(of[1:]), "all": of, **peaks[name]} for name, of in laps.items()}


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def memory() -> dict[str, float]:
    return {"peak_gib": torch.cuda.max_memory_allocated() / 2**30} if torch.cuda.is_available() else {}


if __name__ == "__main__":
    raise SystemExit(main())
