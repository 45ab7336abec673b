"""Published preference sets, and files of one's own, as feedback: a plugin."""

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Component, hookimpl

_HERE = "alignzoo_preference_sets"


def _source(id: str, where: str, summary: str, *gives: str, trial: str, paper: str = "") -> Component:
    return Component("feedback", id, f"{_HERE}.{where}", summary, gives=gives, paper=paper, trial=f"{_HERE}.trials:{trial}")


def _filters() -> Iterable[Component]:
    for id, where, summary in (
        ("boilerplate", "filters:Boilerplate", "hold back answers that say what assistants say of themselves"),
        ("lengths", "filters:Lengths", "hold back answers that are too short, too long, or too unlike in length"),
        ("finished", "filters:Finished", "hold back answers that were cut where their tokens ran out"),
        ("duplicates", "filters:Duplicates", "hold back what was there before, but for case, space and punctuation"),
        ("near-duplicates", "nearness:NearDuplicates", "hold back what is much like something that passed before"),
        ("per-prompt", "filters:PerPrompt", "hold back what comes after the first so many records of one prompt"),
        ("contradictions", "filters:Contradictions", "hold back comparisons that say the opposite of another one"),
        ("overlap", "filters:Overlap", "hold back feedback on the prompts that the run is judged on, or much like them"),
        ("script", "filters:Script", "hold back answers in other letters than these"),
        ("language", "language:Language", "hold back what is in another language than these"),
    ):
        yield Component("filter", id, f"{_HERE}.{where}", summary)


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    """A source for each set, one for files, and filters for any source."""
    return (
        *_filters(),
        _source(
            "file",
            "file:File",
            "a file of your own (JSON lines, CSV, parquet), its columns named or guessed",
            *("comparison", "ranking", "rating", "demonstration", "critique"),
            trial="file",
        ),
        _source(
            "hh-rlhf",
            "hh:HH",
            "Anthropic's pairs of dialogues: the more helpful, or the less harmful",
            "comparison",
            trial="hh",
            paper="https://arxiv.org/abs/2204.05862",
        ),
        _source(
            "hh-red-team",
            "hh:RedTeam",
            "Anthropic's red-team dialogues, each rated by how harmless the model stayed",
            "rating",
            trial="red_team",
            paper="https://arxiv.org/abs/2209.07858",
        ),
        _source(
            "summarize-from-feedback",
            "summaries:SummarizeFromFeedback",
            "OpenAI's choices between two summaries, with confidence, or marks on four axes",
            "comparison",
            "rating",
            trial="summaries",
            paper="https://arxiv.org/abs/2009.01325",
        ),
        _source(
            "webgpt-comparisons",
            "webgpt:WebGPT",
            "OpenAI's choices between two answers with quotes, ties among them",
            "comparison",
            trial="webgpt",
            paper="https://arxiv.org/abs/2112.09332",
        ),
        _source(
            "shp",
            "shp:SHP",
            "Stanford's pairs of Reddit comments: the later one that has more votes",
            "comparison",
            trial="shp",
            paper="https://arxiv.org/abs/2110.08420",
        ),
        _source(
            "oasst",
            "oasst:Oasst",
            "OpenAssistant's conversation trees: volunteers' rankings of sibling answers",
            "ranking",
            "demonstration",
            trial="oasst",
            paper="https://arxiv.org/abs/2304.07327",
        ),
        _source(
            "ultrafeedback",
            "scored:UltraFeedback",
            "four answers to an instruction, marked by a model on four aspects; or the pairs made of them",
            *("rating", "ranking", "comparison"),
            trial="ultrafeedback",
            paper="https://arxiv.org/abs/2310.01377",
        ),
        _source(
            "helpsteer",
            "scored:HelpSteer",
            "answers marked by people on five attributes; or two answers, and how much better one is",
            "rating",
            "comparison",
            trial="helpsteer",
            paper="https://arxiv.org/abs/2311.09528",
        ),
        _source(
            "pku-saferlhf",
            "choices:SafeRLHF",
            "two answers with two labels, which is more helpful and which is safer",
            "comparison",
            "rating",
            trial="saferlhf",
            paper="https://arxiv.org/abs/2307.04657",
        ),
        _source(
            "pandalm",
            "choices:PandaLM",
            "two answers to an instruction, judged by three people",
            "comparison",
            trial="pandalm",
            paper="https://arxiv.org/abs/2306.05087",
        ),
        _source(
            "lm-human-preferences",
            "choices:LMHumanPreferences",
            "OpenAI's labels of the best of four continuations",
            "ranking",
            trial="lm_human_preferences",
            paper="https://arxiv.org/abs/1909.08593",
        ),
    )
