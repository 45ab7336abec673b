"""The words of a post or comment as people read them, without the names of users."""

from __future__ import annotations

import html
import re

NOBODY = "u/someone"
_USER = re.compile(r"(?<!\w)/?(?:u|user)/[\w-]{2,}", re.IGNORECASE)
_LINK = re.compile(r"!?\[([^\[\]]*)\]\((?:[^()\s]|\([^()\s]*\))+(?:\s\"[^\"]*\")?\)")
_BREAK = re.compile(r"<(?:br|hr|/p|/li|/ul|/ol|/pre|/blockquote|/h\d|/div|/tr)\b[^>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-z][^<>]*>", re.IGNORECASE)


def plain(text: str, links: bool) -> str:
    """What a reader sees of Reddit's markdown, links as their words unless they are to stay."""
    if text.isascii() and "/" not in text and "&" not in text and "](" not in text:
        return text.strip()  # most comments: there is nothing to undo
    text = unescaped(sound(text)).strip()
    return nameless(text if links else unlinked(text))


def of_html(text: str) -> str:
    """The words of an answer that is kept as HTML."""
    text = html.unescape(_TAG.sub("", _BREAK.sub("\n", sound(text))))
    return nameless(re.sub(r"\n\s*\n", "\n\n", text).strip())


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
    return _USER.sub(NOBODY, text) if "/" in text else text
