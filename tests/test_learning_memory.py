"""What survives an update: 2n updates are n updates, a checkpoint and n more in a fresh process, bit for bit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from plain import mixed, pairs, stirred
from safetensors.torch import load_file, save_file

from alignzoo.interfaces import Manner, Metrics
from alignzoo.learning import memory as memory_module
from alignzoo.learning import reference
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent, Loss
from alignzoo.learning.ledger import Ledger, counting
from alignzoo.learning.memory import Dice, MemoryLost, State, newest, remembering, track
from alignzoo.learning.reference import Remembered, keeping
from alignzoo.model.base import Base
from alignzoo.model.forest import Forest, Tree, per_reply, plant
from alignzoo.model.role import Role, bare_on, load_role, policy_on, role_on
from alignzoo.records import Prompt
from alignzoo.testing import toy_base

PROMPTS = [Prompt.ask(text) for text in ("is the cat small", "why", "tell the dog", "how old", "what is a stone")]


@dataclass(frozen=True)
class Everything:
    """An optimizer of everything that must survive: a deck, dice, a reference with an adapter, a critic with a head grown
    on the way, two descents, and replies written inside the update."""

    descent: Descent = field(default_factory=lambda: Descent(lr=1e-2, schedule="cosine", warmup=1))

    def improve(self, policy: Role) -> Iterator[Metrics]:
        base = policy.base
        reference = Remembered(policy.frozen())
        critic = role_on(base, "critic")
        critic.grow("value")
        deck, dice = Deck(PROMPTS, 2, 4, seed=1), Dice(7)
        step, judge = self.descent.on(policy, updates=len(deck)), Descent(lr=1e-2).on(critic)
        for prompts in deck:
            groups = policy.sample(prompts, 2, Manner(max_tokens=6, seed=dice.integer()))
            forest = base.text.replies(prompts, groups, base.device)
            forest = forest.attach(replies={"reference": reference(forest)})

            def gain(f: Forest) -> Loss:
                sums = per_reply(policy.logps(f), f)
                return Loss.over(sums * (sums.detach() - f.replies["reference"] + 1))

            judged = judge(lambda f: Loss.over((critic.values(f) - 1) ** 2), forest)
            yield {**step(gain, forest), "judged": judged["loss"]}


def start(base: Base, folder: Path) -> Role:
    """The policy begins with an adapter that another run trained."""
    if not folder.exists():
        stirred(policy_on(toy_base()), size=0.05).save(folder)
    return load_role(base, folder, "policy", trained=True)


def pull(folder: Path, updates: int, *, checkpoint_at: int = 0) -> tuple[list[Metrics], dict[str, str]]:
    """Go on for some updates, from the newest checkpoint in the folder if there is one."""
    base, found = toy_base(), newest(folder / "checkpoint")
    told: list[Metrics] = []
    with remembering(base, found) as memory:
        for metrics in Everything().improve(start(base, folder / "start")):
            told.append(metrics)
            if len(told) == checkpoint_at:
                memory.write(folder / "checkpoint", len(told), {"where": "here"})
            if len(told) == updates:
                break
    return told, {name: role.digest for name, role in base.roles.items()}


@pytest.mark.parametrize("first", [1, 4, 7])
def test_resumed_is_uninterrupted_bit_for_bit(first: int, tmp_path: Path) -> None:
    whole, roles = pull(tmp_path / "whole", 12)
    pull(tmp_path / "parts", first + 1, checkpoint_at=first)  # the update after the checkpoint is lost and made again
    rest, resumed = pull(tmp_path / "parts", 12 - first)
    assert rest == whole[first:]
    assert resumed == roles
    assert set(roles) == {"policy", "reference", "critic"}
    assert len({metrics["loss"] for metrics in whole}) == 12


@pytest.mark.parametrize("forgotten", [Deck, Dice, Remembered, "critic", "policy", "reference"])
def test_whatever_is_forgotten_is_missed(forgotten: Any, tmp_path: Path) -> None:
    """The test above notices each of them."""
    whole, roles = pull(tmp_path / "whole", 12)
    pull(tmp_path / "parts", 4, checkpoint_at=4)
    found = newest(tmp_path / "parts" / "checkpoint")
    assert found is not None
    things = [
        (kind, state) for kind, state in found.things if forgotten == "policy" or kind != getattr(forgotten, "__name__", "")
    ]
    base = toy_base()
    told: list[Metrics] = []
    try:
        with remembering(base, found) as memory:
            memory.checkpoint = type(found)(found.update, tuple(things), found.roles, found.facts)
            base.recalled = {name: state for name, state in found.roles.items() if name != forgotten}
            told += Everything().improve(start(base, tmp_path / "parts" / "start"))
    except MemoryLost:
        return
    assert told != whole[4:] or {name: role.digest for name, role in base.roles.items()} != roles


# Checkpoints -----------------------------------------------------------------------------------------------------------


class Counter:
    def __init__(self, count: int = 0, tensor: torch.Tensor | None = None) -> None:
        self.count, self.tensor = count, torch.zeros(1) if tensor is None else tensor
        track(self)

    def state(self) -> State:
        return {"count": self.count, "tensor": self.tensor}

    def restore(self, state: State) -> None:
        self.count, self.tensor = state["count"], state["tensor"]


class Other(Counter):
    """Of another kind."""


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8, torch.int64, torch.bool])
def test_a_thing_takes_up_its_state_as_it_is_made(base: Base, tmp_path: Path, dtype: torch.dtype) -> None:
    with remembering(base) as memory:
        Counter(3, torch.tensor([[0, 1], [1, 0]]).to(dtype).t()), Counter(4)
        memory.write(tmp_path, 9, {"ledger": {"labels": 7}})
    found = newest(tmp_path)
    assert found is not None
    assert (found.update, found.facts) == (9, {"ledger": {"labels": 7}})
    with remembering(base, found):
        one, two, three = Counter(), Counter(), Counter(5)
    assert (one.count, two.count, three.count) == (3, 4, 5)
    assert one.tensor.dtype == dtype
    assert one.tensor.tolist() == torch.tensor([[0, 1], [1, 0]]).to(dtype).tolist()


def test_the_second_of_a_dozen_is_not_taken_for_the_eleventh(base: Base, tmp_path: Path) -> None:
    with remembering(base) as memory:
        dice = [Dice(seed) for seed in range(12)]
        memory.write(tmp_path, 1, {})
        wanted = [die.integer() for die in dice]
    with remembering(base, newest(tmp_path)):
        assert [Dice(99).integer() for _ in range(12)] == wanted
    assert len(set(wanted)) == 12


def test_another_order_is_another_optimizer(base: Base, tmp_path: Path) -> None:
    with remembering(base) as memory:
        Counter(1), Other(2)
        memory.write(tmp_path, 1, {})
    with remembering(base, newest(tmp_path)):
        Counter()
        with pytest.raises(MemoryLost, match=r"object 2 is a Other, this run makes a Counter.*start a new run folder"):
            Counter()


def test_outside_of_a_run_nothing_is_tracked(base: Base) -> None:
    with remembering(base) as memory:
        Counter()
    Counter()
    assert len(memory.things) == 1


def test_the_block_leaves_nothing_behind(base: Base, tmp_path: Path) -> None:
    with remembering(base) as memory:
        stirred(policy_on(base))
        memory.write(tmp_path, 1, {})
    fresh = toy_base()
    with pytest.raises(ZeroDivisionError), remembering(fresh, newest(tmp_path)):
        raise ZeroDivisionError
    assert policy_on(fresh).idle


def test_only_the_newest_is_kept(base: Base, tmp_path: Path) -> None:
    with remembering(base) as memory:
        thing = Counter()
        for thing.count in (1, 2, 10):
            memory.write(tmp_path, thing.count, {})
    assert [path.name for path in tmp_path.iterdir()] == ["00000010"]
    found = newest(tmp_path)
    assert found is not None
    assert found.things[0][1]["count"] == 10


def test_of_two_that_are_whole_the_later_is_taken_up(base: Base, tmp_path: Path) -> None:
    """As where a run was ended between writing the one and dropping the other."""
    with remembering(base) as memory:
        shutil.copytree(memory.write(tmp_path / "run", 9, {}), tmp_path / "aside")
        memory.write(tmp_path / "run", 10, {})
    shutil.copytree(tmp_path / "aside", tmp_path / "run" / "00000009")
    found = newest(tmp_path / "run")
    assert found is not None
    assert found.update == 10


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    assert newest(tmp_path) is None
    assert newest(tmp_path / "nowhere") is None


class Stumbling:
    """A disk that fails at the last step of a write."""

    def __call__(self, *paths: Any) -> None:
        raise OSError("the power went")


@pytest.mark.parametrize("update", [2, 1])
def test_a_write_that_is_cut_short_does_not_count(
    base: Base, tmp_path: Path, update: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither as a checkpoint nor against the one before it; also where the same update is written again."""
    with remembering(base) as memory:
        thing = Counter(1)
        memory.write(tmp_path, 1, {"whole": True})
        thing.count = 5
        with monkeypatch.context() as power:
            power.setattr(memory_module.os, "replace", Stumbling())
            if update == 2:
                with pytest.raises(OSError, match="the power went"):
                    memory.write(tmp_path, update, {"whole": False})
            else:
                memory.write(tmp_path, update, {"whole": False})  # what is written for an update stays
        found = newest(tmp_path)
        assert found is not None
        assert found.facts == {"whole": True}
        memory.write(tmp_path, 2, {"whole": True})  # and it can be written later
        found = newest(tmp_path)
        assert found is not None
        assert (found.update, found.things[0][1]["count"]) == (2, 5)
        assert [path.name for path in tmp_path.iterdir()] == ["00000002"]


