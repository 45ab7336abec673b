"""Our side of RLOO: the public code and nothing else, watched by the same canaries as in a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from models import Size, folder
from rounds import Round, Rounds, distinct
from torch import Tensor

from alignzoo.interfaces import Lesson, Metrics
from alignzoo.learning.canaries import Canaries, watching
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent
from alignzoo.learning.divergence import Leash
from alignzoo.learning.memory import remembering
from alignzoo.learning.rollouts import Exploring
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.forest import Forest, per_reply
from alignzoo.model.role import policy_on
from alignzoo.records import Prompt
from alignzoo_policy_gradient.rloo import RLOO, leave_one_out


class Ours:
    """One training by `RLOO.improve`, to be pulled round by round."""

    def __init__(self, size: Size, setting: Rounds, prompts: Sequence[Prompt]) -> None:
        how = Loading(quantize="none", dtype="float32", device="cpu", template="plain")
        self.base = Base.load(str(folder(size)), how, Lora(setting.rank, setting.alpha))
        self.policy = policy_on(self.base, setting.seed)
        self.setting = setting
        self.optimizer = RLOO(
            replies=setting.replies,
            prompts_per_update=setting.prompts,
            updates=len(prompts) // setting.prompts,
            exploring=Exploring(max_tokens=setting.new, unfinished="ignore"),
            leash=Leash(setting.beta),
            seed=setting.seed,
            descent=Descent(lr=setting.lr, clip=setting.clip),
        )
        self._run = ExitStack()
        self._run.enter_context(remembering(self.base))
        self._run.enter_context(watching(Canaries(self.base)))
        lesson = Lesson(prompts=prompts, reward=lambda _, said: distinct([reply.text for reply in said]))
        self._updates: Iterator[Metrics] = self.optimizer.improve(self.policy, lesson)

    def save(self, place: Path) -> None:
        """The adapter as it is now, for the peer to begin with."""
        self.policy.save(place)

    def prompt_ids(self, prompt: Prompt) -> tuple[int, ...]:
        return self.base.text.prompt_ids(prompt)

    def wear(self, adapter: Mapping[str, Tensor]) -> None:
        self.base.wardrobe.load(self.policy.name, adapter)

    @property
    def adapter(self) -> dict[str, Tensor]:
        """Under the keys of peft's files."""
        return {key: tensor.detach().clone() for key, tensor in self.base.wardrobe.tensors(self.policy.name).items()}

    def experience(self, theirs: Round, start: Mapping[str, Tensor]) -> Forest:
        """The peer's own answers with our log-probabilities, our scores and our advantages. `start` is the reference."""
        worn, setting = self.adapter, self.setting
        groups = [theirs.completions[i : i + setting.replies] for i in range(0, len(theirs.completions), setting.replies)]
        replies = [[self.base.text.completion(ids) for ids in group] for group in groups]
        forest = self.base.text.replies(theirs.prompts, replies, room=setting.new)
        with torch.no_grad():
            old = self.policy.logps(forest)
            self.wear(start)
            divergence = per_reply(old - self.policy.logps(forest), forest)
            self.wear(worn)
        scores = torch.tensor(distinct([reply.text for group in replies for reply in group]))
        advantages = leave_one_out(scores - setting.beta * divergence, setting.replies)
        return forest.attach(tokens={"old": old}, replies={"advantage": advantages, "divergence": divergence})

    def clipped(self, forest: Forest) -> float:
        """The share of replies that the clip holds still."""
        total, count = self.optimizer.loss(self.policy, forest).told["clipped"]
        return float(total) / count

    def slope(self, forest: Forest) -> tuple[float, dict[str, Tensor]]:
        """The loss, and its gradient by the names that the base has for the adapter's parameters."""
        loss = self.optimizer.loss(self.policy, forest)
        named = {key: p for key, p in self.base.model.named_parameters() if f".{self.policy.name}." in key}
        found = torch.autograd.grad(loss.total / loss.count, list(named.values()))
        kept = {key.replace(f".{self.policy.name}.", "."): g for key, g in zip(named, found, strict=True)}
        return float(loss.total.detach()) / loss.count, kept

    def pull(self, updates: int) -> list[Metrics]:
        return [next(self._updates) for _ in range(updates)]

    def close(self) -> None:
        self._run.close()


def order(setting: Rounds, count: int) -> list[list[int]]:
    """Which prompts each round is about, as our deck deals them; the peer is given the same."""
    return list(Deck(range(count), setting.prompts, 1, setting.seed))
