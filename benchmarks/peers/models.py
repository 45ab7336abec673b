"""Random Llamas and a tokenizer of one token per word, so that every length in a benchmark is exactly what was asked for."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHELF = Path(tempfile.gettempdir()) / "alignzoo-peers"

PAD, BOS, EOS, UNKNOWN = range(4)
"""The first ids; word `w7` has the id 7."""


@dataclass(frozen=True)
class Size:
    """The shape of a Llama."""

    name: str
    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int

    @property
    def linear_parameters(self) -> int:
        """Of the trunk: what every token is multiplied with."""
        return self.layers * (4 * self.hidden**2 + 3 * self.hidden * self.inner)

    @property
    def closing_parameters(self) -> int:
        """Of what comes after the attention of one layer: its output projection and the feed-forward block."""
        return self.hidden**2 + 3 * self.hidden * self.inner

    @property
    def head_parameters(self) -> int:
        return self.hidden * self.vocabulary

    @property
    def lora_sides(self) -> int:
        """The sum of the input and output widths of every adapted layer: a LoRA of rank r has r times as many parameters."""
        return self.layers * (3 * 2 * self.hidden + self.closing_sides)

    @property
    def closing_sides(self) -> int:
        return 2 * self.hidden + 3 * (self.hidden + self.inner)


SIZES = {
    size.name: size
    for size in (
        Size("tiny4k", hidden=256, layers=4, heads=4, inner=704, vocabulary=4096),
        Size("tiny32k", hidden=256, layers=4, heads=4, inner=704, vocabulary=32000),
        Size("llama7b", hidden=4096, layers=32, heads=32, inner=11008, vocabulary=32000),
        Size("small32k", hidden=512, layers=6, heads=8, inner=1408, vocabulary=32000),
    )
}


def tokenizer(vocabulary: int) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": PAD, "<s>": BOS, "</s>": EOS, "<unk>": UNKNOWN} | {f"w{i}": i for i in range(4, vocabulary)}
    splitter = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    splitter.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=splitter, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def folder(size: Size) -> Path:
    """Where this model lies on disk, written there on first use."""
    place = SHELF / size.name
    if not (place / "tokenizer_config.json").exists():
        _write(size, place)
    return place


def _write(size: Size, place: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            hidden_size=size.hidden,
            intermediate_size=size.inner,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            num_key_value_heads=size.heads,
            vocab_size=size.vocabulary,
            max_position_embeddings=4096,
            pad_token_id=PAD,
            bos_token_id=BOS,
            eos_token_id=EOS,
            tie_word_embeddings=False,
        )
    )
    model.save_pretrained(place)
    tokenizer(size.vocabulary).save_pretrained(place)
