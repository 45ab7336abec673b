"""Each canary with a planted fault that it catches, beside a healthy run that it lets pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from plain import loaded, mixed, stirred
from torch import Tensor

from alignzoo.interfaces import Manner
from alignzoo.learning.canaries import Canaries, CanaryError, kl_from, watching
from alignzoo.learning.choices import Watch
from alignzoo.learning.descent import Descent, Loss
from alignzoo.model import sampling
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading
from alignzoo.model.forest import Forest, Tree, per_reply, plant
from alignzoo.model.role import Role, bare_on, policy_on, role_on
from alignzoo.records import Comparison, Completion, Prompt
from alignzoo.testing import toy_base, toy_folder

ASK = [Prompt.ask(text) for text in ("is the cat small", "why", "tell the dog", "how old is the house")]
SAID = [Completion("yes please"), Completion("no"), Completion("the dog is red and old"), Completion("so")]


def batch(base: Base) -> Forest:
    pairs = [Comparison(ask, said, other) for ask, said, other in zip(ASK, SAID, SAID[::-1], strict=True)]
    return base.text.pairs(pairs, base.device)


def preference(policy: Role, reference: Role) -> Callable[[Forest], Loss]:
    def loss(forest: Forest) -> Loss:
        margin = per_reply(policy.logps(forest) - reference.logps(forest), forest).view(-1, 2)
        return Loss.over(-torch.nn.functional.logsigmoid(0.1 * (margin[:, 0] - margin[:, 1])))

    return loss


def imitation(policy: Role) -> Callable[[Forest], Loss]:
    return lambda forest: Loss.over(-policy.logps(forest))


def moved(canaries: Canaries) -> bool:
    """Whether every descent has moved something."""
    return all(seen.moved for seen in canaries.seen.values())


@contextmanager
def watched(base: Base, *, fresh: bool = True, **watch: Any) -> Iterator[Canaries]:
    with watching(Canaries(base, Watch(**watch), fresh=fresh)) as canaries:
        yield canaries


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(
    ("quantize", "dtype"),
    [("none", "float32"), ("int8", "float32"), ("nf4", "float32"), ("nf4", "bfloat16"), ("none", "bfloat16")],
)
@pytest.mark.parametrize("trained", [False, True])
def test_a_healthy_run_is_left_in_peace(quantize: str, dtype: str, checkpointing: bool, trained: bool, tmp_path: Path) -> None:
    how = Loading(quantize=quantize, dtype=dtype, checkpointing=checkpointing, device="cpu")  # type: ignore[arg-type]
    base = Base.load(str(toy_folder(tmp_path)), how)
    with watched(base) as canaries:
        policy = policy_on(base)
        if trained:
            stirred(policy)
        start, reference = policy.frozen("start"), policy.frozen()
        descend = Descent(lr=1e-3, micro_tokens=40).on(policy)
        first = descend(preference(policy, reference), batch(base))
        assert first["loss"] == pytest.approx(0.693147, abs=1e-5 if dtype == "float32" else 1e-2)
        for _ in range(2):
            descend(preference(policy, reference), batch(base))
        canaries.untouched()
        seen = canaries.look(policy, start, ASK, seed=0)
    assert seen["kl"] == pytest.approx(0.0, abs=5.0)  # over one reply to each prompt: as it falls
    assert 0 < seen["length"] <= 32
    [both] = canaries.seen.values()
    assert both.moved
    assert both.at_ends
    assert sorted(canaries.digests) == ["reference", "start"]
    assert base.listener is None


# Before the first update -----------------------------------------------------------------------------------------------


def test_a_bare_reference_of_a_trained_start_is_caught(base: Base) -> None:
    with watched(base):
        policy, reference = stirred(policy_on(base)), bare_on(base, "reference")
        with pytest.raises(
            CanaryError, match=r"before the first update 'reference' and 'policy' differ by .* nats on one token"
        ):
            Descent().on(policy)(preference(policy, reference), batch(base))


def test_a_policy_that_moved_after_its_copy_was_made_is_caught(base: Base) -> None:
    with watched(base):
        policy = stirred(policy_on(base))
        anchor = policy.frozen("anchor")
        stirred(policy, seed=1, size=0.001)
        with pytest.raises(CanaryError, match="'anchor' and 'policy' differ"):
            Descent().on(policy)(preference(policy, anchor), batch(base))


def test_a_resumed_run_has_moved_and_may(base: Base) -> None:
    with watched(base, fresh=False):
        policy, reference = stirred(policy_on(base)), bare_on(base, "reference")
        Descent().on(policy)(preference(policy, reference), batch(base))


def test_other_frozen_roles_need_not_agree(base: Base) -> None:
    with watched(base):
        policy = stirred(policy_on(base))
        stirred(role_on(base, "reward", trained=False), seed=5)
        bare_on(base, "judge")
        Descent().on(policy)(imitation(policy), batch(base))


def test_a_finished_reply_without_its_end_is_caught(base: Base) -> None:
    with watched(base):
        policy = policy_on(base)
        lost = Completion("yes please", tokens=(7, 10), finished=True)
        with pytest.raises(CanaryError, match="a finished reply has no end-of-sequence token"):
            Descent().on(policy)(imitation(policy), base.text.replies(ASK[:1], [[lost]]))
    with watched(toy_base()) as canaries:
        policy = policy_on(canaries.base)
        cut = Completion("yes please", tokens=(7, 10), finished=False)
        Descent().on(policy)(imitation(policy), base.text.replies(ASK[:1], [[cut]]))


@pytest.mark.parametrize("wrong", ["mean", "count", "couple"])
def test_a_loss_that_micro_batching_would_change_is_caught(base: Base, wrong: str) -> None:
    """A mean of means; a count that is not additive; a batch whose trees look at each other."""
    policy = stirred(policy_on(base))

    def loss(forest: Forest) -> Loss:
        losses = -policy.logps(forest)
        if wrong == "mean":
            return Loss(losses.mean(), 1)
        if wrong == "count":
            return Loss(losses.sum(), 1)
        return Loss.over((losses - losses.mean()) ** 2)

    with watched(base), pytest.raises(CanaryError, match="micro-batching would change the result"):
        Descent().on(policy)(loss, batch(base))


# The first update ------------------------------------------------------------------------------------------------------


def test_ends_outside_of_the_loss_are_caught(base: Base) -> None:
    """Planted: an optimizer that leaves out the last token of each reply."""
    policy = policy_on(base)

    def loss(forest: Forest) -> Loss:
        inside = torch.ones(len(forest.targets), dtype=torch.bool)
        inside[forest.last] = False
        return Loss.over(-policy.logps(forest)[inside])

    with watched(base), pytest.raises(CanaryError, match="no gradient reaches the end-of-sequence tokens"):
        Descent().on(policy)(loss, batch(base))


@pytest.mark.parametrize("micro_tokens", [30, 8192])
def test_replies_that_were_cut_have_no_ends_to_miss(base: Base, micro_tokens: int) -> None:
    policy = policy_on(base)
    cut = [[Completion(said.text, finished=False)] for said in SAID]
    with watched(base) as canaries:
        Descent(micro_tokens=micro_tokens).on(policy)(imitation(policy), base.text.replies(ASK, cut))
    assert moved(canaries)


def test_a_first_update_without_gradient_is_waited_for_but_not_for_ever(base: Base) -> None:
    """A hinge may be satisfied at first; eight updates of nothing are a loss that does not depend on what is trained."""
    policy = policy_on(base)
    asleep = lambda forest: Loss.over(0.0 * policy.logps(forest))  # noqa: E731
    with watched(base) as canaries:
        descend = Descent().on(policy)
        for _ in range(7):
            descend(asleep, batch(base))
        assert not moved(canaries)
        descend(imitation(policy), batch(base))
        assert moved(canaries)
    with watched(base):
        descend = Descent().on(policy)
        for _ in range(7):
            descend(asleep, batch(base))
        with pytest.raises(CanaryError, match="eight updates without any gradient"):
            descend(asleep, batch(base))


def test_a_role_that_no_gradient_reaches_is_caught(base: Base) -> None:
    policy, critic = policy_on(base), role_on(base, "critic")
    with watched(base), pytest.raises(CanaryError, match="the first update did not move critic: no gradient reached it"):
        Descent().on(policy, critic)(imitation(policy), batch(base))


@pytest.mark.parametrize("when", ["first", "later"])
def test_a_base_that_moves_is_caught(base: Base, when: str) -> None:
    """One bit of one weight."""
    policy = policy_on(base)
    weight = base.model.model.layers[1].mlp.up_proj.base_layer.weight

    def nudge() -> None:
        with torch.no_grad():
            weight.view(torch.int32)[3, 5] ^= 1

    def loss(forest: Forest) -> Loss:
        if when == "first" and torch.is_grad_enabled():
            nudge()
        return imitation(policy)(forest)

    with watched(base) as canaries:
        descend = Descent().on(policy)
        if when == "first":
            with pytest.raises(CanaryError, match="the frozen base has moved"):
                descend(loss, batch(base))
            return
        descend(loss, batch(base))
        canaries.untouched()
        nudge()
        with pytest.raises(CanaryError, match="the frozen base has moved"):
            canaries.untouched()


@pytest.mark.parametrize("part", ["weight", "scale"])
def test_a_quantized_base_that_is_repacked_is_caught(part: str, tmp_path: Path) -> None:
    """Also where only the scales of the blocks change."""
    base = loaded(toy_folder(tmp_path), "nf4")
    canaries = Canaries(base)
    canaries.untouched()
    weight = base.model.model.layers[0].mlp.up_proj.weight
    if part == "weight":
        weight.data[5] += 1
    else:
        weight.quant_state.absmax[3] += 1
    with pytest.raises(CanaryError, match="the frozen base has moved"):
        canaries.untouched()


def test_a_reference_that_moves_is_caught(base: Base) -> None:
    """Planted: somebody trains the reference's adapter along with the policy's."""
    with watched(base) as canaries:
        policy = stirred(policy_on(base))
        reference = policy.frozen()
        descend = Descent().on(policy)
        descend(preference(policy, reference), batch(base))
        canaries.untouched()
        with torch.no_grad():
            reference.adapter[0][0, 0] += 1e-6
        with pytest.raises(CanaryError, match="the frozen role 'reference' has moved"):
            canaries.untouched()


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_moves_nothing(base: Base, wrong: float) -> None:
    """Also without anybody watching."""
    policy = stirred(policy_on(base))
    digest = policy.digest
    for slope, shift in ((wrong, 0.0), (1.0, wrong)):  # a constant spoils no gradient: the loss alone can tell

        def spoilt(forest: Forest, slope: float = slope, shift: float = shift) -> Loss:
            return Loss.over(policy.logps(forest) * slope + shift)

        with pytest.raises(CanaryError, match="nothing was moved by this update"):
            Descent().on(policy)(spoilt, batch(base))
        assert policy.digest == digest


def test_a_gradient_that_is_no_number_moves_nothing(base: Base) -> None:
    """The loss itself may be finite: √ at 0."""
    policy = stirred(policy_on(base))
    digest = policy.digest
    with pytest.raises(CanaryError, match=r"gradient's norm (nan|inf)"):
        Descent().on(policy)(lambda forest: Loss.over((policy.logps(forest) * 0).sqrt()), batch(base))
    assert policy.digest == digest


# Looks -----------------------------------------------------------------------------------------------------------------


class Unworn(Role):
    """Samples with another adapter than its own: with none, as rollouts from a server that never got the update."""

    wears: str | None = None

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner(), **more: Any) -> list[list[Completion]]:
        return sampling.write(self.base, self.wears, prompts, n, manner)


def unworn(base: Base, wears: str | None) -> Role:
    trained = stirred(policy_on(base))
    role = Unworn(base, "policy", trained.adapter, bare=False, trained=True)
    role.wears = wears
    return role


def test_samples_that_ignore_the_adapter_are_caught(base: Base) -> None:
    role, start = unworn(base, None), bare_on(base, "start")
    with pytest.raises(CanaryError, match="match the start instead: the adapter is ignored in sampling"):
        Canaries(base).look(role, start, ASK, seed=0)


def test_samples_of_somebody_else_are_caught(base: Base) -> None:
    stirred(role_on(base, "critic"), seed=9)
    role, start = unworn(base, "critic"), bare_on(base, "start")
    with pytest.raises(CanaryError, match=r"samples do not come from the policy in training: .* differ by [\d.]+$"):
        Canaries(base).look(role, start, ASK, seed=0)


def test_a_policy_that_has_come_apart_is_stopped(base: Base) -> None:
    start, policy = bare_on(base, "start"), stirred(policy_on(base), size=0.5)
    seen = Canaries(base, Watch(kl_limit=1e6)).look(policy, start, ASK, seed=0)
    assert seen["kl"] > 60
    with pytest.raises(CanaryError, match=r"nats per reply from its start \(limit 60\): it has come apart"):
        Canaries(base).look(policy, start, ASK, seed=0)


def test_recorded_prompts_that_are_too_long_to_be_answered_are_not_asked(base: Base) -> None:
    policy, long = policy_on(base), Prompt.ask("cat dog " * 60)
    start = policy.frozen("start")
    seen = Canaries(base).look(policy, start, [*ASK, long], seed=0)
    assert seen == Canaries(base).look(policy, start, ASK, seed=0)
    assert Canaries(base).look(policy, start, [long], seed=0) == {}


def test_a_look_measures_the_kl_that_it_says(base: Base) -> None:
    """Σ (log π − log π₀) over what π wrote, by reply; the same in two ways."""
    start, policy = bare_on(base, "start"), stirred(policy_on(base), size=0.03)
    seen = Canaries(base, Watch(prompts=2, tokens=9)).look(policy, start, ASK, seed=4)
    groups = policy.sample([ASK[0], ASK[2]], 1, Manner(max_tokens=9, seed=4))
    forest = base.text.replies([ASK[0], ASK[2]], groups)
    with torch.no_grad():
        gap = per_reply(policy.logps(forest) - start.logps(forest), forest)
    assert seen["kl"] == pytest.approx(float(gap.mean()), abs=1e-4)
    assert seen["length"] == pytest.approx(sum(len(group[0].tokens) for group in groups) / 2)


PAIRS = [
    Comparison(Prompt.ask(word), Completion("yes please"), Completion("no"), strength)
    for word, strength in (("why", 1.0), ("how", 0.5), ("the cat", 0.8), ("the dog", 1.0), ("a house", 1.0))
]


def test_a_look_at_pairs_measures_both_sides_since_the_start(base: Base) -> None:
    start, policy = bare_on(base, "start"), stirred(policy_on(base), size=0.03)
    seen = Canaries(base, Watch(pairs=2)).compare(policy, start, PAIRS)
    forest = base.text.pairs([PAIRS[0], PAIRS[3]])  # of the four that are decided, two that are spread over them
    with torch.no_grad():
        moved = (per_reply(policy.logps(forest), forest) - per_reply(start.logps(forest), forest)).view(-1, 2)
    assert seen == pytest.approx({"chosen": float(moved[:, 0].mean()), "rejected": float(moved[:, 1].mean())}, abs=1e-4)
    assert abs(seen["chosen"] - seen["rejected"]) > 1e-3
    assert Canaries(base).compare(start, start, PAIRS) == {"chosen": 0.0, "rejected": 0.0}


def test_without_decided_pairs_nothing_is_said_of_them(base: Base) -> None:
    start, policy = bare_on(base, "start"), policy_on(base)
    assert Canaries(base).compare(policy, start, ()) == {}
    assert Canaries(base).compare(policy, start, PAIRS[1:2]) == {}
    assert Canaries(base, Watch(pairs=0)).compare(policy, start, PAIRS) == {}


def test_kl_by_hand() -> None:
    forest = plant([Tree((7,), ((8, 9), (8,))), Tree((7,), ((9,),))])
    drawn, start = torch.tensor([-1.0, -2.0, -3.0, -0.5]), torch.tensor([-1.5, -4.0, -2.0, -0.5])
    assert kl_from(drawn, start, forest) == pytest.approx((2.5 - 1.0 + 0.0) / 3)


# Resuming --------------------------------------------------------------------------------------------------------------


def test_a_resumed_run_knows_its_base_and_its_reference(base: Base) -> None:
    def begun(base: Base, seed: int = 0) -> tuple[Canaries, Role]:
        policy = stirred(policy_on(base), seed=seed)
        policy.frozen()
        return Canaries(base, fresh=False), policy

    with watched(base) as canaries:
        policy = stirred(policy_on(base))
        reference = policy.frozen()
        Descent().on(policy)(preference(policy, reference), batch(base))
    facts = canaries.facts()

    again, _ = begun(toy_base())
    again.recognise(facts)
    again.untouched()
    moved, _ = begun(toy_base(), seed=1)
    moved.recognise(facts)
    with pytest.raises(CanaryError, match="the frozen role 'reference' has moved"):
        moved.untouched()
    other, _ = begun(toy_base(seed=1))
    with pytest.raises(CanaryError, match="the base model is not the one this run was started with"):
        other.recognise(facts)


def test_nobody_watches_outside_of_the_block(base: Base) -> None:
    with watched(base):
        pass
    policy, reference = stirred(policy_on(base)), bare_on(base, "reference")
    Descent().on(policy)(preference(policy, reference), batch(base))


def test_the_canaries_cost_nothing_of_the_update(base: Base) -> None:
    """The same update with and without them."""
    done = []
    for watch in (True, False):
        fresh = toy_base()
        policy = stirred(policy_on(fresh))
        descend = Descent(lr=1e-3).on(policy)
        if watch:
            with watched(fresh):
                told = descend(imitation(policy), mixed())
        else:
            told = descend(imitation(policy), mixed())
        done.append((told, policy.digest))
    assert done[0] == done[1]


def test_an_unused_tensor_type_is_no_forest(base: Base) -> None:
    """Batches of another form are descended without the checks that read a forest."""

    class One:
        def __len__(self) -> int:
            return 1

        def split(self, limit: int) -> Iterator[One]:
            yield self

    policy = policy_on(base)

    def loss(batch: One) -> Loss:
        total: Tensor = sum((parameter.sum() for parameter in policy.parameters()), torch.zeros(()))
        return Loss(total, 1)

    with watched(base) as canaries:
        Descent().on(policy)(loss, One())
    assert moved(canaries)


def test_each_descent_is_watched_from_its_own_first_update(base: Base) -> None:
    """PPO may move its critic apart: the critic's first update is checked though the policy has moved already."""
    policy, critic = policy_on(base), role_on(base, "critic")
    policy.frozen()
    with watched(base) as canaries:
        Descent(lr=1e-2).on(policy)(imitation(policy), batch(base))
        step = Descent().on(critic)
        with pytest.raises(CanaryError, match="the loss of two trees together"):
            step(lambda forest: Loss(critic.logps(forest).mean(), len(forest)), batch(base))
    assert set(canaries.seen) == {("policy",), ("critic",)}


