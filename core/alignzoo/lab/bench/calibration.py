"""About how long an entry will take, from a few updates and answers on this machine.

It begins from the bare base and with a little feedback, so that neither a start nor a corpus has to be made first. Answers of
an untrained base are often longer than those of a start: the estimate is rather too high.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from alignzoo.lab import store
from alignzoo.lab.bench.benchfile import Bench, Entry
from alignzoo.lab.costs import updates_in_all
from alignzoo.lab.folders import settle
from alignzoo.lab.plan import Part, Plan
from alignzoo.lab.run import Run

UPDATES = 3
ANSWERS = 8


@dataclass(frozen=True)
class Estimate:
    """What one run of an entry will come to."""

    entry: str
    updates: int | None
    training: float
    """Seconds, for as many updates as are known; for three where nothing is known."""
    answering: float
    note: str = ""
    known: bool = True
    """Whether it could be tried at all."""
    loading: float = 0.0
    """Seconds for the base, and for all that is done once in a run."""

    @property
    def seconds(self) -> float:
        return self.loading + self.training + self.answering

    def trial(self, share: float) -> float:
        """Seconds for a trial, whose prompts are this share of a run's."""
        return self.loading + self.training + self.answering * share

    def cells(self) -> tuple[str, str, str, str, str]:
        updates = "?" if self.updates is None else f"{self.updates:,}"
        seconds = (f"{self.seconds:,.0f}", f"{self.answering:,.0f}") if self.known else ("?", "?")
        return self.entry, updates, *seconds, self.note


def calibrated(bench: Bench, entry: Entry) -> Estimate:
    """Train an entry for a few updates, answer a few prompts, and multiply."""
    if entry.fault:
        return Estimate(entry.name, None, 0.0, 0.0, f"cannot be tried: {entry.fault}", known=False)
    plan = bench.plan(entry, bench.seeds[0])
    with TemporaryDirectory() as folder:
        run = Run(short(plan), store.Folder(Path(folder) / "run"))
        try:
            settle(run.plan, run.files)  # plugins in files are taken along

            began = time.monotonic()
            run.answer()
            whole = time.monotonic() - began
        except Exception as error:  # a forecast need not come true: the bench itself tells what is wrong
            said = " ".join(str(error).split())
            return Estimate(entry.name, None, 0.0, 0.0, f"could not be calibrated: {type(error).__name__}: {said}", known=False)
        spent = store.read_json(run.files.train.summary)["ledger"]
        served = store.read_json(run.files.serving)
    planned = updates_in_all(plan, spent)
    each = spent["seconds"] / max(1, spent["updates"])
    done = 0 if not spent["updates"] else planned if planned is not None else UPDATES
    prompts = plan.answer.prompts * plan.answer.n
    answering = sum(served[who]["seconds"] / served[who]["answers"] for who in ("start", "policy")) * prompts
    known = planned is not None or not spent["updates"]
    note = "" if known else f"training: {UPDATES} updates"
    loading = max(0.0, whole - spent["seconds"] - sum(served[who]["seconds"] for who in ("start", "policy")))
    return Estimate(entry.name, done if known else None, each * done, answering, note, loading=loading)


def short(plan: Plan) -> Plan:
    """The same run, as little of it as says how fast it is. A reward that would have to be trained is not: the judge takes its
    place."""
    rewards = tuple(
        replace(rewarding, part=plan.judge, feedback=None) if rewarding.feedback and plan.judge else rewarding
        for rewarding in plan.rewards
    )
    return replace(
        plan,
        start=None,
        start_feedback=None,
        feedback=_little(plan.feedback) if plan.feedback else None,
        rewards=rewards,
        jury=(),
        budget=replace(plan.budget, updates=min(UPDATES, plan.budget.updates or UPDATES), rewards=False),
        answer=replace(plan.answer, prompts=min(ANSWERS, plan.answer.prompts)),
        watch=replace(plan.watch, every=0),
        trail=replace(plan.trail, every=0),
    )


def _little(feedback: Part) -> Part:
    """A source that counts its records gives fewer of them."""
    if not any(f.name == "count" for f in fields(feedback.made)):
        return feedback
    return replace(feedback, made=replace(feedback.made, count=min(feedback.made.count, 256)))
