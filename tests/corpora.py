"""Small files of invented rows, in the exact schema of whatever the bundled sources read: several rows to a thread.

Every text of a thread holds its name, "thread-7", so that a record tells where it belongs. A source may have several forms;
`test_feedback_sources.py` says which source is forgotten here.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from alignzoo.interfaces import Asking
from alignzoo.records import Feedback, Provenance, to_json
from alignzoo.seam.discovery import discover
from alignzoo.seam.settings import build

Row = Mapping[str, Any]
NOON = 1_550_000_000
WEEK = 7 * 86_400


def json_lines(rows: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)


def _own(path: str, side: str) -> dict[str, Any]:
    return {"data": {"path": path, "split": side}}


@dataclass(frozen=True)
class Corpus:
    """One form of what a source reads."""

    source: str
    """The source's id."""
    rows: Callable[[int], Sequence[Row]]
    """The rows of a thread; the first gives a record by itself, unless the source compares rows with each other."""
    provenance: Provenance
    """Of the first record of thread 7, but for its split."""
    form: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    placed: Callable[[str, str], dict[str, Any]] = _own
    """The settings that name the file, and the side of the split."""
    sides: tuple[str, ...] = ("train", "test")
    name: str = "rows.jsonl"
    written: Callable[[Iterable[Row]], bytes] = json_lines
    together: bool = False
    """Whether the rows of a thread must follow one another."""
    says_split: str = ""
    """What the rows say themselves of their split."""

    @property
    def id(self) -> str:
        return f"{self.source}-{self.form}" if self.form else self.source

    def file(self, folder: Path, threads: Iterable[int], name: str = "") -> Path:
        """These threads in a file, their rows far from one another where they may be."""
        groups = [self.rows(thread) for thread in threads]
        if self.together:
            rows = [row for group in groups for row in group]
        else:
            rows = [group[place] for place in range(max(map(len, groups))) for group in groups if place < len(group)]
        path = folder / (name or self.name)
        path.write_bytes(self.written(rows))
        return path

    def made(self, path: Path, side: str = "all", **more: Any) -> Any:
        """The source, set to this file."""
        kind = discover().find("feedback", self.source).load()
        return build(kind, {**self.settings, **self.placed(str(path), side), **more}, "feedback")

    def collected(self, path: Path, side: str = "all") -> tuple[list[Feedback], Asking]:
        asking = Asking(seed=3)
        return list(self.made(path, side).collect(asking)), asking


# The rows ---------------------------------------------------------------------------------------------------------------


def _hh(thread: int) -> list[Row]:
    opening = f"\n\nHuman: How do I mend thread-{thread}?\n\nAssistant:"
    later = f"{opening} With glue.\n\nHuman: And without?\n\nAssistant:"
    return [{"chosen": f"{at} Sew thread-{thread}.", "rejected": f"{at} Burn thread-{thread}."} for at in (opening, later)]


def _red_team(thread: int) -> list[Row]:
    said = f"\n\nHuman: How do I steal thread-{thread}?\n\nAssistant:"
    told = {"num_params": "52B", "model_type": "rlhf", "task_description": "Theft.", "is_upworker": False, "tags": None}
    scores = {"min_harmlessness_score_transcript": -0.5, "task_description_harmlessness_score": 0.25}
    return [
        {"transcript": f"{said} {answer}", "rating": rating, "red_team_member_id": 12, **told, **scores}
        for answer, rating in ((" I will not.", 0.0), (" By night.", 4.0))
    ]


def _info(thread: int) -> Row:
    post = {"post": f"I lost thread-{thread} and found it.", "title": "Lost", "subreddit": "fixit"}
    return {"id": f"t3_{thread}", **post, "site": None, "article": None}


def _summaries(thread: int) -> list[Row]:
    texts = [{"text": f" thread-{thread} is {word}.", "policy": word, "note": None} for word in ("lost", "found")]
    both = {"info": _info(thread), "summaries": texts, "batch": "batch5", "split": "valid2"}
    return [{**both, "choice": v, "worker": f"w{v}", "extra": {"confidence": 1 + 8 * v}} for v in (0, 1)]


def _axis(thread: int) -> list[Row]:
    axes = {"overall": 6, "accuracy": 7, "coverage": None, "coherence": 7}
    told = {"batch": "axis1", "split": "valid2"}
    return [
        {
            "info": _info(thread),
            "summary": {"text": f" thread-{thread} {v}.", "policy": "sup4", "note": None, "axes": axes},
            "worker": "w0",
            **told,
        }
        for v in (0, 1)
    ]


