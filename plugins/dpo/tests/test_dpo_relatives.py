"""IPO, SimPO, ORPO and reference-free DPO on the toy base: they learn, and what they tell is what it is called."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from alignzoo.interfaces import Lesson, Metrics
from alignzoo.learning.canaries import Canaries, watching
from alignzoo.learning.descent import Descent
from alignzoo.learning.ledger import Ledger, counting
from alignzoo.learning.memory import newest, remembering
from alignzoo.model.base import Base
from alignzoo.model.forest import Forest, per_reply
from alignzoo.model.role import Role, policy_on
from alignzoo.records import Comparison, Completion, Prompt
from alignzoo.testing import toy_base
from alignzoo_dpo.dpo import DPO
from alignzoo_dpo.ipo import IPO
from alignzoo_dpo.orpo import ORPO
from alignzoo_dpo.simpo import SimPO

Pairwise = DPO | IPO | SimPO | ORPO

PAIRS = [
    Comparison(Prompt.ask(f"is the {thing} {how}"), Completion(good), Completion(bad))
    for thing in ("cat", "dog", "bird", "house")
    for how, good, bad in (("small", "yes please", "no"), ("old", "true thanks", "false and bad because"))
]
TURNED = [replace(pair, chosen=pair.rejected, rejected=pair.chosen) for pair in PAIRS]
UNEVEN = [*PAIRS[:3], *TURNED[3:]]  # what is chosen differs in length
QUICK = Descent(lr=3e-3)
RELATIVES: dict[str, Pairwise] = {
    "ipo": IPO(batch_size=4, epochs=3, descent=QUICK),
    "reference-free": DPO(reference="none", batch_size=4, epochs=3, descent=QUICK),
    "slic": DPO(reference="none", loss="hinge", likelihood=0.1, batch_size=4, epochs=3, descent=QUICK),
    "simpo": SimPO(batch_size=4, epochs=3, descent=QUICK),
    "orpo": ORPO(lam=1.0, batch_size=4, epochs=3, descent=QUICK),
}


def run(optimizer: Pairwise, base: Base, pairs: list[Comparison]) -> tuple[Role, list[Metrics]]:
    policy = policy_on(base)
    with watching(Canaries(base)):
        told = list(optimizer.improve(policy, Lesson(comparisons=pairs)))
    return policy, told


def leads(policy: Role) -> torch.Tensor:
    forest = policy.base.text.pairs(PAIRS)
    with torch.no_grad():
        sums = per_reply(policy.logps(forest), forest).view(-1, 2)
    return sums[:, 0] - sums[:, 1]


@pytest.mark.parametrize("name", sorted(RELATIVES))
def test_they_learn_what_is_preferred_and_with_swapped_pairs_its_opposite(name: str) -> None:
    before = leads(policy_on(toy_base()))
    right, told = run(RELATIVES[name], toy_base(), PAIRS)
    wrong, _ = run(RELATIVES[name], toy_base(), TURNED)
    assert bool((leads(right) > before + 0.5).all())
    assert bool((leads(wrong) < before - 0.5).all())
    assert told[-1]["loss"] < told[0]["loss"]
    assert set(told[0]) >= {"accuracy", "accuracy_strict", "margin", "reward_chosen", "logp_chosen", "logp_rejected"}


@pytest.mark.parametrize("name", sorted(set(RELATIVES) - {"ipo"}))
def test_without_a_reference_none_is_made_or_asked(name: str) -> None:
    base, ledger, optimizer = toy_base(), Ledger(), RELATIVES[name]
    policy = policy_on(base)
    with counting(ledger, base):
        told = list(optimizer.improve(policy, Lesson(comparisons=PAIRS)))
    assert list(base.roles) == ["policy"]
    assert ledger.read == base.text.pairs(PAIRS).size * optimizer.epochs
    assert "displacement" not in told[0]  # what would it be measured from?


def test_ipo_is_dpo_with_that_loss() -> None:
    same = DPO(loss="ipo", beta=0.1, likelihood=0.0, batch_size=4, epochs=3, descent=QUICK)
    assert run(RELATIVES["ipo"], toy_base(), PAIRS)[1] == run(same, toy_base(), PAIRS)[1]


# What each of them tells, against log-probabilities from the bare model ------------------------------------------------


def table(base: Base, pairs: list[Comparison] = PAIRS, over_prompt: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """(replies) Summed log-probabilities and counts, text by text, by the model's own forward pass."""
    sums, counts = [], []
    for tree in base.text.pairs(pairs).trees:
        for reply in tree.replies:
            ids = torch.tensor([tree.prompt + reply])
            with torch.no_grad():
                logps = base.model(ids).logits[0, :-1].float().log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
            first = 0 if over_prompt else len(tree.prompt) - 1
            sums.append(float(logps[first:].sum()))
            counts.append(len(logps[first:]))
    return torch.tensor(sums), torch.tensor(counts)


def first(optimizer: Pairwise, pairs: list[Comparison] = PAIRS) -> Metrics:
    """What the first update over all pairs tells."""
    return next(iter(optimizer.improve(policy_on(toy_base()), Lesson(comparisons=pairs))))


