"""The peer: ILQL as trlX's code has it, written plainly on transformers and peft: padded rows, the logits of every position, Q
and target Q of the whole vocabulary at every action. There is no living trainer to measure against."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import transformers
from models import PAD, Size, folder
from setting import Setting
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from alignzoo_ilql.episodes import Path as Walk
from alignzoo_ilql.ilql import ILQL


class Plain:
    """A model with heads, and an update of its own on rows that are given as ids, actions and rewards."""

    def __init__(self, size: Size, setting: Setting, how: ILQL, walks: Sequence[Walk], adapter: Path, heads: dict[str, Tensor]):
        from peft import PeftModel

        kind = transformers.AutoModelForCausalLM
        model = kind.from_pretrained(folder(size), dtype="float32", attn_implementation="sdpa")
        self.model: Any = PeftModel.from_pretrained(model, str(adapter), is_trainable=True)
        widths = [size.hidden, *(how.hidden or (2 * size.hidden,))]
        self.q1, self.q2 = _mlp([*widths, size.vocabulary]), _mlp([*widths, size.vocabulary])
        self.v = _mlp([*widths, 1])
        for name, head in (("q1", self.q1), ("q2", self.q2), ("v", self.v)):
            head.load_state_dict({k.removeprefix(f"{name}."): t for k, t in heads.items() if k.startswith(f"{name}.")})
        self.slow1, self.slow2 = copy.deepcopy(self.q1), copy.deepcopy(self.q2)
        self.how, self.setting, self.walks = how, setting, walks
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.trained += [p for head in (self.q1, self.q2, self.v) for p in head.parameters()]
        self.adam = torch.optim.AdamW(self.trained, lr=setting.lr, weight_decay=0.0, fused=True)
        self.losses: list[float] = []
        self.updates = 0

    def train(self, batches: Sequence[Sequence[int]]) -> float:
        """Update on each batch; returns the CPU seconds of the loop."""
        start = time.process_time()
        self.losses.clear()
        for batch in batches:
            loss = self.loss([self.walks[place] for place in batch])
            self.adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.trained, self.setting.clip)
            self.adam.step()
            self.updates += 1
            if self.updates % self.how.sync_every == 0:
                self.follow()
            self.losses.append(loss.item())
        return time.process_time() - start

    def loss(self, walks: Sequence[Walk]) -> Tensor:
        how = self.how
        wide, most = max(len(walk.ids) for walk in walks), max(sum(walk.acts) for walk in walks)
        ids = torch.stack([pad(torch.tensor(walk.ids), (0, wide - len(walk.ids)), value=PAD) for walk in walks])
        attended = torch.stack([torch.arange(wide) < len(walk.ids) for walk in walks])
        places = [[place for place, act in enumerate(walk.acts) if act] for walk in walks]
        there = torch.stack([torch.arange(most) < len(own) for own in places])
        at = torch.stack([pad(torch.tensor(own), (0, most - len(own)), value=1) for own in places])
        rewards = torch.stack(
            [pad(torch.tensor([w.rewards[p] for p in own]), (0, most - len(own))) for w, own in zip(walks, places, strict=True)]
        )
        actions = ids.gather(1, at)

        out = self.model(input_ids=ids, attention_mask=attended, output_hidden_states=True)
        states = out.hidden_states[-1].gather(1, (at - 1)[..., None].expand(-1, -1, out.hidden_states[-1].shape[-1]))
        qs = [self.q1(states), self.q2(states)]
        with torch.no_grad():
            slow = torch.minimum(self.slow1(states), self.slow2(states)).gather(2, actions[..., None])[..., 0]
        v = self.v(states)[..., 0]
        ahead = pad(v[:, 1:] * there[:, 1:], (0, 1)).detach()
        y = rewards + how.gamma * ahead
        count = there.sum()

        def mean(values: Tensor) -> Tensor:
            return (values * there).sum() / count

        def unlikely(logits: Tensor) -> Tensor:
            return cross_entropy(logits.flatten(0, 1), actions.flatten(), reduction="none").view_as(actions)

        u = slow - v
        loss = mean(torch.where(u < 0, 1 - how.tau, how.tau) * u**2)
        for q in qs:
            loss = loss + mean((q.gather(2, actions[..., None])[..., 0] - y) ** 2) + how.cql * mean(unlikely(q))
        logits = out.logits.gather(1, (at - 1)[..., None].expand(-1, -1, out.logits.shape[-1]))
        return loss + how.awac * mean(unlikely(logits))

    @torch.no_grad()
    def follow(self) -> None:
        for slow, quick in ((self.slow1, self.q1), (self.slow2, self.q2)):
            for target, own in zip(slow.parameters(), quick.parameters(), strict=True):
                target.copy_(self.how.alpha * own + (1 - self.how.alpha) * target)


def _mlp(widths: Sequence[int]) -> nn.Sequential:
    layers = [piece for one, other in pairwise(widths) for piece in (nn.Linear(one, other), nn.ReLU())]
    return nn.Sequential(*layers[:-1])
