"""What a run has spent, by the formula and by hand, and the budget that stops it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from families import PACKED, ROWED
from plain import ids, loaded

from alignzoo.interfaces import Manner
from alignzoo.learning import ledger as books
from alignzoo.learning.choices import Budget
from alignzoo.learning.decks import Deck
from alignzoo.learning.ledger import Ledger, charge, counting, peak_bytes
from alignzoo.model.base import Base
from alignzoo.model.forest import Tree, plant
from alignzoo.model.meter import Meter
from alignzoo.model.role import bare_on, policy_on
from alignzoo.records import Prompt
from alignzoo.seam.settings import SettingsError, build
from alignzoo.testing import toy_base

LAYER = 64 * 64 + 2 * 64 * 32 + 64 * 64 + 3 * 64 * 128
"""Query, key and value of half the heads, output, gate, up and down of the toy model."""
TRUNK, HEAD = 2 * LAYER, 64 * 64
FOREST = plant([Tree(ids(5, 1), (ids(3, 2), ids(2, 3))), Tree(ids(4, 4), (ids(1, 5),))])
SIZE, SCORED = 5 + 3 + 2 + 4 + 1, 3 + 2 + 1


ADAPTER = 2 * 4 * (64 + 64 + 64 + 32 + 64 + 32 + 64 + 64 + 2 * (64 + 128) + 128 + 64)
"""Rank 4, both sides of the seven matrices, in two layers."""
PAIRS = (15 + 3 * 5 + 6 + 2 * 5 + 3) + (10 + 1 * 4 + 1)
ATTENTION = 2 * 64


@pytest.mark.parametrize(
    ("checkpointing", "learning", "passes", "adapters", "attention", "heads"),
    [
        (False, False, 2, 0, 4, 2),
        (False, True, 4, 6, 12, 4),
        (True, False, 2, 0, 4, 2),
        (True, True, 6, 8, 16, 4),
    ],
)
def test_flops_by_hand(checkpointing: bool, learning: bool, passes: int, adapters: int, attention: int, heads: int) -> None:
    """The table of docs/explanation/costs.md."""
    base = toy_base(checkpointing=checkpointing)
    role = policy_on(base) if learning else bare_on(base, "judge")
    role.logps(FOREST)
    assert (base.meter.read, base.meter.written) == (SIZE, 0)
    trunk = passes * TRUNK * SIZE + adapters * ADAPTER * SIZE
    assert base.meter.flops == trunk + attention * ATTENTION * PAIRS + heads * HEAD * SCORED


def test_a_trained_role_that_only_looks_costs_a_forward_pass(base: Base) -> None:
    with torch.no_grad():
        policy_on(base).logps(FOREST)
    assert base.meter.flops == 2 * (TRUNK + ADAPTER) * SIZE + 4 * ATTENTION * PAIRS + 2 * HEAD * SCORED


def test_flops_of_sampling_by_hand(base: Base) -> None:
    """Two replies to one prompt: it is read once, and the last token of a reply not at all."""
    prompt = Prompt.ask("is the cat small")
    [[first, second]] = bare_on(base, "judge").sample([prompt], 2, Manner(max_tokens=5))
    asked, again = len(base.text.prompt_ids(prompt)), [len(first.tokens) - 1, len(second.tokens) - 1]
    pairs = asked * (asked + 1) // 2 + sum(r * asked + r * (r + 1) // 2 for r in again)
    expected = 2 * TRUNK * (asked + sum(again)) + 4 * ATTENTION * pairs + 2 * HEAD * (1 + sum(again))
    assert (base.meter.read, base.meter.written) == (asked, sum(again) + 2)
    assert base.meter.flops == expected


def test_who_reads_beside_a_writer_is_charged_for_what_it_reads(base: Base) -> None:
    """The bare base writes two replies, and a role with an adapter reads along: prompt and replies but their last tokens once
    more, through the adapter. What is written is written once."""
    prompt, policy = Prompt.ask("is the cat small"), policy_on(base)
    manner = Manner(max_tokens=5)
    [[first, second]] = bare_on(base, "judge").sample(
        [prompt], 2, manner, steer=lambda own, other: own.logits, beside=(policy,)
    )
    asked, again = len(base.text.prompt_ids(prompt)), [len(first.tokens) - 1, len(second.tokens) - 1]
    pairs = asked * (asked + 1) // 2 + sum(r * asked + r * (r + 1) // 2 for r in again)
    once = 2 * TRUNK * (asked + sum(again)) + 4 * ATTENTION * pairs + 2 * HEAD * (1 + sum(again))
    assert (base.meter.read, base.meter.written) == (2 * asked + sum(again), sum(again) + 2)
    assert base.meter.flops == 2 * once + 2 * ADAPTER * (asked + sum(again))


ATTENDING = 64 * 64 + 2 * 64 * 32 + 64 * 64
LINEAR = {
    "gpt2": 2 * (64 * 192 + 64 * 64 + 2 * 64 * 256),
    "gpt_neox": 2 * (64 * 192 + 64 * 64 + 2 * 64 * 128),
    "opt": 2 * (4 * 64 * 64 + 2 * 64 * 128),
    "bloom": 2 * (64 * 192 + 64 * 64 + 2 * 64 * 256),
    "mixtral": 2 * ATTENDING,
    "qwen3_moe": 2 * ATTENDING,
    "lfm2": (64 * 192 + 64 * 64) + ATTENDING + 2 * 3 * 64 * 256,
    "recurrent_gemma": 2 * 3 * 64 * 64 + ATTENDING + 3 * 3 * 64 * 64,
}
"""Of the whole model; two layers as the toy's where nothing is said. Fused experts are no linear layers, and not counted."""


