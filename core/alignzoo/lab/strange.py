"""What others have written, in a report: a name, an answer, a reason may hold anything.

Characters that nobody sees and that change what stands beside them (of control, of a line's end, of writing from right to left)
are written out. In Markdown nothing is an element or fetches a picture; in a page nothing is an element.
"""

from __future__ import annotations

import re
from html import escape

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """With what nobody sees written out: \\u202e. Lines may end as they do anywhere."""
    text = re.sub("\r\n?", "\n", text)
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def on_one_line(text: str) -> str:
    return " ".join(visible(text).split("\n"))


def in_page(text: str) -> str:
    """As words of a page, wherever in it they stand."""
    return escape(visible(text))


def in_markdown(text: str) -> str:
    """A whole document: without elements and pictures of others."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", visible(text)).replace("![", "!\\[")
