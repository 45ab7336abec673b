"""Real preference sets: does every row get an account, and what does a small reward model learn of them?

    python benchmarks/real_sets.py DATA MODEL --folds 4 --seeds 1 --results benchmarks/results/real-sets

DATA is a folder with samples of published sets (their names stand in SETS), MODEL a Hugging Face folder of a small model, such
as A. Karpathy's stories260K (MIT). Each set is divided by prompt or thread, and every part is held out once: a reward model and
two baselines learn from the other parts, and are tried on the same pairs, those that the model can read whole. The baselines
are lengths alone (the longer answer or the shorter, whichever was preferred more often), and a bag of words (logistic
regression on how the two answers' word counts differ). Nothing of the sets' text is written.
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import torch
from baselines import bag_of_words, lengths

from alignzoo.interfaces import Asking, FeedbackSource, Lesson
from alignzoo.lab import store
from alignzoo.lab.statistics import bootstrap
from alignzoo.learning.canaries import Canaries, watching
from alignzoo.learning.choices import Limits, Watch
from alignzoo.learning.descent import Descent
from alignzoo.learning.intake import admit
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.role import role_on
from alignzoo.records import Comparison, Feedback, Ranking, comparisons_in
from alignzoo_evaluations.accuracy import rightness
from alignzoo_preference_sets.choices import PandaLM
from alignzoo_preference_sets.data import Data
from alignzoo_preference_sets.hh import HH
from alignzoo_preference_sets.oasst import Oasst
from alignzoo_reddit_votes.reddit import RedditVotes
from alignzoo_reddit_votes.rules import Rules
from alignzoo_reddit_votes.votes import Pairing
from alignzoo_reward_model.held_out import ceiling
from alignzoo_reward_model.reward_model import RewardModel

LOOSE = Pairing(ratio=1.0, comments_per_post=1000, pairs_per_post=20)
"""By SHP's own rules these samples of whole threads give too few pairs to learn from (see the account of each)."""


@dataclass(frozen=True)
class Set:
    """A sample, who reads it, and what must stay on one side of the split."""

    file: str
    read: Callable[[Path], FeedbackSource]
    on: Literal["comparisons", "rankings"] = "comparisons"
    group: Callable[[Feedback], str] = lambda record: record.prompt.id


def thread(record: Feedback) -> str:
    """The thread that a pair of comments is from."""
    return record.provenance.note.split()[1]


SETS: Mapping[str, Set] = {
    "harmlessness pairs": Set("hh_harmless_pairs.jsonl", lambda path: HH(Data(str(path)))),
    "PandaLM": Set("pandalm_human_pairs.jsonl", lambda path: PandaLM(Data(str(path)))),
    "OpenAssistant rankings": Set("oasst_ranked_trees.jsonl", lambda path: Oasst(Data(str(path))), "rankings"),
    "Reddit 2005-12, 2006-01": Set(
        "reddit_pushshift_comments.jsonl",
        lambda path: RedditVotes(
            comments=path,
            missing_post="A post in r/{subreddit}.",
            rules=Rules(off=("nested", "score")),
            split="all",
            pairing=LOOSE,
        ),
        group=thread,
    ),
    "Reddit, modern threads": Set(
        "reddit_modern_threads.jsonl",
        lambda path: RedditVotes(threads=path, rules=Rules(off=("nested", "score")), split="all", pairing=LOOSE),
    ),
}


def parted(records: Sequence[Feedback], group: Callable[[Feedback], str], folds: int) -> list[set[str]]:
    """The names of the groups that are held out together: in the order of their hash, each to the part that has least."""

    def place(name: str) -> str:
        return hashlib.sha256(f"real sets/{name}".encode()).hexdigest()

    sizes = Counter(map(group, records))
    parts: list[set[str]] = [set() for _ in range(folds)]
    for name in sorted(sizes, key=place):
        min(parts, key=lambda part: sum(sizes[one] for one in part)).add(name)
    return parts


