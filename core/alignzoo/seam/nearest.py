"""The name that somebody probably meant."""

from __future__ import annotations

from collections.abc import Iterable


def near(name: str, known: Iterable[str]) -> str:
    """The closest known name, or "" where none is close."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, list(known), n=1, cutoff=0.6)), "")


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message: "; did you mean 'dpo'?", or what there is to choose from."""
    choices = sorted(set(known))
    if close := near(name, choices):
        return f"; did you mean '{close}'?"
    return f"; there is {', '.join(choices)}" if choices else "; there is nothing to choose from"
