"""Online DPO on the toy base: which pairs it makes, where it starts, where it goes, and that it can be interrupted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from alignzoo.interfaces import Lesson, LessonError, Manner, Metrics, Optimizer, Reward
from alignzoo.lab.store import Training
from alignzoo.lab.training import Seat, Terms, train
from alignzoo.learning.canaries import Canaries, watching
from alignzoo.learning.choices import Budget, Watch
from alignzoo.learning.descent import Descent
from alignzoo.learning.ledger import Ledger, counting
from alignzoo.learning.memory import Dice
from alignzoo.learning.rollouts import Explorer, Exploring
from alignzoo.model.forest import Forest, Tree, per_reply, plant
from alignzoo.model.role import Role, policy_on
from alignzoo.records import Completion, Prompt
from alignzoo.testing import toy_base
from alignzoo_online_dpo.online_dpo import LOSSES, OnlineDPO, best_and_worst, planted

PROMPTS = [Prompt.ask(f"tell i about the {thing}") for thing in ("cat", "dog", "house", "river", "sun", "moon")]
THINGS = frozenset("cat dog bird fish tree house river stone sun moon".split())
EXPLORING = Exploring(max_tokens=6, unfinished="ignore")
QUICK = OnlineDPO(replies=4, prompts_per_update=6, exploring=EXPLORING, descent=Descent(lr=1e-2))


def things(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    """The share of words that name things."""
    words = [completion.text.split() for completion in completions]
    return [sum(word in THINGS for word in said) / max(1, len(said)) for said in words]


def against(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    return [-score for score in things(prompts, completions)]


def flat(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    return [0.5] * len(completions)


@dataclass
class Tiring:
    """A judge that after so many calls finds everything the same."""

    calls: int

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        self.calls -= 1
        return (things if self.calls >= 0 else flat)(prompts, completions)


def run(optimizer: OnlineDPO, reward: Reward = things, updates: int = 6) -> tuple[Role, list[Metrics]]:
    base = toy_base()
    policy = policy_on(base)
    with watching(Canaries(base)):
        told = list(replace(optimizer, updates=updates).improve(policy, Lesson(prompts=PROMPTS, reward=reward)))
    return policy, told


def quality(policy: Role) -> float:
    groups = policy.sample(PROMPTS, 16, Manner(max_tokens=6, seed=99))
    scores = [score for prompt, group in zip(PROMPTS, groups, strict=True) for score in things([prompt] * 16, group)]
    return sum(scores) / len(scores)


# Pairs -----------------------------------------------------------------------------------------------------------------


def scored(*scores: float) -> Forest:
    """Two prompts with three answers each; the last two answers of the second are the same."""
    trees = [
        Tree((1, 2), ((5, 6), (7,), (8, 9, 2)), (False, False, True)),
        Tree((3,), ((7, 8), (9,), (9,)), (False, False, False)),
    ]
    forest = plant(trees)
    old = -torch.arange(10.0)
    return forest.attach(tokens={"old": old, "reference": 2 * old}, replies={"score": torch.tensor(scores)})


def test_best_and_worst_by_hand() -> None:
    assert best_and_worst(scored(1, 3, 2, 5, 4, 6), 3) == [(1, 0), (5, 4)][:1]  # 5 and 4 are word for word the same
    assert best_and_worst(scored(1, 3, 2, 5, 6, 6), 3) == [(1, 0), (4, 3)]
    assert best_and_worst(scored(3, 3, 2, 5, 5, 5), 3) == [(0, 2)]
    assert best_and_worst(scored(2, 2, 2, 5, 5, 5), 3) == []


def test_pairs_are_planted_with_all_that_is_known_of_them() -> None:
    forest = planted(scored(1, 0, 3, 5, 6, 6), 3, [(2, 1), (4, 3)])
    assert forest.trees == (
        Tree((1, 2), ((8, 9, 2), (7,)), (True, False)),
        Tree((3,), ((9,), (7, 8)), (False, False)),
    )
    # tokens 0 1 | 2 | 3 4 5 || 6 7 | 8 | 9
    assert forest.replies["old"].tolist() == [-12, -2, -8, -13]
    assert forest.replies["reference"].tolist() == [-24, -4, -16, -26]
    assert forest.replies["score"].tolist() == [3, 0, 6, 5]


@dataclass
class Saying:
    """A policy, and what it says of the tokens of a batch."""

    said: torch.Tensor

    def logps(self, batch: Forest, temperature: float) -> torch.Tensor:
        return self.said


def test_a_pair_on_one_level_is_half_right() -> None:
    """Log-ratios of −1 and −1, of −1 and −2, of −2 and −1: right, wrong and neither are one each."""
    pairs = plant([Tree((number,), ((5, 6), (7,))) for number in (1, 2, 3)])
    notes = {"held": torch.tensor([-2.0, -3.0] * 3), "score": torch.tensor([2.0, 1.0] * 3)}
    said = torch.tensor([-1.0, -2.0, -4.0, -1.0, -2.0, -5.0, -2.0, -2.0, -4.0])
    found = OnlineDPO(beta=0.5).pair_loss(Saying(said), pairs.attach(replies=notes))  # type: ignore[arg-type]
    total, count = found.told["accuracy"]
    assert (float(total), count) == (1.5, 3)
    margins = [0.0, 0.5, -0.5]
    assert float(found.total) == pytest.approx(sum(math.log(1 + math.exp(-margin)) for margin in margins))


def test_each_pass_over_a_rounds_pairs_has_an_order_of_its_own() -> None:
    seen: list[tuple[Any, ...]] = []

    def descend(loss: object, part: Forest) -> Metrics:
        seen.append(tuple(tree.prompt for tree in part.trees))
        return {"loss": float(len(seen))}

    pairs = plant([Tree((number,), ((5,), (6,))) for number in range(1, 9)])
    pairs = pairs.attach(replies={"reference": torch.zeros(16), "old": torch.zeros(16)})
    told = OnlineDPO(epochs=3, minibatches=2).learn(descend, None, pairs, Dice(1))  # type: ignore[arg-type]
    assert told == {"loss": 3.5}  # the mean of six steps
    passes = [seen[first] + seen[first + 1] for first in (0, 2, 4)]
    assert len(set(passes)) == 3
    assert all(sorted(each) == [(number,) for number in range(1, 9)] for each in passes)


def test_losses_by_hand() -> None:
    h = torch.tensor([0.0, 2.0, -1.0], dtype=torch.float64)
    assert LOSSES["sigmoid"](h, 0.5).tolist() == pytest.approx([math.log(2), 0.3132616875, 0.9740769842])
    assert LOSSES["ipo"](h, 0.5).tolist() == [1.0, 1.0, 4.0]
    assert LOSSES["hinge"](h, 0.5).tolist() == [1.0, 0.0, 1.5]
    assert set(LOSSES) == {"sigmoid", "ipo", "hinge"}


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_what_a_pair_loss_tells(loss: str) -> None:
    """Against the summed log-probabilities of single replies, at a temperature."""
    base = toy_base()
    policy = policy_on(base)
    exploring = replace(EXPLORING, temperature=0.7)
    forest = Explorer(exploring, policy, policy.frozen(), Lesson(prompts=PROMPTS, reward=things), 0)(PROMPTS, 4).forest
    pairs = planted(forest, 4, best_and_worst(forest, 4))
    pairs = pairs.attach(replies={"score": pairs.replies["score"] + 1})  # the worst answers would all score 0
    held = torch.linspace(-20, -5, len(pairs.last))
    optimizer = OnlineDPO(loss=loss, beta=0.3, exploring=exploring)  # type: ignore[arg-type]
    found = optimizer.pair_loss(policy, pairs.attach(replies={"held": held}))
    with torch.no_grad():
        logps = per_reply(policy.logps(pairs, 0.7), pairs).view(-1, 2)
    ratios = logps - held.view(-1, 2)
    h = ratios[:, 0] - ratios[:, 1]
    assert found.count == len(pairs) > 3
    assert float(found.total.detach()) == pytest.approx(float(LOSSES[loss](h, 0.3).sum()), rel=1e-4)
    told = {name: float(total) / count for name, (total, count) in found.told.items()}
    wanted = {
        "accuracy": float((h > 0).float().mean()),
        "margin": 0.3 * float(h.mean()),
        "logp_chosen": float(logps[:, 0].mean()),
        "logp_rejected": float(logps[:, 1].mean()),
        "displacement": float(ratios[:, 0].mean()),
        "score_gap": float((pairs.replies["score"].view(-1, 2) @ torch.tensor([1.0, -1.0])).mean()),
    }
    assert told == pytest.approx(wanted, rel=1e-4)
    assert told["score_gap"] > 0


# The loop --------------------------------------------------------------------------------------------------------------


def test_it_is_an_optimizer_and_says_what_it_needs() -> None:
    assert isinstance(OnlineDPO(), Optimizer)
    policy = policy_on(toy_base())
    assert OnlineDPO().deploy(policy, Lesson()) is policy
    with pytest.raises(LessonError, match="this run lacks prompts and reward"):
        next(iter(OnlineDPO().improve(policy, Lesson())))
    with pytest.raises(ValueError, match="replies must be at least 2"):
        OnlineDPO(replies=1)
    with pytest.raises(ValueError, match="4 prompts make no 5 minibatches"):
        OnlineDPO(prompts_per_update=4, minibatches=5)


@pytest.mark.parametrize("reference", ["start", "round"])
@pytest.mark.parametrize(("loss", "wanted"), [("sigmoid", math.log(2)), ("ipo", 25.0), ("hinge", 1.0)])
def test_the_first_step_begins_without_a_margin(reference: str, loss: str, wanted: float) -> None:
    for temperature in (1.0, 0.7):
        exploring = replace(EXPLORING, temperature=temperature)
        _, [told] = run(replace(QUICK, reference=reference, loss=loss, exploring=exploring), updates=1)  # type: ignore[arg-type]
        assert told["loss"] == pytest.approx(wanted, rel=1e-4)
        for name in ("margin", "kl", "displacement"):
            assert told[name] == pytest.approx(0, abs=1e-4), name
        assert told["score_gap"] > 0


def test_a_reference_of_the_round_is_where_each_round_begins() -> None:
    """With one step in a round its margin is 0 for ever; against the start it grows."""
    (_, fresh), (_, first) = (run(replace(QUICK, reference=which), updates=4) for which in ("round", "start"))  # type: ignore[arg-type]
    assert all(row["margin"] == pytest.approx(0, abs=1e-4) for row in fresh)
    assert abs(first[-1]["margin"]) > 0.05
    assert fresh[-1]["kl"] > 0.05  # from the start, all the same


@pytest.mark.parametrize("settings", [{}, {"reference": "round", "epochs": 2}, {"loss": "ipo", "replies": 2}])
def test_it_learns_what_is_rewarded_and_with_the_reward_negated_the_opposite(settings: dict[str, Any]) -> None:
    optimizer = replace(QUICK, **settings)
    start = quality(policy_on(toy_base()))
    better, told = run(optimizer, updates=14)
    worse, _ = run(optimizer, against, updates=14)
    assert quality(better) > start + 0.15
    assert quality(worse) < start - 0.05
    assert told[-1]["score"] > told[0]["score"] + 0.03


def test_every_round_is_told_in_finite_numbers() -> None:
    _, told = run(replace(QUICK, epochs=2, minibatches=3), updates=2)
    wanted = {"score", "score_spread", "kl", "entropy", "ended", "length", "untied", "loss", "accuracy", "margin"}
    for row in told:
        assert wanted | {"logp_chosen", "logp_rejected", "displacement", "score_gap", "grad_norm", "lr"} == set(row)
        assert all(math.isfinite(value) for value in row.values())


def test_a_reward_that_tells_nothing_apart_is_refused_at_once() -> None:
    with pytest.raises(LessonError, match="nothing to compare: the answers to each of 6 prompts all score the same"):
        run(QUICK, flat)
    cut = replace(QUICK, exploring=Exploring(max_tokens=1, unfinished="replace"))  # no answer ends, so all are replaced
    with pytest.raises(LessonError, match="nothing to compare"):
        run(cut, lambda prompts, completions: things(prompts, completions))


def test_later_rounds_of_ties_only_are_told_and_move_nothing() -> None:
    first, _ = run(QUICK, updates=1)
    later, told = run(QUICK, Tiring(1), updates=3)
    assert later.digest == first.digest
    assert [row["untied"] > 0 for row in told] == [True, False, False]
    assert "loss" not in told[1]
    assert told[1]["score"] == 0.5


def test_tied_prompts_are_left_out_and_counted() -> None:
    def cats_only(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        scores = [float(len(reply.text)) for reply in completions]
        return [score if "cat" in prompt.text else 0.7 for prompt, score in zip(prompts, scores, strict=True)]

    _, [told] = run(QUICK, cats_only, updates=1)
    assert told["untied"] == pytest.approx(1 / 6)
    assert told["score_gap"] > 0


def test_micro_batches_change_nothing() -> None:
    told = [run(replace(QUICK, descent=replace(QUICK.descent, micro_tokens=limit)), updates=2)[1] for limit in (8192, 60)]
    assert told[0][0] == pytest.approx(told[1][0], rel=1e-4, abs=1e-5)


def test_the_same_seed_gives_the_same_adapter_and_another_seed_another() -> None:
    digests = [run(replace(QUICK, seed=seed, minibatches=2), updates=2)[0].digest for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]


def test_every_answer_is_scored_and_no_label_is_paid() -> None:
    base, ledger = toy_base(), Ledger()
    policy = policy_on(base)
    with counting(ledger, base):
        list(replace(QUICK, updates=2).improve(policy, Lesson(prompts=PROMPTS, reward=things)))
    assert ledger.labels == 0
    assert ledger.written > 0


def test_a_minibatch_is_one_step_and_an_epoch_sees_each_pair_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Forest] = []
    own = OnlineDPO.pair_loss

    def listening(self: OnlineDPO, policy: Role, pairs: Forest) -> Any:
        seen.append(pairs)
        return own(self, policy, pairs)

    monkeypatch.setattr(OnlineDPO, "pair_loss", listening)
    policy = policy_on(toy_base())
    optimizer = replace(QUICK, updates=1, epochs=2, minibatches=2)
    [told] = optimizer.improve(policy, Lesson(prompts=PROMPTS, reward=things))
    assert len(seen) == 4
    pairs = round(told["untied"] * 6)
    for epoch in (seen[:2], seen[2:]):
        prompts = [tree.prompt for part in epoch for tree in part.trees]
        assert len(set(prompts)) == len(prompts) == pairs


@pytest.mark.parametrize("stop", [1, 2])
@pytest.mark.parametrize("reference", ["start", "round"])
def test_interrupted_is_uninterrupted_bit_for_bit(reference: str, stop: int, tmp_path: Path) -> None:
    """Through the lab's own training, with all that survives an update at work."""
    careful = replace(
        QUICK,
        reference=reference,  # type: ignore[arg-type]
        updates=3,
        epochs=2,
        minibatches=2,
        prompts_per_update=4,
        exploring=replace(EXPLORING, scale="start"),
        descent=Descent(lr=5e-3, schedule="linear", warmup=2),
    )

    def go_on(folder: str, updates: int) -> tuple[str, str]:
        files = Training(tmp_path / folder)
        terms = Terms(Budget(updates=updates), Watch(every=0, prompts=2, tokens=4))
        done = train(careful, Lesson(prompts=PROMPTS, reward=things), Seat(toy_base(), policy_on), files, terms)
        rows = [line.partition('"seconds"')[0] for line in files.updates.read_text().splitlines()]
        return done.policy.digest, "\n".join(rows)

    whole = go_on("whole", 99)
    go_on("halves", stop)
    assert go_on("halves", 99) == whole
    assert whole[1].count("\n") == 2
