"""Rewards read off the words, as a plugin."""

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Component, hookimpl


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    here = "alignzoo_lexical.lexical"
    return (
        Component("reward", "sentiment", f"{here}:Sentiment", "how friendly an answer's words are (VADER), from -1 to 1"),
        Component(
            "reward",
            "rouge",
            f"{here}:Rouge",
            "overlap with a reference answer (ROUGE F-measure), from 0 to 1",
            trial="alignzoo_lexical.trials:rouge",
        ),
        Component("reward", "length", f"{here}:Length", "a penalty for every word or token beyond those that are free"),
    )
