"""The trail of a training, the cost of answers, and a budget that rewards are trained from, too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from alignzoo.interfaces import Lesson, Manner
from alignzoo.lab import store
from alignzoo.lab.folders import RunError
from alignzoo.lab.plan import Answering, PlanError
from alignzoo.lab.prompts import prompts_of
from alignzoo.lab.run import Run
from alignzoo.lab.trail import Trail
from alignzoo.learning.choices import Budget
from alignzoo.learning.ledger import Ledger, charge, counting
from alignzoo.learning.rewards import Combined, Voice
from alignzoo.model.role import bare_on
from alignzoo.records import Completion, Prompt
from alignzoo.testing import toy_base, toy_folder

RUN = """
name = "toy"
threads = 1
[task]
use = "playground"
[model]
path = "{model}"
quantize = "none"
[model.lora]
rank = 4
[feedback]
use = "playground"
count = 32
answers = 2
candidates = "world"
[optimizer]
use = "dpo"
batch_size = 8
[watch]
every = 0
prompts = 2
tokens = 4
[answer]
prompts = 4
n = 2
[answer.manner]
max_tokens = 6
[judge]
use = "playground-gold"
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trail")
    path = folder / "toy.toml"
    path.write_text(RUN.format(model=toy_folder(folder / "model")))
    return path


def test_a_trail_changes_nothing_and_is_charged_to_nobody(file: Path) -> None:
    plain = Run.open(file, file.parent / "plain")
    traced = Run.open(file, file.parent / "traced", ["trail.every=2", "trail.prompts=3"])
    summaries = []
    for run in (plain, traced):
        run.train()
        summaries.append(store.read_json(run.files.train.summary))
    one, other = ({k: v for k, v in s["ledger"].items() if k not in ("seconds", "peak_bytes")} for s in summaries)
    assert one == other
    assert summaries[0]["adapter"] == summaries[1]["adapter"]
    assert not plain.files.train.trail.exists()
    points = store.read_rows(traced.files.train.trail)
    assert [point["update"] for point in points] == [0, 2, 4]
    assert all(len(point["each"]["kl"]) == len(point["each"]["gold"]) == 3 for point in points)
    assert points[0]["kl"] == pytest.approx(0.0, abs=1e-4)
    assert points[2]["kl"] == pytest.approx(sum(points[2]["each"]["kl"]) / 3)
    assert abs(points[2]["kl"]) > 1e-4


def test_a_resumed_trail_keeps_what_the_checkpoint_knows(tmp_path: Path) -> None:
    trail = Trail(tmp_path / "trail.jsonl", 1, (), None, None)  # type: ignore[arg-type]
    rows = "".join(json.dumps({"update": update}) + "\n" for update in (0, 1, 2, 3))
    trail.file.write_text(rows + '{"update": 3, "kl')
    trail.begin(2)
    assert [row["update"] for row in store.read_rows(trail.file)] == [0, 1, 2]
    trail.begin(0)  # the start is looked at again
    assert store.read_rows(trail.file) == []


@dataclass(frozen=True)
class Silent:
    """Says the same to everybody, and does not know how far from the start that is."""

    kl: float | None = None

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        return [[Completion("no")] * n for _ in prompts]


@dataclass
class Deploys:
    """An optimizer that trains nothing."""

    asked: int = 0

    def deploy(self, policy: object, lesson: Lesson) -> Silent:
        self.asked += 1
        return Silent(None if self.asked == 1 else 2.0)


def test_what_a_trail_asks_is_nobodys_and_the_start_is_asked_as_it_is(tmp_path: Path) -> None:
    def gold(prompts: Sequence[Prompt], said: Sequence[Completion]) -> list[float]:
        charge(scores=len(said))
        return [0.5 for _ in said]

    start = bare_on(toy_base(), "start")
    proxy = Combined([(Voice(name="one"), gold), (Voice(name="two"), gold)], "sum")
    manner = Manner(max_tokens=2)
    trail = Trail(tmp_path / "trail.jsonl", 1, [Prompt.ask("Why?"), Prompt.ask("How?")], Answering(manner=manner), gold)
    optimizer: Any = Deploys()
    lesson = Lesson(reward=proxy)
    with counting(Ledger(), start.base) as ours:
        trail.leave(0, optimizer, start, start, lesson)
        assert optimizer.asked == 0
        trail.leave(1, optimizer, start, start, lesson)
        trail.leave(2, optimizer, start, start, lesson)
    assert ours.scores == 0
    assert proxy._heard == {}
    points = store.read_rows(trail.file)
    assert [point["kl"] for point in points] == [pytest.approx(0.0, abs=1e-4), None, 2.0]
    assert [point["proxy"] for point in points] == [1.0] * 3


def test_a_trail_needs_a_judge(file: Path, tmp_path: Path) -> None:
    blind = tmp_path / "blind.toml"
    blind.write_text(file.read_text().replace('[judge]\nuse = "playground-gold"', "[trail]\nevery = 1"))
    with pytest.raises(PlanError, match="trail: its points are judged"):
        Run.open(blind, tmp_path / "out")


