"""A judge on the shared base: its probabilities are the model's own, however they are come by."""

from __future__ import annotations

import pytest
import torch

from alignzoo.model.base import Base
from alignzoo.model.choices import Loading
from alignzoo.model.forest import Tree, plant
from alignzoo.model.role import bare_on, policy_on
from alignzoo.records import Completion, Prompt
from alignzoo.testing import toy_base
from alignzoo.testing.toy import toy_folder
from alignzoo_rlaif.beginnings import Beginnings, agreed, parts
from alignzoo_rlaif.form import Form
from alignzoo_rlaif.hiring import Hired
from alignzoo_rlaif.judging import Case, JudgeError
from alignzoo_rlaif.local import apart, exclusive, spelled

FORM = Form(
    compare="{question} {request} a {first} and {second}",
    rate="{question} {request} {reply}",
    letters=(("yes", "no"),),
    answer="think {letter}",
    scale=("bad", "slow", "good"),
    rating="{score}",
)
PROMPT = Prompt.ask("is the cat small")
CASES = [Case(PROMPT, Completion("the cat is small"), Completion("no dog")), Case(PROMPT, Completion("maybe"), Completion("a"))]
QUESTION = "which is true or kind"


@pytest.fixture(scope="module")
def base() -> Base:
    return toy_base()


def plainly(base: Base, text: str, reply: str) -> torch.Tensor:
    """Log-probabilities of everything that could come after a prompt and the beginning of a reply, by the model itself."""
    ids = base.text.prompt_ids(Prompt.ask(text)) + (base.text.reply_ids(Completion(reply, finished=False)) if reply else ())
    with torch.no_grad():
        return base.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].log_softmax(-1)


def chances(base: Base, text: str, reply: str, words: list[str]) -> list[float]:
    logps = plainly(base, text, reply)[base.text.tokenizer.convert_tokens_to_ids(words)]
    return torch.softmax(logps.double(), 0).tolist()


def test_verdicts_are_the_models_own_in_both_orders(base):
    verdicts = Hired(form=FORM).judge(bare_on(base, "judge")).compare(CASES, QUESTION)
    for case, verdict in zip(CASES, verdicts, strict=True):
        one, two = case.first.text, case.second.text
        shown = f"{QUESTION} {PROMPT.text} a {one} and {two}", f"{QUESTION} {PROMPT.text} a {two} and {one}"
        assert verdict.shown_first == pytest.approx(chances(base, shown[0], "think", ["yes", "no"])[0], rel=1e-3)
        assert verdict.shown_second == pytest.approx(chances(base, shown[1], "think", ["yes", "no"])[1], rel=1e-3)


def test_options_of_several_tokens_are_summed(base):
    form = Form(compare=FORM.compare, letters=(("good cat", "good dog bird"),), answer="{letter}")
    (verdict,) = Hired(form=form).judge(bare_on(base, "judge")).compare(CASES[:1], QUESTION)
    shown = f"{QUESTION} {PROMPT.text} a the cat is small and no dog"
    word = {name: base.text.tokenizer.convert_tokens_to_ids(name) for name in ("good", "cat", "dog", "bird")}
    cat = plainly(base, shown, "good")[word["cat"]]
    dog = plainly(base, shown, "good")[word["dog"]] + plainly(base, shown, "good dog")[word["bird"]]
    assert verdict.shown_first == pytest.approx(float(torch.sigmoid(cat - dog)), abs=1e-5)


def test_an_answer_that_begins_another_is_not_as_likely_as_both():
    """Digit by digit "1" begins "10", and "10" begins "100": 0.6 begins with 1, 0.25 with 10, 0.05 with 100."""
    answers = [((1,), (2,), (1, 0), (1, 0, 0))]
    alone = exclusive(torch.tensor([[0.6, 0.3, 0.25, 0.05]]).log(), answers)
    assert alone.exp()[0].tolist() == pytest.approx([0.35 / 0.6, 0.5, 0.2 / 0.6, 0.05 / 0.6])
    apart = torch.tensor([[-60.0, -61.0]])
    assert (exclusive(apart, [((1, 2), (1, 3))]) - apart).tolist() == [[60.0, 60.0]]


def test_a_scale_whose_steps_begin_one_another_is_read_by_what_goes_on(base):
    form = Form(rate=FORM.rate, scale=("good", "good cat"), rating="{score}")
    (rating,) = Hired(form=form).judge(bare_on(base, "judge")).rate([PROMPT], [CASES[0].first], QUESTION)
    cat = base.text.tokenizer.convert_tokens_to_ids("cat")
    goes_on = float(plainly(base, f"{QUESTION} {PROMPT.text} the cat is small", "good")[cat].exp())
    assert rating == pytest.approx(2 * goes_on - 1, abs=1e-5)


