"""What a role says of whole texts: of prompts, too, which are otherwise only read."""

from __future__ import annotations

import torch
from torch import Tensor

from alignzoo.model import head
from alignzoo.model.forest import Forest, Tree, per_reply, plant
from alignzoo.model.role import Role


def logps(role: Role, forest: Forest) -> tuple[Tensor, Tensor]:
    """(tokens), (trees) log p of each reply token, and of each prompt's tokens after its first, summed. Prompts are read and
    said once, however many replies they have."""
    base = role.base
    if not (base.packs and base.plain_head):
        return role.logps(forest), _alone(role, forest)
    learning = role.trained and torch.is_grad_enabled()
    states = base.every(forest, role.worn, learning=learning)
    rows = [row for segment in forest.segments for row in range(segment.start, segment.split - 1)]
    before = torch.tensor(rows, dtype=torch.long, device=base.device)
    tree = torch.tensor([len(tree.prompt) - 1 for tree in forest.trees], device=base.device)
    base.meter.flops += 2 * (1 + learning) * base.sizes(role.worn).head * len(rows)
    targets = torch.cat([forest.targets, forest.ids[before + 1]])
    said = head.logps(states[torch.cat([forest.before, before])], targets, base.head)
    replies, prompts = said[: len(forest.targets)], said[len(forest.targets) :]
    whose = torch.arange(len(forest), device=base.device).repeat_interleave(tree)
    sums = prompts.new_zeros(len(forest)).index_add(0, whose, prompts)
    return base.heard(forest, replies), sums


def _alone(role: Role, forest: Forest) -> Tensor:
    """(trees) Of each prompt, read once more by itself."""
    longer = [place for place, tree in enumerate(forest.trees) if len(tree.prompt) > 1]
    sums = torch.zeros(len(forest), device=forest.ids.device)
    if not longer:
        return sums
    prompts = plant([Tree((ids := forest.trees[place].prompt)[:1], (ids[1:],)) for place in longer], forest.ids.device)
    return sums.index_add(0, torch.tensor(longer, device=sums.device), per_reply(role.logps(prompts), prompts))
