"""What a base proves about its model when it is made, and what it says when something cannot be as asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bitsandbytes
import pytest
import torch
from plain import Plain, close, loaded, mixed, pairs, stirred
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, LlamaForCausalLM, LlamaModel

from alignzoo.model import loading
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.forest import Tree, plant
from alignzoo.model.loading import ModelError
from alignzoo.model.role import policy_on
from alignzoo.model.text import Text
from alignzoo.testing import toy_base, toy_folder, toy_model, toy_tokenizer

HALVES = [torch.float32, torch.bfloat16]


class Unplaced(LlamaModel):
    """Counts positions by itself, whatever it is told: a second reply would be read as if it came after the first."""

    def forward(self, *inputs: Any, position_ids: Tensor | None = None, **more: Any) -> Any:
        return super().forward(*inputs, **more)


class UnplacedCausal(LlamaForCausalLM):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model = Unplaced(config)
        self.post_init()


@pytest.mark.parametrize("dtype", HALVES)
def test_a_model_that_ignores_positions_is_not_packed(dtype: torch.dtype, spoken: Callable[[], list[str]]) -> None:
    torch.manual_seed(0)
    model = UnplacedCausal(toy_model().config).to(dtype)
    base = Base(model, Text.of(toy_tokenizer(), context=128))
    assert not base.packs
    assert "the packed form differs by" in spoken()[0]
    role = policy_on(base)
    tree = mixed().trees[0]
    together = role.logps(plant([tree]))
    apart = torch.cat([role.logps(plant([Tree(tree.prompt, (reply,))])) for reply in tree.replies])
    assert close(together, apart, 1e-5 if dtype == torch.float32 else 0.1)


@pytest.mark.parametrize("dtype", HALVES)
def test_an_ordinary_model_is_packed_and_its_head_is_a_matrix(dtype: torch.dtype, spoken: Callable[[], list[str]]) -> None:
    base = Base(toy_model().to(dtype), Text.of(toy_tokenizer(), context=128))
    assert base.packs
    assert base.plain_head
    assert spoken() == []


def test_a_vocabulary_of_a_few_tokens_can_be_proved_on() -> None:
    """The random walks have 23 tokens."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=23, n_embd=32, n_layer=1, n_head=2, n_positions=32, eos_token_id=2, bos_token_id=1)
    assert Base(GPT2LMHeadModel(config), Text.of(toy_tokenizer(), context=32)).packs


def test_a_head_that_is_more_than_a_matrix_is_never_taken_for_one(family: Callable[[str], Path], tmp_path: Path) -> None:
    """Gemma 2 bends its logits: every way of asking gives the bent ones, with their temperature and entropy."""
    base = loaded(family("gemma2"))
    assert not base.plain_head
    role = stirred(policy_on(base))
    role.save(tmp_path)
    plain = Plain.of(family("gemma2"), tmp_path, role)
    wanted = plain.ask(pairs())[0]
    assert close(role.logps(pairs()), wanted)
    assert close(role.read(pairs()).logps(), wanted)
    tree = pairs().trees[0]
    one = plant([Tree(tree.prompt, tree.replies[:1])])
    row = torch.tensor([[*tree.prompt, *tree.replies[0]]])
    logits = plain.model(input_ids=row, use_cache=False).logits[0, len(tree.prompt) - 1 : -1] / 0.7
    spread = logits.log_softmax(-1)
    assert close(role.logps(one, 0.7), spread.gather(1, one.targets[:, None])[:, 0])
    assert close(role.read(one).logps(0.7), spread.gather(1, one.targets[:, None])[:, 0])
    assert close(role.read(one).entropies(0.7), -(spread.exp() * spread).sum(-1))


def test_the_listener_hears_what_is_learned_from_and_only_that(family: Callable[[str], Path]) -> None:
    for base in (toy_base(), loaded(family("gemma2"))):
        heard: list[int] = []
        base.listener = lambda forest, logps, heard=heard: heard.append(len(logps))
        role = policy_on(base)
        role.logps(pairs())
        assert heard == [len(pairs().targets)]
        with torch.no_grad():
            role.logps(pairs())
        role.frozen().logps(pairs())
        assert len(heard) == 1
        role.read(pairs()).logps()
        assert len(heard) == 2


