"""What may be wrong with the input of an on-policy run, through the command: one line that names who is to blame, before or at
the first use, and the last good checkpoint left as it was."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from alignzoo.cli import main
from alignzoo.interfaces import Asking, Manner
from alignzoo.lab.gathering import gather
from alignzoo.lab.listener import Listener
from alignzoo.lab.plan import Answering, Part
from alignzoo.lab.reserve import Whose
from alignzoo.lab.run import Run
from alignzoo.learning.choices import Limits
from alignzoo.learning.memory import newest
from alignzoo.model.base import Base
from alignzoo.model.role import policy_on
from alignzoo.model.text import TextError
from alignzoo.records import Comparison, Feedback, Prompt
from alignzoo.testing import toy_base, toy_folder

RUN = """
name = "bad"
checkpoint_every = 1
[task]
use = "playground"
[model]
path = "{model}"
[model.lora]
rank = 2
[reward]
use = "{reward}"
[optimizer]
{optimizer}
[watch]
every = 0
prompts = 2
tokens = 4
[answer]
prompts = 2
[answer.manner]
max_tokens = 6
[judge]
use = "playground-gold"
"""
ROUNDS = "updates = 4\nprompts_per_update = 4\n[optimizer.exploring]\nmax_tokens = 6\nunfinished = 'ignore'"
ROUNDED = ("ppo", "rloo", "grpo", "reinforce-plus-plus", "nlpo", "online-dpo")
OPTIMIZERS = {name: f'use = "{name}"\n{ROUNDS}' for name in ROUNDED} | {
    "expert-iteration": 'use = "expert-iteration"\nrounds = 4\nprompts = 4\nn = 8\nmax_tokens = 24',
}
SOUR = """
asked = []

def score(prompts, completions):
    asked.append(len(completions))
    scores = [float(len(set(reply.text.split()))) for reply in completions]
    if len(asked) <= {good}:
        return scores
    {fault}
