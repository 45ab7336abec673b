"""What may be wrong with the feedback of an offline run, through the command: told before the first pass over it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from alignzoo.cli import main
from alignzoo.interfaces import Lesson, LessonError
from alignzoo.model.base import Base
from alignzoo.model.role import Role, policy_on
from alignzoo.records import Comparison, Completion, Demonstration, Feedback, Prompt, Ranking, Rating, to_json
from alignzoo.seam.discovery import discover
from alignzoo.testing import toy_base, toy_folder

RUN = """
name = "bad"
[task]
use = "playground"
[model]
path = "{model}"
[model.lora]
rank = 2
{feedback}
{optimizer}
[watch]
every = 0
prompts = 2
tokens = 4
[answer]
prompts = 2
[answer.manner]
max_tokens = 4
[judge]
use = "playground-gold"
"""
FILE = '[{table}feedback]\nuse = "file"\ndata.path = "rows.jsonl"'
PAIRED, RATED = ("dpo", "ipo", "orpo", "simpo"), ("kto", "bco", "ilql")
ASKED = [f"is the {thing} {how}" for thing in ("cat", "dog", "bird", "house", "sun", "moon") for how in ("small", "old")]
FOREIGN = Completion("yes please", (100_000, 2))


def compared(**of: Any) -> list[dict[str, Any]]:
    return [{"prompt": asked, "chosen": "yes please", "rejected": "no", **of} for asked in ASKED]


def rated(*scores: float, **of: Any) -> list[dict[str, Any]]:
    return [
        {"prompt": asked, "completion": "yes please", "score": scores[i % len(scores)], **of} for i, asked in enumerate(ASKED)
    ]


def records(make: Callable[[Prompt, int], Feedback]) -> list[str]:
    return [to_json(make(Prompt.ask(asked), number)) for number, asked in enumerate(ASKED)]


Tried = Callable[..., str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture
def tried(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tried:
    """What is said of these rows before anything is read by a role, written by it, or trained."""
    monkeypatch.chdir(tmp_path)
    for asked in ("read", "ends", "sample"):
        monkeypatch.setattr(Role, asked, lambda *given, **named: pytest.fail("a pass was made"))

    def run(name: str, rows: Sequence[dict[str, Any] | str], settings: str = "") -> str:
        (tmp_path / "rows.jsonl").write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        feedback, optimizer = FILE.format(table=""), f'[optimizer]\nuse = "{name}"\n{settings}'
        if name == "reward-model":
            feedback = f'[reward]\nuse = "{name}"\n{settings}\n{FILE.format(table="reward.")}'
            optimizer = '[optimizer]\nuse = "best-of-n"\nn = 2'
        (tmp_path / "bad.toml").write_text(RUN.format(model=model, feedback=feedback, optimizer=optimizer))
        assert main(["run", "bad.toml", "--out", str(tmp_path / str(len(list(tmp_path.iterdir()))))]) == 2
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize(("name", "score"), zip(RATED, (1.0, 0.5, 4.0), strict=True))
def test_ratings_that_are_all_equal(name: str, score: float, tried: Tried) -> None:
    assert f"all 12 ratings are {score:g}: there is nothing to tell" in tried(name, rated(score))


@pytest.mark.parametrize("score", [1.0, 4.0])
def test_a_reward_model_on_ratings_that_are_all_equal(score: float, tried: Tried) -> None:
    said = tried("reward-model", rated(score), 'on = "ratings"\nheld_out = 0.0')
    assert f"every score to learn from is the same on its scale ({score:g}): there is nothing to tell apart" in said


@pytest.mark.parametrize("name", [*PAIRED, "reward-model"])
def test_pairs_with_an_empty_side(name: str, tried: Tried) -> None:
    assert "dropped 'rejected' is empty: 12 (rows.jsonl:1, rows.jsonl:2" in tried(name, compared(rejected=""))


@pytest.mark.parametrize("name", [*PAIRED, "reward-model"])
def test_pairs_in_ids_of_another_tokenizer(name: str, tried: Tried) -> None:
    said = tried(name, records(lambda prompt, _: Comparison(prompt, FOREIGN, Completion("no"))))
    assert "dropped 12: token ids of another tokenizer" in said


@pytest.mark.parametrize("name", RATED)
def test_ratings_in_ids_of_another_tokenizer(name: str, tried: Tried) -> None:
    said = tried(name, records(lambda prompt, number: Rating(prompt, FOREIGN, float(number % 2))))
    assert "dropped 12: token ids of another tokenizer" in said


YES, NO, ASK = Completion("yes please"), Completion("no"), Prompt.ask("why")
ODD = {
    "an empty reply": Completion("", finished=False),
    "an empty reply, blank": Completion(" \n "),
    "token ids of another tokenizer": FOREIGN,
    "token ids of another tokenizer, below nought": Completion("yes please", (-1, 2)),
    "token ids of another tokenizer, of other words": Completion("yes please", (3, 2)),
    "a reply longer than the context": Completion("yes " * 200),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", [*PAIRED, *RATED, "sft", "reward-model", "rankings", "ppo"])
def test_who_calls_an_optimizer_in_python_is_told_of_the_row(name: str, odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is in the lesson, before the first forward pass."""
    for asked in ("read", "ends", "sample"):
        monkeypatch.setattr(Role, asked, lambda *given, **named: pytest.fail("a pass was made"))
    reply = ODD[odd]
    lesson = Lesson(
        prompts=(ASK,),
        demonstrations=[*[Demonstration(ASK, YES)] * 12, Demonstration(ASK, reply)],
        comparisons=[*[Comparison(ASK, YES, NO)] * 12, Comparison(ASK, NO, reply)],
        rankings=[*[Ranking(ASK, (YES, NO))] * 12, Ranking(ASK, (YES, reply))],
        ratings=[*(Rating(Prompt.ask(asked), YES, place % 2) for place, asked in enumerate(ASKED)), Rating(ASK, reply, 1)],
        reward=lambda prompts, completions: [0.0] * len(completions),
    )
    kind = discover().find("optimizer", "reward-model" if name == "rankings" else name).load()
    optimizer = kind(**{"ppo": {"ptx": 1.0}, "rankings": {"on": "rankings"}}.get(name, {}))
    [row] = set(optimizer.needs) - {"prompts", "reward"}
    with pytest.raises(LessonError, match=rf"^{row}\[12\] cannot be learned from: {odd.partition(',')[0]}\. .* begins: 'why'"):
        next(iter(optimizer.improve(policy_on(toy_base()), lesson)))


