"""What only a GPU can show: `pytest -m gpu`. Skipped where torch sees none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from alignzoo.interfaces import Lesson, Manner
from alignzoo.learning.descent import Descent, Loss
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.fixed import Launch
from alignzoo.model.forest import Forest, Tree, plant
from alignzoo.model.role import policy_on
from alignzoo.records import Comparison, Completion, Prompt
from alignzoo.testing import toy_folder
from alignzoo_dpo.dpo import DPO

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")]

TREES = [Tree(tuple(range(7, 20)), (tuple(range(20, 28)), (30, 31, 2))), Tree((8, 9, 10), ((11, 12, 2),))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_folder(tmp_path_factory.mktemp("toy"))


def test_a_gpu_says_what_the_cpu_says(folder: Path) -> None:
    said = {}
    for device in ("cpu", "cuda"):
        base = Base.load(str(folder), Loading(quantize="none", dtype="float32", device=device), Lora(rank=4))  # type: ignore[arg-type]
        assert base.packs
        said[device] = policy_on(base).logps(plant(TREES, base.device)).detach().cpu()
    assert torch.allclose(said["cpu"], said["cuda"], atol=1e-3)


@pytest.mark.parametrize("quantize", ["nf4", "int8"])
def test_dpo_begins_at_log_2_on_a_quantized_gpu_base(folder: Path, quantize: str) -> None:
    base = Base.load(str(folder), Loading(quantize=quantize, device="cuda"), Lora(rank=4))  # type: ignore[arg-type]
    policy = policy_on(base)
    pairs = [Comparison(Prompt.ask("why"), Completion("yes please"), Completion(f"no {word}")) for word in ("cat", "dog")]
    dpo = DPO(likelihood=0.0, batch_size=2, epochs=5, descent=Descent(lr=1e-2))
    losses = [update["loss"] for update in dpo.improve(policy, Lesson(comparisons=pairs))]
    assert losses[0] == pytest.approx(0.6931, abs=1e-2)
    assert losses[-1] < losses[0]


def test_paged_adamw_moves_what_is_trained(folder: Path) -> None:
    base = Base.load(str(folder), Loading(device="cuda"), Lora(rank=4))
    policy = policy_on(base)
    before = policy.digest

    def loss(forest: Forest) -> Loss:
        return Loss.over(-policy.logps(forest))

    Descent(optimizer="paged_adamw_8bit").on(policy)(loss, plant(TREES, base.device))
    assert policy.digest != before


# Writing by CUDA graphs ----------------------------------------------------------------------------------------------

ASKED = [Prompt.ask("is the cat small"), Prompt.ask("why"), Prompt.ask("tell the dog how the old house and the new tree are")]


def counted(base: Base) -> list[int]:
    """How often a step was recorded and how often a recording was launched, from now on."""
    record, counts = base.record, [0, 0]
    assert record is not None, "no step of this model can be recorded"

    def counting(step: Launch) -> Launch:
        recorded = record(step)
        counts[0] += 1

        def launch() -> None:
            counts[1] += 1
            recorded()

        return launch

    base.record = counting
    return counts


@pytest.mark.parametrize(("quantize", "dtype"), [("none", "float32"), ("none", "bfloat16"), ("nf4", "bfloat16")])
def test_a_graph_writes_what_is_written_kernel_by_kernel(folder: Path, quantize: str, dtype: str) -> None:
    """Bare and with an adapter that moves between two rounds; greedily and drawn; rows that leave; several replies each."""
    base = Base.load(str(folder), Loading(quantize=quantize, dtype=dtype, device="cuda"), Lora(rank=4))  # type: ignore[arg-type]
    policy, counts = policy_on(base), counted(base)
    record = base.record
    for moved in range(2):
        for name, tensor in base.wardrobe.tensors(policy.name).items():
            tensor.data.add_(0.05 * moved * torch.randn_like(tensor) if "lora_B" in name else 0)
        for n, manner in ((1, Manner(max_tokens=40, temperature=0)), (6, Manner(max_tokens=40, seed=moved))):
            told = []
            for base.record in (record, None):
                groups = policy.sample(ASKED, n, manner)
                told.append(
                    ([r.tokens for g in groups for r in g], torch.tensor([lp for g in groups for r in g for lp in r.logps]))
                )
            if dtype == "float32":
                assert told[0][0] == told[1][0]
                assert torch.allclose(told[0][1], told[1][1], atol=1e-3)
            else:  # where two tokens are nearly as likely, rounding decides, and the rest is another text
                alike = [a == b for a, b in zip(*(ids for ids, _ in told), strict=True)]
                assert sum(alike) >= len(alike) / 2
        base.record = record
    assert counts[0] > 0
    assert counts[1] > 10 * counts[0]


def test_a_graph_and_its_memory_go_with_the_batch(folder: Path) -> None:
    base = Base.load(str(folder), Loading(device="cuda"), Lora(rank=4))
    counts = counted(base)
    policy_on(base).sample(ASKED, 4, Manner(max_tokens=32))  # cuBLAS makes its workspaces
    before = torch.cuda.memory_allocated()
    base.roles["policy"].sample(ASKED, 4, Manner(max_tokens=32, seed=1))
    assert counts[0] >= 2
    assert torch.cuda.memory_allocated() <= before


def test_who_waits_for_the_device_is_not_recorded_and_leaves_torch_whole(folder: Path, spoken: Callable[[], list[str]]) -> None:
    """8-bit layers look at their inputs from the host. That is found out before anything is recorded."""
    base, manner = Base.load(str(folder), Loading(quantize="int8", device="cuda"), Lora(rank=4)), Manner(max_tokens=32)
    policy = policy_on(base)
    groups = policy.sample(ASKED, 2, manner)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()  # fails where a recording was cut short
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    if base.record is None:
        assert any("cannot be recorded as one launch" in words for words in spoken())
    base.record = None
    assert [[r.tokens for r in g] for g in groups] == [
        [r.tokens for r in g] for g in policy.sample(ASKED, 2, Manner(max_tokens=32))
    ]


def test_plain_decoding_records_nothing(folder: Path) -> None:
    base = Base.load(str(folder), Loading(device="cuda", decoding="plain"), Lora(rank=4))
    assert base.record is None
