"""A filter by language, told by py3langid (Lui and Baldwin 2012, 140 languages; the extra `language`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Annotated, Any

from annotated_types import Gt

from alignzoo.interfaces import Asking, Count, Share
from alignzoo.records import Feedback
from alignzoo.seam.nearest import nearest
from alignzoo_preference_sets.filters import answers_in, asked


class LanguageError(ValueError):
    """Languages that cannot be told."""


@dataclass(frozen=True)
class Language:
    """Holds back records with an answer, or a prompt, in another language than these. What is too short to tell passes."""

    languages: tuple[str, ...] = ("en",)
    """Two or three letters of ISO 639: en, de, fr, es, zh, ja, …"""
    sure: Annotated[Share, Gt(0)] = 0.5
    """How probable another language must be for a record to be held back."""
    least: Count = 5
    """Words of the shortest text that is looked at: "Yes." is in no language. Without spaces, two letters are a word."""
    prompts: bool = True
    """Whether prompts are looked at, too."""

    def __post_init__(self) -> None:
        if isinstance(self.languages, str):
            raise LanguageError(f'languages is a list, even of one: ["{self.languages}"]')
        known = sorted(map(str, identifier().labels))
        for name in self.languages:
            if name not in known:
                raise LanguageError(f"no language '{name}' is known here{nearest(name, known)}; they are written en, de, fr, …")

    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        """Records in these languages, and those that are too short to tell."""
        for record in records:
            texts = [answer.text for answer in answers_in(record)] + [asked(record.prompt)] * self.prompts
            if any(map(self._foreign, texts)):
                asking.tally.sift("language", record.prompt.id)
            else:
                yield record

    def _foreign(self, text: str) -> bool:
        if words_in(text) < self.least:
            return False
        name, probability = identifier().classify(text)
        return str(name) not in self.languages and float(probability) >= self.sure


def words_in(text: str) -> int:
    """About how many words; Chinese, Japanese and Thai do not write spaces between theirs."""
    dense = sum(letter >= "\u2e80" or "\u0e00" <= letter <= "\u0eff" for letter in text)
    return len(text.split()) + dense // 2


@lru_cache(maxsize=1)
def identifier() -> Any:
    """The model, which comes with the library, or what to do about its absence."""
    try:
        langid = import_module("py3langid.langid")
    except ModuleNotFoundError as error:
        raise LanguageError(
            f"the library '{error.name}' is not installed; get it by: pip install 'alignzoo[language]'"
        ) from None
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
