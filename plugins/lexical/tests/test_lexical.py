"""Lexical rewards: numbers by hand, strange text, and what is said where a library or a reference is missing."""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from alignzoo.interfaces import Reward
from alignzoo.records import Completion, Prompt
from alignzoo.seam.settings import SettingsError, build
from alignzoo_lexical.lexical import Length, LexicalError, Rouge, Sentiment

WHY, HOW = Prompt.ask("why"), Prompt.ask("how")
STRANGE = ["", " ", "🙂🙂", "but but but", "café naïve 漢字", "good " * 5000, "\n\t", "?!?!", "a\u0000b"]


@pytest.fixture
def references(tmp_path: Path) -> Path:
    turns = [{"speaker": "user", "text": "how"}]
    rows: list[dict[str, Any]] = [
        {"prompt": "why", "reference": "the cat sat on the mat"},
        {"turns": turns, "reference": "slowly"},
    ]
    file = tmp_path / "references.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    return file


def score(reward: Reward, *texts: str, prompt: Prompt = WHY) -> list[float]:
    return list(reward([prompt] * len(texts), [Completion(text) for text in texts]))


def every(references: Path) -> list[Reward]:
    return [Sentiment(), Rouge(references), Rouge(references, "rouge2"), Length(), Length(free=0)]


def test_friendly_words_are_told_from_unfriendly_ones() -> None:
    kind, plain, rude = score(Sentiment(), "This is a great, lovely answer!", "The table is brown.", "You are an awful idiot.")
    assert -1 <= rude < -0.3 < plain < 0.3 < kind <= 1
    assert plain == 0.0


def test_sentiment_is_the_compound_score_of_vader() -> None:
    """One word of weight 1.9 in the lexicon: 1.9 / √(1.9² + 15)."""
    assert score(Sentiment(), "good") == pytest.approx([1.9 / math.sqrt(1.9**2 + 15)], abs=1e-3)


@pytest.mark.parametrize(
    ("variant", "wanted"),
    [
        # "the cat lay on a mat": 4 of 6 words are shared (the, cat, on, mat); 1 of 5 neighbours (the cat); run of 4
        ("rouge1", [2 * (4 / 6) * (4 / 6) / (8 / 6), 1.0, 0.0]),
        ("rouge2", [0.2, 1.0, 0.0]),
        ("rougeL", [4 / 6, 1.0, 0.0]),
    ],
)
def test_overlap_by_hand(variant: str, wanted: list[float], references: Path) -> None:
    rouge = Rouge(references, variant)  # type: ignore[arg-type]
    assert score(rouge, "the cat lay on a mat", "The cat sat on the mat.", "dogs bark") == pytest.approx(wanted)


def test_the_f_measure_weighs_precision_and_recall(references: Path) -> None:
    """Two words, both of the reference's six: precision 1, recall 1/3."""
    assert score(Rouge(references, "rouge1"), "cat mat") == pytest.approx([2 * (1 / 3) / (1 + 1 / 3)])


def test_order_counts_for_the_longest_run_only(references: Path) -> None:
    """Backwards, three of six words are still in order: "the", one of those between, and "the"."""
    backwards = "mat the on sat cat the"
    assert score(Rouge(references, "rouge1"), backwards) == [1.0]
    assert score(Rouge(references, "rougeL"), backwards) == [0.5]


def test_each_prompt_has_its_own_reference(references: Path) -> None:
    assert score(Rouge(references), "slowly", prompt=HOW) == [1.0]
    assert score(Rouge(references), "slowly", prompt=WHY) == [0.0]


def test_length_by_hand() -> None:
    assert score(Length(free=2, price=0.5), "", "a b", "a b c", "a b c d e") == [0.0, 0.0, -0.5, -1.5]


def test_length_in_tokens() -> None:
    tokens = Length(free=2, price=1.0, unit="tokens")
    assert tokens([WHY] * 3, [Completion("x", (5, 6, 7, 2)), Completion("a b c", (5,)), Completion("")]) == [-2.0, 0.0, 0.0]
    with pytest.raises(LexicalError, match="no policy wrote 'a b' token by token"):
        score(tokens, "a b")


def test_every_score_is_the_same_alone_in_company_and_in_any_order(references: Path) -> None:
    texts = [*STRANGE, "the cat is great", "a horrible mat but a lovely cat"]
    for reward in every(references):
        assert isinstance(reward, Reward)
        together = score(reward, *texts)
        assert together == [one for text in texts for one in score(reward, text)]
        assert together == score(reward, *texts[::-1])[::-1]


def test_strange_text_has_a_finite_score(references: Path) -> None:
    for reward in every(references):
        scores = score(reward, *STRANGE)
        assert all(map(math.isfinite, scores))
        assert score(reward, "")[0] == 0.0


def test_a_penalty_is_never_a_reward() -> None:
    assert max(score(Length(free=3), *STRANGE)) == 0.0
    assert min(score(Length(free=3), *STRANGE)) < -100


# What is missing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vaderSentiment", "rouge_score"])
def test_a_missing_library_is_named_with_its_cure(name: str, references: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [known for known in sys.modules if known.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    make = {"vaderSentiment": Sentiment, "rouge_score": lambda: Rouge(references)}[name]
    with pytest.raises(LexicalError, match=r"is not installed; get it by: pip install 'alignzoo\[lexical\]'"):
        make()


def test_listing_needs_neither_library(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("vaderSentiment", "rouge_score"):
        monkeypatch.setitem(sys.modules, name, None)
    plugin = importlib.import_module("alignzoo_lexical")
    assert [one.id for one in plugin.alignzoo_components()] == ["sentiment", "rouge", "length"]


def test_a_missing_file_is_refused_when_the_reward_is_made(tmp_path: Path) -> None:
    with pytest.raises(LexicalError, match=r"there is no file .*nothing\.jsonl"):
        Rouge(tmp_path / "nothing.jsonl")


def test_a_prompt_without_a_reference_is_named(references: Path) -> None:
    with pytest.raises(LexicalError, match="has no reference for the prompt 'what'"):
        score(Rouge(references), "x", prompt=Prompt.ask("what"))


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ("", "is empty"),
        ("{", ":1: the last line is cut, or no JSON; a line holds a prompt and its reference"),
        ('{"prompt": "a\u2028b", "reference": "c"}\n{', ":2: the last line is cut"),
        ('{"prompt": "a"}', ":1: a line holds a prompt and its reference"),
        ('{"prompt": 3, "reference": "b"}', ":1: prompt and reference are texts"),
        ('{"turns": [], "reference": "b"}', ":1: a prompt needs at least one turn"),
        ('{"prompt": "a", "reference": "b"}\n{"prompt": "a", "reference": "c"}', ":2: this prompt has another reference"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(lines: str, error: str, tmp_path: Path) -> None:
    (tmp_path / "references.jsonl").write_text(lines)
    with pytest.raises(LexicalError, match=error):
        Rouge(tmp_path / "references.jsonl")


def test_settings_come_from_a_table(references: Path) -> None:
    assert build(Rouge, {"file": str(references), "variant": "rouge2"}) == Rouge(references, "rouge2")
    assert build(Sentiment, {}) == Sentiment()
    with pytest.raises(SettingsError, match="variant"):
        build(Rouge, {"file": str(references), "variant": "rouge9"})
