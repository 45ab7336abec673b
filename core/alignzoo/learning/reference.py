"""What a frozen role says of texts that do not change: each text is asked about once, however many epochs there are."""

from __future__ import annotations

import hashlib
from itertools import islice

import torch
from torch import Tensor

from alignzoo.learning.memory import MemoryLost, State, track
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
        track(self)

    def __call__(self, forest: Forest) -> Tensor:
        """(replies) Summed log-probabilities of each reply, asking only about trees not seen before."""
        keys = [_key(tree) for tree in forest.trees]
        if new := [place for place, key in enumerate(keys) if key not in self.known]:
            with torch.no_grad():
                unseen = forest if len(new) == len(forest) else forest.select(new)
                pieces = [per_reply(self.role.logps(piece), piece) for piece in unseen.split(self.at_once)]
                sums = iter(torch.cat(pieces).tolist())
            for place in new:
                self.known[keys[place]] = tuple(islice(sums, len(forest.trees[place].replies)))
        said = [value for key in keys for value in self.known[key]]
        return torch.tensor(said, dtype=torch.float32, device=forest.ids.device)

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


def _key(tree: Tree) -> bytes:
    return hashlib.blake2b(repr((tree.prompt, tree.replies)).encode(), digest_size=16).digest()
