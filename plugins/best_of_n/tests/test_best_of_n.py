"""Best-of-N on the toy base and on small policies whose answers are known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from statistics import fmean

import pytest

from alignzoo.interfaces import Lesson, LessonError, Manner, Optimizer, Policy
from alignzoo.lab.answering import answers
from alignzoo.lab.plan import Answering
from alignzoo.learning.ledger import Ledger, counting
from alignzoo.learning.rewards import Scored, ScoreError
from alignzoo.model.base import Base
from alignzoo.model.role import bare_on, policy_on
from alignzoo.records import Completion, Prompt
from alignzoo.testing import toy_base
from alignzoo_best_of_n.best_of_n import BestOf, BestOfN, expected_gain
from alignzoo_best_of_n.choosing import Scorer, best, stream
from alignzoo_best_of_n.curve import curve, divergence, estimated

PROMPTS = [Prompt.ask(text) for text in ("is the cat small", "why", "tell i about the moon", "how")]
MANNER = Manner(max_tokens=8, seed=3)


@pytest.fixture
def base() -> Base:
    return toy_base()


@dataclass
class Urn:
    """A policy that draws numbers: uniform ones below `below`, of each prompt, number and seed."""

    below: int = 10**9
    asked: list[tuple[int, int]] = field(default_factory=list)

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        self.asked.append((len(prompts), n))
        return [
            [
                Completion(str(Random(f"{p.id}/{k}/{manner.seed}").randrange(self.below)), (1, 2), logps=(-1, -2))
                for k in range(n)
            ]
            for p in prompts
        ]


@dataclass
class Says:
    """A policy that gives the answers it is told to, by the text of the prompt."""

    lines: dict[str, list[str]]

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        return [[Completion(line) for line in self.lines[p.turns[-1].text][:n]] for p in prompts]


@dataclass
class Face:
    """A reward that reads the number, and remembers what it was asked."""

    asked: list[str] = field(default_factory=list)

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        self.asked += [reply.text for reply in completions]
        return [float(reply.text) for reply in completions]


def flat(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    return [0.0] * len(completions)


def longer(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    return [float(len(reply.text)) for reply in completions]


def many(count: int) -> list[Prompt]:
    return [Prompt.ask(f"question {number}") for number in range(count)]


def test_it_is_an_optimizer_that_trains_nothing() -> None:
    optimizer = BestOfN()
    assert isinstance(optimizer, Optimizer)
    assert list(optimizer.improve(Urn(), Lesson(reward=flat))) == []
    deployed = optimizer.deploy(Urn(), Lesson(reward=flat))
    assert isinstance(deployed, Policy)
    assert deployed.kl == divergence(16)


def test_without_a_reward_it_says_so() -> None:
    with pytest.raises(LessonError, match="this run lacks reward"):
        BestOfN().deploy(Urn(), Lesson())


def test_the_best_of_the_draws_is_given() -> None:
    """The highest of exactly n, found again among what the policy was asked for."""
    urn, face = Urn(), Face()
    groups = BestOfN(n=6).deploy(urn, Lesson(reward=face)).sample(PROMPTS, 1, MANNER)
    assert urn.asked == [(4, 6)]
    drawn = urn.sample(PROMPTS, 6, replace(MANNER, seed=stream(3, 0, 0)))
    assert [group[0].text for group in groups] == [max(own, key=lambda r: int(r.text)).text for own in drawn]
    assert groups[0][0].tokens == (1, 2)


def test_its_answers_beat_one_answer_as_often_as_predicted() -> None:
    prompts = many(3000)
    urn = Urn()
    deployed = BestOfN(n=4).deploy(urn, Lesson(reward=Face()))
    chosen = [int(group[0].text) for group in deployed.sample(prompts, 1, MANNER)]
    alone = [int(group[0].text) for group in urn.sample(prompts, 1, MANNER)]
    assert fmean(a > b for a, b in zip(chosen, alone, strict=True)) == pytest.approx(4 / 5, abs=0.025)
    assert not set(chosen) & set(alone)  # independent draws, though the seed is the same


def test_what_is_measured_is_what_the_curve_predicts() -> None:
    prompts = many(400)
    urn, face = Urn(below=1000), Face()
    drawn = urn.sample(prompts, 32, replace(MANNER, seed=99))
    table = [[float(reply.text) for reply in group] for group in drawn]
    for n in (1, 4, 16):
        [point] = curve(table, table, [n])
        deployed = BestOfN(n=n).deploy(urn, Lesson(reward=face)).sample(prompts, 4, MANNER)
        measured = fmean(float(reply.text) for group in deployed for reply in group)
        assert measured == pytest.approx(point.gold.mean, abs=25)
        assert measured == pytest.approx(1000 * n / (n + 1), abs=25)


def test_ties_are_broken_evenly_and_by_how_often_a_text_was_drawn() -> None:
    counts = Counter(best([1.0, 2.0, 0.0, 2.0, 2.0], Random(seed)) for seed in range(3000))
    assert set(counts) == {1, 3, 4}
    assert all(count == pytest.approx(1000, abs=100) for count in counts.values())
    prompts = many(1500)
    urn = Urn(below=2)
    given = BestOfN(n=3).deploy(urn, Lesson(reward=flat)).sample(prompts, 1, MANNER)
    firsts = urn.sample(prompts, 3, replace(MANNER, seed=stream(3, 0, 0)))
    unanimous = [len({reply.text for reply in group}) == 1 for group in firsts]
    shares = [
        fmean(reply.text == group[0].text for reply in own)
        for group, own, same in zip(given, firsts, unanimous, strict=True)
        if not same
    ]
    assert fmean(shares) == pytest.approx((2 / 3) ** 2 + (1 / 3) ** 2, abs=0.03)


def test_an_answer_depends_on_prompt_number_and_seed_alone() -> None:
    deployed = BestOfN(n=5, batch=2).deploy(Urn(below=4), Lesson(reward=flat))
    together = deployed.sample(PROMPTS, 3, MANNER)
    assert deployed.sample(PROMPTS[::-1], 3, MANNER) == together[::-1]
    assert deployed.sample(PROMPTS[2:3], 3, MANNER) == together[2:3]
    assert [group[:1] for group in together] == deployed.sample(PROMPTS, 1, MANNER)
    assert deployed.sample(PROMPTS, 3, replace(MANNER, seed=4)) != together


def test_several_answers_are_independent_choices() -> None:
    groups = BestOfN(n=2).deploy(Urn(), Lesson(reward=Face())).sample(PROMPTS, 50, MANNER)
    assert all(len({reply.text for reply in group}) == 50 for group in groups)


def test_each_distinct_text_of_a_prompt_is_scored_once() -> None:
    face = Face()
    deployed = BestOfN(n=40, batch=8).deploy(Urn(below=3), Lesson(reward=face))
    deployed.sample(PROMPTS, 1, MANNER)
    assert len(face.asked) == 3 * len(PROMPTS)
    cut, whole = Completion("1", finished=False), Completion("1")
    assert Scorer(longer)(PROMPTS[:2], [[cut, whole, whole], [whole]]) == [[1, 1, 1], [1]]
    face.asked.clear()
    Scorer(face)(PROMPTS[:2], [[cut, whole, whole], [whole]])
    assert face.asked == ["1", "1", "1"]  # cut and whole are two answers, and the other prompt's is a third


def test_scores_are_charged_to_the_run() -> None:
    ledger, base = Ledger(), toy_base()
    with counting(ledger, base):
        BestOfN(n=40).deploy(Urn(below=3), Lesson(reward=Scored(Face(), "face"))).sample(PROMPTS, 1, MANNER)
    assert ledger.scores == 3 * len(PROMPTS)


def test_draws_come_in_batches() -> None:
    urn = Urn()
    BestOfN(n=7, batch=3).deploy(urn, Lesson(reward=flat)).sample(PROMPTS, 2, MANNER)
    assert urn.asked == [(4, 3), (4, 3), (4, 1)] * 2


def test_every_batch_draws_anew() -> None:
    face = Face()
    BestOfN(n=12, batch=4).deploy(Urn(), Lesson(reward=face)).sample(PROMPTS, 1, MANNER)
    assert len(set(face.asked)) == 12 * len(PROMPTS)


# Early stopping -----------------------------------------------------------------------------------------------------------


@dataclass
class Rounds:
    """A policy that says what it is told to, round by round, and remembers how it was asked."""

    lines: list[list[str]]
    manners: list[Manner] = field(default_factory=list)

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        self.manners.append(manner)
        return [[Completion(line) for line in self.lines[len(self.manners) - 1][:n]] for _ in prompts]


@pytest.mark.parametrize("best_in", [0, 1, 2])
def test_the_best_of_all_rounds_is_given_whichever_it_came_in(best_in: int) -> None:
    rounds = [[str(10 * number + own) for own in range(2)] for number in range(3)]
    rounds[best_in][1] = "99"
    given = BestOf(BestOfN(n=5, batch=2), Rounds(rounds), Face()).sample([PROMPTS[0]], 1, MANNER)[0][0]
    assert given.text == ("99" if best_in < 2 else "20")  # the last round has room for its first answer alone


def test_draws_are_made_in_the_manner_that_was_asked_for() -> None:
    """All but the seed, which each round has to itself."""
    manner = Manner(max_tokens=7, temperature=0.6, top_p=0.9, top_k=5, min_p=0.1, seed=4, stop=("end",))
    policy = Rounds([["1", "2"]] * 2)
    BestOf(BestOfN(n=4, batch=2), policy, Face()).sample([PROMPTS[0]], 1, manner)
    assert [replace(own, seed=4) for own in policy.manners] == [manner, manner]
    assert len({own.seed for own in policy.manners}) == 2


def test_grades_are_of_n_answers_however_many_are_drawn_at_once() -> None:
    policy = Rounds([["3", "1", "2", "0", "5"]])
    rows = list(BestOf(BestOfN(n=5, batch=2), policy, Face()).grades([PROMPTS[0]], MANNER, Face()))
    assert [row["strength"] for row in rows] == [1, 2, 4, 5]
    assert rows[-1]["proxy"] == rows[-1]["gold"] == [5.0]
    assert rows[0]["proxy"] == [pytest.approx(11 / 5)]
    assert [row["kl"] for row in rows] == [divergence(n) for n in (1, 2, 4, 5)]


def test_the_expected_gain_by_hand() -> None:
    """Two scores −1 and 1: deviation 1, best at z = 1; φ(1) − 1·(1 − Φ(1)) = 0.24197 − 0.15866 = 0.08332 a draw."""
    assert expected_gain([-1, 1], 1) == pytest.approx(0.08332, abs=1e-5)
    assert expected_gain([3, 7], 10) == pytest.approx(0.8332, abs=1e-4)  # neither shift nor scale matters
    assert expected_gain([2, 2, 2], 100) == 0


class Counting:
    """A policy whose answers are numbers, the same for whatever is asked."""

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        return [[Completion(str(number), (7,), logps=(-1.0,)) for number in range(n)] for _ in prompts]


def test_among_equals_each_prompt_each_answer_and_each_seed_has_a_choice_of_its_own() -> None:
    """Nor do answers carry the policy's log-probabilities, and their KL is that of all N draws."""
    level = BestOf(BestOfN(n=8, batch=8), Counting(), lambda asked, said: [1.0] * len(said))
    prompts = [Prompt.ask(f"is {number} small") for number in range(20)]
    by_prompt = [answer.text for [answer] in level.sample(prompts)]
    by_answer = [answer.text for answer in level.sample(prompts[:1], 20)[0]]
    by_seed = [level.sample(prompts[:1], 1, Manner(seed=seed))[0][0].text for seed in range(20)]
    assert min(len(set(chosen)) for chosen in (by_prompt, by_answer, by_seed)) > 3
    assert [answer.text for [answer] in level.sample(prompts)] == by_prompt
    assert level.sample(prompts)[0][0].logps == ()
    halves = BestOf(BestOfN(n=8, batch=4), Counting(), lambda asked, said: [1.0] * len(said))
    assert halves.kl == pytest.approx(math.log(8) - 7 / 8)


