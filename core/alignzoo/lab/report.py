"""What came of a run: a small table, the values apart, and answers before and after, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignzoo.lab import store
from alignzoo.lab.plan import PREFERRED
from alignzoo.lab.reserve import agreement
from alignzoo.lab.statistics import FEW_PROMPTS, Estimate, bootstrap, gains, share, wins
from alignzoo.lab.strange import in_markdown, on_one_line
from alignzoo.seam.installed import LOCAL

_SHOWN = 6


@dataclass(frozen=True)
class Contrast:
    """One prompt with the first answer of start and policy, and their scores."""

    prompt: str
    before: str
    after: str
    score_before: float
    score_after: float


@dataclass(frozen=True)
class Group:
    """What a group of annotators thinks of the policy: how often it agrees with choices of theirs that nobody learned from."""

    name: str
    """Empty for those of whom nothing tells the group."""
    learned: int
    """Judgements of theirs that were learned from."""
    choices: int
    prompts: int
    agrees: Estimate | None
    """None where no choice was held back, or the policy gives no log-probabilities."""

    def cells(self) -> list[str]:
        """For a reader."""
        mute = "not known: the policy gives no log-probabilities" if self.choices else "–"
        return [self.name or NO_GROUP, f"{self.learned:,}", f"{self.choices:,}", str(self.agrees or mute)]


NO_GROUP = "(no group is told)"
GROUP = ("group", "judgements learned from", "choices held back", "the policy agrees")


@dataclass(frozen=True)
class Stage:
    """One training of a run: what it was, what it spent, and what its last updates told."""

    name: str
    optimizer: str
    spent: Mapping[str, float]
    told: Mapping[str, float]
    warnings: tuple[str, ...] = ()

    def cells(self) -> list[str]:
        """For a reader."""
        counts = (f"{self.spent[name]:,.0f}" for name in ("updates", "labels", "scores"))
        spent = (f"{self.spent['flops']:.3g}", f"{self.spent['seconds']:,.1f}")
        return [self.name, self.optimizer.rpartition("/")[2], *counts, *spent, self.said()]

    def said(self) -> str:
        """Of a reward model how often it was right on held-out feedback, beside what can be reached; else score or loss."""
        told = self.told
        if "held_out_accuracy" not in told:
            return ", ".join(f"{name} {told[name]:.3g}" for name in ("score", "loss") if name in told)
        low, high = told["held_out_accuracy_low"], told["held_out_accuracy_high"]
        ceiling = f"; ceiling {told['ceiling']:.3f}" if "ceiling" in told else ""
        return f"right {told['held_out_accuracy']:.3f} [{low:.3f}, {high:.3f}]{ceiling}"


WHOSE = "Whose choices"
AGREES = """\
The policy agrees with a choice where it has made the chosen answer likelier than the rejected one, beside the start. Nobody \
learned from these choices; one half is no opinion."""
UNASKED = """\
No choice was held back from learning, so no group can be asked whether the policy agrees with it: write held = 0.2 under \
[whose] in the run file."""
JURY = f"""\
"{PREFERRED}…" is how often a juror, a reward that nobody raised, finds an answer better than the start's to the same prompt."""
STAGE = ("stage", "what", "updates", "labels", "scores", "FLOPs", "seconds", "at its end")


