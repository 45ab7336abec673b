"""Loading a base: which bytes, how quantized, and the guards that every loaded model gets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alignzoo.model.choices import Loading as Loading  # stood here once
from alignzoo.model.choices import Lora as Lora


class ModelError(ValueError):
    """A model that cannot be loaded or used as asked."""


def place_of(how: Loading) -> torch.device:
    """Where the model is to live."""
    if how.device == "cuda" and not torch.cuda.is_available():
        raise ModelError("model.device is 'cuda', but torch sees no GPU here; use 'auto' or 'cpu'")
    return torch.device(how.device if how.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")


def dtype_of(how: Loading) -> torch.dtype:
    """What is computed in."""
    if how.dtype != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[how.dtype]
    gpu = place_of(how).type == "cuda"
    return torch.bfloat16 if gpu and torch.cuda.is_bf16_supported() else torch.float32


def load(path: str, how: Loading) -> tuple[Any, Any]:
    """The model and the tokenizer. Only safetensors are read."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    trust = {"trust_remote_code": how.trust_remote_code}
    place = {"": str(place_of(how))}
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **trust)
        model = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=dtype_of(how),
            device_map=place,
            quantization_config=_quantization(how),
            attn_implementation="sdpa" if _has_sdpa(path, trust) else None,
            use_safetensors=True,
            **trust,
        )
    except (OSError, ValueError, AssertionError, RuntimeError, KeyError, ImportError) as error:
        raise ModelError(f"cannot load the model '{path}' ({how.quantize}): {error}") from error
    if how.quantize != "none":
        _prove_layers(model, how)
    return model, tokenizer


def configured(path: str, how: Loading) -> Any:
    """The configuration of a model; an error where there is none to be had."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(path, trust_remote_code=how.trust_remote_code)
    except (OSError, ValueError, KeyError) as error:
        here = "" if Path(path).exists() else "; there is no folder of that name here either"
        raise ModelError(f"cannot read the configuration of the model '{path}': {error}{here}") from error


def _has_sdpa(path: str, trust: dict[str, bool]) -> bool:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(path, **trust)
    try:
        kind = AutoModelForCausalLM._model_mapping[type(config)]
    except KeyError:
        return False
    return bool(getattr(kind, "_supports_sdpa", False))


def _quantization(how: Loading) -> Any:
    from transformers import BitsAndBytesConfig

    if how.quantize == "none":
        return None
    if how.quantize == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=how.double_quant,
        bnb_4bit_compute_dtype=dtype_of(how),
    )


def quantized_layers(model: nn.Module) -> list[tuple[str, Any]]:
    from bitsandbytes.nn import Linear4bit, Linear8bitLt

    return [(name, layer) for name, layer in model.named_modules() if isinstance(layer, Linear4bit | Linear8bitLt)]


def guard_quantized_layers(model: nn.Module) -> None:
    """On a CPU, bitsandbytes goes other ways in eval mode, without an error, and neither may ever be taken. With AVX512-BF16
    the first such pass repacks 4-bit weights; from then on gradients are wrong (cosine 0.25–0.41) and saved weights are
    damaged. 8-bit layers round the activations, too, by columns chosen from the whole batch, so that log-probabilities of a
    reply depend on its neighbours (by half a nat on a small model)."""
    from bitsandbytes.nn import Linear8bitLt

    for _, layer in quantized_layers(model):
        layer.support_avx512bf16_for_cpu = False
        layer.training = isinstance(layer, Linear8bitLt) and layer.weight.device.type == "cpu"


def _prove_layers(model: nn.Module, how: Loading) -> None:
    """Try one row through every quantized layer, forward and backward; name the one whose shape the kernel cannot take."""
    guard_quantized_layers(model)
    model.requires_grad_(False)
    for name, layer in quantized_layers(model):
        row = torch.zeros(1, 2, layer.in_features, dtype=dtype_of(how), device=layer.weight.device)
        try:
            with torch.enable_grad():
                layer(row.requires_grad_()).sum().backward()
        except (AssertionError, RuntimeError, ValueError) as error:
            raise ModelError(
                f"the {how.quantize} kernel cannot take the layer '{name}' "
                f'({layer.in_features} → {layer.out_features}): {error}. Load with quantize = "none", '
                "or pad the layer to a multiple of 64"
            ) from error


def switch_dropout_off(model: nn.Module) -> None:
    """Alignment compares log-probabilities of the same text between passes: with dropout every ratio is wrong."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def unheard(layer: nn.Module, checkpoint: Callable[..., Any]) -> Callable[..., Any]:
    """`training` opens the door to the recomputation of a layer, and must go no further: inside, some layers (OPT's,
    Falcon's) apply a dropout that is no module."""

    def run(forward: Callable[..., Any], *inputs: Any) -> Any:
        layer.training = False
        try:
            return checkpoint(forward, *inputs)
        finally:
            layer.training = True

    return run


def repeated_layers(model: nn.Module) -> list[Any]:
    """The decoder layers: what activation checkpointing recomputes."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


def linear_names(model: nn.Module, head: nn.Module) -> list[str]:
    """What to adapt: every linear layer but the head, by the last part of its name, as serving programs expect, where that
    means the same layers. (peft's own "all-linear" means the fused experts of a mixture, too, which are no layers.)"""
    from transformers.pytorch_utils import Conv1D

    layers = {key for key, layer in model.named_modules() if isinstance(layer, nn.Linear | Conv1D) and layer is not head}
    short = {key.rpartition(".")[2] for key in layers}
    meant = {key for key, _ in model.named_modules() if key.rpartition(".")[2] in short}
    return sorted(short if meant == layers else layers)


def count_linear(model: nn.Module, head: nn.Module) -> int:
    """Parameters of the matrices that every token passes through, quantized or not; embeddings and head apart."""
    from transformers.pytorch_utils import Conv1D

    count = 0
    for module in model.modules():
        if isinstance(module, Conv1D):
            count += module.weight.numel()
        elif isinstance(module, nn.Linear) and module is not head:
            count += module.in_features * module.out_features
    return count


def attention_width(model: Any) -> int:
    """Heads times their width, summed over the layers: what a pair of tokens that see each other costs."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", 0) or 0
    head_width = getattr(config, "head_dim", None) or (config.hidden_size // heads if heads else 0)
    return int(config.num_hidden_layers * heads * head_width)


def checksum(model: nn.Module) -> int:
    """A number that changes with any bit of the frozen weights, cheap enough to take while a run goes. Adapters are left
    out."""
    total = 0
    for tensor in _frozen(model):
        flat = tensor.detach().contiguous().view(-1).view(torch.uint8)
        words = len(flat) // 4 * 4
        whole, rest = flat[:words].view(torch.int32).sum(dtype=torch.int64), flat[words:].sum(dtype=torch.int64)
        total = (total * 31 + int(whole) + 7 * int(rest)) % (2**61 - 1)
    return total


def _frozen(model: nn.Module) -> list[torch.Tensor]:
    weights = [p for name, p in model.named_parameters() if ".lora_" not in name]
    states = [getattr(weight, "quant_state", None) for weight in weights]
    return [*weights, *(state.absmax for state in states if state is not None)]
