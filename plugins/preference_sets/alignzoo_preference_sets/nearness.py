"""Near-duplicates, by MinHash (Broder 1997): how alike two texts are is read off short signatures.

Two texts' signatures agree in a place with a probability equal to the Jaccard similarity of their shingles. Signatures are cut
into bands; only texts that agree in a whole band are compared (Leskovec et al., chapter 3), so each is compared with few.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Gt
from numpy.typing import NDArray

from alignzoo.interfaces import Asking, Count, Share
from alignzoo.records import Feedback
from alignzoo_preference_sets.filters import answers_in, asked, plain

PLACES, ROWS = 128, 4
"""A signature's length, and of a band of it: at a similarity of 0.7 a pair is missed once in 6,000 times."""

Signature = NDArray[np.uint64]


@dataclass(frozen=True)
class NearDuplicates:
    """Holds back records that are much like one that passed before, in prompt and answers taken together. Remembers about 1 kB
    and 32 band entries of each that passed."""

    alike: Annotated[Share, Gt(0)] = 0.8
    """The least share of common runs of words (Jaccard similarity) of what counts as the same."""
    words: Count = 3
    """Words in a run."""
    seed: int = 0
    """Of the hash functions."""

    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        """The first of each kind."""
        kept: list[Signature] = []
        bands: dict[tuple[int, bytes], list[int]] = {}
        for record in records:
            whole = " ".join((asked(record.prompt), *sorted(answer.text for answer in answers_in(record))))
            own = signature(whole, self.words, self.seed)
            keys = [(i, own[i : i + ROWS].tobytes()) for i in range(0, PLACES, ROWS)]
            near = {other for key in keys for other in bands.get(key, ())}
            if any(float(np.mean(kept[other] == own)) >= self.alike for other in near):
                asking.tally.sift("near-duplicates", record.prompt.id)
                continue
            for key in keys:
                bands.setdefault(key, []).append(len(kept))
            kept.append(own)
            yield record


def signature(text: str, words: int, seed: int) -> Signature:
    """The least hash of a text's shingles, under each of so many hash functions."""
    said = plain(text).split()
    runs = {" ".join(said[i : i + words]) for i in range(max(1, len(said) - words + 1))}
    hashes = np.array(
        [int.from_bytes(hashlib.blake2b(run.encode(), digest_size=8).digest(), "little") for run in runs], np.uint64
    )
    dice = np.random.default_rng(seed)
    multipliers = dice.integers(0, 2**63, PLACES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    offsets = dice.integers(0, 2**63, PLACES, dtype=np.uint64)
    mixed = hashes[:, None] * multipliers + offsets  # multiply-shift hashing: unsigned products wrap round
    least: Signature = (mixed >> np.uint64(32)).min(axis=0)
    return least