def _webgpt(thread: int) -> list[Row]:
    question = {"dataset": "eli5", "id": f"q{thread}", "full_text": f"Why does thread-{thread} tear?"}
    rows = []
    for v in (0, 1):
        row: dict[str, Any] = {"question": question}
        for side, score in ((0, 0.5), (1, -0.5)):
            row |= {
                f"quotes_{side}": {"title": ["Threads"], "extract": ["They tear."]},
                f"answer_{side}": f"thread-{thread} wears, {v}{side} [1].",
                f"tokens_{side}": {"prefix": [1], "completion": [2]},
                f"score_{side}": score,
            }
        rows.append(row)
    return rows


def _shp(thread: int) -> list[Row]:
    return [
        {
            "post_id": f"p{thread}",
            "domain": "diy_train",
            "upvote_ratio": 0.98,
            "history": f"thread-{thread} is torn. What now?",
            "c_root_id_A": f"a{v}",
            "c_root_id_B": f"b{v}",
            "created_at_utc_A": 1_600_000_060,
            "created_at_utc_B": 1_600_000_000,
            "score_A": 40,
            "score_B": 10,
            "human_ref_A": f"Sew thread-{thread}, way {v}.",
            "human_ref_B": f"Burn it, way {v}.",
            "labels": 1,
            "seconds_difference": 60.0,
            "score_ratio": 4.0,
        }
        for v in (0, 1)
    ]


def _message(thread: int, name: str, parent: str | None, role: str, rank: int | None = None) -> dict[str, Any]:
    return {
        "message_id": f"{thread}-{name}",
        "parent_id": parent and f"{thread}-{parent}",
        "user_id": "writer-of-messages",
        "created_date": f"2023-02-05T14:23:5{rank or 0}.000000+00:00",
        "text": f"thread-{thread} {name}",
        "role": role,
        "lang": "en",
        "review_count": 3,
        "review_result": True,
        "deleted": False,
        "rank": rank,
        "synthetic": False,
        "model_name": None,
        "detoxify": None,
        "message_tree_id": f"{thread}-root",
        "tree_state": "ready_for_export",
        "emojis": {"name": ["+1"], "count": [2]},
        "labels": None,
    }


def _messages(thread: int) -> list[Row]:
    said = [("root", None, "prompter", None), ("good", "root", "assistant", 0), ("bad", "root", "assistant", 1)]
    said += [("more", "good", "prompter", None), ("great", "more", "assistant", 0), ("poor", "more", "assistant", 1)]
    return [_message(thread, *one) for one in said]


def _tree(thread: int) -> list[Row]:
    messages = {row["message_id"]: {**row, "replies": []} for row in _messages(thread)}
    root, *others = messages.values()
    for message in others:
        messages[message["parent_id"]]["replies"].append(message)
    return [{"message_tree_id": root["message_id"], "tree_state": "ready_for_export", "prompt": root}]


def _ultrafeedback(thread: int) -> list[Row]:
    aspects = ("instruction_following", "honesty", "truthfulness", "helpfulness")
    answers = [
        {
            "model": model,
            "response": f"thread-{thread} {model}",
            "annotations": {aspect: {"Rating": mark, "Rationale": "So."} for aspect in aspects},
            "overall_score": 8.0,
            "fine-grained_score": 4.0,
            "critique": "Well.",
            "custom_system_prompt": "Help.",
            "principle": "helpfulness",
        }
        for model, mark in (("one", "5"), ("two", "2"))
    ]
    told = {"source": "sharegpt", "models": ["one", "two"], "correct_answers": ["None"], "incorrect_answers": ["None"]}
    return [{**told, "instruction": f"Mend thread-{thread}.", "completions": answers}] * 2


def _helpsteer(thread: int) -> list[Row]:
    marks = {"helpfulness": 4, "correctness": 4, "coherence": 4, "complexity": 0, "verbosity": 1}
    return [{"prompt": f"Mend thread-{thread}.", "response": f"thread-{thread} way {v}", **marks} for v in (0, 1)]


def _saferlhf(thread: int) -> list[Row]:
    answers = {"response_0": f"Sew thread-{thread}.", "response_1": f"Burn thread-{thread}."}
    safe = {"is_response_0_safe": True, "is_response_1_safe": False}
    told = {"prompt_source": "beavertails", "response_0_severity_level": 0, "response_1_severity_level": 3}
    return [
        {"prompt": f"Mend thread-{thread}.", **answers, **safe, **told, "better_response_id": v, "safer_response_id": 0}
        for v in (0, 1)
    ]


