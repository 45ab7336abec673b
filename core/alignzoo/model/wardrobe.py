"""The adapters of one base: peft injects them and owns their configuration and file format; a lean forward of ours wears them.

Which adapter is worn is one attribute in shared state (`Worn`), read by every adapted layer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from alignzoo.model.choices import Lora
from alignzoo.model.loading import ModelError, linear_names
from alignzoo.model.lora import Pair, adapted
from alignzoo.model.tail import Tail


@dataclass
class Worn:
    """Which adapter is worn now; None is the bare base."""

    name: str | None = None


class Wardrobe:
    """Every adapter over one model. All have the same shape."""

    def __init__(self, model: Any, lora: Lora, worn: Worn, tail: Tail) -> None:
        self.model, self.lora, self.worn, self.tail = model, lora, worn, tail
        self.targets = lora.targets or tuple(linear_names(model, model.get_output_embeddings()))
        self.peft: PeftModel | None = None

    def shape(self) -> LoraConfig:
        shape = LoraConfig(r=self.lora.rank, lora_alpha=self.lora.alpha, lora_dropout=0.0, target_modules=list(self.targets))
        shape.task_type = "CAUSAL_LM"
        shape.base_model_name_or_path = getattr(self.model.config, "_name_or_path", "")
        return shape

    def add(self, name: str, seed: int) -> list[nn.Parameter]:
        """Inject an adapter that changes nothing yet, and return its parameters. No global random state is touched."""
        head = self.model.get_output_embeddings()
        named = [name for name, module in self.model.named_modules() if module is head and name.split(".")[-1] in self.targets]
        if named:
            raise ModelError(f"the head '{named[0]}' stays as it is; leave it out of model.lora.targets")
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            try:
                if self.peft is None:
                    self.peft = PeftModel(self.model, self.shape(), adapter_name=name)
                else:
                    self.peft.add_adapter(name, self.shape())
            except (ValueError, RuntimeError) as error:  # no such layer; no memory for so large a rank
                raise ModelError(
                    f"no adapter of rank {self.lora.rank} can be put on {', '.join(self.targets)}; set model.lora.targets or "
                    f"model.lora.rank: {error}"
                ) from error
        found = {key: layer for key, layer in self.model.named_modules() if isinstance(layer, LoraLayer)}
        if odd := [key for key, layer in found.items() if not isinstance(layer.base_layer, nn.Linear | Conv1D)]:
            raise ModelError(f"'{odd[0]}' is no linear layer, so no adapter can be worn over it; set other model.lora.targets")
        for layer in found.values():
            self._wire(layer, name)
        return [half[name].weight for layer in found.values() for half in (layer.lora_A, layer.lora_B) if name in half]

    def remove(self, name: str) -> None:
        """Take an adapter away for good."""
        assert self.peft is not None
        for layer in self.model.modules():
            if isinstance(layer, LoraLayer):
                layer.__dict__["_alignzoo_pairs"].pop(name, None)
                for adapters in (layer.lora_A, layer.lora_B, layer.lora_dropout):
                    adapters.pop(name)
        del self.peft.peft_config[name]
        # peft asks after the adapter that it believes active whenever another is added.
        self.peft.base_model.active_adapter = list(self.peft.peft_config)[:1]

    def config(self, name: str) -> LoraConfig:
        """What peft needs to know of an adapter to load it elsewhere."""
        assert self.peft is not None
        written: LoraConfig = replace(self.peft.peft_config[name], inference_mode=True)
        written.target_modules = sorted(self.targets)
        return written

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The adapter in peft's own key format."""
        state: dict[str, Tensor] = get_peft_model_state_dict(self.peft, adapter_name=name)
        return state

    def load(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Give an adapter these values, which must be of its very shape."""
        own = self.tensors(name)
        if set(own) != set(tensors) or any(own[key].shape != tensors[key].shape for key in own):
            odd = sorted(set(own) ^ set(tensors)) or [key for key in own if own[key].shape != tensors[key].shape]
            raise ModelError(
                f"this adapter is of another shape or base: first difference at '{odd[0]}'; load it with the [model] and "
                "[model.lora] settings it was trained with"
            )
        with torch.no_grad():
            for key, tensor in own.items():
                tensor.copy_(tensors[key])

    def _wire(self, layer: Any, name: str) -> None:
        """Give an injected layer the lean forward: one `addmm` on the output of the base layer, scaled on the rank side."""
        pairs: dict[str, Pair] | None = layer.__dict__.get("_alignzoo_pairs")
        if pairs is None:
            pairs = layer.__dict__["_alignzoo_pairs"] = {}
            layer.forward = _lean_forward(layer.base_layer, pairs, self.worn, self.tail)
        if name in layer.lora_A:
            pairs[name] = Pair(layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name])


def pair_on(layer: nn.Module, name: str | None) -> Pair | None:
    """The adapter of this name over a layer, if there is one."""
    pairs: dict[str | None, Pair] = layer.__dict__.get("_alignzoo_pairs", {})
    return pairs.get(name)


def under(layer: Any) -> Any:
    """The frozen layer that adapters are worn over."""
    return layer.base_layer if isinstance(layer, LoraLayer) else layer


def _lean_forward(base_layer: nn.Module, pairs: dict[str, Pair], worn: Worn, tail: Tail) -> Callable[[Tensor], Tensor]:
    def whole(x: Tensor) -> Tensor:
        pair = pairs.get(worn.name) if worn.name is not None else None
        y: Tensor = base_layer(x) if pair is None else adapted(base_layer, x, pair)
        return y

    def forward(x: Tensor) -> Tensor:
        return tail.through(whole, x)

    return forward
