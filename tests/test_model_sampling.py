"""The generation loop: what it writes is what the model says, reply by reply, whoever else is in the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from families import CONTEXT, PACKED, ROWED
from plain import Plain, close, loaded, stirred
from torch import Tensor

from alignzoo.interfaces import Manner
from alignzoo.model import branches, sampling
from alignzoo.model.base import Base
from alignzoo.model.past import Past
from alignzoo.model.role import Role, bare_on, policy_on, role_on
from alignzoo.model.sampling import SamplingError, draw, narrowed
from alignzoo.model.steering import Sight
from alignzoo.model.text import TextError
from alignzoo.records import Completion, Prompt
from alignzoo.testing import toy_base

Family = Callable[[str], Path]
PROMPTS = [Prompt.ask("is the cat small"), Prompt.ask("why"), Prompt.ask("tell the dog how the old house and the new tree are")]
EOS = 2


def tokens(groups: list[list[Completion]]) -> list[list[tuple[int, ...]]]:
    return [[reply.tokens for reply in group] for group in groups]


def recorded(groups: list[list[Completion]]) -> Tensor:
    return torch.tensor([logp for group in groups for reply in group for logp in reply.logps])


def stopping(role: Role, push: float = 2.0) -> Callable[[Sight], Tensor]:
    """Make the end token likelier, so that replies end at different times."""

    def steer(own: Sight) -> Tensor:
        logits = own.logits.clone()
        logits[:, EOS] += push
        return logits

    return steer


@pytest.mark.parametrize(
    ("name", "quantize"), [*((name, "none") for name in PACKED + ROWED), *((n, "nf4") for n in ("llama", "gpt2", "gemma2"))]
)
def test_greedy_is_what_transformers_generates(name: str, quantize: str, family: Family, tmp_path: Path) -> None:
    base = loaded(family(name), quantize)  # type: ignore[arg-type]
    role = stirred(policy_on(base))
    role.save(tmp_path)
    plain = Plain.of(family(name), tmp_path, role, quantize)  # type: ignore[arg-type]
    ours = role.sample(PROMPTS, 2, Manner(max_tokens=16, temperature=0))
    for prompt, group in zip(PROMPTS, ours, strict=True):
        row = torch.tensor([base.text.prompt_ids(prompt)])
        out = plain.model.generate(
            input_ids=row, attention_mask=torch.ones_like(row), do_sample=False, max_new_tokens=16, eos_token_id=EOS
        )
        assert [reply.tokens for reply in group] == [tuple(out[0, row.shape[1] :].tolist())] * 2


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("name", PACKED + ROWED)
def test_recorded_log_probabilities_are_those_of_what_was_written(name: str, temperature: float, family: Family) -> None:
    """Over more tokens than a window or a context of small models would forgive."""
    base = loaded(family(name))
    role = stirred(policy_on(base))
    groups = role.sample(PROMPTS, 3, Manner(max_tokens=24, temperature=temperature, seed=1))
    with torch.no_grad():
        said = role.logps(base.text.replies(PROMPTS, groups), temperature)
    assert close(recorded(groups), said, 2e-5)
    with torch.no_grad():  # and not those of the bare base, nor at another temperature
        assert not close(recorded(groups), bare_on(base, "judge").logps(base.text.replies(PROMPTS, groups), temperature), 0.05)
        assert not close(recorded(groups), role.logps(base.text.replies(PROMPTS, groups), 1.3), 0.05)


def test_greedy_records_at_temperature_one(base: Base) -> None:
    role = stirred(policy_on(base))
    groups = role.sample(PROMPTS, 1, Manner(max_tokens=8, temperature=0))
    with torch.no_grad():
        assert close(recorded(groups), role.logps(base.text.replies(PROMPTS, groups)))


@pytest.mark.parametrize("name", ["llama", "mistral", "gpt2", "bloom", "gemma2", "recurrent_gemma"])
def test_a_reply_does_not_depend_on_its_neighbours(name: str, family: Family) -> None:
    base = loaded(family(name))
    role = stirred(policy_on(base))
    manner, steer = Manner(max_tokens=20, seed=3), stopping(role, 9.0 if name == "bloom" else 2.0)
    many = role.sample(PROMPTS, 4, manner, steer=steer)
    ends = {len(reply.tokens) for group in many for reply in group}
    assert len(ends) > 3  # rows really leave the batch at different times
    for prompt, group in zip(PROMPTS, many, strict=True):
        for n in (1, 4):
            alone = role.sample([prompt], n, manner, steer=steer)
            assert tokens(alone) == tokens([group[:n]])
            assert close(recorded(alone), recorded([group[:n]]))
    assert tokens(role.sample(PROMPTS[::-1], 4, manner, steer=steer)) == tokens(many)[::-1]


def test_batches_that_do_not_fit_at_once_are_written_one_after_another(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    role = stirred(policy_on(base))
    at_once = role.sample(PROMPTS, 2, Manner(max_tokens=10))
    monkeypatch.setattr(sampling, "_CACHED", 50)
    assert tokens(role.sample(PROMPTS, 2, Manner(max_tokens=10))) == tokens(at_once)


def test_a_batch_has_no_more_columns_than_there_is_room_for(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted by its longest prompt, whichever way they were given, and its replies: all of them. Two that fit are read at
    once, and one that does not is read alone."""
    role, lengths = policy_on(base), [len(base.text.prompt_ids(prompt)) for prompt in PROMPTS]
    assert lengths[1] < lengths[0] < lengths[2]
    read: list[list[int]] = []
    begin = branches.read

    def noted(base: Base, prompts: list[tuple[int, ...]], n: int, room: int) -> Past:
        read.append(sorted(map(len, prompts)))
        return begin(base, prompts, n, room)

    monkeypatch.setattr(sampling, "read", noted)
    for prompts in (PROMPTS, PROMPTS[::-1]):
        for room in (1, 3 * 2 * (lengths[0] + 4) - 1, 2 * 2 * (lengths[2] + 4), 3 * 2 * (lengths[2] + 4)):
            read.clear()
            monkeypatch.setattr(sampling, "_CACHED", room)
            role.sample(prompts, 2, Manner(max_tokens=4))
            assert sorted(length for batch in read for length in batch) == sorted(lengths)
            assert all(len(batch) == 1 or 2 * len(batch) * (batch[-1] + 4) <= room for batch in read)
        assert len(read) == 1  # all that fit