# Loading -------------------------------------------------------------------------------------------------------------


def test_a_path_that_holds_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"cannot load the model '{tmp_path}'"):
        Base.load(str(tmp_path))


def test_a_tokenizer_that_needs_a_library_more_is_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wanting(path: str, **_: Any) -> Any:
        raise ImportError("LlamaTokenizer requires the SentencePiece library but it was not found in your environment")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", wanting)
    with pytest.raises(ModelError, match=r"cannot load the model .*requires the SentencePiece library"):
        Base.load(str(tmp_path))


def test_cuda_without_a_gpu_is_said_before_anything_is_loaded() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ModelError, match="torch sees no GPU here"):
        Base.load("nowhere", Loading(device="cuda"))


def refuse(layer: Any, x: Tensor) -> Tensor:
    """A kernel that takes multiples of 96 only: the toy model is 64 wide."""
    if layer.in_features % 96:
        raise RuntimeError("K must be a multiple of 96")
    return x


@pytest.mark.parametrize(("quantize", "kind"), [("nf4", "Linear4bit"), ("int8", "Linear8bitLt")])
def test_a_layer_that_the_kernel_refuses_is_named(
    quantize: loading.Quantization, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No shape is refused on a CPU (below), so the kernel is replaced by a choosy one."""
    monkeypatch.setattr(getattr(bitsandbytes.nn, kind), "forward", refuse)
    said = r"'model.layers.0.self_attn.q_proj' \(64 → 64\): K must be a multiple of 96.*quantize = \"none\""
    with pytest.raises(ModelError, match=f"the {quantize} kernel cannot take the layer {said}"):
        loaded(toy_folder(tmp_path), quantize)


@pytest.mark.parametrize("quantize", ["nf4", "int8"])
def test_odd_shapes_load_or_are_named(quantize: loading.Quantization, tmp_path: Path) -> None:
    """Widths that are no multiple of a block: with the guard on, bitsandbytes takes them on a CPU."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=64, n_embd=36, n_layer=1, n_head=3, n_positions=32, eos_token_id=2, bos_token_id=1)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    toy_tokenizer().save_pretrained(tmp_path)
    base = Base.load(str(tmp_path), Loading(quantize=quantize, device="cpu"), Lora(rank=4, alpha=8.0))
    role = stirred(policy_on(base))
    role.save(tmp_path / "adapter")
    assert close(role.logps(pairs()), Plain.of(tmp_path, tmp_path / "adapter", role, quantize).ask(pairs())[0])


def test_only_named_layers_are_adapted_when_asked() -> None:
    base = toy_base(lora=Lora(rank=2, targets=("q_proj", "v_proj")))
    policy_on(base)
    assert len(base.wardrobe.tensors("policy")) == 2 * 2 * 2
    assert all("q_proj" in key or "v_proj" in key for key in base.wardrobe.tensors("policy"))


def test_targets_that_no_adapter_fits_are_named(family: Callable[[str], Path]) -> None:
    """A name that no layer has, and the router of a mixture, which is no linear layer."""
    with pytest.raises(ModelError, match=r"no adapter of rank 2 can be put on nowhere; set model.lora.targets .*nowhere"):
        policy_on(toy_base(lora=Lora(rank=2, targets=("nowhere",))))
    router = Base.load(str(family("mixtral")), Loading(quantize="none", device="cpu"), Lora(rank=2, targets=("q_proj", "gate")))
    with pytest.raises(ModelError, match=r"mlp.gate' is no linear layer|Router\(\) is not supported"):
        policy_on(router)


def test_adapters_of_a_half_precision_base_are_kept_in_full(tmp_path: Path) -> None:
    base = Base.load(str(toy_folder(tmp_path)), Loading(quantize="nf4", dtype="bfloat16", device="cpu"))
    policy = policy_on(base)
    assert {parameter.dtype for parameter in policy.parameters()} == {torch.float32}
    policy.logps(pairs()).sum().backward()
    assert any(float(parameter.grad.abs().max()) > 0 for parameter in policy.parameters() if parameter.grad is not None)