def test_it_goes_on_for_what_the_draws_that_are_left_may_gain() -> None:
    """Four draws of −1, 1, −1, 1: each more is expected to gain 0.08332 deviations, so four more a third of one."""
    scores = [-1.0, 1.0, -1.0, 1.0]
    goes_on = {least: BestOfN(n=8, batch=4, least_gain=least).goes_on(scores) for least in (0.0, 0.33, 0.34, 0.5)}
    assert goes_on == {0.0: True, 0.33: True, 0.34: False, 0.5: False}
    assert not BestOfN(n=4, batch=4).goes_on(scores)


def test_the_expected_gain_is_that_of_normal_scores() -> None:
    """−2, 0, 0 and 2: mean 0, deviation √2, best at √2 deviations. What one more normal draw adds, by simulation."""
    dice = Random(0)
    gains = [max(0.0, dice.gauss(0, 1) - 2**0.5) for _ in range(200_000)]
    assert expected_gain([-2, 0, 0, 2], 1) == pytest.approx(fmean(gains), rel=0.03)


def test_several_answers_to_a_prompt_ask_about_a_text_once() -> None:
    """Three answers are each the best of eight draws of their own; of four texts in all, many are drawn again."""
    face = Face()
    BestOfN(n=8, batch=4).deploy(Urn(below=4), Lesson(reward=face)).sample(PROMPTS[:1], 3, MANNER)
    assert sorted(face.asked) == ["0", "1", "2", "3"]


