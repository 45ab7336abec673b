"""What is read off a model when it is loaded, by hand: its matrices, its bits, its dropout, and how it is to be quantized."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from alignzoo.model import loading
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading
from alignzoo.model.loading import ModelError, checksum
from alignzoo.testing.toy import toy_tokenizer


def llama(**changes: Any) -> LlamaForCausalLM:
    shape = {"vocab_size": 11, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(**shape | {"num_key_value_heads": 1, "pad_token_id": 0} | changes))


def gpt2() -> GPT2LMHeadModel:
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=11, n_embd=8, n_layer=2, n_head=2, n_positions=16, bos_token_id=1, eos_token_id=2)
    )


def test_matrices_are_counted_without_embeddings_and_head() -> None:
    """Llama's: 8 × 8 twice, 8 × 4 twice, 8 × 12 three times. GPT-2's own kind: 8 × (24 + 8 + 32 + 32)."""
    model = llama()
    assert loading.count_linear(model, model.get_output_embeddings()) == 3 * (2 * 8 * 8 + 2 * 8 * 4 + 3 * 8 * 12)
    model = gpt2()
    assert loading.count_linear(model, model.get_output_embeddings()) == 2 * 8 * (24 + 8 + 32 + 32)


def test_the_width_of_attention_is_that_of_the_heads_over_all_layers() -> None:
    assert loading.attention_width(llama()) == 3 * 2 * 4
    assert loading.attention_width(llama(head_dim=6)) == 3 * 2 * 6
    assert loading.attention_width(gpt2()) == 2 * 8


def test_layers_are_named_by_their_last_part_where_that_means_the_same() -> None:
    model = llama(num_hidden_layers=1)
    head = model.get_output_embeddings()
    short = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    assert loading.linear_names(model, head) == short
    model.model.layers[0].o_proj = nn.Identity()  # of this name there is now something that is no linear layer
    names = loading.linear_names(model, head)
    assert [name.rpartition(".")[2] for name in names] == [
        "down_proj",
        "gate_proj",
        "up_proj",
        "k_proj",
        "o_proj",
        "q_proj",
        "v_proj",
    ]
    assert all(name.startswith("model.layers.0.") for name in names)


class Bits(nn.Module):
    def __init__(self, *weights: Tensor) -> None:
        super().__init__()
        for number, weight in enumerate(weights):
            self.register_parameter(f"w{number}", nn.Parameter(weight, requires_grad=False))


def test_a_checksum_sees_every_bit_and_which_matrix_it_is_in() -> None:
    one, other = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    assert checksum(Bits(one, other)) == checksum(Bits(one.clone(), other.clone()))
    assert checksum(Bits(one, other)) != checksum(Bits(other, one))
    odd = torch.tensor([1, 2, 3, 4, 5], dtype=torch.uint8)  # four bytes in a word, and one left
    last = odd.clone()
    last[-1] += 1
    assert checksum(Bits(odd)) != checksum(Bits(last))
    assert len({checksum(Bits(torch.tensor([value]).bfloat16())) for value in (1.0, 1.0078125, -1.0)}) == 3


def test_a_checksum_sees_the_scales_of_four_bits_and_no_adapter() -> None:
    class State:
        absmax = torch.tensor([1.0, 2.0])

    module = Bits(torch.ones(4))
    module.get_parameter("w0").quant_state = State()  # type: ignore[attr-defined]
    before = checksum(module)
    State.absmax = torch.tensor([1.0, 2.5])
    assert checksum(module) != before
    before = checksum(module)
    module.add_module("q", nn.ModuleDict({"lora_A": nn.ModuleDict({"policy": nn.Linear(2, 2)})}))
    assert checksum(module) == before


def test_dropout_is_off_wherever_it_is() -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=11, n_embd=8, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=2)).train()
    loading.switch_dropout_off(model)
    ids = torch.tensor([[3, 4, 5]])
    assert torch.equal(model(ids).logits, model(ids).logits)


def test_recomputation_opens_no_door_to_dropout_and_leaves_it_as_it_was() -> None:
    layer = nn.Linear(1, 1).train()
    seen: list[bool] = []

    def checkpoint(forward: Any, *inputs: Any) -> Any:
        seen.append(layer.training)
        return forward(*inputs)

    run = loading.unheard(layer, checkpoint)
    assert run(lambda x: x + 1, 2) == 3
    with pytest.raises(ZeroDivisionError):
        run(lambda x: x / 0, 2)
    assert (seen, layer.training) == ([False, False], True)


@pytest.mark.parametrize("halves", [True, False])
@pytest.mark.parametrize("gpu", [True, False])
def test_half_precision_is_for_gpus_that_have_it(gpu: bool, halves: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: halves)
    assert loading.place_of(Loading()) == torch.device("cuda" if gpu else "cpu")
    assert loading.dtype_of(Loading()) == (torch.bfloat16 if gpu and halves else torch.float32)
    assert loading.dtype_of(Loading(device="cpu")) == torch.float32
    assert loading.dtype_of(Loading(dtype="float16")) == torch.float16
    assert loading.place_of(Loading(device="cpu")) == torch.device("cpu")


def test_weights_that_are_no_safetensors_are_not_opened(tmp_path: Path) -> None:
    """A pickle can run whatever it likes while it is read."""
    model = llama()
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    toy_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="safetensors"):
        loading.load(str(tmp_path), Loading(device="cpu"))


def test_how_a_model_is_quantized_is_what_was_asked() -> None:
    assert loading._quantization(Loading(quantize="none", device="cpu")) is None
    eight = loading._quantization(Loading(quantize="int8", device="cpu"))
    assert (eight.load_in_8bit, eight.load_in_4bit) == (True, False)
    for twice in (False, True):
        four = loading._quantization(Loading(quantize="nf4", dtype="bfloat16", double_quant=twice, device="cpu"))
        assert (four.load_in_4bit, four.load_in_8bit, four.bnb_4bit_quant_type) == (True, False, "nf4")
        assert (four.bnb_4bit_use_double_quant, four.bnb_4bit_compute_dtype) == (twice, torch.bfloat16)


@pytest.mark.parametrize(("written", "read"), [(5, {5}), (0, {0}), ([5, 6], {5, 6}), (None, set())])
def test_how_long_a_text_may_be_and_where_it_ends_is_read_off_the_model(written: Any, read: set[int], tmp_path: Path) -> None:
    """Besides the end that the tokenizer has."""
    model = llama(vocab_size=64, max_position_embeddings=48)
    model.generation_config.eos_token_id = written
    model.save_pretrained(tmp_path)
    toy_tokenizer().save_pretrained(tmp_path)
    text = Base.load(str(tmp_path), Loading(device="cpu")).text
    assert text.context == 48
    assert text.ends == {toy_tokenizer().eos_token_id, *read}
