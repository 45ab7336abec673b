"""A filter for comparisons with trainers elsewhere: answers by their text alone.

A policy's answer keeps the tokens that it was drawn as, and alignzoo learns from those. Other trainers are given text, and read
it by the tokenizer's own rules, which is not always the same ("cost" + "sB" where it was drawn as "costs" + "B").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from alignzoo.interfaces import Asking
from alignzoo.records import Comparison, Completion, Feedback
from alignzoo.seam.hookspecs import Component


@dataclass(frozen=True)
class AsText:
    """Forgets the tokens that answers were drawn as."""

    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        """The same comparisons, of texts."""
        for record in records:
            assert isinstance(record, Comparison)
            yield replace(record, chosen=_text(record.chosen), rejected=_text(record.rejected))


def _text(answer: Completion) -> Completion:
    return replace(answer, tokens=(), logps=())


def alignzoo_components() -> Iterable[Component]:
    """The filter."""
    return (Component("filter", "as-text", f"{__name__}:AsText", "answers by their text, as trainers elsewhere read them"),)
