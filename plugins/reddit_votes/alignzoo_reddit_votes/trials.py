"""How the conformance kit tries the sources: on a small invented forum, as a dump of it would be written."""

from __future__ import annotations

import json
from typing import Any
from xml.sax.saxutils import quoteattr

from alignzoo.testing import Trial

NOON = 1_550_000_000
WEEK = 7 * 86_400
THINGS = tuple("cactus fern rose moss lily daisy palm orchid tulip iris".split())
CHECKED = {"created_utc": NOON, "retrieved_on": NOON + WEEK, "edited": False, "distinguished": None, "subreddit": "plants"}


def _post(thing: str) -> dict[str, Any]:
    asked = {"title": f"How do I repot a {thing}?", "selftext": "It grows and grows.", "author": "asker_of_things"}
    return {**CHECKED, **asked, "id": thing, "score": 50, "is_self": True, "over_18": False}


def _comment(thing: str, name: str, score: int, minute: int) -> dict[str, Any]:
    said = {"body": f"Wrap it in paper, says {name}.", "author": f"writer_{name}", "created_utc": NOON + 60 * minute}
    place = {"id": f"{thing}{name}", "link_id": f"t3_{thing}", "parent_id": f"t3_{thing}", "score": score}
    return {**CHECKED, **said, **place, "is_submitter": False, "stickied": False, "score_hidden": False}


def _lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)


reddit = Trial(
    settings={"posts": "RS.jsonl", "comments": "RC.jsonl", "split": "all"},
    files={
        "RS.jsonl": _lines([_post(thing) for thing in THINGS]),
        "RC.jsonl": _lines(
            [_comment(thing, name, *at) for thing in THINGS for name, at in (("one", (4, 1)), ("two", (40, 9)))]
        ),
    },
)


def _question(number: int, thing: str) -> dict[str, str]:
    asked = {
        "Title": f"How do I repot a {thing}?",
        "Body": "<p>It grows and grows.</p>",
        "CreationDate": "2010-07-19T19:12:12.510",
    }
    return {"Id": f"{number}", "PostTypeId": "1", "Score": "7", "OwnerUserId": "8", "ContentLicense": "CC BY-SA 2.5", **asked}


def _answer(number: int, question: int, score: int, hour: int) -> dict[str, str]:
    said = {"Body": f"<p>Wrap it in paper, says {number}.</p>", "CreationDate": f"2010-07-20T{hour:02}:00:00.000"}
    where = {"Id": f"{number}", "PostTypeId": "2", "ParentId": f"{question}", "OwnerUserId": f"{100 + number}"}
    return {**where, **said, "Score": f"{score}", "ContentLicense": "CC BY-SA 3.0"}


def _forum() -> list[dict[str, str]]:
    rows = []
    for place, thing in enumerate(THINGS):
        number = 10 * (place + 1)
        rows += [_question(number, thing), _answer(number + 1, number, 2, 1), _answer(number + 2, number, 9, 5)]
    return rows


def _xml(rows: list[dict[str, str]]) -> str:
    inner = "\n".join(f"  <row {' '.join(f'{name}={quoteattr(value)}' for name, value in row.items())} />" for row in rows)
    return f'<?xml version="1.0" encoding="utf-8"?>\n<posts>\n{inner}\n</posts>\n'


stackexchange = Trial(settings={"file": "Posts.xml", "split": "all"}, files={"Posts.xml": _xml(_forum())})