def test_a_reference_made_later_is_guarded_too(base: Base) -> None:
    policy = policy_on(base)
    with watched(base) as canaries:
        descend = Descent(lr=1e-2).on(policy)
        descend(imitation(policy), batch(base))
        later = policy.frozen()
        descend(imitation(policy), batch(base))
        with torch.no_grad():
            later.adapter[0].add_(1.0)
        with pytest.raises(CanaryError, match="the frozen role 'reference' has moved"):
            canaries.untouched()


@pytest.mark.parametrize("frozen", ["bare", "copied"])
def test_answers_of_somebody_else_are_not_learned_from(frozen: str, base: Base) -> None:
    """The rollouts come from the adapter in training, not from the base nor from a copy of the start."""
    policy = policy_on(base)
    if frozen == "copied":
        stirred(policy, size=0.05)
    reference = policy.frozen()
    prompts = [Prompt.ask("is the cat small"), Prompt.ask("tell i about the dog")]
    step = Descent(lr=1e-2).on(policy)

    def round_of(writer: Role, seed: int) -> None:
        groups = writer.sample(prompts, 3, Manner(max_tokens=8, seed=seed))
        step(lambda forest: Loss.over(-policy.logps(forest)), base.text.replies(prompts, groups))

    with watched(base):
        round_of(reference, 1)  # still the same as the policy
        round_of(policy, 2)
        with pytest.raises(CanaryError, match=r"6 of 6 answers .* come from .*, not from 'policy', which learns"):
            round_of(reference, 3)
    with watched(base, fresh=False, own_answers=False):
        round_of(policy, 4)
        round_of(reference, 5)  # it is meant
    round_of(reference, 6)  # nobody watches


