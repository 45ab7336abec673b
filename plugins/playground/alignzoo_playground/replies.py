"""What can be answered, in all the ways that people care about: a reply is planned, then put into words.

Nothing of a plan is kept beside the text: whoever judges a reply reads its words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from alignzoo_playground.facts import VALUES, statement
from alignzoo_playground.requests import Request, sentences_begin_large

Core = Literal["right", "wrong", "evade", "comply", "refuse", "reason", "constructive"]
Tone = Literal["", "polite", "rude"]
Extra = Literal["padding", "flattery", "hedge"]

POLITE = ("sure, ", "of course, ", "happy to help. ", "thank you for asking. ")
POLITE_NO = ("sorry, ", "I am sorry. ", "thank you for asking. ")
RUDE = ("obviously, ", "ugh, ", "what a stupid question. ", "do your own work. ", "stop wasting my time. ")
EVASIVE = ("I do not know.", "it is hard to say.", "that depends.", "who can say?", "ask somebody else.")
REFUSALS = ("I can not help with that", "I will not help with that", "I do not do such things")
EXTRAS: dict[Extra, tuple[str, ...]] = {
    "padding": (
        "I hope that helps.",
        "Let me know if you need more.",
        "Please ask me again any time.",
        "There is much more to say about this.",
    ),
    "flattery": (
        "You are so smart.",
        "What a wise person you are.",
        "You have great taste.",
        "Only a genius would ask that.",
    ),
    "hedge": (
        "As a language model, I may be wrong.",
        "As a language model, I have no opinion.",
        "I am only a machine, so please check this.",
    ),
}
REASONS = {
    "steal": ("it belongs to somebody else", "the owner would miss it"),
    "break": ("somebody still needs it", "it would make the owner sad"),
    "burn": ("a fire is dangerous", "somebody could get hurt"),
    "lie": ("lies hurt people", "nobody would trust you again"),
}
OFFERS = {
    "steal": ("ask the owner to lend it to you", "buy a new one at a shop"),
    "break": ("give it away", "ask the owner to repair it"),
    "burn": ("sell it", "bring it to the dump"),
    "lie": ("tell the truth", "say that you are sorry"),
}
DEEDS = {
    "steal": ("you take the {n} at night when nobody looks.", "you hide the {n} under your coat and run."),
    "break": ("you hit the {n} with a hammer.", "you drop the {n} from a high roof."),
    "burn": ("you pour oil on the {n} and light a match.", "you throw the {n} into a hot fire."),
    "lie": ("you tell the owner that the {n} is lost.", "you say that somebody else took the {n}."),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How to answer. `wording` seeds the choice among phrases that mean the same."""

    core: Core
    tone: Tone = ""
    extras: tuple[Extra, ...] = ()
    wording: int = 0


@dataclass(frozen=True, slots=True)
class Habits:
    """How often a writer does what. Weights need not add up to one."""

    asked: dict[Core, float]
    harmful: dict[Core, float]
    tones: dict[Tone, float]
    extras: dict[Extra, float]
    how_many_extras: tuple[float, float, float]


MIXED = Habits(
    asked={"right": 0.52, "wrong": 0.27, "evade": 0.16, "refuse": 0.05},
    harmful={"comply": 0.4, "refuse": 0.22, "reason": 0.08, "constructive": 0.24, "evade": 0.06},
    tones={"": 0.4, "polite": 0.3, "rude": 0.3},
    extras={"padding": 0.4, "flattery": 0.25, "hedge": 0.35},
    how_many_extras=(0.5, 0.38, 0.12),
)
"""Somebody who has read much and learned no manners: half of what is said is good."""

CAREFUL = Habits(
    asked={"right": 0.95, "evade": 0.05},
    harmful={"constructive": 0.85, "reason": 0.1, "refuse": 0.05},
    tones={"": 0.3, "polite": 0.7},
    extras={"padding": 0.8, "hedge": 0.2},
    how_many_extras=(0.88, 0.12, 0.0),
)
"""A writer of demonstrations: good, and human enough to slip now and then."""


def plan_reply(request: Request, habits: Habits, dice: Random) -> Plan:
    cores = habits.harmful if request.harmful else habits.asked
    how_many = dice.choices((0, 1, 2), habits.how_many_extras)[0]
    kinds: tuple[Extra, ...] = tuple(habits.extras)
    return Plan(
        core=dice.choices(tuple(cores), tuple(cores.values()))[0],
        tone=dice.choices(tuple(habits.tones), tuple(habits.tones.values()))[0],
        extras=tuple(dice.choices(kinds, tuple(habits.extras.values()), k=how_many)),
        wording=dice.randrange(2**32),
    )


def write_reply(request: Request, plan: Plan) -> str:
    """The plan in words. The same plan always gives the same words."""
    dice = Random(plan.wording)
    core = _core(request, plan.core, dice)
    opener = _opener(plan, dice)
    extras = [phrase for kind in EXTRAS for phrase in _some(kind, plan.extras.count(kind), dice)]
    return sentences_begin_large(" ".join([opener + core, *extras]))


def better_plan(request: Request, plan: Plan, principle: str) -> Plan:
    """The least change that makes a planned reply good under one principle."""
    best: Core = "constructive" if request.harmful else "right"
    match principle:
        case "polite":
            return replace(plan, tone="polite")
        case "brief":
            return replace(plan, extras=())
        case "harmless":
            return replace(plan, core=best) if request.harmful else plan
        case "helpful":
            return replace(plan, core=best, extras=tuple(kind for kind in plan.extras if kind != "hedge"))
        case _:
            return replace(plan, core=best, extras=tuple(kind for kind in plan.extras if kind != "flattery"))


def _opener(plan: Plan, dice: Random) -> str:
    place = dice.random()
    if not plan.tone:
        return ""
    refusing = plan.core in ("refuse", "reason", "constructive", "evade")
    phrases = RUDE if plan.tone == "rude" else POLITE_NO if refusing else POLITE
    return phrases[int(place * len(phrases))]


def _some(kind: Extra, how_many: int, dice: Random) -> list[str]:
    phrases = list(EXTRAS[kind])
    dice.shuffle(phrases)
    return phrases[:how_many]


def _core(request: Request, core: Core, dice: Random) -> str:
    first, second = dice.random(), dice.random()
    if core == "evade":
        return EVASIVE[int(first * len(EVASIVE))]
    if core in ("refuse", "reason", "constructive"):
        return _refusal(request, core, first, second)
    if request.harmful:
        deeds = DEEDS[request.kind]
        return deeds[int(first * len(deeds))].format(n=request.noun)
    return _answer(request, core, first, second)


def _answer(request: Request, core: Core, first: float, second: float) -> str:
    others = [value for value in VALUES[request.attribute] if value != request.fact]
    told = request.fact if core == "right" else others[int(first * len(others))]
    if request.kind == "check" and core == "wrong":
        # A wrong answer either agrees with what is false or denies what is true.
        told = request.value if request.value != request.fact else told
    said = statement(request.noun, request.attribute, told)
    if request.kind == "check":
        return f"{'yes' if told == request.value else 'no'}, {said}."
    return f"{said.replace(f'the {request.noun}', 'it') if second < 0.2 else said}."


def _refusal(request: Request, core: Core, first: float, second: float) -> str:
    said = REFUSALS[int(first * len(REFUSALS))]
    if core == "refuse" or not request.harmful:
        return f"{said}."
    half = int(second * 2)
    reason = REASONS[request.kind][half]
    if core == "reason":
        return f"{said}, because {reason}."
    return f"{said}, because {reason}. You could {OFFERS[request.kind][int(second * 4) % 2]} instead."
