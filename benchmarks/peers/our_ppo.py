"""Our side of PPO: the public code and nothing else, watched by the same canaries as in a run. Policy, reference, reward model
and critic sit on one base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from contextvars import copy_context
from pathlib import Path

import torch
from models import Size, folder
from proximal import Critic, Proximal, Slope, Update, Weights
from torch import Tensor

from alignzoo.interfaces import Lesson, Metrics
from alignzoo.learning.canaries import Canaries, watching
from alignzoo.learning.descent import Descent
from alignzoo.learning.divergence import Leash
from alignzoo.learning.memory import remembering
from alignzoo.learning.rollouts import Experience, Exploring, scores_of
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.forest import Forest
from alignzoo.model.role import Role, policy_on, role_on
from alignzoo.records import Prompt
from alignzoo_ppo.ppo import PPO, token_rewards
from alignzoo_reward_model.model import LearnedReward, grow_heads


class Ours:
    """One training by `PPO.improve`, to be pulled update by update. Several take turns in one process, each in a context of its
    own, so that its memory and its canaries are not another's."""

    def __init__(self, size: Size, setting: Proximal, prompts: Sequence[Prompt], critic: Critic) -> None:
        how = Loading(quantize="none", dtype="float32", device="cpu", template="plain")
        self.base = Base.load(str(folder(size)), how, Lora(setting.rank, setting.alpha))
        self.policy = policy_on(self.base, setting.seed)
        self.judge = _judge_on(self.base, setting.seed)
        self.reward = LearnedReward(self.judge)
        self.setting = setting
        self.optimizer = _optimizer(setting, len(prompts) // setting.prompts, critic)
        self._run, self._context = ExitStack(), copy_context()
        self._context.run(self._run.enter_context, remembering(self.base))
        self._context.run(self._run.enter_context, watching(Canaries(self.base)))
        lesson = Lesson(prompts=prompts, reward=self.reward)
        self._updates: Iterator[Metrics] = self.optimizer.improve(self.policy, lesson)

    def save(self, policy: Path, judge: Path) -> None:
        """The adapters as they are now and the reward model's head, for the peer to begin with."""
        self.policy.save(policy)
        self.judge.save(judge)

    def prompt_ids(self, prompt: Prompt) -> tuple[int, ...]:
        return self.base.text.prompt_ids(prompt)

    def pull(self, updates: int) -> list[Metrics]:
        return [self._context.run(next, self._updates) for _ in range(updates)]

    def close(self) -> None:
        self._context.run(self._run.close)


class Retraced:
    """What we make of an update that the peer wrote: its tokens, and nothing else."""

    def __init__(self, ours: Ours) -> None:
        self.ours, self.policy, self.optimizer = ours, ours.policy, ours.optimizer
        self.reference = ours.policy.frozen()
        self.critic = ours.optimizer.seat_critic(ours.policy)
        self.clipped = 0.0

    def start(self) -> Weights:
        """Weights that are not the reference's, and a critic that foresees something."""
        tensors, width = self.ours.base.wardrobe.tensors, self.ours.base.width
        head = torch.randn(1, width, generator=torch.Generator().manual_seed(4)) / width**0.5
        return Weights(moved(tensors(self.policy.name), 1, 0.03), moved(tensors(self.critic.name), 2, 0.03), head)

    def wear(self, weights: Weights) -> None:
        wardrobe = self.ours.base.wardrobe
        wardrobe.load(self.policy.name, dict(weights.policy))
        wardrobe.load(self.critic.name, dict(weights.critic))
        with torch.no_grad():
            self.critic.head("value").get_parameter("weight").copy_(weights.head)

    def judged(self, update: Update) -> tuple[Forest, dict[str, Tensor]]:
        """The answers with their advantages, and all that led to those, token by token."""
        setting, text = self.ours.setting, self.ours.base.text
        groups = [[text.completion(ids)] for ids in update.completions]
        forest = text.replies(update.prompts, groups, room=setting.new)
        raw = torch.tensor(scores_of(self.ours.reward, update.prompts, groups))
        with torch.no_grad():
            logps = {"old": self.policy.logps(forest), "reference": self.reference.logps(forest)}
        experience = Experience(update.prompts, groups, forest.attach(tokens=logps, replies={"score": raw}), raw)
        rewards = token_rewards(raw, experience.divergence, setting.beta, forest)
        batch, _ = self.optimizer.judged(experience, self.policy, self.critic, setting.beta)
        return batch, {**batch.tokens, "reward": rewards}

    def slope(self, batch: Forest, at: Weights) -> Slope:
        """The loss under these weights, and its gradients."""
        self.wear(at)
        loss = self.optimizer.loss(self.policy, self.critic, batch)
        self.clipped = float(loss.told["clipped"][0]) / loss.count
        (loss.total / loss.count).backward()  # type: ignore[no-untyped-call]
        head = self.critic.head("value").get_parameter("weight")
        gradient = Weights(self._gradient(self.policy), self._gradient(self.critic), _taken(head))
        return Slope(at, float(loss.total.detach()) / loss.count, gradient)

    def _gradient(self, role: Role) -> dict[str, Tensor]:
        named = {key: p for key, p in self.ours.base.model.named_parameters() if f".{role.name}." in key}
        return {f"base_model.model.{key.replace(f'.{role.name}.', '.')}": _taken(p) for key, p in named.items()}


def _taken(parameter: Tensor) -> Tensor:
    """The gradient that has gathered, which is forgotten."""
    assert parameter.grad is not None
    gradient, parameter.grad = parameter.grad, None
    return gradient


def _judge_on(base: Base, seed: int) -> Role:
    """A reward model that has learned something or other."""
    judge = role_on(base, "reward", trained=False, seed=seed)
    grow_heads(judge, 1, seed)
    base.wardrobe.load(judge.name, moved(base.wardrobe.tensors(judge.name), seed=3, by=0.03))
    return judge


def _optimizer(setting: Proximal, updates: int, critic: Critic) -> PPO:
    """As the peer has it: the variance of a sample, and no rule for answers that did not end."""
    return PPO(
        updates=updates,
        prompts_per_update=setting.prompts,
        replies=setting.replies,
        exploring=Exploring(max_tokens=setting.new, unfinished="ignore"),
        critic=critic,
        leash=Leash(setting.beta),
        gamma=setting.gamma,
        lam=setting.lam,
        whiten="sample",
        epochs=setting.epochs,
        clip=setting.near,
        value_clip=setting.value_near,
        value_weight=setting.value_weight,
        seed=setting.seed,
        descent=Descent(lr=setting.lr, clip=setting.clip),
    )


def moved(adapter: Mapping[str, Tensor], seed: int, by: float) -> dict[str, Tensor]:
    """This adapter with noise on its B, so that it changes something."""
    dice = torch.Generator().manual_seed(seed)
    return {
        key: tensor.detach() + by * torch.randn(tensor.shape, generator=dice) if "lora_B" in key else tensor.detach().clone()
        for key, tensor in sorted(adapter.items())
    }