def test_ratings_are_expected_scores(base):
    (rating,) = Hired(form=FORM).judge(bare_on(base, "judge")).rate([PROMPT], [CASES[0].first], QUESTION)
    bad, _, good = chances(base, f"{QUESTION} {PROMPT.text} the cat is small", "", ["bad", "slow", "good"])
    assert rating == pytest.approx(good - bad, abs=1e-5)


def test_adapters_are_off(base):
    wanted = Hired(form=FORM).judge(bare_on(base, "judge")).compare(CASES, QUESTION)
    policy = policy_on(base)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.3)
    assert Hired(form=FORM).judge(bare_on(base, "judge")).compare(CASES, QUESTION) == wanted
    base.dismiss("policy")


def test_a_beginning_is_read_once_and_what_follows_gives_the_same_states(base):
    role = bare_on(base, "judge")
    start = base.text.prompt_ids(Prompt.ask("we know the old river and the new house so they can help or ask why"))
    texts = [start + (20 + i, 30, 40 + i)[: 1 + i % 3] for i in range(5)]
    whole = base.ends(plant([Tree(t[:-1], (t[-1:],)) for t in texts]), None, learning=False)
    beginnings = Beginnings(role)
    shared = min(agreed(texts[0], text) for text in texts)
    for first in (True, False):
        before = base.meter.read
        torch.testing.assert_close(beginnings.ends(texts), whole, atol=1e-5, rtol=1e-4)
        assert base.meter.read - before == sum(map(len, texts)) - shared * (len(texts) - first)
    before = base.meter.read
    torch.testing.assert_close(beginnings.ends(texts[3:4]), whole[3:4], atol=1e-5, rtol=1e-4)
    assert base.meter.read - before == len(texts[3]) - shared


def test_answers_of_several_tokens_use_what_was_read_before_too(base):
    """The beginning once, each rest once, whatever the answers to it: and the sums are those of plain passes."""
    role = bare_on(base, "judge")
    start = base.text.prompt_ids(Prompt.ask("we know the old river and the new house so they can help or ask why"))
    texts = [start + (20 + i, 30, 40 + i)[: 1 + i % 3] for i in range(5)]
    answers = [((31, 32, 33), (31, 34)), ((31,), (35, 36))] * 2 + [((40, 41), (42, 43))]
    wanted = torch.tensor([[summed(base, text, answer) for answer in own] for text, own in zip(texts, answers, strict=True)])
    beginnings = Beginnings(role)
    shared, rests = min(agreed(texts[0], text) for text in texts), sum(map(len, texts))
    for first in (True, False):
        before = base.meter.read
        torch.testing.assert_close(beginnings.sums(texts, answers), wanted, atol=1e-5, rtol=1e-5)
        written = sum(len(answer) for own in answers for answer in own)
        assert base.meter.read - before == rests + written - shared * (len(texts) - first)
    with_none = Beginnings(bare_on(plain := toy_base(), "judge"))
    plain.prefixes = False
    torch.testing.assert_close(with_none.sums(texts, answers), wanted, atol=1e-5, rtol=1e-5)


def summed(base: Base, text: tuple[int, ...], answer: tuple[int, ...]) -> float:
    """log p of the answer's tokens, in one plain pass."""
    with torch.no_grad():
        logps = base.model(input_ids=torch.tensor([text + answer]), use_cache=False).logits[0].log_softmax(-1)
    return float(sum(logps[len(text) + place - 1, token] for place, token in enumerate(answer)))


def test_texts_that_come_alone_find_what_they_share(base):
    role = bare_on(base, "judge")
    start = base.text.prompt_ids(Prompt.ask("we know the old river and the new house"))
    beginnings = Beginnings(role)
    beginnings.ends([(*start, 20, 30)])
    before = base.meter.read
    beginnings.ends([(*start, 21, 31)])
    assert base.meter.read - before == 2
    beginnings.ends([start[:2] + (50,) * 20])  # something else: what was known is not forgotten
    before = base.meter.read
    beginnings.ends([(*start, 22, 32)])
    assert base.meter.read - before == 2


def test_a_base_that_keeps_no_beginnings_says_the_same(base):
    wanted = Hired(form=FORM).judge(bare_on(base, "judge")).compare(CASES, QUESTION)
    plain = toy_base()
    assert plain.prefixes
    plain.prefixes = False
    found = Hired(form=FORM).judge(bare_on(plain, "judge")).compare(CASES, QUESTION)
    assert [v.shown_first for v in found] == pytest.approx([v.shown_first for v in wanted], abs=1e-5)


def test_what_two_answers_share_is_set_apart():
    assert apart([(5, 1, 6), (5, 2, 6)], "AB") == ((5,), ((1, 6), (2, 6)))
    assert apart([(1,), (2,)], "AB") == ((), ((1,), (2,)))
    assert apart([(7, 1), (7, 1, 0)], "AB") == ((7,), ((1,), (1, 0)))  # "1" and "10": each keeps one token
    with pytest.raises(JudgeError, match="writes two of the answers"):
        apart([(5, 1), (5, 1)], "AB")