def test_answers_of_which_half_are_ones_own_may_be_learned_from(base: Base) -> None:
    """Another's beside one's own is what some algorithms mean; more of them than of one's own is not. What answers were drawn
    with is forgotten once something has moved: it is no longer what the policy would say."""
    policy = policy_on(base)
    other = stirred(policy_on(base), size=0.3)
    prompts = [Prompt.ask("is the cat small"), Prompt.ask("tell i about the dog")]
    step = Descent(lr=1e-2).on(policy)

    def learn(*groups: list[list[Completion]]) -> None:
        asked = [prompt for group in groups for prompt in prompts[: len(group)]]
        step(
            lambda forest: Loss.over(-policy.logps(forest)),
            base.text.replies(asked, [said for group in groups for said in group]),
        )

    with watched(base) as canaries:
        learn(policy.sample(prompts, 1, Manner(max_tokens=8, seed=1)))
        assert canaries.authors.drawn is None
        own, others = (role.sample(prompts, 1, Manner(max_tokens=8, seed=2)) for role in (policy, other))
        learn(own, others)
        with pytest.raises(CanaryError, match="2 of 3 answers"):
            learn(own[:1], others)


def test_a_frozen_role_is_held_to_what_it_was_at_first(base: Base) -> None:
    """Not to what it was before the latest update."""
    policy = stirred(policy_on(base))
    reference = policy.frozen()
    descend = Descent().on(policy)
    with watched(base) as canaries:
        descend(imitation(policy), batch(base))
        with torch.no_grad():
            reference.adapter[0].add_(1.0)
        descend(imitation(policy), batch(base))
        with pytest.raises(CanaryError, match="the frozen role 'reference' has moved"):
            canaries.untouched()


