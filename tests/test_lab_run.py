"""The stages of a run on the toy model, in Python and on the command line."""

from __future__ import annotations

import gc
import json
import math
import shutil
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file

from alignzoo.cli import main
from alignzoo.interfaces import Lesson, Manner
from alignzoo.lab import store
from alignzoo.lab.answering import scores
from alignzoo.lab.export import merge
from alignzoo.lab.folders import RunError
from alignzoo.lab.listener import Listener
from alignzoo.lab.plan import Part
from alignzoo.lab.prompts import read_prompts
from alignzoo.lab.run import Run
from alignzoo.learning.ledger import Ledger, charge, counting
from alignzoo.learning.memory import MemoryLost
from alignzoo.learning.rewards import Scored, ScoreError
from alignzoo.model.base import Base
from alignzoo.model.role import load_role
from alignzoo.model.text import TextError
from alignzoo.records import Completion, Demonstration, Prompt, completion_to_row, prompt_to_row
from alignzoo.testing import toy_base, toy_folder

RUN = """
name = "toy"
[task]
use = "playground"
[model]
path = "{model}"
[model.lora]
rank = 4
[start]
use = "sft"
batch_size = 8
[start.feedback]
use = "playground"
kind = "demonstrations"
count = 24
[feedback]
use = "playground"
count = 48
answers = 2
[optimizer]
use = "dpo"
batch_size = 16
[watch]
every = 2
prompts = 4
tokens = 8
[answer]
prompts = 10
n = 2
[answer.manner]
max_tokens = 8
[judge]
use = "playground-gold"
"""


@pytest.fixture(scope="module")
def run_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    file = folder / "toy.toml"
    file.write_text(RUN.format(model=toy_folder(folder / "model")))
    return file


@pytest.fixture(scope="module")
def done(run_file: Path) -> Run:
    run = Run.open(run_file, run_file.parent / "done")
    run.report()
    return run


def test_every_stage_leaves_its_files(done: Run) -> None:
    files = done.files
    for path in (
        files.settings,
        files.start.adapter,
        files.feedback,
        files.train.adapter,
        files.answers,
        files.scores,
        files.report,
    ):
        assert path.exists(), path
    summary = store.read_json(files.train.summary)
    assert summary["ledger"]["updates"] == 3
    assert summary["ledger"]["labels"] == 48
    assert summary["feedback"] == store.file_digest(files.feedback)
    assert summary["intake"]["rows"] == 48
    assert [row["update"] for row in store.read_rows(files.train.updates)] == [1, 2, 3]
    assert "watch_kl" in store.read_rows(files.train.updates)[1]


def test_the_run_file_says_what_it_was_made_with(done: Run) -> None:
    table = tomllib.loads(done.files.settings.read_text())
    plugins = table["made_with"]["plugins"]
    assert set(plugins) >= {"optimizer:dpo/dpo", "optimizer:sft/sft", "feedback:playground/playground"}
    assert all("sha256:" in made for made in plugins.values())
    assert table["made_with"]["torch"] == version("torch")  # of a build for CUDA, torch itself says more


def test_the_report_is_the_files(done: Run) -> None:
    row = json.loads((done.files.root / "report.json").read_text())
    scores = [r["score"] for r in store.read_rows(done.files.scores) if r["who"] == "policy"]
    assert len(scores) == 20
    assert row["policy"]["mean"] == pytest.approx(sum(scores) / len(scores))
    assert set(row["values"]) >= {"helpful", "harmless", "honest", "polite", "brief"}
    judging = store.read_json(done.files.judging)
    assert judging["closed"] == ""
    assert judging["bounds"]["score"] == judging["bounds"]["helpful"] == [0, 1]


