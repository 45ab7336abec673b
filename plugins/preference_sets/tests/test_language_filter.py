"""The filter by language: clear cases, short ones, and what is said where it cannot be."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from alignzoo.interfaces import Asking, Filter
from alignzoo.records import Comparison, Completion, Prompt
from alignzoo_preference_sets.language import Language, LanguageError, identifier

needs_library = pytest.mark.skipif(not importlib.util.find_spec("py3langid"), reason="py3langid is not installed")
ENGLISH, GERMAN = "The snow lies on the mountains and it is cold.", "Der Schnee liegt auf den Bergen und es ist kalt."
JAPANESE = "今日はとてもいい天気ですから、山へ行きましょう。"


def passed(sieve: Language, *answers: str, prompt: str = "Tell me of the mountains in winter, please.") -> list[str]:
    asking = Asking()
    records = [Comparison(Prompt.ask(prompt), Completion(answer), Completion("Yes.")) for answer in answers]
    kept = [record.chosen.text for record in sieve.sift(records, asking) if isinstance(record, Comparison)]
    held = asking.tally.sifted["language"].count if asking.tally.sifted else 0
    assert held == len(answers) - len(kept)
    return kept


@needs_library
def test_other_languages_are_held_back_and_short_answers_pass() -> None:
    assert isinstance(Language(), Filter)
    assert passed(Language(), ENGLISH, GERMAN, JAPANESE, "Ja.", "") == [ENGLISH, "Ja.", ""]
    assert passed(Language(languages=("en", "de")), ENGLISH, GERMAN, JAPANESE) == [ENGLISH, GERMAN]


@needs_library
def test_prompts_count_unless_they_are_not_to() -> None:
    assert passed(Language(), ENGLISH, prompt=GERMAN) == []
    assert passed(Language(prompts=False), ENGLISH, prompt=GERMAN) == [ENGLISH]


@needs_library
def test_a_doubtful_text_passes() -> None:
    name, probability = identifier().classify("No lo sé, depende de ti.")
    assert name != "en"
    assert probability < 0.5
    assert passed(Language(), "No lo sé, depende de ti.") == ["No lo sé, depende de ti."]
    assert passed(Language(sure=0.1), "No lo sé, depende de ti.") == []
    assert passed(Language(least=11), GERMAN) == [GERMAN]
    assert passed(Language(least=10), GERMAN) == []


@needs_library
@pytest.mark.parametrize(("languages", "said"), [(("english",), "no language 'english'"), ("en", "languages is a list")])
def test_a_language_that_nobody_knows(languages: tuple[str, ...], said: str) -> None:
    with pytest.raises(LanguageError, match=said):
        Language(languages=languages)


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    identifier.cache_clear()
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    with pytest.raises(LanguageError, match=r"pip install 'alignzoo\[language\]'"):
        Language()
    identifier.cache_clear()
