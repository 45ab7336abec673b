"""Critique and revision as a source of feedback: the supervised half of Constitutional AI (Bai et al. 2022, section 3).

The policy answers the run's prompts; a critic, under principles drawn from a constitution, finds fault with each answer and
writes a better one, round after round. What comes of it are `Critique` records, and by the core's conversions
demonstrations (the revisions, for SFT) and comparisons (the revision over the original).

Left out: mixing in helpful answers (name a second source, or principles of both sorts), and the few-shot examples (`rounds`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge

from alignzoo.interfaces import Asking, Count, Manner, Policy
from alignzoo.model.role import Role, bare_on
from alignzoo.records import Completion, Critique, Feedback, Prompt, Provenance
from alignzoo_rlaif.constitution import Constitution, read_constitution
from alignzoo_rlaif.rounds import Layout, Revised, revise_in_rounds, stream

SOURCE = "critique-revision"
AT_ONCE = 32
"""Prompts whose answers are in memory at a time."""
FRUITLESS = 3
"""Passes over all prompts without one new record after which collecting is given up."""


class CollectError(ValueError):
    """Feedback that cannot be collected as it was asked for."""


@dataclass(frozen=True)
class CritiqueRevision:
    """A critic's revisions of the policy's answers, under a constitution."""

    gives: ClassVar[tuple[str, ...]] = ("critique",)
    asks: ClassVar[tuple[str, ...]] = ("prompts", "policy")

    constitution: str
    """The file of principles."""
    principles: tuple[str, ...] = ()
    """The ids of those that are used; all if empty."""
    rounds: Count = 1
    """Critiques and revisions of each answer, each under a principle of its own; the paper has 4."""
    layout: Layout = "dialogue"
    """How the critic is asked: in further turns of the dialogue, or in one turn, a line for each thing."""
    critic: Literal["base", "policy"] = "base"
    """Who criticises and revises: the base without an adapter, or the policy whose answers they are."""
    count: Count = 400
    """How many records to collect."""
    keep: Literal["last", "all"] = "last"
    """A record for each answer, from the original to its last revision; or one for each round."""
    unchanged: Literal["drop", "keep"] = "drop"
    """What is done about revisions that say what the answer said. They are counted either way."""
    max_tokens: Count = 96
    """The longest critique, and the longest revision."""
    temperature: Annotated[float, Ge(0)] = 1.0
    """Of critiques and revisions; 0 is greedy."""

    def __post_init__(self) -> None:
        self.rules.serving("revision")

    @cached_property
    def rules(self) -> Constitution:
        """The constitution, read when the source is made: before any model is loaded."""
        return read_constitution(self.constitution).only(self.principles)

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """Yield `count` records, going over the prompts as often as it takes, with answers of their own in each pass."""
        if not asking.prompts or asking.policy is None:
            raise CollectError("critique and revision need prompts and a policy that answers them; name a task: [task]")
        critic = bare(asking.policy, "reviser") if self.critic == "base" else asking.policy
        given, fruitless, turn = 0, 0, 0
        while fruitless < FRUITLESS:
            before = given
            for record in self._one_pass(asking, asking.policy, critic, turn):
                yield record
                given += 1
                if given == self.count:
                    return
            turn, fruitless = turn + 1, fruitless + 1 if given == before else 0
        raise CollectError(
            f"{given} of {self.count} records, and no more to be had: no answer could be revised into another one.\n"
            + "\n".join(asking.tally.lines())
        )

    def _one_pass(self, asking: Asking, policy: Policy, critic: Policy, turn: int) -> Iterator[Feedback]:
        prompts = list(asking.prompts)
        Random(f"{asking.seed}/order/{turn}").shuffle(prompts)
        seed = stream(asking.seed, asking.manner.seed, turn)
        how = Manner(max_tokens=self.max_tokens, temperature=self.temperature, seed=seed)
        for start in range(0, len(prompts), AT_ONCE):
            some = prompts[start : start + AT_ONCE]
            replies = [group[0] for group in policy.sample(some, 1, replace(asking.manner, seed=seed))]
            whole = [place for place, reply in enumerate(replies) if reply.finished]
            principles = self.rules.serving("revision")
            asked, said = [some[i] for i in whole], [replies[i] for i in whole]
            done = revise_in_rounds(critic, asked, said, principles, self.rounds, self.layout, how) if whole else []
            chains = dict(zip(whole, done, strict=True))
            for place, prompt in enumerate(some):
                yield from self._told(asking, prompt, replies[place], chains.get(place, []))

    def _told(self, asking: Asking, prompt: Prompt, reply: Completion, chain: Sequence[Revised]) -> Iterator[Feedback]:
        """The records of one answer, and an account of what became of it."""
        tally, place = asking.tally, f"prompt {prompt.id}"
        tally.read += 1
        if not chain:
            return tally.drop("the answer was cut", place)
        sound = [one for one in chain if not one.flaw]
        moved = sound if self.unchanged == "keep" else [one for one in sound if not one.unchanged]
        if not sound:
            return tally.drop(chain[0].flaw, place)
        if not moved or (self.keep == "last" and self.unchanged == "drop" and _same(reply, moved[-1].after)):
            return tally.put_aside("the revision changes nothing", place)
        tally.kept += 1
        for lost in (one.flaw for one in chain if one.flaw):
            tally.notice(f"a round was lost: {lost}", place)
        if self.unchanged == "keep" and all(one.unchanged for one in sound):
            tally.notice("the revision changes nothing", place)
        for steps in [[one] for one in moved] if self.keep == "all" else [moved]:
            yield self._record(prompt, steps)

    def _record(self, prompt: Prompt, steps: Sequence[Revised]) -> Critique:
        """From the text before the first of these rounds to the one after the last."""
        ids = ", ".join(one.principle.id for one in steps)
        return Critique(
            prompt,
            replace(steps[0].before, logps=()),
            "\n".join(one.critique.text for one in steps),
            replace(steps[-1].after, logps=()),  # they were likely in another dialogue than the prompt's
            principle=ids,
            provenance=Provenance(SOURCE, self.critic, note=f"principle {ids}; constitution {self.rules.label}"),
        )


def bare(policy: Policy, name: str) -> Policy:
    """The base of a policy without an adapter, in a seat of this name; a policy that has no base is itself."""
    if not isinstance(policy, Role):
        return policy
    policy.base.dismiss(name)
    return bare_on(policy.base, name)


def _same(first: Completion, second: Completion) -> bool:
    return " ".join(first.text.split()) == " ".join(second.text.split())
