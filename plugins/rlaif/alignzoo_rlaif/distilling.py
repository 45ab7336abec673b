"""Context distillation (Askell et al. 2021, https://arxiv.org/abs/2112.00861): a policy learns to answer as it would with the
principles before it, and then does without them.

    L = KL( π₀(·| c(x), y₍<ₜ₎) ‖ π_θ(·| x, y₍<ₜ₎) )        y ~ π₀(·| c(x)), a mean over its tokens

π₀ is the policy as it was. The context c(x) is the principles as an instruction, or a request to revise a draft of its own
under a principle: what is distilled is then critique and revision. Of the teacher's distribution the `top_k` likeliest
tokens count one by one, and all others together as one: a bound from below that is exact for the whole vocabulary.

Left out: distilling into a smaller model; text of people in the place of the teacher's replies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from random import Random
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from alignzoo.interfaces import Count, Lesson, LessonError, Manner, Metrics, Seed
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent, Loss
from alignzoo.learning.memory import Dice
from alignzoo.limits import check_settings
from alignzoo.model import head
from alignzoo.model.forest import Forest, per_reply
from alignzoo.model.role import Role
from alignzoo.records import Prompt
from alignzoo_rlaif.constitution import Constitution, drawn, read_constitution
from alignzoo_rlaif.guided import instructed
from alignzoo_rlaif.rounds import Layout, ask_revision, revise, stream

_AT_ONCE = 8192
"""Packed tokens in one forward pass without gradients."""
_LEAST = 1e-6
"""The least probability that the other tokens have together: below it, a logarithm has no use."""


def divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """(tokens) Σ p (log p − log q) over the tokens that are given, and the same for all others as one. Both are
    log-probabilities, (tokens, k), of the same k."""
    p, q = teacher.exp(), student.exp()
    told = (p * (teacher - student)).sum(-1)
    rest_p = (1 - p.sum(-1)).clamp(min=0.0)
    rest_q = (1 - q.sum(-1)).clamp(min=_LEAST)
    return told + torch.where(rest_p > _LEAST, rest_p * (rest_p.clamp(min=_LEAST).log() - rest_q.log()), 0.0)


def likeliest(role: Role, forest: Forest, k: int) -> tuple[Tensor, Tensor]:
    """(tokens, k), (tokens, k) log p of the k likeliest tokens in each place, and which they are. Not differentiated."""
    k = min(k, role.base.vocabulary) if k else role.base.vocabulary
    with torch.no_grad():
        if not role.base.plain_head:
            found = role.spread(forest).topk(k)
            return found.values, found.indices
        states = role.read(forest).states
        tops = [role.base.head.logits(piece).log_softmax(-1).topk(k) for piece in head.chunks(states, role.base.head)]
    return torch.cat([top.values for top in tops]), torch.cat([top.indices for top in tops])


def said_of(role: Role, forest: Forest, ids: Tensor) -> Tensor:
    """(tokens, k) log p of these tokens in each place. With a head that is a matrix W only one column goes through the whole
    vocabulary: log p(v) = log p(u) + (W[v] − W[u]) · state."""
    if not role.base.plain_head or ids.shape[1] == role.base.vocabulary:
        return role.spread(forest).gather(1, ids)
    states, matrix = role.read(forest).states, role.base.head
    first = head.logps(states, ids[:, 0], matrix)
    logits = torch.einsum("tw,tkw->tk", states.to(matrix.weight.dtype), matrix.weight[ids]).float()
    if matrix.bias is not None:
        logits = logits + matrix.bias[ids].float()
    return first[:, None] + logits - logits[:, :1]


def to_teacher(role: Role, forest: Forest) -> Tensor:
    """(tokens) KL from the teacher, whose words on each token the forest holds."""
    return divergence(forest.tokens["teacher"], said_of(role, forest, forest.tokens["ids"]))


@dataclass(frozen=True)
class Shown:
    """What the student learns from: its own prompts, with the teacher's replies and what it thought at each token."""

    forest: Forest
    sound: float
    """The share of the prompts whose context could be used."""