@pytest.mark.parametrize(
    "name", [*PAIRED, *RATED, "sft", "reward-model", *("ppo", "rloo", "grpo", "reinforce-plus-plus", "nlpo")]
)
def test_a_lesson_without_what_is_needed_is_told_in_python(name: str) -> None:
    optimizer, base = discover().find("optimizer", name).load()(), toy_base()
    for lesson in (Lesson(), Lesson(prompts=(ASK,))):
        lacking = " and ".join(need for need in optimizer.needs if need != "prompts" or not lesson.prompts)
        with pytest.raises(LessonError, match=f"^this run lacks {lacking};"):
            next(iter(optimizer.improve(policy_on(base), lesson)))
    assert base.meter.read == base.meter.written == 0


@pytest.mark.parametrize("name", [*PAIRED, *RATED, "sft", "reward-model", "rloo", "ppo", "online-dpo"])
def test_records_of_another_kind_are_told_in_python(name: str) -> None:
    """Also in a lesson that is right up to there, and for what is a lesson's prompts."""
    shown, asked = Demonstration(ASK, YES), {"prompts": [ASK, "why"], "reward": lambda prompts, completions: [0.0]}
    optimizer, base = discover().find("optimizer", name).load()(), toy_base()
    [row] = set(optimizer.needs) - {"reward"}
    right = {"comparisons": Comparison(ASK, YES, NO), "demonstrations": shown, "ratings": Rating(ASK, YES, 1)}
    wrong = Rating(ASK, YES, 1) if row == "demonstrations" else shown
    lesson = Lesson(**(asked if row == "prompts" else {row: [right[row], wrong]}))  # type: ignore[arg-type]
    told = rf"^{row}\[1\] is a \w+, where a lesson holds {row[:-1].capitalize()} records\. .*Lesson.of"
    with pytest.raises(LessonError, match=told):
        next(iter(optimizer.improve(policy_on(base), lesson)))
    assert base.meter.read == base.meter.written == 0


