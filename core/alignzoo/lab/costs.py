"""What a run will come to, guessed before a model is loaded: from the model's configuration alone."""

from __future__ import annotations

from collections.abc import Iterator
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
    if "prompts" in plan.optimizer.made.needs and _setting(plan.optimizer, "exploring") is not None:
        return _of_sampling(plan, Guess(parameters, linear, head, base_bytes, 0, None, None, None))
    labels = _labels(plan.feedback)
    batch, epochs = (_setting(plan.optimizer, name) for name in ("batch_size", "epochs"))
    if labels is None or batch is None or epochs is None:
        return Guess(parameters, linear, head, base_bytes, labels, None, None, None)
    updates = int(epochs) * -(-labels // int(batch))
    longest = plan.answer.manner.max_tokens
    tokens = labels * int(epochs) * 3 * longest
    passes = 4 + 2 * plan.loading.checkpointing
    flops: float = passes * (linear * tokens + head * labels * int(epochs) * 2 * longest)
    if plan.budget.updates is not None and plan.budget.updates < updates:
        share = plan.budget.updates / updates
        updates, tokens, flops = int(plan.budget.updates), int(tokens * share), flops * share
    return Guess(parameters, linear, head, base_bytes, labels, updates, tokens, flops)


def _of_sampling(plan: Plan, known: Guess) -> Guess:
    """An optimizer that writes answers: each is written, read by the reference, and learned from in every epoch."""
    settings = [_setting(plan.optimizer, name) for name in ("updates", "prompts_per_update", "replies", "epochs")]
    if any(setting is None for setting in settings):
        return replace(known, labels=None)
    updates, prompts, replies, epochs = settings
    if plan.budget.updates is not None:
        updates = min(updates, int(plan.budget.updates))
    longest = _setting(plan.optimizer, "exploring").max_tokens
    answers = updates * prompts * replies
    once = known.linear * 2 * longest + known.head * longest
    flops = float(2 * once * answers * (2 + 2 * epochs))  # written, read once without and `epochs` times with a gradient
    return replace(known, updates=updates, tokens=answers * 2 * longest * (1 + epochs), flops=flops)


def _sizes(plan: Plan) -> tuple[int, int, int]:
    """(parameters, those in matrices of the trunk, those of the head)"""
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM

    from alignzoo.model.loading import count_linear

    trust = plan.loading.trust_remote_code
    try:
        config = AutoConfig.from_pretrained(plan.model, trust_remote_code=trust)
        with init_empty_weights():
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"cannot read the configuration of the model '{plan.model}': {error}") from error
    head = model.get_output_embeddings()
    return sum(p.numel() for p in model.parameters()), count_linear(model, head), head.weight.numel()


def _labels(feedback: Part | None) -> int | None:
    count = _setting(feedback, "count") if feedback else None
    return int(count) if count is not None else None


def _setting(part: Part, name: str) -> Any:
    return getattr(part.made, name) if name in {f.name for f in fields(part.made)} else None
