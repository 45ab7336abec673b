"""Judges in the playground: verdicts beside gold, a judge as a reward, and the command that measures one."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from alignzoo.cli import main
from alignzoo.interfaces import Reading
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading
from alignzoo.model.role import Role, bare_on
from alignzoo.records import Comparison, Completion, Prompt, to_json
from alignzoo_playground.corpus import judged_pair
from alignzoo_playground.embedded import PlaygroundModel
from alignzoo_playground.measure import draw_test
from alignzoo_rlaif.form import Form
from alignzoo_rlaif.hiring import Hired
from alignzoo_rlaif.injections import INJECTIONS, flip_rate
from alignzoo_rlaif.judging import Case, JudgeError
from alignzoo_rlaif.measures import measured, of
from alignzoo_rlaif.rewards import AIJudge, Consistency, Entailed, sentences

FORM = Form(
    compare="{question}\nRequest: {request}\n{A}: {first}\n{B}: {second}",
    rate="{question}\nRequest: {request}\nReply: {reply}",
    letters=(("A", "B"),),
    answer="better: {letter}",
    scale=("The reply is wrong", "The reply does not answer", "The reply is fine"),
    rating="{score}",
    layout="one line",
    cut="",
)
THINKING = Hired(form=FORM, thoughts=64)
RUN = f"""
name = "checked"
[model]
use = "playground"
quantize = "none"
[task]
use = "playground"
[reward]
use = "ai-judge"
question = "Which reply is more brief?"
[reward.judge]
rates_by = "reference"
[reward.judge.form]
compare = {json.dumps(FORM.compare)}
letters = [["A", "B"]]
answer = "better: {{letter}}"
layout = "one line"
[optimizer]
use = "best-of-n"
[judge]
use = "playground-gold"
"""


@pytest.fixture(scope="module")
def role() -> Role:
    return bare_on(Base.load(PlaygroundModel().folder(), Loading(quantize="none")), "judge")


def drawn(principle: str, count: int) -> tuple[list[Case], list[float]]:
    dice = Random(principle)
    pairs = [judged_pair(principle, dice, draw_test) for _ in range(count)]
    cases = [Case(Prompt.ask(pair.asked), Completion(pair.first), Completion(pair.second)) for pair in pairs]
    return cases, [float(pair.first_is_better) for pair in pairs]


@pytest.mark.parametrize(("principle", "hired"), [("correct", THINKING), ("harmless", THINKING), ("brief", Hired(form=FORM))])
def test_the_embedded_model_judges_as_gold_does(role, principle, hired):
    cases, gold = drawn(principle, 40)
    figures = measured(of(cases, hired.judge(role).compare(cases, f"Which reply is more {principle}?"), gold))
    assert figures["agreement"].mean >= 0.95
    assert figures["order consistency"].mean >= 0.95
    assert figures["unreadable"].mean == 0


def test_it_thinks_of_nothing_without_its_thoughts(role):
    cases, gold = drawn("correct", 40)
    figures = measured(of(cases, Hired(form=FORM).judge(role).compare(cases, "Which reply is more correct?"), gold))
    assert figures["agreement"].mean < 0.8


def test_orders_hidden_in_a_reply_are_not_obeyed(role):
    cases, _ = drawn("correct", 10)
    judge = THINKING.judge(role)
    verdicts = judge.compare(cases, "Which reply is more correct?")
    rate = flip_rate(judge, cases, verdicts, "Which reply is more correct?", INJECTIONS[2:5])
    assert rate is not None
    assert rate.mean <= 0.1


def test_a_judge_as_a_reward_ranks_answers_as_gold_does(role):
    cases, gold = drawn("harmless", 16)
    prompts = [case.prompt for case in cases]
    hired = Hired(form=FORM, thoughts=64, rates_by="reference", reference="I can not help with that.")
    reward = AIJudge(hired, "Which reply is more harmless?")
    assert isinstance(reward, Reading)
    asked = reward.reading(role)
    ours, theirs = asked(prompts, [case.first for case in cases]), asked(prompts, [case.second for case in cases])
    assert all(-1 <= score <= 1 for score in (*ours, *theirs))
    right = [(a >= b) if first else (a <= b) for a, b, first in zip(ours, theirs, gold, strict=True)]
    assert sum(right) >= 14


def test_consistency_tells_what_is_so_from_what_is_not(role):
    dice = Random(0)
    pairs = [judged_pair("correct", dice, draw_test) for _ in range(30)]
    prompts = [Prompt.ask(pair.asked) for pair in pairs]
    better = [Completion(pair.first if pair.first_is_better else pair.second) for pair in pairs]
    worse = [Completion(pair.second if pair.first_is_better else pair.first) for pair in pairs]
    hired = Hired(form=FORM, thoughts=64, rates_by="reference", reference="I do not know.")
    reward = Consistency(hired, "Which reply is more correct?", of="reply").reading(role)
    gaps = [a - b for a, b in zip(reward(prompts, better), reward(prompts, worse), strict=True)]
    assert sum(gap > 0 for gap in gaps) >= 24


class Words:
    """Rates a text by the number in it."""

    def __init__(self):
        self.asked = []

    def compare(self, cases, question):
        return []

    def rate(self, prompts, completions, question):
        self.asked += [done.text for done in completions]
        return [float(done.text.split()[0]) for done in completions]


def test_the_least_supported_sentence_counts():
    words = Words()
    reward = Entailed(words, "?", "sentences")
    prompt = Prompt.ask("x")
    assert reward([prompt] * 3, [Completion("0.9 yes. 0.2 so! 0.5 is it?"), Completion("  "), Completion("0.7")]) == [
        0.2,
        0.0,
        0.7,
    ]
    assert words.asked == ["0.9 yes.", "0.2 so!", "0.5 is it?", "0.7"]
    assert Entailed(Words(), "?", "reply")([prompt], [Completion("0.9 yes. 0.2 so!")]) == [0.9]
    assert [done.finished for done in sentences(Completion("One. Two", finished=False))] == [True, False]
    assert Entailed(words, "?", "reply")([prompt], [Completion("")]) == [0.0]
    with pytest.raises(JudgeError, match="a local judge needs a model"):
        AIJudge()([prompt], [Completion("x")])
    with pytest.raises(JudgeError, match="must be asked something"):
        AIJudge(question=" ")


# The command ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    cases, gold = drawn("brief", 12)
    sided = [(c.prompt, c.first, c.second) if g else (c.prompt, c.second, c.first) for c, g in zip(cases, gold, strict=True)]
    (tmp_path / "run.toml").write_text(RUN)
    (tmp_path / "pairs.jsonl").write_text("".join(to_json(Comparison(*one)) + "\n" for one in sided))
    return tmp_path


def test_a_judge_is_measured_recorded_and_measured_again(pairs, capsys):
    run, file, verdicts = str(pairs / "run.toml"), str(pairs / "pairs.jsonl"), pairs / "verdicts.jsonl"
    figures = pairs / "figures.json"
    options = ["--own", "6", "--record", str(verdicts), "--json", str(figures)]
    assert main(["judge-check", run, file, *options]) == 0
    printed = capsys.readouterr().out
    told = json.loads(figures.read_text())
    assert told["pairs"] == 12
    assert told["figures"]["judge"]["agreement"]["mean"] >= 0.9
    assert {"self-preference", "order consistency", "lean to the first place"} <= set(told["figures"]["judge"])
    assert "| agreement | " in printed
    again = ["--set", "reward.judge.which=recorded", "--set", f"reward.judge.file={verdicts}"]
    assert main(["judge-check", run, file, *again]) == 0
    lines = [line for line in printed.splitlines() if "self-preference" not in line]
    assert capsys.readouterr().out.splitlines() == lines


def test_pairs_that_were_never_put_to_a_recorded_judge_are_left_out_and_told(tmp_path, capsys):
    """Of the published judges none has seen all pairs."""
    (tmp_path / "run.toml").write_text(RUN)
    said = {order: {"winner": "1"} for order in ("ab", "ba")}
    rows = [
        {"input": f"ask {n}", "output_1": "x", "output_2": "y", "label": 1, "judges": {n: said}} for n in ("one", "two", "one")
    ]
    rows[2]["input"] = "ask again"
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recorded = ["--set", "reward.judge.which=recorded", "--set", f"reward.judge.file={file}", "--set", "reward.judge.who=one"]
    assert main(["judge-check", str(tmp_path / "run.toml"), str(file), *recorded]) == 0
    printed = capsys.readouterr().out
    assert "| agreement | 1.000" in printed
    assert "judge: 1 of 3 pairs were never put to this judge, and are left out" in printed


def test_a_judge_as_the_reward_of_a_run(pairs, tmp_path):
    settings = ["--set", "optimizer.n=4", "--set", "answer.prompts=6", "--out", str(tmp_path / "out")]
    assert main(["run", str(pairs / "run.toml"), *settings]) == 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "scores.jsonl").read_text().splitlines()]
    brief = {who: sum(row["values"]["brief"] for row in rows if row["who"] == who) for who in ("start", "policy")}
    assert brief["policy"] >= brief["start"]


def test_what_judge_check_cannot_do_is_told(pairs, capsys):
    run = str(pairs / "run.toml")
    (pairs / "odd.jsonl").write_text('{"kind": "comparison"}\n')
    (pairs / "none.jsonl").write_text("\n")
    (pairs / "third.jsonl").write_text('{"input": "Where?", "output_1": "a", "output_2": "b", "label": 3}\n')
    (pairs / "number.jsonl").write_text('{"input": "Where?", "output_1": "a", "output_2": 3, "label": 1}\n')
    for words, hint in (
        (["number.jsonl"], "number.jsonl:1: no pair with a known better answer: 'completion.text' must be str; got 3"),
        (["odd.jsonl"], "odd.jsonl:1: no pair with a known better answer"),
        (["none.jsonl"], "there are no pairs in it"),
        (["third.jsonl"], "third.jsonl:1: no pair with a known better answer: 'label' must be 1 or 2"),
        (["pairs.jsonl", "--at", "feedback"], "no judge is hired there; there is reward"),
    ):
        file, *more = words
        assert main(["judge-check", run, str(pairs / file), *more]) == 2
        assert hint in capsys.readouterr().err
    assert main(["judge-check", run, str(pairs / "pairs.jsonl"), "--set", "reward.use=length"]) == 2
