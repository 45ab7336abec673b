"""Adapters on disk are peft's own, in both directions, and merge to the same model; heads lie beside them."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from families import PACKED, ROWED
from peft import LoraConfig, PeftModel, get_peft_model
from plain import Plain, close, loaded, mixed, pairs, stirred
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from alignzoo.model.base import Base
from alignzoo.model.choices import Lora
from alignzoo.model.loading import ModelError
from alignzoo.model.role import Role, load_role, policy_on, role_on
from alignzoo.model.tensors import told_of
from alignzoo.testing import toy_base, toy_folder

Family = Callable[[str], Path]


@pytest.mark.parametrize("name", PACKED + ROWED)
def test_peft_loads_and_merges_what_a_role_saved(name: str, family: Family, tmp_path: Path) -> None:
    base = loaded(family(name))
    role = stirred(policy_on(base))
    role_on(base, "critic")  # a neighbour, which must not get into the files
    role.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors", "base.json"]
    with torch.no_grad():
        wanted = role.logps(mixed())
        plain = Plain.of(family(name), tmp_path, role)
        assert close(wanted, plain.ask(mixed())[0])
        merged = plain.model.merge_and_unload()
        assert close(wanted, Plain(merged, {}).ask(mixed())[0])
    assert not any("lora" in key for key, _ in merged.named_parameters())


def config_of(role: Role, folder: Path) -> dict[str, Any]:
    role.save(folder)
    config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text())
    return config


def test_the_config_names_layers_rank_base_and_task(tmp_path: Path) -> None:
    """Serving programs read the names of the layers; a bare "all-linear" would mean nothing to them."""
    folder = toy_folder(tmp_path / "model")
    config = config_of(policy_on(Base.load(str(folder), lora=Lora(rank=8, alpha=24.0))), tmp_path / "adapter")
    assert config["target_modules"] == sorted("q_proj k_proj v_proj o_proj gate_proj up_proj down_proj".split())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (8, 24.0, 0.0)
    assert (config["task_type"], config["peft_type"]) == ("CAUSAL_LM", "LORA")
    assert config["base_model_name_or_path"] == str(folder)
    assert config["inference_mode"] is True


@pytest.mark.parametrize("quantize", ["none", "nf4"])
def test_a_role_comes_back_as_it_was(quantize: str, tmp_path: Path) -> None:
    folder = toy_folder(tmp_path / "model")
    role = stirred(policy_on(loaded(folder, quantize)))  # type: ignore[arg-type]
    role.grow("value", seed=1)
    role.grow("score", 3, seed=2)
    role.save(tmp_path / "adapter")
    assert set(load_file(tmp_path / "adapter" / "heads.safetensors")) == {
        "value.weight", "value.bias", "score.weight", "score.bias"
    }  # fmt: skip
    again = load_role(loaded(folder, quantize), tmp_path / "adapter", "reward")  # type: ignore[arg-type]
    assert again.name == "reward"
    assert again.digest == role.digest
    with torch.no_grad():
        assert torch.equal(again.logps(mixed()), role.logps(mixed()))
        assert torch.equal(again.values(mixed()), role.values(mixed()))
    assert again.head("score").weight.shape == (3, 64)  # type: ignore[union-attr]
    assert not again.trained
    assert not any(parameter.requires_grad for parameter in (*again.adapter, *again.heads.parameters()))
    trained = load_role(toy_base(), tmp_path / "adapter", "policy", trained=True)
    assert all(parameter.requires_grad for parameter in (*trained.adapter, *trained.heads.parameters()))


def test_what_peft_saved_can_be_loaded(tmp_path: Path) -> None:
    folder = toy_folder(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(folder)
    peft = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for key, parameter in peft.named_parameters():
            if "lora_B" in key:
                parameter.copy_(torch.randn_like(parameter) * 0.1)
    peft.save_pretrained(tmp_path / "adapter")
    role = load_role(loaded(folder), tmp_path / "adapter", "policy")
    with torch.no_grad():
        assert close(role.logps(pairs()), Plain(peft, {}).ask(pairs())[0])


def test_a_role_of_heads_alone_needs_no_adapter(base: Base, tmp_path: Path) -> None:
    judge = policy_on(base).frozen("judge")
    judge.grow("score")
    judge.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base.json", "heads.safetensors"]
    again = load_role(toy_base(), tmp_path, "judge")
    assert again.bare
    assert torch.equal(again.scores(mixed()), judge.scores(mixed()))


def test_heads_with_layers_come_back_as_they_were(tmp_path: Path) -> None:
    """More layers than ten, too: they are put in order as numbers."""
    role = stirred(policy_on(toy_base()))
    role.grow("value", hidden=(8,), seed=1)
    role.grow("deep", 3, hidden=(9, 8, 7, 6, 5, 4), seed=2)
    role.grow("score", seed=3)
    role.save(tmp_path)
    assert {"value.0.weight", "value.2.bias", "deep.12.weight", "score.weight"} <= set(
        load_file(tmp_path / "heads.safetensors")
    )
    again = load_role(toy_base(), tmp_path, "policy")
    assert again.digest == role.digest
    with torch.no_grad():
        states = role.read(mixed()).states
        for name in ("value", "deep", "score"):
            assert torch.equal(again.head(name)(states), role.head(name)(states))
    assert again.head("deep")(states).shape[1] == 3


def test_companions_come_along(tmp_path: Path) -> None:
    """Adapters and heads of their own, each in a folder of its name; a companion's companions, too. A name that is taken on the
    other base is changed there, and not what the companion is called."""
    base = toy_base()
    role, values = stirred(policy_on(base)), stirred(role_on(base, "twins"), seed=1)
    values.grow("value", hidden=(8,), seed=1)
    judge = values.frozen("judge")
    role.companions["twins"], values.companions["inner"] = values, judge
    role.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["twins"]
    other = toy_base()
    taken = role_on(other, "twins")
    again = load_role(other, tmp_path, "policy")
    found = again.companions["twins"]
    assert list(again.companions) == ["twins"]
    assert (found.name, taken.name) == ("twins2", "twins")
    assert found.digest == values.digest
    assert again.digest == role.digest
    assert found.companions["inner"].digest == judge.digest
    assert not any(parameter.requires_grad for parameter in (*found.adapter, *found.heads.parameters()))
    with torch.no_grad():
        assert torch.equal(found.values(mixed()), values.values(mixed()))
    other.dismiss("policy")
    assert list(other.roles) == ["twins"]
    trained = load_role(toy_base(), tmp_path, "policy", trained=True)
    assert all(parameter.requires_grad for parameter in trained.companions["twins"].parameters())


def test_a_folder_without_an_adapter_is_named(base: Base, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no adapter: there is no adapter_model.safetensors in it"):
        load_role(base, tmp_path, "policy")


@pytest.mark.parametrize(
    ("lora", "said"),
    [
        (Lora(rank=2, alpha=8.0), "has r = 4, and the adapters of this base 2"),
        (Lora(rank=4, alpha=16.0), "has lora_alpha = 8.0, and the adapters of this base 16.0"),
        (Lora(rank=4, alpha=8.0, targets=("q_proj",)), "first difference at 'base_model.model.model.layers.0.mlp"),
    ],
)
def test_an_adapter_of_another_shape_is_refused(lora: Lora, said: str, tmp_path: Path) -> None:
    """Another alpha, too: the tensors would fit, and every log-probability would be wrong."""
    stirred(policy_on(toy_base())).save(tmp_path)
    base = toy_base(lora=lora)
    with pytest.raises(ModelError, match=said) as refused:
        load_role(base, tmp_path, "policy")
    assert "[model.lora]" in str(refused.value)
    assert not base.roles or base.roles["policy"].idle


def test_an_adapter_of_a_kind_that_ours_is_not_is_refused(tmp_path: Path) -> None:
    """Rank-stabilized LoRA has the same tensors and another scale."""
    stirred(policy_on(toy_base())).save(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, "use_rslora": True}))
    with pytest.raises(ModelError, match="use_rslora"):
        load_role(toy_base(), tmp_path, "policy")


def test_peft_wears_a_saved_adapter_on_a_quantized_base(tmp_path: Path) -> None:
    """peft's own forward on bitsandbytes' own layers says what ours says."""
    folder = toy_folder(tmp_path / "model")
    base = loaded(folder, "nf4")
    role = stirred(policy_on(base))
    role.save(tmp_path / "adapter")
    fresh = loaded(folder, "nf4").model
    peft = PeftModel.from_pretrained(fresh, tmp_path / "adapter").eval()
    with torch.no_grad():
        assert close(role.logps(pairs()), Plain(peft, {}).ask(pairs())[0])


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_a_damaged_adapter_is_named(name: str, tmp_path: Path) -> None:
    stirred(policy_on(toy_base())).save(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:90])
    with pytest.raises(ModelError, match=f"{name} is damaged"):
        load_role(toy_base(), tmp_path, "policy")


def test_a_full_disk_is_told_as_the_system_tells_it(tmp_path: Path) -> None:
    """Whoever waits for room must know it from a bug; safetensors has it in its words alone."""
    said = "Error while serializing: I/O error: No space left on device (os error 28)"
    with pytest.raises(OSError, match="No space left on device") as caught, told_of(tmp_path / "tensors"):
        raise SafetensorError(said)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "tensors"))


def test_the_head_is_not_adapted() -> None:
    """It is read at a few positions at a time and frozen: an adapter on it would never be looked at."""
    for targets in (("lm_head",), ("q_proj", "lm_head")):
        with pytest.raises(ModelError, match=r"the head 'lm_head' stays as it is; leave it out of model.lora.targets"):
            policy_on(toy_base(lora=Lora(targets=targets)))


def test_a_rank_that_no_memory_holds_is_refused() -> None:
    with pytest.raises(ModelError, match=r"no adapter of rank 1000000000000 can be put on .*model.lora.rank"):
        policy_on(toy_base(lora=Lora(rank=10**12)))