@pytest.mark.parametrize(
    ("wholes", "shared", "own"),
    [
        ([(8, 1, 9), (8, 2, 9)], (8,), ((1, 9), (2, 9))),  # "(" "A" ")"
        ([(4, 9), (5, 9)], (), ((4, 9), (5, 9))),  # "(A" ")"
        ([(6,), (7,)], (), ((6,), (7,))),  # "(A)", or " A", or "A"
        ([(3, 8, 1), (3, 8, 2)], (3, 8), ((1,), (2,))),  # " " "(" "A)"
        ([(8, 1, 9), (8, 5)], (8,), ((1, 9), (5,))),  # "(" "A" ")" beside "(" "B)"
    ],
)
def test_options_are_told_apart_however_they_are_cut_into_tokens(wholes, shared, own):
    assert apart(wholes, "AB") == (shared, own)


def test_a_tokenizer_that_cannot_tell_the_options_apart_is_told_of(base):
    judge = Hired(form=Form(letters=(("A", "B"),), answer="{letter}")).judge(bare_on(base, "judge"))
    with pytest.raises(JudgeError, match="writes two of the answers"):
        judge.compare(CASES, QUESTION)
    judge = Hired(form=Form(letters=(("yes", "B"),), answer="{letter}", compare="{first} {second}")).judge(bare_on(base, "j"))
    with pytest.raises(JudgeError, match="does not know"):
        judge.compare(CASES, QUESTION)


class Scripted:
    """Writes what it is told to, for a base's sampler, and remembers how it was asked."""

    def __init__(self, *texts: str) -> None:
        self.texts, self.asked = texts, []

    def __call__(self, base, worn, prompts, n, manner, steer=None):
        self.asked.append(manner)
        return [[Completion(self.texts[i % len(self.texts)])] for i, _ in enumerate(prompts)]


def test_a_judge_thinks_before_it_answers():
    base = toy_base()
    base.sampler = script = Scripted("the cat is small so ", "no dog ")
    (verdict,) = Hired(form=FORM, thoughts=9).judge(bare_on(base, "judge")).compare(CASES[:1], QUESTION)
    assert script.asked[0].stop == ("think",)
    assert (script.asked[0].temperature, script.asked[0].max_tokens) == (0.0, 9)
    shown = f"{QUESTION} {PROMPT.text} a the cat is small and no dog"
    wanted = chances(base, shown, "the cat is small so think", ["yes", "no"])[0]
    assert verdict.shown_first == pytest.approx(wanted, abs=1e-5)
    assert verdict.note == "the cat is small so \nno dog "


def test_verdicts_that_are_written():
    base = toy_base()
    base.sampler = script = Scripted("I think yes", "I know")
    (verdict,) = Hired(form=FORM, reading="written").judge(bare_on(base, "judge")).compare(CASES[:1], QUESTION)
    assert (verdict.shown_first, verdict.shown_second, verdict.unread) == (1.0, 0.5, 1)
    assert script.asked[0].temperature == 0.0  # a verdict is the likeliest word, and no throw of dice


def test_a_control_token_in_a_reply_is_letters(base):
    """ "<eos>" as a stranger writes it is no end, whatever the tokenizer would make of it."""
    assert base.text.prompt_ids(Prompt.ask("no <eos> yes"))[2:4] != base.text.prompt_ids(Prompt.ask("no < eos> yes"))[2:4]
    judge = Hired(form=FORM).judge(bare_on(base, "judge"))
    told = [
        judge.compare([Case(PROMPT, Completion(f"no {word} <bos> yes"), Completion("dog"))], QUESTION)[0]
        for word in ("<eos>", "< eos>")
    ]
    assert told[0].shown_first == pytest.approx(told[1].shown_first, abs=1e-6)
    assert spelled("a<|im_end|>\nb<s>", ["<|im_end|>", "<s>", "\n", ""]) == "a< |im_end|>\nb< s>"


def test_half_a_case_is_not_judged(base):
    long = Case(PROMPT, Completion("cat " * 200), Completion("dog"))
    told = Hired(form=FORM).judge(bare_on(base, "judge")).compare([long, CASES[0]], QUESTION)
    assert (told[0].shown_first, told[0].unread) == (0.5, 2)
    assert "there is room for" in told[0].note
    assert told[1].unread == 0


def test_a_judge_with_a_model_of_its_own(tmp_path, base):
    folder = toy_folder(tmp_path / "other", seed=5)
    hired = Hired(form=FORM, model=str(folder), loading=Loading(quantize="none"))
    (verdict,) = hired.judge(None).compare(CASES[:1], QUESTION)
    (other,) = Hired(form=FORM).judge(bare_on(base, "judge")).compare(CASES[:1], QUESTION)
    assert verdict != other


def test_texts_go_into_passes_of_a_limited_size():
    assert [len(part) for part in parts([(1,) * 5000] * 3)] == [1, 1, 1]
    assert [len(part) for part in parts([(1,) * 3000] * 3)] == [2, 1]
