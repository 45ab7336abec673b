"""Filters: what stands between any source and the run, and holds records back. Each tells the tally how many."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt

from alignzoo.interfaces import Asking, Count, Share
from alignzoo.records import Comparison, Completion, Critique, Feedback, Prompt, Ranking, Rating, comparisons_in

PHRASES = (
    "as an ai language model",
    "as a language model",
    "as an ai assistant",
    "i am an ai language model",
    "i'm an ai language model",
    "i'm just an ai",
    "my knowledge cutoff",
)


Claim = tuple[str, bytes, bytes]
"""Of one prompt, what is better and what is worse: answers, or, of a rating, an answer and nothing."""


@dataclass(frozen=True)
class Boilerplate:
    """Holds back records in which an answer that would be learned from says what assistants say of themselves."""

    phrases: tuple[str, ...] = PHRASES
    """In any case, with any apostrophe."""

    sides: Literal["good", "all"] = "good"
    """Look at what would be imitated (the chosen answer, the first of a ranking, the only one), or at every answer."""

    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        """Records that say none of it."""
        phrases = [f" {plain(phrase)} " for phrase in self.phrases]  # whole words: "has a language modelled" is none
        for record in records:
            answers = answers_in(record) if self.sides == "all" else answers_in(record)[:1]
            said = [f" {plain(answer.text)} " for answer in answers]
            if any(phrase in text for text in said for phrase in phrases):
                asking.tally.sift("boilerplate", record.prompt.id)
            else:
                yield record


@dataclass(frozen=True)
class Lengths:
    """Holds back records with an answer that is too short or too long, or pairs of very unlike lengths."""

    least: Annotated[int, Ge(0)] = 1
    """Words of the shortest answer."""
    most: Count = 10_000
    """Words of the longest answer."""
    ratio: Annotated[float, Ge(1)] | None = None
    """The longest answer of a pair or ranking has at most so many times the words of the shortest."""

    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        """Records whose answers are all of such a length."""
        for record in records:
            words = [len(answer.text.split()) for answer in answers_in(record)]
            unlike = self.ratio is not None and max(words) > self.ratio * max(1, min(words))
            if min(words) < self.least or max(words) > self.most or unlike:
                asking.tally.sift("lengths", record.prompt.id)
            else:
                yield record


@dataclass(frozen=True)
class Finished:
    """Holds back records with an answer that was cut where its tokens ran out. Imitated, it teaches not to come to an end; and
    trainers elsewhere read an end behind it that nobody wrote."""

    sides: Literal["good", "all"] = "all"
    """Look at what would be imitated, or at every answer: one that loses may have lost for having been cut."""

    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        """Records whose answers come to an end."""
        for record in records:
            answers = answers_in(record) if self.sides == "all" else answers_in(record)[:1]
            if all(answer.finished for answer in answers):
                yield record
            else:
                asking.tally.sift("finished", record.prompt.id)


@dataclass(frozen=True)
class Duplicates:
    """Holds back records that were there before but for case, space and punctuation. Signs are none of it: "C++" is not "C",
    nor "-5" the same as "5". Remembers 8 bytes of each."""

    judgements: Literal["same", "any"] = "any"
    """Whether only prompt and answers count, or the judgement and who gave it, too: "same" lets another vote on the same
    answers pass, and that of another annotator."""

    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        """The first of each."""
        seen: set[bytes] = set()
        for record in records:
            said = [alike(answer.text) for answer in answers_in(record)]
            told = judgement(record) if self.judgements == "same" else ""
            parts = (type(record).__name__, alike(asked(record.prompt)), told, *(said if told else sorted(said)))
            if (name := _short("\x00".join(parts))) in seen:
                asking.tally.sift("duplicates", record.prompt.id)
            else:
                seen.add(name)
                yield record


@dataclass(frozen=True)
class PerPrompt:
    """Holds back what comes after the first so many records of one prompt, so that a few prompts do not fill the lesson."""

    most: Count = 5
    """Records of one prompt. Five pairs of a post is what those who train on SHP take."""

    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        """The first of each prompt."""
        passed: Counter[str] = Counter()
        for record in records:
            passed[record.prompt.id] += 1
            if passed[record.prompt.id] > self.most:
                asking.tally.sift("per-prompt", record.prompt.id)
            else:
                yield record


@dataclass(frozen=True)
class Contradictions:
    """Holds back records that say the opposite of another one: of the same two answers the other is better, or the same answer,
    by the same value, is good and bad."""

    keep: Literal["first", "none"] = "first"
    """Keep the one that came first, or none of them; for none, all records are held in memory."""

    middle: float = 0.5
    """A score above it says good, below it bad: 0.5 for thumbs, 3 for one to five stars."""

    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        """Records that nothing contradicts, or nothing that came before."""
        said: set[Claim] = set()
        if self.keep == "none":
            records = list(records)
            said = {claim for record in records for claim in claims(record, self.middle)}
        for record in records:
            own = claims(record, self.middle)
            if any((prompt, worse, better) in said for prompt, better, worse in own):
                asking.tally.sift("contradictions", record.prompt.id)
            else:
                said.update(own)
                yield record


@dataclass(frozen=True)
class Overlap:
    """Holds back feedback on prompts that the run is judged on, or that share a long run of words with one of them."""

    words: Count = 8
    """Words in a row that two prompts must not share. Shorter prompts must not be the same."""

    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        """Records that are strictly apart from the evaluation."""
        held = {shingle for prompt in asking.evaluation for shingle in shingles(asked(prompt), self.words)}
        for record in records:
            if held.isdisjoint(shingles(asked(record.prompt), self.words)):
                yield record
            else:
                asking.tally.sift("overlap with evaluation prompts", record.prompt.id)


@dataclass(frozen=True)
class Script:
    """Holds back records whose answers are written in other letters: a rough stand-in for the language, which tells English
    from Chinese, and not from French."""

    scripts: tuple[str, ...] = ("LATIN",)
    """Unicode's names of scripts: LATIN, CYRILLIC, GREEK, ARABIC, HEBREW, CJK, HIRAGANA, HANGUL, DEVANAGARI, …"""
    share: Annotated[Share, Gt(0)] = 0.8
    """The least share of an answer's letters that must be of these."""

    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        """Records in these letters, and those without any."""
        for record in records:
            if all(self._written(answer.text) for answer in answers_in(record)):
                yield record
            else:
                asking.tally.sift("script", record.prompt.id)

    def _written(self, text: str) -> bool:
        letters = [letter for letter in text if letter.isalpha()]
        known = sum(unicodedata.name(letter, "").startswith(self.scripts) for letter in letters)
        return known >= self.share * len(letters)