@dataclass(frozen=True)
class ContextDistillation:
    needs: ClassVar[tuple[str, ...]] = ("prompts",)

    constitution: str
    """The file of principles."""
    principles: tuple[str, ...] = ()
    """The ids of those that are used; all if empty."""
    context: Literal["instruction", "revision"] = "instruction"
    """What stands before the teacher: all principles as an instruction, or its own draft, to be revised under one of them."""
    layout: Layout = "dialogue"
    """How a revision is asked for: in further turns of the dialogue, or in one turn, a line for each thing."""
    batch_size: Count = 16
    """Prompts per update."""
    replies: Count = 1
    """The teacher's replies to each."""
    updates: Count = 100
    """How many updates."""
    top_k: Annotated[int, Ge(0)] = 32
    """How many of the teacher's likeliest tokens count one by one; 0 takes the whole vocabulary, for small ones."""
    max_tokens: Count = 64
    """The longest reply, and the longest draft and critique."""
    held_out: Count = 32
    """Prompts that are never trained on, on which the remaining divergence is measured."""
    examine: Count = 20
    """Updates between two such measurements; the last update always has one."""
    seed: Seed = 0
    """Order of the prompts, principles, and replies."""
    descent: Descent = Descent(lr=1e-3, schedule="linear", warmup=5)
    """How the policy is moved."""

    def __post_init__(self) -> None:
        check_settings(self)
        self.rules.serving(self.context)

    @cached_property
    def rules(self) -> Constitution:
        """The constitution, read when the settings are: before any model is loaded."""
        return read_constitution(self.constitution).only(self.principles)

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        teacher = policy.frozen("teacher")
        held, taught = self.apart(lesson.prompts)
        if self.context == "instruction":  # a revision that outgrows the context is left out; these words stand before each
            principles = self.rules.serving("instruction")
            policy.base.text.make_room([instructed(prompt, principles) for prompt in lesson.prompts], self.max_tokens)
        exam = self.shown(teacher, held, stream(self.seed, "exam")).forest
        start = self.remaining(teacher, exam)  # the policy as it was, without the context
        deck = Deck.rounds(taught, self.batch_size, self.updates, self.seed)
        dice = Dice(self.seed)
        descend = self.descent.on(policy, updates=len(deck))
        for prompts in deck:
            shown = self.shown(teacher, prompts, dice.integer())
            told = descend(partial(self.loss, policy), shown.forest)
            told |= {"sound": shown.sound, "held_out_start": start}
            if deck.dealt % self.examine == 0 or deck.dealt == len(deck):
                told["held_out"] = self.remaining(policy, exam)
            yield told

    def deploy(self, policy: Role, lesson: Lesson) -> Role:
        return policy

    def apart(self, prompts: Sequence[Prompt]) -> tuple[list[Prompt], list[Prompt]]:
        """Prompts to be examined on, and prompts to be taught with: none is in both."""
        distinct = list({prompt.id: prompt for prompt in prompts}.values())
        if len(distinct) <= self.held_out:
            raise LessonError(
                f"context distillation holds out {self.held_out} prompts, and there are {len(distinct)}; give more prompts, or "
                "a smaller held_out"
            )
        order = Random(f"{self.seed}/held out").sample(distinct, len(distinct))
        return order[: self.held_out], order[self.held_out :]

    def contexts(self, teacher: Role, prompts: Sequence[Prompt], seed: int) -> list[Prompt | None]:
        """c(x) of each prompt; None where a draft or its critique cannot be used."""
        principles = self.rules.serving(self.context)
        if self.context == "instruction":
            return [instructed(prompt, principles) for prompt in prompts]
        manner = Manner(self.max_tokens, seed=seed)
        drafts = [group[0] for group in teacher.sample(prompts, 1, manner)]
        chosen = [drawn(principles, Random(f"{seed}/{prompt.id}")) for prompt in prompts]
        done = revise(teacher, prompts, drafts, chosen, self.layout, manner)
        asked = [
            ask_revision(self.layout, one.principle, prompt, one.before.text, one.critique.text)
            if one.before.finished and not one.flaw
            else None
            for prompt, one in zip(prompts, done, strict=True)
        ]
        return [c if c is not None and teacher.base.text.answerable(c, self.max_tokens) else None for c in asked]

    def shown(self, teacher: Role, prompts: Sequence[Prompt], seed: int) -> Shown:
        """The teacher's replies under the principles, as replies to the prompts alone."""
        told = [(x, c) for x, c in zip(prompts, self.contexts(teacher, prompts, seed), strict=True) if c is not None]
        if not told:
            raise LessonError("none of the teacher's own drafts could be revised; try another layout, or more max_tokens")
        asked, contexts = [x for x, _ in told], [c for _, c in told]
        text, device = teacher.base.text, teacher.base.device
        groups = teacher.sample(contexts, self.replies, Manner(self.max_tokens, seed=stream(seed, "reply")))
        guided = text.replies(contexts, groups, device, room=self.max_tokens)
        tops = [likeliest(teacher, piece, self.top_k) for piece in guided.split(_AT_ONCE)]
        notes = {"teacher": torch.cat([top for top, _ in tops]), "ids": torch.cat([ids for _, ids in tops])}
        forest = text.replies(asked, groups, device, room=self.max_tokens).attach(tokens=notes)
        return Shown(forest, len(told) / len(prompts))

    def loss(self, policy: Role, forest: Forest) -> Loss:
        """Of each token."""
        left = to_teacher(policy, forest)
        return Loss.over(left, kl=per_reply(left, forest))

    def remaining(self, role: Role, exam: Forest) -> float:
        """KL to the teacher on the held-out prompts, in nats per reply."""
        with torch.no_grad():
            pieces = [per_reply(to_teacher(role, piece), piece) for piece in exam.split(_AT_ONCE)]
        return float(torch.cat(pieces).mean())