def test_as_many_replies_as_may_be_asked_for(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "_MOST", 3)
    assert len(policy_on(base).sample(PROMPTS[:1], 3, Manner(max_tokens=1))[0]) == 3
    with pytest.raises(SamplingError, match="got 4"):
        policy_on(base).sample(PROMPTS[:1], 4, Manner(max_tokens=1))


def test_who_cannot_keep_keys_and_values_says_so(family: Family, spoken: Callable[[], list[str]]) -> None:
    """Recurrent layers and convolutions remember otherwise: their rows are read anew, and the tests above hold."""
    for name in PACKED + ROWED:
        assert loaded(family(name)).caches == (name not in ("lfm2", "recurrent_gemma"))
    said = [line.partition(":")[0] for line in spoken() if "every row is read anew for each token" in line]
    assert said == ["Lfm2ForCausalLM", "RecurrentGemmaForCausalLM"]


def test_what_a_reply_does_depend_on(base: Base) -> None:
    role = stirred(policy_on(base))

    def say(seed: int = 0, most: int = 12) -> list[tuple[int, ...]]:
        return tokens(role.sample(PROMPTS[:1], 3, Manner(max_tokens=most, seed=seed)))[0]

    assert say() == say()
    assert len(set(say())) == 3
    assert all(one != other for one, other in zip(say(1), say(2), strict=True))
    assert [reply[:5] for reply in say(most=12)] == [reply[:5] for reply in say(most=5)]
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert say() == say()
    assert torch.equal(torch.get_rng_state(), state)


def test_finished_means_that_the_end_was_written(base: Base) -> None:
    role = stirred(policy_on(base))
    groups = role.sample(PROMPTS, 6, Manner(max_tokens=6, seed=2), steer=stopping(role))
    replies = [reply for group in groups for reply in group]
    assert {reply.finished for reply in replies} == {True, False}
    for reply in replies:
        assert reply.finished == (reply.tokens[-1] == EOS)
        assert EOS not in reply.tokens[:-1]
        assert len(reply.tokens) == len(reply.logps)
        assert reply.finished or len(reply.tokens) == 6
        assert "<eos>" not in reply.text


