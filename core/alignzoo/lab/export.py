"""A trained policy as a plain model folder."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from peft.tuners.lora import LoraLayer
from peft.utils.integrations import dequantize_module_weight
from torch import nn
from transformers.pytorch_utils import Conv1D

from alignzoo.lab.folders import RunError
from alignzoo.lab.run import Run
from alignzoo.model.loading import load
from alignzoo.model.role import Role
from alignzoo.model.tensors import told_of


def export(run: Run, folder: Path, *, onto_original: bool = False) -> Path:
    """Merge the policy's adapter into its base. By default into the weights as the adapter saw them in training (dequantized),
    so that the exported model is the trained policy; `onto_original` takes the unquantized weights instead."""
    if folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder} is there already and not empty; choose another folder")
    policy = run.policy()
    if not isinstance(policy, Role):
        maker = run.plan.policy or run.plan.optimizer
        raise RunError(
            f"{maker.found.full_name} deploys a {type(policy).__name__}, which is more than weights: it cannot be "
            "merged into a model folder"
        )
    model, tokenizer = load(run.plan.model, replace(run.plan.loading, quantize="none"))
    merge(policy, model, as_trained=not onto_original)
    draft = folder.with_name(folder.name + ".part")  # there whole or not at all
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with told_of(folder):
            model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        os.replace(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


@torch.no_grad()
def merge(policy: Role, plain: nn.Module, *, as_trained: bool) -> None:
    """Put the policy into a plain copy of its base: every adapted matrix becomes W + B A · alpha/rank. With `as_trained`, W is
    what the quantized base really computes with."""
    trained = dict(policy.base.model.named_modules())
    for name, target in plain.named_modules():
        layer: Any = trained.get(name)
        adapted = isinstance(layer, LoraLayer)
        base_layer = layer.get_base_layer() if adapted else layer
        if not (adapted or isinstance(base_layer, Linear4bit | Linear8bitLt)):
            continue
        turned = isinstance(target, Conv1D)  # GPT-2 keeps its matrices the other way round
        weight = target.weight.t() if turned else target.weight
        if as_trained:
            seen = dequantize_module_weight(base_layer).to(weight)
            weight = seen.t() if isinstance(base_layer, Conv1D) else seen
        if adapted and not policy.bare:
            down, up, scale = (layer.lora_A[policy.name], layer.lora_B[policy.name], layer.scaling[policy.name])
            weight = weight + (up.weight @ down.weight * scale).to(weight)
        target.weight.copy_(weight.t() if turned else weight)
