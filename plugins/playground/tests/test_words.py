"""The tokenizer: nothing is lost, and what the core builds from records is what the model was taught on."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignzoo.records import Turn
from alignzoo_playground.corpus import document
from alignzoo_playground.embedded import PlaygroundModel
from alignzoo_playground.facts import SPLITS
from alignzoo_playground.requests import requests, wordings
from alignzoo_playground.words import build_tokenizer, token_ids


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(PlaygroundModel().folder())


def texts_of(document):
    return [document.plain] if document.plain else [turn.text for turn in document.turns]


def back(tokenizer, text):
    return tokenizer.decode(tokenizer.encode(text, add_special_tokens=False), skip_special_tokens=True)


def test_the_shipped_tokenizer_is_the_one_that_the_recipe_builds(tokenizer):
    """The other tests ask the shipped one; what is built must be the same in every word, cut and template."""
    built = build_tokenizer()
    assert built.get_vocab() == tokenizer.get_vocab()
    assert built.chat_template == tokenizer.chat_template
    assert built.special_tokens_map == tokenizer.special_tokens_map
    for text in ("Sure, the tent belongs to Grace.", "  odd  spacing\n and ünknown words 42"):
        assert built.encode(text, add_special_tokens=False) == tokenizer.encode(text, add_special_tokens=False)


def test_world_text_comes_back_exactly(tokenizer):
    texts = [text for number in range(1500) for text in texts_of(document(7, number))]
    texts += [text for split in SPLITS for request in requests(split) for text in wordings(request, split)]
    assert len(texts) > 4000
    for text in texts:
        assert back(tokenizer, text) == text


def test_a_world_word_is_one_token(tokenizer):
    said = "Sure, the tent belongs to Grace. What a stupid question."
    assert len(tokenizer.encode(said, add_special_tokens=False)) == 13


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
@settings(max_examples=100, deadline=None)
def test_any_text_comes_back_exactly(text, tokenizer):
    if "<|" not in text:
        assert back(tokenizer, text) == text


def test_special_tokens_are_distinct(tokenizer):
    special = [tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id]
    assert None not in special
    assert len(set(special)) == 4
    assert len(tokenizer) <= 1024
    assert len(tokenizer) % 64 == 0


def test_the_chat_template_gives_the_ids_of_pre_training(tokenizer):
    for number in range(400):
        text = document(7, number)
        if text.turns:
            chat = [{"role": turn.speaker, "content": turn.text} for turn in text.turns]
            ids = tokenizer.apply_chat_template(chat, tokenize=True, return_dict=False)
            assert ids == token_ids(tokenizer, text)[0]


def test_prompt_and_reply_apart_give_the_ids_of_pre_training(tokenizer):
    for number in range(400):
        text = document(7, number)
        if not text.turns:
            continue
        *before, reply = [{"role": turn.speaker, "content": turn.text} for turn in text.turns]
        shown = tokenizer.apply_chat_template(before, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(shown, add_special_tokens=False)["input_ids"]
        ids = ids + tokenizer(reply["content"], add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
        whole, taught = token_ids(tokenizer, text)
        assert ids == whole
        assert taught[-1]


def test_only_what_the_assistant_says_is_taught(tokenizer):
    from alignzoo_playground.corpus import Document

    turns = (Turn("system", "You are a helpful assistant."), Turn("user", "Hello!"), Turn("assistant", "It is red."))
    ids, taught = token_ids(tokenizer, Document(turns))
    said = [token for token, mine in zip(ids, taught, strict=True) if mine]
    assert tokenizer.decode(said) == "It is red.<|eos|>"


def test_an_unknown_speaker_is_refused(tokenizer):
    with pytest.raises(Exception, match="a turn belongs to system, user or assistant"):
        tokenizer.apply_chat_template([{"role": "tool", "content": "x"}], tokenize=False)
