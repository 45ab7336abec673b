"""The three kinds of judgement in plain Python, and what a training does with them: no model, numbers by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, pstdev
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from alignzoo.interfaces import Lesson, LessonError, Manner
from alignzoo.learning.descent import Loss
from alignzoo.model.forest import Forest
from alignzoo.model.role import Role, role_on
from alignzoo.model.text import Text
from alignzoo.records import Comparison, Completion, Prompt, Provenance, Ranking, Rating
from alignzoo.testing import toy_base, toy_tokenizer
from alignzoo_reward_model import model, reward_model
from alignzoo_reward_model.held_out import Tried, agreement, by_strength, figures, parted
from alignzoo_reward_model.judgements import Comparisons, Rankings, Ratings, Terms
from alignzoo_reward_model.model import LearnedReward, grow_heads, head_names, is_normalised, mark, score
from alignzoo_reward_model.reward_model import RewardModel, bootstraps

BASE: Any = SimpleNamespace(text=Text.of(toy_tokenizer()), device=torch.device("cpu"))
WHY, HOW = Prompt.ask("why"), Prompt.ask("how")
NONE = Terms()


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def pair(prompt: Prompt = WHY, strength: float = 1.0, by: str = "a", chosen: str = "cat", rejected: str = "dog") -> Comparison:
    return Comparison(prompt, Completion(chosen), Completion(rejected), strength, Provenance("here", by))


def ranking(*ranks: int, prompt: Prompt = WHY) -> Ranking:
    words = ("cat", "dog", "old cat", "small dog", "house", "tree")
    return Ranking(prompt, tuple(map(Completion, words[: len(ranks)])), ranks)


def rating(score: float, text: str = "cat", source: str = "here", value: str = "overall", prompt: Prompt = WHY) -> Rating:
    return Rating(prompt, Completion(text), score, value, Provenance(source, "a"))


# Comparisons ----------------------------------------------------------------------------------------------------------


def test_what_is_told_of_pairs_is_by_the_mean_of_the_members_and_ties_have_no_right_side() -> None:
    """Leads of 1 and −2 (wrong, by the mean), 0 and 0 (half), 2 and 1 (right), and a tie that scores apart."""
    records = [pair(), pair(HOW), pair(strength=0.75), pair(strength=0.5)]
    judged = Comparisons.of(records, NONE)
    scores = torch.tensor([[2.0, 1.0], [1.0, 3.0], [5.0, 5.0], [5.0, 5.0], [3.0, 2.0], [1.0, 1.0], [9.0, 9.0], [0.0, 0.0]])
    told = judged.told(scores, judged.forest(records, BASE))
    assert told["accuracy"].tolist() == [0.0, 0.5, 1.0]
    assert told["margin"].tolist() == [-0.5, 0.0, 1.5, 9.0]
    assert judged.pairs(records) == judged.choices(records) == tuple(records)
    assert judged.facts == {}
    with pytest.raises(LessonError, match="all 2 comparisons to learn from are ties"):
        Comparisons.of([pair(strength=0.5)] * 2, NONE)


# Rankings -------------------------------------------------------------------------------------------------------------


def test_rankings_in_plain_python() -> None:
    """Every two answers whose ranks differ, a mean over each ranking's own pairs, for each member by itself."""
    records = [ranking(0, 1, 1, 2), ranking(0, 1, prompt=HOW), ranking(0, 0, 1, 1, 2)]
    judged = Rankings.of([*records, ranking(1, 1)], Terms(centring=0.3))
    assert judged.records == records
    assert judged.facts == {"dropped_rankings": 1.0}
    assert Rankings.of(records, NONE).facts == {}
    forest = judged.forest(records, BASE)
    scores = torch.randn(11, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    losses, told, first = judged.losses(scores, forest), judged.told(scores, forest), 0
    leads = []
    for number, record in enumerate(records):
        places = [
            (first + i, first + j) for i, high in enumerate(record.ranks) for j, low in enumerate(record.ranks) if high < low
        ]
        for member, own in enumerate(scores.t().tolist()):
            each = [softplus(own[worse] - own[better]) + 0.3 * (own[better] + own[worse]) ** 2 for better, worse in places]
            assert float(losses[number, member]) == pytest.approx(fmean(each))
        mean = scores.mean(1).tolist()
        leads += [mean[better] - mean[worse] for better, worse in places]
        first += len(record.ranks)
    assert told["margin"].tolist() == pytest.approx(leads)
    assert told["accuracy"].tolist() == [float(lead > 0) for lead in leads]


def test_a_ranking_is_tried_on_all_its_pairs_which_are_one_persons_choices() -> None:
    tried = Rankings.of([ranking(0, 1, 1, 2)], NONE).pairs([ranking(0, 1, 1, 2)])
    said = [(one.chosen.text, one.rejected.text) for one in tried]
    assert said == [
        ("cat", "dog"), ("cat", "old cat"), ("cat", "small dog"), ("dog", "small dog"), ("old cat", "small dog")
    ]  # fmt: skip
    assert Rankings.of([ranking(0, 1)], NONE).choices([ranking(0, 1, 1, 2)]) == tried


# Ratings --------------------------------------------------------------------------------------------------------------


def test_thumbs_in_plain_python() -> None:
    """Scores between nought and one are thumbs, too, however sure; sources and values are one class problem."""
    records = [rating(1.0), rating(0.25, "dog", "elsewhere"), rating(0.0, "tree", value="style"), rating(0.75, "house")]
    judged = Ratings.of(records, NONE)
    up, down = 4 / (2 * 2.0), 4 / (2 * 2.0)
    assert judged.facts == {"weight_up": up, "weight_down": down}
    assert Ratings.of([*records, rating(1.0)], NONE).facts == pytest.approx({"weight_up": 5 / 6, "weight_down": 5 / 4})
    forest, scores = judged.forest(records, BASE), torch.tensor([[1.0, 0.0], [-2.0, 1.0], [0.5, 0.5], [3.0, -1.0]])
    for row, own, wanted in zip(judged.losses(scores, forest).tolist(), scores.tolist(), (1, 0.25, 0, 0.75), strict=True):
        each = [up * wanted * softplus(-r) + down * (1 - wanted) * softplus(r) for r in own]
        assert row == pytest.approx(each, rel=1e-5)
    told = judged.told(scores, forest)
    assert told["reward_liked"].tolist() == [[1.0, 0.0], [3.0, -1.0]]
    assert told["reward_disliked"].tolist() == [[-2.0, 1.0], [0.5, 0.5]]
    apart = [rating(1.0, source="one"), rating(0.0, source="other")]  # neither differs within its own source
    assert Ratings.of(apart, NONE).facts == {"weight_up": 1.0, "weight_down": 1.0}
    with pytest.raises(LessonError, match=r"every score to learn from is the same on its scale \(1\)"):
        Ratings.of([rating(1.0), rating(1.0, source="other")], NONE)


def test_scores_in_plain_python() -> None:
    """Each scale by its own mean and deviation. One on which all is the same says nothing: its answers are wanted at 0."""
    scales = {("here", "overall"): (1.0, 3.0, 5.0), ("here", "style"): (10.0, 30.0), ("elsewhere", "overall"): (7.0, 7.0)}
    records = [rating(score, source=source, value=value) for (source, value), own in scales.items() for score in own]
    judged = Ratings.of(records, NONE)
    wanted = [(score - fmean(own)) / (pstdev(own) or 1.0) for own in scales.values() for score in own]
    forest = judged.forest(records, BASE)
    assert forest.replies["wanted"].tolist() == pytest.approx(wanted, abs=1e-6)
    assert wanted[-2:] == [0.0, 0.0]
    scores = torch.linspace(-1, 2, 7)[:, None]
    assert judged.losses(scores, forest)[:, 0].tolist() == pytest.approx(
        [(r - s) ** 2 for r, s in zip(scores[:, 0].tolist(), wanted, strict=True)], abs=1e-5
    )
    assert judged.facts == {}
    liked = [r for r, s in zip(scores[:, 0].tolist(), wanted, strict=True) if s > 0]
    assert judged.told(scores, forest)["reward_liked"][:, 0].tolist() == pytest.approx(liked)
    assert len(liked) == 2
    assert len(judged.told(scores, forest)["reward_disliked"]) == 5
    with pytest.raises(LessonError, match="is the same on its scale"):
        Ratings.of([rating(3.0), rating(3.0), rating(9.0, value="style")], NONE)


def test_ratings_are_tried_on_pairs_that_nobody_chose_between() -> None:
    records = [rating(3.0), rating(1.0, "dog"), rating(9.0, "tree", prompt=HOW)]
    judged = Ratings.of(records, NONE)
    assert [(one.chosen.text, one.rejected.text) for one in judged.pairs(records)] == [("cat", "dog")]
    assert judged.choices(records) == ()


# Agreement ------------------------------------------------------------------------------------------------------------


def test_each_pair_of_answers_has_the_same_say_however_many_judged_it() -> None:
    """A third of three pairs of people, and one pair of one: (1/3 + 1) / 2, not 2 of 4. Other prompts are other pairs."""
    turned = pair(by="c", chosen="dog", rejected="cat")
    said = [pair(by="a"), pair(by="b"), turned, pair(HOW, by="a"), pair(HOW, by="b")]
    assert agreement(said) == (pytest.approx((1 / 3 + 1) / 2), 2)
    other = pair(by="b", chosen="tree", rejected="dog")
    assert agreement([pair(by="a"), other]) == (0.0, 0)
    assert agreement([pair(by="a"), pair(HOW, by="b")]) == (0.0, 0)


def test_a_tenth_holds_its_upper_end_and_a_likelier_loser_is_the_side_that_should_win() -> None:
    """0.6 is of the sixth tenth, also as thrice 0.2, which floating point has above it. At 0.2 the rejected side is likelier:
    that it scores higher is right."""
    told = by_strength([1.0, -1.0, -2.0, 1.0, 0.0], [0.7, 0.7 + 1e-6, 0.2, 0.2, 1.0])
    assert told == {
        "held_out_accuracy_to_70": 1.0,
        "held_out_accuracy_to_80": pytest.approx(1 / 3),
        "held_out_accuracy_to_100": 0.5,
    }
    assert set(by_strength([1.0, 1.0], [3 * 0.2, 1.0])) == {"held_out_accuracy_to_60", "held_out_accuracy_to_100"}


def test_the_ceiling_is_of_all_choices_and_not_of_those_held_out_alone() -> None:
    tried = Tried([pair()], torch.tensor([[1.0, 0.0]]), torch.ones(1, 2))
    told = figures(tried, [pair(HOW, by="a"), pair(HOW, by="b")])
    assert (told["agreement"], told["agreement_pairs"]) == (1.0, 1.0)
    assert "agreement" not in figures(tried, [])


# A training -----------------------------------------------------------------------------------------------------------


def test_who_is_asked_what_in_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of six prompts are held out, and each pair weighs as often as each member's bootstrap has drawn it; all choices tell
    of agreement; and the start, not what has become of it, writes what scores are scaled by."""
    records = [pair(Prompt.ask(word)) for word in ("why", "how", "cat", "dog", "old", "tree")]
    lesson = Lesson(comparisons=records)
    optimizer = RewardModel(
        margin=0.5, centring=0.25, members=2, held_out=0.34, evaluate_every=3, samples=9, sample_tokens=5, batch_size=1,
        epochs=1, seed=3
    )  # fmt: skip
    learned, held = parted(records, lambda record: record.prompt, 0.34)
    weights = bootstraps(4, 2, 3)
    seen: dict[tuple[int, ...], list[float]] = {}
    known: list[Any] = []
    loss = RewardModel.loss

    def weighed(own: RewardModel, policy: Role, names: Any, judged: Comparisons, forest: Forest) -> Loss:
        assert judged.terms == Terms(0.5, 0.25)
        assert judged.records == learned
        assert not is_normalised(policy)
        seen[forest.trees[0].prompt] = forest.notes["weight"][0].tolist()
        return loss(own, policy, names, judged, forest)

    def tried(own: RewardModel, policy: Role, names: Any, trial: Any, choices: Any) -> dict[str, float]:
        known.append(("tried", list(trial) == held, list(choices) == records))
        return {}

    def scaled(role: Role, names: Any, start: Role, prompts: Any, manner: Manner, at_once: int) -> dict[str, float]:
        known.append(
            (start.name, start.trained, start.worn, [p.text for p in prompts] == [r.prompt.text for r in records], manner)
        )
        return {}

    monkeypatch.setattr(RewardModel, "loss", weighed)
    monkeypatch.setattr(RewardModel, "tried", tried)
    monkeypatch.setattr(reward_model, "normalise", scaled)
    policy = role_on(toy_base(), "reward")
    policy.grow("normalised")
    mark(policy, 1.0)  # as a training before this one has left it
    assert len(list(optimizer.improve(policy, lesson))) == 4
    assert seen == {policy.base.text.prompt_ids(r.prompt): row for r, row in zip(learned, weights.tolist(), strict=True)}
    start = ("start", False, None, True, Manner(max_tokens=5, seed=3))
    assert known == [("tried", True, True), ("tried", True, True), start]


def test_a_batch_weighs_each_members_own_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [pair(), pair(HOW)]
    judged = Comparisons.of(records, NONE)
    scores = torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, 3.0], [0.0, 1.0]])
    monkeypatch.setattr(reward_model, "member_scores", lambda role, forest, names: scores)
    forest = judged.forest(records, BASE).attach(trees={"weight": torch.tensor([[2.0, 0.0], [1.0, 3.0]])})
    loss = RewardModel().loss(None, (), judged, forest)  # type: ignore[arg-type]
    first = (2 * softplus(-1) + 0 * softplus(1)) / 2
    second = (1 * softplus(0) + 3 * softplus(-2)) / 2
    assert float(loss.total) == pytest.approx(first + second, rel=1e-6)
    assert loss.count == 2
    assert {"reward", "accuracy", "margin"} == set(loss.told)
    assert float(loss.told["reward"][0]) == 8.0


def test_held_out_pairs_are_tried_by_the_mean_of_the_members(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members that disagree: cat +3 and −1, dog 0 and 0. The mean likes cats; the lower of the two would not."""
    worth = {"cat": (3.0, -1.0), "dog": (0.0, 0.0), "old cat": (2.0, 4.0), "small dog": (1.0, 1.0)}

    def scored(role: Any, names: Any, prompts: Sequence[Prompt], replies: Sequence[Completion], at_once: int) -> Tensor:
        assert [prompt.text for prompt in prompts] == ["why", "why", "how", "how"]
        return torch.tensor([worth[reply.text] for reply in replies])

    monkeypatch.setattr(reward_model, "score", scored)
    policy: Any = SimpleNamespace(base=BASE)
    trial = [pair(), pair(HOW, chosen="old cat", rejected="small dog")]
    told = RewardModel(members=2).tried(policy, ("score1", "score2"), trial, [])
    assert told["held_out_accuracy"] == 1.0
    assert told["held_out_log_loss"] == pytest.approx((softplus(-1) + softplus(-2)) / 2)
    assert told["members_apart"] == pytest.approx(fmean([2.0, 0.0, 1.0, 0.0]))
    lengths = [len(BASE.text.reply_ids(Completion(text))) for text in worth]
    means = [fmean(own) for own in worth.values()]
    assert len(set(lengths)) == 2
    assert told["held_out_length_correlation"] == pytest.approx(float(torch.corrcoef(torch.tensor([means, lengths]))[0, 1]))
    assert "members_apart" not in RewardModel().tried(policy, ("score",), trial, [])


def test_scores_are_scaled_by_different_prompts_spread_over_the_lessons_own() -> None:
    asked = [Prompt.ask(word) for word in ("why", "how", "why", "cat", "dog", "old", "tree")]
    lesson = Lesson(prompts=asked, comparisons=[pair(), pair(), pair(Prompt.ask("house"))])
    of = RewardModel(samples=3).asked(lesson, toy_base().text)
    assert [prompt.text for prompt in of] == ["why", "cat", "old"]
    without = Lesson(comparisons=lesson.comparisons)
    assert [prompt.text for prompt in RewardModel(samples=9).asked(without, toy_base().text)] == ["why", "house"]


@pytest.mark.parametrize(("combine", "wanted"), [("mean", [1.0, 0.0]), ("worst", [-1.0, 0.0]), ("uncertain", [-2.0, 0.0])])
def test_a_reward_is_combined_as_its_training_was_told(
    combine: Any, wanted: list[float], monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    """Scores 3 and −1: mean 1, variance 4, of which three quarters are taken off."""
    monkeypatch.setattr(model, "score", lambda *asked: torch.tensor([[3.0, -1.0], [0.0, 0.0]]))
    role: Any = SimpleNamespace(name="reward", heads={"score1": None, "score2": None})
    deployed = RewardModel(members=2, combine=combine, caution=0.75, samples=0).deploy(role, Lesson())
    assert isinstance(deployed, LearnedReward)
    assert not recwarn.list  # nobody has asked for scaled scores
    assert deployed([WHY, HOW], [Completion("cat"), Completion("dog")]) == wanted
    assert deployed([], []) == []
    for prompts, answers in (([WHY], []), ([], [Completion("cat")])):
        with pytest.raises(ValueError, match="each answer has its prompt"):
            deployed(prompts, answers)


def test_a_bootstrap_is_a_draw_of_its_own_for_each_member_and_seed() -> None:
    drawn = [bootstraps(40, 3, seed) for seed in (0, 1)]
    columns = {tuple(column) for draws in drawn for column in draws.t().tolist()}
    assert len(columns) == 6
    assert {float(draws.sum()) for draws in drawn} == {120.0}
    assert bool((drawn[0] == 0).any())
    assert bool((drawn[0] > 1).any())


def test_an_ensemble_has_a_head_for_each_member_and_goes_on_with_those_it_has() -> None:
    assert [head_names(members) for members in (1, 2, 3)] == [("score",), ("score1", "score2"), ("score1", "score2", "score3")]
    role = role_on(toy_base(), "reward")
    assert grow_heads(role, 2, seed=0) == ("score1", "score2")
    with torch.no_grad():
        role.head("score1").get_parameter("weight").fill_(3.0)
    grow_heads(role, 3, seed=0)
    assert set(role.heads) == {"score1", "score2", "score3", "normalised"}
    assert bool((role.head("score1").get_parameter("weight") == 3.0).all())


@pytest.mark.parametrize("at_once", [1, 12, 1000])
def test_scores_come_back_in_the_order_of_the_answers_whoever_was_read_with_whom(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts that take turns, so that answers to one of them do not lie side by side."""
    answers = [Completion(word) for word in ("cat", "dog", "old", "tree", "house", "small")]
    ids = [float(BASE.text.reply_ids(answer)[-2]) for answer in answers]
    read: list[int] = []

    def last_word(role: Any, forest: Forest, names: Any) -> Tensor:
        read.append(len(forest))
        return forest.targets[forest.last - 1][:, None].float()

    monkeypatch.setattr(model, "member_scores", last_word)
    role: Any = SimpleNamespace(base=BASE)
    asked = [WHY, HOW, WHY, Prompt.ask("tree"), HOW, WHY]
    assert score(role, ("score",), asked, answers, at_once)[:, 0].tolist() == ids
    assert sum(read) == 3
    assert len(read) == {1: 3, 12: 3, 1000: 1}[at_once]


def test_heads_of_an_ensemble_read_one_pass_each_in_its_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two answers and two heads: what the second head says of the first answer stands in row one, column two."""
    heads = {name: torch.nn.Linear(2, 1) for name in ("score1", "score2")}
    role: Any = SimpleNamespace(ends=lambda forest: torch.tensor([[1.0, 0.0], [0.0, 2.0]]), head=heads.__getitem__)
    forest: Any = object.__new__(Forest)
    said = model.member_scores(role, forest, ("score1", "score2"))
    for column, head in enumerate(heads.values()):
        assert torch.allclose(said[:, column], head(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))[:, 0])