# What records are made of -----------------------------------------------------------------------------------------------


def answers_in(record: Feedback) -> tuple[Completion, ...]:
    """Every answer of a record, the one that would be imitated first."""
    match record:
        case Comparison():
            return (record.chosen, record.rejected)
        case Ranking():
            return record.completions
        case Critique():
            return (record.revision, record.completion)
        case _:
            return (record.completion,)


def judgement(record: Feedback) -> str:
    """What was said of the answers, in their order, and by whom."""
    match record:
        case Comparison():
            said = f"{record.strength}"
        case Ranking():
            said = f"{record.ranks}"
        case Rating():
            said = f"{record.value} {record.score}"
        case _:
            said = ""
    return f"{record.provenance.source} {record.provenance.annotator} {said}"


def asked(prompt: Prompt) -> str:
    """All that was said before the answer."""
    return "\n".join(turn.text for turn in prompt.turns)


_WORD = re.compile(r"[^\W_]+")
_DENSE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD_OR_LETTER = re.compile(rf"(?!\W)[{_DENSE}]|[^\W_{_DENSE}]+")
_MINUS = re.compile(r"(?<![^\s(=,])-(?=\d)")
_MARK = re.compile(r"[^\w\s]")


def plain(text: str) -> str:
    """Words in small letters, one space between them, without punctuation. In scripts that write no spaces (Chinese, Japanese,
    Thai), each letter is a word."""
    said = text.casefold().replace("’", "'").replace("'", "")
    return " ".join((_WORD if said.isascii() else _WORD_OR_LETTER).findall(said))


def alike(text: str) -> str:
    """What two texts share that are the same but for case, space and punctuation: words, and signs of mathematics, of money and
    pictures in their order. A minus before a number is such a sign."""
    signs = (mark for mark in _MARK.findall(_MINUS.sub("\u2212", text)) if unicodedata.category(mark) in ("Sm", "Sc", "So"))
    return f"{plain(text)}\x01{''.join(signs)}"


def shingles(text: str, length: int) -> set[bytes]:
    """Every run of so many words, each by a short hash; the whole text where it is shorter."""
    words = plain(text).split()
    return {_short(" ".join(words[i : i + length])) for i in range(max(1, len(words) - length + 1))}


def _short(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def claims(record: Feedback, middle: float) -> set[Claim]:
    """All that a record says. A tie says nothing, nor does a score in the middle."""
    said = record.prompt.id
    if isinstance(record, Rating):
        answer = _short(f"{record.value}\x00{record.completion.text}")
        sides = (answer, b"") if record.score > middle else (b"", answer)
        return set() if record.score == middle else {(said, *sides)}
    pairs = ((one.chosen.text, one.rejected.text) for one in comparisons_in([record]) if not one.tie)
    return {(said, _short(better), _short(worse)) for better, worse in pairs if better != worse}
