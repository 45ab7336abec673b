"""DPO on the toy base: where it starts, where it goes, and that it can be interrupted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from alignzoo.interfaces import Lesson, LessonError, Metrics, Optimizer
from alignzoo.learning.canaries import Canaries, CanaryError, watching
from alignzoo.learning.descent import Descent
from alignzoo.learning.ledger import Ledger, counting
from alignzoo.learning.memory import newest, remembering
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.forest import per_reply
from alignzoo.model.role import Role, load_role, policy_on
from alignzoo.records import Comparison, Completion, Prompt
from alignzoo.testing import toy_base, toy_folder
from alignzoo_dpo.dpo import DPO

PAIRS = [
    Comparison(Prompt.ask(f"is the {thing} {how}"), Completion(good), Completion(bad))
    for thing in ("cat", "dog", "bird", "house")
    for how, good, bad in (("small", "yes please", "no"), ("old", "true thanks", "false and bad because"))
]
QUICK = DPO(likelihood=0.0, batch_size=4, epochs=3, descent=Descent(lr=3e-3))


def turned(pairs: Iterable[Comparison]) -> list[Comparison]:
    return [replace(pair, chosen=pair.rejected, rejected=pair.chosen) for pair in pairs]


def trained(policy: Role) -> Role:
    """The role with an adapter that already changes the model."""
    dice = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, tensor in sorted(policy.base.wardrobe.tensors(policy.name).items()):
            if ".lora_B." in key:
                tensor.copy_(0.05 * torch.randn(tensor.shape, generator=dice))
    return policy


def run(optimizer: DPO, base: Base, pairs: Sequence[Comparison] = PAIRS) -> tuple[Role, list[Metrics]]:
    policy = policy_on(base)
    with watching(Canaries(base)):
        told = list(optimizer.improve(policy, Lesson(comparisons=pairs)))
    return policy, told


def margins(policy: Role, pairs: Sequence[Comparison] = PAIRS) -> torch.Tensor:
    """log π(chosen) − log π(rejected), pair by pair."""
    forest = policy.base.text.pairs(pairs)
    with torch.no_grad():
        sums = per_reply(policy.logps(forest), forest).view(-1, 2)
    return sums[:, 0] - sums[:, 1]


def test_it_is_an_optimizer_and_says_what_it_needs() -> None:
    assert isinstance(DPO(), Optimizer)
    with pytest.raises(LessonError, match="this run lacks comparisons"):
        Lesson().check(DPO.needs)
    policy = policy_on(toy_base())
    assert DPO().deploy(policy, Lesson()) is policy


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("quantize", ["none", "int8", "nf4"])
@pytest.mark.parametrize(
    ("loss", "noise", "wanted"),
    [
        ("sigmoid", 0.0, math.log(2)),
        ("sigmoid", 0.2, math.log(2)),
        ("robust", 0.2, math.log(2)),
        ("ipo", 0.0, 25.0),
        ("hinge", 0.0, 1.0),
    ],
)
def test_before_the_first_update_policy_and_reference_agree(
    quantize: str, begun: bool, loss: str, noise: float, wanted: float, tmp_path: Path
) -> None:
    """Margin 0, and with it log 2, or (1/2τ)², or 1; also where the start is a trained adapter."""
    base = Base.load(str(toy_folder(tmp_path)), Loading(quantize=quantize, device="cpu"), Lora(rank=4, alpha=8.0))  # type: ignore[arg-type]
    policy = trained(policy_on(base)) if begun else policy_on(base)
    optimizer = DPO(loss=loss, label_noise=noise, likelihood=0.0, batch_size=8)  # type: ignore[arg-type]
    first = next(iter(optimizer.improve(policy, Lesson(comparisons=PAIRS))))
    assert first["loss"] == pytest.approx(wanted, rel=1e-5)
    assert first["margin"] == pytest.approx(0.0, abs=1e-5)
    assert first["displacement"] == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("loss", ["sigmoid", "ipo", "hinge", "robust"])
def test_margins_go_the_right_way_and_with_swapped_pairs_the_wrong_one(loss: str) -> None:
    optimizer = replace(QUICK, loss=loss, label_noise=0.1 if loss == "robust" else 0.0)  # type: ignore[arg-type]
    before = margins(policy_on(toy_base()))
    right, told = run(optimizer, toy_base())
    wrong, _ = run(optimizer, toy_base(), turned(PAIRS))
    assert bool((margins(right) > before + 1).all())
    assert bool((margins(wrong) < before - 1).all())
    assert told[-1]["loss"] < told[0]["loss"]
    assert told[-1]["accuracy"] == 1.0
    assert told[-1]["margin"] > 0


def test_ties_pull_the_margin_of_a_trained_policy_back() -> None:
    base = toy_base()
    policy, _ = run(QUICK, base)
    away = margins(policy).abs()
    ties = [replace(pair, strength=0.5) for pair in PAIRS]
    reference = policy_on(toy_base()).frozen()
    pairs = base.text.pairs(ties)
    pairs = pairs.attach(replies={"reference": per_reply(reference.logps(pairs), pairs)})
    descend = Descent(lr=3e-3).on(policy)
    for _ in range(8):
        descend(lambda forest: QUICK.pair_loss(policy, forest), pairs)
    start = margins(reference)
    assert float((margins(policy) - start).abs().mean()) < 0.5 * float((away - start).abs().mean())


def test_all_ties_from_the_start_are_said_to_teach_nothing() -> None:
    ties = [replace(pair, strength=0.5) for pair in PAIRS]
    with pytest.raises(CanaryError, match="eight updates without any gradient"):
        run(replace(QUICK, epochs=8), toy_base(), ties)


def test_what_a_pair_loss_tells(tmp_path: Path) -> None:
    """Against a table of log-probabilities made by hand from two policies."""
    base = toy_base()
    policy = trained(policy_on(base))
    pairs = base.text.pairs(PAIRS)
    reference = torch.linspace(-20, -5, 16)
    loss = DPO(beta=0.3, likelihood=0.0).pair_loss(policy, pairs.attach(replies={"reference": reference}))
    with torch.no_grad():
        logps = per_reply(policy.logps(pairs), pairs).view(-1, 2)
    ratios = logps - reference.view(-1, 2)
    h = ratios[:, 0] - ratios[:, 1]
    assert loss.count == 8
    assert float(loss.total) == pytest.approx(float(torch.nn.functional.softplus(-0.3 * h).sum()), rel=1e-5)
    told = {name: float(total) / count for name, (total, count) in loss.told.items()}
    wanted = {
        "preference": float(torch.nn.functional.softplus(-0.3 * h).mean()),
        "accuracy": float((h > 0).float().mean()),
        "accuracy_strict": float((h > 0).float().mean()),
        "margin": 0.3 * float(h.mean()),
        "reward_chosen": 0.3 * float(ratios[:, 0].mean()),
        "reward_rejected": 0.3 * float(ratios[:, 1].mean()),
        "logp_chosen": float(logps[:, 0].mean()),
        "logp_rejected": float(logps[:, 1].mean()),
        "displacement": float(ratios[:, 0].mean()),
    }
    assert told == pytest.approx(wanted, rel=1e-4)


def test_equal_margins_are_half_right() -> None:
    base = toy_base()
    policy = policy_on(base)
    pairs = base.text.pairs(PAIRS)
    with torch.no_grad():
        own = per_reply(policy.logps(pairs), pairs)
    total, count = DPO().pair_loss(policy, pairs.attach(replies={"reference": own})).told["accuracy"]
    assert (float(total), count) == (4.0, 8)


@pytest.mark.parametrize("per", ["reply", "token"])
def test_per_token_margins_and_the_likelihood_term(per: str) -> None:
    base = toy_base()
    policy = trained(policy_on(base))
    pairs = base.text.pairs(PAIRS)
    reference = torch.linspace(-20, -5, 16)
    pairs = pairs.attach(replies={"reference": reference})
    with torch.no_grad():
        logps = per_reply(policy.logps(pairs), pairs)
    lengths = torch.tensor([len(reply) for tree in pairs.trees for reply in tree.replies])
    ratios = ((logps - reference) / (lengths if per == "token" else 1)).view(-1, 2)
    wanted = torch.nn.functional.softplus(-0.1 * (ratios[:, 0] - ratios[:, 1])) - 0.25 * (logps / lengths).view(-1, 2)[:, 0]
    loss = DPO(per=per, likelihood=0.25).pair_loss(policy, pairs)  # type: ignore[arg-type]
    assert float(loss.total) == pytest.approx(float(wanted.sum()), rel=1e-5)
    alone = torch.nn.functional.softplus(-0.1 * (ratios[:, 0] - ratios[:, 1]))
    assert float(loss.told["preference"][0]) == pytest.approx(float(alone.sum()), rel=1e-5)


def test_under_soft_labels_the_likelihood_term_holds_either_side_by_its_strength() -> None:
    base = toy_base()
    policy = policy_on(base)
    ties = [Comparison(Prompt.ask("why"), Completion("yes please"), Completion("no"), strength=0.5)]
    turned = [replace(pair, chosen=pair.rejected, rejected=pair.chosen) for pair in ties]
    losses = []
    for pairs in (ties, turned):
        forest = base.text.pairs(pairs)
        forest = forest.attach(replies={"reference": torch.zeros(2)})
        losses.append(float(DPO(likelihood=1.0).pair_loss(policy, forest).total))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_the_likelihood_term_keeps_chosen_replies_likely() -> None:
    plain, held = (run(replace(QUICK, likelihood=weight), toy_base())[1][-1] for weight in (0.0, 1.0))
    assert held["logp_chosen"] > plain["logp_chosen"]


def test_the_order_of_pairs_in_a_batch_changes_nothing() -> None:
    told = [run(QUICK, toy_base(), pairs)[1] for pairs in (PAIRS, PAIRS)]
    assert told[0] == told[1]
    base = toy_base()
    policy = trained(policy_on(base))
    totals = []
    for pairs in (PAIRS, PAIRS[::-1]):
        forest = base.text.pairs(pairs)
        sums = [float(len(tree.prompt)) for tree in forest.trees for _ in tree.replies]
        totals.append(float(DPO().pair_loss(policy, forest.attach(replies={"reference": -torch.tensor(sums)})).total))
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)


def test_the_reference_is_asked_about_each_pair_once_and_labels_are_paid_once() -> None:
    base = toy_base()
    ledger = Ledger()
    with counting(ledger, base):
        list(QUICK.improve(policy_on(base), Lesson(comparisons=PAIRS)))
    size = base.text.pairs(PAIRS).size
    assert ledger.labels == len(PAIRS)
    assert ledger.read == size * (QUICK.epochs + 1)


def begin(base: Base, folder: Path) -> Role:
    if not folder.exists():
        trained(policy_on(toy_base())).save(folder)
    return load_role(base, folder, "policy", trained=True)


@pytest.mark.parametrize("stop", [1, 3, 5])
@pytest.mark.parametrize("fresh_start", [True, False])
def test_interrupted_is_uninterrupted_bit_for_bit(stop: int, fresh_start: bool, tmp_path: Path) -> None:
    optimizer = replace(QUICK, descent=Descent(lr=3e-3, schedule="linear", warmup=2))

    def go_on(updates: int) -> tuple[list[Metrics], dict[str, Any]]:
        base, found = toy_base(), newest(tmp_path / "checkpoint")
        told: list[Metrics] = []
        with remembering(base, found) as memory:
            policy = policy_on(base) if fresh_start else begin(base, tmp_path / "start")
            for metrics in optimizer.improve(policy, Lesson(comparisons=PAIRS)):
                told.append(metrics)
                if len(told) == updates:
                    memory.write(tmp_path / "checkpoint", updates, {})
                    break
        return told, {name: role.digest for name, role in base.roles.items()}

    whole, roles = go_on(99)
    assert len(whole) == 6
    first, _ = go_on(stop)
    rest, resumed = go_on(99)
    assert first + rest == whole
    assert resumed == roles
