"""KTO and BCO on the toy base: where they start, where they go, what z₀ is, and that they can be interrupted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from alignzoo.interfaces import Lesson, LessonError, Metrics, Optimizer
from alignzoo.lab.store import Training
from alignzoo.lab.training import Seat, Terms, train
from alignzoo.learning.canaries import Canaries, watching
from alignzoo.learning.choices import Budget, Watch
from alignzoo.learning.descent import Descent, Loss
from alignzoo.learning.ledger import Ledger, counting
from alignzoo.learning.reference import Remembered
from alignzoo.model.ahead import Ahead
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.forest import Forest, per_reply
from alignzoo.model.role import Role, policy_on
from alignzoo.records import Comparison, Completion, Prompt, Rating
from alignzoo.testing import toy_base, toy_folder
from alignzoo_kto.bco import BCO
from alignzoo_kto.kto import KTO, Says, reference_point, strangers
from alignzoo_kto.thumbs import Thumbs, Weights, thumbs_in

THINGS = ("cat", "dog", "bird", "house")
ANSWERS = (
    ("small", "yes please", 1.0),
    ("small", "no", 0.0),
    ("old", "true thanks", 1.0),
    ("old", "false and bad because", 0.0),
)
LOG = [Rating(Prompt.ask(f"is the {thing} {how}"), Completion(said), up) for thing in THINGS for how, said, up in ANSWERS]
LOPSIDED = LOG + [Rating(Prompt.ask(f"what is {what}"), Completion("kind"), 1.0) for what in ("red", "blue", "green", "new")]
"""12 up, 8 down."""
KTO_QUICK = KTO(batch_size=6, epochs=3, descent=Descent(lr=5e-3))
BCO_QUICK = BCO(batch_size=6, epochs=3, descent=Descent(lr=5e-3))
every = pytest.mark.parametrize("optimizer", [KTO_QUICK, BCO_QUICK], ids=["kto", "bco"])


def stirred(policy: Role, size: float = 0.05) -> Role:
    """The role with an adapter that already changes the model."""
    dice = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, tensor in sorted(policy.base.wardrobe.tensors(policy.name).items()):
            if ".lora_B." in key:
                tensor.copy_(size * torch.randn(tensor.shape, generator=dice))
    return policy


def run(optimizer: Any, ratings: Sequence[Rating] = LOG, base: Base | None = None) -> tuple[Role, list[Metrics]]:
    base = base or toy_base()
    policy = policy_on(base)
    with watching(Canaries(base)):
        return policy, list(optimizer.improve(policy, Lesson(ratings=ratings)))


def alone(role: Role, prompt: Prompt, reply: Completion) -> float:
    """log p of one reply to one prompt, in a batch of its own."""
    forest = role.base.text.replies([prompt], [[reply]])
    with torch.no_grad():
        return float(role.logps(forest).sum())


def likelihoods(policy: Role, ratings: Sequence[Rating] = LOG) -> Tensor:
    return torch.tensor([alone(policy, rating.prompt, rating.completion) for rating in ratings])


@every
def test_it_is_an_optimizer_and_says_what_it_needs(optimizer: Any) -> None:
    assert isinstance(optimizer, Optimizer)
    policy = policy_on(toy_base())
    assert optimizer.deploy(policy, Lesson()) is policy
    with pytest.raises(LessonError, match="this run lacks ratings"):
        next(optimizer.improve(policy, Lesson()))


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("quantize", ["none", "int8", "nf4"])
def test_before_the_first_update_policy_and_reference_agree(quantize: str, begun: bool, tmp_path: Path) -> None:
    """No divergence; KTO's loss is half the mean weight, BCO's log 2 times it."""
    loading = Loading(quantize=quantize, device="cpu")  # type: ignore[arg-type]
    for optimizer, half in ((KTO(batch_size=20), 0.5), (BCO(batch_size=20), math.log(2))):
        base = Base.load(str(toy_folder(tmp_path)), loading, Lora(rank=4, alpha=8.0))
        policy = stirred(policy_on(base)) if begun else policy_on(base)
        told = next(iter(replace(optimizer, undesirable=3.0).improve(policy, Lesson(ratings=LOPSIDED))))
        assert told["loss"] == pytest.approx(half * (12 + 3 * 8) / 20, rel=1e-5)
        assert told["accuracy"] == 0.5 or quantize != "none"
        assert told.get("z0", told.get("shift")) == pytest.approx(0, abs=1e-5)
        assert told["displacement"] == pytest.approx(0, abs=1e-4)


@every
def test_what_is_liked_becomes_likelier_and_with_turned_thumbs_the_rest(optimizer: Any) -> None:
    turned = [replace(rating, score=1 - rating.score) for rating in LOG]
    liked = torch.tensor([rating.score == 1 for rating in LOG])
    before = likelihoods(policy_on(toy_base()))
    right, told = run(optimizer)
    wrong, _ = run(optimizer, turned)
    gained, lost = likelihoods(right) - before, likelihoods(wrong) - before
    assert float(gained[liked].mean()) > float(gained[~liked].mean()) + 2
    assert float(lost[liked].mean()) < float(lost[~liked].mean()) - 2
    assert told[-1]["loss"] < told[0]["loss"]
    assert told[-1]["accuracy"] > 0.9


@every
def test_comparisons_teach_it_too(optimizer: Any) -> None:
    pairs = [
        Comparison(Prompt.ask(f"is the {thing} small"), Completion("yes please"), Completion("no"), strength)
        for thing in THINGS
        for strength in (1.0, 0.9, 0.5)
    ]
    lesson = Lesson.of(pairs)
    base = toy_base()
    policy = policy_on(base)
    before = [alone(policy, pairs[0].prompt, side) for side in (pairs[0].chosen, pairs[0].rejected)]
    told = list(optimizer.improve(policy, lesson))
    after = [alone(policy, pairs[0].prompt, side) for side in (pairs[0].chosen, pairs[0].rejected)]
    assert after[0] - after[1] > before[0] - before[1] + 2
    assert (told[0]["ups"], told[0]["downs"], told[0]["neutral"]) == (8, 8, 8)


@every
def test_a_batch_of_one_class_and_a_batch_of_one_work(optimizer: Any) -> None:
    _, told = run(replace(optimizer, batch_size=1, epochs=1), LOPSIDED)
    assert len(told) == 20
    assert {"reward_up" in row for row in told} == {True, False}
    assert all(math.isfinite(value) for row in told for value in row.values())
    assert all(row["grad_norm"] > 0 for row in told)


@every
def test_the_smaller_side_is_raised_by_itself(optimizer: Any) -> None:
    one_in_five = [rating for i, rating in enumerate(LOG) if rating.score == 1 or i % 16 == 1]
    _, [first, *_] = run(optimizer, one_in_five)
    assert (first["ups"], first["downs"]) == (8, 1)
    assert first["weight_down"] == pytest.approx(8 / (4 / 3))
    assert first["weight_up"] == 1


@every
def test_micro_batches_change_nothing(optimizer: Any) -> None:
    told = [
        run(replace(optimizer, descent=replace(optimizer.descent, micro_tokens=limit)), LOPSIDED)[1] for limit in (8192, 20)
    ]
    for one, other in zip(*told, strict=True):
        assert one == pytest.approx(other, rel=2e-3, abs=1e-4)


@every
def test_the_same_seed_gives_the_same_adapter_and_another_seed_another(optimizer: Any) -> None:
    digests = [run(replace(optimizer, seed=seed))[0].digest for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]


# The loss, against log-probabilities that are asked for one by one ----------------------------------------------------


def test_z0_and_the_loss_of_kto_by_hand() -> None:
    """Four thumbs, two of them on one prompt, and a policy that has moved: z₀ from the pairs that the rotation would give, but
    that no answer meets its own prompt."""
    base = toy_base()
    policy = policy_on(base)
    start = policy.frozen()
    stirred(policy)
    two = Prompt.ask("why")
    said = [(Prompt.ask("how"), "yes please"), (two, "no"), (two, "true thanks"), (Prompt.ask("what"), "kind")]
    ratings = [Rating(prompt, Completion(text), up) for (prompt, text), up in zip(said, (1.0, 0.0, 1.0, 0.0), strict=True)]
    others = [3, 0, 0, 2]
    thumbs = thumbs_in(ratings, None)
    optimizer = KTO(beta=0.2)
    pairs = [(ratings[i].prompt, ratings[j].completion) for i, j in enumerate(others)]
    wanted = sum(alone(policy, *pair) - alone(start, *pair) for pair in pairs) / 4
    for at_once in (8192, 20):  # read ahead, and in pieces
        z0 = z0_of(policy, start, thumbs, range(4), at_once)
        assert not z0.requires_grad
        assert float(z0) == pytest.approx(max(0.0, wanted), abs=1e-4)
    forest = thumbs.forest(range(4), base)
    reference = torch.tensor([alone(start, r.prompt, r.completion) for r in ratings])
    forest = forest.attach(replies={"reference": reference, "z0": torch.full((4,), 0.7)})
    loss = optimizer.loss(policy, Weights(2.0, 3.0), forest)
    ratios = [alone(policy, r.prompt, r.completion) - float(ref) for r, ref in zip(ratings, reference, strict=True)]
    sigma = [1 / (1 + math.exp(-0.2 * (ratio - 0.7))) for ratio in ratios]
    assert loss.count == 4
    assert float(loss.total.detach()) == pytest.approx(
        2 * (1 - sigma[0]) + 3 * sigma[1] + 2 * (1 - sigma[2]) + 3 * sigma[3], rel=1e-4
    )
    told = {name: float(total) / count for name, (total, count) in loss.told.items()}
    right = [ratios[0] > 0.7, ratios[1] < 0.7, ratios[2] > 0.7, ratios[3] < 0.7]
    assert told == pytest.approx(
        {
            "accuracy": sum(right) / 4,
            "reward_up": 0.1 * (ratios[0] + ratios[2]),
            "reward_down": 0.1 * (ratios[1] + ratios[3]),
            "logp_up": (alone(policy, *said_by(ratings[0])) + alone(policy, *said_by(ratings[2]))) / 2,
            "logp_down": (alone(policy, *said_by(ratings[1])) + alone(policy, *said_by(ratings[3]))) / 2,
            "displacement": (ratios[0] + ratios[2]) / 2,
        },
        rel=1e-3,
        abs=1e-4,
    )


def z0_of(policy: Role, reference: Role, thumbs: Thumbs, places: Sequence[int], at_once: int = 8192) -> Tensor:
    """z₀ of a batch that is dealt in this order."""
    others = dict(zip(places, strangers(places, thumbs.prompts), strict=True))
    forest, met = thumbs.forest(places, policy.base), thumbs.strange(places, others, policy.base)
    return reference_point(Ahead(policy, forest, at_once), met, Remembered(reference, at_once).beside(forest, met)[1])


def said_by(rating: Rating) -> tuple[Prompt, Completion]:
    return rating.prompt, rating.completion


def test_z0_is_positive_where_the_policy_has_moved_that_way_and_never_negative() -> None:
    """Between a policy and its reference, turned round: one of the two means is positive."""
    base = toy_base()
    policy = policy_on(base)
    start = policy.frozen()
    moved = stirred(policy).frozen("moved")
    thumbs = thumbs_in(LOG, None)
    one, other = float(z0_of(moved, start, thumbs, range(16))), float(z0_of(start, moved, thumbs, range(16)))
    assert min(one, other) == 0.0
    assert max(one, other) > 0.1


@pytest.mark.parametrize("pairs", ["apart", "together"])
def test_who_is_matched_is_settled_in_the_first_epoch_and_the_reference_asked_once(pairs: Any) -> None:
    """By the batches as they are first dealt; in later epochs records come in other company and keep their partners."""
    base, optimizer = toy_base(), KTO(batch_size=4, epochs=3, seed=5, pairs=pairs)
    words = " ".join(rating.completion.text for rating in LOG).split()
    said = [replace(rating, completion=Completion(" ".join(words[n : n + 2 + n % 3]))) for n, rating in enumerate(LOG)]
    thumbs = thumbs_in(said, None, pairs)
    deck = thumbs.deck(4, 3, 5)
    others = optimizer.mismatched(deck, thumbs.prompts)
    first = list(deck)[:4]
    assert [others[place] for batch in first for place in batch] == [m for b in first for m in strangers(b, thumbs.prompts)]
    assert all(thumbs.prompts[place] != thumbs.prompts[other] for place, other in others.items())
    reads = []
    for _ in optimizer.improve(policy_on(base), Lesson(ratings=said)):
        reads.append(base.meter.read)
    batch, met = thumbs.forest(range(16), base), thumbs.strange(range(16), others, base)
    once = batch.size + len(met.targets)  # the batch and, of its strangers, their own tokens
    assert [reads[3], reads[7] - reads[3], reads[11] - reads[7]] == [2 * once, once, once]


def test_all_of_a_batch_has_the_z0_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    own = KTO.loss

    def listening(self: KTO, policy: Says, weights: Weights, forest: Forest) -> Loss:
        seen.append(forest.replies["z0"])
        return own(self, policy, weights, forest)

    monkeypatch.setattr(KTO, "loss", listening)
    optimizer = replace(KTO_QUICK, batch_size=8, epochs=3, descent=Descent(lr=2e-2, micro_tokens=20))
    told = list(optimizer.improve(policy_on(toy_base()), Lesson(ratings=LOG)))
    assert len(seen) > len(told)  # micro-batches
    assert all(len(set(z0.tolist())) == 1 and not z0.requires_grad for z0 in seen)
    assert {float(z0[0]) for z0 in seen} == {row["z0"] for row in told}
    assert max(row["z0"] for row in told) > 0  # it does move


def test_the_loss_of_bco_by_hand() -> None:
    base = toy_base()
    policy = stirred(policy_on(base))
    thumbs = thumbs_in(LOG[:3], None)
    reference, shift = torch.tensor([-9.0, -8.0, -7.0]), torch.full((3,), 0.3)
    forest = thumbs.forest(range(3), base).attach(replies={"reference": reference, "shift": shift})
    loss = BCO(beta=0.2).loss(policy, Weights(2.0, 3.0), forest)
    rewards = [0.2 * (alone(policy, *said_by(r)) - float(ref)) for r, ref in zip(LOG[:3], reference, strict=True)]
    signs = [(1, 2.0), (-1, 3.0), (1, 2.0)]
    wanted = sum(weight * math.log1p(math.exp(-sign * (r - 0.3))) for r, (sign, weight) in zip(rewards, signs, strict=True))
    assert loss.count == 3
    assert float(loss.total.detach()) == pytest.approx(wanted, rel=1e-4)
    told = {name: float(total) / count for name, (total, count) in loss.told.items()}
    assert told["reward_up"] == pytest.approx((rewards[0] + rewards[2]) / 2, rel=1e-3)
    assert told["displacement"] == pytest.approx(told["reward_up"] / 0.2, rel=1e-4)
    assert told["accuracy"] == pytest.approx(sum(sign * (r - 0.3) > 0 for r, (sign, _) in zip(rewards, signs, strict=True)) / 3)


def test_the_shift_of_bco_is_what_earlier_batches_earned() -> None:
    """By the sides, and never forgetting, at two updates."""
    _, told = run(replace(BCO_QUICK, batch_size=8, epochs=1, kept=1.0, descent=Descent(lr=2e-2)), LOPSIDED)
    assert told[0]["shift"] == 0
    assert told[1]["shift"] == pytest.approx((told[0]["reward_up"] + told[0]["reward_down"]) / 2, abs=1e-6)
    _, told = run(replace(BCO_QUICK, batch_size=20, epochs=3, kept=0.0, descent=Descent(lr=2e-2)), LOPSIDED)
    assert told[2]["shift"] == pytest.approx((told[1]["reward_up"] + told[1]["reward_down"]) / 2, abs=1e-6)
    _, told = run(replace(BCO_QUICK, batch_size=20, epochs=3, kept=0.0, middle="examples", descent=Descent(lr=2e-2)), LOPSIDED)
    assert told[2]["shift"] == pytest.approx((12 * told[1]["reward_up"] + 8 * told[1]["reward_down"]) / 20, abs=1e-6)
    assert abs(told[2]["shift"]) > 1e-3


def test_the_shift_that_is_told_is_the_one_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    own = BCO.loss

    def listening(self: BCO, policy: Role, weights: Weights, forest: Forest) -> Loss:
        seen.append(float(forest.replies["shift"].unique()))
        return own(self, policy, weights, forest)

    monkeypatch.setattr(BCO, "loss", listening)
    optimizer = replace(BCO_QUICK, batch_size=8, epochs=2)
    told = list(optimizer.improve(policy_on(toy_base()), Lesson(ratings=LOG)))
    assert seen == pytest.approx([row["shift"] for row in told])
    assert seen[0] == 0 != seen[-1]


# Data that it must refuse or bear ---------------------------------------------------------------------------------------


def test_data_without_a_stranger_is_refused_before_the_first_pass() -> None:
    base = toy_base()
    one_prompt = LOG[:2]
    for optimizer, ratings, message in (
        (KTO_QUICK, one_prompt, 'all ratings are of one prompt, so no answer is mismatched; use baseline = "none"'),
        (replace(KTO_QUICK, baseline="neighbours", batch_size=5), LOG, "16 ratings in batches of 5 leave a batch of one"),
        (replace(KTO_QUICK, baseline="neighbours", batch_size=1), LOG, "leave a batch of one, which has no neighbour"),
        (KTO_QUICK, [replace(rating, score=1.0) for rating in LOG], "all 16 ratings are 1"),
        (BCO_QUICK, [replace(rating, score=1.0) for rating in LOG], "all 16 ratings are 1"),
    ):
        with pytest.raises(LessonError, match=message):
            next(iter(optimizer.improve(policy_on(base), Lesson(ratings=ratings))))
    assert base.meter.read == 0
    _, told = run(replace(KTO_QUICK, baseline="none"), one_prompt)
    assert told[-1]["z0"] == 0
    assert told[-1]["accuracy"] == 1


def test_scores_with_a_threshold() -> None:
    stars = [replace(rating, score=1 + 4 * rating.score) for rating in LOG]
    stars.append(replace(LOG[0], score=3.0))
    (plain, _), (starred, told) = run(KTO_QUICK), run(replace(KTO_QUICK, threshold=3.0), stars)
    assert plain.digest == starred.digest
    assert told[0]["neutral"] == 1


def test_neighbours_and_strangers_are_the_same_where_no_prompt_is_twice_in_a_batch() -> None:
    ratings = [rating for i, rating in enumerate(LOG) if i % 4 in (0, 3)]
    digests = {run(replace(KTO_QUICK, batch_size=4, baseline=how), ratings)[0].digest for how in ("strangers", "neighbours")}  # type: ignore[arg-type]
    assert len(digests) == 1
    digests = {run(replace(KTO_QUICK, batch_size=4, baseline=how), LOG)[0].digest for how in ("strangers", "neighbours")}  # type: ignore[arg-type]
    assert len(digests) == 2
    together = replace(KTO_QUICK, pairs="together")
    for size, same in ((4, 1), (2, 2)):  # of two couples each answer has one of the other before it, of one couple it has not
        digests = {run(replace(together, batch_size=size, baseline=how))[0].digest for how in ("strangers", "neighbours")}  # type: ignore[arg-type]
        assert len(digests) == same


@every
@pytest.mark.parametrize("pairs", ["apart", "together"])
def test_labels_are_paid_once(optimizer: Any, pairs: Any) -> None:
    base, ledger, optimizer = toy_base(), Ledger(), replace(optimizer, pairs=pairs)
    with counting(ledger, base):
        list(optimizer.improve(policy_on(base), Lesson(ratings=LOG)))
    assert ledger.labels == 16
    if isinstance(optimizer, BCO):
        size = thumbs_in(LOG, None, pairs).forest(range(16), base).size
        assert ledger.read == size * (optimizer.epochs + 1)


@every
@pytest.mark.parametrize("stop", [1, 4])
def test_interrupted_is_uninterrupted_bit_for_bit(optimizer: Any, stop: int, tmp_path: Path) -> None:
    """Through the lab's own training, over more than an epoch, with a last batch that is smaller."""
    careful = replace(optimizer, batch_size=7, epochs=2, descent=Descent(lr=5e-3, schedule="linear", warmup=2))

    def go_on(folder: str, updates: int) -> tuple[str, str]:
        files = Training(tmp_path / folder)
        terms = Terms(Budget(updates=updates), Watch(every=0, prompts=2, tokens=4))
        done = train(careful, Lesson(ratings=LOPSIDED), Seat(toy_base(), policy_on), files, terms)
        rows = [line.partition('"seconds"')[0] for line in files.updates.read_text().splitlines()]
        return done.policy.digest, "\n".join(rows)

    whole = go_on("whole", 99)
    go_on("halves", stop)
    assert go_on("halves", 99) == whole
    assert whole[1].count("\n") == 5


def test_per_reply_is_what_alone_says() -> None:
    """The yardstick of this file, against the packed batch."""
    base = toy_base()
    policy = stirred(policy_on(base))
    forest = thumbs_in(LOG, None).forest(range(16), base)
    with torch.no_grad():
        packed = per_reply(policy.logps(forest), forest)
    assert torch.allclose(packed, likelihoods(policy), atol=1e-4)
