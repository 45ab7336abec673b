"""The recipe: what it is taught, that a kill costs nothing, and that the card speaks of this recipe."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import load_file

from alignzoo_playground.corpus import criticism, document, flawed_reply, judged_pair, verdict
from alignzoo_playground.embedded import PlaygroundModel
from alignzoo_playground.gold import explain_text
from alignzoo_playground.judging import PRINCIPLES, VALUE_OF
from alignzoo_playground.pretrain import Recipe, pretrain, rate_at

TINY = Recipe(layers=1, width=64, inner=64, heads=2, steps=4, documents_per_step=6, warm_up=2)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoint.safetensors")


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    pretrain(TINY, folder, every=4)
    return folder


def test_taken_up_training_ends_where_straight_training_ends(straight, tmp_path):
    pretrain(TINY, tmp_path, every=1, until=2)
    halfway = weights(tmp_path)
    pretrain(TINY, tmp_path, every=1)
    one, other = weights(straight), weights(tmp_path)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not all(torch.equal(halfway[name], other[name]) for name in other)


def test_a_checkpoint_of_another_recipe_is_refused(straight):
    with pytest.raises(SystemExit, match=f"belongs to recipe {TINY.hash}"):
        pretrain(Recipe(layers=1, width=64, inner=64, heads=2, steps=5, documents_per_step=6), straight)


def test_what_is_shipped_is_safetensors_in_bfloat16(straight):
    names = {path.name for path in (straight / "model").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"} <= names
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in names)
    assert {tensor.dtype for tensor in load_file(straight / "model" / "model.safetensors").values()} == {torch.bfloat16}


def test_the_hash_knows_settings_and_text():
    assert Recipe().hash == Recipe().hash
    assert len({Recipe().hash, Recipe(steps=1).hash, Recipe(seed=2).hash}) == 3


def test_the_card_speaks_of_this_recipe():
    card = Path(PlaygroundModel().folder(), "README.md").read_text()
    assert f"Recipe hash: `{Recipe().hash}`" in card


def test_the_rate_warms_up_and_falls():
    recipe = Recipe(steps=1000, warm_up=100, rate=1.0)
    assert rate_at(recipe, 0) == pytest.approx(0.01)
    assert rate_at(recipe, 99) == pytest.approx(1.0)
    assert rate_at(recipe, 550) == pytest.approx(0.51, abs=0.01)
    assert rate_at(recipe, 1000) == pytest.approx(0.02)


@pytest.mark.parametrize("principle", PRINCIPLES)
def test_judges_are_taught_what_gold_says(principle):
    dice = Random(1)
    for _ in range(100):
        pair = judged_pair(principle, dice)
        first, second = (explain_text(pair.asked, reply).values[VALUE_OF[principle]] for reply in (pair.first, pair.second))
        assert abs(first - second) >= 0.3
        assert verdict(principle, pair).endswith(f"better: {'A' if first > second else 'B'}")


def test_both_places_win_equally_often():
    dice = Random(2)
    assert 160 < sum(judged_pair("polite", dice).first_is_better for _ in range(400)) < 240


def test_criticism_is_what_gold_saw():
    dice = Random(3)
    for principle in PRINCIPLES:
        for _ in range(100):
            flawed = flawed_reply(principle, dice)
            said = criticism(flawed.request, flawed.seen, principle)
            assert (said == "The reply is fine.") == (flawed.seen.values[VALUE_OF[principle]] == 1.0)


def test_revisions_are_taught_to_be_better():
    better = worse = 0
    for number in range(3000):
        turns = document(1, number).turns
        if turns and turns[0].text.startswith("Write a more"):
            lines = dict(line.split(": ", 1) for line in turns[0].text.split("\n")[1:])
            before, after = (explain_text(lines["Request"], reply).combined for reply in (lines["Reply"], turns[1].text))
            better, worse = better + (after > before), worse + (after < before)
    assert better > 200
    assert worse <= better * 0.02
