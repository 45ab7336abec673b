"""Task, reward, feedback and model fit together, and no space or marker comes between the letters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from alignzoo.interfaces import Asking, Closed, FeedbackSource, Manner, ModelSource, Reward, Task
from alignzoo.lab.listener import Listener
from alignzoo.lab.run import Run
from alignzoo.lab.runfile import read_plan
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading
from alignzoo.model.role import policy_on
from alignzoo.records import Comparison, Completion, Demonstration, Prompt, Rating
from alignzoo_random_walks.cloning import learn, written
from alignzoo_random_walks.feedback import CollectError, Kind, RandomWalksFeedback
from alignzoo_random_walks.letters import BOS, EOS, PAD, SPECIAL, build_tokenizer
from alignzoo_random_walks.model import RandomWalksModel
from alignzoo_random_walks.reward import Optimality
from alignzoo_random_walks.task import SPLITS, RandomWalks
from alignzoo_random_walks.walks import GOAL, LETTERS, game

RUN = """
[task]
use = "random-walks"
[model]
use = "random-walks"
epochs = 0
quantize = "none"
template = "plain"
[reward]
use = "random-walks"
[optimizer]
use = "best-of-n"
n = 2
[judge]
use = "random-walks"
[answer.manner]
max_tokens = 10
"""


class Wanderer:
    """A policy that takes edges at random, from a seed."""

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        return [[self.walk(prompt.text, Random(f"{manner.seed}/{prompt.text}/{k}")) for k in range(n)] for prompt in prompts]

    def walk(self, here: str, dice: Random) -> Completion:
        said = ""
        while here != GOAL and len(said) < 9:
            here = dice.choice(game(1000).edges[here])
            said += here
        return Completion(said, finished=here == GOAL)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "alignzoo"


def collected(kind: Kind, seed: int = 0, **settings: Any) -> list[Any]:
    asking = Asking(policy=Wanderer(), manner=Manner(max_tokens=10), seed=seed)
    return list(RandomWalksFeedback(kind=kind, **settings).collect(asking))


def test_they_are_what_they_say() -> None:
    assert isinstance(RandomWalks(), Task)
    assert isinstance(RandomWalks(), Closed)
    assert isinstance(Optimality(), Reward)
    assert isinstance(RandomWalksFeedback(), FeedbackSource)
    assert isinstance(RandomWalksModel(), ModelSource)


def test_the_prompts_are_all_starts_in_every_split() -> None:
    for split in SPLITS:
        assert [prompt.text for prompt in RandomWalks().prompts(split)] == list("bcdefghijklmnopqrstu")
    with pytest.raises(ValueError, match="no split is named 'tset'"):
        RandomWalks().prompts("tset")


def test_the_reward_is_the_optimality_of_prompt_and_reply_together() -> None:
    walks = game(1000).walks[:200]
    prompts, replies = [Prompt.ask(walk[0]) for walk in walks], [Completion(walk[1:]) for walk in walks]
    assert Optimality()(prompts, replies) == [game(1000).optimality(walk) for walk in walks]
    assert Optimality(game=1002)(prompts, replies) == [game(1002).optimality(walk) for walk in walks]


# Feedback ---------------------------------------------------------------------------------------------------------------


def test_the_walks_are_shown_as_they_are() -> None:
    shown = collected("walks")
    assert all(isinstance(record, Demonstration) for record in shown)
    assert tuple(record.prompt.text + record.completion.text for record in shown) == game(1000).walks
    assert all(len(record.prompt.text) == 1 for record in shown)
    assert all(record.completion.finished == (record.completion.text[-1] == GOAL) for record in shown)
    assert {record.provenance.source for record in shown} == {"random-walks"}


def test_the_least_worth_leaves_the_rest_out() -> None:
    assert len(collected("walks", least=1.0)) == 184
    assert all(record.score >= 0.5 for record in collected("ratings", least=0.5))
    with pytest.raises(ValueError, match="least leaves out walks of the thousand"):
        RandomWalksFeedback(kind="pairs", least=1.0)


def test_ratings_are_optimalities() -> None:
    rated = collected("ratings")
    assert all(isinstance(record, Rating) for record in rated)
    assert [record.score for record in rated] == [game(1000).optimality(walk) for walk in game(1000).walks]


def test_of_two_walks_the_better_is_chosen_and_ties_are_dropped() -> None:
    pairs = collected("pairs", pairs=400)
    worth = game(1000).optimality
    assert all(isinstance(pair, Comparison) for pair in pairs)
    assert all(worth(p.prompt.text + p.chosen.text) > worth(p.prompt.text + p.rejected.text) for p in pairs)
    assert 150 < len(pairs) < 320
    assert {pair.prompt.text for pair in pairs} == set(game(1000).starts)
    assert collected("pairs", pairs=400) == pairs
    assert collected("pairs", pairs=400, seed=1) != pairs


def test_as_many_pairs_are_drawn_as_were_asked_for() -> None:
    """47 over 20 starts: the first seven have three, the others two. The policy draws no more than that."""
    drawn = Wanderer().sample([Prompt.ask(s) for s in game(1000).starts], 6, Manner(max_tokens=10, seed=1_000_003))
    worth = game(1000).optimality
    untied = 0
    for place, (start, group) in enumerate(zip(game(1000).starts, drawn, strict=True)):
        worths = [worth(start + reply.text) for reply in group[: 6 if place < 7 else 4]]
        untied += sum(one != two for one, two in zip(worths[::2], worths[1::2], strict=True))
    assert len(collected("pairs", pairs=47)) == untied


def test_pairs_need_somebody_who_writes_them() -> None:
    assert RandomWalksFeedback(kind="pairs").asks == ("policy",)
    assert RandomWalksFeedback(kind="walks").asks == RandomWalksFeedback(kind="ratings").asks == ()
    with pytest.raises(CollectError, match="no policy to write the pairs"):
        list(RandomWalksFeedback(kind="pairs").collect(Asking()))


# The model --------------------------------------------------------------------------------------------------------------


def test_a_letter_is_a_token_and_nothing_is_added() -> None:
    tokenizer = build_tokenizer()
    place = {letter: len(SPECIAL) + number for number, letter in enumerate(LETTERS)}
    assert tokenizer("bcau")["input_ids"] == [place[letter] for letter in "bcau"]
    assert tokenizer("b?z")["input_ids"] == [place["b"], 3, 3]
    assert tokenizer.decode([*tokenizer("bcau")["input_ids"], EOS], skip_special_tokens=True) == "bcau"
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)


def test_only_a_walk_that_arrived_is_written_with_an_end() -> None:
    ids = written(["ba", "bcbcbcbcbc"])
    b, c, a = (len(SPECIAL) + LETTERS.index(letter) for letter in "bca")
    assert ids.tolist() == [[b, a, EOS, *[PAD] * 8], [*[b, c] * 5, PAD]]


def test_the_packed_base_reads_and_writes_letters_alone(cache: Path) -> None:
    base = Base.load(RandomWalksModel(epochs=0).folder(), Loading(quantize="none", template="plain"))
    assert base.packs
    assert base.caches
    assert base.tail_layers == 6
    assert sum(p.numel() for p in base.model.parameters()) == pytest.approx(1.5e6, rel=0.02)
    assert len(base.text.prompt_ids(Prompt.ask("b"))) == 1
    reply = base.text.reply_ids(Completion("ca"))
    assert base.text.said(reply) == "ca"
    assert len(reply) == 3
    assert reply[-1] == EOS
    assert len(base.text.reply_ids(Completion("cb", finished=False))) == 2
    policy = policy_on(base)
    [group] = policy.sample([Prompt.ask("b")], 50, Manner(max_tokens=10))
    assert all(" " not in answer.text and "<" not in answer.text for answer in group)
    forest = base.text.replies([Prompt.ask("b")], [group])
    with torch.no_grad():
        drawn = torch.tensor([logp for answer in group for logp in answer.logps])
        assert torch.allclose(policy.logps(forest), drawn, atol=1e-4)


def test_a_model_is_made_once_for_its_settings_without_a_pickle(cache: Path) -> None:
    first = Path(RandomWalksModel(epochs=0).folder())
    made = (first / "model.safetensors").stat()
    assert Path(RandomWalksModel(epochs=0).folder()) == first
    assert (first / "model.safetensors").stat().st_mtime_ns == made.st_mtime_ns
    other = Path(RandomWalksModel(epochs=0, seed=1).folder())
    assert other != first
    assert (other / "model.safetensors").read_bytes() != (first / "model.safetensors").read_bytes()
    assert sorted(cache.iterdir()) == sorted([first, other])
    assert {path.suffix for path in first.iterdir()} == {".safetensors", ".json"}
    assert len({RandomWalksModel(game=g, epochs=0).folder() for g in (1000, 1002)}) == 2


def test_making_a_model_leaves_torch_as_it_was(cache: Path) -> None:
    torch.manual_seed(5)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        RandomWalksModel(epochs=0).folder()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_cloning_learns_to_walk_and_to_end() -> None:
    """A smaller model, on walks of one kind: what follows is learned, the end too, and what pads is not."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 25, "n_layer": 1, "n_embd": 48, "n_head": 2, "n_positions": 16}
    marks = {"pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}
    model = GPT2LMHeadModel(GPT2Config(**sizes, **marks, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))
    ids = written(["bcba", "cbcbcbcbcb"] * 8)
    learn(model, ids, 60, rate=1e-2)
    with torch.no_grad():
        chances = model(input_ids=ids[:2, :-1], attention_mask=torch.ones_like(ids[:2, :-1])).logits.softmax(-1)
    first = chances[0].gather(1, ids[0, 1:, None])[:, 0]
    assert bool((first[:4] > 0.8).all())  # c, b, a, and the end
    assert float(chances[0, 5:, PAD].max()) < 0.2
    assert float(chances[1, 8, ids[1, 9]]) > 0.8


# In a run ---------------------------------------------------------------------------------------------------------------


def test_the_model_takes_the_seed_of_the_run_and_is_not_made_before_it_is_needed(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "walks.toml"
    file.write_text(RUN)
    plan = read_plan(file, ["seed=3"])
    assert plan.model_part is not None
    assert plan.model_part.made == RandomWalksModel(epochs=0, seed=3)
    assert not cache.exists()
    assert plan.model == RandomWalksModel(epochs=0, seed=3).folder()
    assert plan.table()["model"]["seed"] == 3


def test_a_run_says_that_no_prompt_is_held_out(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "walks.toml"
    file.write_text(RUN)
    said: list[str] = []
    report = Run.open(file, tmp_path / "out", listener=Listener(line=said.append)).report()
    assert "no prompt is held out: the prompts are all the places that there are to begin at" in said
    assert 0.0 <= report.start.mean <= 1.0
