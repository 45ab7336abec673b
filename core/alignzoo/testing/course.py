"""A short training of an optimizer on the toy base, as `alignzoo train` does it but for the canaries: what those would raise
has checks of its own here. Beside the ledger, a second count is kept, of what really went through the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from alignzoo.interfaces import Lesson, Manner, Metrics, Optimizer
from alignzoo.learning.ledger import Ledger, counting
from alignzoo.learning.memory import newest, remembering
from alignzoo.learning.rewards import Scored
from alignzoo.model.base import Base
from alignzoo.model.forest import Forest, Tree
from alignzoo.model.loading import checksum
from alignzoo.model.role import Role, policy_on
from alignzoo.model.steering import Steer
from alignzoo.records import Completion, Prompt
from alignzoo.testing.toy import toy_base


@dataclass
class Spy:
    """Sees what goes through the model, whatever the ledger says of it."""

    base: Base
    tokens: int = 0
    answers: set[tuple[int, ...]] = field(default_factory=set)
    """The ids of every answer that was sampled."""
    learned: dict[tuple[tuple[int, ...], tuple[int, ...]], None] = field(default_factory=dict)
    """The ids of every prompt and reply whose log-probabilities were learned from."""
    at_ends: int = 0
    """Gradients that are not zero, at end tokens."""
    elsewhere: int = 0
    ends: int = 0
    """End tokens that were learned from."""
    frozen: dict[str, str] = field(default_factory=dict)
    """The digest of every frozen role when it was first seen."""
    drifted: set[str] = field(default_factory=set)
    _writing: bool = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        base, own = self.base, self.base.sampler
        handle = base.trunk.register_forward_pre_hook(self._pass, with_kwargs=True)
        base.sampler, base.listener = self._sampler(own), self._listen
        try:
            yield
        finally:
            handle.remove()
            base.sampler, base.listener = own, None

    def look(self) -> None:
        """Once an update: whether what is frozen is what it was."""
        for role in self.base.roles.values():
            if not role.trained and self.frozen.setdefault(role.name, role.digest) != role.digest:
                self.drifted.add(role.name)

    def _pass(self, trunk: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        if not self._writing:
            ids = named.get("input_ids", given[0] if given else None)
            self.tokens += ids.numel() if isinstance(ids, Tensor) else 0

    def _sampler(self, own: Any) -> Any:
        def write(
            base: Base, worn: str | None, prompts: Sequence[Prompt], n: int, manner: Manner, steer: Steer | None = None
        ) -> list[list[Completion]]:
            before, self._writing = self._writing, True
            try:
                groups: list[list[Completion]] = own(base, worn, prompts, n, manner, steer)
            finally:
                self._writing = before
            followers = len(steer.beside) if steer else 0
            for prompt, group in zip(prompts, groups, strict=True):
                read, written = len(base.text.fitted(prompt, manner.max_tokens)), [len(reply.tokens) for reply in group]
                self.tokens += read + sum(written) + followers * (read + sum(written) - len(written))
                self.answers.update(reply.tokens for reply in group)
            return groups

        return write

    def _listen(self, forest: Forest, logps: Tensor) -> None:
        self.learned |= dict.fromkeys((tree.prompt, reply) for tree in forest.trees for reply in tree.replies)
        ends = [place for place, ended in zip(forest.last.tolist(), _ended(forest.trees), strict=True) if ended]
        self.ends += len(ends)

        def note(gradient: Tensor) -> None:
            moved = gradient != 0
            here = int(moved[ends].sum())
            self.at_ends += here
            self.elsewhere += int(moved.sum()) - here

        logps.register_hook(note)  # type: ignore[no-untyped-call]


def _ended(trees: Sequence[Tree]) -> list[bool]:
    return [ended for tree in trees for ended in (tree.ended or (False,) * len(tree.replies))]


@dataclass
class Course:
    """A training, after so many updates."""

    optimizer: Optimizer
    policy: Role
    told: list[Metrics]
    ledger: Ledger
    spy: Spy
    before: tuple[int, dict[str, str]]
    """The checksum of the base, and the digest of the policy, at the start."""
    finished: bool
    scored: int
    """Answers that the reward was asked about."""

    @property
    def digests(self) -> dict[str, str]:
        """Of every role that is trained."""
        return {role.name: role.digest for role in self.policy.base.roles.values() if role.trained}

    @property
    def base_moved(self) -> bool:
        return checksum(self.policy.base.model) != self.before[0]


def pull(
    optimizer: Optimizer,
    lesson: Lesson,
    updates: int,
    *,
    folder: Path | None = None,
    base: Base | None = None,
    each: Callable[[], None] = lambda: None,
) -> Course:
    """Pull so many updates on a fresh toy base, going on from the checkpoint in `folder`, if there is one, and leaving one."""
    base = base or toy_base()
    scored: list[int] = []

    def reward(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Sequence[float]:
        scored.append(len(completions))
        return lesson.reward(prompts, completions)

    heard = Lesson(**{**vars(lesson), "reward": Scored(reward, "the reward of the trial")})
    checkpoint = newest(folder) if folder else None
    with remembering(base, checkpoint) as memory:
        policy = policy_on(base)
        ledger = Ledger.from_row(checkpoint.facts["ledger"]) if checkpoint else Ledger()
        before = (checksum(base.model), {policy.name: policy.digest})
        spy = Spy(base)
        told: list[Metrics] = []
        going = iter(optimizer.improve(policy, heard))
        with counting(ledger, base), spy.watching():
            while len(told) < updates and (metrics := next(going, None)) is not None:
                told.append(metrics)
                ledger.updates += 1
                spy.look()
                each()
        finished = len(told) < updates
        if folder:
            memory.write(folder, ledger.updates, {"ledger": ledger.row()})
        with suppress(RuntimeError):  # one that goes on all the same has a check of its own
            going.close()  # type: ignore[attr-defined]
    return Course(optimizer, policy, told, ledger, spy, before, finished, sum(scored))
