"""Tokens read in shapes that stay the same: the same replies as ever, and no recording is trusted that says something else.

The graph itself needs a GPU (`test_model_gpu.py`). Here the recorder is the step itself, or one with a fault."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from families import PACKED
from plain import close, loaded, stirred
from torch import Tensor

from alignzoo.interfaces import Manner
from alignzoo.model import branches, fixed
from alignzoo.model.base import Base
from alignzoo.model.fixed import Fixed, Launch
from alignzoo.model.past import Cached
from alignzoo.model.proof import prove_fixed
from alignzoo.model.role import Role, policy_on
from alignzoo.model.sampling import Sight
from alignzoo.records import Completion, Prompt

Family = Callable[[str], Path]
PROMPTS = [Prompt.ask("is the cat small"), Prompt.ask("why"), Prompt.ask("tell the dog how the old house and the new tree are")]
LONG = 40


class Recorder:
    """Records by keeping the step. It counts, and can have a fault of `kind`."""

    def __init__(self, fault: Callable[[Launch], Launch] = lambda step: step) -> None:
        self.fault, self.recordings, self.launches = fault, 0, 0

    def __call__(self, step: Launch) -> Launch:
        self.recordings += 1
        recorded = self.fault(step)

        def launch() -> None:
            self.launches += 1
            recorded()

        return launch


def replies(role: Role, n: int, manner: Manner) -> list[Completion]:
    return [reply for group in role.sample(PROMPTS, n, manner) for reply in group]


def same(one: list[Completion], other: list[Completion]) -> bool:
    alike = [(reply.text, reply.tokens, reply.finished) for reply in one] == [(r.text, r.tokens, r.finished) for r in other]
    return alike and all(close(torch.tensor(a.logps), torch.tensor(b.logps), 1e-4) for a, b in zip(one, other, strict=True))


RECORDED = [name for name in PACKED if name != "opt"]
"""OPT asks the host how much was read so far."""


@pytest.mark.parametrize("name", RECORDED)
def test_the_same_is_written_in_fixed_shapes(name: str, family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """Greedily and drawn, one reply and five to each prompt, prompts of unequal lengths, rows that end at different times or at
    a stop string, more columns than are looked at at once, and a window (Mistral) that is shorter than every text."""
    monkeypatch.setattr(fixed, "_LONG", 24)
    monkeypatch.setattr(fixed, "_WORTH", 4)
    base = loaded(family(name))
    role = stirred(policy_on(base))
    manners = [
        (1, Manner(max_tokens=LONG, temperature=0)),
        (5, Manner(max_tokens=LONG, temperature=0.8, top_p=0.9, seed=3)),
        (3, Manner(max_tokens=LONG, seed=4, stop=("cat", "the"))),
    ]
    usual = [replies(role, *asked) for asked in manners]
    assert len({len(reply.tokens) for reply in usual[2]}) > 2  # they end at different times
    prove_fixed(base, recorder := Recorder())
    assert base.record is recorder
    assert all(same(replies(role, *asked), wanted) for asked, wanted in zip(manners, usual, strict=True))
    assert recorder.recordings >= len(manners)
    assert recorder.launches > 2 * recorder.recordings
    assert base.record is recorder


def test_a_steer_sees_what_each_adapter_sees(family: Family) -> None:
    """Roles that write side by side have room of their own each, and record what they wear."""
    base = loaded(family("llama"))
    role, beside = (
        stirred(policy_on(base)),
        stirred(Role(base, "expert", base.add_adapter("expert", 1), bare=False, trained=False), 5),
    )

    def written() -> list[list[Completion]]:
        change: Callable[[Sight, Sight], Tensor] = lambda own, other: own.logits + other.logits  # noqa: E731
        return role.sample(PROMPTS, 2, Manner(max_tokens=LONG, seed=1), steer=change, beside=[beside])

    wanted = written()
    prove_fixed(base, recorder := Recorder())
    found = written()
    assert recorder.recordings >= 2
    assert base.record is recorder  # none of them said anything else than its step
    assert all(same(a, b) for a, b in zip(found, wanted, strict=True))


def test_a_base_in_four_bits_writes_in_fixed_shapes(family: Family) -> None:
    base = loaded(family("llama"), "nf4")
    role, manner = stirred(policy_on(base)), Manner(max_tokens=LONG, seed=2)
    usual = replies(role, 3, manner)
    prove_fixed(base, Recorder())
    assert base.record
    assert same(replies(role, 3, manner), usual)


def fixed_on(base: Base, rows: int = 2, room: int = 40) -> Fixed:
    prompts = [(3, 10, 17, 24, 31), (38, 45, 52), (11, 12, 13, 14), (40, 41)][:rows]
    with torch.no_grad():
        return Fixed(base, prompts, 1, room)


def test_what_is_recorded_has_its_places_for_good(family: Family) -> None:
    """A graph reads and writes addresses: from one recording to the next nothing may lie elsewhere."""
    base = loaded(family("llama"))
    base.record, past = Recorder(), fixed_on(base, 4)

    def places() -> list[int]:
        columns = past.columns
        there = [past.drawn, past.positions, columns.now, columns.first, *past.said, *(w for r in past.rooms for w in r.whole)]
        return [tensor.data_ptr() for tensor in there]

    with torch.no_grad():
        before = places()
        for number in range(6):
            past.append(torch.tensor([5, 6, 7, 8]) + number)
            if number == 3:
                past.keep(torch.tensor([0, 1, 3]))  # three of four: its place goes on
                past.append(torch.tensor([9, 9, 9]))
                break
        assert places() == before
        assert past.logits.shape == (3, base.vocabulary)
        assert past.recorded
        past.keep(torch.tensor([1, 2]))
        assert past.recorded is None  # half of them have left: other shapes
        assert len(past.positions) == 2
        assert places() != before


def test_a_step_read_twice_is_read_once(family: Family) -> None:
    """It is run for warming up and for the proof."""
    base = loaded(family("llama"))
    past, twice = fixed_on(base), fixed_on(base)
    with torch.no_grad():
        for number in range(3):
            past.append(torch.tensor([5, 6]) + number)
            twice.drawn[:, 0] = torch.tensor([5, 6]) + number
            twice._step()
            twice.append(torch.tensor([5, 6]) + number)
    assert torch.equal(past.logits, twice.logits)


# Faults of recordings ------------------------------------------------------------------------------------------------


def stale(step: Launch) -> Launch:
    """Says for ever what it said first."""
    done: list[bool] = []

    def launch() -> None:
        if not done:
            step()
        done.append(True)

    return launch


def baked(step: Launch) -> Launch:
    """A column that is a number of the host's is baked in: right at the token it was recorded at, and then written over."""
    columns = step.__self__.columns  # type: ignore[attr-defined]
    column = columns.now.clone()

    def launch() -> None:
        now = columns.now.clone()
        columns.now.copy_(column)
        step()
        columns.now.copy_(now)

    return launch


