"""Preferences from votes, as a plugin."""

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Component, hookimpl


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    yield Component(
        "feedback",
        "reddit-votes",
        "alignzoo_reddit_votes.reddit:RedditVotes",
        gives=("comparison",),
        trial="alignzoo_reddit_votes.trials:reddit",
        summary="pairs from raw Reddit threads: the later comment that is ahead all the same",
        paper="https://arxiv.org/abs/2110.08420",
    )
    yield Component(
        "feedback",
        "stackexchange-votes",
        "alignzoo_reddit_votes.stackexchange:StackExchangeVotes",
        gives=("comparison",),
        trial="alignzoo_reddit_votes.trials:stackexchange",
        summary="the same from a Stack Exchange dump: the later answer that is ahead",
    )