def test_drawing_stops_where_nothing_is_to_be_gained() -> None:
    deployed = BestOfN(n=64, batch=8, least_gain=0.01).deploy(Urn(), Lesson(reward=flat))
    deployed.sample(PROMPTS, 2, MANNER)
    assert deployed.drawn_each == 8
    never = BestOfN(n=64, batch=8).deploy(Urn(), Lesson(reward=flat))
    never.sample(PROMPTS, 2, MANNER)
    assert never.drawn_each == 64


def test_the_more_gain_is_asked_for_the_fewer_answers_are_drawn_and_little_is_lost() -> None:
    prompts = many(300)
    drawn, means = [], []
    for least in (0.0, 0.5, 2.0):
        deployed = BestOfN(n=64, batch=8, least_gain=least).deploy(Urn(), Lesson(reward=Face()))
        means.append(fmean(int(group[0].text) / 10**9 for group in deployed.sample(prompts, 1, MANNER)))
        drawn.append(deployed.drawn_each)
    assert 64 == drawn[0] > drawn[1] > drawn[2] > 8
    assert means[0] >= means[1] >= means[2] > 0.9


def test_who_stops_does_not_depend_on_neighbours() -> None:
    deployed = BestOfN(n=64, batch=4, least_gain=1.0).deploy(Urn(), Lesson(reward=Face()))
    whole = deployed.sample(many(20), 1, MANNER)
    assert [deployed.sample([prompt], 1, MANNER)[0] for prompt in many(20)] == whole