def test_a_half_written_draft_is_no_checkpoint(base: Base, tmp_path: Path) -> None:
    with remembering(base) as memory:
        Counter(1)
        whole = memory.write(tmp_path, 1, {})
    shutil.copytree(whole, tmp_path / "00000002.part")
    (tmp_path / "00000002.part" / "rest.json").write_text('{"upd')
    found = newest(tmp_path)
    assert found is not None
    assert found.update == 1
    assert os.listdir(tmp_path)


@pytest.mark.parametrize("name", ["rest.json", "tensors.safetensors"])
@pytest.mark.parametrize("kept", [None, 0, 60])
def test_a_damaged_checkpoint_is_named(name: str, kept: int | None, base: Base, tmp_path: Path) -> None:
    with remembering(base) as memory:
        Counter(1)
        policy_on(base)
        whole = memory.write(tmp_path, 1, {})
    bytes_of = (whole / name).read_bytes()
    (whole / name).unlink()
    if kept is not None:
        (whole / name).write_bytes(bytes_of[:kept])
    with pytest.raises(MemoryLost, match=r"the checkpoint .*00000001 is damaged: .*put it back as it was, or remove it"):
        newest(tmp_path)


# Roles ---------------------------------------------------------------------------------------------------------------


def test_every_kind_of_role_is_recalled(tmp_path: Path) -> None:
    """The bare reference of an untouched start stays bare, although the policy is no longer idle; a copy stays the copy."""
    base = toy_base()
    with remembering(base) as memory:
        policy = policy_on(base)
        bare = policy.frozen()
        stirred(policy)
        copy = policy.frozen()
        policy.grow("value", seed=1)
        stirred(policy, seed=1)
        judge = bare_on(base, "judge")
        judge.grow("score")
        memory.write(tmp_path, 1, {})
    fresh = toy_base()
    with remembering(fresh, newest(tmp_path)):
        again = policy_on(fresh)
        assert not again.heads  # a head is taken up where the optimizer grows it, in the same order as before
        references = again.frozen(), again.frozen()
        again.grow("value", seed=2)
        there = bare_on(fresh, "judge")
        there.grow("score", seed=3)
    assert references[0].bare
    assert not references[1].bare
    assert again.digest == policy.digest
    assert [role.digest for role in references] == [bare.digest, copy.digest]
    assert there.digest == judge.digest


