"""The tokenizer: one token for each node, and nothing between them."""

from __future__ import annotations

from typing import Any

from alignzoo_random_walks.walks import LETTERS

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
PAD, BOS, EOS, UNKNOWN = range(len(SPECIAL))


def build_tokenizer() -> Any:
    """A `transformers` tokenizer. It adds nothing to a text: a prompt of one letter is one token."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {piece: place for place, piece in enumerate((*SPECIAL, *LETTERS))}
    letters = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL[UNKNOWN]))
    letters.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    letters.decoder = decoders.Fuse()
    named = {f"{name.strip('<>')}_token": name for name in SPECIAL}
    return PreTrainedTokenizerFast(tokenizer_object=letters, clean_up_tokenization_spaces=False, **named)
