"""Each way that is faster is proven when a base is loaded: here it is made wrong, or it fails, and the base does without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from alignzoo.model import ahead, proof
from alignzoo.model.base import Base
from alignzoo.model.branches import Branched
from alignzoo.model.prefix import Prefix
from alignzoo.model.tail import Tail
from alignzoo.testing import toy_base

WAYS = ("tail_layers", "branches", "prefixes", "keeps")


def taken() -> list[str]:
    """Which ways a fresh base takes."""
    base = toy_base()
    return [way for way in WAYS if getattr(base, way)]


def without(way: str) -> list[str]:
    return [other for other in WAYS if other != way]


def test_a_sound_base_takes_every_way() -> None:
    assert taken() == list(WAYS)


def test_a_tail_that_loses_a_row_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(tail: Tail, rows: Tensor, size: int) -> None:
        tail.rows, tail.size = rows[:-1], size

    monkeypatch.setattr(Tail, "begin", begin)
    assert taken() == without("tail_layers")


class Shifted(Branched):
    def append(self, drawn: Tensor) -> None:
        super().append(drawn)
        self.logits = self.logits + 0.01


class Failing(Branched):
    def append(self, drawn: Tensor) -> None:
        raise RuntimeError("no such kernel")


@pytest.mark.parametrize("kind", [Shifted, Failing])
def test_prompts_are_not_kept_once_where_that_differs_or_fails(kind: type[Branched], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "Branched", kind)
    assert taken() == without("branches")


def test_only_exact_bases_keep_prompts_once() -> None:
    """In half precision the two parts of what is seen would be rounded another way."""
    half = toy_base().model.to(torch.bfloat16)
    base = Base(half, toy_base().text)
    assert (base.caches, base.branches) == (True, False)


class Longer(Prefix):
    def ends(self, rests: Any) -> Tensor:
        return super().ends(rests) * 1.01


def test_beginnings_are_not_kept_where_that_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "Prefix", Longer)
    assert taken() == without("prefixes")


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_goes_on_from_a_batch_where_that_differs_or_fails(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone_on(*asked: Any) -> Tensor:
        if fails:
            raise RuntimeError("no such kernel")
        return ahead.gone_on(*asked).flip(0)

    monkeypatch.setattr(proof, "gone_on", gone_on)
    assert taken() == without("keeps")


def test_a_model_of_which_a_layer_attends_in_its_own_way_is_not_packed(spoken: Callable[[], list[str]]) -> None:
    """What it says of one prompt may be right by chance, so the layers are counted."""
    model = toy_base().model
    model.config.num_hidden_layers += 1
    assert not Base(model, toy_base().text).packs
    assert any("only 2 of its layers use the attention that can be replaced" in said for said in spoken())