@dataclass(frozen=True)
class Report:
    """The figures of a run. Rewards are the judge's; KL is in nats per answer, by samples."""

    name: str
    judge: str
    prompts: int
    start: Estimate
    policy: Estimate
    gain: Estimate
    win_rate: Estimate
    kl: Estimate | None
    values: Mapping[str, tuple[Estimate, Estimate]]
    spent: Mapping[str, float]
    finished: tuple[float, float]
    stages: tuple[Stage, ...]
    contrasts: tuple[Contrast, ...]
    settings: Mapping[str, Any]
    plugins: Mapping[str, str]
    """The version and digest of every plugin, by the full names of its components."""
    groups: tuple[Group, ...] = ()
    """Whose choices the policy follows, where some were held back to tell it by."""

    def rows(self) -> Iterator[tuple[str, str]]:
        """The table, for a reader."""
        yield f"reward before ({self.judge})", str(self.start)
        yield "reward after", str(self.policy)
        yield "gain", str(self.gain)
        yield "win rate against the start", str(self.win_rate)
        yield "KL from the start (nats/answer)", str(self.kl) if self.kl else "not known: the policy gives no log-probabilities"
        yield "answers that end, before → after", f"{self.finished[0]:.0%} → {self.finished[1]:.0%}"
        yield "labels", f"{self.spent['labels']:,.0f}"
        yield "tokens read + written", f"{self.spent['read']:,.0f} + {self.spent['written']:,.0f}"
        yield "FLOPs", f"{self.spent['flops']:.3g}"
        yield "seconds in updates", f"{self.spent['seconds']:,.1f}"
        yield "peak memory", f"{self.spent['peak_bytes'] / 2**20:,.0f} MiB"
        for name, made in self.plugins.items():
            if made.startswith(f"{LOCAL} "):
                yield name, f"{made[:27]}…, a file of one's own"
        for stage in self.stages:
            for warning in stage.warnings:
                yield f"WARNING ({stage.name})", warning

    def intervals(self) -> str:
        """How the intervals came about, and whether they are to be believed."""
        few = ": they are few, and 100 or more tell small differences" if self.prompts < FEW_PROMPTS else ""
        return f"95 % intervals by bootstrap over {self.prompts} prompts{few}."

    def asked(self) -> str:
        """What it means that groups agree, or how to ask them."""
        return AGREES if any(group.choices for group in self.groups) else UNASKED

    def markdown(self) -> str:
        """The whole report as Markdown."""
        lines = [
            f"# {on_one_line(self.name)}",
            "",
            "| | |",
            "|---|---|",
            *(f"| {what} | {value} |" for what, value in self.rows()),
        ]
        if self.values:
            lines += ["", "| value | before | after |", "|---|---|---|"]
            lines += [f"| {_cell(name)} | {before} | {after} |" for name, (before, after) in self.values.items()]
            lines += ["", JURY] if any(name.startswith(PREFERRED) for name in self.values) else []
        if self.groups:
            lines += ["", f"## {WHOSE}", "", f"| {' | '.join(GROUP)} |", "|" + "---|" * len(GROUP)]
            lines += [f"| {' | '.join(map(_cell, group.cells()))} |" for group in self.groups]
            lines += ["", self.asked()]
        lines += ["", f"| {' | '.join(STAGE)} |", "|" + "---|" * len(STAGE)]
        lines += [f"| {' | '.join(map(_cell, stage.cells()))} |" for stage in self.stages]
        lines += ["", self.intervals(), "", "## Before and after", ""]
        lines += ["| prompt | before | after |", "|---|---|---|"]
        lines += [
            f"| {_cell(c.prompt)} | {_cell(c.before)} ({c.score_before:.2f}) | {_cell(c.after)} ({c.score_after:.2f}) |"
            for c in self.contrasts
        ]
        return in_markdown("\n".join(lines) + "\n")

    def row(self) -> dict[str, Any]:
        """The whole report as plain data."""
        return {
            "name": self.name,
            "judge": self.judge,
            "prompts": self.prompts,
            "start": self.start.row(),
            "policy": self.policy.row(),
            "gain": self.gain.row(),
            "win_rate": self.win_rate.row(),
            "kl": self.kl.row() if self.kl else None,
            "values": {name: {"start": a.row(), "policy": b.row()} for name, (a, b) in self.values.items()},
            "finished": {"start": self.finished[0], "policy": self.finished[1]},
            "spent": dict(self.spent),
            "groups": [vars(group) | {"agrees": group.agrees.row() if group.agrees else None} for group in self.groups],
            "stages": [vars(stage) for stage in self.stages],
            "settings": dict(self.settings),
            "plugins": dict(self.plugins),
        }


def report_in(root: Path) -> Report | None:
    """The report of a run's folder, if the run is judged."""
    files = store.Folder(root)
    settings = store.read_settings(files)
    return report_of(settings["name"], settings, files) if files.scores.exists() else None