def test_heads_with_layers_and_still_ones_are_recalled(tmp_path: Path) -> None:
    """Where they are grown, also on a frozen copy; a head whose name begins another's is not taken for it."""
    base = toy_base()
    with remembering(base) as memory:
        policy = stirred(policy_on(base))
        policy.grow("value", hidden=(6,), seed=1)
        policy.grow("value2", hidden=(6,), seed=2)
        policy.grow("target", 2, hidden=(5, 4), seed=3, trained=False)
        reference = policy.frozen()
        with torch.no_grad():
            for parameter in policy.heads.parameters():
                parameter.add_(0.5)
        memory.write(tmp_path, 1, {})
    fresh = toy_base()
    with remembering(fresh, newest(tmp_path)):
        again = policy_on(fresh)
        again.grow("value", hidden=(6,), seed=4)
        again.grow("value2", hidden=(6,), seed=5)
        again.grow("target", 2, hidden=(5, 4), seed=6, trained=False)
        there = again.frozen()
    assert again.digest == policy.digest != reference.digest
    assert there.digest == reference.digest
    assert not any(parameter.requires_grad for parameter in again.head("target").parameters())


# Decks, dice, and what a reference said -------------------------------------------------------------------------------


def test_a_deck_deals_everything_once_an_epoch() -> None:
    dealt = list(Deck(range(7), 3, 2, seed=0))
    assert [len(batch) for batch in dealt] == [3, 3, 1, 3, 3, 1]
    epochs = [[*chain(*dealt[:3])], [*chain(*dealt[3:])]]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(7))
    assert epochs[0] != epochs[1]
    assert dealt == list(Deck(range(7), 3, 2, seed=0))
    assert dealt != list(Deck(range(7), 3, 2, seed=1))
    assert len(Deck(range(7), 3, 2, seed=0)) == 6
    assert list(Deck([], 3, 2, seed=0)) == []


