"""Principles at the moment of answering: applied, recorded, and gone without a trace when there are none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from alignzoo.interfaces import Lesson, Manner, Optimizer, Policy
from alignzoo.model.role import policy_on
from alignzoo.records import Completion, Prompt, Turn
from alignzoo.testing import toy_base
from alignzoo_rlaif.constitution import ConstitutionError, Principle
from alignzoo_rlaif.guided import Constitutional, Guided, contest, instructed, joined
from alignzoo_rlaif.judging import Case, Verdict

PROMPTS = [Prompt.ask(f"say {number}") for number in range(5)]
RULES = """
[[principle]]
id = "long"
text = "Be long."
comparison = "Which is longer?"
[[principle]]
id = "short"
text = "Be short."
comparison = "Which is shorter?"
"""


class Counting:
    """A judge who counts words; it also remembers what it was shown."""

    def __init__(self, sure: float = 0.9) -> None:
        self.sure = sure
        self.seen: list[Case] = []

    def compare(self, cases: Sequence[Case], question: str) -> list[Verdict]:
        self.seen += cases
        sign = 1 if question == "Which is longer?" else -1
        leads = [sign * (len(c.first.text.split()) - len(c.second.text.split())) for c in cases]
        chances = [self.sure if lead > 0 else 1 - self.sure if lead < 0 else 0.5 for lead in leads]
        return [Verdict(chance, chance) for chance in chances]

    def rate(self, prompts: Sequence[Prompt], completions: Sequence[Completion], question: str) -> list[float]:
        return [0.0] * len(prompts)


class Talker:
    """Answers with one to n words, the first of them cut if that is asked for; revises by a word."""

    def __init__(self, cut: bool = False) -> None:
        self.cut = cut
        self.asked: list[Prompt] = []

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        self.asked += prompts
        return [[self._said(prompt, k) for k in range(n)] for prompt in prompts]

    def _said(self, prompt: Prompt, k: int) -> Completion:
        if len(prompt.turns) == 5:
            return Completion("Human: no" if prompt.turns[0].text == "say 3" else f"{prompt.turns[1].text} better", (9,))
        return Completion(" ".join(["so"] * (k + 1)), tuple([7] * (k + 1)), not (self.cut and k == 3), tuple([-1.0] * (k + 1)))


@pytest.fixture
def rules(tmp_path: Path) -> str:
    (tmp_path / "rules.toml").write_text(RULES)
    return str(tmp_path / "rules.toml")


def guided(how: Constitutional, policy: Policy, judge: Counting | None = None) -> Guided:
    return Guided(how, policy, how.ruling, policy, judge)


# Without principles ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["instruction", "revision", "choice"])
def test_without_principles_it_is_the_policy_to_the_bit(rules: str, way: str) -> None:
    base = toy_base()
    policy = policy_on(base)
    manner = Manner(max_tokens=8, seed=5)
    plain = policy.sample(PROMPTS, 3, manner)
    bare = Constitutional(way=way).deploy(policy, Lesson())  # type: ignore[arg-type]
    freed = guided(Constitutional(rules, way=way), policy, Counting()).under(())  # type: ignore[arg-type]
    for without in (bare, freed):
        assert isinstance(without, Guided)
        said = without.sample(PROMPTS, 3, manner)
        assert said == plain
        assert [[reply.logps for reply in group] for group in said] == [[reply.logps for reply in group] for group in plain]
        assert without.applied == [[()] * 3] * 5


# Told before -----------------------------------------------------------------------------------------------------------


def test_instructions_stand_before_what_the_system_says() -> None:
    two = (Principle("a", "Be kind."), Principle("b", "Be true."))
    rule = "Keep to these principles:\n- Be kind.\n- Be true."
    assert instructed(PROMPTS[0], two).turns == (Turn("system", rule), *PROMPTS[0].turns)
    asked = Prompt.ask("hello", system="You are a cat.")
    assert instructed(asked, two).turns == (Turn("system", f"{rule}\n\nYou are a cat."), asked.turns[1])


def test_by_instruction(rules: str) -> None:
    talker = Talker()
    policy = guided(Constitutional(rules, way="instruction"), talker)
    said = policy.sample(PROMPTS, 2)
    assert talker.asked == [instructed(prompt, policy.principles) for prompt in PROMPTS]
    assert [len(group) for group in said] == [2] * 5
    assert said[0][0].logps  # how likely it was, where the principles stood before it
    assert policy.applied == [[("long", "short")] * 2] * 5


def test_principles_belong_to_a_request(rules: str) -> None:
    talker = Talker()
    policy = guided(Constitutional(rules, way="instruction"), talker)
    one = policy.under(["short"])
    one.sample(PROMPTS[:1])
    assert talker.asked[0].turns[0].text.endswith(":\n- Be short.")
    assert one.applied == [[("short",)]]
    assert policy.applied == []
    with pytest.raises(ValueError, match="no principle 'kind' that serves by instruction; there is long, short"):
        policy.under(["kind"])


# Revised ---------------------------------------------------------------------------------------------------------------


def test_by_revision(rules: str) -> None:
    """A revision that cannot be used leaves the answer as it was, under no principle."""
    policy = guided(Constitutional(rules, principles=("long",), rounds=2), Talker())
    said = policy.sample(PROMPTS, 2)
    assert [[reply.text for reply in group] for group in said] == [
        ["so", "so so"] if place == 3 else ["so better better", "so so better better"] for place in range(5)
    ]
    assert all(not reply.logps for group in said for reply in group)
    assert policy.applied == [[()] * 2 if place == 3 else [("long", "long")] * 2 for place in range(5)]


# Chosen ----------------------------------------------------------------------------------------------------------------


def test_together_by_hand() -> None:
    """√(0.9 · 0.4) = 0.6; (0.9² · 0.4)^⅓; the worst is 0.4. A chance of 0 is the smallest that there is."""
    assert joined([0.9, 0.4], [1, 1], "geometric") == pytest.approx(0.6)
    assert joined([0.9, 0.4], [2, 1], "geometric") == pytest.approx((0.81 * 0.4) ** (1 / 3))
    assert joined([0.9, 0.4], [2, 1], "worst") == 0.4
    assert 0 < joined([1.0, 0.0], [1, 1], "geometric") < 0.01


def test_a_contest_by_hand() -> None:
    """Of one, two and three words, the longest wins both its contests, the second one of two."""
    field = [Completion("a"), Completion("a b"), Completion("a b c")]
    long = Principle("long", comparison="Which is longer?")
    [scores] = contest(Counting(), PROMPTS[:1], [field], [long], "worst")
    assert scores == [pytest.approx(0.1), pytest.approx(0.5), pytest.approx(0.9)]
    short = Principle("short", comparison="Which is shorter?")
    [both] = contest(Counting(), PROMPTS[:1], [field], [long, short], "geometric")
    assert both == [pytest.approx(0.3), pytest.approx(0.5), pytest.approx(0.3)]
    [tilted] = contest(Counting(0.8), PROMPTS[:1], [field], [long, Principle("s", comparison="?", weight=9.0)], "worst")
    assert tilted == [pytest.approx(0.2), pytest.approx(0.5), pytest.approx(0.2)]


@pytest.mark.parametrize(("ids", "words"), [(("long",), 4), (("short",), 1)])
def test_a_principle_changes_the_choice(rules: str, ids: tuple[str, ...], words: int) -> None:
    policy = guided(Constitutional(rules, principles=ids, way="choice", n=4), Talker(), Counting())
    said = policy.sample(PROMPTS, 2)
    assert {len(reply.text.split()) for group in said for reply in group} == {words}
    assert all(not reply.logps for group in said for reply in group)
    assert policy.applied == [[ids] * 2] * 5


def test_texts_that_were_cut_are_neither_judged_nor_chosen(rules: str) -> None:
    judge = Counting()
    policy = guided(Constitutional(rules, principles=("long",), way="choice", n=4), Talker(cut=True), judge)
    said = policy.sample(PROMPTS)
    assert {len(group[0].text.split()) for group in said} == {3}
    assert all(case.first.finished and case.second.finished for case in judge.seen)


def test_a_judge_that_goes_by_the_place_chooses_nothing() -> None:
    class Leaning(Counting):
        def compare(self, cases: Sequence[Case], question: str) -> list[Verdict]:
            return [Verdict(0.9, 0.3) for _ in cases]

    field = [Completion("a"), Completion("a b")]
    assert contest(Leaning(), PROMPTS[:1], [field], [Principle("p", comparison="?")], "worst") == [[0.5, 0.5]]


def test_one_text_is_chosen_without_a_contest(rules: str) -> None:
    class Parrot(Talker):
        def _said(self, prompt: Prompt, k: int) -> Completion:
            return Completion("so")

    judge = Counting()
    assert guided(Constitutional(rules, way="choice"), Parrot(), judge).sample(PROMPTS[:2]) == [[Completion("so")]] * 2
    assert not judge.seen


def test_equals_are_chosen_at_random_by_the_seed(rules: str) -> None:
    policy = guided(Constitutional(rules, way="choice", n=4), Talker(), Counting(0.5))
    prompts = [Prompt.ask(f"say {n}") for n in range(60)]
    lengths = [len(group[0].text.split()) for group in policy.sample(prompts)]
    assert set(lengths) == {1, 2, 3, 4}
    assert lengths == [len(group[0].text.split()) for group in policy.sample(prompts)]
    assert math.isclose(sum(lengths) / 60, 2.5, abs_tol=0.6)


# As a part of a run ----------------------------------------------------------------------------------------------------


def test_it_trains_nothing_and_says_what_is_wrong(rules: str, tmp_path: Path) -> None:
    how = Constitutional(rules)
    assert isinstance(how, Optimizer)
    assert list(how.improve(Talker(), Lesson())) == []
    with pytest.raises(ValueError, match="name its file"):
        Constitutional(principles=("long",))
    with pytest.raises(ConstitutionError, match="no such file"):
        Constitutional(str(tmp_path / "none.toml"))
    (tmp_path / "pairs.toml").write_text('[[principle]]\nid = "a"\ncomparison = "Which?"\n')
    with pytest.raises(ConstitutionError, match="no principle in it has a text"):
        Constitutional(str(tmp_path / "pairs.toml"), way="instruction")


def test_the_base_without_an_adapter_criticises() -> None:
    base = toy_base()
    policy = policy_on(base)
    deployed = Constitutional().deploy(policy, Lesson())
    assert isinstance(deployed, Guided)
    assert deployed.critic is base.roles["reviser"]
    assert base.roles["reviser"].bare
