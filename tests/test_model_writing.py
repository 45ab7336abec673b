"""What surrounds the drawing of a token: stop strings, the room for keys and values, and whoever writes instead of us."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from families import PACKED
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import close, loaded, stirred
from torch import Tensor

from alignzoo.interfaces import Manner
from alignzoo.lab.answering import plainly
from alignzoo.learning.canaries import CanaryError, _ends_are_there
from alignzoo.model import branches, sampling
from alignzoo.model.base import Base
from alignzoo.model.head import Head
from alignzoo.model.past import Cached, Reread
from alignzoo.model.role import Role, policy_on
from alignzoo.model.sampling import draw, narrowed
from alignzoo.model.steering import Sight, Steer
from alignzoo.model.text import Text
from alignzoo.records import Completion, Prompt
from alignzoo.seam.settings import SettingsError, build, table_of
from alignzoo.testing import toy_tokenizer

Family = Callable[[str], Path]
ASK = Prompt.ask("is the cat small")
PROMPTS = [ASK, Prompt.ask("why"), Prompt.ask("tell the dog how the old house and the new tree are")]
EOS = 2
GREEDY = Manner(max_tokens=12, temperature=0)


def ids(text: str) -> tuple[int, ...]:
    return tuple(toy_tokenizer().convert_tokens_to_ids(text.split()))


# Stop strings --------------------------------------------------------------------------------------------------------


def test_a_reply_ends_where_it_says_a_stop_string(base: Base) -> None:
    """Its text ends before the string, its tokens are all that were written: those of the string, too."""
    role = stirred(policy_on(base))
    [[whole]] = role.sample([ASK], 1, GREEDY)
    words = whole.text.split(" ")
    stop = f"{words[4]} {words[5]}"  # over two tokens
    cut = whole.text.find(stop)
    written = len(whole.text[: cut + len(stop)].split(" "))
    [[reply]] = role.sample([ASK], 1, replace(GREEDY, stop=("never said", stop)))
    assert reply.text == whole.text[:cut]
    assert reply.tokens == whole.tokens[:written]
    assert reply.finished
    assert not whole.finished
    assert close(torch.tensor(reply.logps), torch.tensor(whole.logps[:written]))


def test_a_stop_string_may_end_in_the_middle_of_a_token(base: Base) -> None:
    role = stirred(policy_on(base))
    [[whole]] = role.sample([ASK], 1, GREEDY)
    words = whole.text.split(" ")
    place = next(
        place for place, word in enumerate(words) if place > 2 and len(word) > 2 and word[:2] not in " ".join(words[:place])
    )
    [[reply]] = role.sample([ASK], 1, replace(GREEDY, stop=(words[place][:2],)))
    assert reply.text == " ".join(words[:place]) + " "
    assert reply.tokens == whole.tokens[: place + 1]
    assert reply.finished


def test_the_first_of_several_stop_strings_counts() -> None:
    text = Text.of(toy_tokenizer())
    assert text.completion(ids("the old cat is small"), stop=("is", "cat", "old cat")).text == "the "
    assert text.completion(ids("the old cat"), stop=("dog",)) == Completion("the old cat", ids("the old cat"), finished=False)


def test_who_stops_does_not_disturb_the_others(base: Base) -> None:
    role = stirred(policy_on(base))
    free = role.sample(PROMPTS, 4, Manner(max_tokens=16, seed=1))
    stopped = role.sample(PROMPTS, 4, Manner(max_tokens=16, seed=1, stop=("cat", "the")))
    cut = 0
    for one, other in zip((r for g in free for r in g), (r for g in stopped for r in g), strict=True):
        said = min((one.text.find(word) for word in ("cat", "the") if word in one.text), default=-1)
        cut += said >= 0
        assert other.text == (one.text if said < 0 else one.text[:said])
        assert other.tokens == one.tokens[: len(other.tokens)]
        beginnings = [base.text.said(one.tokens[:count]) for count in range(1, len(one.tokens) + 1)]
        stops = [count for count, text in enumerate(beginnings, 1) if "cat" in text or "the" in text]
        assert len(other.tokens) == (stops[0] if stops else len(one.tokens))  # however long the others went on
        assert other.finished == (one.finished or said >= 0)
    assert 0 < cut < 12


def test_a_stopped_reply_has_no_end_token_and_needs_none() -> None:
    """The canary still speaks up where a reply is finished, whole, and has no end."""
    text = Text.of(toy_tokenizer())
    stopped = text.completion(ids("the cat is"), stop=("is",))
    whole, cut = Completion("the cat", ids("the cat")), Completion("the cat", ids("the cat"), finished=False)
    ended = text.completion((*ids("the cat"), EOS))
    forest = text.replies([ASK], [[stopped, ended, cut]])
    assert forest.trees[0].ended == (False, True, False)
    _ends_are_there(forest, text.ends)
    with pytest.raises(CanaryError, match="a finished reply has no end-of-sequence token"):
        _ends_are_there(text.replies([ASK], [[whole]]), text.ends)


def test_whose_ids_a_stopped_reply_has_is_known() -> None:
    text = Text.of(toy_tokenizer())
    stopped = text.completion(ids("the cat is"), stop=("is",))
    assert text.wrote(stopped)
    assert not text.wrote(replace(stopped, finished=False))  # a reply that ran out of room says all that it wrote
    assert not text.wrote(replace(stopped, text="the dog "))
    assert not text.wrote(replace(stopped, tokens=(*stopped.tokens, EOS)))


@pytest.mark.parametrize(
    ("stop", "said"),
    [("end", r"stop is a list of texts, even of one: \('end',\)"), (("a", ""), "an empty stop string would end")],
)
def test_stop_strings_that_cannot_be_meant_are_refused(stop: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Manner(stop=stop)


def test_a_run_file_can_say_how_to_stop_and_what_is_too_unlikely() -> None:
    manner = build(Manner, {"stop": ["\n\nHuman:"], "min_p": 0.05}, "answer.manner")
    assert manner == Manner(stop=("\n\nHuman:",), min_p=0.05)
    assert build(Manner, table_of(manner)) == manner
    for table, said in [({"min_p": 1.5}, "min_p: must be at most 1"), ({"stop": [""]}, "an empty stop string")]:
        with pytest.raises(SettingsError, match=said):
            build(Manner, table, "answer.manner")


# Drawing -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [1000, 64, 7])
def test_a_long_vocabulary_is_drawn_from_as_it_should(words: int) -> None:
    """In blocks, the last of them short; some words, and whole blocks, may not be drawn at all."""
    dice = torch.Generator().manual_seed(0)
    logits = torch.randn(words, generator=dice)
    logits[::3] = -torch.inf
    logits[128:320] = -torch.inf
    draws = 40_000
    chances = torch.rand(draws, generator=dice, dtype=torch.float64)
    pieces = [draw(logits.expand(4000, -1), some, Manner()) for some in chances.split(4000)]
    drawn, logps = torch.cat([tokens for tokens, _ in pieces]), torch.cat([logps for _, logps in pieces])
    hoped = logits.softmax(-1) * draws
    counts = torch.bincount(drawn, minlength=words)
    assert counts[hoped == 0].sum() == 0
    often = hoped > 5
    chi_square = float(((counts - hoped)[often] ** 2 / hoped[often]).sum())
    freedom = int(often.sum()) - 1
    assert chi_square < freedom + 4 * (2 * freedom) ** 0.5 + 4
    assert close(logps, logits.log_softmax(-1)[drawn], 1e-6)


def test_a_draw_is_monotone_in_its_chance_and_blind_to_its_neighbours() -> None:
    dice = torch.Generator().manual_seed(1)
    logits = torch.randn(200, generator=dice)
    chances = torch.linspace(0, 1, 5000, dtype=torch.float64)
    together, _ = draw(logits.expand(5000, -1), chances, Manner())
    assert bool((together.diff() >= 0).all())
    assert (int(together[0]), int(together[-1])) == (0, 199)
    others = torch.randn(3, 200, generator=dice)
    for row in (17, 2500):
        alone, _ = draw(
            torch.cat([others, logits[None]]), torch.cat([torch.rand(3, generator=dice), chances[row, None]]), Manner()
        )
        assert alone[-1] == together[row]


def test_at_the_very_border_of_two_blocks_the_rest_of_a_draw_is_not_below_nought() -> None:
    """By rounding it would be, and would then fall on the next block's first word, however impossible that is."""
    parts = (4 * torch.randn(1, 2000, generator=torch.Generator().manual_seed(0))).softmax(-1)
    borders = parts.cumsum(-1, dtype=torch.float64)[0, :-1, None]
    place, rest = sampling._found(parts.expand(len(borders), -1), borders)
    assert place[:, 0].tolist() == list(range(1, 2000))
    assert float(rest.min()) == 0.0
    assert float(rest.max()) < 1e-9


