"""A budget of labels and the epochs that ask nobody."""

from __future__ import annotations

from pathlib import Path

from alignzoo.interfaces import Lesson
from alignzoo.lab.store import Training
from alignzoo.lab.training import Seat, Terms, Trained, train
from alignzoo.learning.choices import Budget, Watch
from alignzoo.model.role import policy_on
from alignzoo.records import Comparison, Completion, Prompt
from alignzoo.testing import toy_base
from alignzoo_dpo.dpo import DPO

PAIRS = [Comparison(Prompt.ask(f"{n}?"), Completion("yes"), Completion("no")) for n in range(6)]


def trained(budget: Budget, folder: Path, batch: int = 2) -> Trained:
    terms = Terms(budget, Watch(every=0), checkpoint_every=1, answers=False)
    return train(
        DPO(batch_size=batch, epochs=2), Lesson(comparisons=PAIRS), Seat(toy_base(), policy_on), Training(folder), terms
    )


def test_as_many_labels_as_there_are_leave_later_epochs_alone(tmp_path: Path) -> None:
    whole = trained(Budget(labels=6), tmp_path / "exact")
    assert (whole.stopped, whole.ledger.updates, whole.ledger.labels) == ("", 6, 6)
    for _ in range(2):  # the second time it finds what it was stopped by, and makes no update
        fewer = trained(Budget(labels=4), tmp_path / "fewer")
        assert (fewer.stopped, fewer.ledger.updates) == ("labels 4 of 4", 2)


def test_a_training_goes_on_after_its_last_label(tmp_path: Path) -> None:
    """Interrupted in the second epoch, where every label is spent and nothing more is to be paid."""
    whole = trained(Budget(labels=6), tmp_path / "whole")
    assert trained(Budget(labels=6, updates=4), tmp_path / "halves").stopped == "updates 4 of 4"
    halves = trained(Budget(labels=6), tmp_path / "halves")
    assert (halves.stopped, halves.ledger.updates, halves.policy.digest) == ("", 6, whole.policy.digest)


def test_no_more_labels_are_taken_than_a_budget_has(tmp_path: Path) -> None:
    """Four at a time, and five of six may be asked for. Called again, it has ended."""
    for _ in range(2):
        cut = trained(Budget(labels=5), tmp_path, batch=4)
        assert (cut.stopped, cut.ledger.updates, cut.ledger.labels) == ("labels 5 of 5", 2, 5)
