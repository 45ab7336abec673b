"""collect → train → answer → judge: the stages of a run, each reading the files of those before it and writing its own.

run = Run.open("demo.toml")
run.judge()                 # does whatever is still to be done before it
print(run.report().table())
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from alignzoo.interfaces import Asking, Lesson, Policy, Valued, no_reward
from alignzoo.lab import store
from alignzoo.lab.plan import Part, Plan, PlanError, differences, plan_of, read_plan
from alignzoo.lab.report import Report, report_of
from alignzoo.lab.training import Seat, Tell, Terms, Trained, say_nothing, train
from alignzoo.learning.intake import admit
from alignzoo.learning.memory import newest
from alignzoo.model.base import Base
from alignzoo.model.forest import per_reply
from alignzoo.model.role import Role, bare_on, load_role, policy_on
from alignzoo.records import (
    Completion,
    Feedback,
    Prompt,
    completion_from_row,
    completion_to_row,
    prompt_from_row,
    prompt_to_row,
)
from alignzoo.seam.discovery import discover


class RunError(ValueError):
    """A run folder that cannot be used as asked."""


@dataclass
class Listener:
    """What a run tells while it works. Every method may do nothing."""

    stage: Callable[[str, str], None] = lambda name, what: None
    update: Tell = say_nothing
    progress: Callable[[str, int, int], None] = lambda name, done, total: None
    line: Callable[[str], None] = lambda line: None


@dataclass
class Run:
    """A plan and the folder that it is carried out in."""

    plan: Plan
    files: store.Folder
    listener: Listener = field(default_factory=Listener)
    _base: Base | None = None

    @classmethod
    def open(
        cls, path: str | Path, out: str | Path | None = None, changes: Sequence[str] = (), listener: Listener | None = None
    ) -> Run:
        """Open a run file (its folder is made, or taken up again if it was made with the same settings) or the folder of a
        run."""
        path = Path(path)
        if path.is_dir():
            if changes:
                raise RunError(f"{path} is a run that has its settings; override them where it is made: with its run file")
            return cls(_plan_in(path), store.Folder(path), listener or Listener())
        plan = read_plan(path, changes)
        files = store.Folder(Path(out) if out else Path("runs") / plan.name)
        _settle(plan, files)
        return cls(plan, files, listener or Listener())

    # The stages -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Make the policy that alignment starts from, if the plan says how (`[start]`)."""
        plan, files = self.plan, self.files.start
        if plan.start is None or files.done:
            return
        self.listener.stage("start", f"{plan.start.found.component.id} on demonstrations")
        if not files.feedback.exists() and plan.start_feedback:
            self._gather(plan.start_feedback, files.feedback, self._bare)
        self._train(plan.start, files, policy_on_seed(plan.seed), budgeted=False)

    def collect(self) -> Path:
        """Gather the feedback. Candidates, where the source asks for any, are written by the start."""
        if self.plan.feedback is not None and not self.files.feedback.exists():
            self.start()
            self.listener.stage("collect", self.plan.feedback.found.full_name)
            self._gather(self.plan.feedback, self.files.feedback, self.start_role)
        return self.files.feedback

    def train(self) -> None:
        """Improve the policy on the feedback, from the start."""
        if self.files.train.done:
            return
        self.start()
        self.collect()
        self.listener.stage("train", self.plan.optimizer.found.full_name)
        self._train(self.plan.optimizer, self.files.train, self._seat(), budgeted=True)

    def answer(self) -> Path:
        """Have start and policy answer the test prompts, with the same random numbers."""
        if not self.files.answers.exists():
            self.train()
            self.listener.stage("answer", f"{len(self._test_prompts())} prompts, before and after")
            start = self.start_role()
            rows = [*self._answers("start", start, start), *self._answers("policy", self.policy(), start)]
            store.write_rows(self.files.answers, rows)
        return self.files.answers

    def judge(self) -> Path:
        """Score every answer, by the judge as a whole and by each of its values."""
        if not self.files.scores.exists():
            self.answer()
            if self.plan.judge is None:
                raise PlanError('judge: nobody to judge the answers; name a reward: [judge] use = "…"')
            self.listener.stage("judge", self.plan.judge.found.full_name)
            store.write_rows(self.files.scores, _scored(self.plan.judge.made, store.read_rows(self.files.answers)))
        return self.files.scores

    def report(self) -> Report:
        """The table of the run, written beside its files."""
        self.judge()
        report = report_of(self.plan.name, self.plan.table(), self.files)
        store.write_text(self.files.report, report.markdown())
        store.write_json(self.files.root / "report.json", report.row())
        return report

    # What the stages share --------------------------------------------------------------------------------------------

    @property
    def base(self) -> Base:
        """The base, loaded when it is first needed."""
        if self._base is None:
            if self.plan.threads:
                torch.set_num_threads(self.plan.threads)
            self.listener.stage("load", f"{self.plan.model} ({self.plan.loading.quantize})")
            self._base = Base.load(self.plan.model, self.plan.loading, self.plan.lora)
        return self._base

    def policy(self) -> Policy:
        """What answers after training: what the optimizer deploys."""
        if not self.files.train.done:
            raise RunError(f"{self.files.root} is not trained yet; `alignzoo train {self.files.root}`")
        role = self._loaded("policy", self.files.train)
        deployed: Policy = self.plan.optimizer.made.deploy(role, self._lesson(()))
        return deployed

    def _loaded(self, name: str, files: store.Training) -> Role:
        self.base.dismiss(name)
        if not (files.adapter / "adapter_model.safetensors").exists():
            return bare_on(self.base, name)
        return load_role(self.base, files.adapter, name)

    def _bare(self) -> Role:
        self.base.dismiss("start")
        return bare_on(self.base, "start")

    def start_role(self) -> Role:
        """What alignment starts from, as a policy."""
        return self._bare() if self.plan.start is None else self._loaded("start", self.files.start)

    def _seat(self) -> Callable[[Base], Role]:
        if self.plan.start is None:
            return policy_on_seed(self.plan.seed)
        adapter = self.files.start.adapter
        return lambda base: load_role(base, adapter, "policy", trained=True)

    def _lesson(self, feedback: Iterable[Feedback]) -> Lesson:
        prompts = self.plan.task.made.prompts("train") if self.plan.task else ()
        return Lesson.of(feedback, prompts=prompts, reward=self.plan.reward.made if self.plan.reward else no_reward)

    def _train(self, optimizer: Part, files: store.Training, seat: Callable[[Base], Role], *, budgeted: bool) -> Trained:
        feedback = files.feedback if files.folder.name == "start" else self.files.feedback
        self.base.dismiss_all()
        given = store.read_feedback(feedback) if feedback.exists() else ()
        lesson, intake = admit(self._lesson(given), optimizer.made.needs, self.base.text, self.plan.intake)
        for line in intake.lines():
            self.listener.line(line)
        if checkpoint := newest(files.checkpoint):
            self.listener.line(f"going on after update {checkpoint.update}")
        notes = {
            "optimizer": optimizer.row(),
            "intake": intake.row(),
            "feedback": store.file_digest(feedback) if feedback.exists() else "",
            "threads": torch.get_num_threads(),
        }
        plan = self.plan
        terms = Terms(plan.budget if budgeted else type(plan.budget)(), plan.watch, plan.checkpoint_every, plan.seed)
        trained = train(optimizer.made, lesson, Seat(self.base, seat), files, terms, self.listener.update, notes)
        if trained.stopped:
            self.listener.line(f"stopped by the budget: {trained.stopped}")
        return trained

    def _gather(self, source: Part, path: Path, candidates: Callable[[], Role]) -> None:
        asks = source.made.asks
        asking = Asking(
            prompts=self.plan.task.made.prompts("train") if self.plan.task and "prompts" in asks else (),
            policy=candidates() if "policy" in asks else None,
            manner=self.plan.answer.manner,
            seed=self.plan.seed,
        )
        count = store.write_feedback(path, _counted(source.made.collect(asking), self.listener))
        self.listener.line(f"{count} records → {path}")

    def _test_prompts(self) -> Sequence[Prompt]:
        how = self.plan.answer
        if how.file:
            return read_prompts(Path(how.file))[: how.prompts]
        assert self.plan.task is not None  # the plan was checked
        prompts: Sequence[Prompt] = self.plan.task.made.prompts(how.split)
        return prompts[: how.prompts]

    def _answers(self, who: str, policy: Policy, start: Role) -> Iterator[dict[str, Any]]:
        """Rows of answers.jsonl. The KL from the start is by the shared estimator, from each answer's own log-probabilities."""
        how, prompts = self.plan.answer, self._test_prompts()
        for first in range(0, len(prompts), 32):
            some = prompts[first : first + 32]
            groups = policy.sample(some, how.n, how.manner)
            forest = self.base.text.replies(some, groups, self.base.device)
            with torch.no_grad():
                before = per_reply(start.logps(forest), forest).tolist()
            replies = [(prompt, k, reply) for prompt, group in zip(some, groups, strict=True) for k, reply in enumerate(group)]
            for (prompt, number, reply), start_logp in zip(replies, before, strict=True):
                drawn = sum(reply.logps) if reply.logps else None
                yield {
                    "who": who,
                    "number": number,
                    "prompt": prompt_to_row(prompt),
                    "completion": completion_to_row(reply),
                    "kl": drawn - start_logp if drawn is not None else None,
                }
            self.listener.progress(who, min(first + 32, len(prompts)), len(prompts))