def test_simpo_before_the_first_update() -> None:
    sums, counts = table(toy_base())
    a = (sums / counts).view(-1, 2)
    z = 2.5 * (a[:, 0] - a[:, 1]) - 0.7
    told = first(SimPO(beta=2.5, gamma=0.7, batch_size=8))
    assert told["loss"] == pytest.approx(float(torch.nn.functional.softplus(-z).mean()), rel=1e-4)
    assert told["reward_chosen"] == pytest.approx(2.5 * float(a[:, 0].mean()), rel=1e-4)
    assert told["logp_rejected"] == pytest.approx(float(sums.view(-1, 2)[:, 1].mean()), rel=1e-4)
    held = first(SimPO(beta=2.5, gamma=0.7, likelihood=0.5, batch_size=8))
    assert held["loss"] == pytest.approx(told["loss"] - 0.5 * float(a[:, 0].mean()), rel=1e-4)


def test_reference_free_dpo_before_the_first_update() -> None:
    sums = table(toy_base())[0].view(-1, 2)
    wanted = torch.nn.functional.softplus(-0.1 * (sums[:, 0] - sums[:, 1])).mean()
    told = first(DPO(reference="none", likelihood=0.0, batch_size=8))
    assert told["loss"] == pytest.approx(float(wanted), rel=1e-4)
    assert told["reward_chosen"] == pytest.approx(0.1 * float(sums[:, 0].mean()), rel=1e-4)


@pytest.mark.parametrize("over", ["reply", "token", "text"])
@pytest.mark.parametrize("micro_tokens", [8192, 1])
def test_orpo_before_the_first_update(over: str, micro_tokens: int) -> None:
    """Its likelihood is the mean that its name says, of the whole batch, however it is split."""
    base = toy_base()
    sums, counts = table(base, UNEVEN)
    chosen = (sums / counts).view(-1, 2)[:, 0]
    if over != "reply":
        whole_sums, whole_counts = table(base, UNEVEN, over_prompt=over == "text")
        chosen = whole_sums.view(-1, 2)[:, 0].sum() / whole_counts.view(-1, 2)[:, 0].sum()
    p = (sums / counts).double().exp()
    odds = (p / (1 - p)).log().view(-1, 2)
    ratio = torch.nn.functional.softplus(odds[:, 1] - odds[:, 0]).mean()
    descent = Descent(lr=1e-3, micro_tokens=micro_tokens)
    told = first(ORPO(lam=0.25, over=over, batch_size=8, descent=descent), UNEVEN)  # type: ignore[arg-type]
    assert told["nll"] == pytest.approx(-float(chosen.mean()), rel=1e-4)
    assert told["odds_ratio"] == pytest.approx(float(ratio), rel=1e-4)
    assert told["loss"] == pytest.approx(-float(chosen.mean()) + 0.25 * float(ratio), rel=1e-4)


@pytest.mark.parametrize("over", ["reply", "token", "text"])
def test_orpo_without_the_odds_is_fine_tuning_on_what_was_chosen(over: str) -> None:
    optimizer = ORPO(lam=0.0, over=over, batch_size=8, epochs=4, descent=QUICK)  # type: ignore[arg-type]
    _, told = run(optimizer, toy_base(), PAIRS)
    assert told[-1]["nll"] < told[0]["nll"] - 0.1
    assert told[-1]["logp_chosen"] > told[0]["logp_chosen"] + 0.5


@pytest.mark.parametrize("optimizer", [SimPO(likelihood=0.3), ORPO(), ORPO(over="text"), DPO(reference="none")])
def test_a_tie_is_the_same_from_both_sides(optimizer: Pairwise) -> None:
    ties = [[replace(pair, strength=0.5) for pair in pairs] for pairs in (PAIRS, TURNED)]
    one, other = (first(replace(optimizer, batch_size=8), pairs)["loss"] for pairs in ties)
    assert one == pytest.approx(other, rel=1e-5)
    assert one != pytest.approx(first(replace(optimizer, batch_size=8))["loss"], rel=1e-3)


@pytest.mark.parametrize("name", ["simpo", "orpo", "reference-free"])
def test_interrupted_is_uninterrupted_bit_for_bit(name: str, tmp_path: Path) -> None:
    def go_on(updates: int) -> tuple[list[Metrics], dict[str, Any]]:
        base, told = toy_base(), list[Metrics]()
        with remembering(base, newest(tmp_path)) as memory:
            for metrics in RELATIVES[name].improve(policy_on(base), Lesson(comparisons=PAIRS)):
                told.append(metrics)
                if len(told) == updates:
                    memory.write(tmp_path, updates, {})
                    break
        return told, {role: it.digest for role, it in base.roles.items()}

    whole, roles = go_on(99)
    head, _ = go_on(2)
    rest, resumed = go_on(99)
    assert head + rest == whole
    assert resumed == roles


def test_certain_replies_are_survived() -> None:
    """A policy that is sure of both sides: finite loss and gradient."""
    base = toy_base()
    policy = policy_on(base)
    pairs = base.text.pairs(PAIRS).attach(replies={"share": torch.ones(16)})

    class Sure:
        def logps(self, forest: Forest) -> torch.Tensor:
            return 0.0 * policy.logps(forest)

    loss = ORPO().pair_loss(Sure(), pairs)  # type: ignore[arg-type]
    loss.total.backward()  # type: ignore[no-untyped-call]
    assert math.isfinite(float(loss.total))
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in policy.parameters())
