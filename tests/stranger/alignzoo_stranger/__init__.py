"""A plugin that somebody built for plugin API 1.0. It is never edited."""

from alignzoo.seam.hookspecs import Command, Component, hookimpl


@hookimpl
def alignzoo_components():
    here = "alignzoo_stranger"
    yield Component("optimizer", "stranger-pairs", f"{here}.pairs:Pairs", "pairs", needs=("comparisons",), api="1.0")
    yield Component("optimizer", "stranger-climb", f"{here}.climb:Climb", "climb", needs=("prompts", "reward"), api="1.0")
    yield Component("reward", "stranger-reward", f"{here}.parts:Short", "short answers", api="1.0")
    yield Component("feedback", "stranger-feedback", f"{here}.parts:Asked", "asks", gives=("comparison",), api="1.0")
    yield Component("filter", "stranger-filter", f"{here}.parts:Distinct", "distinct", api="1.0")
    yield Component("acquisition", "stranger-acquisition", f"{here}.parts:Ends", "the first and the last", api="1.0")
    yield Component("policy", "stranger-policy", f"{here}.parts:Trimmed", "trims", api="1.0")
    yield Component("task", "stranger-task", f"{here}.parts:Things", "asks about things", paper="", api="1.0")


@hookimpl
def alignzoo_commands():
    yield Command("stranger", "alignzoo_stranger.command", "say a word", api="1.0")
