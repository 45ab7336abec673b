"""The prompts that start and policy are asked: a task's, or one's own from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignzoo.lab.plan import Plan
from alignzoo.lab.store import StoreError
from alignzoo.records import Prompt, RecordError, is_whole, prompt_from_row
from alignzoo.rows import Fault, rows_in


def prompts_of(plan: Plan) -> Sequence[Prompt]:
    """Those that a run is judged on, each once: a second time it would be answered alike."""
    how = plan.answer
    if how.file:
        prompts: Sequence[Prompt] = read_prompts(Path(how.file))
    else:
        assert plan.task is not None  # the plan was checked
        prompts = plan.task.made.prompts(how.split)
    return list({prompt.id: prompt for prompt in prompts}.values())[: how.prompts]


def read_prompts(path: Path) -> list[Prompt]:
    """Prompts from JSON lines: "prompt", a text, or "turns", a list of speaker and text. Nothing is passed over: a prompt that
    cannot be read would not be missed."""
    prompts = []
    for place, row in rows_in(path, ".jsonl"):
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
    if not all(is_whole(turn.text) for turn in prompt.turns):
        raise RecordError("the prompt holds half of a surrogate pair, which is no text")
    return prompt
