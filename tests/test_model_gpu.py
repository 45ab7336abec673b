"""What only a GPU can show: `pytest -m gpu`. Skipped where torch sees none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from alignzoo.interfaces import Lesson
from alignzoo.learning.descent import Descent, Loss
from alignzoo.model.base import Base
from alignzoo.model.forest import Forest, Tree, plant
from alignzoo.model.loading import Loading
from alignzoo.model.role import policy_on
from alignzoo.model.loading import Lora
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