"""
FAULTS = {
    "count": ("return scores[1:]", "sour:score gave {fewer} scores for {count} answers"),
    "nan": ("return [float('nan')] * len(scores)", "sour:score gave nan for answer 1; a score is a finite number"),
    "infinite": ("return [float('inf')] * len(scores)", "sour:score gave inf for answer 1; a score is a finite number"),
    "nothing": ("return None", "sour:score gave no number for each answer (TypeError: 'NoneType' object is not iterable)"),
    "raises": ("raise ValueError('the endpoint is gone')", "sour:score raised ValueError: the endpoint is gone"),
    "crashes": ("return None.missing", "sour:score raised AttributeError: 'NoneType' object has no attribute 'missing'"),
}


Written = Callable[..., Path]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture
def written(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    """A run file with this optimizer, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(optimizer: str, reward: str = "playground-gold", fault: str = "return scores", good: int = 2) -> Path:
        (tmp_path / "sour.py").write_text(SOUR.format(fault=fault, good=good))
        sys.modules.pop("sour", None)
        file = tmp_path / "bad.toml"
        file.write_text(RUN.format(model=model, reward=reward, optimizer=optimizer))
        return file

    return write


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The one line that a command ends with where something is wrong."""

    def run(*words: object) -> str:
        assert main([str(word) for word in words]) == 2
        [*_, line] = capsys.readouterr().err.strip().splitlines()
        return line

    return run


# A reward that does not keep its word --------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS)
def test_a_reward_that_breaks_in_the_third_update_is_named_and_two_updates_are_kept(
    fault: str, written: Written, said: Callable[..., str], tmp_path: Path
) -> None:
    broken, words = FAULTS[fault]
    file = written(OPTIMIZERS["rloo"], "sour:score", broken)
    assert words.format(fewer=15, count=16) in said("train", file, "--out", tmp_path / "run")
    found = newest(tmp_path / "run" / "train" / "checkpoint")
    assert found is not None
    assert found.update == 2
    file = written(OPTIMIZERS["rloo"], "sour:score")
    assert main(["train", str(file), "--out", str(tmp_path / "run"), "--other-bytes"]) == 0


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "rloo"])
def test_every_on_policy_optimizer_names_the_reward(
    name: str, written: Written, said: Callable[..., str], tmp_path: Path
) -> None:
    file = written(OPTIMIZERS[name], "sour:score", FAULTS["nan"][0])
    assert "sour:score gave nan for answer 1" in said("train", file, "--out", tmp_path / "run")
    found = newest(tmp_path / "run" / "train" / "checkpoint")
    assert found is not None
    assert found.update == (4 if name == "expert-iteration" else 2)  # two epochs over what a round kept


def test_best_of_n_names_the_reward(written: Written, said: Callable[..., str], tmp_path: Path) -> None:
    """It asks when it answers, once for each text."""
    file = written('use = "best-of-n"\nn = 4', "sour:score", FAULTS["count"][0], 0)
    assert "sour:score gave " in said("run", file, "--out", tmp_path / "run")


# Numbers and prompts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("best-of-n", "optimizer.n=0", "optimizer.n: must be at least 1; got 0"),
        ("best-of-n", "optimizer.n=1000000000", "optimizer.n: must be at most 65536; got 1000000000"),
        ("ppo", "optimizer.minibatches=9", "4 prompts make no 9 minibatches; ask for fewer"),
        ("rloo", "optimizer.replies=0", "optimizer.replies: must be at least 2; got 0"),
        ("rloo", "optimizer.replies=1", "optimizer.replies: must be at least 2; got 1"),
        ("grpo", "optimizer.replies=0", "optimizer.replies: must be at least 2; got 0"),
        ("ppo", "optimizer.replies=0", "optimizer.replies: must be at least 1; got 0"),
        ("ppo", "optimizer.prompts_per_update=0", "optimizer.prompts_per_update: must be at least 1; got 0"),
        ("ppo", "optimizer.exploring.max_tokens=0", "optimizer.exploring.max_tokens: must be at least 1; got 0"),
        ("ppo", "optimizer.exploring.temperature=0", "optimizer.exploring.temperature: must be greater than 0; got 0"),
        ("ppo", "optimizer.descent.lr=inf", "optimizer.descent.lr: must be a number with an end; got inf"),
        ("expert-iteration", "optimizer.n=0", "optimizer.n: must be at least 2; got 0"),
        ("ppo", "answer.n=0", "answer.n: must be at least 1; got 0"),
        ("ppo", "answer.n=1000000000000000000", "answer.n: must be at most 10000; got 1000000000000000000"),
    ],
)
def test_numbers_that_cannot_be_are_told_before_a_model_is_loaded(
    name: str, change: str, words: str, written: Written, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Base, "load", lambda *given: pytest.fail("a model was loaded"))
    optimizer = OPTIMIZERS.get(name, 'use = "best-of-n"')
    assert words in said("train", written(optimizer), "--set", change)


@pytest.mark.parametrize("name", ["ppo", "rloo", "best-of-n"])
def test_answers_that_leave_no_room_for_a_prompt_are_refused(
    name: str, written: Written, said: Callable[..., str], tmp_path: Path
) -> None:
    optimizer = OPTIMIZERS.get(name, 'use = "best-of-n"').replace("max_tokens = 6", "max_tokens = 100000")
    line = said("run", written(optimizer), "--out", tmp_path / "run", "--set", "answer.manner.max_tokens=100000")
    assert "max_tokens = 100000 leaves no room for a prompt in this model's context of " in line


LONG = " ".join(["the old dog and the red cat"] * 400)


@pytest.fixture
def longwinded(tmp_path: Path, written: Written) -> Callable[[str], Path]:
    """A run file over prompts of which three are longer than the context."""

    def write(optimizer: str) -> Path:
        asked = [f"{LONG} {word}" if word in ("why", "where", "how") else word for word in LONG.split()[:5]]
        asked += [f"{LONG} why", f"{LONG} where", f"{LONG} how", "a", "b", "c"]
        (tmp_path / "long.jsonl").write_text("\n".join(f'{{"prompt": "{text}"}}' for text in asked))
        file = written(optimizer, "sour:score")
        file.write_text(file.read_text().replace('use = "playground"', 'use = "prompts"\nfile = "long.jsonl"\ntest = 0.2', 1))
        return file

    return write


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_prompts_that_are_longer_than_the_context_are_refused_before_anything_is_trained(
    name: str, longwinded: Callable[[str], Path], said: Callable[..., str], tmp_path: Path
) -> None:
    line = said("train", longwinded(OPTIMIZERS[name]), "--out", tmp_path / "run")
    assert "task:prompts/prompts, whose prompts optimizer:" in line
    assert f"/{name} has answered: 3 of " in line
    assert " prompts leave no room for a reply: the longest has " in line
    assert 'long_prompts = "cut"' in line
    assert not (tmp_path / "run" / "train").exists()


def test_the_prompts_that_are_judged_on_are_looked_at_before_anything_is_trained(
    written: Written, said: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "asked.jsonl").write_text(f'{{"prompt": "why"}}\n{{"prompt": "{LONG}"}}')
    line = said("run", written(OPTIMIZERS["rloo"]), "--out", tmp_path / "run", "--set", "answer.file=asked.jsonl")
    assert "asked.jsonl, whose prompts are answered before and after: 1 of 2 prompts leave no room for a reply" in line
    assert not (tmp_path / "run" / "train").exists()


TALKER = """
from dataclasses import dataclass
from alignzoo.interfaces import Manner
from alignzoo.records import Prompt, Turn
from alignzoo.seam.hookspecs import Component

@dataclass(frozen=True)
class Talker:
    def framed(self, prompts):
        return [Prompt((Turn("system", {words!r}), *prompt.turns)) for prompt in prompts]

    def wrap(self, policy):
        return Talking(self, policy)