def test_a_frozen_role_that_was_dismissed_is_not_missed(base: Base) -> None:
    policy = policy_on(base)
    policy.frozen()
    with watched(base) as canaries:
        Descent().on(policy)(imitation(policy), batch(base))
        base.dismiss("reference")
        canaries.untouched()


def test_a_look_asks_for_no_more_than_there_is_room_for(base: Base) -> None:
    policy = stirred(policy_on(base))
    with watched(base, tokens=base.text.context + 1, prompts=1, kl_limit=1e9) as canaries:
        assert canaries.look(policy, bare_on(base, "start"), ASK, seed=0)["length"] < base.text.context


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_answers_are_compared_in_the_distribution_that_they_were_drawn_from(dtype: str, tmp_path: Path) -> None:
    """A ratio with the probabilities of another temperature is not 1 at the start, and nothing else says so. Who learns from
    answers without those of when they were drawn (imitation of one's own best) may do it at any temperature."""
    prompts = [Prompt.ask("is the cat small"), Prompt.ask("tell i about the dog")]
    folder = toy_folder(tmp_path)

    def begin(drawn_at: float, learned_at: float, keeping: bool = True, **watch: Any) -> None:
        base = Base.load(str(folder), Loading(quantize="none", dtype=dtype, device="cpu"))  # type: ignore[arg-type]
        policy = stirred(policy_on(base), size=0.3)
        groups = policy.sample(prompts, 3, Manner(max_tokens=8, seed=1, temperature=drawn_at))
        forest = base.text.replies(prompts, groups)
        old = torch.tensor([logp for group in groups for reply in group for logp in reply.logps])

        def ratios(forest: Forest) -> Loss:
            if drawn_at == learned_at:
                policy.logps(forest, 2.0)  # for a figure, say
            then = forest.tokens["then"] if keeping else 0.0
            return Loss.over(-(policy.logps(forest, learned_at) - then).exp())

        with watched(base, **watch):
            groups = policy.sample(prompts, 3, Manner(max_tokens=8, seed=1, temperature=drawn_at))
            before = policy.digest
            try:
                Descent(lr=1e-2).on(policy)(ratios, forest.attach(tokens={"then": old} if keeping else {}))
            except CanaryError:
                assert policy.digest == before
                raise

    begin(0.5, 0.5)
    begin(1.0, 1.0)
    begin(0.5, 1.0, keeping=False)
    begin(0.5, 0.7, own_answers=False)
    begin(0.5, 0.7, fresh=False)  # a run that goes on in the middle of a round has moved since it wrote
    for drawn_at, learned_at in ((0.5, 0.8), (1.0, 0.5)):
        with pytest.raises(CanaryError, match="sampled at one temperature and compared at another"):
            begin(drawn_at, learned_at)


def test_answers_to_another_prompt_are_anothers_on_purpose(base: Base) -> None:
    """What is distilled is said to a prompt with more in it, and learned without."""
    policy = policy_on(base)
    teacher = policy.frozen("teacher")
    step = Descent(lr=1e-2).on(policy)
    with watched(base):
        for seed in range(2):
            groups = teacher.sample([Prompt.ask("please tell i why")], 4, Manner(max_tokens=8, seed=seed))
            step(lambda forest: Loss.over(-policy.logps(forest)), base.text.replies([Prompt.ask("why")], groups))
