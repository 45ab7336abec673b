"""Folders of finished runs, made without training: what a comparison reads of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import ArrayLike

from alignzoo.lab import store
from alignzoo.lab.compare.played import Played
from alignzoo.records import Completion, Prompt, completion_to_row, prompt_to_row

Score = Callable[[str, int, int], float]
"""(who, number of the prompt, number of the answer) → what the judge said."""


def finished(
    root: Path,
    score: Score,
    *,
    name: str = "run",
    optimizer: str = "optimizer:dpo/dpo",
    seed: int = 0,
    prompts: int = 6,
    n: int = 2,
    text: Callable[[str, int, int], str] = lambda who, prompt, number: f"{who} says {prompt} and {number}",
    kl: float | None = 1.5,
    trail: Sequence[Mapping[str, Any]] = (),
    changes: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
    bounds: Mapping[str, tuple[float, float]] | None = None,
    closed: str = "",
) -> Path:
    """A run whose answers are scored so."""
    files = store.Folder(root)
    settings = {
        "name": name,
        "seed": seed,
        "optimizer": {"use": optimizer, "seed": seed},
        "judge": {"use": "reward:playground/playground-gold"},
        "answer": {"n": n},
        "made_with": {"alignzoo": "0.1.0", "plugins": {optimizer: "sha256:0"}},
        **(changes or {}),
    }
    store.write_text(files.settings, tomli_w.dumps(settings))
    answers, scores = [], []
    for who in ("start", "policy"):
        for place in range(prompts):
            prompt = Prompt.ask(f"question {place}?")
            for number in range(n):
                said = completion_to_row(Completion(text(who, place, number)))
                far = None if kl is None else (kl if who == "policy" else 0.0)
                answers.append({"who": who, "number": number, "prompt": prompt_to_row(prompt), "completion": said, "kl": far})
                given = score(who, place, number)
                scores.append({"who": who, "number": number, "prompt": prompt.id, "score": given, "values": {"kind": -given}})
    store.write_rows(files.answers, answers)
    store.write_rows(files.scores, scores)
    if bounds is not None or closed:
        store.write_json(files.judging, {"bounds": dict(bounds or {}), "closed": closed})
    ledger = {
        "updates": 4,
        "labels": 40,
        "scores": 0,
        "read": 300,
        "written": 100,
        "flops": 2e9,
        "seconds": 5.0,
        "peak_bytes": 1,
    }
    store.write_json(
        files.train.summary, {"ledger": ledger, "stopped": "", "warnings": list(warnings), "optimizer": {"use": optimizer}}
    )
    store.write_rows(
        files.train.updates, [{"update": u, "labels": 10 * u, "flops": 5e8 * u, "seconds": 1.25 * u} for u in range(1, 5)]
    )
    if trail:
        (files.train.folder / "trail.jsonl").write_text("".join(json.dumps(point) + "\n" for point in trail))
    return root


def in_hand(seed: int, score: ArrayLike, *, words: ArrayLike = 1.0, start: ArrayLike = 0.0, **more: Any) -> Played:
    """A run without a folder. `score` has a row for each prompt, with its answers; words and start do, or are one number."""
    table = np.asarray(score, dtype=float)
    figures = {name: np.broadcast_to(np.asarray(given, dtype=float), table.shape) for name, given in
               (("score", table), ("words", words), ("refuses", 0.0), ("ended", 1.0), ("kl", 1.0))}  # fmt: skip
    begun = {**figures, "score": np.broadcast_to(np.asarray(start, dtype=float), table.shape)}
    facts: dict[str, Any] = {
        "prompts": tuple(f"p{place}" for place in range(len(table))),
        "settings": {"judge": {"use": "reward:playground/playground-gold"}},
        "folder": Path(),
        "distinct": (1.0, 1.0),
        "way": (),
        "spent": {},
        "warnings": (),
        "tally": {},
    }
    return Played(seed=seed, start=begun, policy=figures, **{**facts, **more})
