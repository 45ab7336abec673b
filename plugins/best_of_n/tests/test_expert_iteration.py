"""Expert iteration on the toy base: what is kept, that it learns, and that it can be interrupted anywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from alignzoo.interfaces import Lesson, LessonError, Manner, Metrics, Optimizer
from alignzoo.lab.store import Training
from alignzoo.lab.training import Seat, Terms, Trained, train
from alignzoo.learning.canaries import Canaries, watching
from alignzoo.learning.choices import Budget, Watch
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent
from alignzoo.learning.ledger import Ledger, counting
from alignzoo.learning.memory import newest
from alignzoo.model.base import Base
from alignzoo.model.role import Role, policy_on
from alignzoo.records import Completion, Demonstration, Prompt
from alignzoo.testing import toy_base
from alignzoo_best_of_n import expert_iteration
from alignzoo_best_of_n.expert_iteration import ExpertIteration, keep_above, keep_best, keep_share
from alignzoo_best_of_n.harvest import Harvest

PROMPTS = [Prompt.ask(f"tell i about the {thing}") for thing in ("cat", "dog", "house", "river", "moon", "sun")]
QUICK = ExpertIteration(
    rounds=3, prompts=4, n=6, max_tokens=40, epochs=2, batch_size=3, descent=Descent(lr=5e-3, schedule="linear", warmup=1)
)


@pytest.fixture
def base() -> Base:
    return toy_base()


def shorter(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    return [-float(len(reply.tokens)) for reply in completions]


def flat(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    return [0.5] * len(completions)


def run(optimizer: ExpertIteration, base: Base, prompts: Sequence[Prompt] = PROMPTS) -> tuple[Role, list[Metrics]]:
    policy = policy_on(base)
    with watching(Canaries(base)):
        return policy, list(optimizer.improve(policy, Lesson(prompts=prompts, reward=shorter)))


def length(policy: Role) -> float:
    groups = policy.sample(PROMPTS, 16, Manner(max_tokens=40, seed=77))
    return sum(len(reply.tokens) for group in groups for reply in group) / (16 * len(PROMPTS))


def test_it_is_an_optimizer_and_says_what_it_needs(base: Base) -> None:
    assert isinstance(ExpertIteration(), Optimizer)
    policy = policy_on(base)
    assert ExpertIteration().deploy(policy, Lesson()) is policy
    with pytest.raises(LessonError, match="this run lacks prompts and reward"):
        next(ExpertIteration().improve(policy, Lesson()))
    with pytest.raises(LessonError, match="this run lacks reward"):
        next(ExpertIteration().improve(policy, Lesson(prompts=PROMPTS)))
    with pytest.raises(ValueError, match="n must be at least 2"):
        ExpertIteration(n=1)


def test_what_is_kept_by_hand() -> None:
    how, dice = ExpertIteration(share=0.5, threshold=2.0), Random(0)
    assert keep_best([1, 3, 2], how, dice) == [1]
    assert keep_share([1, 3, 2, 0, 5], how, dice) == [4, 1, 2]
    assert keep_above([1, 3, 2], how, dice) == [1, 2]
    assert {keep_best([3, 1, 3], how, Random(seed))[0] for seed in range(20)} == {0, 2}
    assert {tuple(sorted(keep_share([3, 1, 3, 3], how, Random(seed)))) for seed in range(60)} == {(0, 2), (0, 3), (2, 3)}


class Scripted:
    """A policy that says what it is told to; cut answers end with …"""

    def __init__(self, groups: list[list[str]]) -> None:
        self.groups = groups

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        return [[Completion(text, (9,), not text.endswith("…"), (-1.0,)) for text in group] for group in self.groups]


def number(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    return [float(reply.text.rstrip("…").split()[0]) for reply in completions]


def gathered(optimizer: ExpertIteration, groups: list[list[str]], prompts: Sequence[Prompt]) -> tuple[list[str], Metrics]:
    kept, told = optimizer.gather(Scripted(groups), number, prompts, 0)  # type: ignore[arg-type]
    assert all(not shown.completion.logps and shown.completion.tokens for shown in kept)
    return [shown.completion.text for shown in kept], told


def test_a_round_by_hand() -> None:
    """The third prompt's answers all tie, and the fourth's never end: 2 of 12 draws are kept."""
    groups = [["1", "2", "0"], ["5…", "3", "2"], ["7", "7", "7"], ["1…", "2…", "3…"]]
    kept, told = gathered(ExpertIteration(n=3), groups, PROMPTS[:4])
    assert kept == ["2", "3"]
    assert told == pytest.approx(
        {
            "round": 1,
            "score": (3 + 10 + 21 + 6) / 12,
            "score_kept": 2.5,
            "acceptance": 2 / 12,
            "distinct": 10 / 12,
            "tied": 1 / 4,
            "ended": 8 / 12,
        }
    )


def test_among_equals_each_prompt_round_and_seed_has_a_choice_of_its_own() -> None:
    prompts = [Prompt.ask(f"question {number}") for number in range(24)]
    choices = set()
    for seed, number_of in ((0, 0), (0, 1), (1, 0)):
        policy = Scripted([["1", "5 a", "5 b"]] * 24)
        kept, _ = ExpertIteration(n=3, seed=seed).gather(policy, number, prompts, number_of)  # type: ignore[arg-type]
        said = tuple(shown.completion.text for shown in kept)
        assert set(said) == {"5 a", "5 b"}
        choices.add(said)
    assert len(choices) == 3


def test_prompts_are_dealt_by_the_seed_and_a_schedule_is_planned_by_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six prompts where up to 256 could be answered: 2 rounds of 3 passes over 6 kept answers, four at a time."""
    decks, planned = [], []

    def on(descent: Descent, *roles: object, updates: int) -> None:
        planned.append(updates)
        raise InterruptedError

    class Noted(Deck[Prompt]):
        def __init__(self, records: Sequence[Prompt], size: int, epochs: int, seed: int) -> None:
            decks.append((list(records), size, epochs, seed))
            super().__init__(records, size, epochs, seed)

    monkeypatch.setattr(Descent, "on", on)
    monkeypatch.setattr(expert_iteration, "Deck", Noted)
    how = ExpertIteration(rounds=2, prompts=256, batch_size=4, epochs=3, seed=7)
    with pytest.raises(InterruptedError):
        next(how.improve(None, Lesson(prompts=PROMPTS, reward=number)))  # type: ignore[arg-type]
    assert decks == [(PROMPTS, 256, 2, 7)]
    assert planned == [2 * 3 * 2]


