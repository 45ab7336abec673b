"""The name that somebody probably meant."""

from __future__ import annotations

from alignzoo.seam.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def near(name: str, known: Iterable[str]) -> str:
    """The closest known name, or "" where none is close. Of two that are equally close, the one with the same start."""
    from difflib import SequenceMatcher

    choices = {word: SequenceMatcher(None, name, word).ratio() for word in known}
    close = [word for word, ratio in choices.items() if ratio >= 0.6]
    return max(close, key=lambda word: (choices[word], word[:1] == name[:1]), default="")


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message: "; did you mean 'dpo'?", or what there is to choose from."""
    choices = sorted(set(known))
    if close := near(name, choices):
        return f"; did you mean '{close}'?"
    return f"; there is {', '.join(choices)}" if choices else "; there is nothing to choose from"
