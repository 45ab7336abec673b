"""How the conformance kit tries what judges and constitutions give: with forms so short that the toy base can read them."""

from __future__ import annotations

import json

from alignzoo.interfaces import Lesson
from alignzoo.records import Comparison, Completion, Prompt, Provenance
from alignzoo.testing import Trial
from alignzoo.testing.toy import WORDS

RULES = "rules.txt"
VERDICTS = "verdicts.jsonl"
CHAINS = "chains.jsonl"
FORM = {
    "compare": "{question} {first} or {second}",
    "rate": "{request} {reply}",
    "letters": [["yes", "no"]],
    "answer": "{letter}",
    "scale": ["bad", "good"],
    "rating": "{score}",
    "layout": "one line",
    "cut": "",
}
_THINGS = "cat dog fish tree sun moon".split()
_ABOUT = [(word, thing) for word in WORDS[:12] for thing in _THINGS]
_PROMPTS = tuple(Prompt.ask(f"{verb} i about the {thing}") for verb in ("tell", "ask") for thing in _THINGS)
_PAIRS = tuple(
    Comparison(Prompt.ask(f"{number}"), Completion("kind"), Completion("rude"), provenance=Provenance("people", "Anna"))
    for number in range(80)
)


def _verdict(number: int, shown: tuple[str, str]) -> str:
    """Sure of every other pair, and of the rest in doubt."""
    kind = 0.9 if number % 2 else 0.5
    chances = [kind if text == "kind" else 1 - kind for text in shown]
    return json.dumps({"turns": [{"speaker": "user", "text": f"{number}"}], "shown": shown, "chances": chances})


def _chain(thing: str) -> str:
    steps = [{"cst_key": "be kind", "critique": {"sample": "It is rude."}, "revision": {"sample": f"A good {thing}."}}]
    asked = f"\n\nHuman: Tell me about the {thing}.\n\nAssistant:"
    return json.dumps({"rl_prompt": asked, "initial_response": {"sample": f"A bad {thing}."}, "cst": steps})


_rules = {RULES: "be kind\n"}

constitutional = Trial(
    settings={"constitution": RULES},
    files=_rules,
    expected={
        "optimizer.refuses": "it needs nothing of a lesson, so there is none that it could refuse",
        "optimizer.learns": "it trains nothing and keeps to its principles, whatever the lesson says",
    },
)
context_distillation = Trial(settings={"constitution": RULES, "held_out": 2}, files=_rules, lesson=Lesson(prompts=_PROMPTS))
ai_judge = Trial(settings={"judge": {"form": FORM}})
ai_preferences = Trial(
    settings={"constitution": RULES, "judge": {"form": FORM}, "count": 1, "answers": 32},
    files=_rules,
    prompts=_PROMPTS,
    position={"count": 24, "ties": "drop", "judge": {"form": {**FORM, "letters": [["cat", "dog"]]}}},
)
"""For the check of the order it judges by letters of which the toy base finds one far likelier, whatever it reads: nine of ten
verdicts go with the place. Shown in one order only, it would favour the answer drawn first in one pair of six."""
critique_revision = Trial(
    settings={"constitution": RULES, "count": 4, "rounds": 2, "keep": "all", "max_tokens": 40, "layout": "form"},
    files={RULES: "be kind\nbe good\n"},
    prompts=tuple(Prompt.ask(f"{verb} i {word} the {thing}") for verb in ("tell", "ask", "help") for word, thing in _ABOUT),
)
"""So many prompts because the toy base seldom stops: few answers, critiques and revisions are whole."""
chains = Trial(settings={"path": CHAINS}, files={CHAINS: "\n".join(map(_chain, ("cat", "dog", "fish"))) + "\n"})
hybrid = Trial(
    settings={"judge": {"which": "recorded", "file": VERDICTS}},
    files={
        VERDICTS: "\n".join(_verdict(number, shown) for number in range(80) for shown in (("kind", "rude"), ("rude", "kind")))
    },
    records=_PAIRS,
    expected={
        "filter.invents-nothing": "where the judge is sure, its word takes the place of a person's: that is a new record"
    },
)
