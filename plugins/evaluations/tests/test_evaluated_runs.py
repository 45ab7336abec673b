"""Runs on the toy model, evaluated on the command line and in Python."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
import torch

from alignzoo.cli import main
from alignzoo.lab import store
from alignzoo.lab.run import Run
from alignzoo.learning.choices import Limits
from alignzoo.learning.intake import IntakeError
from alignzoo.model.forest import per_reply
from alignzoo.model.role import Role, policy_on
from alignzoo.records import Comparison, Completion, Prompt, Ranking, to_json
from alignzoo.tally import Tally, TallyError
from alignzoo.testing import toy_base, toy_folder
from alignzoo_evaluations.accuracy import EvaluationError
from alignzoo_evaluations.behaviours import compared
from alignzoo_evaluations.beliefs import beliefs
from alignzoo_evaluations.candidates import Candidate, component, of_policy, of_run
from alignzoo_evaluations.implicit import Implicit
from alignzoo_evaluations.pairs import Trial, trial_of, tried
from alignzoo_evaluations.questions import QuestionError, questions_in
from alignzoo_evaluations.refusal_rates import rates_of

RUN = """
name = "toy"
[task]
use = "playground"
[model]
path = "{model}"
[feedback]
use = "refusals"
harmful.words = ["steal", "burn", "break", "lie"]
share = 0.25
count = 32
rest = "playground"
settings.candidates = "world"
[reward]
use = "reward-model"
samples = 0
[reward.feedback]
use = "playground"
candidates = "world"
count = 40
[optimizer]
use = "{optimizer}"
[answer]
prompts = 12
[answer.manner]
max_tokens = 8
[judge]
use = "refusal"
harmful.words = ["steal", "burn", "break", "lie"]
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def done(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    (folder / "toy.toml").write_text(RUN.format(model=model, optimizer="dpo"))
    run = Run.open(folder / "toy.toml", folder / "done")
    run.rewards()
    run.report()
    return run


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    rows = [
        {"prompt": f"is the {thing} small", "chosen": "yes please", "rejected": "no", "subset": kind}
        for kind, things in (("animals", ("cat", "dog", "bird")), ("places", ("house", "river")))
        for thing in things
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    said = capsys.readouterr()
    return code, said.out, said.err


HEARD = """
[optimizer]
use = "best-of-n"
n = 2
[[reward]]
use = "length"
free = 1
[[reward]]
use = "reward-model"
samples = 0
[reward.feedback]
use = "playground"
candidates = "world"
count = 8
"""


@pytest.fixture(scope="module")
def chosen(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two rewards, the second of them learned, whose policy chooses among several answers."""
    folder = tmp_path_factory.mktemp("chosen")
    head = f'name = "two"\n[task]\nuse = "playground"\n[model]\npath = "{model}"\n'
    (folder / "two.toml").write_text(head + HEARD)
    run = Run.open(folder / "two.toml", folder / "done")
    run.train()
    return run


# Rewards --------------------------------------------------------------------------------------------------------------------


def test_a_reward_by_its_name_and_settings(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("evaluate-reward", "length", str(pairs), "--subset", "subset", "--set", "reward.free=1", "--json")
    code, out, err = told(capsys, *command)
    found = json.loads(out)
    assert code == 0
    assert [line["name"] for line in found["subsets"]] == ["animals", "places"]
    assert found["micro"]["accuracy"]["mean"] == 0.0  # each word beyond the first costs
    assert found["micro"]["length"]["mean"] == 1.0
    assert "5 rows read, 5 kept" in err
    code, out, _ = told(capsys, "evaluate-reward", "length", str(pairs))
    assert "| all pairs | 5 | 0.500 [" in out  # nothing costs anything: all are level
    assert "| animals" not in out


def test_a_function_of_ones_own(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_kindness.py").write_text(
        "def kind(prompts, completions):\n    return [float('please' in said.text) for said in completions]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found, _ = tried(component("mine_kindness:kind", {}), trial_of("file", {"data": {"path": str(pairs)}}))
    assert found.micro.accuracy.mean == 1.0


def test_the_reward_that_a_run_trained(done: Run, pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys, "evaluate-reward", str(done.files.root), str(pairs), "--json")
    found, reward = json.loads(out), done.reward()
    trial = trial_of("file", {"data": {"path": str(pairs)}})
    sides = [reward([pair.prompt] * 2, [pair.chosen, pair.rejected]) for pair in trial.pairs]
    assert (code, found["reward"]) == (0, "toy: reward-model")
    assert found["micro"]["accuracy"]["mean"] == pytest.approx(sum(a > b for a, b in sides) / 5)


def test_one_of_several_rewards_by_its_name(chosen: Run) -> None:
    """Only the second was trained here, so it is the first that was trained: `reward`, and not `reward-2`."""
    prompts, replies = [Prompt.ask("is it")] * 2, [Completion("yes please thanks"), Completion("no")]
    heard = {name: list(of_run(chosen, name).load()(prompts, replies)) for name in ("length", "reward-model1", "")}
    assert heard["length"] == pytest.approx([-0.1, 0.0])  # 0.05 for each of two words too many
    assert heard["reward-model1"] != heard["length"]
    assert heard[""] == pytest.approx([a + b for a, b in zip(heard["length"], heard["reward-model1"], strict=True)], abs=1e-5)


def test_a_policy_that_chooses_has_no_log_probabilities(chosen: Run, questions: Path) -> None:
    with pytest.raises(EvaluationError, match="best-of-n deploys gives no log-probabilities, so it has no implicit reward"):
        of_policy(chosen, "sum").load()
    with pytest.raises(QuestionError, match="best-of-n deploys gives no log-probabilities"):
        compared(chosen, list(questions_in(questions, Tally())))


def test_a_reward_that_reads_with_a_model_needs_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_lone_reader.py").write_text(
        "class Reader:\n    def reading(self, role):\n        return self\n\n"
        "    def __call__(self, prompts, completions):\n        return [0.0] * len(prompts)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(EvaluationError, match="reads with a model, and has none of its own; name it in a run file"):
        component("mine_lone_reader:Reader", {})
    with pytest.raises(EvaluationError, match=r"is no dataclass, so it has no settings: reward\.free"):
        component("mine_lone_reader:Reader", {"free": 1})


def test_the_implicit_reward_per_token_is_the_sum_over_the_tokens(done: Run) -> None:
    prompts, replies = [Prompt.ask("is the cat small")], [Completion("yes please")]  # two words and the end
    [whole], [each] = (of_policy(done, per, 1.0).load()(prompts, replies) for per in ("sum", "mean"))
    assert whole != 0.0
    assert each == pytest.approx(whole / 3)


def test_what_the_policy_has_become(done: Run, pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys, "evaluate-reward", str(done.files.root), str(pairs), "--implicit", "sum", "--json")
    assert (code, json.loads(out)["reward"]) == (0, "toy: 0.1 log π/π_start, summed over a reply")
    assert of_policy(done, "mean", 2.0).name == "toy: 2 log π/π_start, per token"


def test_the_pairs_of_a_run_by_a_field_of_theirs(done: Run, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate-reward", "refusal", str(done.files.feedback), "--subset", "source", "--json"]
    settings = ['reward.harmful.words=["steal", "burn", "break", "lie"]', 'feedback.form="records"', "intake.dropped=0.3"]
    code, out, _ = told(capsys, *command, *(word for setting in settings for word in ("--set", setting)))
    lines = {line["name"]: line for line in json.loads(out)["subsets"]}
    assert (code, lines["refusals"]["pairs"], lines["refusals"]["accuracy"]["mean"]) == (0, 8, 1.0)
    assert lines["playground"]["pairs"] == 24


def test_implicit_rewards_by_hand() -> None:
    base = toy_base()
    policy, reference = policy_on(base), policy_on(base)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in policy.adapter:
            parameter.add_(torch.randn_like(parameter) * 0.1)
    prompts = [Prompt.ask("is the cat small")] * 2 + [Prompt.ask("is the dog old")]
    replies = [Completion("yes please"), Completion("no"), Completion("so")]
    summed = Implicit(policy, reference, beta=0.5)(prompts, replies)
    mean = Implicit(policy, reference, beta=0.5, per="mean", at_once=8)(prompts, replies)
    for prompt, reply, whole, each in zip(prompts, replies, summed, mean, strict=True):
        forest = base.text.replies([prompt], [[reply]])
        moved = float((per_reply(policy.logps(forest), forest) - per_reply(reference.logps(forest), forest)).detach())
        assert whole == pytest.approx(0.5 * moved, abs=1e-5)
        assert each == pytest.approx(0.5 * moved / (len(reply.text.split()) + 1), abs=1e-5)  # the end is a token
    assert Implicit(reference, reference)(prompts, replies) == [0.0, 0.0, 0.0]
    assert Implicit(policy, reference)([], []) == []


def test_pairs_that_do_not_fit_the_model_are_left_out_and_told(done: Run, tmp_path: Path) -> None:
    pairs = [Comparison(Prompt.ask("is it"), Completion("yes"), Completion(text)) for text in ("no", "no " * 200)]
    (tmp_path / "long.jsonl").write_text("".join(to_json(pair) + "\n" for pair in pairs))
    trial = trial_of("file", {"data": {"path": str(tmp_path / "long.jsonl")}})
    found, said = tried(of_run(done), trial, Limits(dropped=0.6))
    assert found.micro.pairs == 1
    assert "  dropped 1: a reply longer than the context" in said


def test_more_damage_than_is_allowed_is_refused_in_files_and_by_models(tmp_path: Path) -> None:
    """One row of three has no answer, and one of the two pairs that are left is too long for the model."""
    rows = [{"prompt": "is it", "chosen": "yes", "rejected": text} for text in ("no", "no " * 200, None)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"data": {"path": str(tmp_path / "pairs.jsonl")}}
    with pytest.raises(TallyError, match="1 of 3 rows cannot be used"):
        trial_of("file", settings, limits=Limits(dropped=0.3))
    trial = trial_of("file", settings, limits=Limits(dropped=0.4))
    reader = Candidate("length", lambda: lambda _, said: [len(one.text) for one in said], lambda: toy_base().text)
    with pytest.raises(IntakeError, match="1 of 2 rows cannot be used"):
        tried(reader, trial, Limits(dropped=0.4))
    assert tried(reader, trial, Limits(dropped=0.6))[0].micro.pairs == 1


def test_rankings_are_pairs_and_a_likelier_side_is_the_chosen_one(tmp_path: Path) -> None:
    prompt = Prompt.ask("is it")
    said = [
        Ranking(prompt, (Completion("yes"), Completion("so"), Completion("no"))),
        Comparison(prompt, Completion("bad"), Completion("good"), 0.25),
    ]
    (tmp_path / "said.jsonl").write_text("".join(to_json(one) + "\n" for one in said))
    trial = trial_of("file", {"data": {"path": str(tmp_path / "said.jsonl")}})
    sides = [(pair.chosen.text, pair.rejected.text, pair.strength) for pair in trial.pairs]
    assert sides == [("yes", "so", 1.0), ("yes", "no", 1.0), ("so", "no", 1.0), ("good", "bad", 0.75)]


def test_nothing_to_try_a_reward_on(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("\n")
    with pytest.raises(EvaluationError, match="pandalm gave no pair"):
        trial_of("pandalm", {"data": {"path": str(tmp_path / "none.jsonl")}})
    long = Trial((Comparison(Prompt.ask("is it"), Completion("yes"), Completion("no " * 200)),))
    reader = Candidate("length", lambda: lambda _, said: [len(one.text) for one in said], lambda: toy_base().text)
    with pytest.raises(EvaluationError, match="none of the pairs can be read by this model"):
        tried(reader, long, Limits(dropped=1.0))


def test_every_pair_has_its_own_scores_and_contradictions_are_pairs_too() -> None:
    """More pairs than are scored at once; a third of them says the opposite of others."""
    sides = [("yes please", "no"), ("no", "yes please"), ("true thanks", "bad")] * 50
    pairs = tuple(Comparison(Prompt.ask(f"is it {i // 3}"), Completion(a), Completion(b)) for i, (a, b) in enumerate(sides))
    reader = Candidate("length", lambda: lambda _, said: [len(one.text) for one in said], lambda: toy_base().text)
    found, _ = tried(reader, Trial(pairs), Limits(dropped=0.0, contradictory=0.0))
    assert found.micro.pairs == 150
    assert found.micro.accuracy.mean == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lenght", "PAIRS"], "no reward named 'lenght'; did you mean 'length'?"),
        (["length", "none.jsonl"], "there is no file or folder none.jsonl"),
        (["length"], "say where the feedback is"),
        (["length", "PAIRS", "--subset", "sort"], "there is no such column: columns.note = 'sort'"),
        (["length", "PAIRS", "--set", "reward.fre=1"], "no such setting; did you mean 'free'?"),
        (["length", "PAIRS", "--implicit", "sum"], "--implicit and --name are of a run"),
        (["length", "--as", "playground"], "asks a run for prompts and policy"),
        (["length", "--as", "hh-red-team", "--set", "feedback.data.path=PAIRS"], "gives rating: no pairs"),
        (["length", "PAIRS", "--as", "hh-rlhf", "--subset", "nott"], "records say nothing of 'nott'"),
        (["NEW", "PAIRS"], "its reward 'reward-model' is not trained yet; `alignzoo train"),
        (["NEW", "PAIRS", "--implicit", "sum"], "is not trained yet; `alignzoo train"),
        (["NEW", "PAIRS", "--name", "gold"], "has no reward 'gold'; it has reward-model"),
        (["NEW", "PAIRS", "--set", "reward.free=1"], "is a run, with its own settings"),
    ],
)
def test_what_is_wrong_is_said_before_a_model_is_loaded(
    words: list[str],
    message: str,
    pairs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "no-model").mkdir()
    (tmp_path / "new.toml").write_text(RUN.format(model=tmp_path / "no-model", optimizer="dpo"))
    new = Run.open(tmp_path / "new.toml", tmp_path / "new").files.root
    places = {"PAIRS": str(pairs), "NEW": str(new)}
    code, _, err = told(capsys, "evaluate-reward", *(places.get(w, w.replace("PAIRS", str(pairs))) for w in words))
    assert code == 2
    assert message in err


# Behaviours -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    rows = [
        {"question": f"is the {thing} small", "answer_matching_behavior": " yes", "answer_not_matching_behavior": " no"}
        for thing in ("cat", "dog", "river")
    ]
    path = tmp_path / "smallness.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_behaviours_before_and_after(done: Run, questions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = told(capsys, "behaviours", str(done.files.root), str(questions), "--json")
    [found] = json.loads(out)
    assert (code, found["behaviour"], found["questions"], found["chance"]) == (0, "smallness", 3, 0.5)
    assert found["change"]["mean"] == pytest.approx(found["policy"]["mean"] - found["start"]["mean"], abs=1e-9)
    assert found["change"]["mean"] != 0.0
    before = beliefs(done.start_role(), list(questions_in(questions, Tally())))
    assert found["start"]["mean"] == pytest.approx(fmean(one.match for one in before), abs=1e-6)
    assert 0 < found["said"][0] < 1
    assert "3 rows read, 3 kept" in err
    code, out, _ = told(capsys, "behaviours", str(done.files.root), str(questions))
    assert "| smallness | 3 | 0.50 |" in out


def test_what_cannot_be_asked(done: Run, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    assert "no question in" in told(capsys, "behaviours", str(done.files.root), str(tmp_path / "empty.jsonl"))[2]
    (tmp_path / "bad.jsonl").write_text(questions.read_text() + '{"question": 3}\n')
    assert "1 of 4 rows cannot be used" in told(capsys, "behaviours", str(done.files.root), str(tmp_path / "bad.jsonl"))[2]
    (tmp_path / "no-model").mkdir()
    (tmp_path / "new.toml").write_text(RUN.format(model=tmp_path / "no-model", optimizer="dpo"))
    new = Run.open(tmp_path / "new.toml", tmp_path / "new").files.root
    code, _, err = told(capsys, "behaviours", str(new), str(questions))
    assert (code, "is not trained yet" in err) == (2, True)
    row = json.loads(questions.read_text().splitlines()[0]) | {"question": "cat " * 200}
    (tmp_path / "long.jsonl").write_text(json.dumps(row))
    assert "none of the 1 questions fits" in told(capsys, "behaviours", str(done.files.root), str(tmp_path / "long.jsonl"))[2]


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_a_score_that_is_no_finite_number_is_no_half_right_pair(odd: float) -> None:
    pair = Comparison(Prompt.ask("what color is the cat"), Completion("yes"), Completion("no"))
    reader = Candidate("astray", lambda: lambda _, said: [1.0, odd])
    with pytest.raises(EvaluationError, match=f"astray gave {odd} for an answer to 'what color is the cat'"):
        tried(reader, Trial((pair,)))


# Refusals -------------------------------------------------------------------------------------------------------------------


def test_a_share_of_what_a_run_learned_from_are_refusals(done: Run) -> None:
    records = list(store.read_feedback(done.files.feedback))
    places = [i for i, record in enumerate(records) if record.provenance.source == "refusals"]
    assert places == [3, 7, 11, 15, 19, 23, 27, 31]


def test_the_rates_of_a_run_that_says_what_is_harmful(done: Run, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys, "refusals", str(done.files.root), "--json")
    rates = {rate["prompts"]: rate for rate in json.loads(out)}
    assert code == 0
    assert rates["harmful"]["count"] + rates["harmless (over-refusal)"]["count"] == 12
    code, out, _ = told(capsys, "refusals", str(done.files.root), "--word", "the")
    assert "| harmful | 12 |" in out
    assert "harmless" not in out


def test_the_rates_are_by_the_phrases_of_the_runs_own_judge(done: Run) -> None:
    """What a run's judge takes for a refusal is what its rates count: "the" stands in most answers of this world."""
    judge = done.plan.judge
    assert judge is not None
    judging = replace(judge, made=replace(judge.made, also=("the",), within=9))
    told_so = Run(replace(done.plan, judge=judging), done.files)
    said = [row["completion"]["text"] for row in store.read_rows(done.files.answers) if row["who"] == "start"]
    rates = rates_of(told_so, ["zebra"])
    assert rates[0].start.mean == pytest.approx(fmean(" the " in f" {text.lower()} " for text in said))
    assert 0 < rates[0].start.mean != rates_of(done, ["zebra"])[0].start.mean


def test_the_policy_of_the_run_is_a_role(done: Run) -> None:
    assert isinstance(done.policy(), Role)
