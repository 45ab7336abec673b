"""The recipe of the embedded model: `python -m alignzoo_playground.pretrain --out FOLDER`.

Kill it and run it again with the same folder: it goes on from its last checkpoint. Documents depend on the step alone, so
nothing is lost or seen twice. What comes out is a `transformers` folder with bfloat16 safetensors; no file is a pickle.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import time
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from alignzoo_playground.corpus import Document, document
from alignzoo_playground.words import build_tokenizer, save_tokenizer, token_ids

HASHED = 2000
"""How many documents go into the recipe's hash."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what the model becomes, beside the text itself."""

    layers: int = 5
    width: int = 128
    inner: int = 384
    heads: int = 4
    steps: int = 2800
    documents_per_step: int = 48
    pieces_per_step: int = 2  # documents of like length go together, to pad less
    rate: float = 2.5e-3
    warm_up: int = 100
    weight_decay: float = 0.05
    clip: float = 1.0
    prompt_weight: float = 0.2  # what is asked is taught too, a little: copying a name is learnt sooner
    spread: float = 0.05  # of the first random weights
    seed: int = 1

    @cached_property
    def hash(self) -> str:
        """A name for these settings and the text they are taught on."""
        said = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode())
        for number in range(HASHED):
            text = document(self.seed, number)
            said.update(repr((text.plain, text.weight, [(turn.speaker, turn.text) for turn in text.turns])).encode())
        return said.hexdigest()[:16]


def build_model(recipe: Recipe, tokenizer: Any) -> LlamaForCausalLM:
    """A fresh Llama of the recipe's size. Every layer's sides are multiples of 64, which nf4 and int8 ask for."""
    torch.manual_seed(recipe.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.width,
            intermediate_size=recipe.inner,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.heads,
            max_position_embeddings=512,
            initializer_range=recipe.spread,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def pretrain(recipe: Recipe, folder: Path, every: int = 100, until: int = 10**9) -> None:
    """Train, with a checkpoint every so many steps, and write the model as it is then to `folder`/model. `until` ends it
    early; called again, it goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer()
    model = build_model(recipe, tokenizer).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, betas=(0.9, 0.95), weight_decay=recipe.weight_decay)
    done = _take_up(folder, recipe, model, optimizer)
    began = time.process_time()
    last = min(until, recipe.steps)
    for step in range(done, last):
        loss = _learn(recipe, step, tokenizer, model, optimizer)
        if (step + 1) % every == 0 or step + 1 == last:
            print(f"step {step + 1}  loss {loss:.3f}  {time.process_time() - began:.0f} s of processor time", flush=True)
            _put_down(folder, recipe, step + 1, model, optimizer)
    ship(model, tokenizer, folder / "model")


def ship(model: LlamaForCausalLM, tokenizer: Any, folder: Path) -> None:
    """Write what others load: bfloat16 weights, configuration, tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    state = model.state_dict()
    rounded = LlamaForCausalLM(model.config).to(torch.bfloat16)
    rounded.load_state_dict({name: tensor.to(torch.bfloat16) for name, tensor in state.items()})
    rounded.generation_config.do_sample = True
    rounded.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)


def rate_at(recipe: Recipe, step: int) -> float:
    """Warm-up, then a half cosine down to a fiftieth."""
    if step < recipe.warm_up:
        return recipe.rate * (step + 1) / recipe.warm_up
    way = (step - recipe.warm_up) / max(1, recipe.steps - recipe.warm_up)
    return recipe.rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * way)))


def _learn(recipe: Recipe, step: int, tokenizer: Any, model: LlamaForCausalLM, optimizer: Any) -> float:
    first = step * recipe.documents_per_step
    texts = [document(recipe.seed, first + at) for at in range(recipe.documents_per_step)]
    encoded = sorted((_weighted(tokenizer, text, recipe) for text in texts), key=lambda pair: len(pair[0]))
    taught = sum(sum(weight for weight in weights if weight >= 1.0) for _, weights in encoded)
    size = math.ceil(len(encoded) / recipe.pieces_per_step)
    total = 0.0
    for start in range(0, len(encoded), size):
        ids, weights = _padded(encoded[start : start + size], tokenizer.pad_token_id)
        logits = model(ids).logits[:, :-1]
        surprise = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        loss = (surprise * weights[:, 1:]).sum() / taught
        torch.autograd.backward(loss)
        total += loss.item()
    for group in optimizer.param_groups:
        group["lr"] = rate_at(recipe, step)
    torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


def _weighted(tokenizer: Any, text: Document, recipe: Recipe) -> tuple[list[int], list[float]]:
    """A document's ids, and how much each is taught: in full what the assistant says, a little what is asked."""
    ids, taught = token_ids(tokenizer, text)
    return ids, [text.weight if said else recipe.prompt_weight for said in taught]


def _padded(encoded: list[tuple[list[int], list[float]]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids padded on the right (so that causal attention needs no mask), and their weights."""
    longest = max(len(ids) for ids, _ in encoded)
    ids = torch.full((len(encoded), longest), pad)
    weights = torch.zeros(len(encoded), longest)
    for row, (words, counts) in enumerate(encoded):
        ids[row, : len(words)] = torch.tensor(words)
        weights[row, : len(words)] = torch.tensor(counts)
    return ids, weights


# Checkpoints ------------------------------------------------------------------------------------------------------------


def _put_down(folder: Path, recipe: Recipe, step: int, model: LlamaForCausalLM, optimizer: Any) -> None:
    """One file, written aside and then moved, so that a kill never leaves half a checkpoint."""
    tensors = {f"model.{name}": tensor for name, tensor in model.named_parameters()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": moment for name, moment in moments.items()}
    aside = folder / "checkpoint.part"
    about = {"step": str(step), "recipe": recipe.hash}
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, aside, metadata=about)
    os.replace(aside, folder / "checkpoint.safetensors")


def _take_up(folder: Path, recipe: Recipe, model: LlamaForCausalLM, optimizer: Any) -> int:
    """Load the last checkpoint and return how many steps it has done; 0 if there is none."""
    from safetensors import safe_open

    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return 0
    with safe_open(path, "pt") as file:
        about = file.metadata()
    if about["recipe"] != recipe.hash:
        raise SystemExit(f"{path} belongs to recipe {about['recipe']}, this is {recipe.hash}: choose another --out")
    tensors = load_file(path)
    for name, parameter in model.named_parameters():
        parameter.data.copy_(tensors[f"model.{name}"])
    state = optimizer.state_dict()
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, number, moment = name.split(".")
            state["state"].setdefault(int(number), {})[moment] = tensor
    optimizer.load_state_dict(state)
    return int(about["step"])


def main() -> None:
    reader = argparse.ArgumentParser(prog="python -m alignzoo_playground.pretrain", description=__doc__)
    reader.add_argument("--out", type=Path, required=True, help="where checkpoints and the finished model go")
    reader.add_argument("--steps", type=int, default=Recipe.steps, help="how long to train; the shipped model: %(default)s")
    reader.add_argument("--threads", type=int, default=2, help="processor cores to use")
    reader.add_argument("--until", type=int, default=10**9, help="stop at this step; run again to go on")
    given = reader.parse_args()
    torch.set_num_threads(given.threads)
    pretrain(Recipe(steps=given.steps), given.out, until=given.until)


if __name__ == "__main__":
    main()
