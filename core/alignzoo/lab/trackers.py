"""Metrics go to TensorBoard, Weights & Biases, trackio, MLflow and others too, where somebody asks for it: by accelerate's
trackers, each of which needs its own library installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from alignzoo.interfaces import Metrics
from alignzoo.lab.listener import Listener
from alignzoo.learning.ledger import Ledger
from alignzoo.seam.nearest import nearest


class TrackerError(ValueError):
    """A tracker that is not known, or whose library is not there."""


class Tracker(Protocol):
    """What we ask of one; accelerate's do it."""

    def log(self, values: dict[str, Any], step: int | None) -> Any: ...

    def finish(self) -> Any: ...


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


def started(names: Sequence[str], run: str, folder: Path, settings: Mapping[str, Any]) -> list[Tracker]:
    """The trackers of these names, told what the run is."""
    check(names)
    made: list[Tracker] = []
    for name in names:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        kind = LOGGER_TYPE_TO_CLASS[name]
        tracker = kind(run, str(folder)) if kind.requires_logging_directory else kind(run)
        tracker.start()
        tracker.store_init_configuration(_flat(settings))
        made.append(tracker)
    return made


@contextmanager
def tracking(listener: Listener, trackers: Sequence[Tracker]) -> Iterator[Listener]:
    """A listener that also passes every update on, under the name of its stage: `train/loss`, `start/loss`."""
    stage = ["train"]

    def begin(name: str, what: str) -> None:
        stage[0] = name if name != "load" else stage[0]
        listener.stage(name, what)

    def update(number: int, metrics: Metrics, ledger: Ledger) -> None:
        listener.update(number, metrics, ledger)
        spent = {f"spent/{name}": value for name, value in ledger.row().items()}
        values = {f"{stage[0]}/{name}": value for name, value in {**metrics, **spent}.items()}
        for tracker in trackers:
            tracker.log(values, step=number)

    try:
        yield replace(listener, stage=begin, update=update) if trackers else listener
    finally:
        for tracker in trackers:
            tracker.finish()


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Settings by their dotted names: what every tracker can show."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        place = f"{above}{name}"
        flat |= _flat(value, f"{place}.") if isinstance(value, Mapping) else {place: _shown(value)}
    return flat


def _shown(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)
