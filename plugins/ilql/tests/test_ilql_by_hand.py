"""Tokens, seeds and steering of ILQL where they are easily confused, by hand and without a model where one is not needed."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from alignzoo.interfaces import Manner
from alignzoo.model.role import policy_on
from alignzoo.model.steering import Sight
from alignzoo.records import Completion, Prompt, Turn
from alignzoo.testing import toy_base
from alignzoo_ilql.episodes import Path, planted, spoken
from alignzoo_ilql.heads import Heads, grown_on
from alignzoo_ilql.steering import Steered, Steering, best

ASKED, SAID, AGAIN = Turn("user", "hi"), Turn("assistant", "oh no"), Turn("user", "why")


def cut_up(spans: Sequence[tuple[int, int]], ends: Sequence[int] = ()) -> Any:
    """A text whose tokens, numbered as they come, lie in these spans, in a tokenizer that writes no BOS."""

    def offsets(written: str, **how: Any) -> dict[str, Any]:
        return {"offset_mapping": list(spans)}

    class Tokenizer:
        is_fast = True
        __call__ = staticmethod(offsets)

    def written(prompt: Prompt) -> str:
        return "".join(f"{turn.speaker[0]}:{turn.text}|" for turn in prompt.turns) + "a:"

    return SimpleNamespace(
        tokenizer=Tokenizer(), written=written, prompt_ids=lambda prompt: tuple(range(len(spans))), ends=frozenset(ends)
    )


def test_tokens_that_hold_any_word_of_a_turn_are_its_own_and_those_of_no_width_are_nobodys() -> None:
    """u:hi|a:oh no|u:why|a: — one token begins before the turn, one goes on behind it, and one lies in it without a letter."""
    spans = [(0, 2), (2, 5), (5, 9), (9, 9), (9, 11), (11, 13), (13, 15), (15, 20), (20, 21)]
    text, dialogue = cut_up(spans), Prompt((ASKED, SAID, AGAIN))
    assert text.written(dialogue).index("oh no") == 7
    assert spoken(dialogue, text) == {1: [2, 4, 5]}


@pytest.mark.parametrize(("ends", "places"), [((6, 99), [3, 4, 5, 6]), ((5,), [3, 4, 5]), ((), [3, 4, 5])])
def test_any_of_the_ends_ends_a_turn_and_only_the_token_behind_it(ends: tuple[int, ...], places: list[int]) -> None:
    spans = [(0, 2), (2, 5), (5, 7), (7, 9), (9, 10), (10, 12), (12, 13), (13, 18), (18, 20)]
    assert spoken(Prompt((ASKED, SAID, AGAIN)), cut_up(spans, ends)) == {1: places}


def test_a_turn_in_which_nothing_is_said_has_no_tokens() -> None:
    spans = [(0, 5), (5, 7), (7, 8), (8, 9), (9, 14), (14, 16)]
    assert spoken(Prompt((ASKED, Turn("assistant", " "), AGAIN)), cut_up(spans)) == {}


def test_notes_go_with_the_episodes_where_beginnings_take_turns() -> None:
    """Two episodes begin with 1 2 and lie on either side of another: in the batch they stand together, each with its own."""
    first = Path((1, 2, 5, 6), (False, False, True, True), (0.0, 0.0, 0.0, 1.0), True)
    other = Path((3, 7, 8, 9), (False, True, True, True), (0.0, 2.0, 0.0, 3.0), False)
    third = Path((1, 2, 9, 10, 11), (False, False, True, False, True), (0.0, 0.0, 4.0, 0.0, 5.0), True)
    forest = planted([first, other, third])
    assert [tree.prompt for tree in forest.trees] == [(1, 2), (3,)]
    assert forest.trees[0].replies == ((5, 6), (9, 10, 11))
    assert [tree.ended for tree in forest.trees] == [(True, True), (False,)]
    assert forest.tokens["act"].tolist() == [True, True, True, False, True, True, True, True]
    assert forest.tokens["reward"].tolist() == [0.0, 1.0, 4.0, 0.0, 5.0, 2.0, 0.0, 3.0]


@pytest.mark.parametrize("shared", [False, True])
def test_every_seed_begins_with_other_heads_of_twice_the_models_width(shared: bool) -> None:
    base, begun = toy_base(), []
    for seed in (0, 1):
        role = policy_on(base, seed)
        heads = grown_on(role, shared=shared, hidden=(), seed=seed)
        for name in (*heads.names, "v"):
            first, last = role.head(name).get_submodule("0"), role.head(name).get_submodule("2")
            assert isinstance(first, torch.nn.Linear)
            assert isinstance(last, torch.nn.Linear)
            assert first.out_features == 2 * base.width
            assert last.out_features == {"v": 1, "q": 2 * base.vocabulary}.get(name, base.vocabulary)
            begun.append(first.weight.detach())
    assert all(not torch.equal(one, two) for place, one in enumerate(begun) for two in begun[:place])


def test_all_but_the_worst_are_kept() -> None:
    assert best(torch.tensor([[3.0, 1.0, 2.0]]), 2).isfinite().tolist() == [[True, False, True]]


def test_among_a_few_advantages_are_cut_as_among_all() -> None:
    policy = policy_on(toy_base())
    grown_on(policy, shared=False, hidden=(8,), seed=0)
    dice = torch.Generator().manual_seed(0)
    own = Sight(torch.randn(4, 64, generator=dice), torch.randn(4, policy.base.vocabulary, generator=dice))
    whole, some = (Steered(policy, policy, Steering(beta=2.0, cut=0.0, among=among)).scores(own) for among in (0, 9))
    kept = own.logits.topk(9).indices
    assert torch.allclose(some.gather(1, kept), whole.gather(1, kept), atol=1e-5)
    uncut = Steered(policy, policy, Steering(beta=2.0, among=9)).scores(own).gather(1, kept)
    values = Heads(policy).values(own.states)[:, None]
    assert bool((uncut - 2 * values > whole.gather(1, kept) + 1e-3).any())  # something really was cut


def test_values_of_their_own_read_beside_the_writer_and_n_is_n() -> None:
    asked: list[tuple[int, int, bool]] = []

    class Noting:
        def sample(self, prompts: Any, n: int, manner: Manner, steer: Any = None, beside: Sequence[Any] = ()) -> list[Any]:
            asked.append((n, len(beside), steer is None))
            return [[Completion("yes")] * n for _ in prompts]

    policy, values = Noting(), object()
    for whose, how in ((values, Steering(beta=2.0)), (policy, Steering(beta=2.0)), (values, Steering(beta=0.0))):
        groups = Steered(policy, whose, how).sample([Prompt.ask("why")], 3)  # type: ignore[arg-type]
        assert [len(group) for group in groups] == [3]
    assert asked == [(3, 1, False), (3, 0, False), (3, 0, True)]
