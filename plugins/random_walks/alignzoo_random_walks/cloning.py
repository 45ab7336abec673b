"""Behaviour cloning: a GPT-2 with random weights learns to walk as the walks do. All of its weights are trained, for what comes
out is a base, as a pre-trained model is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.utils import logging

from alignzoo_random_walks.letters import BOS, EOS, PAD, SPECIAL, build_tokenizer
from alignzoo_random_walks.walks import GOAL, LETTERS, LONGEST, game

LAYERS, WIDTH, HEADS = 6, 144, 12
CONTEXT = 64
"""More than a walk needs: what looks at a policy may ask for longer answers."""
BATCH, RATE = 100, 6e-4


def clone(seed_of_game: int, epochs: int, seed: int, folder: Path) -> None:
    """Write the finished model and its tokenizer. On one thread, so that sums come in one order."""
    walks = written(game(seed_of_game).walks)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            model = fresh()
            learn(model, walks, epochs)
    finally:
        torch.set_num_threads(threads)
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)


def fresh() -> GPT2LMHeadModel:
    config = GPT2Config(
        vocab_size=len(SPECIAL) + len(LETTERS),
        n_layer=LAYERS,
        n_embd=WIDTH,
        n_head=HEADS,
        n_positions=CONTEXT,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
    )
    return GPT2LMHeadModel(config)


def written(walks: Sequence[str]) -> Tensor:
    """(walks, 11) Ids, with an end token behind a walk that has arrived; one that was cut has none."""
    ids = torch.full((len(walks), LONGEST + 1), PAD)
    for row, walk in enumerate(walks):
        said = [len(SPECIAL) + LETTERS.index(letter) for letter in walk] + ([EOS] if walk[-1] == GOAL else [])
        ids[row, : len(said)] = torch.tensor(said)
    return ids


def learn(model: GPT2LMHeadModel, walks: Tensor, epochs: int, rate: float = RATE) -> None:
    """Raise the likelihood of every token behind the first, which is the prompt."""
    adam = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    steps = max(1, epochs * -(-len(walks) // BATCH))
    falling = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: 1 - step / steps)
    for _ in range(epochs):
        order = torch.randperm(len(walks))
        for first in range(0, len(walks), BATCH):
            ids = walks[order[first : first + BATCH]]
            logits = model(input_ids=ids[:, :-1], attention_mask=torch.ones_like(ids[:, :-1])).logits  # what pads lies behind
            loss = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=PAD)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            adam.step()
            falling.step()
            adam.zero_grad()
