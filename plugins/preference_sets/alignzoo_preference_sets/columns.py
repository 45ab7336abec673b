"""Which column of a table is what: as it is said, or guessed where it is plain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

from alignzoo.records import KINDS

Form = Literal["comparisons", "verdicts", "rankings", "ratings", "demonstrations", "records"]


class ColumnsError(ValueError):
    """Columns that cannot be told apart, or are not there."""


@dataclass(frozen=True)
class Columns:
    """The names of columns. What is empty is guessed; "-" says that there is none."""

    prompt: str = ""
    """What was asked: a text, a transcript, or a list of messages."""
    input: str = ""
    """A text that belongs to the prompt and follows it."""
    system: str = ""
    """Instructions above the prompt."""
    chosen: str = ""
    """The better answer; also the whole dialogue that ends with it."""
    rejected: str = ""
    """The worse answer, likewise."""
    strength: str = ""
    """The probability that the chosen one is better."""
    first: str = ""
    """One of two answers, shown first; also the whole dialogue that ends with it."""
    second: str = ""
    """The other one, likewise."""
    winner: str = ""
    """Which of the two is better."""
    completion: str = ""
    """An answer by itself."""
    score: str = ""
    """Its score; more is better."""
    label: str = ""
    """Its thumb: true or false, 1 or 0, up or down, good or bad."""
    messages: str = ""
    """A dialogue as a list of messages; its last answer is the answer."""
    completions: str = ""
    """A list of answers."""
    ranks: str = ""
    """Their ranks; less is better."""
    scores: str = ""
    """Their scores; more is better."""
    annotator: str = ""
    """Who judged."""
    time: str = ""
    """When."""
    group: str = ""
    """What must stay on one side of a split; without it, the prompt's first words."""
    id: str = ""
    """The row's own name."""
    note: str = ""
    """A remark that is kept with the record, such as the subset that the row belongs to. It is never guessed."""

    def named(self) -> dict[str, str]:
        """Every part that has a column."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) not in ("", "-")}


PLAIN: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "prompt": (("prompt", "question", "instruction", "query", "post", "history"), ("input", "context")),
    "input": (("input",), ("context",)),
    "system": (("system", "system_prompt"),),
    "chosen": (
        ("chosen", "preferred", "chosen_response", "response_chosen", "answer_chosen"),
        ("better", "accepted", "preferred_output"),
    ),
    "rejected": (
        ("rejected", "dispreferred", "rejected_response", "response_rejected", "answer_rejected"),
        ("worse", "non_preferred_output"),
    ),
    "strength": (("strength",),),
    "winner": (("winner", "preference", "choice", "verdict"), ("label", "preferred")),
    "completion": (("completion", "response", "answer", "reply", "output", "generation"), ("text",)),
    "score": (("score", "rating", "reward", "stars", "grade"), ("overall",)),
    "label": (("label", "thumb", "thumbs", "vote", "liked", "desirable", "is_good", "feedback"), ("is_safe",)),
    "messages": (("messages", "conversation", "conversations", "dialogue", "dialog"),),
    "completions": (("completions", "responses", "answers", "outputs", "candidates"),),
    "ranks": (("ranks", "ranking", "rank"),),
    "scores": (("scores", "ratings", "rewards"),),
    "annotator": (("annotator", "worker", "rater", "labeler", "labeller", "annotator_id", "worker_id"), ("judge",)),
    "time": (("time", "timestamp", "tstamp", "created_at", "created_utc", "date"),),
    "group": (("group", "thread", "thread_id", "conversation_id", "prompt_id", "question_id", "post_id"),),
    "id": (("id", "uuid", "row_id"),),
    "note": (),
}
"""Names that are plain, the plainest first. Of two in one bracket none is plainer, and it must be said which is meant."""

_STEMS = ("response", "answer", "output", "completion", "summary")
_ENDINGS = (("_a", "_b"), ("_0", "_1"), ("_1", "_2"), ("0", "1"), ("1", "2"))
DIALOGUES = tuple((stem + one, stem + other) for stem in ("conversation", "messages", "dialogue") for one, other in _ENDINGS)
"""Names of two dialogues that end with an answer, and hold their prompt."""
PAIRS = (
    *((stem + one, stem + other) for stem in _STEMS for one, other in _ENDINGS),
    ("first", "second"),
    ("a", "b"),
    *DIALOGUES,
)
"""Names of two answers that are shown together."""

NEEDS: tuple[tuple[Form, tuple[str, ...]], ...] = (
    ("comparisons", ("chosen", "rejected")),
    ("verdicts", ("prompt", "first", "second", "winner")),
    ("verdicts", ("first", "second", "winner")),
    ("rankings", ("prompt", "completions", "ranks")),
    ("rankings", ("prompt", "completions", "scores")),
    ("ratings", ("prompt", "completion", "score")),
    ("ratings", ("prompt", "completion", "label")),
    ("ratings", ("messages", "score")),
    ("ratings", ("messages", "label")),
    ("demonstrations", ("messages",)),
    ("demonstrations", ("prompt", "completion")),
)
"""What each form cannot do without, the form that says most first."""

BESIDE: Mapping[Form, tuple[str, ...]] = {
    "comparisons": ("prompt", "input", "system", "strength"),
    "verdicts": ("prompt", "input", "system"),
    "rankings": ("input", "system"),
    "ratings": ("input", "system"),
    "demonstrations": ("input", "system"),
    "records": (),
}
"""What a form takes if it is there; each also takes annotator, time, group, id and note."""


PUBLISHED: Mapping[str, tuple[set[str], ...]] = {
    "hh-red-team": ({"transcript", "min_harmlessness_score_transcript"},),
    "helpsteer": (
        {"prompt", "response", "helpfulness"},
        {"prompt", "response_1", "response_2", "preference_strength"},
        {"context", "response1", "response2", "overall_preference"},
    ),
    "lm-human-preferences": ({"query", "sample0", "best"},),
    "oasst": ({"message_id", "parent_id", "role"}, {"message_tree_id", "prompt"}),
    "pandalm": ({"instruction", "response1", "annotator1"},),
    "pku-saferlhf": ({"response_0", "response_1", "safer_response_id"},),
    "shp": ({"history", "human_ref_A", "human_ref_B"},),
    "summarize-from-feedback": ({"info", "summaries", "choice"}, {"info", "summary"}),
    "ultrafeedback": ({"instruction", "completions"},),
    "webgpt-comparisons": ({"question", "answer_0", "score_0"},),
}
"""Columns by which the sets are known that sources of their own read, in the forms that they are published in. Where
`file` finds no judgement in them it makes less of them, or nothing: HelpSteer's marked answers were examples to follow."""