def test_any_of_the_models_ends_ends_a_reply() -> None:
    base = toy_base()
    role = stirred(policy_on(base))
    [[first]] = role.sample(PROMPTS[:1], 1, Manner(max_tokens=12, temperature=0))
    base.text = type(base.text)(**{**vars(base.text), "ends": frozenset({EOS, first.tokens[3]})})
    [[cut]] = role.sample(PROMPTS[:1], 1, Manner(max_tokens=12, temperature=0))
    assert cut.tokens == first.tokens[: first.tokens.index(first.tokens[3]) + 1]
    assert cut.finished


@pytest.mark.parametrize("most", [1, 2, 7])
def test_no_reply_is_longer_than_asked(base: Base, most: int) -> None:
    role = stirred(policy_on(base))
    lengths = {len(reply.tokens) for group in role.sample(PROMPTS, 4, Manner(max_tokens=most)) for reply in group}
    assert max(lengths) == most


def test_where_it_may_a_long_prompt_makes_room_and_is_counted(family: Family, caplog: pytest.LogCaptureFixture) -> None:
    base = loaded(family("llama"))
    base.text = replace(base.text, long_prompts="cut")
    role = stirred(policy_on(base))
    long = Prompt.ask(" ".join(["cat", "dog"] * 40))
    groups = role.sample([long, PROMPTS[1]], 2, Manner(max_tokens=30))
    assert base.text.cuts.prompts == 1
    assert "a prompt of 83 tokens loses its beginning: there is room for 34 beside its reply" in caplog.text
    assert tokens(groups)[1] == tokens(role.sample([PROMPTS[1]], 2, Manner(max_tokens=30)))[0]
    forest = base.text.replies([long], groups[:1])
    assert forest.trees[0].prompt == base.text.fitted(long, 30)
    with torch.no_grad():
        assert close(recorded(groups[:1]), role.logps(forest), 2e-5)
    with pytest.raises(
        TextError, match=f"max_tokens = {CONTEXT} leaves no room for a prompt in this model's context of {CONTEXT}"
    ):
        role.sample(PROMPTS, 1, Manner(max_tokens=CONTEXT))


@pytest.mark.parametrize("samples", [sampling.write, lambda base, worn, prompts, n, manner, steer: pytest.fail("was asked")])
def test_a_long_prompt_is_refused_by_whoever_writes_before_anything_is_written(base: Base, samples: sampling.Sampler) -> None:
    base.sampler = samples
    long = Prompt.ask("cat dog " * 60)
    words = f"1 of {len(PROMPTS) + 1} prompts leave no room for a reply: the longest has .*max_tokens = 12 .*begins: 'cat dog"
    with pytest.raises(TextError, match=words):
        policy_on(base).sample([*PROMPTS, long], 1, Manner(max_tokens=12))
    assert base.text.cuts.prompts == 0


def test_no_replies_cannot_be_asked_for(base: Base) -> None:
    with pytest.raises(SamplingError, match="n is how many completions each prompt gets, from 1 to 65,536 at once; got 0"):
        policy_on(base).sample(PROMPTS, 0)
    assert policy_on(base).sample([], 2) == []


def test_the_bare_base_and_the_policy_write_as_themselves(base: Base) -> None:
    policy, judge = stirred(policy_on(base)), bare_on(base, "judge")
    theirs, fresh = judge.sample(PROMPTS, 2), toy_base()
    assert tokens(theirs) == tokens(policy_on(fresh).sample(PROMPTS, 2))
    assert tokens(policy.sample(PROMPTS, 2)) != tokens(theirs)
    assert base.worn.name is None


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_steering_sees_the_state_that_a_token_is_written_from(name: str, family: Family) -> None:
    base = loaded(family(name))
    role = stirred(policy_on(base))
    seen: list[Tensor] = []

    def only_ten(own: Sight) -> Tensor:
        seen.append(own.states)
        assert not own.logits.requires_grad
        return torch.full_like(own.logits, -torch.inf).index_fill(1, torch.tensor([10]), 0.0)

    [[reply]] = role.sample(PROMPTS[:1], 1, Manner(max_tokens=4), steer=only_ten)
    assert reply.tokens == (10,) * 4
    assert reply.logps == (0.0,) * 4
    with torch.no_grad():
        states = role.read(base.text.replies(PROMPTS[:1], [[reply]])).states
    assert close(torch.cat(seen), states)


