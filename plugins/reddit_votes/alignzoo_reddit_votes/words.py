"""The words of a post or comment as people read them, without the names of users."""

from __future__ import annotations

import html
import re

NOBODY, NOBODYS = "u/someone", "u_someone"
_NAME = r"(?:\\?[\w-]){2,}"
"""Reddit's editor writes a_b as a\\_b."""
_USER = re.compile(rf"(?<![^\W_])(?:\\?/)?u(?:ser)?\\?/{_NAME}", re.IGNORECASE)
"""Also right behind the mark of italics, which is an underscore."""
_OWN = re.compile(rf"(?<![^\W_])(r\\?/)u\\?_{_NAME}", re.IGNORECASE)
"""What users write on their own pages stands in a community that is called after them."""
_LINKED_USER = re.compile(
    rf"\[[^\[\]]*\]\((?:[^()\s]*/)?u(?:ser)?/{_NAME}/?(?:[?#][^()\s]*)?(?:\s\"[^\"]*\")?\)", re.IGNORECASE
)
"""A link to a user, whose words are most often the name."""
_PROFILE = re.compile(r"<a\b(?>[^<>]*?/users/\d)[^<>]*+>[^<]*</a>", re.IGNORECASE)
_ADDRESS = re.compile(r"(/users/)\d+(?:/[\w-]*)?", re.IGNORECASE)
"""Both on the sites of Stack Exchange. What the first parts have taken they keep: whatever the text, it is read once."""
_LINK = re.compile(r"!?\[([^\[\]]*)\]\((?:[^()\s]|\([^()\s]*\))+(?:\s\"[^\"]*\")?\)")
_BREAK = re.compile(r"<(?:br|hr|/p|/li|/ul|/ol|/pre|/blockquote|/h\d|/div|/tr)\b[^>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-z][^<>]*>", re.IGNORECASE)


def plain(text: str, links: bool) -> str:
    """What a reader sees of Reddit's markdown, links as their words unless they are to stay."""
    if text.isascii() and "/" not in text and "&" not in text and "](" not in text:
        return text.strip()  # most comments: there is nothing to undo
    text = unescaped(sound(text)).strip()
    text = _LINKED_USER.sub(NOBODY, text) if "](" in text else text
    return nameless(text if links else unlinked(text))


def of_html(text: str) -> str:
    """The words of an answer that is kept as HTML."""
    text = html.unescape(_TAG.sub("", _BREAK.sub("\n", _PROFILE.sub("someone", sound(text)))))
    return nameless(_ADDRESS.sub(r"\1someone", re.sub(r"\n\s*\n", "\n\n", text).strip()))


def sound(text: str) -> str:
    """What can be written as UTF-8: half a surrogate pair becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def unescaped(text: str) -> str:
    """Undo what Reddit does to &, < and >, and no more. The ampersand comes last: "&amp;gt;" was typed as "&gt;"."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") if "&" in text else text


def unlinked(text: str) -> str:
    """A link as its words: "[the manual](https://…)" becomes "the manual"."""
    return _LINK.sub(r"\1", text) if "](" in text else text


def nameless(text: str) -> str:
    """Without the names of users that are spoken to, or of, as u/name."""
    return _OWN.sub(rf"\1{NOBODYS}", _USER.sub(NOBODY, text)) if "/" in text else text
