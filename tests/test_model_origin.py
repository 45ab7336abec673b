"""Which base an adapter belongs to, and that no other wears it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.files import likeness
from alignzoo.model.loading import ModelError
from alignzoo.model.origin import check, write
from alignzoo.model.role import load_role, policy_on
from alignzoo.testing import toy_base, toy_folder

OTHER = "was trained on another base than this one"


def on(folder: Path, quantize: Any = "none") -> Base:
    return Base.load(str(folder), Loading(quantize=quantize, device="cpu"), Lora(rank=4, alpha=8.0))


def test_a_base_in_memory_is_known_by_its_weights() -> None:
    assert toy_base().origin == toy_base().origin
    assert list(toy_base().origin) == ["float32"]
    assert toy_base().origin != toy_base(seed=1).origin
    base = toy_base()
    policy_on(base)
    assert base.origin == toy_base().origin  # an adapter that lies on it changes nothing


def test_one_from_a_folder_by_its_files_too_however_it_is_quantized(tmp_path: Path) -> None:
    folder = toy_folder(tmp_path / "model")
    whole, small = on(folder), on(folder, "nf4")
    assert whole.origin == {"files": likeness(str(folder)), **toy_base().origin}
    assert small.origin == {"files": likeness(str(folder))}
    policy_on(small).save(tmp_path / "adapter")
    assert json.loads((tmp_path / "adapter" / "base.json").read_text()) == small.origin
    load_role(whole, tmp_path / "adapter", "policy")


def test_a_commit_on_the_hub_is_known(tmp_path: Path) -> None:
    base = toy_base()
    base.model.config._commit_hash = "abc"
    assert base.origin == {"commit": "abc", **toy_base().origin}


@pytest.mark.parametrize("quantize", ["none", "int8", "nf4"])
def test_another_base_of_the_same_shape_is_refused(quantize: str, tmp_path: Path) -> None:
    one, other = toy_folder(tmp_path / "one"), toy_folder(tmp_path / "other", seed=1)
    policy_on(on(one)).save(tmp_path / "adapter")
    with pytest.raises(ModelError, match=OTHER):
        load_role(on(other, quantize), tmp_path / "adapter", "policy")
    load_role(on(one, quantize), tmp_path / "adapter", "policy")


def test_weights_that_agree_are_enough(tmp_path: Path) -> None:
    """A copy with another file beside the weights is the same base."""
    one = toy_folder(tmp_path / "one")
    shutil.copytree(one, tmp_path / "copy")
    (tmp_path / "copy" / "notes.json").write_text("{}")
    policy_on(on(one)).save(tmp_path / "adapter")
    load_role(on(tmp_path / "copy"), tmp_path / "adapter", "policy")


def test_what_is_not_known_of_both_tells_nothing(tmp_path: Path) -> None:
    check(tmp_path, {"files": "a"})
    write(tmp_path, {"files": "a", "float32": "b"})
    for known in ({}, {"bfloat16": "c"}, {"files": "a"}, {"files": "x", "float32": "b"}):
        check(tmp_path, known)
    for known in ({"files": "x"}, {"files": "x", "bfloat16": "b"}, {"files": "x", "float32": "y"}):
        with pytest.raises(ModelError, match=OTHER):
            check(tmp_path, known)


@pytest.mark.parametrize("said", ["{", "[1]", "3"])
def test_a_damaged_file_is_named(said: str, tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text(said)
    with pytest.raises(ModelError, match=r"base\.json is damaged"):
        check(tmp_path, {"files": "a"})
