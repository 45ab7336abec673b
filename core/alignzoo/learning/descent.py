"""Gradient descent on roles: micro-batches that are exactly one batch, clipping and schedules, kept out of the algorithms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal, Protocol, Self, TypeVar

import torch
from annotated_types import Ge, Gt, Interval, Le
from torch import Tensor, nn

from alignzoo.interfaces import Metrics
from alignzoo.learning import canaries
from alignzoo.learning.memory import State, track
from alignzoo.limits import check_settings
from alignzoo.model.role import Role


class DescentError(ValueError):
    """A descent that cannot be made as asked."""


@dataclass(frozen=True)
class Loss:
    """A sum, the number of things it is a sum over, and what to tell the reader about them (sums and counts, too).

    Sums and counts, never means: a mean of the micro-batches' means is not the mean of the batch."""

    total: Tensor
    count: int
    told: dict[str, tuple[Tensor, int]] = field(default_factory=dict)

    @classmethod
    def over(cls, losses: Tensor, **told: Tensor) -> Loss:
        """The loss whose mean over the whole batch is to fall: one entry per token, reply or pair. Each of `told` is averaged
        over its own entries."""
        sums = {name: (values.detach().float().sum(), values.numel()) for name, values in told.items()}
        return cls(losses.sum(), losses.numel(), sums)


class Splittable(Protocol):
    """A batch that comes apart into micro-batches of at most so many tokens."""

    def __len__(self) -> int: ...

    def split(self, limit: int) -> Iterator[Self]: ...


B = TypeVar("B", bound=Splittable)


@dataclass(frozen=True)
class Descent:
    """How roles are moved. AdamW, with the learning rate warmed up and then let down."""

    lr: Annotated[float, Gt(0)] = 1e-4
    """The highest learning rate."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the rate goes after the warm-up: stays, or falls to zero over the planned updates."""
    warmup: Annotated[int, Ge(0)] = 0
    """Updates over which the rate rises to its highest."""
    clip: Annotated[float, Gt(0), Le(math.inf)] = 1.0
    """The largest norm of a gradient, over all roles together; inf clips none."""
    weight_decay: Annotated[float, Ge(0)] = 0.0
    """AdamW's decoupled decay."""
    beta1: Annotated[float, Interval(ge=0, lt=1)] = 0.9
    """AdamW's β₁."""
    beta2: Annotated[float, Interval(ge=0, lt=1)] = 0.999
    """AdamW's β₂."""
    eps: Annotated[float, Gt(0)] = 1e-8
    """AdamW's ε."""
    optimizer: Literal["adamw", "paged_adamw_8bit"] = "adamw"
    """The paged 8-bit AdamW of bitsandbytes keeps its state in 8 bits, on a GPU only."""
    micro_tokens: Annotated[int, Ge(1)] = 8192
    """The most packed tokens in one forward pass; the update is the same for every value."""

    def __post_init__(self) -> None:
        check_settings(self)

    def on(self, *roles: Role, updates: int = 0) -> Step:
        """Make the step that trains these roles together. `updates` is how many are planned, for the schedule."""
        if self.schedule != "constant" and updates < 1:
            raise DescentError(f"the schedule '{self.schedule}' needs to know how many updates are planned")
        return Step(self, roles, updates)

    def rate(self, update: int, planned: int) -> float:
        """The learning rate of update 0, 1, 2, …, as a share of the highest."""
        if update < self.warmup:
            return (update + 1) / (self.warmup + 1)
        if self.schedule == "constant":
            return 1.0
        gone = min(1.0, (update - self.warmup) / max(1, planned - self.warmup))
        return 1.0 - gone if self.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * gone))


class Step:
    """One update over a batch of any size, in micro-batches, exactly as if it had been done at once."""

    def __init__(self, how: Descent, roles: tuple[Role, ...], planned: int) -> None:
        self.how, self.roles, self.planned = how, roles, planned
        self.parameters: list[nn.Parameter] = [p for role in roles for p in role.parameters()]
        if not self.parameters:
            raise DescentError("nothing to train: none of these roles is trained")
        self.updates = 0
        self.adam = _adam(how, self.parameters)
        track(self)

    def __call__(self, loss_of: Callable[[B], Loss], batch: B) -> Metrics:
        """Move the roles against the gradient of the mean loss over the batch, and tell what was seen on the way."""
        canaries.before_update(self.roles, loss_of, batch)
        self.adam.zero_grad(set_to_none=True)  # what others may have left
        total, count = 0.0, 0
        told: dict[str, list[float]] = {}
        with canaries.gradients(self.roles) as before:
            for micro in batch.split(self.how.micro_tokens):
                loss = loss_of(micro)
                loss.total.backward()  # type: ignore[no-untyped-call]
                total, count = total + float(loss.total.detach()), count + loss.count
                for name, (value, entries) in loss.told.items():
                    so_far = told.setdefault(name, [0.0, 0.0])
                    so_far[0], so_far[1] = so_far[0] + float(value), so_far[1] + entries
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad /= count
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, self.how.clip))
        canaries.finite(total / count, norm)
        rate = self.how.lr * self.how.rate(self.updates, self.planned)
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        self.updates += 1
        canaries.after_update(self.roles, norm, before)
        means = {name: value / entries for name, (value, entries) in told.items() if entries}
        return {"loss": total / count, **means, "grad_norm": norm, "lr": rate}

    def state(self) -> State:
        state: State = {"updates": self.updates}
        for number, parameter in enumerate(self.parameters):
            for key, value in self.adam.state.get(parameter, {}).items():
                state[f"{number}.{key}"] = value
        return state

    def restore(self, state: State) -> None:
        self.updates = state["updates"]
        for key, value in state.items():
            number, dot, name = key.partition(".")
            if dot:
                parameter = self.parameters[int(number)]
                self.adam.state[parameter][name] = value.to(parameter.device) if isinstance(value, Tensor) else value


def _adam(how: Descent, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    settings = {"lr": how.lr, "betas": (how.beta1, how.beta2), "eps": how.eps, "weight_decay": how.weight_decay}
    if how.optimizer == "adamw":
        return torch.optim.AdamW(parameters, fused=True, **settings)  # type: ignore[arg-type]
    if parameters[0].device.type != "cuda":
        raise DescentError('paged_adamw_8bit needs a CUDA GPU; use optimizer = "adamw"')
    from bitsandbytes.optim import PagedAdamW8bit

    paged: torch.optim.Optimizer = PagedAdamW8bit(parameters, **settings)
    return paged
