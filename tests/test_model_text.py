"""From turns to ids and back: one BOS, an end token in the loss, cuts at the beginning of a prompt and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from logging.handlers import BufferingHandler
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from alignzoo.model.text import Text, TextError
from alignzoo.records import Comparison, Completion, Prompt, Turn
from alignzoo.testing import WORDS, toy_tokenizer

BOS, EOS, UNK, USER, ASSISTANT = 1, 2, 3, 5, 6
ASK = Prompt.ask("is the cat small")
CAT = [toy_tokenizer().convert_tokens_to_ids(word) for word in ("is", "the", "cat", "small")]


def word(text: str) -> tuple[int, ...]:
    return tuple(toy_tokenizer().convert_tokens_to_ids(text.split()))


def beginning(*, template: str | None = None) -> Any:
    """A tokenizer that itself puts BOS before a text, as Llama's does."""
    tokenizer = toy_tokenizer(template=template) if template else toy_tokenizer(template=None)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS)])
    assert tokenizer("cat")["input_ids"][0] == BOS
    return tokenizer


def bytes_and_merges() -> Any:
    """A BPE that would merge "a" and "b" across the boundary between prompt and reply."""
    letters = ["<eos>", "a", "b", "c", "Ġ", "ab", "Ċ", ":"]
    rest = [c for c in sorted(pre_tokenizers.ByteLevel.alphabet()) if c not in letters]
    bpe = Tokenizer(models.BPE({t: i for i, t in enumerate([*letters, *rest])}, [("a", "b")]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<eos>")


# Templates -----------------------------------------------------------------------------------------------------------


def test_the_tokenizers_own_chat_template_is_used_where_there_is_one() -> None:
    text = Text.of(toy_tokenizer())
    assert text.template == "chat"
    assert text.prompt_ids(ASK) == (BOS, USER, *CAT, ASSISTANT)


def test_without_one_the_stated_default_is_a_dialogue() -> None:
    text = Text.of(toy_tokenizer(template=None))
    assert text.template == "dialogue"
    talk = Prompt((Turn("system", "help"), Turn("user", "why"), Turn("assistant", "so"), Turn("user", "how")))
    assert text.written(talk) == "help\n\nHuman: why\n\nAssistant: so\n\nHuman: how\n\nAssistant:"


def test_plain_is_the_turns_and_nothing_else() -> None:
    assert Text.of(toy_tokenizer(), "plain").written(Prompt((Turn("user", "the "), Turn("user", "cat")))) == "the cat"


@pytest.mark.parametrize(
    ("tokenizer", "template", "said"),
    [
        (toy_tokenizer(), "chatty", "no template named 'chatty'; there are auto, chat, dialogue, plain"),
        (toy_tokenizer(template=None), "chat", 'this tokenizer has no chat template; use template = "dialogue" or "plain"'),
    ],
)
def test_a_template_that_cannot_be_is_refused(tokenizer: Any, template: str, said: str) -> None:
    with pytest.raises(TextError, match=said):
        Text.of(tokenizer, template)


def test_a_tokenizer_without_an_end_is_refused() -> None:
    tokenizer = toy_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(TextError, match="no end-of-sequence token, so no reply could ever end"):
        Text.of(tokenizer)


def test_what_a_chat_template_refuses_is_told() -> None:
    text = Text.of(toy_tokenizer(template="{{ raise_exception('roles must alternate') }}"))
    with pytest.raises(TextError, match="the chat template refuses this prompt: roles must alternate"):
        text.prompt_ids(ASK)


# BOS -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", ["auto", "plain", "dialogue"])
@pytest.mark.parametrize("asked", ["is the cat small", "<bos> is the cat small"])
@pytest.mark.parametrize("own", [True, False])
def test_there_are_never_two_bos(template: str, asked: str, own: bool) -> None:
    chat = "{{ bos_token }} {{ messages[0]['content'].replace('<bos>', '') }}"
    tokenizer = beginning(template=chat if own else None)
    ids = Text.of(tokenizer, template).prompt_ids(Prompt.ask(asked))
    in_the_middle = template == "dialogue" or (template == "auto" and not own)  # where the asker wrote it himself
    assert ids[0] == BOS
    assert ids.count(BOS) == 1 + (in_the_middle and "<bos>" in asked)
    assert ids[:2] != (BOS, BOS)


def test_a_chat_template_that_writes_no_bos_gets_none() -> None:
    """What a model was shown when it was trained is what its template writes, whatever its tokenizer would add."""
    tokenizer = beginning(template="{{ messages[0]['content'] }}")
    assert Text.of(tokenizer, "plain").prompt_ids(ASK) == (BOS, *CAT)
    assert Text.of(tokenizer, "chat").prompt_ids(ASK) == tuple(CAT)


def test_ids_beyond_the_vocabulary_are_another_tokenizers() -> None:
    text = Text.of(toy_tokenizer())
    most = len(text.tokenizer)
    assert text.wrote(Completion(text.said((most - 1,)), (most - 1,)))
    for ids in ((most,), (*word("cat"), most)):
        assert not text.wrote(Completion(text.said(ids[:-1]), ids))


def test_a_tokenizer_that_adds_no_bos_gets_none() -> None:
    assert Text.of(toy_tokenizer(), "plain").prompt_ids(ASK) == tuple(CAT)


# Replies -------------------------------------------------------------------------------------------------------------


def test_a_finished_reply_ends_with_the_end_token_and_a_cut_one_does_not() -> None:
    text = Text.of(toy_tokenizer())
    assert text.reply_ids(Completion("yes please")) == (*word("yes please"), EOS)
    assert text.reply_ids(Completion("yes please", finished=False)) == word("yes please")


def test_ids_that_were_really_written_are_used_as_they_are() -> None:
    """The same text can be written with other tokens; retokenizing would give them other log-probabilities."""
    text = Text.of(toy_tokenizer())
    written = Completion("yes please", tokens=(ASSISTANT, 8, 8, EOS))
    assert text.reply_ids(written) == (ASSISTANT, 8, 8, EOS)
    assert text.tree(ASK, [written]).replies == ((ASSISTANT, 8, 8, EOS),)


@pytest.mark.parametrize("pad", ["<pad>", "<eos>"])
def test_the_end_token_is_in_the_loss_whatever_pads(pad: str) -> None:
    tokenizer = toy_tokenizer()
    tokenizer.pad_token = pad
    text = Text.of(tokenizer)
    forest = text.replies([ASK, ASK], [[Completion("yes"), Completion("no please thanks")], [Completion("a", finished=False)]])
    assert forest.targets[forest.last].tolist() == [EOS, EOS, *word("a")]
    assert forest.targets.tolist() == [*word("yes"), EOS, *word("no please thanks"), EOS, *word("a")]
    assert [tree.ended for tree in forest.trees] == [(True, True), (False,)]


def test_no_token_spans_the_boundary() -> None:
    tokenizer = bytes_and_merges()
    assert tokenizer.encode("ab") == [5]
    tree = Text.of(tokenizer, "plain").tree(Prompt.ask("ca"), [Completion("b")])
    assert (tree.prompt, tree.replies) == ((3, 1), ((2, 0),))


def test_a_comparison_is_chosen_then_rejected_with_its_strength() -> None:
    text = Text.of(toy_tokenizer())
    forest = text.pairs(
        [
            Comparison(ASK, Completion("yes"), Completion("no"), strength=0.75),
            Comparison(Prompt.ask("why"), Completion("so"), Completion("because"), strength=0.5),
        ]
    )
    assert [tree.replies for tree in forest.trees] == [
        ((*word("yes"), EOS), (*word("no"), EOS)),
        ((*word("so"), EOS), (*word("because"), EOS)),
    ]
    assert forest.notes["strength"].tolist() == [0.75, 0.5]


@pytest.mark.parametrize("template", ["plain", "dialogue"])
@pytest.mark.parametrize("said", ["ab c", " ab", "c\n\nab", ""])
def test_what_was_said_is_read_back(template: str, said: str) -> None:
    text = Text.of(bytes_and_merges(), template)
    ids = text.reply_ids(Completion(said))
    assert text.completion(ids) == Completion(said, ids, finished=True)
    assert text.completion(ids[:-1]).finished is False


def test_any_of_the_models_ends_finishes_a_reply() -> None:
    text = Text.of(toy_tokenizer(), ends=[ASSISTANT])
    assert text.ends == {EOS, ASSISTANT}
    assert text.completion((*word("yes"), ASSISTANT)).finished
    assert text.completion((*word("yes"), EOS)) == Completion("yes", (*word("yes"), EOS), finished=True)
    assert not text.completion(word("yes no")).finished
    assert not text.completion(()).finished


# Length --------------------------------------------------------------------------------------------------------------


def test_a_cut_takes_the_beginning_of_the_prompt_but_not_bos_and_is_counted() -> None:
    text = Text.of(toy_tokenizer(), context=8)
    whole = text.prompt_ids(ASK)
    assert len(whole) == 7
    assert text.tree(ASK, [Completion("yes")]).prompt == (BOS, *whole[2:])
    assert text.cuts.prompts == 1
    assert text.tree(ASK, [Completion("yes no yes no")]).prompt == (BOS, *whole[-2:])
    assert text.cuts.prompts == 1  # the same one, read again
    assert text.tree(ASK, [Completion("yes", finished=False)]).prompt == whole
    assert text.tree(Prompt.ask("is the dog small"), [Completion("yes no yes no")]).prompt[0] == BOS
    assert text.cuts.prompts == 2


def test_the_longest_reply_of_a_group_sets_the_cut_for_all() -> None:
    text = Text.of(toy_tokenizer(), context=8)
    tree = text.tree(ASK, [Completion("yes"), Completion("no no no")])
    assert len(tree.prompt) == 8 - 4
    assert tree.replies == ((*word("yes"), EOS), (*word("no no no"), EOS))


def test_a_reply_may_leave_one_token_of_its_prompt_and_no_less() -> None:
    text = Text.of(toy_tokenizer(), context=8)
    assert text.tree(ASK, [Completion(" ".join(["yes"] * 6))]).prompt == (ASSISTANT,)
    with pytest.raises(TextError, match="a reply of 8 tokens does not fit the context of 8 with even one token of its prompt"):
        text.tree(ASK, [Completion(" ".join(["yes"] * 7))])
    with pytest.raises(TextError, match="a reply of 8 tokens leaves no room in the context of 8"):
        text.fitted(ASK, 8)


def test_an_empty_prompt_is_refused_where_nothing_stands_before_it() -> None:
    with pytest.raises(TextError, match="an empty prompt has no token to predict from; give it some text"):
        Text.of(toy_tokenizer(), "plain").prompt_ids(Prompt.ask(""))
    assert Text.of(beginning(), "plain").prompt_ids(Prompt.ask("")) == (BOS,)
    assert Text.of(toy_tokenizer()).prompt_ids(Prompt.ask("")) == (BOS, USER, ASSISTANT)


def test_all_prompts_that_leave_a_reply_no_room_are_told_at_once() -> None:
    """Of seven ids, in a context of ten, a reply of three is the longest."""
    text = Text.of(toy_tokenizer(), context=10)
    short, longer = Prompt.ask("why"), Prompt.ask("is the cat small and old")
    text.make_room([short, ASK], 3)
    text.make_room([], 9)
    words = (
        "2 of 3 prompts leave no room for a reply: the longest has 9 tokens, and of this model's context of 10 max_tokens = 4 "
        r"leaves 6 \(it begins: 'is the cat small and old'\)"
    )
    with pytest.raises(TextError, match=words):
        text.make_room([ASK, longer, short], 4)
    replace(text, long_prompts="cut").make_room([ASK, longer, short], 4)
    with pytest.raises(TextError, match="max_tokens = 10 leaves no room for a prompt"):
        replace(text, long_prompts="cut").make_room([], 10)
    assert text.cuts.prompts == 0


@pytest.mark.parametrize("make", [bytes_and_merges, beginning, toy_tokenizer, lambda: toy_tokenizer(template=None)])
@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("ab cde\n:é漢"), min_size=1, max_size=40), st.integers(1, 8), st.integers(-3, 3), st.booleans())
def test_what_is_known_without_tokenizing_is_what_the_tokens_say(
    make: Callable[[], Any], asked: str, room: int, near: int, by_letters: bool
) -> None:
    """At the edge of what the tokens need, and of what as many letters would."""
    prompt, text = Prompt.ask(asked), Text.of(make())
    needed, letters = len(text.prompt_ids(prompt)), len(text.written(prompt))
    context = max(2, (letters if by_letters else needed) + room + near)
    assert replace(text, context=context).answerable(prompt, room) == (needed + room <= context)