def test_what_the_answers_cost(file: Path) -> None:
    """Every token written and every prompt read, once for its two answers; nothing that is measured on them."""
    run = Run.open(file, file.parent / "plain")
    run.answer()
    served = store.read_json(run.files.serving)
    rows = store.read_rows(run.files.answers)
    for who in ("start", "policy"):
        own = [row for row in rows if row["who"] == who]
        assert served[who]["answers"] == len(own) == 8
        assert served[who]["written"] <= sum(len(row["completion"]["tokens"]) for row in own)
        assert served[who]["written"] > 0
    longest = max(len(run.base.text.prompt_ids(prompt)) for prompt in prompts_of(run.plan))
    assert served["start"]["read"] <= 4 * longest + served["start"]["written"]


def test_a_budget_after_others_have_spent() -> None:
    budget = Budget(updates=5, labels=100, tokens=1000, rewards=True)
    assert budget.limits() == {"updates": 5, "labels": 100, "tokens": 1000}
    left = budget.after([Ledger(updates=3, labels=30, read=600, written=300), Ledger(labels=20, read=200)])
    assert left == Budget(updates=5, labels=50, tokens=0, rewards=True)
    assert budget.after([]) == budget
    assert left.reached(Ledger()) == "tokens 0 of 0"
    assert budget.reached(Ledger(labels=100)) == "labels 100 of 100"
    assert budget.reached(Ledger(labels=99)) == ""


def test_a_reward_of_ones_own_is_paid_from_the_budget(file: Path, tmp_path: Path) -> None:
    """16 labels, of which the reward model takes all: an optimizer that asks nobody needs none. Of tokens it would."""
    learned = tmp_path / "learned.toml"
    reward = '[reward]\nuse = "reward-model"\nbatch_size = 8\n'
    reward += '[reward.feedback]\nuse = "playground"\ncandidates = "world"\ncount = 64\n'
    rloo = '[optimizer]\nuse = "rloo"\nupdates = 3\nprompts_per_update = 2\nreplies = 2\nexploring.max_tokens = 4\n'
    text = file.read_text().split("[feedback]")[0] + reward + rloo + "[watch]" + file.read_text().split("[watch]")[1]
    learned.write_text(text)
    run = Run.open(learned, tmp_path / "own", ["budget.labels=16", "budget.rewards=true"])
    run.train()
    assert store.read_json(run.files.reward(1).summary)["ledger"]["labels"] == 16
    summary = store.read_json(run.files.train.summary)
    assert (summary["stopped"], summary["ledger"]["updates"], summary["ledger"]["labels"]) == ("", 3, 0)
    spent = Run.open(learned, tmp_path / "spent", ["budget.tokens=16", "budget.rewards=true"])
    spent.train()
    assert store.read_json(spent.files.train.summary)["stopped"] == "tokens 0 of 0"
    apart = Run.open(learned, tmp_path / "apart", ["budget.labels=16"])
    apart.train()
    assert store.read_json(apart.files.reward(1).summary)["ledger"]["labels"] > 16
    assert store.read_json(apart.files.train.summary)["ledger"]["updates"] == 3


def test_rewards_take_one_after_the_other_what_is_left(file: Path, tmp_path: Path) -> None:
    """Two reward models and 24 labels: the first has 18 records to learn from (two are ties), the second six, and for a third
    none are left."""
    learned = tmp_path / "several.toml"
    one = '[[reward]]\nuse = "reward-model"\nname = "{}"\nbatch_size = 8\n'
    one += '[reward.feedback]\nuse = "playground"\ncandidates = "world"\ncount = {}\n'
    rloo = '[optimizer]\nuse = "rloo"\nupdates = 1\nprompts_per_update = 2\nreplies = 2\nexploring.max_tokens = 4\n'
    head, tail = file.read_text().split("[feedback]")[0], file.read_text().split("[watch]")[1]
    learned.write_text(f"{head}{one.format('a', 20)}{one.format('b', 30)}{rloo}[watch]{tail}")
    run = Run.open(learned, tmp_path / "two", ["budget.labels=24", "budget.rewards=true"])
    run.train()
    assert [store.read_json(run.files.reward(place).summary)["ledger"]["labels"] for place in (1, 2)] == [18, 6]
    learned.write_text(f"{head}{one.format('a', 20)}{one.format('b', 30)}{one.format('c', 9)}{rloo}[watch]{tail}")
    run = Run.open(learned, tmp_path / "three", ["budget.labels=24", "budget.rewards=true"])
    with pytest.raises(RunError, match=r"reward\.2: the rewards before it have taken the budget, labels 0 of 0 are left"):
        run.train()


READER = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Likely:
    role: object

    def __call__(self, prompts, completions):
        from alignzoo.model.forest import per_reply
        forest = self.role.base.text.replies(prompts, [[one] for one in completions], "cpu")
        return per_reply(self.role.logps(forest), forest).tolist()

@dataclass(frozen=True)
class Reader:
    def __call__(self, prompts, completions):
        raise ValueError("nobody lent me a model")

    def reading(self, role):
        return Likely(role)
"""


def test_a_judge_that_reads_is_lent_the_base_on_the_way(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bare base, which nobody trains, reads what the policy says, at its start and later."""
    (tmp_path / "trail_reader.py").write_text(READER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    changes = ["trail.every=4", "trail.prompts=8", 'judge={use="trail_reader:Reader"}', "optimizer.descent.lr=0.02"]
    run = Run.open(file, tmp_path / "read", changes)
    run.train()
    first, last = store.read_rows(run.files.train.trail)
    assert first["gold"] < -1
    assert last["gold"] != first["gold"]