def test_a_deck_deals_together_what_belongs_together() -> None:
    """In batches of four: two couples and no single can share one, and of those that do the firsts come first."""
    couples = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11)]
    orders = set()
    for seed in range(6):
        batches = list(Deck(range(12), 4, 1, seed, couples))
        assert [sorted(batch) for batch in batches] == [
            sorted(place for first in batch[:2] for place in (first, first + 1)) for batch in batches
        ]
        assert all(batch == [*batch[:2], batch[0] + 1, batch[1] + 1] for batch in batches)
        orders.add(tuple(chain(*batches)))
    assert len(orders) == 6


def test_a_deck_of_singles_and_couples_deals_everything_once() -> None:
    """A couple that the end of a batch comes between is dealt in two; nothing is dealt twice, and batches stay full."""
    hands = [(0,), (1, 2), (3,), (4, 5), (6,)]
    for seed in range(6):
        batches = list(Deck(range(7), 2, 1, seed, hands))
        assert [len(batch) for batch in batches] == [2, 2, 2, 1]
        assert sorted(chain(*batches)) == list(range(7))
    alone = [(place,) for place in range(7)]
    assert list(Deck(range(7), 3, 2, 0, alone)) == list(Deck(range(7), 3, 2, 0))


@pytest.mark.parametrize("after", range(7))
def test_a_deck_goes_on_where_it_was(after: int) -> None:
    whole = list(Deck(range(7), 3, 2, seed=0))
    first, second = Deck(range(7), 3, 2, seed=0), Deck(range(7), 3, 2, seed=0)
    assert [batch for batch, _ in zip(first, range(after), strict=False)] == whole[:after]
    first = Deck(range(7), 3, 2, seed=0)
    hand = iter(first)
    for _ in range(after):
        next(hand)
    second.restore(first.state())
    assert list(second) == whole[after:]


@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_deck_of_rounds_deals_so_many_batches_and_goes_on(after: int) -> None:
    """7 records in threes: 3 + 3 + 1 an epoch; five rounds are an epoch and two batches more."""
    whole = [sorted(batch) for batch in Deck.rounds(range(7), 3, 5, seed=1)]
    assert [len(batch) for batch in whole] == [3, 3, 1, 3, 3]
    assert sorted(sum(whole[:3], [])) == list(range(7))  # noqa: RUF017
    first, again = Deck.rounds(range(7), 3, 5, seed=1), Deck.rounds(range(7), 3, 5, seed=1)
    dealt = [sorted(batch) for batch, _ in zip(first, range(after), strict=False)]
    again.restore(first.state() | {"dealt": after})
    assert dealt + [sorted(batch) for batch in again] == whole