def report_of(name: str, settings: Mapping[str, Any], files: store.Folder) -> Report:
    """Read a run's answers, scores and ledger."""
    answers, scores = store.read_rows(files.answers), store.read_rows(files.scores)
    if len(answers) != len(scores):
        raise store.StoreError(f"{files.scores} has {len(scores)} rows for {len(answers)} answers; delete it and judge again")
    before, after = _grouped(scores, "start"), _grouped(scores, "policy")
    kls = _kls(answers, scores)
    summary = store.read_summary(files.train)
    names = list(scores[0]["values"]) if scores else []
    return Report(
        name=name,
        judge=settings["judge"]["use"],
        prompts=len(before),
        start=bootstrap(before),
        policy=bootstrap(after),
        gain=bootstrap(gains(after, before)),
        win_rate=bootstrap(wins(after, before)),
        kl=bootstrap(kls) if kls else None,
        values={
            value: (bootstrap(_grouped(scores, "start", value)), bootstrap(_grouped(scores, "policy", value)))
            for value in names
        },
        spent=summary["ledger"],
        finished=(_ended(answers, "start"), _ended(answers, "policy")),
        stages=tuple(_stages(files)),
        contrasts=tuple(_contrasts(answers, scores)),
        groups=tuple(_groups(files)),
        settings=settings,
        plugins=store.read_settings(files).get("made_with", {}).get("plugins", {}),
    )


def _grouped(scores: Sequence[Mapping[str, Any]], who: str, value: str = "") -> dict[str, list[float]]:
    groups: dict[str, list[float]] = {}
    for row in scores:
        if row["who"] == who:
            groups.setdefault(row["prompt"], []).append(row["values"][value] if value else row["score"])
    return groups


def _kls(answers: Sequence[Mapping[str, Any]], scores: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    groups: dict[str, list[float]] = {}
    for answer, score in zip(answers, scores, strict=True):
        if answer["who"] == "policy" and answer["kl"] is not None:
            groups.setdefault(score["prompt"], []).append(answer["kl"])
    return groups


def _stages(files: store.Folder) -> Iterator[Stage]:
    """Every training of the run, in its order."""
    jury = read_jury(files)
    trainings = [files.start, *(files.reward(number) for number in range(1, 100)), files.train, *jury]
    for training in (training for training in trainings if training.done):
        summary = store.read_summary(training)
        told: dict[str, float] = {}
        for row in store.read_rows(training.updates):
            told |= row
        warnings = tuple(summary.get("warnings", ()))  # older runs have none
        yield Stage(jury.get(training, training.folder.name), summary["optimizer"]["use"], summary["ledger"], told, warnings)


def read_jury(files: store.Folder) -> dict[store.Training, str]:
    """What each training of a juror is called."""
    jury = enumerate(jury_in(store.read_settings(files)), start=1)
    return {files.juror(number): f"jury: {row['name']}" for number, row in jury if "feedback" in row}


def jury_in(settings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The jurors in a run's settings."""
    rows = settings.get("jury", [])
    return list(rows) if isinstance(rows, list) else [rows]


def _groups(files: store.Folder) -> Iterator[Group]:
    """By name, where there are several, or some of their choices were held back."""
    learned = store.groups_in(store.learned_from(files))
    choices = store.read_rows(files.opinions) if files.opinions.exists() else []
    if not choices and len([name for name in learned if name]) < 2:
        return
    for name in sorted({*learned, *(choice["group"] for choice in choices)}):
        own = [choice for choice in choices if choice["group"] == name]
        agreed = agreement(own) if own and own[0]["lead"] is not None else {}
        prompts = len({choice["prompt"] for choice in own})
        yield Group(name, learned.get(name, 0), len(own), prompts, share(agreed) if agreed else None)


def _ended(answers: Sequence[Mapping[str, Any]], who: str) -> float:
    ended = [bool(row["completion"].get("finished", True)) for row in answers if row["who"] == who]
    return sum(ended) / len(ended)


def _contrasts(answers: Sequence[Mapping[str, Any]], scores: Sequence[Mapping[str, Any]]) -> Iterator[Contrast]:
    """Some prompts, spread over the test set so that they are not chosen by their outcome."""
    both: dict[str, dict[str, tuple[Mapping[str, Any], float]]] = {}
    for answer, score in zip(answers, scores, strict=True):
        if answer["number"] == 0:
            both.setdefault(score["prompt"], {})[score["who"]] = (answer, score["score"])
    prompts = list(both)
    for prompt in prompts[:: max(1, len(prompts) // _SHOWN)][:_SHOWN]:
        (before, low), (after, high) = both[prompt]["start"], both[prompt]["policy"]
        asked = before["prompt"]["turns"][-1]["text"]
        yield Contrast(asked, before["completion"]["text"], after["completion"]["text"], low, high)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
