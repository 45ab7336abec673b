"""What the embedded model is pre-trained on: text generated from the world, one document after another.

Six sorts of document: plain facts, chat of mixed quality, judging, criticism, revision, and chat of two turns. Document n
of a recipe depends on its seed and n alone, so training can be stopped and taken up at any step. Requests are put in the
train wordings only: those of validation and test are in no document.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from alignzoo.records import Prompt, Turn
from alignzoo_playground.facts import ATTRIBUTES, FACTS, NOUNS, statement
from alignzoo_playground.gold import Explanation, explain_text
from alignzoo_playground.judging import PRINCIPLES, VALUE_OF, critique_prompt, judge_prompt, revise_prompt
from alignzoo_playground.reading import read_reply
from alignzoo_playground.replies import MIXED, Habits, Plan, better_plan, plan_reply, write_reply
from alignzoo_playground.requests import Request, draw_request, sentences_begin_large, wordings

MARGIN = 0.3
"""Two replies are judged under a principle only if their gold values differ by this much."""

SORTS = {"facts": 0.07, "chat": 0.28, "two turns": 0.04, "judging": 0.43, "criticism": 0.06, "revision": 0.12}
JUDGED = {"helpful": 0.22, "correct": 0.5, "harmless": 0.06, "polite": 0.11, "brief": 0.11}
JUDGING_WEIGHT = 3.0
"""A verdict has few words, and telling right from wrong is what takes longest to learn."""

BARE = replace(MIXED, tones={"": 1.0}, how_many_extras=(1.0, 0.0, 0.0))
"""How the mixed writer would write without tone and trimmings."""

FINE = "The reply is fine."
MANNERS = ("", "You are a helpful assistant.")


Asked = tuple[Request, str]
"""A request and the words it is made in."""


@dataclass(frozen=True, slots=True)
class Document:
    """One text to learn. The model is taught what the assistant says, or all of `plain` where there are no turns."""

    turns: tuple[Turn, ...] = ()
    plain: str = ""
    weight: float = 1.0
    """How much the words count that it teaches."""


def document(seed: int, number: int) -> Document:
    """Document `number` of the endless corpus of this seed."""
    dice = Random(f"{seed}/{number}")
    sort = dice.choices(tuple(SORTS), tuple(SORTS.values()))[0]
    match sort:
        case "facts":
            return Document(plain=_facts(dice))
        case "chat":
            return _chat(dice)
        case "two turns":
            return Document((*_chat(dice).turns, *_chat(dice).turns[-2:]))
        case "judging":
            return _judging(dice)
        case "criticism":
            return _criticism(dice)
        case _:
            return _revision(dice)


def recall(request: Request) -> str:
    """What a judge should call to mind before judging."""
    if request.harmful:
        return "the request is harmful."
    return f"{statement(request.noun, request.attribute, request.fact)}."


def criticism(request: Request, seen: Explanation, principle: str) -> str:
    """What is wrong with a reply under a principle, from what the gold reward saw in it."""
    value = seen.values[VALUE_OF[principle]]
    if value == 1.0:
        return FINE
    if seen.values["harmless"] == 0.0 and principle in ("harmless", "helpful"):
        return "The reply helps to do harm."
    match principle:
        case "polite":
            return "The reply is rude." if value == 0.0 else "The reply could be more polite."
        case "brief":
            return "The reply says more than it needs."
        case "harmless":
            return "The reply does not refuse."
        case "helpful" if request.harmful:
            return "The reply does not say why or what to do instead."
        case _ if "flatters" in seen.saw and value in (0.5, 0.75):
            return "The reply flatters."
        case "helpful" if value >= 0.4:
            return "The reply is not sure of itself."
        case _:
            said = "is wrong" if seen.values["honest"] == 0.0 else "does not answer"
            return sentences_begin_large(f"the reply {said}: {recall(request)}")


def _facts(dice: Random) -> str:
    noun = dice.choice(NOUNS)
    told = [statement(noun, attribute, FACTS[noun, attribute]) for attribute in dice.sample(ATTRIBUTES, 4)]
    return sentences_begin_large(" ".join(f"{fact}." for fact in told))


def _chat(dice: Random) -> Document:
    request = draw_request(dice)
    manners = MANNERS[dice.random() < 0.05]
    turns = (
        Turn("user", dice.choice(wordings(request, "train"))),
        Turn("assistant", write_reply(request, plan_reply(request, MIXED, dice))),
    )
    return Document((Turn("system", manners), *turns) if manners else turns)


def _judging(dice: Random) -> Document:
    principle = dice.choices(tuple(JUDGED), tuple(JUDGED.values()))[0]
    bare = principle == "correct" and dice.random() < 0.5  # fewer words to look through, while that is being learnt
    pair = judged_pair(principle, dice, habits=BARE if bare else MIXED)
    task = _task(judge_prompt(principle, Prompt.ask(pair.asked), pair.first, pair.second), verdict(principle, pair))
    return replace(task, weight=JUDGING_WEIGHT)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two replies that gold clearly tells apart under a principle."""

    request: Request
    asked: str
    first: str
    second: str
    first_is_better: bool
    words: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Flawed:
    """A reply that gold finds wanting under a principle, most often; how it was planned and what gold saw."""

    request: Request
    asked: str
    plan: Plan
    reply: str
    seen: Explanation


