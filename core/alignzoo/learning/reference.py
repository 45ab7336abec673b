"""What a frozen role says of texts that do not change: each text is asked about once, however many epochs there are, and once
for all the runs of a bench that ask the same role the same thing.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from alignzoo.learning.ledger import charge
from alignzoo.learning.memory import MemoryLost, State, track
from alignzoo.model.ahead import Ahead
from alignzoo.model.forest import Forest, Tree, per_reply
from alignzoo.model.loading import checksum
from alignzoo.model.role import Role


class Remembered:
    """The summed log-probabilities of replies under a frozen role, by the ids of prompt and reply.

    They are worth something only for these very weights: the fingerprint of base and adapter goes with them into the
    checkpoint and must be the same on resume."""

    def __init__(self, role: Role, at_once: int = 8192) -> None:
        """`at_once` is the most packed tokens in one forward pass."""
        if role.trained:
            raise ValueError(f"the role '{role.name}' is trained: what it said before is not what it says now")
        self.role, self.at_once = role, at_once
        self.fingerprint = f"{checksum(role.base.model):x}/{role.digest}"
        self.known: dict[bytes, tuple[float, ...]] = {}
        self.kept = _kept_of(self.fingerprint, role)
        track(self)

    def __call__(self, forest: Forest) -> Tensor:
        """(replies) Summed log-probabilities of each reply, asking only about trees not seen before."""
        keys = list(map(_key, forest.trees))
        if unseen := self._unseen(keys):
            with torch.no_grad():
                new = _only(forest, unseen)
                said = torch.cat([self._sums(piece) for piece in new.split(self.at_once)])
            self._keep(keys, unseen, new, said)
        return self._known(keys, forest)

    def beside(self, forest: Forest, others: Forest) -> tuple[Tensor, Tensor]:
        """(replies), (replies) The same of a batch and of other replies to its prompts, each read as `Ahead` reads it: a policy
        that has not moved yet says just this, to the last bit, which may be another one at another place of the batch. Other
        runs read for themselves."""
        keys, other_keys = _placed(forest.trees), _placed(others.trees, "beside")
        if unseen := self._unseen([*keys, *other_keys]):
            unseen = sorted({place % len(keys) for place in unseen})
            with torch.no_grad():
                new, met = _only(forest, unseen), _only(others, unseen)
                ahead = Ahead(self.role, new, self.at_once)
                said = torch.cat([per_reply(ahead.logps(piece), piece) for piece in new.split(self.at_once)])
                self._keep(keys, unseen, new, said)
                self._keep(other_keys, unseen, met, per_reply(ahead.others(met), met))
        return self._known(keys, forest), self._known(other_keys, others)

    def _unseen(self, keys: Sequence[bytes]) -> list[int]:
        return [place for place, key in enumerate(keys) if key not in self.known]

    def _keep(self, keys: Sequence[bytes], places: Sequence[int], asked: Forest, said: Tensor) -> None:
        sums = iter(said.tolist())
        for place, tree in zip(places, asked.trees, strict=True):
            self.known[keys[place]] = tuple(islice(sums, len(tree.replies)))

    def _known(self, keys: Sequence[bytes], forest: Forest) -> Tensor:
        said = [value for key in keys for value in self.known[key]]
        return torch.tensor(said, dtype=torch.float32, device=forest.ids.device)

    def _sums(self, piece: Forest) -> Tensor:
        """(replies) Of one forward pass; or of the same in another run, which is charged as if it were made here."""
        if self.kept is None:
            return per_reply(self.role.logps(piece), piece)
        key = hashlib.blake2b(b"".join(map(_key, piece.trees)), digest_size=16).hexdigest()
        if (said := self.kept.sums.get(key)) is not None:
            base = self.role.base
            base.meter.charge_reading(piece, base.sizes(self.role.worn), learning=False, recomputing=False)
            charge(seconds=float(said[0]))
            return said[1:].to(piece.ids.device)
        began = time.monotonic()
        sums = per_reply(self.role.logps(piece), piece)
        self.kept.sums[key] = torch.cat([torch.tensor([time.monotonic() - began]), sums.detach().float().cpu()])
        self.kept.more = True
        return sums

    def state(self) -> State:
        keys = b"".join(self.known)
        return {
            "fingerprint": self.fingerprint,
            "counts": [len(values) for values in self.known.values()],
            "keys": torch.frombuffer(bytearray(keys or b"\0"), dtype=torch.uint8),
            "values": torch.tensor([value for values in self.known.values() for value in values], dtype=torch.float32),
        }

    def restore(self, state: State) -> None:
        if state["fingerprint"] != self.fingerprint:
            raise MemoryLost(
                "the reference log-probabilities in the checkpoint were computed with other weights: the model or the start "
                "adapter has changed; start a new run folder"
            )
        keys, values = state["keys"].numpy().tobytes(), iter(state["values"].tolist())
        for number, count in enumerate(state["counts"]):
            self.known[keys[16 * number : 16 * number + 16]] = tuple(islice(values, count))


def _only(forest: Forest, places: Sequence[int]) -> Forest:
    return forest if len(places) == len(forest) else forest.select(places)


def _placed(trees: Sequence[Tree], way: str = "") -> list[bytes]:
    """Of the trees of a batch; of equal ones the first, the second and so on have each its own."""
    times: Counter[Tree] = Counter()
    keys = []
    for tree in trees:
        keys.append(_key(tree, f"{way}{times[tree] or ''}"))
        times[tree] += 1
    return keys


def _key(tree: Tree, way: str = "") -> bytes:
    """Of a tree, and of the way it was asked: rounding is of that way."""
    return hashlib.blake2b(repr((tree.prompt, tree.replies)).encode(), digest_size=16, person=way.encode()).digest()


# Between runs -------------------------------------------------------------------------------------------------------------


@dataclass
class Kept:
    """What one role has said in earlier runs: by the trees of a whole forward pass, its seconds and the sums of its replies. A
    text in another company can differ in the last bit, and nobody's numbers are to depend on who came before."""

    file: Path
    sums: dict[str, Tensor] = field(default_factory=dict)
    more: bool = False

    def read(self) -> dict[str, Tensor]:
        try:
            return safetensors.torch.load_file(self.file)
        except (FileNotFoundError, safetensors.SafetensorError):  # not there, or damaged: it is said again
            return {}

    def save(self) -> None:
        """With what others have kept meanwhile. Whoever comes in between loses nothing but time."""
        if self.more:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            draft = self.file.with_name(f"{self.file.name}.{os.getpid()}.part")
            safetensors.torch.save_file(self.read() | self.sums, draft)
            os.replace(draft, self.file)


@dataclass(frozen=True)
class _Shelf:
    folder: Path
    opened: list[Kept] = field(default_factory=list)


_shelf: ContextVar[_Shelf | None] = ContextVar("shelf", default=None)


@contextmanager
def keeping(folder: Path) -> Iterator[None]:
    """Within the block, what references say is taken from this folder where it was said before, and left there for others."""
    token = _shelf.set(shelf := _Shelf(folder))
    try:
        yield
    finally:
        _shelf.reset(token)
        for kept in shelf.opened:
            kept.save()


def _kept_of(fingerprint: str, role: Role) -> Kept | None:
    """What was kept of a role; of these weights, computed in this way."""
    if (shelf := _shelf.get()) is None:
        return None
    with_what = (torch.__version__, version("transformers"), torch.get_num_threads(), role.base.device, role.base.lora)
    way = "/".join(map(str, (fingerprint, *with_what)))
    name = hashlib.blake2b(way.encode(), digest_size=8).hexdigest()
    kept = Kept(shelf.folder / f"{name}.safetensors")
    kept.sums = kept.read()
    shelf.opened.append(kept)
    return kept
