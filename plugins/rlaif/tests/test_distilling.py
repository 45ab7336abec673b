"""Context distillation: the divergence by hand, what is read of each head, and a policy that comes nearer to its teacher."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from alignzoo.interfaces import Lesson, LessonError, Optimizer
from alignzoo.lab.store import Training, read_rows
from alignzoo.lab.training import Seat, Terms, train
from alignzoo.learning.choices import Budget, Watch
from alignzoo.learning.descent import Descent
from alignzoo.model.forest import per_reply
from alignzoo.model.role import Role, policy_on
from alignzoo.model.text import RoomError
from alignzoo.records import Prompt
from alignzoo.testing import WORDS, toy_base
from alignzoo_rlaif.distilling import ContextDistillation, divergence, likeliest, said_of, to_teacher

PROMPTS = [Prompt.ask(f"{first} the {second}") for first in ("tell i", "help", "ask", "say") for second in WORDS[20:32]]
RULES = """
[[principle]]
id = "kind"
text = "please say the good old house"
"""


@pytest.fixture
def rules(tmp_path: Path) -> str:
    (tmp_path / "rules.toml").write_text(RULES)
    return str(tmp_path / "rules.toml")


def quick(rules: str, **settings: Any) -> ContextDistillation:
    ours = {"batch_size": 8, "updates": 12, "max_tokens": 8, "held_out": 12, "examine": 5, "descent": Descent(lr=2e-2)}
    return ContextDistillation(rules, **{**ours, **settings})


# The divergence --------------------------------------------------------------------------------------------------------


def test_the_divergence_by_hand() -> None:
    """0.5 log(0.5/0.25) + 0.25 log(0.25/0.25) + 0.25 log(0.25/0.5) = 0.25 log 2."""
    teacher = torch.tensor([[0.5, 0.25]]).log()
    student = torch.tensor([[0.25, 0.25]]).log()
    assert divergence(teacher, student).item() == pytest.approx(0.25 * torch.log(torch.tensor(2.0)).item())
    assert divergence(teacher, teacher).item() == pytest.approx(0.0, abs=1e-7)
    whole = torch.tensor([[0.5, 0.5]]).log()
    assert divergence(whole, torch.tensor([[0.25, 0.75]]).log()).item() == pytest.approx(
        0.5 * 0.69315 + 0.5 * -0.40547, abs=1e-4
    )


def test_fewer_tokens_are_a_bound_from_below_and_all_are_exact() -> None:
    dice = torch.Generator().manual_seed(0)
    teacher, student = (torch.randn(50, 30, generator=dice).log_softmax(-1) for _ in range(2))
    exact = torch.nn.functional.kl_div(student, teacher, log_target=True, reduction="none").sum(-1)
    before = torch.zeros(50)
    order = teacher.argsort(dim=-1, descending=True)
    for k in (1, 2, 8, 29, 30):
        now = divergence(teacher.gather(1, order[:, :k]), student.gather(1, order[:, :k]))
        assert bool((now >= before - 1e-5).all())
        before = now
    assert torch.allclose(before, exact, atol=1e-5)


def test_certainty_gives_no_infinity() -> None:
    """A teacher who has no doubt, and a student who has none, either the right or the wrong way."""
    sure, wrong = torch.tensor([[0.0, -40.0]]), torch.tensor([[-40.0, 0.0]], requires_grad=True)
    told = divergence(sure, wrong)
    told.sum().backward()
    assert told.isfinite().all()
    assert wrong.grad is not None
    assert wrong.grad.isfinite().all()


# What is read ----------------------------------------------------------------------------------------------------------


def moved(role: Role, seed: int) -> Role:
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, tensor in sorted(role.base.wardrobe.tensors(role.name).items()):
            if ".lora_B." in key:
                tensor.copy_(0.1 * torch.randn(tensor.shape, generator=dice))
    return role


@pytest.mark.parametrize("plain_head", [True, False])
def test_columns_of_the_head_are_the_whole_spread_in_these_places(rules: str, plain_head: bool) -> None:
    base = toy_base()
    base.plain_head = plain_head
    policy = moved(policy_on(base), 1)
    forest = base.text.replies(PROMPTS[:4], policy.sample(PROMPTS[:4], 2))
    top, ids = likeliest(policy, forest, 5)
    whole = policy.spread(forest)
    assert torch.allclose(top, whole.topk(5).values, atol=1e-5)
    ours = said_of(policy, forest, ids)
    assert torch.allclose(ours, whole.gather(1, ids), atol=1e-5)
    weights = torch.linspace(-1, 2, ours.numel()).view_as(ours)
    grads = [torch.autograd.grad((weights * said).sum(), policy.parameters()) for said in (ours, whole.gather(1, ids))]
    gaps = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(*grads, strict=True) if b.any()]
    assert max(gaps) < 1e-3
    assert likeliest(policy, forest, 0)[0].shape[1] == base.vocabulary


def test_teacher_and_student_speak_of_the_same_tokens(rules: str) -> None:
    """Where the principles are taken away again, the divergence is that of the two whole distributions, token by token."""
    base = toy_base()
    policy = moved(policy_on(base), 1)
    how = quick(rules, top_k=0)
    shown = how.shown(policy.frozen("teacher"), PROMPTS[:6], 3)
    guided = base.text.replies(
        [c for c in how.contexts(policy, PROMPTS[:6], 3) if c is not None],
        [[base.text.completion(reply)] for tree in shown.forest.trees for reply in tree.replies],
    )
    with torch.no_grad():
        ours = to_teacher(policy, shown.forest)
        p, q = policy.spread(guided), policy.spread(shown.forest)
        exact = torch.nn.functional.kl_div(q, p, log_target=True, reduction="none").sum(-1)
    assert shown.sound == 1.0
    assert torch.allclose(ours, exact, atol=1e-4)
    assert float(ours.mean()) > 0.05


def test_no_prompt_is_taught_and_examined(rules: str) -> None:
    held, taught = quick(rules).apart([*PROMPTS, PROMPTS[0]])
    assert len(held) == 12
    assert {p.id for p in held} | {p.id for p in taught} == {p.id for p in PROMPTS}
    assert not {p.id for p in held} & {p.id for p in taught}
    with pytest.raises(LessonError, match="holds out 12 prompts, and there are 12"):
        quick(rules).apart(PROMPTS[:12])


# It learns -------------------------------------------------------------------------------------------------------------


def trained(how: ContextDistillation, folder: Path, *, budget: Budget = Budget()) -> tuple[Role, list[dict[str, Any]]]:
    base, files = toy_base(), Training(folder)
    done = train(
        how, Lesson(prompts=PROMPTS), Seat(base, lambda base: policy_on(base)), files, Terms(budget, Watch(kl_limit=500))
    )
    return done.policy, read_rows(files.updates)


def test_the_policy_comes_nearer_to_its_teacher_on_prompts_it_has_not_seen(rules: str, tmp_path: Path) -> None:
    _, rows = trained(quick(rules, updates=38), tmp_path)
    assert [row["update"] for row in rows if "held_out" in row] == [5, 10, 15, 20, 25, 30, 35, 38]
    assert len({row["held_out_start"] for row in rows}) == 1
    assert rows[-1]["held_out"] < 0.6 * rows[0]["held_out_start"]
    assert rows[-1]["kl"] < rows[0]["kl"]


def test_before_the_first_update_what_remains_is_all_there_is(rules: str) -> None:
    base = toy_base()
    policy, how = policy_on(base), quick(rules)
    exam = how.shown(policy.frozen("teacher"), PROMPTS[:8], 1).forest
    loss = how.loss(policy, exam)
    with torch.no_grad():
        assert how.remaining(policy, exam) == pytest.approx(float(per_reply(to_teacher(policy, exam), exam).mean()))
    assert loss.count == len(exam.targets)
    assert float(loss.told["kl"][0]) / loss.told["kl"][1] == pytest.approx(how.remaining(policy, exam), rel=1e-5)


def test_interrupted_and_resumed_it_is_the_same(rules: str, tmp_path: Path) -> None:
    how = quick(rules, updates=6, examine=2)
    whole, rows = trained(how, tmp_path / "whole")
    trained(how, tmp_path / "parts", budget=Budget(updates=3))
    resumed, again = trained(how, tmp_path / "parts")
    assert resumed.digest == whole.digest
    told = ("loss", "held_out", "held_out_start", "sound")
    assert [[row.get(name) for name in told] for row in rows] == [[row.get(name) for name in told] for row in again]


def test_a_prompt_that_the_principles_leave_no_room_is_told_before_the_first_update(rules: str) -> None:
    """Whenever its turn would come."""
    policy = policy_on(toy_base())
    longest = Prompt.ask("dog " * (policy.base.text.context - 16))
    assert policy.base.text.answerable(longest, 8), "alone it could be answered"
    for turn in range(3):  # held out, or dealt early or late
        with pytest.raises(RoomError, match="1 of 50 prompts leave no room for a reply"):
            next(iter(quick(rules, seed=turn).improve(policy, Lesson(prompts=[*PROMPTS, Prompt.ask("why"), longest]))))


def test_a_revision_as_the_context_is_asked_about_a_draft(rules: str) -> None:
    base = toy_base()
    base.text = replace(base.text, long_prompts="cut")  # which the toy's short context asks for
    policy = policy_on(base)
    how = quick(rules, context="revision", max_tokens=60)
    contexts = how.contexts(policy, PROMPTS[:16], 3)
    asked = [(x, c) for x, c in zip(PROMPTS, contexts, strict=False) if c is not None]
    assert asked
    for prompt, context in asked:
        assert [turn.speaker for turn in context.turns] == ["user", "assistant", "user", "assistant", "user"]
        assert context.turns[0] == prompt.turns[0]
        assert context.text.endswith("keeps to this principle: please say the good old house")
    with pytest.raises(LessonError, match="none of the teacher's own drafts"):
        quick(rules, context="revision", max_tokens=1).shown(policy, PROMPTS[:4], 3)


def test_it_is_an_optimizer_that_deploys_what_it_trained(rules: str) -> None:
    policy = policy_on(toy_base())
    assert isinstance(quick(rules), Optimizer)
    assert quick(rules).deploy(policy, Lesson()) is policy
