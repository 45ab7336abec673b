"""The oracle: an independent copy of the model, in plain float matrices, asked about one sequence at a time through
peft's own forward. It shares no code with the packed forest, the lean adapters, the chunked head or the sampler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Quantization
from alignzoo.model.forest import Forest, Tree, plant
from alignzoo.model.loading import _quantization
from alignzoo.model.role import Role

RANK = 4


def ids(count: int, seed: int, vocabulary: int = 64) -> tuple[int, ...]:
    """Some tokens, none of them special."""
    dice = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(7, vocabulary, (count,), generator=dice).tolist())


def pairs() -> Forest:
    return plant([Tree(ids(9, 1), (ids(6, 2), ids(11, 3))), Tree(ids(3, 4), (ids(1, 5), ids(8, 6)))])


def mixed() -> Forest:
    """A group of four, a pair and two single replies, prompts and replies of unequal lengths, one of them one token long."""
    return plant(
        [
            Tree(ids(7, 1), (ids(5, 2), ids(9, 3), ids(1, 4), ids(12, 5))),
            Tree(ids(1, 6), (ids(8, 7),)),
            Tree(ids(13, 8), (ids(6, 9), ids(3, 10))),
            Tree(ids(4, 11), (ids(2, 12),)),
        ]
    )


def stirred(role: Role, seed: int = 0, size: float = 0.1) -> Role:
    """The same role with an adapter that clearly changes the model."""
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, tensor in sorted(role.base.wardrobe.tensors(role.name).items()):
            if ".lora_B." in key:
                tensor.copy_(torch.randn(tensor.shape, generator=dice) * size)
    return role


def gradients(role: Role) -> dict[str, Tensor]:
    """Gradients of an adapter under peft's file keys, and of heads under their own."""
    found = {}
    for key, parameter in role.base.model.named_parameters():
        if f".{role.name}." in key:
            assert parameter.grad is not None, f"no gradient reached {key}"
            found[key.replace(f".{role.name}.", ".")] = parameter.grad.clone()
    for key, parameter in role.heads.named_parameters():
        assert parameter.grad is not None, f"no gradient reached the head {key}"
        found[key] = parameter.grad.clone()
    return found


def close(got: Tensor, wanted: Tensor, tolerance: float = 1e-5) -> bool:
    """Within the tolerance, measured against the largest entry where that is above 1."""
    return bool((got.detach() - wanted.detach()).abs().max() <= tolerance * max(1.0, float(wanted.detach().abs().max())))


@dataclass(frozen=True)
class Plain:
    """The model as peft sees it."""

    model: Any
    heads: dict[str, nn.Linear]

    @classmethod
    def of(cls, folder: Path, adapter: Path, role: Role, quantize: Quantization = "none") -> Plain:
        """A fresh copy from the folder, wearing what `role.save(adapter)` wrote."""
        copy = AutoModelForCausalLM.from_pretrained(folder, quantization_config=_quantization(Loading(quantize=quantize)))
        _dequantize(copy)
        model = PeftModel.from_pretrained(copy, adapter, is_trainable=True).eval()
        heads = {}
        for name, grown in role.heads.items():
            heads[name] = nn.Linear(role.base.width, 1)
            heads[name].load_state_dict({k: v.clone() for k, v in grown.state_dict().items()})
        return cls(model, heads)

    def read(self, prompt: Sequence[int], reply: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the reply's tokens, and the states of the whole sequence."""
        row = torch.tensor([[*prompt, *reply]])
        out = self.model(input_ids=row, attention_mask=torch.ones_like(row), output_hidden_states=True, use_cache=False)
        logps = out.logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        return logps.gather(1, torch.tensor(reply)[:, None])[:, 0], out.hidden_states[-1][0]

    def ask(self, forest: Forest) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities, values and scores of every reply of a forest, one sequence at a time."""
        logps, values, scores = [], [], []
        for tree in forest.trees:
            for reply in tree.replies:
                logp, states = self.read(tree.prompt, reply)
                logps.append(logp)
                if "value" in self.heads:
                    values.append(self.heads["value"](states[len(tree.prompt) - 1 : -1])[:, 0])
                    scores.append(self.heads["score"](states[-1:])[:, 0])
        nothing = [torch.zeros(0)]
        return torch.cat(logps), torch.cat(values or nothing), torch.cat(scores or nothing)

    def gradients(self) -> dict[str, Tensor]:
        found = {
            key.removeprefix("base_model.model.").replace(".default.", "."): parameter.grad
            for key, parameter in self.model.named_parameters()
            if ".lora_" in key
        }
        return found | {f"{n}.{k}": p.grad for n, head in self.heads.items() for k, p in head.named_parameters()}


def _dequantize(model: nn.Module) -> None:
    """Put a plain matrix of the same numbers in the place of every quantized layer."""
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit, Linear8bitLt

    for name, layer in list(model.named_modules()):
        if not isinstance(layer, Linear4bit | Linear8bitLt):
            continue
        if isinstance(layer, Linear4bit):
            weight = dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()
        else:
            weight = layer.weight.CB.float() * layer.weight.SCB.float()[:, None] / 127
        plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
        plain.weight.data = weight.reshape(layer.out_features, layer.in_features)
        if layer.bias is not None:
            plain.bias.data = layer.bias.data.float()
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, plain)
    for attribute in ("is_loaded_in_4bit", "is_loaded_in_8bit", "is_quantized"):
        setattr(model, attribute, False)


def loaded(folder: Path, quantize: Quantization = "none", *, checkpointing: bool = False) -> Base:
    from alignzoo.model.choices import Lora

    return Base.load(str(folder), Loading(quantize=quantize, checkpointing=checkpointing), Lora(rank=RANK, alpha=8.0))
