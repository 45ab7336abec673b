"""What survives an update: exact resume for optimizers that are generators.

A generator cannot be saved, so nothing that matters lives only in its locals. Whatever survives an update is an object that
announces itself here when it is made: descents, decks, dice, controllers; roles are known to their base. A checkpoint is
the state of all of them, in the order in which they were made. To resume, `improve` is started again, and each object takes
up its saved state as it is made.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from alignzoo.model import tensors as files
from alignzoo.model.loading import ModelError

if TYPE_CHECKING:
    from alignzoo.model.base import Base

State = dict[str, Any]
"""Tensors, and values that JSON can hold."""


class MemoryLost(ValueError):
    """A checkpoint that does not belong to this run."""


class Tracked(Protocol):
    """Something that survives an update."""

    def state(self) -> State: ...

    def restore(self, state: State) -> None: ...


@dataclass(frozen=True)
class Checkpoint:
    """What was true after some update."""

    update: int
    things: tuple[tuple[str, State], ...]
    roles: Mapping[str, Mapping[str, Tensor]]
    facts: Mapping[str, Any]
    """What the run itself wants to know again: the ledger, the hash of the reference, …"""


@dataclass
class Memory:
    """The tracked objects of one training, and the checkpoint they take their state from, if there is one."""

    base: Base
    checkpoint: Checkpoint | None = None
    things: list[Tracked] = field(default_factory=list)

    def track(self, thing: Tracked) -> None:
        place = len(self.things)
        self.things.append(thing)
        if self.checkpoint is None or place >= len(self.checkpoint.things):
            return
        kind, state = self.checkpoint.things[place]
        if kind != type(thing).__name__:
            raise MemoryLost(
                f"the checkpoint's object {place + 1} is a {kind}, this run makes a {type(thing).__name__}: the optimizer has "
                "changed since; start a new run folder"
            )
        thing.restore(state)

    def write(self, folder: Path, update: int, facts: Mapping[str, Any]) -> Path:
        """Write a checkpoint beside the older ones and then drop those: at every moment one of them is whole. What was written
        for this update already stays as it is."""
        folder.mkdir(parents=True, exist_ok=True)
        place, draft = folder / f"{update:08d}", folder / f"{update:08d}.part"
        if place.exists():
            return place
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        tensors: dict[str, Tensor] = {}
        plain: list[dict[str, Any]] = []
        for number, thing in enumerate(self.things):
            state = thing.state()
            tensors |= {f"{number}/{key}": v.detach().cpu().contiguous() for key, v in state.items() if _is_tensor(v)}
            plain.append({"kind": type(thing).__name__, "state": {k: v for k, v in state.items() if not _is_tensor(v)}})
        for name, role in self.base.roles.items():
            tensors |= {f"role/{name}/{key}": v.detach().cpu().contiguous() for key, v in role.tensors().items()}
        files.write({key: tensor.clone() for key, tensor in tensors.items()}, draft / "tensors.safetensors")
        whole = {"update": update, "things": plain, "roles": list(self.base.roles), "facts": dict(facts)}
        (draft / "rest.json").write_text(json.dumps(whole), encoding="utf-8")
        for file in draft.iterdir():
            _sync(file)
        os.replace(draft, place)
        _sync(folder)
        for older in folder.iterdir():
            if older != place:
                shutil.rmtree(older, ignore_errors=True)
        return place


def newest(folder: Path) -> Checkpoint | None:
    """The last whole checkpoint in a folder; one whose writing was cut short does not count."""
    whole = sorted(p for p in folder.glob("*") if p.name.isdigit()) if folder.exists() else []
    if not whole:
        return None
    try:
        return _read(whole[-1])
    except (FileNotFoundError, KeyError, TypeError, ModelError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise MemoryLost(
            f"the checkpoint {whole[-1]} is damaged: {error}; put it back as it was, or remove it and begin this training anew"
        ) from None


def _read(place: Path) -> Checkpoint:
    rest = json.loads((place / "rest.json").read_text(encoding="utf-8"))
    tensors = files.read(place / "tensors.safetensors")
    things = []
    for number, thing in enumerate(rest["things"]):
        own = {key.partition("/")[2]: tensor for key, tensor in tensors.items() if key.startswith(f"{number}/")}
        things.append((thing["kind"], {**thing["state"], **own}))
    roles = {name: _under(f"role/{name}/", tensors) for name in rest["roles"]}
    return Checkpoint(rest["update"], tuple(things), roles, rest["facts"])


_current: ContextVar[Memory | None] = ContextVar("memory", default=None)


@contextmanager
def remembering(base: Base, checkpoint: Checkpoint | None = None) -> Iterator[Memory]:
    """Within the block, what is made and survives an update is tracked, and takes up its state from the checkpoint."""
    memory = Memory(base, checkpoint)
    token = _current.set(memory)
    recalled, base.recalled = base.recalled, checkpoint.roles if checkpoint else {}
    try:
        yield memory
    finally:
        base.recalled = recalled
        _current.reset(token)


def track(thing: Tracked) -> None:
    """Announce an object that survives an update. Outside of a run nothing is tracked."""
    if (memory := _current.get()) is not None:
        memory.track(thing)


class Dice:
    """Random numbers of one seed that continue where they were after a resume."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        track(self)

    def integer(self) -> int:
        """A fresh seed, for `Manner` or a shuffle."""
        return int(torch.randint(2**31, (1,), generator=self.generator))

    def order(self, count: int) -> list[int]:
        """The numbers below `count` in random order."""
        return torch.randperm(count, generator=self.generator).tolist()

    def state(self) -> State:
        return {"generator": self.generator.get_state()}

    def restore(self, state: State) -> None:
        self.generator.set_state(state["generator"])


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def _sync(path: Path) -> None:
    """Have the disk hold it before anything builds on it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
