"""Metrics go to TensorBoard, Weights & Biases, trackio, MLflow and others too, where somebody asks for it: by accelerate's
trackers, each of which needs its own library installed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from alignzoo.interfaces import Metrics
from alignzoo.lab.listener import Listener
from alignzoo.learning.ledger import Ledger
from alignzoo.seam.nearest import nearest

_RUN = {"wandb": "name", "trackio": "name", "mlflow": "run_name"}
"""Trackers with projects of several runs, and what each calls a run's own name. To the others a run is all there is."""
_ASCENDING = ("wandb",)


class TrackerError(ValueError):
    """A tracker that is not known, or whose library is not there."""


class Tracker(Protocol):
    """What we ask of one; accelerate's do it."""

    def log(self, values: dict[str, Any], step: int | None) -> Any: ...

    def finish(self) -> Any: ...


@dataclass(frozen=True)
class Ascending:
    """A tracker that drops whatever comes at a lower step than the last, as the updates of every stage do, which begin at 1. It
    counts for itself; the update is among the values."""

    tracker: Tracker

    def log(self, values: dict[str, Any], step: int | None) -> None:
        self.tracker.log(values, step=None)

    def finish(self) -> None:
        self.tracker.finish()


def check(names: Sequence[str]) -> None:
    """Refuse what cannot be had, before anything is done."""
    if not names:
        return
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, filter_trackers

    PartialState()  # without it accelerate cannot even log that something is missing
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise TrackerError(f"no tracker named '{name}'{nearest(name, tuple(map(str, LOGGER_TYPE_TO_CLASS)))}")
        if not filter_trackers([name], "."):
            raise TrackerError(f"the tracker '{name}' needs its own library, which is not installed: pip install {name}")


def started(
    names: Sequence[str],
    project: str,
    run: str,
    folder: Path,
    settings: Mapping[str, Any],
    tell: Callable[[str], None] = lambda line: None,
) -> list[Tracker]:
    """The trackers of these names, told what the run is and which project it is of. One that cannot begin (nobody is logged in,
    its server is away) is told of and left out."""
    check(names)
    made: list[Tracker] = []
    for name in names:
        try:
            tracker = _made(name, project, run, folder)
            tracker.start()
            tracker.store_init_configuration(_flat(settings))
        except Exception as error:
            tell(f"the tracker '{name}' cannot begin and is told nothing: {_why(error)}")
            continue
        made.append(Ascending(tracker) if name in _ASCENDING else tracker)
    return made


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _made(name: str, project: str, run: str, folder: Path) -> Any:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    kind = LOGGER_TYPE_TO_CLASS[name]
    if name in _RUN:
        return kind(_plain(project), **{_RUN[name]: run})
    return kind(run, str(folder)) if kind.requires_logging_directory else kind(run)


def _plain(name: str) -> str:
    """As every tracker takes it: some refuse a slash or a colon."""
    return re.sub(r"[^\w.-]+", "-", name)


@contextmanager
def tracking(listener: Listener, trackers: Sequence[Tracker]) -> Iterator[Listener]:
    """A listener that also passes every update on, under the name of its stage: `train/loss`, `start/loss`."""
    stage, there = ["train"], list(trackers)

    def told(tracker: Tracker, tell: Callable[[], Any]) -> None:
        try:
            tell()
        except Exception as error:  # no training dies of its audience
            there.remove(tracker)
            listener.line(f"{type(tracker).__name__} fails and is told no more: {_why(error)}")

    def begin(name: str, what: str) -> None:
        stage[0] = name if name != "load" else stage[0]
        listener.stage(name, what)

    def update(number: int, metrics: Metrics, ledger: Ledger) -> None:
        listener.update(number, metrics, ledger)
        spent = {f"spent/{name}": value for name, value in ledger.row().items()}
        values = {f"{stage[0]}/{name}": value for name, value in {"update": number, **metrics, **spent}.items()}
        for tracker in tuple(there):
            told(tracker, partial(tracker.log, values, step=number))

    try:
        yield replace(listener, stage=begin, update=update) if trackers else listener
    finally:
        for tracker in tuple(there):
            told(tracker, tracker.finish)


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Settings by their dotted names: what every tracker can show."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        place = f"{above}{name}"
        flat |= _flat(value, f"{place}.") if isinstance(value, Mapping) else {place: _shown(value)}
    return flat


def _shown(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)
