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
    rf"\[{{1,2}}[^\[\]]*\]{{1,2}}\(\s*(?:[^()\s]*/)?u(?:ser)?/{_NAME}/?(?:[?#][^()\s]*)?(?:\s\"[^\"]*\")?\)", re.IGNORECASE
)
"""A link to a user, whose words are most often the name."""
_LINKED_PAGE = re.compile(rf"\[([^\[\]]*)\](?=\((?:[^()\s]*/)?u(?:ser)?/({_NAME})/[^()\s])", re.IGNORECASE)
"""A link to something of a user: of its words only the name goes."""
_IN_ADDRESS = re.compile(
    r"(/message/compose/?\?[^\s()#]{0,200}?\bto=(?:(?:%2F)?u(?:ser)?%2F)?|/search/?\?[^\s()#]{0,200}?\bauthor(?::|%3A)|"
    rf"(?:/|%2F)u(?:ser)?%2F){_NAME}",
    re.IGNORECASE,
)
"""Who is written to, or searched for, by following a link."""
_PROFILE = re.compile(r"<a\b(?>[^<>]*?/u(?:sers)?/\d)[^<>]*+>[^<]*+(?:<(?!/?a\b)[^<>]*+>[^<]*+)*+</a>", re.IGNORECASE)
_ADDRESS = re.compile(r"(/users/)\d+(?:/[\w-]*)?", re.IGNORECASE)
_CODE = re.compile(r"(<code\b[^<>]*+>[^<]*+)", re.IGNORECASE)
_ADDRESSED = re.compile(r"(?<![\w.@/])@[^\W\d_][\w-]+")
"""All on the sites of Stack Exchange. What the first parts have taken they keep: whatever the text, it is read once. In code
an @ is no mark of a name."""
_LINK = re.compile(r"!?\[([^\[\]]*)\]\((?:[^()\s]|\([^()\s]*\))+(?:\s\"[^\"]*\")?\)")
_BREAK = re.compile(r"<(?:br|hr|/p|/li|/ul|/ol|/pre|/blockquote|/h\d|/div|/tr)\b[^>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-z][^<>]*>", re.IGNORECASE)


def plain(text: str, links: bool) -> str:
    """What a reader sees of Reddit's markdown, links as their words unless they are to stay."""
    if text.isascii() and "/" not in text and "&" not in text and "](" not in text:
        return text.strip()  # most comments: there is nothing to undo
    text = unspaced(unescaped(sound(text)))
    text = _LINKED_PAGE.sub(_of_somebody, _LINKED_USER.sub(NOBODY, text)) if "](" in text else text
    return nameless(text if links else unlinked(text))


def of_html(text: str) -> str:
    """The words of an answer that is kept as HTML."""
    parts = _CODE.split(_PROFILE.sub("someone", sound(text)))  # every second one is code
    parts[::2] = [_ADDRESSED.sub("@someone", part) for part in parts[::2]]
    text = html.unescape(_TAG.sub("", _BREAK.sub("\n", "".join(parts))))
    return nameless(_ADDRESS.sub(r"\1someone", re.sub(r"\n\s*\n", "\n\n", text).strip()))


def sound(text: str) -> str:
    """What can be written as UTF-8: half a surrogate pair becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def unescaped(text: str) -> str:
    """Undo what Reddit does to &, < and >, and no more. The ampersand comes last: "&amp;gt;" was typed as "&gt;"."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") if "&" in text else text


def unspaced(text: str) -> str:
    """Without the spaces of no width that Reddit's editor writes for an empty line, and with others as they look."""
    return text.replace("&#x200B;", "").replace("\u200b", "").replace("&nbsp;", " ").strip()


def unlinked(text: str) -> str:
    """A link as its words: "[the manual](https://…)" becomes "the manual"."""
    return _LINK.sub(r"\1", text) if "](" in text else text


def nameless(text: str) -> str:
    """Without the names of users that are spoken to, or of, as u/name."""
    return _OWN.sub(rf"\1{NOBODYS}", _USER.sub(NOBODY, _IN_ADDRESS.sub(r"\1someone", text))) if "/" in text else text


def _of_somebody(link: re.Match[str]) -> str:
    """The words of a link to something of a user, without the name."""
    name = r"\\?".join(map(re.escape, link[2].replace("\\", "")))
    return f"[{re.sub(name, 'someone', link[1], flags=re.IGNORECASE)}]"
