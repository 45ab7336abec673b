"""Rows of stanfordnlp/SHP fed back through the same code: a check that our rule is theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignzoo_reddit_votes.rows import moment, score_of, text
from alignzoo_reddit_votes.votes import Comment, Counts, Pairing, preferences


def label_of(row: Mapping[str, Any], pairing: Pairing = Pairing(ratio=1.0)) -> int | None:
    """The label that the votes of a row come to: 1 if A is preferred, 0 if B is, None if the row gives no pair here."""
    sides = {side: _comment(row, side) for side in "AB"}
    found = preferences(sides.values(), pairing, Counts())
    return int(found[0].chosen is sides["A"]) if found else None


def _comment(row: Mapping[str, Any], side: str) -> Comment:
    fields = {"created_utc": row.get(f"created_at_utc_{side}"), "score": row.get(f"score_{side}")}
    return Comment(
        key=0,
        id=text(row, f"c_root_id_{side}"),
        place=(0, 0),
        created=moment(fields, "created_utc"),
        score=score_of(fields),
        text=text(row, f"human_ref_{side}"),
    )
