"""What a run will come to, guessed before a model is loaded: from the model's configuration alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from alignzoo.lab.plan import Part, Plan
from alignzoo.model.loading import ModelError, dtype_of


@dataclass(frozen=True)
class Guess:
    """The estimated cost of a run, as if every prompt and every answer were as long as answers may be."""

    parameters: int
    linear: int
    head: int
    base_bytes: int
    labels: int | None
    updates: int | None
    tokens: int | None
    flops: float | None

    def lines(self) -> Iterator[str]:
        yield f"base        {self.parameters:,} parameters, {self.base_bytes / 2**20:,.1f} MiB of weights as loaded"
        if self.labels is None or self.updates is None or self.tokens is None or self.flops is None:
            yield "training    not known beforehand: it depends on how much feedback there is, or on what will be drawn"
            return
        yield f"labels      {self.labels:,}"
        yield f"updates     {self.updates:,}"
        yield f"tokens      about {self.tokens:,} read by the policy in updates, if texts are as long as answers may be"
        yield f"FLOPs       about {self.flops:.2g} in updates"


def guess(plan: Plan) -> Guess:
    """Count the model's matrices on the meta device, and multiply by what the plan asks for."""
    parameters, linear, head = _sizes(plan)
    full = 4 if dtype_of(plan.loading).itemsize == 4 else 2
    bits: dict[str, float] = {"nf4": 4.5, "int8": 8, "none": 8 * full}
    base_bytes = int(linear * bits[plan.loading.quantize] / 8 + (parameters - linear) * full)
    labels, updates = foreseen(plan)
    known = Guess(parameters, linear, head, base_bytes, labels, updates, None, None)
    if updates is None:
        return known
    if _samples(plan.optimizer):
        return _of_sampling(plan, known, updates)
    whole = foreseen(replace(plan, budget=replace(plan.budget, updates=None)))[1] or 1  # a budget may end it earlier
    share, longest = updates / whole, plan.answer.manner.max_tokens
    dealt = int(labels or 0) * int(_setting(plan.optimizer, "epochs"))
    passes = 4 + 2 * plan.loading.checkpointing
    flops: float = passes * (linear * dealt * 3 * longest + head * dealt * 2 * longest)
    return replace(known, tokens=int(dealt * 3 * longest * share), flops=flops * share)


def foreseen(plan: Plan) -> tuple[int | None, int | None]:
    """How many labels and updates a training comes to, if no budget but that of updates ends it; None for what is not known
    beforehand."""
    if _samples(plan.optimizer):
        settings = [_setting(plan.optimizer, name) for name in ("updates", "prompts_per_update", "replies", "epochs")]
        return (None, None) if None in settings else (0, _at_most(settings[0], plan))
    labels = _labels(plan.feedback)
    batch, epochs = (_setting(plan.optimizer, name) for name in ("batch_size", "epochs"))
    if labels is None or batch is None or epochs is None:
        return labels, None
    return labels, _at_most(int(epochs) * -(-labels // int(batch)), plan)


def updates_in_all(plan: Plan, spent: Mapping[str, float]) -> int | None:
    """How many updates a training will have made: as many as the optimizer makes, or until the first limit of the budget is
    reached, if all cost what those that were `spent` did. As many labels as there are records stop nothing."""
    (labels, updates), limits = foreseen(plan), plan.budget.limits()
    if labels is not None and limits.get("labels", 0) >= labels:
        limits.pop("labels", None)
    each = {name: spent[name] / max(1, spent["updates"]) for name in ("updates", "labels", "flops", "seconds")}
    each["tokens"] = (spent["read"] + spent["written"]) / max(1, spent["updates"])
    known = [math.ceil(limit / each[name]) for name, limit in limits.items() if each[name]]
    return min([*known, *([] if updates is None else [updates])], default=None)


def _samples(optimizer: Part) -> bool:
    """Whether it writes the answers that it learns from."""
    return "prompts" in optimizer.made.needs and _setting(optimizer, "exploring") is not None


def _at_most(updates: int, plan: Plan) -> int:
    return updates if plan.budget.updates is None else min(updates, int(plan.budget.updates))


def _of_sampling(plan: Plan, known: Guess, updates: int) -> Guess:
    """An optimizer that writes answers: each is written, read by the reference, and learned from in every epoch."""
    prompts, replies, epochs = (_setting(plan.optimizer, name) for name in ("prompts_per_update", "replies", "epochs"))
    longest = _setting(plan.optimizer, "exploring").max_tokens
    answers = updates * prompts * replies
    once = known.linear * 2 * longest + known.head * longest
    flops = float(2 * once * answers * (2 + 2 * epochs))  # written, read once without and `epochs` times with a gradient
    return replace(known, tokens=answers * 2 * longest * (1 + epochs), flops=flops)


def _sizes(plan: Plan) -> tuple[int, int, int]:
    """(parameters, those in matrices of the trunk, those of the head)"""
    from accelerate import init_empty_weights
    from transformers import AutoModelForCausalLM

    from alignzoo.model.loading import configured, count_linear

    config = configured(plan.model, plan.loading)
    try:
        with init_empty_weights():
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=plan.loading.trust_remote_code)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"cannot read the configuration of the model '{plan.model}': {error}") from error
    head = model.get_output_embeddings()
    return sum(p.numel() for p in model.parameters()), count_linear(model, head), head.weight.numel()


def _labels(feedback: Part | None) -> int | None:
    count = _setting(feedback, "count") if feedback else None
    return int(count) if count is not None else None


def _setting(part: Part, name: str) -> Any:
    return getattr(part.made, name) if name in {f.name for f in fields(part.made)} else None