@pytest.mark.parametrize("quantize", ["none", "int8", "nf4"])
@pytest.mark.parametrize("name", PACKED + ROWED)
def test_every_family_is_counted_the_same_however_it_is_stored(name: str, quantize: str, family: Callable[[str], Path]) -> None:
    base = loaded(family(name), quantize)  # type: ignore[arg-type]
    assert base.sizes(None).linear == LINEAR.get(name, TRUNK)
    policy_on(base)
    assert base.sizes(None).linear == LINEAR.get(name, TRUNK)


def test_a_ledger_counts_between_its_beginning_and_its_end(base: Base) -> None:
    role = bare_on(base, "judge")
    role.logps(FOREST)
    ledger = Ledger()
    with counting(ledger, base):
        role.logps(FOREST)
        ledger.settle(base)
        assert (ledger.read, ledger.tokens) == (SIZE, SIZE)
        written = role.sample([Prompt.ask("why")], 2, Manner(max_tokens=3))
        charge(scores=2)
    wrote = sum(len(reply.tokens) for reply in written[0])
    read = len(base.text.prompt_ids(Prompt.ask("why")))
    assert (ledger.read, ledger.written, ledger.scores) == (SIZE + read, wrote, 2)
    assert ledger.tokens == SIZE + read + wrote
    spent = ledger.flops
    role.logps(FOREST)
    charge(labels=5, scores=5)
    assert (ledger.flops, ledger.labels, ledger.scores) == (spent, 0, 2)
    assert ledger.seconds >= 0
    assert ledger.peak_bytes == peak_bytes(base.device) > 2**26


