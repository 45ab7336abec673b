"""Implicit Language Q-Learning, Snell et al. 2022, https://arxiv.org/abs/2206.11871.

A text is a walk: the state is what has been written so far, the action the next token. From walks that somebody rated, and
without writing any, Q(s, a) learns what an action leads to and V(s) what the better of the actions *in the data* lead to: an
expectile of Q instead of a maximum, so that no token is believed in that was never seen there. A conservative term
lowers the values of all other tokens. The policy itself only imitates; when it writes, it is steered by Q − V (`steering`).

Left out: value functions on a whole transformer of their own with slow copies of it (targets are heads, as in trlX, on the
policy's trunk or on an adapter of their own). Added: rewards scaled to deviation 1, also as in trlX.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Interval
from torch import Tensor

from alignzoo.interfaces import Count, Lesson, LessonError, Metrics, Seed
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent, Loss
from alignzoo.learning.intake import check_lesson
from alignzoo.learning.rewards import checked
from alignzoo.limits import check_settings
from alignzoo.model.forest import Forest
from alignzoo.model.role import Role, role_on
from alignzoo.model.text import Text
from alignzoo.records import Completion, Prompt
from alignzoo_ilql.episodes import Each, Path, Scale, Scores, apart, chained, path_of, planted, scaled
from alignzoo_ilql.heads import Heads, grown_on
from alignzoo_ilql.steering import Steered, Steering


def following(values: Tensor, episode: Tensor) -> Tensor:
    """(actions) V of the state in which the next action of the same episode is taken, whatever the environment said between;
    0 after its last."""
    ahead = torch.cat([values[1:], values.new_zeros(1)])
    goes_on = torch.cat([episode[1:] == episode[:-1], torch.zeros_like(episode[:1], dtype=torch.bool)])
    return torch.where(goes_on, ahead, torch.zeros_like(ahead))


def bellman(rewards: Tensor, values: Tensor, episode: Tensor, gamma: float) -> Tensor:
    """(actions) y = r + γ V(s′), with V = 0 where the episode is over; no gradient goes through it (eq. 4)."""
    return rewards + gamma * following(values.detach(), episode)


def expectile(difference: Tensor, tau: float) -> Tensor:
    """|τ − 1(u < 0)| u²: at τ > ½ it weighs more that Q̂ is above V than below (eq. 3)."""
    return torch.where(difference < 0, 1 - tau, tau) * difference**2


def imitation_weight(advantage: Tensor, beta: float) -> Tensor:
    """exp(β (Q̂ − V)) of advantage-weighted regression, without gradient; 1 at β = 0: plain imitation."""
    return (beta * advantage.detach()).exp()


TokenRewards = Callable[[Prompt, Completion, Sequence[str]], Sequence[float]]
"""(prompt, answer, its tokens) → a reward for each token."""


@dataclass(frozen=True)
class ILQL:
    tau: Annotated[float, Interval(gt=0, lt=1)] = 0.8
    """τ: the expectile of Q that V is; ½ is the mean over the data's actions, towards 1 the best of them."""
    gamma: Annotated[float, Interval(gt=0, le=1)] = 0.99
    """γ: how much what comes a token later counts."""
    cql: Annotated[float, Ge(0)] = 4.0
    """Weight of the conservative term, log Σ exp Q − Q(taken). Noisy ratings want more of it than a game without noise."""
    awac: Annotated[float, Ge(0)] = 1.0
    """Weight of the imitation of the data by the policy; 0 leaves the policy as it is."""
    awac_beta: Annotated[float, Ge(0)] = 0.0
    """How much more actions of high advantage are imitated: by exp(β (Q̂ − V)). 0 imitates all alike, as both sources do."""
    alpha: Annotated[float, Interval(gt=0, le=1)] = 0.1
    """α: how far the slow targets go towards Q each time they follow."""
    sync_every: Count = 1
    """Updates between two times that the targets follow."""
    rewards: Literal["ratings", "reward"] = "ratings"
    """Where rewards come from: the ratings' own scores, or the run's [reward], asked about the rated answers."""
    scale: Scale = "standard"
    """Rewards are scores less their mean, over their deviation; or 2s − 1 ("signed": thumbs and comparisons); or the scores."""
    token_rewards: str = ""
    """A function "module:name" of (prompt, answer, its tokens) that gives a reward for each token, in addition, unscaled. It is
    asked about the rated answers and about the earlier turns that are actions."""
    turns: Literal["all", "last"] = "all"
    """Whether the assistant's earlier turns in a dialogue are actions, too, or only the answer that was rated. With "last" a
    rating of an earlier turn stays an episode of its own."""
    heads: Literal["apart", "shared"] = "apart"
    """Twin Qs of their own, or twins that share all layers but the last."""
    hidden: tuple[Annotated[int, Ge(1)], ...] = ()
    """Widths of the heads' hidden layers; none is one layer, twice as wide as the model. A narrow last one makes heads of low
    rank, for large vocabularies."""
    adapter: Literal["shared", "own"] = "shared"
    """Values are read off the policy's adapter, or off one of their own (saved beside it)."""
    trunk: Literal["trained", "detached"] = "trained"
    """Whether the values' losses move the adapter that they are read off, or only the heads."""
    batch_size: Count = 32
    """Rated answers per update."""
    epochs: Count = 4
    """Passes over the rated answers."""
    seed: Seed = 0
    """Order of the answers, and the heads' first weights."""
    steering: Steering = Steering()
    """How the values steer what is deployed."""
    descent: Descent = Descent(lr=1e-3, schedule="linear", warmup=5)
    """How policy and heads are moved."""

    def __post_init__(self) -> None:
        check_settings(self)
        if self.token_rewards:
            self.reward_tokens()
        if self.adapter == "own" and self.trunk == "detached":
            raise ValueError('an adapter of their own learns nothing with trunk = "detached"; leave one of the two out')

    @property
    def needs(self) -> tuple[str, ...]:
        return ("ratings", "reward") if self.rewards == "reward" else ("ratings",)

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        check_lesson(lesson, self.needs, policy.base.text)
        paths = self.paths(lesson, policy.base.text)
        values = self.seat_values(policy)
        heads = grown_on(values, shared=self.heads == "shared", hidden=self.hidden, seed=self.seed)
        deck = Deck(paths, self.batch_size, self.epochs, self.seed)
        imitating = (policy,) if self.awac and values is not policy else ()
        descend = self.descent.on(values, *imitating, updates=len(deck))
        for dealt in deck:
            told = descend(partial(self.loss, policy, heads), planted(dealt, policy.base.device))
            if descend.updates % self.sync_every == 0:
                heads.follow(self.alpha)
            yield told

    def deploy(self, policy: Role, lesson: Lesson) -> Steered:
        return Steered(policy, policy.companions.get("critic", policy), self.steering)

    def seat_values(self, policy: Role) -> Role:
        """Who holds the heads: the policy itself, or a role beside it that is saved with it."""
        if self.adapter == "shared":
            return policy
        values = policy.companions["critic"] = role_on(policy.base, "critic", seed=self.seed)
        return values

    # What is learned --------------------------------------------------------------------------------------------------

    def loss(self, policy: Role, heads: Heads, batch: Forest) -> Loss:
        """L = L_Q + L_V + c_CQL L_CQL + c_AWAC L_AWAC, each a mean over the actions."""
        acts = batch.tokens["act"]
        actions, episode, rewards = batch.targets[acts], batch.reply[acts], batch.tokens["reward"][acts]
        read = policy.read(batch)
        states = (read if heads.role is policy else heads.role.read(batch)).states[acts].float()
        if self.trunk == "detached":
            states = states.detach()

        q, spread = heads.asked(states, actions, sums=self.cql > 0)
        v, slow = heads.values(states), heads.slow(states, actions)
        y = bellman(rewards, v, episode, self.gamma)
        q_loss = ((q - y) ** 2).sum(0)  # eq. 4, of both twins
        v_loss = expectile(slow - v, self.tau)  # eq. 3, against the slow twins' lower
        total = q_loss.sum() + v_loss.sum()
        if self.cql:
            conservative = spread - q.sum()  # both twins: log Σ exp Q − Q(s, a), section 4.2
            total = total + self.cql * conservative
        advantage = (slow - v).detach()
        told = {"q": q.mean(0), "v": v, "advantage": advantage, "above": (advantage > 0).float(), "twins": (q[0] - q[1]).abs()}
        if self.awac:
            likelihood = read.logps()[acts]
            weight = imitation_weight(advantage, self.awac_beta)
            total = total - self.awac * (weight * likelihood).sum()
            told |= {"nll": -likelihood, "weight": weight}
        loss = Loss.over(v_loss, q_loss=q_loss / 2, v_loss=v_loss, **told)
        if self.cql:
            loss.told["cql"] = ((conservative / 2).detach(), len(actions))
        return replace(loss, total=total)

    # What it is learned from ------------------------------------------------------------------------------------------

    def check_feedback(self, lesson: Lesson) -> None:
        """Refuse ratings that say the same of every answer. What a reward says of them is known only when it is asked."""
        if self.rewards != "reward":
            scaled(lesson.ratings, self.scale)

    def paths(self, lesson: Lesson, text: Text) -> list[Path]:
        """Every episode as ids with its rewards. All that can be wrong with the lesson is found here, before any pass."""
        ratings = list(lesson.ratings)
        if self.rewards == "reward":
            ratings = Scores().of(ratings, lesson.reward)
        all_turns = self.turns == "all"
        episodes = (chained if all_turns else apart)(scaled(ratings, self.scale))
        each = self.each_token(text) if self.token_rewards else None
        return [path_of(episode, text, all_turns=all_turns, each=each) for episode in episodes]

    def each_token(self, text: Text) -> Each:
        """What `token_rewards` says of the tokens of an answer, or of an earlier turn."""
        rewards = self.reward_tokens()

        def each(prompt: Prompt, completion: Completion, ids: Sequence[int]) -> list[float]:
            tokens = text.tokenizer.convert_ids_to_tokens(list(ids))
            return checked(f"token_rewards = {self.token_rewards!r}", rewards(prompt, completion, tokens), len(tokens))

        return each

    def reward_tokens(self) -> TokenRewards:
        """The function that `token_rewards` names."""
        module, _, name = self.token_rewards.partition(":")
        try:
            found: Any = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise LessonError(f'token_rewards = "{self.token_rewards}" names no function, "module:name": {error}') from None
        if not callable(found):
            raise LessonError(f'token_rewards = "{self.token_rewards}" names no function: it is {type(found).__name__}')
        return found  # type: ignore[no-any-return]