@pytest.mark.parametrize("name", [*PAIRED, "reward-model"])
def test_pairs_that_are_all_ties(name: str, tried: Tried) -> None:
    assert "all 12 comparisons that can be used are ties (strength 0.5): they prefer nothing" in tried(
        name, compared(strength=0.5)
    )


TEACHES_NOTHING: list[tuple[str, str, Sequence[dict[str, Any] | str], str]] = [
    *((name, "", compared(strength=0.5), "all 12 comparisons that can be used are ties") for name in (*PAIRED, "reward-model")),
    *((name, "", rated(1.0), "all 12 ratings are 1: there is nothing to tell") for name in RATED),
    *(
        (name, "", rated(0.8, 1.0), "Answers that are all good can be learned from as demonstrations")
        for name in ("kto", "bco")
    ),
    ("kto", "", rated(1, 5), "the scores run from 1 to 5"),
    ("kto", "", [dict(row, prompt="why") for row in rated(0, 1) if isinstance(row, dict)], "all ratings are of one prompt"),
    ("reward-model", 'on = "ratings"', rated(4.0), "every score to learn from is the same on its scale (4)"),
]


@pytest.mark.parametrize(("name", "settings", "rows", "why"), TEACHES_NOTHING)
def test_feedback_that_teaches_nothing_is_refused_before_a_model_is_loaded(
    name: str, settings: str, rows: Sequence[dict[str, Any] | str], why: str, tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Base, "load", lambda *given, **named: pytest.fail("a model was loaded"))
    said = tried(name, rows, settings)
    place = "reward.feedback" if name == "reward-model" else "feedback"
    assert said.splitlines()[-1].startswith(f"alignzoo: {place}: optimizer:")
    assert f"{name} can learn nothing from what feedback:preference_sets/file gave: " in said
    assert why in said


def test_records_of_another_kind_than_the_source_might_have_given(tried: Tried, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of records may hold any: what it does hold is known when it is read."""
    monkeypatch.setattr(Base, "load", lambda *given, **named: pytest.fail("a model was loaded"))
    said = tried("dpo", records(lambda prompt, number: Rating(prompt, YES, float(number % 2))))
    assert (
        "dpo can learn nothing from what feedback:preference_sets/file gave: this run lacks comparisons; it has ratings" in said
    )


@pytest.mark.parametrize("name", ["dpo", "orpo", "reward-model"])
def test_ratings_where_pairs_are_needed(name: str, tried: Tried) -> None:
    assert "needs comparisons, but feedback:preference_sets/file as it is set gives rating" in tried(name, rated(0, 1))


@pytest.mark.parametrize("name", ["kto", "bco"])
def test_thumbs_that_point_one_way_and_scores_that_are_no_thumbs(name: str, tried: Tried) -> None:
    assert "are all thumbs up: both sides are needed" in tried(name, rated(0.8, 1.0))
    assert "the scores run from 1 to 5, and a thumb is 1 (up) or 0 (down): set threshold" in tried(name, rated(1, 5))


def test_what_kto_cannot_measure_its_point_of_reference_on(tried: Tried) -> None:
    assert 'all ratings are of one prompt, so no answer is mismatched; use baseline = "none"' in tried(
        "kto", rated(0, 1, prompt="is the cat small")
    )
    said = tried("kto", rated(0, 1), 'batch_size = 1\nbaseline = "neighbours"')
    assert "12 ratings in batches of 1 leave a batch of one, which has no neighbour" in said