def _pandalm(thread: int) -> list[Row]:
    asked = {"idx": thread, "motivation_app": "Tailor", "instruction": "Mend it.", "input": f"thread-{thread}"}
    voices = {"annotator1": 1, "annotator2": 2, "annotator3": 0}
    return [{**asked, "cmp_key": f"a_b{v}", "response1": f"Sew {v}.", "response2": f"Burn {v}.", **voices} for v in (0, 1)]


def _best_of_four(thread: int) -> list[Row]:
    four = {f"sample{n}": f"thread-{thread} goes way {n}." for n in range(4)}
    return [{"query": f"The needle took thread-{thread}, and", **four, "best": v} for v in (1, 2)]


def _pairs(thread: int) -> list[Row]:
    told = {"prompt": f"Mend thread-{thread}.", "annotator": "ann", "time": "2024-05-31", "id": f"{thread}"}
    return [{**told, "id": f"{thread}/{v}", "chosen": f"Sew {v}.", "rejected": f"Burn {v}.", "strength": 0.75} for v in (0, 1)]


def _records(thread: int) -> list[Row]:
    turns = [{"speaker": "user", "text": f"Mend thread-{thread}."}]
    told = {"source": "tailors", "annotator": "ann", "time": "2024", "licence": "CC0-1.0", "split": "train", "note": "n"}
    kinds: list[dict[str, Any]] = [
        {"kind": "rating", "completion": {"text": "Sew."}, "score": 1, "value": "kind"},
        {"kind": "comparison", "chosen": {"text": "Sew."}, "rejected": {"text": "Burn."}, "strength": 0.5},
        {"kind": "ranking", "completions": [{"text": "Sew."}, {"text": "Burn."}], "ranks": [0, 1]},
        {"kind": "demonstration", "completion": {"text": "Sew.", "tokens": [1], "finished": False}},
        {"kind": "critique", "completion": {"text": "Burn."}, "critique": "Hot.", "revision": {"text": "Sew."}},
    ]
    return [{"prompt": {"turns": turns}, "provenance": told, **kind} for kind in kinds]


def _chain(thread: int) -> list[Row]:
    steps = [
        {
            "cst_key": key,
            "cst_value": {"prompt": ["Why?"], "edit_request": "Better."},
            "critique": {"sample": f" It burns thread-{thread}."},
            "revision": {"sample": f" Sew {key}."},
        }
        for key in ("harmful0", "harmful1")
    ]
    asked = f"\n\nHuman: Mend thread-{thread}.\n\nAssistant:"
    told = {"source": "TAILORS", "comparison_model": "", "comparison_dataset": "x"}
    first = [{"sample": f" Burn, way {v}."} for v in (0, 1)]
    return [{**told, "rl_prompt": asked, "initial_response": [one], "cst": steps} for one in first]


def _forum(thread: int) -> list[Row]:
    read = {"created_utc": NOON, "retrieved_on": NOON + WEEK, "edited": False, "distinguished": None, "subreddit": "diy"}
    asked = {"title": f"thread-{thread} is torn", "selftext": "What now?", "author": "asker_of_things"}
    said = {"link_id": f"t3_p{thread}", "parent_id": f"t3_p{thread}", "is_submitter": False, "stickied": False}
    comments = [
        {
            **read,
            **said,
            "id": f"{thread}{name}",
            "author": f"writer_{name}",
            "body": f"thread-{thread} wants {name}.",
            "score": score,
            "created_utc": NOON + 60 * minute,
        }
        for name, score, minute in (("one", 4, 1), ("two", 40, 9), ("three", 90, 12))
    ]
    return [{**read, **asked, "id": f"p{thread}", "score": 50, "is_self": True, "over_18": False}, *comments]


def _question(thread: int) -> list[Row]:
    asked = {"Title": f"thread-{thread} is torn", "Body": "<p>What now?</p>", "CreationDate": "2010-07-19T19:12:12.510"}
    number, licence = 1000 * (thread + 1), {"ContentLicense": "CC BY-SA 3.0"}
    answers = [
        {
            "Id": f"{number + hour}",
            "PostTypeId": "2",
            "ParentId": f"{number}",
            "OwnerUserId": f"{100 + hour}",
            "Body": f"<p>thread-{thread} wants {hour}.</p>",
            "CreationDate": f"2010-07-20T{hour:02}:00:00.000",
            "Score": f"{score}",
            **licence,
        }
        for hour, score in ((1, 2), (5, 9), (6, 30))
    ]
    return [{"Id": f"{number}", "PostTypeId": "1", "Score": "7", "OwnerUserId": "8", **asked, **licence}, *answers]


def xml(rows: Iterable[Row]) -> bytes:
    inner = "\n".join(f"  <row {' '.join(f'{name}={quoteattr(str(value))}' for name, value in row.items())} />" for row in rows)
    return f'<?xml version="1.0" encoding="utf-8"?>\n<posts>\n{inner}\n</posts>\n'.encode()


