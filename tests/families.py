"""Tiny random models of many families, as folders that `Base.load` reads. Weights are spread wide (0.3), so that a wrong
position, mask or adapter shows in the log-probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

CONTEXT = 64
WINDOW = 5

_SHARED = {"vocab_size": 64, "initializer_range": 0.3, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_LLAMA = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
}
_SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", _LLAMA),
    "qwen2": ("Qwen2Config", _LLAMA),
    "qwen3": ("Qwen3Config", {**_LLAMA, "head_dim": 16}),
    "mistral": ("MistralConfig", {**_LLAMA, "sliding_window": WINDOW}),
    "gpt2": ("GPT2Config", {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT}),
    "gpt_neox": (
        "GPTNeoXConfig",
        {k: v for k, v in _LLAMA.items() if k != "num_key_value_heads"},
    ),
    "opt": (
        "OPTConfig",
        {
            "hidden_size": 64,
            "ffn_dim": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": CONTEXT,
            "word_embed_proj_dim": 64,
        },
    ),
    "mixtral": ("MixtralConfig", {**_LLAMA, "num_local_experts": 4}),
    "qwen3_moe": (
        "Qwen3MoeConfig",
        {**_LLAMA, "head_dim": 16, "num_experts": 4, "moe_intermediate_size": 32, "num_experts_per_tok": 2},
    ),
    "lfm2": ("Lfm2Config", {**_LLAMA, "layer_types": ["conv", "full_attention"]}),
    "recurrent_gemma": (
        "RecurrentGemmaConfig",
        {**_LLAMA, "num_hidden_layers": 3, "lru_width": 64, "attention_window_size": WINDOW},
    ),
    "bloom": ("BloomConfig", {"hidden_size": 64, "n_layer": 2, "n_head": 4}),
    "gemma2": (
        "Gemma2Config",
        {**_LLAMA, "head_dim": 16, "sliding_window": WINDOW, "query_pre_attn_scalar": 16, "final_logit_softcapping": 3.0},
    ),
}

PACKED = ("llama", "qwen2", "qwen3", "mistral", "gpt2", "gpt_neox", "opt", "mixtral", "qwen3_moe")
"""Families whose attention can be replaced."""
ROWED = ("bloom", "gemma2", "lfm2", "recurrent_gemma")
"""Families that fall back to one row per reply: Bloom's attention stands outside transformers' interface, Gemma 2's has
soft caps, and the last two have layers that are no attention."""
LINEAR = {"gpt2": 8, "gpt_neox": 8, "bloom": 8, "opt": 12, "mixtral": 8, "qwen3_moe": 8, "lfm2": 12, "recurrent_gemma": 19}
"""Linear layers of the model without its head; fourteen where nothing is said. The matrices of fused experts are none."""


def write(name: str, folder: Path) -> Path:
    """A random model of this family, with the toy tokenizer."""
    import transformers

    from alignzoo.testing import toy_tokenizer

    kind, settings = _SETTINGS[name]
    config = getattr(transformers, kind)(**_SHARED, **settings)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config)
        for key, parameter in model.named_parameters():
            if key.endswith("bias") or "norm" in key or "ln_" in key:  # initialized to 0 and 1, which would hide mistakes
                parameter.data += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    toy_tokenizer().save_pretrained(folder)
    return folder