def test_what_was_counted_is_added_up_and_time_runs_from_the_last_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three counts of one ledger, after others have used the base; 1.5 of the seconds were spent elsewhere."""
    clock, held = iter([100.0, 103.0, 104.0, 110.0]), iter([7, 9, 8])
    monkeypatch.setattr(books.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(books, "peak_bytes", lambda device: next(held))
    used: Any = SimpleNamespace(meter=Meter(1000, 100, 1e6), device=torch.device("cpu"))
    ledger = Ledger(read=1, written=2, flops=3.0, seconds=0.25, _since=-1e9)
    with counting(ledger, used):
        for read, written, flops in ((10, 5, 8.0), (3, 7, 16.0)):
            used.meter.read, used.meter.written = used.meter.read + read, used.meter.written + written
            used.meter.flops += flops
            charge(labels=2, scores=4, seconds=0.75)
            ledger.settle(used)
        assert (ledger.seconds, ledger.peak_bytes) == (0.25 + 1.5 + 4.0, 9)
        used.meter.written += 20
    assert (ledger.read, ledger.written, ledger.flops) == (14, 34, 27.0)
    assert (ledger.labels, ledger.scores) == (4, 8)
    assert (ledger.seconds, ledger.peak_bytes) == (0.25 + 1.5 + 10.0, 9)
    charge(labels=9)  # nobody counts any more
    assert ledger.labels == 4


def test_who_holds_no_judgement_has_paid_for_none(base: Base) -> None:
    with counting(Ledger(), base) as ledger:
        assert not ledger.paid
        assert len(list(Deck([Prompt.ask("x")], 1, 3, 0))) == 3
        assert not ledger.paid
        deck = iter(Deck(["judged"], 1, 2, 0))
        assert not ledger.paid
        next(deck)
        assert ledger.paid


def test_what_is_not_the_optimizers_can_be_left_out(base: Base) -> None:
    role, ledger = bare_on(base, "judge"), Ledger()
    with counting(ledger, base):
        role.logps(FOREST)
        ledger.settle(base)
        role.logps(FOREST)
        ledger.begin(base)
    assert ledger.read == SIZE


def test_labels_are_counted_once_over_epochs(base: Base) -> None:
    with counting(Ledger(), base) as ledger:
        for _ in Deck(list("abcde"), 2, 4, seed=0):
            pass
    assert ledger.labels == 5


def test_a_ledger_goes_on_from_its_row(base: Base) -> None:
    with counting(Ledger(updates=3, labels=4, seconds=5.0), base) as ledger:
        bare_on(base, "judge").logps(FOREST)
    again = Ledger.from_row({**ledger.row(), "a column of a later version": 1.0})
    assert again.row() == ledger.row()
    assert (again.updates, again.labels, again.read) == (3, 4, SIZE)
    assert again.seconds >= 5.0
    assert not any(name.startswith("_") for name in ledger.row())


SPENT = Ledger(updates=10, labels=20, read=25, written=5, flops=4e6, seconds=50.0)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (Budget(), ""),
        (Budget(updates=10), "updates 10 of 10"),
        (Budget(updates=11), ""),
        (Budget(labels=15), "labels 20 of 15"),
        (Budget(labels=21), ""),
        (Budget(tokens=30), "tokens 30 of 30"),
        (Budget(tokens=31), ""),
        (Budget(flops=3e6), "flops 4e+06 of 3e+06"),
        (Budget(flops=4.1e6), ""),
        (Budget(seconds=49.5), "seconds 50 of 49.5"),
        (Budget(seconds=50.5), ""),
        (Budget(updates=99, labels=99, tokens=29), "tokens 30 of 29"),
    ],
)
def test_a_budget_is_reached_in_any_of_its_units(budget: Budget, said: str) -> None:
    assert budget.reached(SPENT) == said


def test_every_unit_of_a_budget_is_in_the_ledger() -> None:
    units = {limit.name for limit in fields(Budget)} - {"rewards"}  # which says whom the others are for
    assert units == {"updates", "labels", "tokens", "flops", "seconds"}
    for unit in units:
        assert Budget(**{unit: 1.0}).reached(SPENT).startswith(unit)
        assert Budget(**{unit: 1e9}).reached(SPENT) == ""


def test_a_limit_of_labels_stops_nothing_once_every_judgement_was_dealt(base: Base) -> None:
    exact, fewer = Budget(labels=5), Budget(labels=4)
    with counting(Ledger(), base) as ledger:
        said = [(exact.reached(ledger), fewer.reached(ledger)) for _ in Deck(list("abcde"), 2, 2, seed=0)]
    assert [one for one, _ in said] == [""] * 6
    assert [other for _, other in said] == ["", "labels 4 of 4", *["labels 5 of 4"] * 4]


@pytest.fixture
def nothing() -> Any:
    """A base that nobody uses."""
    return SimpleNamespace(meter=Meter(0, 0, 0.0), device=torch.device("cpu"))


def test_a_batch_is_cut_to_the_labels_that_are_left(nothing: Any) -> None:
    """Six judgements, four at a time, and five labels: four, one, and the training is over. What would come is another pass,
    and in it the sixth."""
    budget = Budget(labels=5)
    with counting(Ledger(), nothing, budget.labels) as ledger:
        deck = Deck(list("abcdef"), 4, 2, seed=0)
        dealt = [(len(batch), ledger.labels, budget.reached(ledger)) for batch in deck]
    assert dealt[:2] == [(4, 4, ""), (1, 5, "labels 5 of 5")]
    with counting(Ledger(), nothing, 99) as ledger:
        assert [len(batch) for batch in Deck(list("abcdef"), 4, 1, seed=0)] == [4, 2]
    assert ledger.labels == 6


def test_within_an_update_what_is_paid_for_is_dealt_again(nothing: Any) -> None:
    with counting(Ledger(), nothing, 3) as ledger:
        deck = Deck(list("abcdefgh"), 2, 1, seed=0)
        first, second, third = deck.order(0)[:3]
        dealt = [["abcdefgh".index(record) for record in batch] for batch in deck]
        assert dealt == [[first, second], [third], [second, third], [second, third]]
        assert (ledger.labels, Budget(labels=3).reached(ledger)) == (3, "labels 3 of 3")
        prompts = Deck([Prompt.ask("x"), Prompt.ask("y")], 2, 1, seed=0)
        assert [len(batch) for batch in prompts] == [2], "they are no judgements"
        assert [len(batch) for batch in Deck(list("xy"), 2, 1, seed=0)] == [1], "no batch is empty"


def test_what_is_counted_is_limited_in_whole_numbers() -> None:
    for name in ("updates", "labels"):
        with pytest.raises(ValueError, match=f"{name} are counted: write a whole number; got 2.5"):
            Budget(**{name: 2.5})
    assert Budget(updates=2, labels=3.0, seconds=0.5).limits() == {"updates": 2, "labels": 3.0, "seconds": 0.5}


@pytest.mark.parametrize("unit", ["updates", "labels", "tokens", "flops", "seconds"])
@pytest.mark.parametrize("most", [-1, math.nan, math.inf, True, "5"])
def test_a_budget_that_cannot_be_is_refused(unit: str, most: Any) -> None:
    """But for nought, which is what is left where all is spent; a run file is refused it."""
    with pytest.raises(ValueError, match=f"Budget: {unit} must be"):
        Budget(**{unit: most})
    assert Budget(**{unit: 0}).limits() == {unit: 0}
    with pytest.raises(SettingsError, match=f"budget.{unit}: must be greater than 0"):
        build(Budget, {unit: 0}, "budget")


def test_whom_a_budget_is_for_is_true_or_false() -> None:
    with pytest.raises(ValueError, match="Budget: rewards must be true or false"):
        Budget(rewards=1)  # type: ignore[arg-type]


def test_a_limit_of_labels_waits_for_every_deck_of_judgements(base: Base) -> None:
    with counting(Ledger(), base) as ledger:
        one, other, prompts = Deck(list("ab"), 2, 9, 0), Deck(list("cde"), 1, 9, 0), Deck([Prompt.ask("x")], 1, 9, 0)
        next(iter(prompts))
        next(iter(one))
        assert Budget(labels=2).reached(ledger) == "labels 2 of 2"
        for _ in range(3):
            next(iter(other))
        assert Budget(labels=5).reached(ledger) == ""