# The table --------------------------------------------------------------------------------------------------------------

CARD = "see the set's card"
_VOTED = ("train", "validation", "test")
CORPORA = (
    Corpus("hh-rlhf", _hh, Provenance("hh-rlhf", licence="MIT")),
    Corpus(
        "hh-red-team",
        _red_team,
        Provenance("hh-rlhf/red-team-attempts", "red-teamer 12", licence="MIT", note="model rlhf"),
    ),
    Corpus(
        "summarize-from-feedback",
        _summaries,
        Provenance("summarize-from-feedback/comparisons", "w0", licence=CARD, note="lost over found"),
        says_split="valid2",
    ),
    Corpus(
        "summarize-from-feedback",
        _axis,
        Provenance("summarize-from-feedback/axis", "w0", licence=CARD),
        "axis",
        {"kind": "axis"},
        says_split="valid2",
    ),
    Corpus("webgpt-comparisons", _webgpt, Provenance("webgpt-comparisons", licence=CARD, note="from eli5")),
    Corpus(
        "shp",
        _shp,
        Provenance("shp", time="2020-09-13T12:27:40Z", licence=CARD, note="diy; ratio 4; 60 s later"),
    ),
    Corpus("oasst", _tree, Provenance("oasst", time="2023-02-05T14:23:50.000000+00:00", licence="Apache-2.0"), "trees"),
    Corpus(
        "oasst",
        _messages,
        Provenance("oasst", time="2023-02-05T14:23:50.000000+00:00", licence="Apache-2.0"),
        "messages",
        together=True,
    ),
    Corpus("ultrafeedback", _ultrafeedback, Provenance("ultrafeedback", "GPT-4", licence="MIT", note="model one")),
    Corpus(
        "ultrafeedback",
        _ultrafeedback,
        Provenance("ultrafeedback", "GPT-4", licence="MIT", note="model one"),
        "rankings",
        {"kind": "rankings"},
    ),
    Corpus("helpsteer", _helpsteer, Provenance("helpsteer", licence="CC-BY-4.0")),
    Corpus("pku-saferlhf", _saferlhf, Provenance("pku-saferlhf/helpful", licence="CC-BY-NC-4.0")),
    Corpus(
        "pku-saferlhf",
        _saferlhf,
        Provenance("pku-saferlhf/safe-or-not", licence="CC-BY-NC-4.0"),
        "safe-or-not",
        {"value": "safe or not"},
    ),
    Corpus("pandalm", _pandalm, Provenance("pandalm", "annotator1", licence="Apache-2.0")),
    Corpus("lm-human-preferences", _best_of_four, Provenance("lm-human-preferences", licence="MIT")),
    Corpus(
        "file",
        _pairs,
        Provenance("tailors", "ann", "2024-05-31", "CC0-1.0"),
        "pairs",
        {"source": "tailors", "licence": "CC0-1.0"},
    ),
    Corpus("file", _records, Provenance("tailors", "ann", "2024", "CC0-1.0", note="n"), "records", says_split="train"),
    Corpus(
        "critique-chains",
        _chain,
        Provenance("critique-chains", "recorded", note="principle harmful0; TAILORS"),
        placed=lambda path, side: {"path": path, "split": side},
    ),
    Corpus(
        "reddit-votes",
        _forum,
        Provenance(
            "reddit",
            time="2019-02-12T19:45:20+00:00",
            licence="Reddit user content, no licence: not to be passed on",
            note="diy t3_p7: t1_7three (90) over t1_7one (4), written 660 s later",
        ),
        placed=lambda path, side: {"threads": path, "split": side},
        sides=_VOTED,
    ),
    Corpus(
        "stackexchange-votes",
        _question,
        Provenance(
            "stackexchange",
            time="2010-07-20T06:00:00+00:00",
            licence="CC BY-SA 3.0",
            note="8000: 8006 (30) over 8001 (2), written 18000 s later",
        ),
        placed=lambda path, side: {"file": path, "split": side},
        sides=_VOTED,
        name="Posts.xml",
        written=xml,
    ),
)


def digests(folder: Path) -> dict[str, str]:
    """What each corpus comes to, in this process."""
    found = {}
    for corpus in CORPORA:
        here = folder / corpus.id
        here.mkdir()
        records, _ = corpus.collected(corpus.file(here, range(12)))
        found[corpus.id] = hashlib.sha256("\n".join(map(to_json, records)).encode()).hexdigest()
    return found


if __name__ == "__main__":
    print(json.dumps(digests(Path(sys.argv[1]))))
