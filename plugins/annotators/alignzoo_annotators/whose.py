"""Whose choices are learned: the same lesson, by some people only, by some less than by others, or by all alike."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge

from alignzoo.interfaces import Asking, Share
from alignzoo.records import Feedback, to_json
from alignzoo.seam.nearest import nearest
from alignzoo.who import Who, WhoError


@dataclass(frozen=True)
class Whose:
    """Holds back the judgements of some annotators or groups, all of them or a share."""

    only: tuple[str, ...] = ()
    """Annotators or groups that may pass; all, if empty."""
    without: tuple[str, ...] = ()
    """Annotators or groups that may not."""
    share: Mapping[str, Share] = field(default_factory=dict)
    """The share of an annotator's or a group's records that passes; 1 for whoever is not named. An annotator's own share goes
    before the group's. Which records pass depends on them and the seed alone."""
    equal: Literal["no", "groups", "annotators"] = "no"
    """Bring all groups, or all annotators, to as many records as the one with the fewest has. Records are held in memory."""
    most: Annotated[int, Ge(0)] = 0
    """Let at most so many records pass, the first ones; 0 for all. So lessons of several groups have the same size."""
    who: Who = Who()
    """How groups are told."""
    seed: int = 0
    """Another one lets other records pass."""

    def __post_init__(self) -> None:
        if both := set(self.only) & set(self.without):
            raise WhoError(f"'{min(both)}' is both in only and in without")

    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        """Records of those who are heard; an error at their end if somebody was named who never judged."""
        passed, met = 0, set[str]()
        for record in self._even(self._heard(records, met, asking), asking):
            if self.most and passed == self.most:
                asking.tally.sift("whose: enough of them", record.prompt.id)
                continue
            passed += 1
            yield record
        self._check(met)

    def _heard(self, records: Iterable[Feedback], met: set[str], asking: Asking) -> Iterator[Feedback]:
        for record in records:
            names = (record.provenance.annotator, self.who.group(record.provenance))
            met.update(filter(None, names))
            if (self.only and not set(names) & set(self.only)) or set(names) & set(self.without):
                asking.tally.sift(f"whose: {names[1] or names[0] or 'nobody'} is not asked", record.prompt.id)
            elif drawn(record, self.seed) >= self._share(names):
                asking.tally.sift(f"whose: beyond the share of {names[1] or names[0]}", record.prompt.id)
            else:
                yield record

    def _share(self, names: tuple[str, str]) -> float:
        return next((self.share[name] for name in names if name in self.share), 1.0)

    def _even(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        """As many of each, in the order in which they came."""
        if self.equal == "no":
            yield from records
            return
        kept = list(records)
        owners = [self._owner(record) for record in kept]
        counts = Counter(owners)
        room = dict.fromkeys(counts, min(counts.values(), default=0))
        chosen = set[int]()
        for place in sorted(range(len(kept)), key=lambda place: drawn(kept[place], self.seed)):
            if room[owners[place]]:
                room[owners[place]] -= 1
                chosen.add(place)
        for place, record in enumerate(kept):
            if place in chosen:
                yield record
            else:
                asking.tally.sift(f"whose: {owners[place]} has more than others", record.prompt.id)

    def _owner(self, record: Feedback) -> str:
        told = record.provenance
        name = self.who.group(told) if self.equal == "groups" else told.annotator
        if not name:
            raise WhoError(
                f'equal = "{self.equal}" needs to know whose each record is; nothing tells it of one from {told.source} '
                f"(annotator '{told.annotator}', note '{told.note}'): set who.file, or who.read and who.pattern"
            )
        return name

    def _check(self, met: set[str]) -> None:
        for name in (*self.only, *self.without, *self.share):
            if name not in met:
                raise WhoError(f"nobody judged who is, or is of the group, '{name}'{nearest(name, met)}")


def drawn(record: Feedback, seed: int) -> float:
    """A number between 0 and 1 that hangs on the record and the seed alone."""
    digest = hashlib.blake2b(f"{seed}/{to_json(record)}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
