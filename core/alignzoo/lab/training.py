"""One training: pull an optimizer's updates, within a budget, watched, written down, and resumable at any moment."""

from __future__ import annotations

import json
import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignzoo.interfaces import Lesson, Metrics, Optimizer
from alignzoo.lab.doubts import doubts
from alignzoo.lab.listener import Tell, say_nothing
from alignzoo.lab.store import Training, named, read_rows, write_json
from alignzoo.lab.trail import Trail
from alignzoo.learning.canaries import Canaries, CanaryError, watching
from alignzoo.learning.choices import Budget, Watch
from alignzoo.learning.ledger import Ledger, counting
from alignzoo.learning.memory import Memory, MemoryLost, newest, remembering, track
from alignzoo.learning.rewards import Combined
from alignzoo.model.role import Role
from alignzoo.records import Comparison, Prompt

if TYPE_CHECKING:
    from alignzoo.model.base import Base


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, after the checkpoint was written."""


@dataclass(frozen=True)
class Terms:
    """What a training is held to."""

    budget: Budget = Budget()
    watch: Watch = Watch()
    checkpoint_every: int = 20
    seed: int = 0
    answers: bool = True
    """Whether what is trained is to answer prompts; a reward model is not looked at as a policy."""
    trail: Trail | None = None


@dataclass(frozen=True)
class Seat:
    """How a training gets the role it trains: made anew, or from the adapter that an earlier stage left."""

    base: Base
    make: Callable[[Base], Role]


@dataclass(frozen=True)
class Trained:
    """What came of it."""

    policy: Role
    start: Role
    ledger: Ledger
    stopped: str
    """Why it stopped before the optimizer was through; empty if it was through."""
    doubts: tuple[str, ...]
    """What in its numbers a reader should be warned of."""


def train(
    optimizer: Optimizer,
    lesson: Lesson,
    seat: Seat,
    files: Training,
    terms: Terms = Terms(),
    tell: Tell = say_nothing,
    notes: Mapping[str, Any] | None = None,
) -> Trained:
    """Improve the role that `seat` makes until the optimizer is through or the budget is reached. Where the folder holds a
    checkpoint, go on from it: the result is the same, bit for bit on a CPU, as if there had been no interruption."""
    lesson.check(optimizer.needs)
    checkpoint = newest(files.checkpoint)
    base = seat.base
    with remembering(base, checkpoint) as memory:
        policy = seat.make(base)
        start = policy.frozen("start")
        ledger = Ledger.from_row(checkpoint.facts["ledger"]) if checkpoint else Ledger()
        canaries = Canaries(base, terms.watch, fresh=checkpoint is None)
        told = notes or {}
        if isinstance(lesson.reward, Combined):
            track(lesson.reward)
        if checkpoint:
            canaries.recognise(checkpoint.facts["canaries"])
            _same_feedback(checkpoint.facts["feedback"], told.get("feedback"))
        pairs = lesson.comparisons if "comparisons" in optimizer.needs else ()
        opening = _opening(terms.budget, checkpoint.facts if checkpoint else {})
        course = _Course(policy, start, lesson, pairs, files, terms, memory, ledger, canaries, tell, told, opening)
        with counting(ledger, base, terms.budget.labels), watching(canaries):
            stopped = course.pull(optimizer)
        doubtful = course.close(stopped)
    return Trained(policy, start, ledger, stopped, doubtful)


@dataclass
class _Course:
    """A training under way."""

    policy: Role
    start: Role
    lesson: Lesson
    pairs: Sequence[Comparison]
    """The comparisons that are learned from."""
    files: Training
    terms: Terms
    memory: Memory
    ledger: Ledger
    canaries: Canaries
    tell: Tell
    notes: Mapping[str, Any]
    opening: Budget
    """What must not be reached before the first update."""
    saved: int = -1

    def pull(self, optimizer: Optimizer) -> str:
        """Pull updates until there are no more or the budget is reached; say which limit it was."""
        base = self.policy.base
        _shorten(self.files.updates, self.ledger.updates)
        if self.terms.trail:
            self.terms.trail.begin(self.ledger.updates)
        if self.ledger.updates == 0:
            self._trace(optimizer)
        if reason := self.opening.reached(self.ledger):
            return reason
        with _polite_stop() as asked:
            for metrics in optimizer.improve(self.policy, self.lesson):
                self.ledger.updates += 1
                self.ledger.settle(base)
                told = {**metrics, **self._hear(), **self._look()}
                self._note(told)
                self._trace(optimizer)
                reason = self.terms.budget.reached(self.ledger)
                if asked.is_set() or reason or self.ledger.updates % self.terms.checkpoint_every == 0:
                    self._save(reason)
                if asked.is_set():
                    raise Interrupted
                if reason:
                    return reason
        if self.terms.trail and not self.ledger.updates:
            self.terms.trail.grade(optimizer, self.policy, self.lesson)
            self.ledger.begin(base)
        return ""

    def close(self, stopped: str) -> tuple[str, ...]:
        """Leave what the next stage reads: the adapter, and a summary. Returns what is to be doubted."""
        self.canaries.untouched()
        if self.ledger.updates and self.saved != self.ledger.updates:
            self._save(stopped)
        answers = self.terms.answers and self.ledger.updates > 0
        final = self._seen() if answers else {}
        doubtful = doubts(final, read_rows(self.files.updates))
        self.policy.save(self.files.adapter)
        summary = {
            "stopped": stopped,
            "ledger": self.ledger.row(),
            "final": final,
            "warnings": doubtful,
            "adapter": self.policy.digest,
            **self.notes,
        }
        write_json(self.files.summary, summary)
        return doubtful

    def _hear(self) -> Metrics:
        """What several rewards, or costs among them, have said in this update."""
        return self.lesson.reward.after_update() if isinstance(self.lesson.reward, Combined) else {}

    def _trace(self, optimizer: Optimizer) -> None:
        """Leave a point of the trail at the start and where one is due; what that costs is not the optimizer's."""
        trail, update = self.terms.trail, self.ledger.updates
        if trail is not None and trail.due(update):
            trail.leave(update, optimizer, self.policy, self.start, self.lesson)
            self.ledger.begin(self.policy.base)

    def _look(self) -> Metrics:
        """Now and then, have the policy answer and compare; what that costs is not the optimizer's."""
        every = self.terms.watch.every
        if not self.terms.answers or not every or self.ledger.updates % every:
            return {}
        seen = self._seen()
        self.ledger.begin(self.policy.base)
        return {f"watch_{name}": value for name, value in seen.items()}

    def _seen(self) -> Metrics:
        told = self.canaries.look(self.policy, self.start, self._prompts(), self.terms.seed)
        return told | self.canaries.compare(self.policy, self.start, self.pairs)

    def _prompts(self) -> list[Prompt]:
        lesson = self.lesson
        if lesson.prompts:
            return list(lesson.prompts)
        asked: list[Prompt] = [pair.prompt for pair in lesson.comparisons]
        asked += [shown.prompt for shown in lesson.demonstrations] + [rated.prompt for rated in lesson.ratings]
        return list({prompt.id: prompt for prompt in asked}.values())

    def _note(self, metrics: Metrics) -> None:
        if odd := [name for name, value in metrics.items() if not math.isfinite(value)]:
            raise CanaryError(f"update {self.ledger.updates}: {', '.join(odd)} is not a finite number")
        spent = {"labels": self.ledger.labels, "tokens": self.ledger.tokens, "flops": self.ledger.flops}
        row = {"update": self.ledger.updates, **metrics, **spent, "seconds": round(self.ledger.seconds, 3)}
        with named(self.files.updates), self.files.updates.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.tell(self.ledger.updates, metrics, self.ledger)

    def _save(self, stopped: str = "") -> None:
        self.canaries.untouched()
        facts = {"ledger": self.ledger.row(), "canaries": self.canaries.facts(), "feedback": self.notes.get("feedback")}
        facts["stopped"] = stopped
        self.memory.write(self.files.checkpoint, self.ledger.updates, facts)
        self.saved = self.ledger.updates
        self.ledger.begin(self.policy.base)


def _opening(budget: Budget, facts: Mapping[str, Any]) -> Budget:
    """Without the limit of labels where a checkpoint was not stopped by it: whether later updates cost any is known only when
    the decks are there again."""
    by_labels = str(facts.get("stopped", "labels")).startswith("labels")
    return budget if by_labels else replace(budget, labels=None)


def _same_feedback(before: str | None, now: str | None) -> None:
    if before != now:
        raise MemoryLost("the feedback is not what this training was begun with; put it back, or start a new run folder")


def _shorten(updates: Path, kept: int) -> None:
    """Leave the updates that the checkpoint knows: those after it are about to be made again."""
    updates.parent.mkdir(parents=True, exist_ok=True)
    lines = updates.read_text(encoding="utf-8").splitlines(keepends=True) if updates.exists() else []
    updates.write_text("".join(lines[:kept]), encoding="utf-8")


@contextmanager
def _polite_stop() -> Iterator[threading.Event]:
    """The first Ctrl-C asks for a stop after this update; a second one does not wait."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