def test_short_prompts_are_not_tokenized_to_know_that_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    text = Text.of(toy_tokenizer(), context=200)
    monkeypatch.setattr(Text, "prompt_ids", lambda *given: pytest.fail("was tokenized"))
    text.make_room([ASK] * 3, 64)


@settings(max_examples=60, deadline=None)
@given(
    asked=st.lists(st.sampled_from(WORDS), max_size=30),
    said=st.lists(st.lists(st.sampled_from(WORDS), max_size=14), min_size=1, max_size=3),
    template=st.sampled_from(["auto", "dialogue"]),
)
def test_whatever_fits_is_whole_and_ends_as_the_prompt_does(asked: list[str], said: list[list[str]], template: str) -> None:
    text = Text.of(toy_tokenizer(), template, context=16)
    prompt, replies = Prompt.ask(" ".join(asked)), [Completion(" ".join(words)) for words in said]
    tree = text.tree(prompt, replies)
    whole = text.prompt_ids(prompt)
    kept = tree.prompt[1:] if tree.prompt[0] == BOS else tree.prompt
    assert whole[len(whole) - len(kept) :] == kept
    assert tree.replies == tuple((*word(" ".join(words)), EOS) for words in said)
    assert len(tree.prompt) + max(map(len, tree.replies)) <= 16
    assert text.cuts.prompts == (len(tree.prompt) < len(whole))