def test_a_deck_knows_when_the_feedback_has_changed() -> None:
    with pytest.raises(MemoryLost, match="made with 7 records, this run has 8: the feedback has changed"):
        Deck(range(8), 3, 1, seed=0).restore(Deck(range(7), 3, 1, seed=0).state())


def test_a_label_is_paid_for_once(base: Base) -> None:
    ledger = Ledger()
    with counting(ledger, base):
        paid = [ledger.labels for _ in Deck(range(7), 3, 3, seed=0)]
    assert paid == [3, 6, 7, 7, 7, 7, 7, 7, 7]
    resumed = Deck(range(7), 3, 3, seed=0)
    resumed.restore({"dealt": 2, "records": 7})
    with counting(Ledger(labels=6), base) as ledger:
        list(resumed)
    assert ledger.labels == 7


def test_a_prompt_holds_no_label(base: Base) -> None:
    ledger = Ledger()
    with counting(ledger, base):
        list(Deck([Prompt.ask("why"), Prompt.ask("how")], 2, 1, seed=0))
    assert ledger.labels == 0


def test_dice_go_on_where_they_were() -> None:
    dice, others = Dice(3), Dice(4)
    begun = [dice.integer() for _ in range(3)]
    others.restore(dice.state())
    assert [dice.integer(), *dice.order(5)] == [others.integer(), *others.order(5)]
    assert begun == [Dice(3).integer(), *begun[1:]]
    assert sorted(Dice(3).order(20)) == list(range(20))
    assert Dice(3).integer() != Dice(5).integer()


def test_a_reference_is_asked_about_each_text_once(base: Base) -> None:
    reference = stirred(policy_on(base)).frozen()
    remembered = Remembered(reference)
    wanted = per_reply(reference.logps(mixed()), mixed())
    before = base.meter.read
    assert torch.allclose(remembered(mixed()), wanted, atol=1e-5)
    assert base.meter.read - before == mixed().size
    assert torch.allclose(remembered(mixed().select([2, 0])), wanted[[5, 6, 0, 1, 2, 3]], atol=1e-5)
    assert base.meter.read - before == mixed().size
    assert torch.equal(remembered(mixed().select([1])), remembered(mixed())[4:5])
    new = pairs()
    assert torch.allclose(remembered(new), per_reply(reference.logps(new), new), atol=1e-5)


def test_the_same_reply_to_another_prompt_is_another_text(base: Base) -> None:
    reference = stirred(policy_on(base)).frozen()
    remembered = Remembered(reference)
    for prompt in ((9, 10), (10, 9)):
        forest = plant([Tree(prompt, ((11, 12),))])
        assert torch.allclose(remembered(forest), per_reply(reference.logps(forest), forest), atol=1e-5)


def test_a_text_is_known_by_where_its_prompt_ends_and_by_all_of_its_replies() -> None:
    several = ((1, 2), ((3,), (4,))), ((1, 2), ((3,), (5,)))
    alike = ((1, 2), ((3,),)), ((1,), ((2, 3),)), ((12,), ((3,),)), ((1, 2), ((3, 4),)), ((1, 2), ((34,),))
    trees = [Tree(prompt, replies) for prompt, replies in (*alike, *several)]
    assert len({reference._key(tree, way) for tree in trees for way in ("", "beside", "1")}) == 3 * len(trees)
    assert reference._key(Tree((1, 2), ((3,),), (True,))) == reference._key(trees[0])


def test_what_a_reference_said_is_taken_up_exactly(base: Base, tmp_path: Path) -> None:
    with remembering(base) as memory:
        remembered = Remembered(stirred(policy_on(base)).frozen())
        said = remembered(mixed())
        memory.write(tmp_path, 1, {})
    fresh = toy_base()
    with remembering(fresh, newest(tmp_path)):
        again = Remembered(policy_on(fresh).frozen())
        before = fresh.meter.read
        assert torch.equal(again(mixed()), said)
        assert fresh.meter.read == before