OURS = {"kind", *(f.name for kind in KINDS.values() for f in fields(kind))}
"""The fields of records as alignzoo writes them."""


def resolved(names: Iterable[str], said: Columns, form: str = "", more: Iterable[str] = ()) -> tuple[Form, Columns]:
    """The form of a table with these columns (or this one), and the column of every part that it has; what a form takes only if
    it is there may also be among `more`, which some rows have and the first has not."""
    there = list(names)
    every = [*there, *(name for name in more if name not in there)]
    if missing := [f"columns.{part} = '{column}'" for part, column in said.named().items() if column not in every]:
        raise ColumnsError(f"there is no such column: {', '.join(missing)}; there are {', '.join(every)}")
    if form == "records" and "kind" not in every:
        raise ColumnsError(f"records as alignzoo writes them say their kind in a column 'kind'; there are {', '.join(every)}")
    if form == "records" or (not form and not said.named() and "kind" in there and set(there) <= OURS):
        return "records", Columns()
    for known, needed in NEEDS:
        if form in ("", known):
            if known == "demonstrations" and not form and not said.named() and (use := _published(there)):
                raise ColumnsError(
                    f'{", ".join(there)} are the columns of a set that has a source of its own: use = "{use}"; or say what to '
                    f"read of them, for example columns.prompt = '{there[0]}'"
                )
            found = {part: _column(part, there, said, needed) for part in needed}
            if all(found.values()):
                return known, _filled(known, {part: str(column) for part, column in found.items()}, there, every, said)
    if len(there) == 1 and (mark := next((mark for mark in (";", "\t", "|") if mark in there[0]), "")):
        raise ColumnsError(f"one column, '{there[0]}': its cells are parted by {mark!r}; .csv has commas, .tsv has tabs")
    wanted = " or ".join(" + ".join(needed) for known, needed in NEEDS if form in ("", known))
    raise ColumnsError(
        f"no telling what the columns {', '.join(there)} mean; say which are {wanted or 'kind'}, for example columns.prompt = "
        f"'{there[0] if there else 'question'}'"
    )


def _published(there: Sequence[str]) -> str:
    """The source that reads the set with these columns; empty where none is known by them."""
    known = (use for use, forms in PUBLISHED.items() if any(columns <= set(there) for columns in forms))
    return next(known, "")


def _filled(form: Form, found: dict[str, str], there: list[str], every: list[str], said: Columns) -> Columns:
    taken = set(found.values())
    for part in (*BESIDE[form], "annotator", "time", "group", "id", "note"):
        # a prompt that is there twice is asked about, too, if it is in one row
        column = _column(part, there if part == "prompt" else every, said, ("prompt",))
        if column and part not in found and column not in taken:
            found[part] = column
            taken.add(column)
    return replace(Columns(), **found)


def _column(part: str, there: list[str], said: Columns, needed: tuple[str, ...]) -> str:
    """The column of a part; empty if there is none. Of two that are equally plain none is taken, and for what is needed it is
    asked which."""
    named: str = getattr(said, part)
    if named:
        return "" if named == "-" else named
    free = {name.lower(): name for name in there if name not in said.named().values()}
    if part in ("first", "second"):
        place = ("first", "second").index(part)
        pairs = PAIRS if "prompt" in needed else DIALOGUES
        brackets: tuple[tuple[str, ...], ...] = (tuple(pair[place] for pair in pairs if set(pair) <= set(free)),)
    else:
        brackets = PLAIN[part]
    for names in brackets:
        found = [free[name] for name in names if name in free]
        if len(found) == 1:
            return found[0]
        if found and part in needed:
            raise ColumnsError(f"{' and '.join(found)} could both be the {part}; say which: columns.{part} = '{found[0]}'")
        if found:
            return ""
    return ""