# Who judges -------------------------------------------------------------------------------------------------------------


def reward_model(base: Base, lesson: Lesson, on: Any, trial: Sequence[Comparison], seed: int) -> list[float]:
    """The leads by a reward model that is trained from the bare base."""
    base.dismiss_all()
    optimizer = RewardModel(on=on, held_out=0.0, samples=0, batch_size=16, epochs=1, seed=seed, descent=Descent(lr=1e-3))
    role = role_on(base, "reward", seed=seed)
    with watching(Canaries(base, Watch())):
        for _ in optimizer.improve(role, lesson):
            pass
    reward = optimizer.deploy(role, lesson)
    sides = [(pair.prompt, side) for pair in trial for side in (pair.chosen, pair.rejected)]
    scores = reward([prompt for prompt, _ in sides], [side for _, side in sides])
    return [chosen - rejected for chosen, rejected in zip(scores[::2], scores[1::2], strict=True)]


# What came of it -----------------------------------------------------------------------------------------------------------


def said(trial: Sequence[Comparison], seeds: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    """By prompt, how right each seed was on its held-out pairs. The prompts are the same under every seed, so they are
    resampled once for all of them."""
    told: dict[str, list[float]] = {}
    for leads in seeds:
        for pair, lead in zip(trial, leads, strict=True):
            told.setdefault(pair.prompt.id, []).append(rightness(lead, pair.strength))
    return told


def one(name: str, folder: Path, base: Base, folds: int, seeds: int) -> dict[str, Any]:
    """Everything about one set."""
    asking = Asking()
    records = list(SETS[name].read(folder / SETS[name].file).collect(asking))
    print(f"{name}\n" + "\n".join(asking.tally.lines()), flush=True)
    assert asking.tally.unexplained == 0, name
    tries = [tried(name, records, part, base, seeds) for part in parted(records, SETS[name].group, folds)]
    pairs = [pair for fold in tries for pair in fold.pairs]
    judges = {
        judge: [list(chain(*seed)) for seed in zip(*(fold.leads[judge] for fold in tries), strict=True)] for judge in JUDGES
    }
    reach = ceiling(list(comparisons_in(records)), [pair.strength for pair in pairs])
    return {
        "read": asking.tally.read,
        "kept": asking.tally.kept,
        "dropped": {reason: cases.count for reason, cases in asking.tally.dropped.items()},
        "set aside": {reason: cases.count for reason, cases in asking.tally.set_aside.items()},
        "unexplained": asking.tally.unexplained,
        "records": len(records),
        "learned": round(fmean(fold.learned for fold in tries)),
        "too long to learn": sum(fold.too_long for fold in tries),
        "tried": len(pairs),
        "too long to try": sum(fold.unread for fold in tries),
        "prompts": len({pair.prompt.id for pair in pairs}),
        "ceiling": reach.get("ceiling"),
        "agreement": reach.get("agreement"),
        **{judge: bootstrap(said(pairs, leads)).row() for judge, leads in judges.items()},
        "model - words": bootstrap(ahead(pairs, judges["reward model"], judges["bag of words"])).row(),
        "each seed": [bootstrap(said(pairs, [leads])).mean for leads in judges["reward model"]],
    }


def ahead(
    pairs: Sequence[Comparison], ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]
) -> dict[str, list[float]]:
    """By prompt, how much more often one judge is right than another, on the same pairs."""
    one, other = said(pairs, ours), said(pairs, theirs)
    return {prompt: [fmean(one[prompt]) - fmean(other[prompt])] for prompt in one}


@dataclass(frozen=True)
class Fold:
    """What came of one part that was held out."""

    pairs: Sequence[Comparison]
    leads: Mapping[str, Sequence[list[float]]]
    """By judge, of each of its seeds."""
    learned: int
    too_long: int
    unread: int


JUDGES = ("reward model", "bag of words", "lengths")