@pytest.mark.parametrize("name", ["llama", "mistral", "gpt2", "bloom", "gemma2", "recurrent_gemma"])
def test_who_reads_beside_the_writer_sees_what_a_plain_pass_of_its_own_sees(name: str, family: Family) -> None:
    """Tokens are drawn from a mixture of everything that is seen by the three, so that the recorded log-probabilities tell it
    all: the logits of each, and the states of those beside. Nobody wears another's adapter, and rows leave in the meantime."""
    base = loaded(family(name))
    writer, other = stirred(policy_on(base)), stirred(role_on(base, "masking", trained=False), seed=1)
    bare = bare_on(base, "judge")
    readers = (writer, other, bare)
    maps = [0.3 * torch.randn(64, 64, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    push = torch.zeros(64).index_fill(0, torch.tensor([EOS]), 14.0 if name == "bloom" else 7.0)

    def mixture(*sights: Sight) -> Tensor:
        return sum((seen.logits + seen.states.float() @ by for seen, by in zip(sights, maps, strict=True)), push) / 3

    manner = Manner(max_tokens=20, seed=3)
    groups = writer.sample(PROMPTS, 4, manner, steer=mixture, beside=(other, bare))
    assert len({len(reply.tokens) for group in groups for reply in group}) > 3
    forest = base.text.replies(PROMPTS, groups)
    with torch.no_grad():
        seen = [Sight(role.read(forest).states, role.spread(forest)) for role in readers]
        said = mixture(*seen).log_softmax(-1).gather(1, forest.targets[:, None])[:, 0]
    assert close(recorded(groups), said, 1e-4)
    assert not any(close(recorded(groups), role.logps(forest), 0.1) for role in readers)
    assert base.worn.name is None
    assert tokens(writer.sample(PROMPTS[::-1], 4, manner, steer=mixture, beside=(other, bare))) == tokens(groups)[::-1]


def test_who_reads_beside_changes_nothing_where_steering_does_not_look(base: Base) -> None:
    writer, other = stirred(policy_on(base)), stirred(role_on(base, "masking", trained=False), seed=1)
    groups = writer.sample(PROMPTS, 2, Manner(max_tokens=8), steer=lambda own, theirs: own.logits, beside=(other,))
    assert groups == writer.sample(PROMPTS, 2, Manner(max_tokens=8))


# Drawing -------------------------------------------------------------------------------------------------------------

LOGITS = torch.tensor([0.50, 0.30, 0.15, 0.05]).log()


def shares(manner: Manner, draws: int = 20_000) -> tuple[Tensor, Tensor]:
    """How often each of the four is drawn, and the log-probability recorded for each."""
    chances = torch.rand(draws, generator=torch.Generator().manual_seed(0))
    drawn, logps = draw(LOGITS.expand(draws, -1), chances, manner)
    said = torch.full((4,), -torch.inf)
    said[drawn] = logps
    return torch.bincount(drawn, minlength=4), said


@pytest.mark.parametrize(
    ("manner", "wanted"),
    [
        (Manner(), [0.50, 0.30, 0.15, 0.05]),
        (Manner(temperature=0.5), [0.25 / 0.365, 0.09 / 0.365, 0.0225 / 0.365, 0.0025 / 0.365]),
        (Manner(top_k=2), [0.625, 0.375, 0.0, 0.0]),
        (Manner(top_k=9), [0.50, 0.30, 0.15, 0.05]),
        (Manner(top_p=0.45), [1.0, 0.0, 0.0, 0.0]),
        (Manner(top_p=0.55), [0.625, 0.375, 0.0, 0.0]),
        (Manner(top_p=0.75), [0.625, 0.375, 0.0, 0.0]),
        (Manner(top_p=0.85), [0.50 / 0.95, 0.30 / 0.95, 0.15 / 0.95, 0.0]),
        (Manner(top_k=3, top_p=0.6), [0.625, 0.375, 0.0, 0.0]),
        (Manner(min_p=0.05), [0.50, 0.30, 0.15, 0.05]),
        (Manner(min_p=0.2), [0.50 / 0.95, 0.30 / 0.95, 0.15 / 0.95, 0.0]),
        (Manner(min_p=0.5), [0.625, 0.375, 0.0, 0.0]),
        (Manner(min_p=1.0), [1.0, 0.0, 0.0, 0.0]),
        (Manner(min_p=0.5, temperature=0.5), [1.0, 0.0, 0.0, 0.0]),
        (Manner(temperature=0), [1.0, 0.0, 0.0, 0.0]),
    ],
)
def test_tokens_are_drawn_as_often_as_they_should(manner: Manner, wanted: list[float]) -> None:
    counts, said = shares(manner)
    inside = torch.tensor(wanted) > 0
    hoped = torch.tensor(wanted)[inside] * 20_000
    assert counts[~inside].sum() == 0
    chi_square = float(((counts[inside] - hoped) ** 2 / hoped).sum())
    assert chi_square < 16.3  # the 99.9th percentile with three degrees of freedom
    recorded_as = LOGITS.exp() if manner.temperature == 0 else torch.tensor(wanted)
    assert torch.allclose(said[inside].exp(), recorded_as[inside], atol=1e-6)


def test_the_ends_of_the_distribution_are_safe() -> None:
    """The lowest and highest chances, with words that may not be drawn at both ends and in the middle."""
    nothing = -torch.inf
    logits = torch.tensor([nothing, 1.0, nothing, 0.0, nothing]).expand(3, -1)
    drawn, logps = draw(logits, torch.tensor([0.0, 0.999999, 1.0]), Manner())
    assert drawn[0] == 1
    assert drawn[1] == 3
    assert drawn[2] in (1, 3)
    assert bool(torch.isfinite(logps).all())


def test_narrowing_leaves_at_least_the_best() -> None:
    kept = narrowed(LOGITS[None], Manner(top_k=1, top_p=0.01))
    assert kept.isfinite().tolist() == [[True, False, False, False]]
    assert int(narrowed(torch.zeros(1, 4), Manner(top_p=0.5)).isfinite().sum()) == 2  # two are half already: no third


def test_every_reply_is_drawn_with_numbers_of_its_own() -> None:
    """By its prompt, all of it, by its place among the replies, and by the seed; however long it may become."""
    prompts = [(1, 5, 6, 7), (2, 5, 6, 7), (5, 6, 7), (1, 5, 6)]
    streams = {
        tuple(sampling._chances(prompt, number, Manner(max_tokens=4, seed=seed)).tolist())
        for prompt in prompts
        for number in range(40)
        for seed in range(3)
    }
    assert len(streams) == 4 * 40 * 3
    short, long = (sampling._chances(prompts[0], 3, Manner(max_tokens=most, seed=1)) for most in (4, 9))
    assert torch.equal(short, long[:4])
    assert long.dtype == torch.float64
    assert bool(((long >= 0) & (long < 1)).all())
    assert bool((long * 2**24 % 1 != 0).all())  # fine enough for words that come once in a billion


def test_writing_with_an_adapter_costs_its_share_of_every_token_read() -> None:
    """An adapter that changes nothing writes the same replies as the bare base, for 2 FLOPs more per parameter and token.
    (The rest of the formula: test_learning_ledger.py.)"""
    base = toy_base()
    policy, judge = policy_on(base), bare_on(base, "judge")
    groups = judge.sample(PROMPTS, 3, Manner(max_tokens=12), steer=stopping(judge, 4.0))
    bare = base.meter.flops
    assert tokens(policy.sample(PROMPTS, 3, Manner(max_tokens=12), steer=stopping(policy, 4.0))) == tokens(groups)
    prompts = sum(len(base.text.prompt_ids(prompt)) for prompt in PROMPTS)
    replies = [len(reply.tokens) for group in groups for reply in group]
    assert len(set(replies)) > 2
    assert base.meter.written == 2 * sum(replies)
    assert base.meter.read == 2 * prompts
    through = prompts + sum(length - 1 for length in replies)
    assert base.meter.flops - 2 * bare == 2 * sum(p.numel() for p in policy.adapter) * through
