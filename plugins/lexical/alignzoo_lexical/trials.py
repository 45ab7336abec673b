"""How the conformance kit tries ROUGE, which needs references."""

from __future__ import annotations

import json

from alignzoo.records import Completion, Prompt
from alignzoo.testing import Trial

EATERS = ("cat", "cow", "bee", "owl")
ANSWERS = ("It eats fish.", "It eats what a cow likes.", "No idea.", "Mice, and it likes them.")


def _line(eater: str) -> str:
    return json.dumps({"prompt": f"What does a {eater} eat?", "reference": f"It eats what a {eater} likes."}) + "\n"


rouge = Trial(
    settings={"file": "references.jsonl"},
    files={"references.jsonl": "".join(map(_line, EATERS))},
    prompts=[Prompt.ask(f"What does a {eater} eat?") for eater in EATERS],
    completions=[Completion(text) for text in ANSWERS],
)
