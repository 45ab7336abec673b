"""TRL's trainers as optimizers: the same losses as ours, one update at a time. Without TRL there is nothing to see."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from alignzoo.interfaces import Lesson
from alignzoo.learning.descent import Descent
from alignzoo.learning.ledger import Ledger, counting
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.role import Role, policy_on
from alignzoo.records import Comparison, Completion, Prompt, Rating
from alignzoo.seam.local import entry_of, module_of
from alignzoo.testing import toy_folder
from alignzoo_dpo.dpo import DPO
from alignzoo_kto.kto import KTO
from alignzoo_policy_gradient.grpo import GRPO

pytest.importorskip("trl", reason="TRL is not installed: pip install -e .[peers]")

PAIRS = tuple(
    Comparison(Prompt.ask(asked), Completion(good), Completion(bad))
    for asked, good, bad in (
        ("is the cat small", "yes the cat is small", "no"),
        ("why", "i think we know", "bad bad bad"),
        ("tell the dog", "please", "you will"),
        ("how old", "the stone is old", "what"),
        ("where is the moon", "sorry i know not", "rude dog"),
        ("what is a stone", "a stone is not a tree", "maybe"),
    )
)
RATINGS = tuple(Rating(p.prompt, c, s) for p in PAIRS for c, s in ((p.chosen, 1.0), (p.rejected, 0.0)))


@pytest.fixture(scope="module")
def peers() -> ModuleType:
    return module_of(entry_of(str(Path(__file__).parent.parent / "benchmarks" / "peers" / "trl_trainers.py")))


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base.load(str(toy_folder(tmp_path / "toy")), Loading(quantize="none"), Lora(rank=4, alpha=8.0))


def pulled(optimizer: Any, base: Base, lesson: Lesson) -> tuple[list[float], Role, Ledger]:
    """The loss of every update, what came of the policy, and what it has spent."""
    base.dismiss_all()
    policy, ledger = policy_on(base), Ledger()
    with counting(ledger, base):
        losses = [told["loss"] for told in optimizer.improve(policy, lesson)]
    return losses, policy, ledger


def steady(lr: float = 1e-2) -> Descent:
    return Descent(lr=lr)


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_theirs_has_our_losses_and_ends_at_our_adapter(method: str, peers: ModuleType, base: Base) -> None:
    lesson = Lesson(comparisons=PAIRS, ratings=RATINGS)
    ours, theirs = {
        "dpo": (DPO(likelihood=0.0, batch_size=2, descent=steady()), peers.TrlDPO(batch_size=2, descent=steady())),
        "kto": (KTO(baseline="neighbours", batch_size=4, descent=steady()), peers.TrlKTO(batch_size=4, descent=steady())),
    }[method]
    our_losses, policy, our_ledger = pulled(ours, base, lesson)
    our_adapter = {key: tensor.clone() for key, tensor in policy.tensors().items()}
    their_losses, policy, their_ledger = pulled(theirs, base, lesson)
    assert their_losses == pytest.approx(our_losses, abs=1e-4)
    assert their_losses[0] != pytest.approx(their_losses[-1], abs=1e-4)  # it moved
    gaps = [float((tensor - our_adapter[key]).abs().max()) for key, tensor in policy.tensors().items()]
    assert max(gaps) < 2e-3
    assert (their_ledger.labels, our_ledger.labels) == (len(lesson.comparisons) * (1 if method == "dpo" else 2),) * 2
    assert their_ledger.flops > our_ledger.flops  # prompts read twice, and padding


def test_it_writes_scores_and_learns_round_by_round(peers: ModuleType, base: Base) -> None:
    asked: list[int] = []

    def reward(prompts: Any, completions: Any) -> list[float]:
        asked.append(len(prompts))
        return [float(len(said.text)) for said in completions]

    lesson = Lesson(prompts=tuple(pair.prompt for pair in PAIRS), reward=reward)
    base.dismiss_all()
    policy, ledger = policy_on(base), Ledger()
    before, threads = policy.digest, threading.active_count()
    with counting(ledger, base):
        updates = peers.TrlGRPO(replies=2, prompts_per_update=2, updates=5, descent=steady()).improve(policy, lesson)
        told = next(updates)
        moved = policy.digest
        next(updates)
        updates.close()  # a budget that is reached
    assert asked == [4, 4]
    assert len({before, moved, policy.digest}) == 3
    assert told["length"] > 0
    assert ledger.written > 0
    assert threading.active_count() == threads  # the trainer's has ended
    ours: Iterator[Any] = GRPO(replies=2, prompts_per_update=2, updates=1, descent=steady()).improve(policy, lesson)
    assert set(told) <= set(next(ours))


def test_what_would_not_be_the_same_is_refused(peers: ModuleType, base: Base) -> None:
    unsure = Lesson(comparisons=(Comparison(Prompt.ask("why"), Completion("yes"), Completion("no"), strength=0.7),))
    with pytest.raises(ValueError, match="no soft labels and no ties"):
        next(peers.TrlDPO().improve(policy_on(base), unsure))
    cut = Lesson(comparisons=(Comparison(Prompt.ask("why"), Completion("yes", finished=False), Completion("no")),))
    with pytest.raises(ValueError, match="TRL reads record 0 otherwise than alignzoo"):
        next(peers.TrlDPO().improve(policy_on(base), cut))
    with pytest.raises(ValueError, match="compare with schedule = 'constant'"):
        next(peers.TrlDPO(descent=Descent(schedule="linear")).improve(policy_on(base), Lesson(comparisons=PAIRS)))
    base.recalled = {"policy": {"adapter.x": torch.zeros(1)}}
    with pytest.raises(ValueError, match="cannot be taken up in the middle"):
        next(peers.TrlDPO().improve(Role(base, "again", [], bare=True, trained=False), Lesson(comparisons=PAIRS)))
