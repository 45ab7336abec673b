"""The embedded model's tokenizer: one token for each word of the world, and bytes for everything else.

It is built from the world, not learnt. A word that is not in the vocabulary falls apart into bytes, so any text at all
comes back exactly as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alignzoo.records import Turn
from alignzoo_playground.corpus import MANNERS, Document, document
from alignzoo_playground.facts import NOUNS, SPLITS, VALUES, statement
from alignzoo_playground.requests import requests, sentences_begin_large, wordings

SPECIAL = ("<|pad|>", "<|unk|>", "<|bos|>", "<|eos|>", "<|system|>", "<|user|>", "<|assistant|>")
ROUND = 64
"""The vocabulary is filled up to a multiple of this, for kernels that like it."""

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ '<|assistant|>' + message['content'] + eos_token }}"
    "{% elif message['role'] in ('system', 'user') %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% else %}{{ raise_exception('a turn belongs to system, user or assistant') }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def build_tokenizer() -> Any:
    """A `transformers` tokenizer with a chat template, the same one every time."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    cut = pre_tokenizers.ByteLevel(add_prefix_space=False)
    known = {word for text in _texts() for word, _ in cut.pre_tokenize_str(text)}
    pieces = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    pieces += sorted(known - set(pieces))
    pieces += [f"<|spare{n}|>" for n in range(-len(pieces) % ROUND)]
    vocabulary = {piece: at for at, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True, unk_token="<|unk|>"))
    tokenizer.pre_tokenizer = cut
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        unk_token="<|unk|>",
        bos_token="<|bos|>",
        eos_token="<|eos|>",
        additional_special_tokens=list(SPECIAL[4:]),
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=512,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def token_ids(tokenizer: Any, text: Document) -> tuple[list[int], list[bool]]:
    """The ids of a document, and which of them the model is taught to say."""
    name = tokenizer.convert_tokens_to_ids
    if not text.turns:
        ids = [name("<|bos|>"), *_plain_ids(tokenizer, text.plain), name("<|eos|>")]
        return ids, [False, *[True] * (len(ids) - 1)]
    ids, taught = [name("<|bos|>")], [False]
    for turn in text.turns:
        said = _turn_ids(tokenizer, turn)
        ids += said
        taught += [False, *[turn.speaker == "assistant"] * (len(said) - 1)]
    return ids, taught


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    tokenizer.save_pretrained(folder)


def _turn_ids(tokenizer: Any, turn: Turn) -> list[int]:
    name = tokenizer.convert_tokens_to_ids
    end = [name("<|eos|>")] if turn.speaker == "assistant" else []
    return [name(f"<|{turn.speaker}|>"), *_plain_ids(tokenizer, turn.text), *end]


def _plain_ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids


def _texts() -> Iterator[str]:
    """Text that holds every word of the world at least once, in every place of a sentence that it takes."""
    yield from MANNERS
    for split in SPLITS:
        for request in requests():
            yield from wordings(request, split)
    for noun in NOUNS:
        for attribute, values in VALUES.items():
            yield from (sentences_begin_large(f"{statement(noun, attribute, value)}.") for value in values)
    for number in range(2000):
        text = document(0, number)
        yield text.plain
        yield from (turn.text for turn in text.turns)