@pytest.mark.parametrize("chance", [0.0, 1 - 2**-53, 1.0])
def test_what_cannot_be_is_never_drawn(chance: float) -> None:
    """One word alone, wherever it stands among blocks of nothing, at the very ends of chance."""
    for place in (0, 63, 64, 130, 199):
        logits = torch.full((1, 200), -torch.inf)
        logits[0, place] = 3.0
        drawn, logp = draw(logits, torch.tensor([chance], dtype=torch.float64), Manner())
        assert (int(drawn[0]), float(logp[0])) == (place, 0.0)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_transformers_draws_from_the_same_distribution(name: str, family: Family) -> None:
    """The second token after two likely first ones, with every filter on."""
    base, count = loaded(family(name)), 4000
    role = policy_on(base)
    ask = torch.tensor([base.text.prompt_ids(ASK)])
    manner = Manner(max_tokens=2, temperature=0.9, top_k=30, top_p=0.95, min_p=0.03, seed=5)
    ours = torch.tensor([[*reply.tokens, EOS][:2] for reply in role.sample([ASK], count, manner)[0]])
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        theirs = base.model.generate(
            ask, attention_mask=torch.ones_like(ask), do_sample=True, max_new_tokens=2, num_return_sequences=count,
            temperature=0.9, top_k=30, top_p=0.95, min_p=0.03, eos_token_id=EOS, pad_token_id=EOS,
        )[:, ask.shape[1] :]  # fmt: skip
    counts = torch.stack([torch.bincount(x[:, 0] * 64 + x[:, 1], minlength=64 * 64) for x in (ours, theirs)]).double()
    both = counts.sum(0)
    often = both >= 10
    chi_square = float(((counts[0] - counts[1])[often] ** 2 / both[often]).sum())
    freedom = int(often.sum())
    assert freedom > 10
    assert chi_square < freedom + 4 * (2 * freedom) ** 0.5


