"""What a comparison reads of finished runs: scores, values and side effects of every answer, and the way that training took."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alignzoo.lab import store
from alignzoo.lab.compare.significance import SHARE, Bounds

Answers = NDArray[np.float64]
"""(prompts, answers to each) One figure of every answer."""

Row = tuple[Mapping[str, Any], Mapping[str, Any]]
"""An answer, and what the judge says of it."""
Words = Sequence[str]
"""Those of an answer."""

WHO = ("start", "policy")
REFUSES = re.compile(r"\W*(sorry|i'?m sorry|i am sorry|i can'?t|i cannot|i won'?t|i will not|i'?m unable|i am unable)\b", re.I)
"""How an answer begins that declines. A rough sign: it finds what says so at once, in English."""


@dataclass(frozen=True)
class Played:
    """One finished run. Every figure is kept under its name: "score", "value: …", "words", "refuses", "ended", and "kl"
    where it is known."""

    seed: int
    folder: Path
    prompts: tuple[str, ...]
    """Ids, in the order of the rows of every table."""
    start: Mapping[str, Answers]
    policy: Mapping[str, Answers]
    distinct: tuple[float, float]
    """Share of different pairs of words among all of them, of start and policy: 1 if no two answers share one."""
    way: tuple[Mapping[str, Any], ...]
    """Points (update, kl, proxy, gold; labels, flops and seconds so far) that the training left, the start's first."""
    settings: Mapping[str, Any]
    spent: Mapping[str, float]
    warnings: tuple[str, ...]
    tally: Mapping[str, Any]
    """What the source of its feedback read, kept and dropped."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    """What it was trained on; empty for runs of before that was kept."""
    bounds: Mapping[str, Bounds] = field(default_factory=dict)
    """What each figure lies between, where that is known."""
    closed: str = ""
    """Why the prompts are all that there are; empty where others could have been asked."""
    learned: Mapping[str, int] = field(default_factory=dict)
    """Judgements that were learned from, by group of annotators."""
    opinions: tuple[Mapping[str, Any], ...] = ()
    """How far the policy agrees with each choice that was held back from it (`lab.opinions`)."""

    def on(self, prompts: Sequence[str]) -> Played:
        """The same run, with these of its prompts alone, in this order."""
        if self.prompts == tuple(prompts):
            return self
        place = {prompt: row for row, prompt in enumerate(self.prompts)}
        rows = [place[prompt] for prompt in prompts]
        start, policy = ({name: table[rows] for name, table in figures.items()} for figures in (self.start, self.policy))
        return replace(self, prompts=tuple(prompts), start=start, policy=policy)

    @property
    def values(self) -> list[str]:
        return [name for name in self.policy if name.startswith("value: ")]


@store.uncollected()
def played(root: Path) -> Played:
    """Read a run's folder; it must be judged."""
    files = store.Folder(root)
    settings = store.read_settings(files)
    if not files.scores.exists():
        raise store.StoreError(f"{root} is not judged yet; go on with: alignzoo run {root}")
    answers, scores = store.read_rows(files.answers), store.read_rows(files.scores)
    if len(answers) != len(scores):
        raise store.StoreError(f"{files.scores} has {len(scores)} rows for {len(answers)} answers; delete it and judge again")
    order = tuple(dict.fromkeys(row["prompt"] for row in scores))
    both = list(zip(answers, scores, strict=True))
    sides = {who: [(answer, score) for answer, score in both if score["who"] == who] for who in WHO}
    said = {who: [answer["completion"]["text"].split() for answer, _ in rows] for who, rows in sides.items()}
    firsts = {who: [words for (row, _), words in zip(sides[who], said[who], strict=True) if row["number"] == 0] for who in WHO}
    tables = {who: _tables(rows, said[who], order, root) for who, rows in sides.items()}
    summary = store.read_summary(files.train)
    tally = store.tally_beside(files.feedback)
    judging = store.read_json(files.judging) if files.judging.exists() else {}
    return Played(
        seed=settings.get("seed", 0),
        folder=root,
        prompts=order,
        start=tables["start"],
        policy=tables["policy"],
        distinct=(_distinct(firsts["start"]), _distinct(firsts["policy"])),
        way=tuple(_way(files)),
        settings=settings,
        spent=summary["ledger"],
        warnings=tuple(summary.get("warnings", ())),
        tally=store.read_json(tally) if tally.exists() else {},
        machine=summary.get("machine", {}),
        bounds=_bounds(judging.get("bounds", {})),
        closed=judging.get("closed", ""),
        learned=store.groups_in(store.learned_from(files)),
        opinions=tuple(store.read_rows(files.opinions)) if files.opinions.exists() else (),
    )