def unwritten(step: Launch) -> Launch:
    """Reads, and keeps nothing."""
    past = step.__self__  # type: ignore[attr-defined]

    def launch() -> None:
        kept = [whole.clone() for room in past.rooms for whole in room.whole]
        step()
        for whole, before in zip((whole for room in past.rooms for whole in room.whole), kept, strict=True):
            whole.copy_(before)

    return launch


def refused(step: Launch) -> Launch:
    raise RuntimeError("called a synchronizing CUDA operation\nmore of it")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (stale, "says something else"),
        (baked, "says something else"),
        (unwritten, "says something else"),
        (refused, r"\(RuntimeError: called a synchronizing CUDA operation\)"),
    ],
)
def test_a_recording_that_says_something_else_is_told_of_once_and_not_used(
    fault: Callable[[Launch], Launch], said: str, family: Family, spoken: Callable[[], list[str]]
) -> None:
    base = loaded(family("llama"))
    role, manner = stirred(policy_on(base)), Manner(max_tokens=LONG, seed=3)
    usual = replies(role, 2, manner)
    prove_fixed(base, recorder := Recorder(fault))
    for _ in range(2):
        assert same(replies(role, 2, manner), usual)
    assert base.record is None
    assert recorder.recordings == 1
    [words] = spoken()
    assert "cannot be recorded as one launch" in words
    assert re.search(said, words)


def test_fixed_shapes_that_differ_are_not_taken(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    base = loaded(family("llama"))
    monkeypatch.setattr(fixed.Columns, "mask", lambda columns, window, like: None)
    prove_fixed(base, Recorder())
    assert base.record is None


def test_who_asks_the_host_how_much_was_read_is_not_recorded(family: Family) -> None:
    base = loaded(family("opt"))
    prove_fixed(base, Recorder())
    assert base.record is None


def test_a_few_tokens_are_not_worth_a_recording(family: Family) -> None:
    base = loaded(family("llama"))
    prove_fixed(base, recorder := Recorder())
    replies(policy_on(base), 1, Manner(max_tokens=fixed._WORTH // 2, temperature=0))
    assert recorder.recordings == 0


def test_on_a_cpu_nothing_is_recorded(family: Family) -> None:
    base = loaded(family("llama"))
    assert base.record is None
    assert isinstance(branches.read(base, [(3, 4)], 1, 8), Cached)
