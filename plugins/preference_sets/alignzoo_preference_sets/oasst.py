"""OpenAssistant (Köpf et al. 2023): conversation trees in which volunteers ranked the answers to one message.

The trees come whole, a tree a line, or taken apart into messages, a message a row (so on the hub); messages of one tree stand
together there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar, Literal

from alignzoo.interfaces import Asking
from alignzoo.records import Demonstration, Feedback, Prompt, Provenance, Speaker, Turn
from alignzoo.rows import Fault, Placed
from alignzoo_preference_sets.data import Data, collected_from
from alignzoo_preference_sets.fields import Aside, Row, Taken, Unfit, in_order

LICENCE = "Apache-2.0"
_WHO: Mapping[str, Speaker] = {"prompter": "user", "assistant": "assistant"}
_DEEPEST = 200
"""Messages in a row; the published trees have a dozen."""


@dataclass(frozen=True)
class Oasst:
    """Rankings of sibling answers, wherever in a tree they are; the prompt is the way from the root to them."""

    asks: ClassVar[tuple[str, ...]] = ()

    data: Data = Data(path="OpenAssistant/oasst1")
    """Whole trees, or messages."""

    kind: Literal["rankings", "demonstrations"] = "rankings"
    """Orders of the answers that have a rank, or the best of them as an example to follow."""

    languages: tuple[str, ...] = ()
    """Only trees that begin in one of these (en, es, …); all if empty."""

    states: tuple[str, ...] = ("ready_for_export",)
    """Only trees in one of these states: others were not finished, or were spam. All if empty."""

    @property
    def gives(self) -> tuple[str, ...]:
        return ("ranking",) if self.kind == "rankings" else ("demonstration",)

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """The records of each tree."""
        return collected_from(trees(self.data.rows()), self.data, self.taken, asking.tally)

    def taken(self, row: Row) -> Taken:
        """A tree's rankings, from the root down; its group is the tree."""
        name, root = row.text("message_tree_id"), row.table("prompt")
        if self.states and row.maybe("tree_state") not in self.states:
            raise Aside("in another state than `states` names")
        if self.languages and root.maybe("lang") not in self.languages:
            raise Aside("in another language than `languages` names")
        if root.has("deleted") and root.yes("deleted"):
            raise Unfit("the first message was deleted")
        if root.has("review_result") and not root.yes("review_result"):
            raise Unfit("the first message did not pass review")
        records: list[Feedback] = []
        notices: list[str] = []
        ahead: list[tuple[Row, tuple[Turn, ...]]] = [(root, (_turn(root),))]
        while ahead:
            message, path = ahead.pop()
            replies = _there(message, notices)
            if path[-1].speaker == "user":
                records += self._ranked(path, replies, notices)
            if replies and len(path) == _DEEPEST:
                notices.append(f"deeper than {_DEEPEST} messages: the rest is left out")
                continue
            ahead += [(reply, (*path, _turn(reply))) for reply in reversed(replies)]
        if not records:
            raise Unfit("no two answers to one message have a rank")
        return Taken(name, tuple(records), name, tuple(dict.fromkeys(notices)), named=True)

    def _ranked(self, path: tuple[Turn, ...], replies: list[Row], notices: list[str]) -> list[Feedback]:
        answers = [reply for reply in replies if _turn(reply).speaker == "assistant"]
        ranked = sorted(((reply.whole("rank"), reply) for reply in answers if reply.has("rank")), key=lambda pair: pair[0])
        if ranked and len(ranked) < len(answers):
            notices.append("some answers to a message have a rank and others none")
        texts = [reply.text("text") for _, reply in ranked]
        if len(texts) < 2 or len(set(texts)) < 2:
            return []
        # who ranked is not published, nor when: it was no earlier than the best answer
        source = Provenance("oasst", time=ranked[0][1].maybe("created_date"), licence=LICENCE)
        ranking, more = in_order(Prompt(path), texts, [rank for rank, _ in ranked], source)
        notices += more
        if self.kind == "demonstrations":
            return [Demonstration(ranking.prompt, ranking.completions[0], source)]
        return [ranking]


def _there(message: Row, notices: list[str]) -> list[Row]:
    """The replies to a message that were not deleted, and not refused by those who reviewed them."""
    replies = [Row(reply.cells, "replies[].") for reply in (message.tables("replies") if message.has("replies") else ())]
    there = [reply for reply in replies if not (reply.has("deleted") and reply.yes("deleted"))]
    if len(there) < len(replies):
        notices.append("deleted messages, left out")
    passed = [reply for reply in there if not reply.has("review_result") or reply.yes("review_result")]
    if len(passed) < len(there):
        notices.append("messages that did not pass review, left out")
    return passed


def _turn(message: Row) -> Turn:
    role = message.text("role")
    if role not in _WHO:
        raise Unfit(f"'{message.at}role' must be prompter or assistant")
    return Turn(_WHO[role], message.text("text"))


# Messages → trees -----------------------------------------------------------------------------------------------------


def trees(rows: Iterable[Placed]) -> Iterator[Placed]:
    """Rows that are trees as they are; messages put together, the messages of one tree at a time."""
    for tree, group in groupby(rows, key=_tree_of):
        if tree is None:
            yield from group
        else:
            first, messages = "", []
            for place, cells in group:
                first = first or place
                messages.append(cells)
            yield first, _together(tree, messages)


def _tree_of(placed: Placed) -> str | None:
    """The tree that a row is a message of; None for a whole tree, or a row that is neither."""
    cells = placed[1]
    if isinstance(cells, Fault) or "message_id" not in cells or not isinstance(cells.get("message_tree_id"), str):
        return None
    return str(cells["message_tree_id"])


def _together(tree: str, messages: list[Any]) -> Mapping[str, Any] | Fault:
    """One tree. Of two messages with one id the first counts; whoever answers nobody here is left out."""
    by_id: dict[str, dict[str, Any]] = {}
    for message in messages:
        if not isinstance(message["message_id"], str):
            return Fault("'message_id' must be text")
        by_id.setdefault(message["message_id"], {**message, "replies": []})
    roots = []
    for message in by_id.values():
        parent = message.get("parent_id")
        if parent is None:
            roots.append(message)
        elif not isinstance(parent, str):
            return Fault("'parent_id' must be text, or null for the first message of a tree")
        elif parent in by_id:
            by_id[parent]["replies"].append(message)
    if len(roots) != 1:
        return Fault("messages of one tree without its one first message; they must stand together")
    return {"message_tree_id": tree, "tree_state": roots[0].get("tree_state"), "prompt": roots[0]}
