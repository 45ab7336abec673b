"""What a comparison rests on: what was noticed on the way, how the runs were made, and some of their answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignzoo.lab import store
from alignzoo.lab.compare.duels import Entrant
from alignzoo.lab.compare.played import Played
from alignzoo.records import prompt_from_row
from alignzoo.tally import lines_of

_SHOWN = 24
"""Prompts whose answers are shown."""
_LONGEST = 700
"""Letters of an answer, or of what was noticed."""


@dataclass(frozen=True)
class Said:
    """One answer, and what the judge said of it."""

    who: str
    text: str
    score: float


@dataclass(frozen=True)
class Asked:
    """A prompt, and what everybody answers to it first."""

    prompt: str
    said: tuple[Said, ...]


@dataclass(frozen=True)
class Made:
    """How a contestant's runs were made. Settings, versions and digests are those of its first seed."""

    name: str
    seeds: tuple[int, ...]
    settings: Mapping[str, Any]
    machines: tuple[str, ...]

    @property
    def versions(self) -> str:
        told = self.settings.get("made_with", {})
        return ", ".join(f"{name} {version}" for name, version in told.items() if isinstance(version, str))


def made(entrants: Sequence[Entrant]) -> tuple[Made, ...]:
    return tuple(
        Made(one.name, tuple(one.seeds), one.runs[0].settings, tuple(dict.fromkeys(_machine(run) for run in one.runs)))
        for one in entrants
    )


def _machine(run: Played) -> str:
    """What trained it, in a line; empty for runs of before that was kept."""
    told = run.machine
    if not told:
        return ""
    threads = f"{told['threads']} thread{'s' * (told['threads'] != 1)}"
    return ", ".join([*told["accelerators"], told["processor"], f"{told['cores']} cores", threads, told["system"]])


def unlike(runs: Sequence[Played]) -> list[str]:
    """What is not of the same version, or the same bytes, in all of these runs."""
    seen: dict[str, set[str]] = {}
    for run in runs:
        table = run.settings.get("made_with", {})
        for name, version in {**table, **table.get("plugins", {})}.items():
            if isinstance(version, str):
                seen.setdefault(name, set()).add(version)
    return sorted(name for name, versions in seen.items() if len(versions) > 1)


def noticed(entrants: Sequence[Entrant]) -> Iterator[str]:
    """Warnings of trainings, runs that failed, what was left out of feedback, and who is missing."""
    for one in entrants:
        if one.failures and not one.runs:
            yield _cut(f"{one.name}: no finished run. {'; '.join(one.failures)}")
            continue
        yield from (_cut(f"{one.name}, a run that failed: {why}") for why in one.failures)
        warned: dict[str, list[int]] = {}
        for run in one.runs:
            for warning in run.warnings:
                warned.setdefault(warning, []).append(run.seed)
        for why, seeds in warned.items():
            yield _cut(f"{one.name}, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}: {why}")
        if one.trials:
            yield f"{one.name}: tuned in {one.trials} trials; {json.dumps(dict(one.tuned or {}))}"
        first = next((run for run in one.runs if run.tally), None)
        if first is not None and (told := "; ".join(line.strip() for line in lines_of(first.tally))):
            yield _cut(f"{one.name}, its feedback (seed {first.seed}): {told}")


@store.uncollected()
def answered(entrants: Sequence[Entrant], prompts: Sequence[str]) -> tuple[Asked, ...]:
    """Some prompts, spread over the test set so that they are not chosen by their outcome: what each contestant says first
    under its first seed, and the start."""
    some = prompts[:: max(1, len(prompts) // _SHOWN)][:_SHOWN]
    said: dict[str, list[Said]] = {prompt: [] for prompt in some}
    asked: dict[str, str] = {}
    for number, entrant in enumerate(one for one in entrants if one.runs):
        folder = store.Folder(entrant.runs[0].folder)
        for answer, score in zip(store.read_rows(folder.answers), store.read_rows(folder.scores), strict=True):
            if score["prompt"] not in said or score["number"] or (number and score["who"] == "start"):
                continue
            asked.setdefault(score["prompt"], prompt_from_row(answer["prompt"]).text)
            who = "the start" if score["who"] == "start" else entrant.name
            said[score["prompt"]].append(Said(who, _cut(answer["completion"]["text"]), score["score"]))
    return tuple(Asked(_cut(asked[prompt]), tuple(said[prompt])) for prompt in some)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