def test_the_same_answer_to_the_same_prompt_is_kept_once() -> None:
    rule = ExpertIteration(n=4, keep="above", threshold=2)
    kept, told = gathered(rule, [["2", "2", "3", "1"], ["2", "1", "1", "1"], ["3", "1", "1", "1"]], [*PROMPTS[:2], PROMPTS[0]])
    assert kept == ["2", "3", "2"]
    assert told["acceptance"] == 5 / 12


def test_a_round_with_nothing_to_imitate_is_said() -> None:
    with pytest.raises(LessonError, match="of 2 prompts, 1 had answers that all score the same"):
        gathered(ExpertIteration(n=2), [["1", "1"], ["2…", "1…"]], PROMPTS[:2])
    with pytest.raises(LessonError, match="all score the same"):
        list(QUICK.improve(policy_on(toy_base()), Lesson(prompts=PROMPTS, reward=flat)))


@pytest.mark.parametrize("keep", ["best", "share", "above"])
def test_it_learns_what_the_reward_likes(keep: str) -> None:
    optimizer = ExpertIteration(
        rounds=3,
        n=12,
        keep=keep,
        threshold=-6,
        max_tokens=40,
        epochs=4,
        batch_size=6,
        descent=Descent(lr=5e-3),  # type: ignore[arg-type]
    )
    before = length(policy_on(toy_base()))
    policy, told = run(optimizer, toy_base())
    assert length(policy) < 0.6 * before
    assert told[-1]["score"] > told[0]["score"]
    assert told[0]["score_kept"] > told[0]["score"]


def test_every_round_asks_the_policy_anew() -> None:
    _, told = run(QUICK, toy_base())
    rounds = [[row for row in told if row["round"] == number] for number in (1, 2, 3)]
    assert [len(rows) > 0 for rows in rounds] == [True] * 3
    assert len({rows[0]["score"] for rows in rounds}) == 3
    for rows in rounds:
        assert len({row["score"] for row in rows}) == 1


def test_each_epoch_shows_each_kept_answer_once_in_another_order() -> None:
    kept = [Demonstration(prompt, Completion("yes")) for prompt in PROMPTS[:5]]
    harvest = Harvest(0)
    assert not harvest.unlearned(2, 2)
    harvest.bring(kept, {})
    dealt = []
    while harvest.unlearned(2, 2):
        dealt.append(harvest.deal(2))
    assert [len(batch) for batch in dealt] == [2, 2, 1] * 2
    first, second = ([shown for batch in batches for shown in batch] for batches in (dealt[:3], dealt[3:]))
    assert {shown.prompt.id for shown in first} == {shown.prompt.id for shown in second} == {p.id for p in PROMPTS[:5]}
    assert first != second