def _bounds(judged: Mapping[str, Sequence[float]]) -> dict[str, Bounds]:
    """What figures lie between: shares and counts by their nature, scores and values by the word of their judge."""
    told = {name if name == "score" else f"value: {name}": (least, most) for name, (least, most) in judged.items()}
    return {"words": (0.0, math.inf), "kl": (0.0, math.inf), "refuses": SHARE, "ended": SHARE, **told}


def _tables(rows: Sequence[Row], said: Sequence[Words], order: Sequence[str], root: Path) -> dict[str, Answers]:
    """Each figure of one party's answers: prompts in this order, their answers as they came."""
    place = {prompt: number for number, prompt in enumerate(order)}
    at = np.array([place[score["prompt"]] for _, score in rows], dtype=int)
    if len(set(np.bincount(at, minlength=len(order)))) != 1:
        raise store.StoreError(f"{root}: start and policy did not answer the same prompts equally often; delete its answers")
    first = rows[0]
    try:
        columns: dict[str, list[float]] = {
            "score": [score["score"] for _, score in rows],
            **{f"value: {name}": [score["values"][name] for _, score in rows] for name in first[1]["values"]},
            "words": [len(words) for words in said],
            "refuses": [bool(REFUSES.match(answer["completion"]["text"])) for answer, _ in rows],
            "ended": [bool(answer["completion"].get("finished", True)) for answer, _ in rows],
        }
        if first[0]["kl"] is not None:
            columns["kl"] = [answer["kl"] for answer, _ in rows]
        by_prompt = np.argsort(at, kind="stable").reshape(len(order), -1)
        tables = {name: np.array(column, dtype=float)[by_prompt] for name, column in columns.items()}
    except (KeyError, TypeError) as gone:
        raise store.StoreError(f"{root}: an answer lacks a figure ({gone}); delete its scores and judge again") from None
    if not all(np.isfinite(table).all() for name, table in tables.items() if name == "score" or name.startswith("value: ")):
        raise store.StoreError(f"{root}: an answer's score is no number; delete its scores and judge again")
    return tables


def _distinct(firsts: Sequence[Words]) -> float:
    """Of each prompt's first answer: more answers to one prompt resemble each other for another reason."""
    whole = list(chain.from_iterable(firsts))
    number = {word: place for place, word in enumerate(set(whole))}
    ids = np.fromiter(map(number.__getitem__, whole), np.int64, len(whole))
    ends = np.cumsum([len(words) for words in firsts if words])
    pairs = np.delete(ids[:-1] * len(number) + ids[1:], ends[:-1] - 1) if len(ids) else ids
    return float(1 + np.count_nonzero(np.diff(np.sort(pairs)))) / len(pairs) if len(pairs) else 1.0


def _way(files: store.Folder) -> Iterator[dict[str, Any]]:
    trail = files.train.folder / "trail.jsonl"
    if not trail.exists():
        return
    spent = {row["update"]: row for row in store.read_rows(files.train.updates)} if files.train.updates.exists() else {}
    for point in store.read_rows(trail):
        update = spent.get(point["update"], {})
        costs = {name: float(update.get(name, 0.0)) for name in ("labels", "flops", "seconds")}
        yield {**point, **costs}