@pytest.mark.parametrize(
    "wrong", [{"max_tokens": 0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.1}, {"min_p": -0.1}, {"min_p": 2.0}]
)
def test_a_manner_in_which_nothing_can_be_drawn_is_refused(wrong: dict[str, Any]) -> None:
    """A min-p above 1 would leave no word at all, and its log-probability would be no number."""
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} "):
        Manner(**wrong)


SHARES = st.sampled_from([1e-9, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 1 - 1e-9, 1.0])


@settings(max_examples=150, deadline=None)
@given(
    kinds=st.integers(1, 60),
    seed=st.integers(0, 2**31),
    temperature=st.sampled_from([1e-3, 0.5, 0.7, 1.0, 1.3, 5.0]),
    top_k=st.integers(0, 64),
    top_p=SHARES,
    min_p=st.one_of(st.just(0.0), SHARES),
)
def test_every_filter_leaves_what_transformers_leaves(
    kinds: int, seed: int, temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    """Bit for bit, in float32: temperature, then top-k, top-p and min-p, each among what the one before has left. Few kinds of
    logits are many equals, at every edge; a quarter and a half are sums that float32 knows exactly."""
    from transformers import LogitsProcessorList, MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    dice = torch.Generator().manual_seed(seed)
    logits = (torch.randn(kinds, generator=dice) * 3)[torch.randint(kinds, (4, 50), generator=dice)]
    warpers = [TemperatureLogitsWarper(temperature), *([TopKLogitsWarper(top_k)] if top_k else [])]
    warpers += [*([TopPLogitsWarper(top_p)] if top_p < 1 else []), *([MinPLogitsWarper(min_p)] if min_p else [])]
    theirs = LogitsProcessorList(warpers)(None, logits)
    ours = narrowed(logits / temperature, Manner(top_k=top_k, top_p=top_p, min_p=min_p))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_what_is_recorded_is_what_transformers_draws_by(name: str, family: Family) -> None:
    """The scores that `generate` has processed for the token it is about to draw, and ours of the tokens that we drew there."""
    base = loaded(family(name))
    role = policy_on(base)
    ask = torch.tensor([base.text.prompt_ids(ASK)])
    chosen = {"temperature": 0.8, "top_k": 40, "top_p": 0.97, "min_p": 0.002}
    theirs = base.model.generate(
        ask, attention_mask=torch.ones_like(ask), do_sample=True, max_new_tokens=1, output_scores=True,
        return_dict_in_generate=True, eos_token_id=EOS, pad_token_id=EOS, **chosen,
    )  # fmt: skip
    spread = theirs.scores[0][0].log_softmax(-1)
    drawn = {reply.tokens[0]: reply.logps[0] for reply in role.sample([ASK], 300, Manner(max_tokens=1, **chosen))[0]}  # type: ignore[arg-type]
    assert len(drawn) > 5
    assert close(torch.tensor(list(drawn.values())), spread[list(drawn)], 1e-5)


def test_what_a_divergence_is_estimated_from_is_drawn_without_any_filter() -> None:
    narrow = Manner(temperature=0.3, top_p=0.5, top_k=3, min_p=0.1, seed=4, stop=("a",))
    assert plainly(narrow) == Manner(seed=4, stop=("a",))


@pytest.mark.parametrize("rows", range(1, 10))
def test_a_long_head_says_the_same_to_few_and_to_many(rows: int) -> None:
    dice = torch.Generator().manual_seed(rows)
    weight, states = torch.randn(2**13, 16, generator=dice), torch.randn(rows, 16, generator=dice)
    assert close(Head(weight).logits(states), states.double() @ weight.t().double(), 1e-5)
    assert Head(weight).logits(states).is_contiguous()
    bias = torch.randn(2**13, generator=dice)
    assert close(Head(weight, bias).logits(states), states.double() @ weight.t().double() + bias, 1e-5)


# Room ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["qwen2", "gemma2"])
def test_the_room_for_keys_and_values_is_made_once(name: str, family: Family) -> None:
    base = loaded(family(name))
    past = Cached(base, [(3, 10, 17, 24, 31), (38, 45, 52)], 3, 8)
    held = [(room.data_ptr(), room.shape) for shelf in past.shelves for room in shelf.room]
    assert {shape[0] for _, shape in held} == {6}
    assert {shape[2] for _, shape in held} == {5 + 8}
    for token in range(8):
        past.append(torch.full((len(past.lengths),), 7 + token))
        if token == 3:
            past.keep(torch.tensor([3, 5]))
    assert [(room.data_ptr(), room.shape) for shelf in past.shelves for room in shelf.room] == held
    for shelf in past.shelves:
        assert shelf.keys.data_ptr() - shelf.room[0].data_ptr() == past.first * shelf.room[0].stride(2) * 4
    assert past.first == (2 if base.packs else 0)  # with the longer prompt went the columns that only it had


@pytest.mark.parametrize("name", PACKED)
def test_prompts_that_are_kept_once_say_the_same(name: str, family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those laid out for every reply: prompts of mixed lengths, longer and shorter than a window, and rows that leave."""
    base = loaded(family(name))
    role = stirred(policy_on(base))
    manner = Manner(max_tokens=20, seed=3)

    def ending(own: Sight) -> Tensor:
        return own.logits + 4.0 * torch.nn.functional.one_hot(torch.tensor(EOS), own.logits.shape[1])

    laid_out = role.sample(PROMPTS, 4, manner, steer=ending)
    assert len({len(reply.tokens) for group in laid_out for reply in group}) > 2
    monkeypatch.setattr(branches, "_WORTH", 1)
    kept_once = role.sample(PROMPTS, 4, manner, steer=ending)
    for one, other in zip(kept_once, laid_out, strict=True):
        assert [reply.tokens for reply in one] == [reply.tokens for reply in other]
        for mine, theirs in zip(one, other, strict=True):
            assert close(torch.tensor(mine.logps), torch.tensor(theirs.logps), 2e-5)


def test_long_prompts_of_many_replies_are_kept_once(family: Family) -> None:
    """Where it is worth it, and where it was proven and measured: not where nothing is packed, nor in half precision."""

    def kind(base: Base, length: int, n: int) -> str:
        return type(branches.read(base, [tuple(range(3, 3 + length)), (5,) * length], n, 1)).__name__

    base = loaded(family("llama"))
    assert kind(base, 48, 23) == "Branched"  # 48 · 22 > 1024 > 48 · 21
    assert kind(base, 48, 22) == kind(base, 60, 1) == kind(base, 2, 60) == "Cached"
    assert kind(loaded(family("gemma2")), 48, 23) == "Cached"
    assert kind(loaded(family("lfm2")), 48, 23) == "Reread"
    assert not Base(base.model.to(torch.bfloat16), base.text).branches


@pytest.mark.parametrize("name", ["llama", "mistral", "gpt2"])
def test_a_prompt_whose_replies_are_all_finished_is_dropped(name: str, family: Family) -> None:
    base = loaded(family(name))
    prompts = [(3, 10, 17, 24, 31, 9, 30), (38, 45, 52), (8, 20, 33, 40)]
    kept, plain = branches.Branched(base, prompts, 2, 5), Reread(base, prompts, 2)
    assert {room.shape[2] for shelf in kept.shelves for room in shelf.room} == {5}  # no prompt in it
    assert {sum(keys.shape[1] for keys, _ in layer) for layer in kept.branching.prompts} == {7 + 3 + 4}
    for number, rows in enumerate([None, [0, 1, 5], None, [1, 2], [1]]):
        if rows is not None:
            kept.keep(torch.tensor(rows))
            plain.keep(torch.tensor(rows))
        drawn = torch.arange(len(plain.rows)) + 10 * number + 7
        kept.append(drawn)
        plain.append(drawn)
        assert close(kept.logits, plain.logits, 2e-5)
        assert close(kept.states, plain.states, 2e-5)
    assert kept.branching.rows == [1]
    assert {sum(keys.shape[1] for keys, _ in layer) for layer in kept.branching.prompts} == {4}


def test_columns_before_a_short_prompt_are_never_looked_at(family: Family) -> None:
    """Whatever lies there, as long as it is finite."""
    base = loaded(family("llama"))
    told = []
    for rubbish in (0.0, 1e6):
        past = Cached(base, [(3, 10, 17, 24, 31), (38, 45, 52)], 1, 2)
        for shelf in past.shelves:
            for room in shelf.room:
                room[1, :, :2] = rubbish
        past.append(torch.tensor([5, 12]))
        told.append(past.logits)
    assert torch.equal(told[0], told[1])


# Another sampler -----------------------------------------------------------------------------------------------------


def test_another_sampler_can_write_for_every_role(base: Base) -> None:
    """One that takes every prompt alone: who asks a role does not know of it, and the replies are the same."""
    asked: list[tuple[str | None, int]] = []

    def alone(
        base: Base, worn: str | None, prompts: Sequence[Prompt], n: int, manner: Manner, steer: Steer | None = None
    ) -> list[list[Completion]]:
        asked.append((worn, len(prompts)))
        return [sampling.write(base, worn, [prompt], n, manner, steer)[0] for prompt in prompts]

    def forbidding(own: Sight) -> Tensor:
        return own.logits.index_fill(1, torch.tensor([EOS]), -torch.inf)

    role: Role = stirred(policy_on(base))
    usual = role.sample(PROMPTS, 2, Manner(max_tokens=8), steer=forbidding)
    base.sampler = alone
    assert role.sample(PROMPTS, 2, Manner(max_tokens=8), steer=forbidding) == usual
    role.frozen("start").sample(PROMPTS[:1])
    assert asked == [("policy", 3), ("start", 1)]