def test_every_seed_round_and_epoch_deals_in_an_order_of_its_own() -> None:
    kept, orders = [Demonstration(PROMPTS[0], Completion(str(number))) for number in range(12)], set()
    for seed in (0, 1):
        harvest = Harvest(seed)
        for _ in range(2):
            harvest.bring(kept, {})
            orders |= {tuple(shown.completion.text for shown in harvest.deal(12)) for _ in range(2)}
    assert len(orders) == 8


def test_a_harvest_survives_as_plain_data() -> None:
    harvest = Harvest(1)
    kept = [Demonstration(prompt, Completion("yes", (8, 2), True)) for prompt in PROMPTS]
    harvest.bring(kept, {"score": 0.25})
    harvest.deal(4)
    other = Harvest(1)
    other.restore(json.loads(json.dumps(harvest.state())))
    assert (other.kept, other.round, other.dealt, other.told) == (kept, 1, 1, {"score": 0.25})
    assert other.deal(4) == harvest.deal(4)


def test_own_answers_cost_no_label() -> None:
    base, ledger = toy_base(), Ledger()
    with counting(ledger, base):
        list(QUICK.improve(policy_on(base), Lesson(prompts=PROMPTS, reward=shorter)))
    assert ledger.labels == 0
    assert ledger.written > 0


def test_a_schedule_is_planned_for_what_could_be_kept() -> None:
    assert ExpertIteration(rounds=2, prompts=10, epochs=3, batch_size=4).planned(99) == 2 * 3 * 3
    assert ExpertIteration(rounds=2, prompts=10, epochs=3, batch_size=4).planned(7) == 2 * 3 * 2
    assert ExpertIteration(rounds=1, prompts=10, epochs=1, batch_size=4, n=8, keep="share").planned(99) == 5
    assert ExpertIteration(rounds=1, prompts=10, epochs=1, batch_size=4, n=8, keep="above").planned(99) == 20


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_interrupted_is_uninterrupted_bit_for_bit(stop: int, tmp_path: Path) -> None:
    """Within a round and at its end: what the round kept was written by a policy that is no more."""

    def go_on(folder: Path, budget: Budget = Budget()) -> Trained:
        lesson, seat = Lesson(prompts=PROMPTS, reward=shorter), Seat(toy_base(), policy_on)
        return train(QUICK, lesson, seat, Training(folder), Terms(budget=budget, watch=Watch(every=0)))

    def told(folder: Path) -> list[dict[str, float]]:
        rows = [json.loads(line) for line in Training(folder).updates.read_text().splitlines()]
        return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]

    whole = go_on(tmp_path / "whole")
    assert whole.ledger.updates > 6
    first = go_on(tmp_path / "parts", Budget(updates=stop))
    assert first.ledger.updates == stop
    found = newest(Training(tmp_path / "parts").checkpoint)
    assert found is not None
    assert found.update == stop
    rest = go_on(tmp_path / "parts")
    assert rest.policy.digest == whole.policy.digest
    assert told(tmp_path / "parts") == told(tmp_path / "whole")


class Noting:
    """A policy that notes how it is asked, and answers with numbers."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, float]] = []
        self.seeds: list[int] = []

    def sample(self, prompts: Sequence[Prompt], n: int, manner: Manner) -> list[list[Completion]]:
        self.asked.append((n, manner.max_tokens, manner.temperature))
        self.seeds.append(manner.seed)
        return [[Completion(str(number)) for number in range(n)] for _ in prompts]


def test_each_round_draws_as_it_is_told_and_with_numbers_of_its_own() -> None:
    how, policy = ExpertIteration(n=3, max_tokens=9, temperature=0.4), Noting()
    for number in (0, 1):
        kept, told = how.gather(policy, lambda asked, said: [float(reply.text) for reply in said], [Prompt.ask("why")], number)  # type: ignore[arg-type]
        assert [shown.completion.text for shown in kept] == ["2"]
        assert (told["score"], told["score_kept"], told["acceptance"]) == (1.0, 2.0, pytest.approx(1 / 3))
    assert policy.asked == [(3, 9, 0.4)] * 2
    assert len(set(policy.seeds)) == 2