@dataclass(frozen=True)
class Talking:
    how: Talker
    policy: object

    def sample(self, prompts, n=1, manner=Manner()):
        return self.policy.sample(self.how.framed(prompts), n, manner)

def alignzoo_components():
    yield Component("policy", "talker", f"{{__name__}}:Talker", "talks before every prompt")
"""


@pytest.mark.parametrize("way", ["wrapper", "constitution"])
def test_words_before_every_prompt_that_leave_it_no_room_are_told_before_anything_is_trained(
    way: str, written: Written, said: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "rules.toml").write_text(f'[[principle]]\nid = "long"\ntext = "{LONG}"\n')
    (tmp_path / "talker.py").write_text(TALKER.format(words=LONG))
    file = written('use = "constitutional"\nconstitution = "rules.toml"\nway = "instruction"', "sour:score")
    who = "optimizer:rlaif/constitutional"
    if way == "wrapper":
        file = written(OPTIMIZERS["rloo"], "sour:score")
        file.write_text('plugins = ["talker.py"]\n' + file.read_text() + '[policy]\nuse = "talker"\n')
        who = "policy:talker/talker"
    line = said("run", file, "--out", tmp_path / "run")
    assert f"whose prompts are answered before and after, by then as {who} puts them: 2 of 2 prompts leave no room" in line
    assert not (tmp_path / "run" / "train").exists()


def test_a_source_that_has_a_long_prompt_answered_is_named(tmp_path: Path) -> None:
    """What it has gathered so far is not left as if it were all."""

    class Asker:
        gives, asks = ("comparison",), ("prompts", "policy")

        def collect(self, asking: Asking) -> Iterator[Feedback]:
            for prompt in (Prompt.ask("why"), Prompt.ask("cat " * 200)):
                yield Comparison(prompt, *policy_on(toy_base()).sample([prompt], 2, Manner(max_tokens=4))[0])

    source = Part(SimpleNamespace(full_name="feedback:mine/asker"), Asker())  # type: ignore[arg-type]
    plan: Any = SimpleNamespace(task=None, answer=Answering(), seed=0, intake=Limits(), whose=Whose())
    with pytest.raises(TextError, match=r"^feedback:mine/asker: 1 of 1 prompts leave no room for a reply"):
        gather(plan, source, tmp_path / "feedback.jsonl", lambda: policy_on(toy_base()), Listener())
    assert not (tmp_path / "feedback.jsonl").exists()


def test_where_it_is_allowed_long_prompts_lose_their_beginning_and_are_counted(
    longwinded: Callable[[str], Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = longwinded(OPTIMIZERS["rloo"].replace("updates = 4", "updates = 1").replace("per_update = 4", "per_update = 11"))
    assert main(["train", str(file), "--out", str(tmp_path / "run"), "--set", 'model.long_prompts="cut"']) == 0
    told = capsys.readouterr()
    assert "prompts lost their beginning to the context" in told.out + told.err


EMPTY = """
from dataclasses import dataclass
from alignzoo.seam.hookspecs import Component, hookimpl

@dataclass(frozen=True)
class Nothing:
    def prompts(self, split):
        return []

@hookimpl
def alignzoo_components():
    yield Component("task", "nothing", "{module}:Nothing", summary="")
"""


@pytest.mark.parametrize("name", ["ppo", "rloo", "best-of-n"])
def test_a_task_without_a_prompt_is_named(name: str, written: Written, said: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty_task.py").write_text(EMPTY.format(module="empty_task"))
    file = written(OPTIMIZERS.get(name, 'use = "best-of-n"'), "sour:score")
    file.write_text(file.read_text().replace('use = "playground"', 'use = "empty_task:Nothing"', 1))
    line = said("run", file, "--out", tmp_path / "run")
    assert "empty_task:Nothing" in line, line


LEARNED = """
[reward]
use = "reward-model"
batch_size = 8
samples = 4
[reward.feedback]
use = "playground"
count = 16
answers = 2
"""


def test_a_reward_model_of_another_base_is_refused(
    written: Written, said: Callable[..., str], tmp_path: Path, model: Path
) -> None:
    """A run whose reward was learned on one base goes on with another of the same shape, on which its head fits as well."""
    shutil.copytree(model, tmp_path / "base")
    file = written(OPTIMIZERS["ppo"].replace("updates = 4", "updates = 1"))
    file.write_text(file.read_text().replace('[reward]\nuse = "playground-gold"', LEARNED).replace(str(model), "base"))
    Run.open(file, tmp_path / "run").rewards()
    weights = tmp_path / "base" / "model.safetensors"
    save_file({key: 1.01 * tensor for key, tensor in load_file(weights).items()}, weights, {"format": "pt"})
    line = said("train", file, "--out", tmp_path / "run")
    assert f"{tmp_path / 'run' / 'reward' / 'adapter'} was trained on another base than base is now" in line
    assert not (tmp_path / "run" / "train").exists()
