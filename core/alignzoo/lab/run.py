"""collect → train → answer → judge: the stages of a run, each reading the files of those before it and writing its own.

run = Run.open("demo.toml")
print(run.report().markdown())  # does whatever is still to be done before it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignzoo.interfaces import Closed, Metrics, Policy, Reward
from alignzoo.lab import store
from alignzoo.lab.answering import answers, scores
from alignzoo.lab.cast import Cast, fresh
from alignzoo.lab.claims import claimed
from alignzoo.lab.costs import updates_in_all
from alignzoo.lab.folders import RunError, plan_in, settle
from alignzoo.lab.gathering import asking_of, counted, gather
from alignzoo.lab.listener import UPDATES, Listener, Tell
from alignzoo.lab.machine import machine
from alignzoo.lab.opinions import opinions
from alignzoo.lab.plan import Part, Plan, check_judge
from alignzoo.lab.prompts import prompts_of
from alignzoo.lab.report import Report, report_of
from alignzoo.lab.reserve import Reserve
from alignzoo.lab.runfile import read_plan
from alignzoo.lab.shelf import key_of, shared
from alignzoo.lab.teaching import check_teaches, trainings
from alignzoo.lab.trail import Trail
from alignzoo.lab.training import Seat, Terms, Trained, train
from alignzoo.learning.choices import Budget
from alignzoo.learning.intake import admit
from alignzoo.learning.ledger import Ledger
from alignzoo.learning.memory import newest
from alignzoo.learning.reference import keeping
from alignzoo.model.role import Role
from alignzoo.records import Feedback
from alignzoo.seam.discovery import discover
from alignzoo.seam.hooks import Hooks
from alignzoo.seam.hookspecs import Course
from alignzoo.seam.settings import table_of
from alignzoo.tally import Tally

if TYPE_CHECKING:
    from alignzoo.model.base import Base


@dataclass
class Run:
    """A plan and the folder that it is carried out in."""

    plan: Plan
    files: store.Folder
    listener: Listener = field(default_factory=Listener)
    shelf: Path | None = None
    """Where everything that several runs need is kept, feedback and the start's answers too. Without it starts and rewards
    are, beside the run's folder."""

    @classmethod
    def open(
        cls,
        path: str | Path,
        out: str | Path | None = None,
        changes: Sequence[str] = (),
        listener: Listener | None = None,
        plugins: Sequence[str] = (),
        *,
        other_bytes: bool = False,
    ) -> Run:
        """Open a run file (its folder is made, or taken up again if it was made with the same settings) or the folder of a
        run. `plugins` are files beside those that the run file names. With `other_bytes` one that is not trained yet may go on
        though plugins have changed, and says so in run.toml."""
        path = Path(path)
        if path.is_dir():
            if changes or out or plugins:
                raise RunError(
                    f"{path} is a run, with its own settings, plugins and folder; --set, --plugin and --out go with a run file"
                )
            return cls(plan_in(path, other_bytes=other_bytes), store.Folder(path), listener or Listener())
        run = cls.planned(path, out, changes, listener, plugins)
        settle(run.plan, run.files, other_bytes=other_bytes)
        return run

    @classmethod
    def planned(
        cls,
        path: str | Path,
        out: str | Path | None = None,
        changes: Sequence[str] = (),
        listener: Listener | None = None,
        plugins: Sequence[str] = (),
    ) -> Run:
        """The run of a run file, for which no folder is made yet."""
        plan = read_plan(Path(path), changes, plugins=plugins)
        return cls(plan, store.Folder(Path(out) if out else Path("runs") / plan.name), listener or Listener())

    @classmethod
    def at(cls, root: str | Path, listener: Listener | None = None) -> Run:
        """The run in a folder, which must be there."""
        return cls(plan_in(Path(root)), store.Folder(Path(root)), listener or Listener())

    # The stages -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Make the policy that alignment starts from, if the plan says how (`[start]`)."""
        plan, files = self.plan, self.files.start
        if plan.start is None or files.done:
            return
        self.listener.stage("start", f"{plan.start.found.component.id} on demonstrations")
        with self._shared(key_of(plan, {}, ("start", "start.feedback")), files.folder) as taken:
            if taken:
                return
            if not files.feedback.exists() and plan.start_feedback:
                gather(plan, plan.start_feedback, files.feedback, self.cast.bare, self.listener)
            self._train(plan.start, plan.start_feedback, files, fresh("policy", plan.seed), self._terms(budget=Budget()))

    def rewards(self) -> None:
        """Train the rewards that are to be trained (`[reward.feedback]`), each from the start."""
        for place, rewarding, files in self.cast.rewards():
            if rewarding.feedback and not files.done:
                self._scoring(place, rewarding.part, rewarding.feedback, files, self._for_reward(place))

    def jury(self) -> None:
        """Train the jury (`[jury.feedback]`), each from the start. Nothing is raised by it, nor does it take of the budget."""
        for place, juror, files in self.cast.jury():
            if juror.feedback and not files.done:
                self._scoring(place, juror.part, juror.feedback, files, Budget())

    def _scoring(self, place: str, part: Part, source: Part, files: store.Training, budget: Budget) -> None:
        """Train what is to score answers, or take it from a run that needed the same."""
        self.start()
        self.listener.stage(files.folder.name, f"{part.found.component.id} on {source.found.component.id}")
        rows = {"reward": part.row(), "feedback": source.row(), "role": files.folder.name, "budget": budget.limits()}
        key = key_of(self.plan, rows, ("start", "start.feedback", place, f"{place}.feedback"))
        with self._shared(key, files.folder) as taken:
            if taken:
                return
            if not files.feedback.exists():
                self._collected(source, files.feedback, f"{place}.feedback")
            seat = self.cast.seat(files.folder.name)
            self._train(part, source, files, seat, self._terms(budget=budget, answers=False))

    def collect(self) -> Path:
        """Gather the feedback. Candidates, where the source asks for any, are written by the start."""
        source, path = self.plan.feedback, self.files.feedback
        if source is not None and not path.exists():
            if "policy" in source.made.asks:
                self.start()
            self.listener.stage("collect", source.found.full_name)
            self._collected(source, path, "feedback")
        return path

    def preview(self, shown: int) -> tuple[list[Feedback], Tally]:
        """The first records that collecting would give, and what the source came across in all it read; nothing is kept."""
        source = self.plan.feedback
        if source is None:
            raise RunError(f"{self.plan.name} collects no feedback; name a source in the run file: [feedback] use = …")
        if "policy" in source.made.asks and self.plan.start:
            settle(self.plan, self.files)
            self.start()
        asking = asking_of(self.plan, source, self.start_role)
        first: list[Feedback] = []
        for number, record in enumerate(counted(source.collect(asking, Reserve(self.plan.whose)), self.listener)):
            if number < shown:
                first.append(record)
        return first, asking.tally

    def train(self) -> None:
        """Improve the policy on the feedback, from the start."""
        if self.files.train.done:
            return
        source, name = self.plan.learned, self.plan.optimizer.found.full_name
        self._read_corpora()
        self.cast.check_room()
        self.start()
        if self.plan.raised:
            self.rewards()
        self.jury()  # what is wrong with what it learns from is told before the policy is trained
        if source:
            self.collect()
        if (self.plan.feedback, self.plan.rewards) != (source, self.plan.raised):
            asked = " and ".join(self.plan.optimizer.made.needs) or "nothing"
            self.listener.line(f"{name} asks for {asked}: what else the run names is left alone")
        self.listener.stage("train", self.plan.optimizer.found.full_name)
        self._train(self.plan.optimizer, source, self.files.train, self.cast.seat("policy"), self._terms(budget=self._left()))

    def _read_corpora(self) -> None:
        """Gather what asks nothing of a model, for every training that is to be done. What is wrong with it, and that it
        teaches nothing, is told before one is loaded."""
        for training in trainings(self.cast):
            source, path = training.source, training.files.feedback
            if source.made.asks:
                continue
            if path == self.files.feedback:
                self.collect()
            elif not path.exists():
                self.listener.stage("collect", f"{source.found.full_name} for {path.parent.name}")
                self._collected(source, path, training.place)
            check_teaches(training, store.read_feedback(path))

    def answer(self) -> Path:
        """Have start and policy answer the test prompts, with the same random numbers."""
        if not self.files.answers.exists():
            self.train()
            self.listener.stage("answer", f"{len(prompts_of(self.plan))} prompts, before and after")
            if closed := self._closed():
                self.listener.line(f"no prompt is held out: {closed}")
            first, before = self._start_answers()
            policy = self.policy()
            second, after = self._answers("policy", policy)
            store.write_json(self.files.serving, {"start": before, "policy": after})
            if self.plan.whose.held:
                self._ask_groups(policy)
            store.write_rows(self.files.answers, [*first, *second])
            self._tell_cuts()
        return self.files.answers

    def _ask_groups(self, policy: Policy) -> None:
        """What each group of annotators thinks of a policy, by the judgements that it has not learned from."""
        held = [path for path in map(store.held_beside, self.files.feedbacks()) if path.exists()]
        if not held:
            self.listener.line("whose choices: nobody is asked, for no judgement was held back")
            return
        choices = chain.from_iterable(map(store.read_feedback, held))
        store.write_rows(self.files.opinions, opinions(policy, self.start_role(), choices, self.plan.whose.who))

    def _tell_cuts(self) -> None:
        """Once, of everything that was read since it was last told."""
        cuts = self.base.text.cuts
        if cuts.prompts:
            self.listener.line(f"{cuts.prompts} prompts lost their beginning to the context")
            cuts.lost.clear()

    def _closed(self) -> str:
        """Why the test prompts are all that there are; empty where others could have been asked."""
        task = self.plan.task.made if self.plan.task and not self.plan.answer.file else None
        return task.closed if isinstance(task, Closed) else ""

    def _answers(self, who: str, policy: Policy) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """What a policy says, and what that cost."""
        served = Ledger()
        told = self.listener.progress
        rows = list(
            answers(who, policy, self.start_role(), prompts_of(self.plan), self.plan.answer.under(self.plan.seed), told, served)
        )
        return rows, {"answers": len(rows), **served.row()}

    def _start_answers(self) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """What the start says: to all runs that begin alike and ask alike, the same."""
        if self.shelf is None:
            return self._answers("start", self.start_role())
        key = key_of(self.plan, {"answer": table_of(self.plan.answer.under(self.plan.seed))}, ("start", "start.feedback"))
        kept = store.Folder(self.shelf / key)
        with claimed(self.shelf / f"{key}.claim", self.listener.line):
            if not kept.answers.exists():
                rows, served = self._answers("start", self.start_role())
                store.write_json(kept.serving, served)
                store.write_rows(kept.answers, rows)
        return store.read_rows(kept.answers), store.read_json(kept.serving)

    def judge(self) -> Path:
        """Score every answer, by the judge as a whole and by each of its values."""
        if not self.files.scores.exists():
            judge = check_judge(self.plan)
            self.answer()
            self.listener.stage("judge", judge.found.full_name)
            rows = store.read_rows(self.files.answers)
            self.jury()
            told, bounds = scores(self.cast.lent(judge.made), rows, self.hooks.columns, self.cast.jurors())
            store.write_json(self.files.judging, {"bounds": bounds, "closed": self._closed()})
            store.write_rows(self.files.scores, told)
        return self.files.scores

    def report(self) -> Report:
        """The table of the run, written beside its files."""
        self.judge()
        report = report_of(self.plan.name, self.plan.table(), self.files)
        store.write_text(self.files.report, report.markdown())
        store.write_report(self.files.root / "report.json", report.row())
        return report

    # What the stages share --------------------------------------------------------------------------------------------

    @cached_property
    def cast(self) -> Cast:
        """Who plays in it."""
        return Cast(self.plan, self.files, self.listener.stage)

    @property
    def base(self) -> Base:
        """The base, loaded when it is first needed."""
        return self.cast.base

    def policy(self) -> Policy:
        """What answers after training."""
        return self.cast.policy()

    def start_role(self) -> Role:
        """What alignment starts from, as a policy."""
        return self.cast.start()

    def reward(self) -> Reward:
        """What the optimizer is to raise."""
        return self.cast.reward()

    @cached_property
    def hooks(self) -> Hooks:
        """The plugins that want to be told of what happens."""
        copies = [str(self.files.plugin(path)) for path in self.plan.plugins]
        return Hooks(discover(files=copies).hooked, self.listener.line)

    def _shared(self, key: str, *paths: Path) -> AbstractContextManager[bool]:
        """Whether this stage was done before, by this run or another."""
        return shared(self.shelf or self.files.root.parent / ".stages", key, *paths, tell=self.listener.line)

    def _terms(self, *, budget: Budget, answers: bool = True) -> Terms:
        return Terms(budget, self.plan.watch, self.plan.checkpoint_every, self.plan.seed, answers)

    def _left(self) -> Budget:
        """What the optimizer may spend: the budget, or, where that is the rewards' too, what they left. No label is kept from
        who asks for none."""
        budget = self._after_rewards() if self.plan.budget.rewards and self.plan.raised else self.plan.budget
        return budget if set(self.plan.optimizer.made.needs) - {"prompts", "reward"} else replace(budget, labels=None)

    def _for_reward(self, place: str) -> Budget:
        """What a reward may be trained from: where the budget is theirs too, what those before it left."""
        if not self.plan.budget.rewards:
            return Budget()
        budget = replace(self._after_rewards(), updates=None)
        if reason := budget.reached(Ledger()):
            how = "give more, or write rewards = false under [budget]"
            raise RunError(f"{place}: the rewards before it have taken the budget, {reason} are left; {how}")
        return budget

    def _after_rewards(self) -> Budget:
        """What the rewards that are trained have left of the budget."""
        trained = [files for _, rewarding, files in self.cast.rewards() if rewarding.feedback and files.done]
        return self.plan.budget.after([Ledger.from_row(store.read_json(files.summary)["ledger"]) for files in trained])

    def _trail(self) -> Trail | None:
        """Who writes down the way of the training, if that is asked for."""
        how, task = self.plan.trail, self.plan.task
        if not how.every or task is None:
            return None
        prompts = task.made.prompts(how.split)[: how.prompts]
        gold = self.cast.lent(check_judge(self.plan).made, "judge")
        return Trail(self.files.train.trail, how.every, prompts, self.plan.answer.under(self.plan.seed), gold)

    def _train(
        self, optimizer: Part, source: Part | None, files: store.Training, seat: Callable[[Base], Role], terms: Terms
    ) -> Trained:
        feedback = self.files.feedback if files == self.files.train else files.feedback
        self.base.dismiss_all()
        given = store.read_feedback(feedback) if feedback.exists() else ()
        needs = optimizer.made.needs
        lesson, intake = admit(self.cast.lesson(given, needs), needs, self.base.text, self.plan.intake)
        for line in intake.lines():
            self.listener.line(line)
        if files == self.files.train:
            terms = replace(terms, trail=self._trail())
        if checkpoint := newest(files.checkpoint):
            self.listener.line(f"going on after update {checkpoint.update}")
        notes = {
            "optimizer": optimizer.row(),
            "intake": intake.row(),
            "feedback": store.file_digest(feedback) if feedback.exists() else "",
            "machine": machine(),
            "base": self.cast.likeness,
        }
        course = Course(self.plan.name, files.folder.name, str(files.folder), optimizer.found.full_name, self.plan.table())
        self.hooks.started(course)
        with keeping(self.shelf / "references") if self.shelf else nullcontext():
            telling = self._telling(course, replace(self.plan, optimizer=optimizer, feedback=source, budget=terms.budget))
            trained = train(optimizer.made, lesson, Seat(self.base, seat), files, terms, telling, notes)
        self.hooks.ended(course, store.read_json(files.summary))
        self._tell_cuts()
        if trained.stopped:
            self.listener.line(f"stopped by the budget: {trained.stopped}")
        for doubt in trained.doubts:
            self.listener.line(f"warning: {doubt}")
        return trained

    def _telling(self, course: Course, expected: Plan) -> Tell:
        """Who is told of an update; how many there will be is that of a plan of which this training is all."""

        def tell(update: int, metrics: Metrics, ledger: Ledger) -> None:
            self.listener.update(update, metrics, ledger)
            if whole := updates_in_all(expected, vars(ledger)):
                self.listener.progress(UPDATES, update, max(whole, update))
            self.hooks.updated(course, update, metrics)

        return tell

    def _collected(self, source: Part, path: Path, place: str) -> None:
        """Feedback on the start: with a shelf it is gathered once, whether an optimizer or a reward learns from it."""
        if self.shelf is None:
            gather(self.plan, source, path, self.start_role, self.listener)
            return
        rows = {"feedback": source.row(), "answer": table_of(self.plan.answer) if source.filters else {}}
        key = key_of(self.plan, rows, ("start", "start.feedback", place))
        with self._shared(key, store.tally_beside(path), store.held_beside(path), path) as taken:
            if not taken:
                gather(self.plan, source, path, self.start_role, self.listener)