def test_a_prompt_that_just_fits_is_whole_and_replies_are_given_the_room_that_they_had() -> None:
    """Of nine ids before a reply of two in a context of eleven nothing is lost, in one of ten the second; where four were to be
    written, three more, however short the reply became."""
    prompt, reply = Prompt.ask("is the cat small"), Completion("yes")
    ids = Text.of(toy_tokenizer(), context=99).prompt_ids(prompt)
    count, own = len(ids), len(Text.of(toy_tokenizer()).reply_ids(reply))
    for context, room, lost in ((count + own, 0, 0), (count + own - 1, 0, 1), (count + own, own + 3, 3), (count + own, own, 0)):
        text = Text.of(toy_tokenizer(), context=context)
        kept = text.tree(prompt, [reply], room).prompt
        assert kept == (ids[:1] + ids[1 + lost :] if lost and ids[0] == text.tokenizer.bos_token_id else ids[lost:])
        assert text.cuts.prompts == (1 if lost else 0)


def test_a_text_longer_than_the_tokenizers_own_limit_is_read_without_a_warning() -> None:
    """It speaks of indexing errors; what is longer than the context is cut, left out or refused here, and told."""
    tokenizer, heard, logger = toy_tokenizer(), BufferingHandler(10), logging.getLogger("transformers")
    tokenizer.model_max_length = 8
    text = Text.of(tokenizer, "plain", 64)
    logger.addHandler(heard)
    try:
        assert len(text.reply_ids(Completion("yes " * 30))) > len(text.prompt_ids(Prompt.ask("no " * 30))) > 8
    finally:
        logger.removeHandler(heard)
    assert heard.buffer == []
