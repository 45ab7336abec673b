"""Sets of choices: PKU-SafeRLHF (Ji et al. 2023), PandaLM's human test set (Wang et al. 2023), and the best-of-four labels of
lm-human-preferences (Ziegler et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

from alignzoo.interfaces import Asking
from alignzoo.records import Comparison, Completion, Feedback, Prompt, Provenance, Rating
from alignzoo_preference_sets.data import Data, collected
from alignzoo_preference_sets.fields import Row, Taken, Unfit, different, in_order, whole_text

ANNOTATORS = ("annotator1", "annotator2", "annotator3")
SAMPLES = ("sample0", "sample1", "sample2", "sample3")


@dataclass(frozen=True)
class SafeRLHF:
    """Two answers with two labels: which is more helpful, and which is safer. They are two values, learned apart: as two
    rewards, or one of them as a cost."""

    asks: ClassVar[tuple[str, ...]] = ()

    data: Data = Data(path="PKU-Alignment/PKU-SafeRLHF")
    """Rows with prompt, response_0, response_1 and the labels."""

    value: Literal["helpful", "safe", "safe or not"] = "helpful"
    """The more helpful over the other; the safer over the other; or each by itself, 1 where it is safe and 0 where not."""

    @property
    def gives(self) -> tuple[str, ...]:
        return ("rating",) if self.value == "safe or not" else ("comparison",)

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """A comparison, or two ratings, for each row."""
        return collected(self.data, self.taken, asking.tally)

    def taken(self, row: Row) -> Taken:
        """A row's records under the chosen value; its group is the prompt."""
        prompt = Prompt.ask(row.text("prompt"))
        answers = different(row.text("response_0"), row.text("response_1"))
        if self.value == "safe or not":
            source = Provenance("pku-saferlhf/safe-or-not", licence="CC-BY-NC-4.0")
            safe = [row.yes(f"is_response_{number}_safe") for number in (0, 1)]
            told = zip(answers, safe, strict=True)
            ratings = tuple(Rating(prompt, answer, float(is_safe), "safe", source) for answer, is_safe in told)
            return Taken(prompt.text, ratings)
        better = row.one_of("better_response_id" if self.value == "helpful" else "safer_response_id", 0, 1)
        source = Provenance(f"pku-saferlhf/{self.value}", licence="CC-BY-NC-4.0")
        odd = self.value == "safe" and _unsafe_over_safe(row, better)
        notices = ("the safer answer is labelled unsafe, and the other safe",) if odd else ()
        comparison = Comparison(prompt, answers[better], answers[1 - better], provenance=source)
        return Taken(prompt.text, (comparison,), notices=notices)


def _unsafe_over_safe(row: Row, safer: int) -> bool:
    names = (f"is_response_{safer}_safe", f"is_response_{1 - safer}_safe")
    return all(map(row.has, names)) and not row.yes(names[0]) and row.yes(names[1])


@dataclass(frozen=True)
class PandaLM:
    """Two answers to an instruction, judged by three people: 1, 2, or 0 for a tie."""

    gives: ClassVar[tuple[str, ...]] = ("comparison",)
    asks: ClassVar[tuple[str, ...]] = ()

    data: Data = Data()
    """Rows with instruction, input, response1, response2 and annotator1 to annotator3."""

    voices: Literal["each", "together"] = "each"
    """A comparison for each annotator; or one for all, whose strength is their share of the votes (a tie is half a vote)."""

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """The comparisons of each row."""
        return collected(self.data, self.taken, asking.tally)

    def taken(self, row: Row) -> Taken:
        """A row's comparisons; its group is the prompt."""
        asked = "\n\n".join(part for part in (row.text("instruction"), row.maybe("input")) if part)
        (first, bare), (second, bare_too) = row.said("response1"), row.said("response2")
        answers, prompt = different(first, second), Prompt.ask(asked)
        votes = {who: row.one_of(who, 0, 1, 2) for who in ANNOTATORS if row.has(who)}
        if not votes:
            raise Unfit("no annotator chose")
        notices: tuple[str, ...] = ("an answer that is no text but a bare value, written out",) if bare or bare_too else ()
        notices += ("an annotator is missing",) if len(votes) < len(ANNOTATORS) else ()
        if self.voices == "each":
            records = tuple(_choice(prompt, answers, {1: 1.0, 2: 0.0, 0: 0.5}[vote], who) for who, vote in votes.items())
        else:
            share = sum({1: 1.0, 2: 0.0, 0: 0.5}[vote] for vote in votes.values()) / len(votes)
            records = (_choice(prompt, answers, share, f"{len(votes)} annotators"),)
        return Taken(asked, records, notices=notices)


def _choice(prompt: Prompt, answers: tuple[Completion, Completion], first: float, who: str) -> Comparison:
    """A comparison by the probability that the first is better."""
    source = Provenance("pandalm", who, licence="Apache-2.0")
    better, worse = answers if first >= 0.5 else answers[::-1]
    return Comparison(prompt, better, worse, max(first, 1 - first), source)


@dataclass(frozen=True)
class LMHumanPreferences:
    """The best of four continuations of a text. One beats three; nothing is known of the three among themselves."""

    gives: ClassVar[tuple[str, ...]] = ("ranking",)
    asks: ClassVar[tuple[str, ...]] = ()

    data: Data = Data()
    """Labels as they were released: query, sample0 to sample3 and best, as token ids or as text."""

    tokenizer: str = "gpt2"
    """Whose ids they are: a folder or a hub name. Only asked where the rows hold ids."""

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """A ranking of two places for each row."""
        return collected(self.data, self.taken, asking.tally)

    def taken(self, row: Row) -> Taken:
        """A row's ranking, the best before a tie of three; its group is the query."""
        query = self._words(row, "query")
        samples = [self._words(row, name) for name in SAMPLES]
        best = row.one_of("best", 0, 1, 2, 3)
        others = [sample for place, sample in enumerate(samples) if place != best and sample != samples[best]]
        if not others:
            raise Unfit("all four answers are the same")
        notices = ("another answer is the same as the best, left out",) if len(others) < 3 else ()
        source = Provenance("lm-human-preferences", licence="MIT")
        ranking, more = in_order(Prompt.ask(query), [samples[best], *others], [0] + [1] * len(others), source)
        return Taken(query, (ranking,), notices=notices + more)

    def _words(self, row: Row, name: str) -> str:
        if not isinstance(row.cells.get(name), list):
            return row.text(name)
        ids = [Row({name: number}).whole(name) for number in row.cells[name]]
        if not ids:  # known without asking for the tokenizer
            raise Unfit(f"'{name}' is empty")
        words = decoded(self.tokenizer, ids).strip()
        if not words:
            raise Unfit(f"'{name}' is empty")
        return whole_text(words, name)


def decoded(tokenizer: str, ids: list[int]) -> str:
    """The text of token ids. Ids that the tokenizer does not have are padding: the labels were filled up with one of them."""
    known = _tokenizer(tokenizer)
    return str(known.decode([number for number in ids if 0 <= number < len(known)], skip_special_tokens=True))


@lru_cache(maxsize=1)
def _tokenizer(name: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        first = str(error).partition("\n")[0]
        raise TokenizerError(f"tokenizer: {name} cannot be loaded ({first}); download it and name its folder") from None


class TokenizerError(ValueError):
    """Rows hold token ids, and nobody can say what they mean."""