# With a model --------------------------------------------------------------------------------------------------------------


def test_it_chooses_among_the_answers_of_a_model(base: Base) -> None:
    policy = policy_on(base)
    deployed = BestOfN(n=12).deploy(policy, Lesson(reward=longer))
    chosen = deployed.sample(PROMPTS, 1, MANNER)
    plain = policy.sample(PROMPTS, 12, replace(MANNER, seed=stream(3, 0, 0)))
    assert [len(g[0].text) for g in chosen] == [max(len(reply.text) for reply in group) for group in plain]
    assert all(reply.tokens for [reply] in chosen)


def test_its_kl_is_told_by_the_formula_and_not_from_the_log_probabilities_of_the_policy(base: Base) -> None:
    """Σ log π − log π₀ over what was chosen would be 0 here, and best-of-16 is not at 0."""
    start = bare_on(base, "start")
    deployed = BestOfN().deploy(start, Lesson(reward=longer))
    rows = list(answers("policy", deployed, start, PROMPTS, Answering(manner=MANNER), lambda *_: None))
    assert [row["kl"] for row in rows] == [deployed.kl] * 4
    assert deployed.kl == pytest.approx(1.835, abs=1e-3)


# What cannot be ----------------------------------------------------------------------------------------------------------


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="n must be at least 1"):
        BestOfN(n=0)
    with pytest.raises(ValueError, match="batch must be at least 1"):
        BestOfN(batch=0)
    with pytest.raises(ValueError, match="let batch be 4 or more"):
        BestOfN(batch=2, least_gain=0.1)


