"""What a judge wrote, as an answer: its last word counts."""

from __future__ import annotations

import re

from alignzoo_rlaif.form import Sheet
from alignzoo_rlaif.sitting import Answer


def found(sheet: Sheet, said: str) -> tuple[str, int] | None:
    """The last mark that is named as an answer, and where; or the mark that is all that was said."""
    marks = "|".join(map(re.escape, sorted(sheet.marks, key=len, reverse=True)))
    begun = re.escape(sheet.stem.strip()).replace(r"\ ", r"\s+")
    named = [*re.finditer(rf"(?i:{begun})\s*({marks})(?!\w)", said)] if begun else []
    alone = re.fullmatch(rf"\W*({marks})\W*", said)
    last = named[-1] if named else alone
    if last is None:
        return None
    return last[1], last.start(1)


def parsed(sheet: Sheet, said: str) -> Answer:
    """All on the answer that was given last; nothing if none was."""
    named = found(sheet, said)
    return Answer(tuple(float(mark == named[0]) for mark in sheet.marks) if named else (), said or "(nothing)")
