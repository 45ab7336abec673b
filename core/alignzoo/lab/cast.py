"""Who plays in a run: its base, and the roles, policies and rewards on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from alignzoo.interfaces import Framing, Lesson, Policy, Reading, Reward, Writing, no_reward
from alignzoo.lab import store
from alignzoo.lab.folders import RunError
from alignzoo.lab.gone import Gone
from alignzoo.lab.plan import Juror, Part, Plan, Rewarding
from alignzoo.lab.prompts import prompts_of
from alignzoo.learning.choices import Voice
from alignzoo.learning.rewards import Combined, Scored
from alignzoo.model.files import likeness
from alignzoo.model.role import Role, bare_on, load_role, role_on
from alignzoo.model.text import TextError
from alignzoo.records import Feedback, Prompt

if TYPE_CHECKING:
    from alignzoo.model.base import Base


@dataclass
class Cast:
    """Everybody is seated on one base when he is needed, from the files of the stages that are done."""

    plan: Plan
    files: store.Folder
    stage: Callable[[str, str], None]
    """Told when the base is loaded."""

    @cached_property
    def base(self) -> Base:
        if self.plan.threads:
            torch.set_num_threads(self.plan.threads)
        self.stage("load", f"{self.plan.model} ({self.plan.loading.quantize})")
        from alignzoo.model.base import Base  # and with it the libraries of models, which no refusal waits for

        base = Base.load(self.plan.model, self.plan.loading, self.plan.lora)
        base.text.leave_room(self.plan.answer.manner.max_tokens)  # or it would be told after the training
        return base

    def check_room(self) -> None:
        """An error, before anything is trained, where prompts that are to be answered leave no room for an answer."""
        plan, optimizer = self.plan, self.plan.optimizer
        task = plan.task.found.full_name if plan.task else ""
        if plan.task and isinstance(optimizer.made, Writing):
            asked = f"{task}, whose prompts {optimizer.found.full_name} has answered"
            self._make_room(plan.task.made.prompts("train"), optimizer.made.longest, asked)
        asked = f"{plan.answer.file or task}, whose prompts are answered before and after"
        self._make_room(prompts := prompts_of(plan), plan.answer.manner.max_tokens, asked)
        for part in (plan.policy, optimizer):  # from the outermost
            if part and isinstance(part.made, Framing):
                prompts = part.made.framed(prompts)
                self._make_room(prompts, plan.answer.manner.max_tokens, f"{asked}, by then as {part.found.full_name} puts them")

    def _make_room(self, prompts: Sequence[Prompt], max_tokens: int, whose: str) -> None:
        try:
            self.base.text.make_room(prompts, max_tokens)
        except TextError as error:
            raise TextError(f"{whose}: {error}") from None

    @cached_property
    def likeness(self) -> str:
        """What tells the base from another; empty for a name on the hub."""
        return likeness(self.plan.model)

    def check_base(self, files: store.Training) -> None:
        """An adapter fits every base of its shape, and says something on each of them."""
        if (then := store.read_summary(files).get("base", "")) and self.likeness and then != self.likeness:
            raise RunError(
                f"{files.adapter} was trained on another base than {self.plan.model} is now; put that one back, or delete "
                f"{files.folder} to train again"
            )

    # Policies ---------------------------------------------------------------------------------------------------------

    def bare(self, name: str = "start") -> Role:
        """The base itself, under a name."""
        self.base.dismiss(name)
        return bare_on(self.base, name)

    def loaded(self, name: str, files: store.Training) -> Role:
        """What a training left."""
        self.check_base(files)
        there = (files.adapter / "adapter_model.safetensors").exists()
        self.base.dismiss(name)
        role = load_role(self.base, files.adapter, name) if there else bare_on(self.base, name)
        if role.digest != store.read_summary(files).get("adapter", role.digest):
            raise RunError(
                f"{files.adapter} is not what the training left; put it back, or delete {files.folder} to train again"
            )
        return role

    def start(self) -> Role:
        """What alignment starts from."""
        return self.bare() if self.plan.start is None else self.loaded("start", self.files.start)

    def seat(self, name: str) -> Callable[[Base], Role]:
        """A seat under this name for a role that begins as the start."""
        if self.plan.start is None:
            return fresh(name, self.plan.seed)
        self.check_base(self.files.start)
        adapter = self.files.start.adapter
        return lambda base: load_role(base, adapter, name, trained=True)

    def policy(self) -> Policy:
        """What answers after training: what the optimizer deploys, and what the plan puts around it."""
        if not self.files.train.done:
            raise RunError(f"{self.files.root} is not trained yet; `alignzoo train {self.files.root}`")
        role = self.loaded("policy", self.files.train)
        optimizer = self.plan.optimizer.made
        deployed: Policy = optimizer.deploy(role, self.lesson((), optimizer.needs))
        return self.plan.policy.made.wrap(deployed) if self.plan.policy else deployed

    # Rewards ----------------------------------------------------------------------------------------------------------

    def rewards(self) -> Iterator[tuple[str, Rewarding, store.Training]]:
        """Each reward with its place in the run file, and the files of those that are trained."""
        trained = 0
        for place, rewarding in self.plan.placed_rewards():
            trained += rewarding.feedback is not None
            yield place, rewarding, self.files.reward(trained)

    def reward(self) -> Reward:
        """What the optimizer is to raise: the run's only reward, or all of them as one."""
        parts: list[tuple[Voice, Reward]] = []
        for _, rewarding, files in self.rewards():
            parts.append((rewarding.voice, self._scoring(rewarding.part, rewarding.feedback, files)))
        if len(parts) == 1 and parts[0][0] == Voice(name=parts[0][0].name):
            return parts[0][1]
        return Combined(parts, self.plan.combine) if parts else no_reward

    def jury(self) -> Iterator[tuple[str, Juror, store.Training]]:
        """Each juror with its place in the run file, and where the files lie of those that are trained."""
        for number, (place, juror) in enumerate(self.plan.placed_jury(), start=1):
            yield place, juror, self.files.juror(number)

    def jurors(self) -> dict[str, Reward]:
        """Who is shown the answers beside the judge, by their names."""
        return {juror.name: self._scoring(juror.part, juror.feedback, files) for _, juror, files in self.jury()}

    def _scoring(self, part: Part, feedback: Part | None, files: store.Training) -> Reward:
        """What scores answers: a reward as it is, or what its training deploys."""
        reward = part.made.deploy(self.loaded(files.folder.name, files), Lesson()) if feedback else part.made
        return Scored(self.lent(reward), part.found.full_name)

    def lent(self, reward: Reward, name: str = "reader") -> Reward:
        """A reward that can be asked: one that reads with a model and has none is lent the base."""
        return reward.reading(self.bare(name)) if isinstance(reward, Reading) else reward

    def lesson(self, feedback: Iterable[Feedback], needs: Sequence[str]) -> Lesson:
        """What there is to learn from, for an optimizer with these needs."""
        task = self.plan.task
        prompts = task.made.prompts("train") if task and not isinstance(task.made, Gone) else ()
        return Lesson.of(feedback, prompts=prompts, reward=self.reward() if "reward" in needs else no_reward)


def fresh(name: str, seed: int) -> Callable[[Base], Role]:
    """A seat for a role that begins as the base."""
    return lambda base: role_on(base, name, seed=seed)