def draw_asked(dice: Random) -> Asked:
    """Any request, in one of its train wordings."""
    request = draw_request(dice)
    return request, dice.choice(wordings(request, "train"))


def judged_pair(principle: str, dice: Random, draw: Callable[[Random], Asked] = draw_asked, habits: Habits = MIXED) -> Pair:
    """Two replies to a drawn request that differ under the principle by the margin; many differ in nothing else."""
    while True:
        request, asked = draw(dice)
        plan = plan_reply(request, habits, dice)
        close = dice.random() < 0.4
        other = better_plan(request, plan, principle) if close else plan_reply(request, habits, dice)
        pair = [write_reply(request, plan), write_reply(request, other)]
        dice.shuffle(pair)
        first, second = (explain_text(asked, reply) for reply in pair)
        gap = first.values[VALUE_OF[principle]] - second.values[VALUE_OF[principle]]
        words = (word_for(principle, first), word_for(principle, second))
        if abs(gap) >= MARGIN and (principle == "brief" or words[0] != words[1]):
            return Pair(request, asked, pair[0], pair[1], gap > 0, words)


def word_for(principle: str, seen: Explanation) -> str:
    """One word for what a reply is under a principle, for judges to think in."""
    values = seen.values
    match principle:
        case "helpful":
            steps = ((0.95, "best"), (0.65, "good"), (0.35, "fair"), (0.1, "poor"), (0.0, "bad"))
            return next(word for floor, word in steps if values["helpful"] >= floor)
        case "correct":
            return "wrong" if values["honest"] == 0.0 else "right" if values["helpful"] >= 0.4 else "evasive"
        case "harmless":
            return "harmful" if values["harmless"] == 0.0 else "harmless"
        case "polite":
            return {0.0: "rude", 0.5: "neutral", 1.0: "polite"}[values["polite"]]
        case _:
            return ""


def verdict(principle: str, pair: Pair) -> str:
    """What a good judge says: what each reply is, or what it says beside what is known, and then which is better.

    A value stands before the letter of the reply that gives it, so that the true value, once recalled, leads back to its
    reply: small models find a word that they have read far sooner than they learn to tell whether two words are the same.
    """
    better = f"better: {'A' if pair.first_is_better else 'B'}"
    if principle == "brief":
        return better  # a look is enough
    words = f"A is {pair.words[0]}. B is {pair.words[1]}. "
    if principle not in ("correct", "helpful"):
        return f"think: {words}{better}"
    if pair.request.harmful:
        return f"think: {recall(pair.request)} {words}{better}"
    known = recall(pair.request).removesuffix(".")
    first, second = (told(pair.request, reply) for reply in (pair.first, pair.second))
    right = [letter for letter, value in (("A", first), ("B", second)) if value == pair.request.fact]
    who = "both" if len(right) == 2 else right[0] if right else "nobody"
    thought = f"{first}, says A. {second}, says B. {known}, says {who}. "
    return f"think: {thought}{words if principle == 'helpful' else ''}{better}"


def told(request: Request, reply: str) -> str:
    """The value that a reply gives for what was asked, or "nothing"."""
    claims = read_reply(request, reply).claims
    said = next((claim.value for claim in claims if (claim.noun, claim.attribute) == request.topic), "nothing")
    return said.title() if request.attribute == "owner" and claims else said


def flawed_reply(principle: str, dice: Random, draw: Callable[[Random], Asked] = draw_asked, good_too: float = 0.125) -> Flawed:
    """A reply with a flaw under the principle; `good_too` says how often any reply will do."""
    any_reply = dice.random() < good_too
    while True:
        request, asked = draw(dice)
        plan = plan_reply(request, MIXED, dice)
        reply = write_reply(request, plan)
        seen = explain_text(asked, reply)
        if any_reply or seen.values[VALUE_OF[principle]] < 1.0:
            return Flawed(request, asked, plan, reply, seen)


def _criticism(dice: Random) -> Document:
    principle = dice.choice(PRINCIPLES)
    flawed = flawed_reply(principle, dice)
    said = criticism(flawed.request, flawed.seen, principle)
    return _task(critique_prompt(principle, Prompt.ask(flawed.asked), flawed.reply), said)


def _revision(dice: Random) -> Document:
    principle = dice.choice(PRINCIPLES)
    flawed = flawed_reply(principle, dice)
    critique = criticism(flawed.request, flawed.seen, principle)
    better = flawed.reply
    if critique != FINE:
        better = write_reply(flawed.request, better_plan(flawed.request, flawed.plan, principle))
    return _task(revise_prompt(principle, Prompt.ask(flawed.asked), flawed.reply, critique), better)


def _task(prompt: Prompt, said: str) -> Document:
    return Document((*prompt.turns, Turn("assistant", said)))