def tried(name: str, records: Sequence[Feedback], part: AbstractSet[str], base: Base, seeds: int) -> Fold:
    """All judges learn from the other parts, and are tried on this one."""
    need, group, anything = SETS[name].on, SETS[name].group, Limits(1.0, 1.0)
    learned, held = [r for r in records if group(r) not in part], [r for r in records if group(r) in part]
    lesson, intake = admit(Lesson.of(learned), (need,), base.text, anything)
    untied = [pair for pair in comparisons_in(held) if not pair.tie]
    pairs = list(admit(Lesson(comparisons=untied), ("comparisons",), base.text, anything)[0].comparisons)
    known = [pair for pair in comparisons_in(learned) if not pair.tie]
    rankings: Sequence[Ranking | Comparison] = lesson.rankings if need == "rankings" else lesson.comparisons
    leads = {
        "reward model": [reward_model(base, lesson, need, pairs, seed) for seed in range(seeds)],
        "bag of words": [bag_of_words(known, pairs)],
        "lengths": [lengths(known, pairs)],
    }
    right = fmean(rightness(lead, pair.strength) for lead, pair in zip(leads["reward model"][0], pairs, strict=True))
    print(f"  {len(pairs)} held-out pairs: the reward model is right in {right:.3f}", flush=True)
    return Fold(pairs, leads, len(rankings), intake.dropped.total(), len(untied) - len(pairs))


def table(rows: Mapping[str, Mapping[str, Any]], command: str, folds: int, seeds: int) -> str:
    lines = [f"`{command}`", "", "| set | rows read | kept | dropped | set aside by a rule | unexplained | records |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for name, row in rows.items():
        counts = [row["read"], row["kept"], sum(row["dropped"].values()), sum(row["set aside"].values()), row["unexplained"]]
        lines.append(f"| {name} | {' | '.join(f'{count:,}' for count in counts)} | {row['records']:,} |")
    lines += [
        "",
        "| set | learned from | held-out pairs (prompts) | reward model | bag of words | lengths | model − words | ceiling |",
    ]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for name, row in rows.items():
        cells = [_interval(row[judge]) for judge in (*JUDGES, "model - words")]
        top = f"{row['ceiling']:.3f}" if row["ceiling"] else "not known"
        lines.append(f"| {name} | {row['learned']} | {row['tried']} ({row['prompts']}) | {' | '.join(cells)} | {top} |")
    told = (
        f"{folds} parts, each held out once; {seeds} seed{'s' * (seeds > 1)} of the reward model; 95 % intervals over prompts"
    )
    lines += ["", f"Shares of right pairs, a mean over prompts; {told}."]
    return "\n".join([*lines, "The ceiling is what a perfect judge could reach, from how far annotators agree."]) + "\n"


def _interval(figure: Mapping[str, float]) -> str:
    return f"{figure['mean']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def main() -> int:
    page = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    page.add_argument("data", type=Path)
    page.add_argument("model", type=Path)
    page.add_argument("--sets", nargs="+", choices=tuple(SETS), default=tuple(SETS))
    page.add_argument("--folds", type=int, default=4)
    page.add_argument("--seeds", type=int, default=1)
    page.add_argument("--results", type=Path, help="where to write .json and .md")
    asked = page.parse_args()
    torch.set_num_threads(1)
    base = Base.load(str(asked.model), Loading(quantize="none", template="dialogue"), Lora(rank=16))
    rows = {}
    for name in asked.sets:
        rows[name] = one(name, asked.data, base, asked.folds, asked.seeds)
        print({judge: rows[name][judge] for judge in JUDGES}, flush=True)
    rest = [word for word in sys.argv[1:] if Path(word) not in (asked.data, asked.model)]
    text = table(rows, "python benchmarks/real_sets.py DATA MODEL " + shlex.join(rest), asked.folds, asked.seeds)
    print(text)
    if asked.results:
        store.write_text(asked.results.with_suffix(".md"), text)
        store.write_json(asked.results.with_suffix(".json"), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
