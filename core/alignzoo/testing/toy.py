"""A toy base: a random two-layer Llama with a tokenizer of whole words, made in milliseconds from a seed.

    base = toy_base()
    policy = policy_on(base)
    policy.sample([Prompt.ask("is the cat small")])

Its weights are spread wide, so that different texts have clearly different log-probabilities, adapters move them visibly,
and a wrong position, mask or role shows in the numbers. It knows nothing: what it can be taught in a test is to prefer
some words to others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from alignzoo.model.base import Base
from alignzoo.model.choices import Lora
from alignzoo.model.text import Text

WORDS: tuple[str, ...] = tuple(
    "yes no maybe please thanks sorry good bad kind rude true false the a is not and or but because so "
    "cat dog bird fish tree house river stone sun moon small big red blue green old new fast slow "
    "i you we they can will ask tell help hurt know think say why how what where".split()
)
"""What the toy tokenizer knows besides its special tokens; every other word is <unk>."""

_SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>", "<system>", "<user>", "<assistant>")

_TEMPLATE = (
    "{{ bos_token }}{% for turn in messages %} <{{ turn['role'] }}> {{ turn['content'] }}"
    "{% if turn['role'] == 'assistant' %} {{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} <assistant>{% endif %}"
)


def toy_tokenizer(*, template: str | None = _TEMPLATE) -> Any:
    """One token for each word between spaces. `template` None leaves it without a chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate((*_SPECIAL, *WORDS))}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    named = {f"{name}_token": f"<{name}>" for name in ("pad", "bos", "eos", "unk")}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, **named)
    tokenizer.chat_template = template
    return tokenizer


def toy_model(*, seed: int = 0) -> Any:
    """Two layers of width 64 with a context of 128, in float32. No global random state is touched."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(_SPECIAL) + len(WORDS),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def toy_base(*, seed: int = 0, lora: Lora = Lora(rank=4, alpha=8.0), checkpointing: bool = False) -> Base:
    """The toy model as a base, in memory and not quantized."""
    tokenizer = toy_tokenizer()
    return Base(toy_model(seed=seed), Text.of(tokenizer, context=128), lora, checkpointing=checkpointing)


def toy_folder(folder: Path, *, seed: int = 0) -> Path:
    """The toy model and tokenizer on disk, for `Base.load` (which can quantize it)."""
    toy_model(seed=seed).save_pretrained(folder)
    toy_tokenizer().save_pretrained(folder)
    return folder
