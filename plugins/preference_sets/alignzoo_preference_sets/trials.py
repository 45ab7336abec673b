"""How the conformance kit tries the sources: each on a small file of invented rows, in the form in which its set is published.
A question is asked in two rows, so that a split by rows would show."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from alignzoo.testing import Trial

QUESTIONS = tuple(
    f"How do I mend a broken {thing}?" for thing in "chair cup kite boat clock fence lamp wheel sled drum".split()
)
FILE = "rows.jsonl"
Rows = Iterable[Mapping[str, Any]]


def trial(rows: Callable[[str, int], Mapping[str, Any]], **settings: Any) -> Trial:
    """Two rows for each question."""
    lines = [json.dumps(rows(question, place)) for question in QUESTIONS for place in (0, 1)]
    return Trial(settings={"data": {"path": FILE}, **settings}, files={FILE: "\n".join(lines) + "\n"})


def _pair(question: str, place: int) -> Mapping[str, Any]:
    return {"prompt": question, "chosen": f"Glue it, way {place}.", "rejected": f"Burn it, way {place}."}


def _dialogues(question: str, place: int) -> Mapping[str, Any]:
    opening = f"\n\nHuman: {question}\n\nAssistant:"
    return {"chosen": f"{opening} Glue it, way {place}.", "rejected": f"{opening} Burn it, way {place}."}


def _attack(question: str, place: int) -> Mapping[str, Any]:
    said = f"\n\nHuman: {question}\n\nAssistant: Glue it, way {place}."
    return {"transcript": said, "rating": place, "red_team_member_id": 7, "model_type": "plain lm"}


def _summaries(question: str, place: int) -> Mapping[str, Any]:
    return {
        "info": {"id": question, "post": question, "title": "Mending", "subreddit": "fixit"},
        "summaries": [{"text": f" Mend it {place}.", "policy": "a"}, {"text": f" Not {place}.", "policy": "b"}],
        "choice": place,
        "worker": "w1",
        "split": "train",
        "extra": {"confidence": 1 + 8 * place},
    }


def _browsed(question: str, place: int) -> Mapping[str, Any]:
    quotes = {f"quotes_{side}": {"title": ["Mending"], "extract": ["Glue holds."]} for side in (0, 1)}
    answers = {"answer_0": f"Glue it {place} [1].", "answer_1": f"Burn it {place}.", "score_0": 0.5, "score_1": -0.5}
    return {"question": {"dataset": "eli5", "id": question, "full_text": question}, **quotes, **answers}


def _voted(question: str, place: int) -> Mapping[str, Any]:
    return {
        "post_id": question,
        "domain": "diy_train",
        "history": question,
        "human_ref_A": f"Glue it {place}.",
        "human_ref_B": f"Burn it {place}.",
        "score_A": 40,
        "score_B": 10,
        "created_at_utc_A": 1_600_000_060,
        "created_at_utc_B": 1_600_000_000,
        "labels": 1,
        "seconds_difference": 60.0,
        "score_ratio": 4.0,
    }


def _tree(question: str, place: int) -> Mapping[str, Any]:
    root = {"message_id": question, "text": question, "role": "prompter", "lang": "en"}
    texts = (f"Glue it {place}.", f"Burn it {place}.")
    replies = [
        {"message_id": text, "text": text, "role": "assistant", "rank": rank, "lang": "en", "replies": []}
        for rank, text in enumerate(texts)
    ]
    return {"message_tree_id": question, "tree_state": "ready_for_export", "prompt": {**root, "replies": replies}}


def _marked(question: str, place: int) -> Mapping[str, Any]:
    names = ("instruction_following", "honesty", "truthfulness", "helpfulness")
    answers = [
        {"model": "m", "response": f"{way} it {place}.", "annotations": {name: {"Rating": mark} for name in names}}
        for way, mark in (("Glue", "5"), ("Burn", "2"))
    ]
    return {"instruction": question, "completions": answers}


def _steered(question: str, place: int) -> Mapping[str, Any]:
    return {"prompt": question, "response": f"Glue it {place}.", "helpfulness": 4 - place, "verbosity": 1}


def _safer(question: str, place: int) -> Mapping[str, Any]:
    answers = {"response_0": f"Glue it {place}.", "response_1": f"Burn it {place}."}
    safe = {"is_response_0_safe": True, "is_response_1_safe": False}
    return {"prompt": question, **answers, **safe, "better_response_id": 0, "safer_response_id": 0}


def _panda(question: str, place: int) -> Mapping[str, Any]:
    voices = {"annotator1": 1, "annotator2": 1, "annotator3": 2}
    return {"instruction": question, "input": "", "response1": f"Glue it {place}.", "response2": f"Burn it {place}.", **voices}


def _four(question: str, place: int) -> Mapping[str, Any]:
    return {"query": question, **{f"sample{n}": f"Way {n}, {place}." for n in range(4)}, "best": 2}


file = trial(_pair)
hh = trial(_dialogues)
red_team = trial(_attack)
summaries = trial(_summaries)
webgpt = trial(_browsed)
shp = trial(_voted)
oasst = trial(_tree)
ultrafeedback = trial(_marked)
helpsteer = trial(_steered)
saferlhf = trial(_safer)
pandalm = trial(_panda)
lm_human_preferences = trial(_four)
