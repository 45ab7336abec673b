"""Checks of filters, tasks, models, policies and acquisitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from alignzoo.interfaces import Asking, Closed, Manner, Policy
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading
from alignzoo.model.role import bare_on
from alignzoo.records import Completion, Feedback, Prompt
from alignzoo.tally import Tally
from alignzoo.testing.checks import Failed, NotRun, Subject, check
from alignzoo.testing.lessons import LONGEST, PROMPTS, lesson
from alignzoo.testing.offered import instance
from alignzoo.testing.sources import offline
from alignzoo.testing.toy import WORDS, toy_base

# Filters --------------------------------------------------------------------------------------------------------------


def _given(subject: Subject) -> list[Feedback]:
    """What a filter is put before: records of several kinds, and some of them twice."""
    if subject.trial.records:
        return list(subject.trial.records)
    taught = lesson()
    mixed: list[Feedback] = [*taught.comparisons, *taught.ratings, *taught.demonstrations, *taught.rankings]
    return [*mixed, *mixed[::3]]


def _sifted(subject: Subject) -> tuple[list[Feedback], Tally]:
    def made() -> tuple[list[Feedback], Tally]:
        asking = Asking(seed=1, evaluation=PROMPTS[:1])
        return list(instance(subject).sift(iter(_given(subject)), asking)), asking.tally

    found: tuple[list[Feedback], Tally] = subject.once("sifted", made)
    return found


@check("filter", after=("component.protocol",))
def sifts(subject: Subject) -> None:
    """It lets something pass."""
    if not _sifted(subject)[0]:
        raise Failed("of the kit's records none passes; give its component a trial with records that do")


@check("filter", after=("sifts",))
def invents_nothing(subject: Subject) -> None:
    """What passes was there before, no oftener than it was, and as it was."""
    passed = Counter(map(repr, _sifted(subject)[0]))
    if new := passed - Counter(map(repr, _given(subject))):
        raise Failed(f"it gives what it was not given: {next(iter(new))[:200]}")


@check("filter", after=("invents-nothing",))
def tells(subject: Subject) -> None:
    """What is held back is told to the tally, record by record."""
    passed, tally = _sifted(subject)
    held = sum(cases.count for cases in tally.sifted.values())
    if len(passed) + held != len(_given(subject)):
        raise Failed(f"of {len(_given(subject))} records {len(passed)} pass, and the tally knows of {held} that do not")


@check("filter", after=("sifts",))
def same_again(subject: Subject) -> None:
    """The same records give the same ones again."""
    again = list(instance(subject).sift(iter(_given(subject)), Asking(seed=1, evaluation=PROMPTS[:1])))
    if again != _sifted(subject)[0]:
        raise Failed("the second time other records pass; let chance come from a seed, and keep nothing for the next time")


@check("filter", after=("sifts",))
def streams(subject: Subject) -> None:
    """Records pass as they come: the first is given before the last was read."""
    read = 0

    def counted(records: Iterable[Feedback]) -> Iterator[Feedback]:
        nonlocal read
        for record in records:
            read += 1
            yield record

    passing = iter(instance(subject).sift(counted(_given(subject)), Asking(seed=1, evaluation=PROMPTS[:1])))
    next(passing)
    if read == len(_given(subject)):
        raise Failed("it reads every record before it gives the first: what does not fit into memory could not pass")


# Tasks ----------------------------------------------------------------------------------------------------------------

SPLITS = ("train", "validation", "test")


@check("task", after=("component.protocol",))
def asks(subject: Subject) -> None:
    """It has prompts to learn on and prompts to be judged on."""
    for split in ("train", "test"):
        found = instance(subject).prompts(split)
        if not found or not all(isinstance(prompt, Prompt) for prompt in found):
            raise Failed(f"its split '{split}' holds no prompts, or something that is none")


@check("task", after=("asks",))
def splits_apart(subject: Subject) -> None:
    """No prompt is in two splits, unless the task says that it is closed."""
    task = instance(subject)
    if isinstance(task, Closed):
        raise NotRun(f"it is closed: {task.closed}")
    seen: dict[str, str] = {}
    for split in SPLITS:
        for prompt in task.prompts(split):
            if seen.setdefault(prompt.id, split) != split:
                raise Failed(f"{prompt.text[:60]!r} is in '{seen[prompt.id]}' and in '{split}'")


@check("task", after=("asks",))
def steady(subject: Subject) -> None:
    """Its prompts are the same each time, in the same order."""
    task = instance(subject)
    if any(list(task.prompts(split)) != list(task.prompts(split)) for split in SPLITS):
        raise Failed("the second time its prompts are others: runs could not be compared")


@check("task", after=("asks",))
def refuses(subject: Subject) -> None:
    """A split that it does not have is refused by name."""
    try:
        instance(subject).prompts("no such split")
    except ValueError:
        return
    raise Failed("a split 'no such split' is accepted; raise a ValueError that names those there are")


# Models ---------------------------------------------------------------------------------------------------------------


@check("model", after=("component.protocol",))
def answers(subject: Subject) -> None:
    """What it names can be loaded as a base, without the network, and answers."""
    if subject.trial.slow and not subject.thorough:
        raise NotRun(f"it takes long: {subject.trial.slow} (--all)")
    with offline() as tried:
        base = Base.load(instance(subject).folder(), Loading(quantize="none", device="cpu"))
        [[reply]] = bare_on(base, "start").sample(PROMPTS[:1], 1, Manner(max_tokens=LONGEST))
    if tried:
        raise Failed(f"it asks the network for {tried[0]}")
    if not reply.tokens:
        raise Failed("it writes nothing")


# Policies -------------------------------------------------------------------------------------------------------------


def _wrapped(subject: Subject) -> Policy:
    """What it makes of the toy base."""
    wrapped: Policy = instance(subject).wrap(bare_on(toy_base(), "start"))
    return wrapped


@check("policy", after=("component.protocol",))
def replies(subject: Subject) -> None:
    """What it makes of a policy gives as many answers to each prompt as it is asked for, in the order of the prompts."""
    groups = _wrapped(subject).sample(PROMPTS[:3], 2, Manner(max_tokens=LONGEST, seed=1))
    if [len(group) for group in groups] != [2, 2, 2]:
        raise Failed(f"asked for 2 answers to each of 3 prompts, it gives {[len(group) for group in groups]}")


@check("policy", after=("replies",))
def seeded(subject: Subject) -> None:
    """The same seed gives the same answers, whatever other prompts are in the batch."""
    policy, manner = _wrapped(subject), Manner(max_tokens=LONGEST, seed=1)
    whole = policy.sample(PROMPTS[:3], 2, manner)
    if policy.sample(PROMPTS[:3], 2, manner) != whole:
        raise Failed("with the same seed it answers otherwise")
    if policy.sample(PROMPTS[2:3], 2, manner) != whole[2:]:
        raise Failed("its answers to a prompt depend on the other prompts in the batch")


# Acquisitions ---------------------------------------------------------------------------------------------------------


@check("acquisition", after=("component.protocol",))
def chooses(subject: Subject) -> None:
    """It gives the places of as many different candidates as are asked for, also where they all say the same."""
    acquisition, n = instance(subject), 2
    for texts in (WORDS, WORDS[:1] * len(WORDS), ("",) * len(WORDS)):
        candidates = [Completion(text) for text in texts[: n * acquisition.candidates]]
        places = list(acquisition.choose(PROMPTS[0], candidates, n))
        if len(places) != n or len(set(places)) != n or not set(places) <= set(range(len(candidates))):
            raise Failed(f"asked for {n} of {len(candidates)} candidates, it gives the places {places}")


@check("acquisition", after=("chooses",))
def same_choice(subject: Subject) -> None:
    """The same candidates are chosen again: the same run asks the same questions."""
    acquisition = instance(subject)
    candidates = [Completion(text) for text in WORDS[: 2 * acquisition.candidates]]
    if list(acquisition.choose(PROMPTS[0], candidates, 2)) != list(acquisition.choose(PROMPTS[0], candidates, 2)):
        raise Failed("the second time it chooses others; let chance come from a seed, and keep nothing for the next time")
