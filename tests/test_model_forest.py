"""The packed batch, by hand, and what must stay true however it is taken apart."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignzoo.model.attention import Packing
from alignzoo.model.forest import Forest, ForestError, Segment, Tree, joined, per_reply, plant

TWO = [Tree((10, 11, 12), ((20, 21), (30, 31, 32))), Tree((13,), ((40,),), (True,))]


def test_a_forest_by_hand() -> None:
    """[10 11 12 | 20 21 | 30 31 32][13 | 40]: positions restart after each prompt, and the first token of a reply is
    predicted from the last one of its prompt."""
    forest = plant(TWO)
    assert forest.ids.tolist() == [10, 11, 12, 20, 21, 30, 31, 32, 13, 40]
    assert forest.positions.tolist() == [0, 1, 2, 3, 4, 3, 4, 5, 0, 1]
    assert forest.targets.tolist() == [20, 21, 30, 31, 32, 40]
    assert forest.before.tolist() == [2, 3, 2, 5, 6, 8]
    assert forest.reply.tolist() == [0, 0, 1, 1, 1, 2]
    assert forest.last.tolist() == [1, 4, 5]
    assert forest.end.tolist() == [4, 7, 9]
    assert forest.tree.tolist() == [0, 0, 1]
    assert forest.lengths.tolist() == [2, 3, 1]
    assert forest.segments == (Segment(0, 3, ((3, 5), (5, 8))), Segment(8, 9, ((9, 10),)))
    assert (len(forest), forest.size, [tree.size for tree in forest.trees]) == (2, 10, [8, 2])


def test_sums_by_reply() -> None:
    forest = plant(TWO)
    assert per_reply(torch.tensor([1.0, 2.0, 10.0, 20.0, 30.0, 5.0]), forest).tolist() == [3.0, 60.0, 5.0]
    values = torch.ones(6, requires_grad=True)
    (per_reply(values, forest) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [1.0, 1.0, 2.0, 2.0, 2.0, 3.0]


def test_who_sees_whom() -> None:
    """The mask of a reply of two over a prompt of three, alone and with a window of two."""
    forest = plant(TWO)
    packing, segment, like = Packing.of(forest, forest.needed), forest.segments[0], torch.zeros(1)
    seen = [[True, True, True, True, False], [True, True, True, True, True]]
    assert (packing.mask(segment, 0, 0, like) == 0).tolist() == seen
    assert (packing.mask(segment, 0, 2, like) == 0).tolist() == [[False, False, True, True, False], [False] * 3 + [True] * 2]
    assert (packing.mask(segment, -1, 2, like) == 0).tolist() == [
        [True, False, False],
        [True, True, False],
        [False, True, True],
    ]


def noted() -> Forest:
    return plant([*TWO, Tree((14, 15), ((50, 51), (60,)))]).attach(
        tokens={"t": torch.arange(9.0)}, replies={"r": torch.arange(5.0) * 10}, trees={"n": torch.arange(3.0) * 100}
    )


def test_notes_follow_the_trees() -> None:
    chosen = noted().select([2, 0])
    assert chosen.trees == (noted().trees[2], noted().trees[0])
    assert chosen.targets.tolist() == [50, 51, 60, 20, 21, 30, 31, 32]
    assert chosen.tokens["t"].tolist() == [6, 7, 8, 0, 1, 2, 3, 4]
    assert chosen.replies["r"].tolist() == [30, 40, 0, 10]
    assert chosen.notes["n"].tolist() == [200, 0]


def test_attaching_keeps_what_was_attached_and_checks_the_count() -> None:
    forest = noted().attach(trees={"more": torch.ones(3)}, tokens={"t": torch.zeros(9)})
    assert sorted(forest.notes) == ["more", "n"]
    beside = noted().attach(replies={"s": torch.ones(5)}, tokens={"u": torch.ones(9)})
    assert (sorted(beside.replies), sorted(beside.tokens), sorted(beside.notes)) == (["r", "s"], ["t", "u"], ["n"])
    assert not forest.tokens["t"].any()
    assert noted().tokens["t"].any()
    for wrong in ({"tokens": {"x": torch.ones(3)}}, {"replies": {"x": torch.ones(9)}}, {"trees": {"x": torch.ones(5)}}):
        with pytest.raises(ForestError, match=r"'x' has \d entries for \d (token|reply|tree)s"):
            noted().attach(**wrong)


@pytest.mark.parametrize(("limit", "pieces"), [(1, [1, 1, 1]), (9, [1, 2]), (10, [2, 1]), (14, [2, 1]), (15, [3]), (1000, [3])])
def test_pieces_hold_whole_trees_within_the_limit(limit: int, pieces: list[int]) -> None:
    """Trees of 8, 2 and 5 tokens; one that is larger than the limit goes alone."""
    split = list(noted().split(limit))
    assert [len(piece) for piece in split] == pieces
    assert sum((piece.trees for piece in split), ()) == noted().trees
    assert torch.cat([piece.tokens["t"] for piece in split]).tolist() == list(range(9))


def test_what_cannot_be_packed_is_refused() -> None:
    with pytest.raises(ForestError, match="a prompt needs at least one token"):
        Tree((), ((1,),))
    for replies in ((), ((),), ((1,), ())):
        with pytest.raises(ForestError, match="every tree needs a reply, and every reply at least one token"):
            Tree((1,), replies)
    with pytest.raises(ForestError, match="a batch needs at least one tree"):
        plant([])


some_ids = st.lists(st.integers(0, 9), min_size=1, max_size=5).map(tuple)
some_trees = st.lists(st.builds(Tree, some_ids, st.lists(some_ids, min_size=1, max_size=3).map(tuple)), min_size=1, max_size=6)


@settings(max_examples=50, deadline=None)
@given(trees=some_trees, limit=st.integers(1, 40))
def test_splitting_loses_nothing_and_moves_nothing(trees: list[Tree], limit: int) -> None:
    forest = plant(trees)
    forest = forest.attach(
        tokens={"id": torch.arange(len(forest.targets))},
        replies={"id": torch.arange(len(forest.last))},
        trees={"id": torch.arange(len(forest))},
    )
    pieces = list(forest.split(limit))
    assert torch.equal(torch.cat([piece.targets for piece in pieces]), forest.targets)
    for notes in ("tokens", "replies", "notes"):
        joined = torch.cat([getattr(piece, notes)["id"] for piece in pieces])
        assert torch.equal(joined, torch.arange(len(joined)))
    assert all(piece.size <= limit or len(piece) == 1 for piece in pieces)
    assert sum(piece.size for piece in pieces) == forest.size == sum(tree.size for tree in trees)
    for piece in pieces:
        first = torch.cat([torch.zeros(1, dtype=torch.long), piece.last[:-1] + 1])
        prompts = [piece.trees[tree].prompt for tree in piece.tree.tolist()]
        assert piece.ids[piece.before[first]].tolist() == [prompt[-1] for prompt in prompts]
        assert (piece.positions[piece.before[first]] + 1).tolist() == [len(prompt) for prompt in prompts]
        later = [i for i in range(len(piece.targets)) if i not in set(first.tolist())]
        assert torch.equal(piece.ids[piece.before[later]], piece.targets[[i - 1 for i in later]])
        assert torch.equal(piece.ids[piece.end], piece.targets[piece.last])
        assert torch.equal(piece.lengths, torch.bincount(piece.reply))


def test_two_forests_are_one_batch_and_a_note_of_one_is_zero_in_the_other() -> None:
    first = plant(TWO[:1]).attach(tokens={"old": torch.arange(5.0)}, trees={"strength": torch.tensor([0.7])})
    second = plant(TWO[1:]).attach(tokens={"weight": torch.tensor([9.0])}, replies={"score": torch.tensor([3.0])})
    both = joined(first, second)
    assert (both.ids.tolist(), both.before.tolist()) == (plant(TWO).ids.tolist(), plant(TWO).before.tolist())
    assert both.tokens["old"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 0.0]
    assert both.tokens["weight"].tolist() == [0.0] * 5 + [9.0]
    assert both.replies["score"].tolist() == [0.0, 0.0, 3.0]
    assert both.notes["strength"].tolist() == [pytest.approx(0.7), 0.0]
