"""Prompts of one's own, from a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignzoo.lab.store import StoreError
from alignzoo.records import Prompt, RecordError, prompt_from_row
from alignzoo.rows import FORMATS, Fault, format_of, rows_in


def read_prompts(path: Path) -> list[Prompt]:
    """Prompts from JSON lines: "prompt", a text, or "turns", a list of speaker and text. Nothing is passed over: a prompt that
    cannot be read would not be missed."""
    prompts = []
    for place, row in rows_in(path, "" if format_of(path) in FORMATS else ".jsonl"):
        where = path.with_name(place)
        if isinstance(row, Fault):
            raise StoreError(f"{where}: {row.reason}; mend this line, or delete it")
        try:
            prompts.append(_prompt(row))
        except RecordError as error:
            raise StoreError(f"{where}: {error}") from None
    if not prompts:
        raise StoreError(f"{path} holds no prompt")
    return prompts


def _prompt(row: Mapping[str, Any]) -> Prompt:
    if isinstance(row.get("prompt"), str):
        prompt = Prompt.ask(row["prompt"])
    elif isinstance(row.get("turns"), list):
        prompt = prompt_from_row({"turns": row["turns"]})
    else:
        raise RecordError('a row needs "prompt" (a text) or "turns" (a list)')
    if not prompt.text.strip():
        raise RecordError("the prompt is empty")
    if any("\ud800" <= letter <= "\udfff" for turn in prompt.turns for letter in turn.text):
        raise RecordError("the prompt holds half of a surrogate pair, which is no text")
    return prompt