def test_what_one_run_asked_a_reference_another_takes_over_and_pays_for(tmp_path: Path) -> None:
    spent, said = [], []
    for _ in range(2):  # two runs with the same start, each with a base of its own
        base, ledger = toy_base(), Ledger()
        with counting(ledger, base), keeping(tmp_path / "references"):
            remembered = Remembered(stirred(policy_on(base)).frozen(), at_once=30)
            said.append(remembered(mixed()))
            made = remembered.kept is not None and remembered.kept.more
        spent.append((ledger.read, ledger.flops, made))
    assert torch.equal(*said)  # bit for bit
    assert (spent[0][2], spent[1][2]) == (True, False)
    assert spent[0][:2] == spent[1][:2]
    assert spent[0][0] == mixed().size
    [file] = (tmp_path / "references").iterdir()
    slow = {key: torch.cat([torch.tensor([60.0]), sums[1:]]) for key, sums in load_file(file).items()}
    assert len(slow) > 1  # a key for each pass of at most thirty tokens
    save_file(slow, file)
    ledger = Ledger()
    with counting(ledger, base), keeping(tmp_path / "references"):
        Remembered(stirred(policy_on(base)).frozen(), at_once=30)(mixed())
    assert ledger.seconds == pytest.approx(60.0 * len(slow), abs=5)  # what it took to say them, not what it took to read them


def test_the_same_text_in_another_company_is_asked_again(tmp_path: Path) -> None:
    base = toy_base()
    with keeping(tmp_path):
        remembered = Remembered(stirred(policy_on(base)).frozen())
        remembered(mixed())
    with keeping(tmp_path):
        again = Remembered(stirred(policy_on(base)).frozen())
        again(mixed().select([0]))
        assert again.kept is not None
        assert again.kept.more


@pytest.mark.parametrize("other", ["weights", "threads", "alpha"])
def test_what_was_said_by_others_or_otherwise_is_not_taken(other: str, tmp_path: Path) -> None:
    base = toy_base()
    for seed in (0, int(other == "weights")):
        if other == "threads" and (tmp_path / "one").exists():
            torch.set_num_threads(torch.get_num_threads() + 1)
        if other == "alpha" and (tmp_path / "one").exists():  # the same tensors, worn more heavily
            base.lora = replace(base.lora, alpha=2 * base.lora.alpha)
        with keeping(tmp_path / "one"):
            remembered = Remembered(stirred(policy_on(base), seed=seed).frozen())
            remembered(mixed())
            assert remembered.kept is not None
            assert remembered.kept.more
    if other == "threads":
        torch.set_num_threads(torch.get_num_threads() - 1)
    assert len(list((tmp_path / "one").iterdir())) == 2


def test_a_damaged_file_is_said_again_and_two_runs_keep_what_both_said(tmp_path: Path) -> None:
    base = toy_base()
    frozen = stirred(policy_on(base)).frozen()
    with keeping(tmp_path):
        Remembered(frozen)(pairs())
    [file] = tmp_path.iterdir()
    file.write_bytes(b"torn")
    with keeping(tmp_path):
        first, second = Remembered(frozen), Remembered(frozen)
        wanted = first(mixed()), second(pairs())
    assert len(load_file(file)) == 2
    with keeping(tmp_path):
        again = Remembered(frozen)
        assert torch.equal(again(mixed()), wanted[0])
        assert torch.equal(again(pairs()), wanted[1])


def test_without_a_folder_nothing_is_kept(base: Base) -> None:
    assert Remembered(stirred(policy_on(base)).frozen()).kept is None


def test_a_reference_that_is_not_frozen_cannot_be_remembered(base: Base) -> None:
    with pytest.raises(ValueError, match="the role 'policy' is trained: what it said before is not what it says now"):
        Remembered(policy_on(base))


@pytest.mark.parametrize("changed", ["nothing", "base", "adapter"])
def test_other_weights_do_not_take_up_what_these_said(base: Base, changed: str) -> None:
    state = Remembered(stirred(policy_on(base)).frozen()).state()
    fresh = toy_base(seed=int(changed == "base"))
    other = Remembered(stirred(policy_on(fresh), seed=int(changed == "adapter")).frozen())
    if changed == "nothing":
        other.restore(state)
        return
    with pytest.raises(MemoryLost, match="were computed with other weights"):
        other.restore(state)
