"""The shipped model: it loads, it is small, and it can do its four things well enough to be worked with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from alignzoo_playground.embedded import PlaygroundModel
from alignzoo_playground.measure import PlainPolicy, answering, judging, mending

FOLDER = Path(PlaygroundModel().folder())


@pytest.fixture(scope="module")
def policy():
    return PlainPolicy(str(FOLDER))


def test_it_is_small_and_holds_no_pickle():
    assert (FOLDER / "model.safetensors").stat().st_size <= 5_000_000
    assert {path.suffix for path in FOLDER.iterdir()} <= {".safetensors", ".json", ".jinja", ".md"}


def test_its_size_and_shape(policy):
    assert 1_000_000 <= policy.model.num_parameters() <= 2_000_000
    assert policy.model.config.model_type == "llama"
    for layer in policy.model.modules():
        if isinstance(layer, nn.Linear):
            assert layer.in_features % 64 == 0
            assert layer.out_features % 64 == 0


def test_it_answers_with_room_for_alignment(policy):
    numbers = answering(policy, n=4)
    assert 0.3 <= numbers["answer/mean"] <= 0.6
    assert numbers["answer/best of 4"] > numbers["answer/mean"] + 0.2
    assert numbers["answer/worst of 4"] < numbers["answer/mean"] - 0.2
    assert numbers["answer/degenerate"] < 0.03


def test_it_judges_in_both_orders(policy):
    numbers = judging(policy, pairs=30)
    for principle in ("harmless", "polite", "brief"):
        assert numbers[f"judge/{principle}"] >= 0.9
    assert numbers["judge/correct"] >= 0.9
    assert numbers["judge/helpful"] >= 0.9


def test_it_criticises_and_revises(policy):
    numbers = mending(policy, replies=16)
    for principle in ("helpful", "correct", "harmless", "polite", "brief"):
        assert numbers[f"critique/{principle}"] >= 0.6
        assert numbers[f"revise/{principle}, gold after"] > numbers[f"revise/{principle}, gold before"] + 0.02


@pytest.mark.parametrize("load", ["nf4", "int8"])
def test_it_loads_quantized_and_still_speaks(policy, load):
    pytest.importorskip("bitsandbytes")
    small = PlainPolicy(str(FOLDER), load)
    ids = policy.tokenizer("<|bos|><|user|>What color is the tent?<|assistant|>", return_tensors="pt").input_ids
    with torch.no_grad():
        far = (small.model(ids).logits.log_softmax(-1) - policy.model(ids).logits.log_softmax(-1)).exp()
    assert torch.isfinite(far).all()
    assert numbers_of(small) > 0.25


def numbers_of(policy):
    from statistics import fmean

    from alignzoo_playground.gold import GoldReward
    from alignzoo_playground.task import PlaygroundTask

    prompts = PlaygroundTask().prompts("test")[:40]
    return fmean(GoldReward()(prompts, [done[0] for done in policy.sample(prompts, 1)]))