@dataclass(frozen=True)
class Marks:
    """A judge that gives school marks."""

    most: float = 10.0
    bounds: ClassVar[tuple[float, float]] = (0.0, 10.0)

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        return [self.most for _ in prompts]

    def by_value(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> dict[str, list[float]]:
        return {"neat": [3.0 for _ in prompts]}


def test_a_judge_is_held_to_its_bounds() -> None:
    row = {"who": "start", "number": 0, "prompt": prompt_to_row(Prompt.ask("why?"))}
    asked = [{**row, "completion": completion_to_row(Completion("so"))}]
    extra = {"columns": [77.0]}  # of a plugin: nobody said between what it lies
    [told], bounds = scores(Marks(), asked, lambda prompts, completions: extra)
    assert told["values"] == {"neat": 3.0, "columns": 77.0}
    assert bounds == {"score": (0.0, 10.0), "neat": (0.0, 10.0)}
    with pytest.raises(ScoreError, match=r"says that it gives 0 to 10, and gave 11 \(score\)"):
        scores(Marks(11.0), asked, lambda prompts, completions: {})


def test_a_training_on_pairs_looks_at_what_became_of_them(done: Run) -> None:
    final = store.read_json(done.files.train.summary)["final"]
    assert set(final) == {"kl", "length", "chosen", "rejected"}
    assert "watch_chosen" in store.read_rows(done.files.train.updates)[1]
    assert store.read_json(done.files.start.summary)["final"].keys() == {"kl", "length"}  # it learned from no pairs


def test_a_training_that_lowered_what_was_chosen_is_warned_of(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the log, the summary, the report, and what `show` prints."""
    said: list[str] = []
    out = run_file.parent / "displaced"
    harsh = ["optimizer.descent.lr=0.03", "optimizer.descent.schedule=constant", "optimizer.likelihood=0"]
    run = Run.open(run_file, out, [*harsh, "watch.kl_limit=1e6"], Listener(line=said.append))
    row = run.report().row()
    [warning] = store.read_json(run.files.train.summary)["warnings"]
    lost = -store.read_json(run.files.train.summary)["final"]["chosen"]
    assert warning.startswith(f"chosen replies became less likely by {lost:.1f} nats")
    assert f"warning: {warning}" in said
    assert {stage["name"]: list(stage["warnings"]) for stage in row["stages"]} == {"start": [], "train": [warning]}
    assert f"| WARNING (train) | {warning} |" in run.files.report.read_text()
    assert main(["show", str(out)]) == 0
    assert "WARNING (train)" in capsys.readouterr().out


def test_a_report_says_over_how_many_prompts_and_when_they_are_few(done: Run, capsys: pytest.CaptureFixture[str]) -> None:
    report = done.report()
    asked = len({row["prompt"] for row in store.read_rows(done.files.scores)})
    assert report.row()["prompts"] == report.prompts == asked < 30
    few = f"95 % intervals by bootstrap over {asked} prompts: they are few, and 100 or more tell small differences."
    assert few in done.files.report.read_text().splitlines()
    assert main(["show", str(done.files.root)]) == 0
    assert few in " ".join(capsys.readouterr().out.split())
    assert replace(report, prompts=29).intervals() == few.replace(f"over {asked}", "over 29")
    assert replace(report, prompts=30).intervals() == "95 % intervals by bootstrap over 30 prompts."


def test_stages_that_are_done_are_not_done_again(done: Run) -> None:
    said: list[str] = []
    again = Run.open(done.files.root, listener=Listener(stage=lambda name, what: said.append(name)))
    assert again.report().row() == done.report().row()
    assert said == []


def test_dpo_starts_where_sft_ended(done: Run) -> None:
    """The reference is the SFT start, not the base: the first loss is log 2, and the start's adapter is not idle."""
    first = store.read_rows(done.files.train.updates)[0]
    assert first["preference"] == pytest.approx(0.6931, abs=1e-3)
    start, policy = done.start_role(), done.policy()
    assert not start.idle
    assert start.digest == store.read_json(done.files.start.summary)["adapter"]
    assert policy.digest == store.read_json(done.files.train.summary)["adapter"]  # type: ignore[attr-defined]


def test_a_training_that_moves_nothing_ends_at_the_start(run_file: Path, tmp_path: Path) -> None:
    run = Run.open(run_file, tmp_path / "still", ["optimizer.descent.lr=1e-12", "budget.updates=1", "watch.every=0"])
    run.train()
    start, policy = (load_file(files.adapter / "adapter_model.safetensors") for files in (run.files.start, run.files.train))
    assert all(torch.allclose(policy[name], tensor, atol=1e-9) for name, tensor in start.items())
    assert any(bool(tensor.any()) for name, tensor in start.items() if "lora_B" in name)


def test_answers_before_and_after_share_their_random_numbers(done: Run) -> None:
    rows = store.read_rows(done.files.answers)
    prompts = [row["prompt"] for row in rows if row["who"] == "start"]
    assert prompts == [row["prompt"] for row in rows if row["who"] == "policy"]
    assert all(row["kl"] == pytest.approx(0.0, abs=1e-3) for row in rows if row["who"] == "start")


def test_luck_in_drawing_is_not_the_same_under_every_seed(run_file: Path, tmp_path: Path) -> None:
    still = ["start.descent.lr=1e-12", "optimizer.descent.lr=1e-12", "start.epochs=1", "budget.updates=1", "watch.every=0"]

    def answered(name: str, *changes: str) -> list[str]:
        run = Run.open(run_file, tmp_path / name, [*still, *changes])
        run.answer()
        return [row["completion"] for row in store.read_rows(run.files.answers) if row["who"] == "start"]

    first, second = answered("first", "seed=0"), answered("second", "seed=1")
    assert not any(a == b for a, b in zip(first, second, strict=True))
    assert answered("counted", "seed=0", "answer.manner.seed=1") == second


def test_a_reward_with_a_wrong_count_is_named(done: Run, tmp_path: Path) -> None:
    def short(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        return [1.0]

    judge = done.plan.judge
    assert judge is not None
    root = tmp_path / "copy"
    root.mkdir()
    for path in (done.files.settings, done.files.answers):
        (root / path.name).write_bytes(path.read_bytes())
    (root / "train").mkdir()
    run = Run(replace(done.plan, judge=Part(judge.found, short)), store.Folder(root))
    with pytest.raises(ScoreError, match="gave 1 scores for 40 answers"):
        run.judge()
    assert not run.files.scores.exists()


def test_a_budget_stops_after_the_update_that_reaches_it(run_file: Path, tmp_path: Path) -> None:
    run = Run.open(run_file, tmp_path / "short", ["budget.labels=20", "watch.every=0"])
    run.train()
    summary = store.read_json(run.files.train.summary)
    assert summary["stopped"] == "labels 20 of 20"
    assert summary["ledger"]["updates"] == 2


def test_a_folder_of_another_run_is_refused(run_file: Path, done: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"optimizer.beta: 0.1 there, 0.2 now"):
        Run.open(run_file, done.files.root, ["optimizer.beta=0.2"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("not a run")
    with pytest.raises(RunError, match="is no run"):
        Run.open(run_file, tmp_path / "mine")
    with pytest.raises(RunError, match=r"no run.toml"):
        Run.open(tmp_path / "mine")


def test_a_damaged_line_is_told_by_its_number_in_the_file(tmp_path: Path) -> None:
    """Empty lines count, as an editor counts them; and the file may be the user's own, whom nobody tells to delete it."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\n  \n{"a": 2}\n')
    assert store.read_rows(path) == [{"a": 1}, {"a": 2}]
    path.write_text('\n{"a": 1}\n\n{"a": 2\n')
    with pytest.raises(store.StoreError, match=r"rows.jsonl:4: not JSON: .* if it is yours, mend that line"):
        store.read_rows(path)
    for odd in ('{"a": 1}, {"a": 2}\n', '{"a": 1,\n"b": 2}\n'):  # one after the other they would be rows
        path.write_text(odd)
        with pytest.raises(store.StoreError, match=r"rows.jsonl:1: not JSON"):
            store.read_rows(path)
    path.write_text('\n\n{"kind": "nothing"}\n')
    with pytest.raises(store.StoreError, match=r"rows.jsonl:3: 'kind' must be one of"):
        list(store.read_feedback(path))


def test_who_reads_rows_leaves_the_collector_as_it_was() -> None:
    for looks in (True, False):
        (gc.enable if looks else gc.disable)()
        try:
            with suppress(KeyError), store.uncollected():
                assert not gc.isenabled()
                raise KeyError
            assert gc.isenabled() == looks
        finally:
            gc.enable()


def test_a_damaged_line_is_named(done: Run, tmp_path: Path) -> None:
    path = tmp_path / "feedback.jsonl"
    path.write_text(done.files.feedback.read_text().replace('"kind"', '"kid"', 1))
    with pytest.raises(store.StoreError, match=r"feedback.jsonl:1: 'kind' must be one of"):
        list(store.read_feedback(path))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("run.toml", b"name = [", "run.toml: not TOML"),
        ("run.toml", b"\xff", "run.toml: not TOML"),
        ("run.toml", b"", "run.toml is damaged: it does not say what the run is called"),
        ("train/summary.json", b"{}", "summary.json is damaged"),
        ("train/summary.json", b"\xff", "summary.json: not JSON"),
        ("scores.jsonl", b"\xff\n", "scores.jsonl: not UTF-8 text"),
    ],
)
def test_a_damaged_file_is_named(
    name: str, content: bytes, said: str, done: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(done.files.root, tmp_path / "damaged")
    (root / name).write_bytes(content)
    for command in (["show", str(root)], ["compare", str(root), str(done.files.root)]):
        assert main(command) == 2
        told = capsys.readouterr().err
        assert told.startswith("alignzoo: ")
        assert said in told


def test_an_adapter_that_is_not_what_was_trained_does_not_answer(done: Run, tmp_path: Path) -> None:
    """Not even where it is gone: the base would answer in its place, and nobody would know."""
    root = shutil.copytree(done.files.root, tmp_path / "other")
    shutil.copy(root / "start" / "adapter" / "adapter_model.safetensors", root / "train" / "adapter")
    run = replace(done, files=store.Folder(root))
    with pytest.raises(RunError, match="adapter is not what the training left; put it back"):
        run.policy()
    shutil.rmtree(root / "train" / "adapter")
    with pytest.raises(RunError, match="adapter is not what the training left; put it back"):
        run.policy()


def test_a_prompt_that_is_there_twice_is_asked_once(done: Run, tmp_path: Path) -> None:
    """With the same random numbers it would be answered alike: that says nothing, and prompts would count differently."""
    asked = tmp_path / "asked.jsonl"
    asked.write_text('{"prompt": "one"}\n{"prompt": "two"}\n{"prompt": "one"}\n')
    plan = replace(done.plan, answer=replace(done.plan.answer, file=str(asked), prompts=3))
    run = replace(done, plan=plan, files=store.Folder(shutil.copytree(done.files.root, tmp_path / "asked")))
    run.files.answers.unlink()
    rows = store.read_rows(run.answer())
    assert [row["prompt"]["turns"][0]["text"] for row in rows if row["number"] == 0] == ["one", "two", "one", "two"]


def test_answers_that_leave_no_room_are_refused_before_the_training(run_file: Path, tmp_path: Path) -> None:
    run = Run.open(run_file, tmp_path / "long", ["answer.manner.max_tokens=128"])
    with pytest.raises(TextError, match="max_tokens = 128 leaves no room for a prompt in this model's context of 128"):
        run.train()
    assert not run.files.start.updates.exists()


def test_a_preview_leaves_nothing(run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that the run file can be mended by what it showed."""
    show = ["collect", str(run_file), "--out", str(tmp_path / "seen"), "--set", "feedback.kind=demonstrations"]
    assert main([*show, "--set", "optimizer.use=sft", "--preview", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert not (tmp_path / "seen").exists()
    assert main([*show, "--set", "optimizer.use=sft", "--preview", "-1"]) == 2
    assert "--preview shows 0 records or more; got -1" in capsys.readouterr().err


def test_what_only_takes_a_folder_makes_none(
    run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (["chat", str(run_file)], ["export", str(run_file), str(tmp_path / "model")]):
        assert main(command) == 2
        assert "is no run: there is no run.toml in it" in capsys.readouterr().err
    assert not Path("runs").exists()


@pytest.mark.parametrize("temperature", ["nan", "-1", "1e-9"])
def test_a_temperature_that_is_none_is_refused(temperature: str, done: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", str(done.files.root), f"--temperature={temperature}"]) == 2
    assert "temperature" in capsys.readouterr().err


def test_feedback_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    def failing() -> object:
        yield Demonstration(Prompt.ask("a"), Completion("b"))
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="gone"):
        store.write_feedback(tmp_path / "feedback.jsonl", failing())  # type: ignore[arg-type]
    assert not (tmp_path / "feedback.jsonl").exists()
    with pytest.raises(store.StoreError, match="no record at all"):
        store.write_feedback(tmp_path / "feedback.jsonl", [])


def test_prompts_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "is it red"}\n{"turns": [{"speaker": "user", "text": "why"}]}\n')
    assert read_prompts(file) == [Prompt.ask("is it red"), Prompt.ask("why")]
    file.write_text('{"question": "is it red"}\n')
    with pytest.raises(store.StoreError, match=r'prompts.jsonl:1: a row needs "prompt"'):
        read_prompts(file)
    file.write_text('{"prompt": "is it red"}\n{"prompt": "half \\ud800"}\n')
    with pytest.raises(store.StoreError, match=r"prompts.jsonl:2: the prompt holds half of a surrogate pair"):
        read_prompts(file)


@pytest.mark.parametrize("name", ["prompts.jsonl", "prompts", "prompts.txt"])
@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"\xff", "invalid UTF-8"),
        (b"[]", "a row must be a JSON object"),
        (b'{"prompt":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "JSON nested too deeply"),
        (b'{"prompt": "wh', "the last line is cut, or no JSON; mend this line, or delete it"),
        (b'{"prompt": 3}', 'a row needs "prompt"'),
        (b'{"prompt": " "}', "the prompt is empty"),
        (b'{"prompt": "half \\ud83d"}', "half of a surrogate pair"),
        (b'{"turns": [{"speaker": "user", "text": 3}]}', "must be str; got 3"),
    ],
)
def test_a_prompt_that_cannot_be_read_is_named(name: str, line: bytes, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(b'\xef\xbb\xbf{"prompt": "is it red"}\n\n' + line)
    with pytest.raises(ValueError, match=rf"{name}:3: .*{complaint}"):
        read_prompts(file)
    file.write_bytes(b'\xef\xbb\xbf{"prompt": "is it red"}\n')
    assert read_prompts(file) == [Prompt.ask("is it red")]


def test_what_is_exported_is_what_was_trained(done: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The merged folder, loaded by transformers alone, says what the adapter on its 4-bit base says."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert main(["export", str(done.files.root), str(tmp_path / "model")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    assert AutoTokenizer.from_pretrained(tmp_path / "model").chat_template
    policy = load_role(done.base, done.files.train.adapter, "exported")
    text = done.base.text
    forest = text.replies([Prompt.ask("is the cat small")], [[Completion("yes it is small")]])
    with torch.no_grad():
        tree = forest.trees[0]
        logits = model(input_ids=torch.tensor([tree.prompt + tree.replies[0]])).logits[0].log_softmax(-1)
        plain = logits[len(tree.prompt) - 1 : -1].gather(1, torch.tensor(tree.replies[0])[:, None])[:, 0]
        assert torch.allclose(policy.logps(forest), plain, atol=1e-4)
    done.base.dismiss("exported")
    assert main(["export", str(done.files.root), str(tmp_path / "model")]) == 2
    assert "there already" in capsys.readouterr().err


def test_layers_without_an_adapter_are_exported_as_they_were_computed_with(run_file: Path, tmp_path: Path) -> None:
    """Only q_proj is adapted; the other 4-bit layers must leave as the policy saw them, too."""
    from transformers import AutoModelForCausalLM

    run = Run.open(run_file, tmp_path / "part", ['model.lora.targets=["q_proj"]', "budget.updates=2", "watch.every=0"])
    run.train()
    policy = load_role(run.base, run.files.train.adapter, "part")
    plain = AutoModelForCausalLM.from_pretrained(run.plan.model).eval()
    merge(policy, plain, as_trained=True)
    ids = torch.arange(7, 19)[None]
    with torch.no_grad(), run.base.acting_as("part"):
        assert torch.allclose(run.base.model(input_ids=ids).logits, plain(input_ids=ids).logits, atol=1e-3)


def test_answers_of_another_manner_have_a_kl_all_the_same(run_file: Path, tmp_path: Path) -> None:
    run = Run.open(run_file, tmp_path / "greedy", ["answer.manner.temperature=0", "budget.updates=1", "watch.every=0"])
    run.answer()
    rows = store.read_rows(run.files.answers)
    start = [row for row in rows if row["who"] == "start"]
    assert all(a["completion"] == b["completion"] for a, b in zip(start[::2], start[1::2], strict=True))  # greedy: n the same
    assert all(row["kl"] == pytest.approx(0.0, abs=1e-3) for row in start)


def test_merging_onto_the_original_takes_its_weights(done: Run) -> None:
    from transformers import AutoModelForCausalLM

    start = done.start_role()
    original = AutoModelForCausalLM.from_pretrained(done.plan.model)
    before = {name: tensor.clone() for name, tensor in original.state_dict().items()}
    merge(start, original, as_trained=False)
    name = "model.layers.0.self_attn.q_proj.weight"
    layer = dict(start.base.model.named_modules())["model.layers.0.self_attn.q_proj"]
    delta = layer.lora_B["start"].weight @ layer.lora_A["start"].weight * (32 / 4)  # alpha over rank
    assert torch.allclose(original.state_dict()[name], before[name] + delta, atol=1e-5)
    untouched = "model.embed_tokens.weight"
    assert torch.equal(original.state_dict()[untouched], before[untouched])


def test_show_and_chat_on_the_command_line(
    done: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    assert main(["show", str(done.files.root)]) == 0
    shown = capsys.readouterr().out
    assert "win rate against the start" in shown
    assert "KL from the start" in shown
    assert main(["show", str(done.files.root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "toy"
    monkeypatch.setattr("sys.stdin", io.StringIO("is the cat small\n\nwhy\n"))
    assert main(["chat", str(done.files.root), "--start", "--max-tokens", "5", "--temperature", "0"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 4
    assert [line.startswith("start: ") for line in lines] == [False, True, False, True]


def test_a_conversation_that_has_outgrown_the_context_goes_on_and_says_what_it_forgot(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three turns of forty words do not fit a context of 128 beside an answer."""
    import io

    from alignzoo.cli.chat import converse
    from alignzoo.interfaces import Manner
    from alignzoo.model.role import policy_on
    from alignzoo.testing import toy_base

    monkeypatch.setattr("sys.stdin", io.StringIO(f"{'cat ' * 40}\n" * 4))
    converse({"toy": policy_on(toy_base())}, Manner(max_tokens=5, temperature=0))
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("(")] == ["(the context is full: the first 2 turns are forgotten)"] * 2
    assert len(lines) == 6
    monkeypatch.setattr("sys.stdin", io.StringIO(f"why\n{'cat ' * 140}\n"))
    with pytest.raises(TextError, match="1 of 1 prompts leave no room for a reply"):
        converse({"toy": policy_on(toy_base())}, Manner(max_tokens=5, temperature=0))


def test_show_tells_how_far_an_unfinished_run_is(run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run.open(run_file, tmp_path / "begun")
    run.collect()
    assert main(["show", str(run.files.root)]) == 0
    states = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert states == {"start": "done", "collect": "done", "train": "to do", "answer": "to do", "judge": "to do"}
    assert main(["chat", str(run.files.root)]) == 2
    assert "is not trained yet" in capsys.readouterr().err


def test_the_base_forgets_a_role_for_good(base: Base) -> None:
    from alignzoo.model.role import policy_on

    plain = base.text.replies([Prompt.ask("why")], [[Completion("yes")]])
    first = policy_on(base)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.fill_(0.1)
    changed = first.logps(plain).detach()
    base.dismiss_all()
    fresh = policy_on(base)
    assert fresh.idle
    assert not torch.allclose(fresh.logps(plain), changed)
    assert fresh.sample([Prompt.ask("why")], 1, Manner(3))[0][0].tokens


def test_an_adapter_can_be_put_on_after_the_last_one_was_taken_off(base: Base) -> None:
    """peft believes in an active adapter that is no longer there."""
    from alignzoo.model.role import policy_on, role_on

    policy_on(base)
    base.dismiss_all()
    assert role_on(base, "reward").parameters()


def test_a_policy_that_knows_its_distance_by_a_formula_tells_that(done: Run) -> None:
    from dataclasses import dataclass

    from alignzoo.lab.answering import answers
    from alignzoo.lab.plan import Answering

    @dataclass
    class Chosen:
        kl: float = 1.25

        def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
            return [[Completion("yes")] * n for _ in prompts]

    rows = list(answers("policy", Chosen(), done.start_role(), [Prompt.ask("why")], Answering(n=2), lambda *_: None))
    assert [row["kl"] for row in rows] == [1.25, 1.25]


def test_a_lesson_without_what_is_needed_is_refused_before_work(base: Base, tmp_path: Path) -> None:
    from alignzoo.interfaces import LessonError
    from alignzoo.lab.training import Seat, train
    from alignzoo.model.role import policy_on
    from alignzoo_dpo.dpo import DPO

    with pytest.raises(LessonError, match="this run lacks comparisons"):
        train(DPO(), Lesson(), Seat(base, policy_on), store.Training(tmp_path))
    assert base.roles == {}


def test_changed_feedback_is_not_gone_on_with(run_file: Path, tmp_path: Path) -> None:
    run = Run.open(run_file, tmp_path / "changed", ["checkpoint_every=1", "budget.updates=1", "watch.every=0"])
    run.train()
    (run.files.train.folder / "summary.json").unlink()  # as if it had been killed after its checkpoint
    lines = run.files.feedback.read_text().splitlines(keepends=True)
    run.files.feedback.write_text("".join(reversed(lines)))
    with pytest.raises(MemoryLost, match="the feedback is not what this training was begun with"):
        Run.open(run.files.root).train()


def test_the_runs_reward_is_held_to_its_word_and_charged() -> None:
    asked = [Prompt.ask("why")] * 3
    said = [Completion("yes")] * 3
    with counting(Ledger(), toy_base()) as ledger:
        assert Scored(lambda p, c: [1, 2, 3], "reward:mine")(asked, said) == [1.0, 2.0, 3.0]
        with pytest.raises(ScoreError, match="reward:mine gave 2 scores for 3 answers"):
            Scored(lambda p, c: [1.0, 2.0], "reward:mine")(asked, said)
        with pytest.raises(ScoreError, match="reward:mine gave nan for answer 2"):
            Scored(lambda p, c: [1.0, float("nan"), 2.0], "reward:mine")(asked, said)
        charge(scores=1)
    assert ledger.scores == 10


def test_a_report_is_json_for_everybody(tmp_path: Path) -> None:
    """JSON has no name for a limit without end, and who reads strictly reads nothing of a file that has one."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    content = {"limit": math.inf, "rows": [{"least": -math.inf}, (math.nan, 1.5)], "none": None, "said": "inf"}
    store.write_report(tmp_path / "report.json", content)
    read = json.loads((tmp_path / "report.json").read_text(), parse_constant=refuse)
    assert read == {"limit": "inf", "rows": [{"least": "-inf"}, ["nan", 1.5]], "none": None, "said": "inf"}
