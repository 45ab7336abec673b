"""In the playground, with its own model as critic and judge: labels follow the principle, revisions raise gold, and the run
file of Constitutional AI goes from start to report."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest

from alignzoo.interfaces import Asking, Manner
from alignzoo.lab.run import Run
from alignzoo.lab.store import read_feedback
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.role import policy_on
from alignzoo.records import Comparison, Critique
from alignzoo_rlaif.critique_revision import CritiqueRevision
from alignzoo_rlaif.form import Form
from alignzoo_rlaif.hiring import Hired
from alignzoo_rlaif.preferences import AIPreferences

world = pytest.importorskip("alignzoo_playground.task")
gold = pytest.importorskip("alignzoo_playground.gold")
ROOT = Path(__file__).resolve().parents[3]
HERE = ROOT / "benchmarks" / "constitution"
MIXED = str(HERE / "mixed.principles.toml")
JUDGE = Hired(
    thoughts=64,
    form=Form(
        compare="{question}\nRequest: {request}\nA: {first}\nB: {second}",
        answer="better: {letter}",
        letters=(("A", "B"),),
        layout="one line",
    ),
)


@pytest.fixture(scope="module")
def asking() -> Asking:
    folder = pytest.importorskip("alignzoo_playground.embedded").PlaygroundModel().folder()
    policy = policy_on(Base.load(folder, Loading(quantize="none"), Lora(rank=4)))
    return Asking(prompts=world.PlaygroundTask().prompts("train")[:60], policy=policy, manner=Manner(max_tokens=48))


def test_labels_follow_the_principle_that_is_applied(asking: Asking) -> None:
    agreed = []
    for principle in ("polite", "brief"):
        source = AIPreferences(MIXED, principles=(principle,), judge=JUDGE, ties="drop", count=12)
        for pair in source.collect(asking):
            assert isinstance(pair, Comparison)
            better, worse = gold.GoldReward().by_value([pair.prompt] * 2, [pair.chosen, pair.rejected])[principle]
            agreed += [better > worse] if better != worse else []
    assert len(agreed) > 12
    assert fmean(agreed) > 0.8


def test_revisions_raise_the_value_that_they_are_about(asking: Asking) -> None:
    source = CritiqueRevision(MIXED, principles=("polite",), layout="form", temperature=0.0, count=12)
    records = [record for record in source.collect(asking) if isinstance(record, Critique)]
    prompts = [record.prompt for record in records]
    before = gold.GoldReward().by_value(prompts, [record.completion for record in records])["polite"]
    after = gold.GoldReward().by_value(prompts, [record.revision for record in records])["polite"]
    assert fmean(after) > fmean(before) + 0.3


def test_constitutional_ai_in_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SL-CAI, labels, a reward model, and an algorithm that raises it; the same file with another one in its place."""
    monkeypatch.chdir(ROOT)
    few = ["start.feedback.count=8", "reward.feedback.count=8", "feedback.count=8", "answer.prompts=4"]
    best = Run.open(HERE / "rl-cai.toml", tmp_path / "best", [*few, "optimizer.use=best-of-n", "optimizer.n=2"])
    assert best.report().row()["policy"]["mean"] >= 0
    [start] = {type(record) for record in read_feedback(best.files.start.feedback)}
    [learned] = {type(record) for record in read_feedback(best.files.reward(1).feedback)}
    assert (start, learned) == (Critique, Comparison)
    dpo = Run.open(HERE / "rl-cai.toml", tmp_path / "dpo", [*few, "optimizer.use=dpo"])
    dpo.collect()
    assert all("; constitution mixed@" in record.provenance.note for record in read_feedback(dpo.files.feedback))
    assert list(read_feedback(dpo.files.start.feedback)) == list(read_feedback(best.files.start.feedback))