def test_no_answers_are_none_and_no_prompts_no_groups() -> None:
    deployed = BestOfN(n=2).deploy(Urn(), Lesson(reward=Face()))
    with pytest.raises(ValueError, match="1 or more; got 0"):
        deployed.sample(PROMPTS, 0, MANNER)
    assert deployed.sample([], 1, MANNER) == []
    assert deployed.drawn_each == 0


@pytest.mark.parametrize(("scores", "said"), [([1.0], "gave 1 scores for 2"), ([1.0, float("nan")], "gave nan for answer 2")])
def test_a_reward_that_does_not_keep_its_word_is_named(scores: list[float], said: str) -> None:
    with pytest.raises(ScoreError, match=f"the reward .*<lambda>' {said}"):
        Scorer(lambda prompts, completions: scores)(PROMPTS[:1], [[Completion("a"), Completion("b")]])


def test_a_reward_that_fails_is_named_and_its_own_error_is_not_hidden() -> None:
    def broken(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        raise RuntimeError("out of order")

    with pytest.raises(ScoreError, match=r"the reward '.*broken' raised RuntimeError: out of order") as told:
        BestOfN(n=2).deploy(Urn(), Lesson(reward=broken)).sample(PROMPTS, 1, MANNER)
    assert isinstance(told.value.__cause__, RuntimeError)


def test_its_grades_are_the_curve_of_its_own_draws() -> None:
    """Best of 1, 2, 4 and 5 from five answers to each of two prompts, by all subsets; the KL is the formula's."""
    prompts = [Prompt.ask("a"), Prompt.ask("b")]
    says = Says({"a": ["1", "2", "3", "4", "5"], "b": ["5", "5", "1", "1", "1"]})
    gold = lambda prompts, completions: [10.0 - float(c.text) for c in completions]  # noqa: E731
    proxy = lambda prompts, completions: [float(c.text) for c in completions]  # noqa: E731
    grades = list(BestOfN(n=5).deploy(says, Lesson(reward=proxy)).grades(prompts, Manner(), gold))  # type: ignore[arg-type]
    assert [grade["strength"] for grade in grades] == [1, 2, 4, 5]
    assert [grade["kl"] for grade in grades] == [pytest.approx(math.log(n) - (n - 1) / n) for n in (1, 2, 4, 5)]
    assert grades[0]["proxy"] == [pytest.approx(3.0), pytest.approx(2.6)]
    assert grades[1]["proxy"] == [pytest.approx(4.0), pytest.approx(1 * 0.3 + 5 * 0.7)]
    assert grades[3]["proxy"] == [pytest.approx(5.0), pytest.approx(5.0)]
    assert grades[3]["gold"] == [pytest.approx(5.0), pytest.approx(5.0)]
    assert grades[3]["kl_estimated"] == [pytest.approx(grades[3]["kl"]), estimated([5.0, 5.0, 1.0, 1.0, 1.0], 5)]