def policy_on_seed(seed: int) -> Callable[[Base], Role]:
    """A seat for a policy that begins as the base."""
    return lambda base: policy_on(base, seed)


def read_prompts(path: Path) -> list[Prompt]:
    """Prompts from JSON lines: "prompt", a text, or "turns", a list of speaker and text."""
    prompts = []
    for number, row in enumerate(store.read_rows(path), start=1):
        if isinstance(row.get("prompt"), str):
            prompts.append(Prompt.ask(row["prompt"]))
        elif isinstance(row.get("turns"), list):
            prompts.append(prompt_from_row({"turns": row["turns"]}))
        else:
            raise store.StoreError(f'{path}:{number}: a row needs "prompt" (a text) or "turns" (a list)')
    if not prompts:
        raise store.StoreError(f"{path} holds no prompt")
    return prompts


def _scored(judge: Any, answers: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    prompts = [prompt_from_row(row["prompt"]) for row in answers]
    completions: list[Completion] = [completion_from_row(row["completion"]) for row in answers]
    whole = _checked("the judge", judge(prompts, completions), len(answers))
    values = judge.by_value(prompts, completions) if isinstance(judge, Valued) else {}
    apart = {name: _checked(name, scores, len(answers)) for name, scores in values.items()}
    for place, (row, score) in enumerate(zip(answers, whole, strict=True)):
        values_here = {name: scores[place] for name, scores in apart.items()}
        yield {"who": row["who"], "number": row["number"], "prompt": prompts[place].id, "score": score, "values": values_here}


def _checked(name: str, scores: Iterable[float], count: int) -> list[float]:
    given = [float(score) for score in scores]
    if len(given) != count:
        raise RunError(f"{name} gave {len(given)} scores for {count} answers")
    if odd := [place for place, score in enumerate(given) if score != score or score in (float("inf"), -float("inf"))]:
        raise RunError(f"{name} gave {given[odd[0]]} for answer {odd[0] + 1}; a score is a finite number")
    return given


def _counted(records: Iterable[Feedback], listener: Listener) -> Iterator[Feedback]:
    for number, record in enumerate(records, start=1):
        if number % 50 == 0:
            listener.progress("records", number, 0)
        yield record


def progress_of(root: Path) -> dict[str, str]:
    """How far the run in a folder is, stage by stage."""
    files, plan = store.Folder(root), _plan_in(root)
    trainings = {"start": (files.start, plan.start), "train": (files.train, plan.optimizer)}
    states = {name: _state(training) for name, (training, part) in trainings.items() if part is not None}
    written = {"collect": files.feedback, "answer": files.answers, "judge": files.scores}
    states |= {name: "done" if path.exists() else "to do" for name, path in written.items()}
    return {name: states[name] for name in ("start", "collect", "train", "answer", "judge") if name in states}


def _state(training: store.Training) -> str:
    if training.done:
        return "done"
    checkpoint = newest(training.checkpoint)
    return f"checkpoint after update {checkpoint.update}" if checkpoint else "to do"


def _plan_in(folder: Path) -> Plan:
    settings = store.Folder(folder).settings
    if not settings.exists():
        raise RunError(f"{folder} is no run: there is no run.toml in it")
    table = tomllib.loads(settings.read_text(encoding="utf-8"))
    table.pop("made_with", None)
    return plan_of(table, discover(), file=str(settings))


def _settle(plan: Plan, files: store.Folder) -> None:
    """Make the folder of a plan, or make sure that it is this plan's."""
    import tomli_w

    table = plan.table()
    if files.settings.exists():
        there = tomllib.loads(files.settings.read_text(encoding="utf-8"))
        made_with = there.pop("made_with", {})
        if told := differences(there, table):
            raise RunError(
                f"{files.root} was made with other settings; choose another folder with --out, or remove it:\n  "
                + "\n  ".join(told)
            )
        if told := differences(made_with.get("plugins", {}), plan.made_with()["plugins"]):
            raise RunError(
                f"{files.root} was made with other bytes of its plugins; choose another folder with --out, or remove it:\n  "
                + "\n  ".join(told)
            )
        return
    if files.root.exists() and any(files.root.iterdir()):
        raise RunError(f"{files.root} is there already and is no run; choose another folder with --out")
    store.write_text(files.settings, tomli_w.dumps({**table, "made_with": plan.made_with()}))
