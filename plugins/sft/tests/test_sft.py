"""Supervised fine-tuning on the toy base: what is counted, that it learns, and that it can be interrupted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from alignzoo.interfaces import Lesson, LessonError, Manner, Metrics, Optimizer
from alignzoo.learning.canaries import Canaries, watching
from alignzoo.learning.descent import Descent
from alignzoo.learning.ledger import Ledger, counting
from alignzoo.learning.memory import newest, remembering
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.role import Role, policy_on
from alignzoo.records import Completion, Demonstration, Prompt
from alignzoo.testing import toy_base, toy_folder, toy_model
from alignzoo_sft.sft import SFT, imitation

SHOWN = [
    Demonstration(Prompt.ask("is the cat small"), Completion("yes the cat is small")),
    Demonstration(Prompt.ask("is the dog old"), Completion("no")),
    Demonstration(Prompt.ask("why"), Completion("because i say so")),
    Demonstration(Prompt.ask("tell the bird what you think"), Completion("the tree is good and the river is fast")),
    Demonstration(Prompt.ask("how"), Completion("i will help you")),
]
QUICK = SFT(batch_size=2, epochs=4, descent=Descent(lr=1e-2))


def run(optimizer: SFT, base: Base) -> tuple[Role, list[Metrics]]:
    policy = policy_on(base)
    with watching(Canaries(base)):
        told = list(optimizer.improve(policy, Lesson(demonstrations=SHOWN)))
    return policy, told


def test_it_is_an_optimizer_and_says_what_it_needs() -> None:
    assert isinstance(SFT(), Optimizer)
    with pytest.raises(LessonError, match="this run lacks demonstrations"):
        Lesson().check(SFT.needs)
    policy = policy_on(toy_base())
    assert SFT().deploy(policy, Lesson()) is policy


def test_imitation_by_hand() -> None:
    assert imitation(torch.tensor([-0.5, -2.0])).tolist() == [0.5, 2.0]


def test_the_first_loss_is_that_of_transformers_on_the_reply_tokens_of_the_batch() -> None:
    """Sum over all reply tokens, ends among them and prompts not, over their number: not a mean of each text's mean."""
    base, model = toy_base(), toy_model()
    total, count, means = 0.0, 0, []
    for shown in SHOWN:
        prompt, reply = base.text.prompt_ids(shown.prompt), base.text.reply_ids(shown.completion)
        assert reply[-1] == base.text.end
        labels = torch.tensor([[-100] * len(prompt) + list(reply)])
        with torch.no_grad():
            mean = float(model(input_ids=torch.tensor([[*prompt, *reply]]), labels=labels).loss)
        means.append(mean)
        total, count = total + mean * len(reply), count + len(reply)
    [first] = run(SFT(batch_size=5), base)[1]
    assert first["loss"] == pytest.approx(total / count, rel=1e-5)
    assert first["loss"] != pytest.approx(sum(means) / len(means), rel=1e-3)
    assert first["logp"] == pytest.approx(-total / count, rel=1e-5)


def test_only_reply_tokens_count() -> None:
    base = toy_base()
    policy = policy_on(base)
    forest = base.text.replies([shown.prompt for shown in SHOWN], [[shown.completion] for shown in SHOWN])
    loss = SFT().loss(policy, forest)
    assert loss.count == sum(len(shown.completion.text.split()) + 1 for shown in SHOWN)
    assert float(loss.total) == pytest.approx(-float(policy.logps(forest).sum()), rel=1e-6)


@pytest.mark.parametrize("quantize", ["none", "nf4"])
def test_it_learns_what_is_shown(quantize: str, tmp_path: Path) -> None:
    base = Base.load(str(toy_folder(tmp_path)), Loading(quantize=quantize, device="cpu"), Lora(rank=8, alpha=16.0))  # type: ignore[arg-type]
    policy, told = run(SFT(batch_size=5, epochs=40, descent=Descent(lr=1e-2)), base)
    assert told[-1]["loss"] < 0.2 < 2.0 < told[0]["loss"]
    said = policy.sample([shown.prompt for shown in SHOWN], 1, Manner(max_tokens=12, temperature=0))
    assert [(reply.text, reply.finished) for [reply] in said] == [(shown.completion.text, True) for shown in SHOWN]


@pytest.mark.parametrize("micro_tokens", [1, 30])
def test_micro_batches_are_one_batch(micro_tokens: int) -> None:
    (one, told), (other, again) = (
        run(replace(QUICK, epochs=1, descent=Descent(lr=1e-3, micro_tokens=limit)), toy_base())
        for limit in (9999, micro_tokens)
    )
    for row, wanted in zip(again, told, strict=True):
        assert row == pytest.approx(wanted, rel=1e-4)  # the gradient's norm, too: Adam would not notice its scale
    for key, tensor in one.tensors().items():
        assert torch.allclose(other.tensors()[key], tensor, atol=1e-5)


def test_every_demonstration_is_seen_once_an_epoch_and_paid_for_once() -> None:
    base, ledger = toy_base(), Ledger()
    with counting(ledger, base):
        told = list(QUICK.improve(policy_on(base), Lesson(demonstrations=SHOWN)))
    assert len(told) == 4 * 3
    assert ledger.labels == 5
    assert ledger.read == 4 * base.text.replies([s.prompt for s in SHOWN], [[s.completion] for s in SHOWN]).size


def test_the_default_rate_rises_and_falls_over_the_planned_updates() -> None:
    told = run(SFT(batch_size=1, epochs=4), toy_base())[1]
    rates = [row["lr"] for row in told]
    assert len(rates) == 20
    assert rates[:6] == sorted(rates[:6])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert max(rates) == pytest.approx(1e-3)
    assert rates[-1] < 0.1e-3


@pytest.mark.parametrize("stop", [1, 4, 11])
def test_interrupted_is_uninterrupted_bit_for_bit(stop: int, tmp_path: Path) -> None:
    optimizer = replace(QUICK, descent=Descent(lr=1e-2, schedule="cosine", warmup=2))

    def go_on(updates: int) -> tuple[list[Metrics], str]:
        base, found = toy_base(), newest(tmp_path)
        told: list[Metrics] = []
        with remembering(base, found) as memory:
            policy = policy_on(base)
            for metrics in optimizer.improve(policy, Lesson(demonstrations=SHOWN)):
                told.append(metrics)
                if len(told) == updates:
                    memory.write(tmp_path, updates, {})
                    break
        return told, policy.digest

    whole, digest = go_on(99)
    first, _ = go_on(stop)
    rest, resumed = go_on(99)
    assert len(whole) == 12
    assert first + rest == whole
    assert resumed == digest
