"""stanfordnlp/SHP (Ethayarajh et al. 2022): of two comments below a post, the one with more votes though it came no earlier.

How such pairs are found in raw threads is another plugin's work; here are its published rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, ClassVar

from annotated_types import Ge

from alignzoo.interfaces import Asking
from alignzoo.records import Comparison, Feedback, Prompt, Provenance
from alignzoo_preference_sets.data import Data, collected
from alignzoo_preference_sets.fields import Aside, Row, Taken, Unfit, different


@dataclass(frozen=True)
class SHP:
    """Readers' votes. `labels` says whether A is preferred; the ratio of votes says how clearly."""

    gives: ClassVar[tuple[str, ...]] = ("comparison",)
    asks: ClassVar[tuple[str, ...]] = ()

    data: Data = Data(path="stanfordnlp/SHP")
    """A subset is a community: askculinary, askscience, …"""

    ratio: Annotated[float, Ge(1)] = 1.0
    """The least ratio of the preferred comment's score to the other's. The set's authors advise 2 to train on."""

    domains: tuple[str, ...] = ()
    """Only rows of these communities; all if empty."""

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """One comparison for each row that is clear enough."""
        return collected(self.data, self.taken, asking.tally)

    def taken(self, row: Row) -> Taken:
        """A row's comparison; its group is the post."""
        first = row.one_of("labels", 0, 1)
        domain = row.maybe("domain")
        if self.domains and community(domain) not in self.domains:
            raise Aside("of another community than `domains` names")
        scores = {side: row.number(f"score_{side}") for side in "AB"}
        better, worse = ("A", "B") if first else ("B", "A")
        if scores[better] < scores[worse]:
            raise Unfit("'labels' prefers the comment with the lower score")
        if row.number("score_ratio") < self.ratio:
            raise Aside("'score_ratio' below `ratio`")
        seconds = row.number("seconds_difference")
        notices = ("the preferred comment is the earlier one",) if seconds < 0 else ()
        answers = different(row.text(f"human_ref_{better}"), row.text(f"human_ref_{worse}"))
        note = f"{community(domain)}; ratio {row.number('score_ratio'):.4g}; {seconds:g} s later"
        source = Provenance("shp", time=_time(row, f"created_at_utc_{better}"), licence="see the set's card", note=note)
        pair = Comparison(Prompt.ask(row.text("history")), *answers, provenance=source)
        return Taken(row.text("post_id"), (pair,), notices=notices, named=True)


def community(domain: str) -> str:
    """ "askculinary_train" → "askculinary": the domain has the split in it."""
    name, _, split = domain.rpartition("_")
    return name if split in ("train", "validation", "test") else domain


def _time(row: Row, name: str) -> str:
    """Seconds since 1970, as a date; nothing where there are none, and another date as it stands."""
    if not row.has(name):
        return ""
    try:
        seconds = row.number(name)
    except Unfit:
        return row.maybe(name)
    if not 0 <= seconds < 2**33:
        raise Unfit(f"'{name}' is no time in seconds")
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
