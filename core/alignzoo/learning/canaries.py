"""Invariants checked while a run goes, for every optimizer. Each is a real silent bug of a well-known trainer; a canary makes
it loud and leaves the last good checkpoint as it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from alignzoo.interfaces import Manner, Metrics
from alignzoo.learning.authors import Authors
from alignzoo.learning.choices import Watch
from alignzoo.model.forest import Forest, per_reply
from alignzoo.model.loading import checksum
from alignzoo.model.role import Role
from alignzoo.records import Comparison, Prompt

if TYPE_CHECKING:
    from alignzoo.model.base import Base

T = TypeVar("T")


class CanaryError(ValueError):
    """A run whose numbers would be lies."""


_AT_ONCE = 4096
"""Packed tokens that are enough to compare a reference with the start."""


@dataclass
class Seen:
    """What is known of the roles that are moved together."""

    still: int = 0
    moved: bool = False
    at_ends: bool = False
    elsewhere: bool = False
    astray: list[float] = field(default_factory=list)
    """Nats between log-probabilities that were kept from sampling and those that are learned from, before anything moved."""


@dataclass
class Canaries:
    """The state of the checks during one training."""

    base: Base
    watch: Watch = Watch()
    fresh: bool = True
    """False where a run is resumed: what must hold before the first update is no longer to be seen."""
    bytes_before: int = 0
    digests: dict[str, str] = field(default_factory=dict)
    seen: dict[tuple[str, ...], Seen] = field(default_factory=dict)
    """By the names of the roles: an optimizer may move several sets of them, each by a descent of its own."""
    authors: Authors = field(default_factory=Authors)

    def __post_init__(self) -> None:
        self.bytes_before = checksum(self.base.model)

    def facts(self) -> dict[str, Any]:
        """What a checkpoint must hold so that a resumed run can be told from another."""
        return {"base": f"{self.bytes_before:x}", "frozen": self.digests}

    def recognise(self, facts: Mapping[str, Any]) -> None:
        """On resume: the base and every frozen role must be the ones of the checkpoint."""
        if facts["base"] != f"{self.bytes_before:x}":
            raise CanaryError("the base model is not the one this run was started with; start a new run folder")
        self.digests = dict(facts["frozen"])

    def before_update(self, roles: Sequence[Role], loss_of: Callable[[Any], Any], batch: Any) -> None:
        for role in self.base.roles.values():
            if not role.trained and role.name not in self.digests:
                self.digests[role.name] = role.digest
        together = tuple(role.name for role in roles)
        nothing_moved = not any(seen.moved for seen in self.seen.values())
        if isinstance(batch, Forest) and self.watch.own_answers and not nothing_moved:
            self._own_answers(batch, roles)
        if together in self.seen:
            return
        self.seen[together] = Seen()
        if not isinstance(batch, Forest):
            return
        _ends_are_there(batch, self.base.text.ends)
        if self.fresh:
            with torch.no_grad():
                if nothing_moved:
                    self._references_agree(next(batch.split(_AT_ONCE)))
                _splitting_changes_nothing(loss_of, batch, self._tolerance(1e-4, 5e-2))

    def after_update(self, roles: Sequence[Role], norm: float, digests: Mapping[str, str]) -> None:
        seen = self.seen[tuple(role.name for role in roles)]
        if seen.moved:
            return
        if norm == 0.0:
            seen.still += 1
            if seen.still >= 8:
                raise CanaryError("eight updates without any gradient: the loss does not depend on what is trained")
            return
        seen.moved, self.authors.drawn = True, None
        if idle := [role.name for role in roles if digests and role.digest == digests.get(role.name)]:
            raise CanaryError(f"the first update did not move {', '.join(idle)}: no gradient reached it")
        self.untouched()
        if seen.elsewhere and not seen.at_ends:
            raise CanaryError(
                "no gradient reaches the end-of-sequence tokens: they are outside the loss, and the policy would never learn "
                "to stop"
            )

    def untouched(self) -> None:
        """The frozen base and every frozen role are, byte for byte, what they were."""
        if checksum(self.base.model) != self.bytes_before:
            raise CanaryError("the frozen base has moved: something trains its weights, or the quantizer repacked them")
        for name, digest in self.digests.items():
            if name in self.base.roles and self.base.roles[name].digest != digest:
                raise CanaryError(f"the frozen role '{name}' has moved: what was measured against it is worth nothing")

    def look(self, policy: Role, start: Role, prompts: Sequence[Prompt], seed: int) -> Metrics:
        """Have the policy answer some prompts: the answers must come from the adapter in training, and not be too far from
        the start. Returns the KL from the start, by the one estimator that serves every optimizer; nothing where no prompt
        leaves room for an answer, as those of recorded pairs may not."""
        manner = Manner(max_tokens=min(self.watch.tokens, self.base.text.context // 2), seed=seed)
        chosen = [p for p in _spread(prompts, self.watch.prompts) if self.base.text.answerable(p, manner.max_tokens)]
        if not chosen:
            return {}
        groups = policy.sample(chosen, 1, manner)
        forest = self.base.text.replies(chosen, groups, self.base.device, manner.max_tokens)
        drawn = torch.tensor([lp for [reply] in groups for lp in reply.logps], device=self.base.device)
        with torch.no_grad():
            own = policy.logps(forest)
            start_logps = start.logps(forest)
        gap = float((own - drawn).abs().mean())
        if gap > self._tolerance(1e-3, 0.15):
            bare = float((start_logps - drawn).abs().mean())
            reason = " (they match the start instead: the adapter is ignored in sampling)" if bare < gap / 4 else ""
            raise CanaryError(f"samples do not come from the policy in training: log-probabilities differ by {gap:.3g}{reason}")
        divergence = kl_from(drawn, start_logps, forest)
        if divergence > self.watch.kl_limit:
            raise CanaryError(
                f"the policy is {divergence:.1f} nats per reply from its start (limit {self.watch.kl_limit:g}): it has come "
                "apart. Lower the learning rate, raise the KL penalty or beta, or raise watch.kl_limit if this is meant"
            )
        return {"kl": divergence, "length": len(drawn) / len(chosen)}

    @torch.no_grad()
    def compare(self, policy: Role, start: Role, comparisons: Sequence[Comparison]) -> Metrics:
        """By how many nats chosen and rejected answers have become likelier since the start: the mean over some comparisons,
        the same at each look. Ties have no chosen side."""
        decided = _spread([pair for pair in comparisons if not pair.tie], self.watch.pairs)
        if not decided:
            return {}
        pieces = self.base.text.pairs(decided, self.base.device).split(_AT_ONCE)
        moved = [per_reply(policy.logps(piece) - start.logps(piece), piece).view(-1, 2) for piece in pieces]
        chosen, rejected = torch.cat(moved).mean(0).tolist()
        return {"chosen": chosen, "rejected": rejected}

    def _own_answers(self, batch: Forest, roles: Sequence[Role]) -> None:
        known, foreign, by = self.authors.strangers(batch, [role.worn for role in roles])
        if 2 * foreign > known:
            raise CanaryError(
                f"{foreign} of {known} answers that were sampled to learn from come from {_named(by)}, not from "
                f"{_named({role.worn for role in roles})}, which learns: their probabilities are another's. Sample from the "
                "role that is trained, or set watch.own_answers = false if another's are meant"
            )

    def listen(self, seen: Seen, forest: Forest, logps: Tensor) -> None:
        """Hear what one update learns from."""
        if self.fresh and self.watch.own_answers and self.authors.drawn:
            gap = self.authors.astray(forest, logps, self._tolerance(1e-3, 0.15))
            seen.astray += [] if gap is None else [gap]

    def one_distribution(self, seen: Seen) -> None:
        """Before anything has moved, the log-probabilities of an answer are those that it was drawn with."""
        if seen.astray and min(seen.astray) > self._tolerance(1e-3, 0.15):
            raise CanaryError(
                f"nothing has moved, and answers are {min(seen.astray):.3g} nats a token off what they were drawn with: are "
                "they sampled at one temperature and compared at another? Give both the same, or set watch.own_answers = false "
                "if it is meant"
            )

    def _references_agree(self, batch: Forest) -> None:
        policies = [role for role in self.base.roles.values() if role.trained]
        for role in self.base.roles.values():
            named = role.name.startswith("reference") and policies
            origin = role.origin or (policies[0] if named else None)
            if role.trained or origin is None or not origin.trained:
                continue
            gap = float((role.logps(batch) - origin.logps(batch)).abs().max())
            if gap > self._tolerance(1e-5, 1e-2):
                raise CanaryError(
                    f"before the first update '{role.name}' and '{origin.name}' differ by {gap:.3g} nats on one token: it is "
                    "not a copy of the start, so every log-ratio would be wrong"
                )

    def _tolerance(self, exact: float, rough: float) -> float:
        return exact if self.base.head.weight.dtype == torch.float32 else rough


def _named(worn: Collection[str | None]) -> str:
    return " and ".join(sorted(f"'{name}'" if name else "the bare base" for name in worn))


def _spread(things: Sequence[T], count: int) -> list[T]:
    """So many of them, spread over all."""
    return list(things)[:: max(1, len(things) // max(1, count))][:count]


def kl_from(drawn: Tensor, start: Tensor, forest: Forest) -> float:
    """KL(policy ‖ start) in nats per reply: the mean over sampled replies of Σ (log π − log π₀). (Estimator k1: unbiased.)"""
    return float(per_reply(drawn - start, forest).mean())


def _ends_are_there(batch: Forest, ends: frozenset[int]) -> None:
    for tree in batch.trees:
        for reply, ended in zip(tree.replies, tree.ended, strict=False):
            if ended and reply[-1] not in ends:
                raise CanaryError("a finished reply has no end-of-sequence token: the policy would never learn to stop")


def _splitting_changes_nothing(loss_of: Callable[[Any], Any], batch: Forest, tolerance: float) -> None:
    if len(batch) < 2:
        return
    first, second = sorted(range(len(batch)), key=lambda place: batch.trees[place].size)[:2]
    whole = loss_of(batch.select([first, second]))
    parts = [loss_of(batch.select([place])) for place in (first, second)]
    together, apart = float(whole.total), sum(float(part.total) for part in parts)
    if abs(together - apart) > tolerance * (1 + abs(together)) or whole.count != sum(part.count for part in parts):
        raise CanaryError(
            f"the loss of two trees together ({together:.6g} over {whole.count}) is not the sum of their losses apart "
            f"({apart:.6g} over {sum(part.count for part in parts)}): micro-batching would change the result"
        )


_current: ContextVar[Canaries | None] = ContextVar("canaries", default=None)


@contextmanager
def watching(canaries: Canaries) -> Iterator[Canaries]:
    """Within the block every update is watched."""
    token = _current.set(canaries)
    try:
        with canaries.authors.noting(canaries.base):
            yield canaries
    finally:
        _current.reset(token)


def before_update(roles: Sequence[Role], loss_of: Callable[[Any], Any], batch: Any) -> None:
    """Called by every update before its gradient."""
    if (canaries := _current.get()) is not None:
        canaries.before_update(roles, loss_of, batch)


@contextmanager
def gradients(roles: Sequence[Role]) -> Iterator[dict[str, str]]:
    """Around the gradient of one update: until the first that moves something, note where gradients reach."""
    canaries = _current.get()
    seen = canaries.seen.get(tuple(role.name for role in roles)) if canaries else None
    if canaries is None or seen is None or seen.moved:
        yield {}
        return

    def listen(forest: Forest, logps: Tensor) -> None:
        ended = torch.tensor([e for tree in forest.trees for e in (tree.ended or (False,) * len(tree.replies))])
        ends = forest.last[ended.to(forest.last.device)]

        def note(gradient: Tensor) -> None:
            at_ends = int((gradient[ends] != 0).sum())
            seen.at_ends |= at_ends > 0 or len(ends) == 0
            seen.elsewhere |= int((gradient != 0).sum()) > at_ends

        logps.register_hook(note)  # type: ignore[no-untyped-call]
        canaries.listen(seen, forest, logps)

    canaries.base.listener = listen
    try:
        yield {role.name: role.digest for role in roles}
        canaries.one_distribution(seen)
    finally:
        canaries.base.listener = None


def finite(loss: float, norm: float) -> None:
    """Called by every update before it moves anything."""
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise CanaryError(f"the loss is {loss} and its gradient's norm {norm}: nothing was moved by this update")


def after_update(roles: Sequence[Role], norm: float, digests: Mapping[str, str]) -> None:
    """Called by every update after it."""
    if (canaries := _current.get()) is not None:
        canaries.after_update(roles, norm, digests)
