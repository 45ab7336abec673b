"""Ratings → episodes: which tokens were actions, and what each was rewarded with.

Everything that the assistant says is action: the answer that was rated, its end token among it, and the assistant's turns in
the prompt before. What others say is environment, which the next state skips. A reward lies on the last token of its turn.
A rating of an earlier turn (its prompt and answer are how a longer dialogue begins) is not an episode of its own, but that
turn's reward in the longer one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Literal

import torch

from alignzoo.interfaces import LessonError, Reward
from alignzoo.learning.memory import State, track
from alignzoo.learning.rewards import checked
from alignzoo.model.forest import Forest, Tree, plant
from alignzoo.model.text import Text, TextError
from alignzoo.records import Completion, Prompt, Rating

_FAR = 1e18
"""In float32 the square of a reward that is larger is no number."""

Scale = Literal["standard", "signed", "none"]
Each = Callable[[Prompt, Completion, Sequence[int]], Sequence[float]]
"""(prompt, what the assistant said, its ids) → a reward for each of them, in addition to its rating."""


@dataclass(frozen=True)
class Episode:
    """A dialogue whose last answer was rated, and perhaps earlier ones."""

    prompt: Prompt
    completion: Completion
    reward: float
    earlier: tuple[tuple[int, float], ...] = ()
    """(turn, reward) of those turns of the prompt that were rated, too."""


# Scores ---------------------------------------------------------------------------------------------------------------


class Scores:
    """What a reward says of rated answers. It is asked once: a training that is resumed knows what was said."""

    def __init__(self) -> None:
        self.said: list[float] = []
        track(self)

    def of(self, ratings: Sequence[Rating], reward: Reward) -> list[Rating]:
        """The ratings, each with its score from the reward."""
        if len(self.said) != len(ratings):  # the deck will say what has changed, where something has
            given = reward([rating.prompt for rating in ratings], [rating.completion for rating in ratings])
            self.said = checked("the reward", given, len(ratings))
        return [replace(rating, score=score) for rating, score in zip(ratings, self.said, strict=True)]

    def state(self) -> State:
        return {"said": self.said}

    def restore(self, state: State) -> None:
        self.said = list(state["said"])


# Rewards --------------------------------------------------------------------------------------------------------------


def scaled(ratings: Sequence[Rating], scale: Scale) -> list[Rating]:
    """The ratings with scores as rewards: (s − mean) / deviation over all of them (the sample's, as trlX has it), 2s − 1 for
    thumbs and comparisons, or as they are (as the authors do)."""
    scores = [rating.score for rating in ratings]
    if max(scores) - min(scores) <= 1e-9 * max(map(abs, scores)):  # 0.1 + 0.2 and 0.3 differ by rounding alone
        raise LessonError(
            f"all {len(ratings)} ratings are {scores[0]:g}: there is nothing to tell good from bad by, and no deviation to "
            "scale by. Rate answers of different quality, or learn from them as demonstrations (sft)"
        )
    if abs(far := max(scores, key=abs)) > _FAR:
        raise LessonError(
            f"a rating is {far:g}, and beyond {_FAR:g} its square is no number that a loss could hold: divide all ratings by "
            "as much"
        )
    if scale == "none":
        return list(ratings)
    if scale == "signed":
        if min(scores) < 0 or max(scores) > 1:
            raise LessonError(
                f'scale = "signed" makes +1 and −1 of thumbs and comparisons, which lie between 0 and 1; these ratings go from '
                f'{min(scores):g} to {max(scores):g}. Use scale = "standard"'
            )
        return [replace(rating, score=2 * rating.score - 1) for rating in ratings]
    mean, deviation = fmean(scores), stdev(scores)
    return [replace(rating, score=(rating.score - mean) / deviation) for rating in ratings]


def apart(ratings: Sequence[Rating]) -> list[Episode]:
    """One episode for each rating: where earlier turns are no actions, they have no place for a reward either."""
    return [Episode(rating.prompt, rating.completion, rating.score) for rating in ratings]


def chained(ratings: Sequence[Rating]) -> list[Episode]:
    """One episode for each rating whose dialogue does not go on in another's; the others are rewards of turns in those that go
    on. Several ratings of one turn count as their mean there."""
    turns: dict[tuple[str, str], list[float]] = {}
    for rating in ratings:
        turns.setdefault((rating.prompt.id, rating.completion.text), []).append(rating.score)
    found = [_earlier(rating.prompt, turns) for rating in ratings]
    absorbed = {key for keys in found for _, key in keys}
    return [
        Episode(rating.prompt, rating.completion, rating.score, tuple((turn, fmean(turns[key])) for turn, key in keys))
        for rating, keys in zip(ratings, found, strict=True)
        if (rating.prompt.id, rating.completion.text) not in absorbed
    ]


def _earlier(prompt: Prompt, turns: dict[tuple[str, str], list[float]]) -> list[tuple[int, tuple[str, str]]]:
    said = [place for place, turn in enumerate(prompt.turns) if turn.speaker == "assistant" and place]
    keys = [(place, (Prompt(prompt.turns[:place]).id, prompt.turns[place].text)) for place in said]
    return [(place, key) for place, key in keys if key in turns]


# Tokens ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Path:
    """An episode as ids. A token is an action, or it is the environment's; `rewards` has an entry for each token."""

    ids: tuple[int, ...]
    acts: tuple[bool, ...]
    rewards: tuple[float, ...]
    ended: bool

    @property
    def first(self) -> int:
        """Where the first action is."""
        return self.acts.index(True)


def path_of(episode: Episode, text: Text, *, all_turns: bool = True, each: Each | None = None) -> Path:
    """The ids exactly as they are shown to the policy when it answers, within the context: the beginning is lost if need be."""
    if not text.wrote(episode.completion):
        raise TextError(
            "the token ids of an answer are another tokenizer's; drop them from the ratings, so that its text is read instead "
            f"(it begins: {episode.completion.text[:60]!r})"
        )
    tree = text.tree(episode.prompt, [episode.completion])
    [reply] = tree.replies
    whole = text.prompt_ids(episode.prompt)
    acts, rewards = [False] * len(whole), [0.0] * len(whole)
    for turn, places in spoken(episode.prompt, text).items() if all_turns else ():
        ids = [whole[place] for place in places]
        for place, reward in zip(places, _within(episode, turn, ids, each), strict=True):
            acts[place], rewards[place] = True, reward
    cut = len(whole) - len(tree.prompt)
    kept = acts[cut:]
    kept[0] = False  # the first token has no state that it could be taken in; nor has a BOS in its place
    own = each(episode.prompt, episode.completion, reply) if each else [0.0] * len(reply)
    return Path(
        ids=tree.prompt + reply,
        acts=(*kept, *(True for _ in reply)),
        rewards=(*(r if a else 0.0 for r, a in zip(rewards[cut:], kept, strict=True)), *own[:-1], own[-1] + episode.reward),
        ended=tree.ended[0],
    )


def _within(episode: Episode, turn: int, ids: Sequence[int], each: Each | None) -> list[float]:
    """The rewards of an earlier turn's tokens. Nobody asked for a turn that opens a dialogue, so nothing is asked about it."""
    turns = episode.prompt.turns
    given = [0.0] * len(ids)
    if each and turn:
        given = list(each(Prompt(turns[:turn]), Completion(turns[turn].text), ids))
    given[-1] += dict(episode.earlier).get(turn, 0.0)
    return given


def spoken(prompt: Prompt, text: Text) -> dict[int, list[int]]:
    """The places of the tokens of each assistant's turn in the prompt's ids: all that hold any of its words, and the end token
    behind them where the template writes one."""
    said = [place for place, turn in enumerate(prompt.turns) if turn.speaker == "assistant" and turn.text.strip()]
    if not said:
        return {}
    written, ids = text.written(prompt), text.prompt_ids(prompt)
    if not text.tokenizer.is_fast:
        raise TextError('this tokenizer does not tell where its tokens lie in a text; set turns = "last"')
    spans = text.tokenizer(written, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    shift = len(ids) - len(spans)  # the BOS that no template wrote
    found = {}
    for turn in said:
        start = _led(prompt, turn, written, text)
        stop = written.index(prompt.turns[turn].text.strip(), start) + len(prompt.turns[turn].text.strip())
        places = [place + shift for place, (left, right) in enumerate(spans) if right > start and left < stop and right > left]
        behind = places[-1] + 1
        found[turn] = [*places, behind] if behind < len(ids) and ids[behind] in text.ends else places
    return found


def _led(prompt: Prompt, turn: int, written: str, text: Text) -> int:
    """Where an assistant's turn begins in the written dialogue: behind what led to it when it was said. A dialogue that the
    assistant opens begins with its words."""
    before = text.written(Prompt(prompt.turns[:turn])) if turn else written[: written.find(prompt.turns[0].text.strip())]
    if not written.startswith(before) or prompt.turns[turn].text.strip() not in written[len(before) :]:
        raise TextError(
            "the chat template writes an earlier answer otherwise than it was shown when it was given, so its tokens cannot be "
            'found; set turns = "last" to learn from last answers alone'
        )
    return len(before)


def planted(paths: Sequence[Path], device: torch.device | str = "cpu") -> Forest:
    """The batch. What is called a reply here begins with an episode's first action, and holds the environment's tokens between
    actions; `act` tells them apart. Episodes that begin alike share what they begin with."""
    trees: dict[tuple[int, ...], list[Path]] = {}
    for path in paths:
        trees.setdefault(path.ids[: path.first], []).append(path)
    grown = [Tree(begin, tuple(p.ids[p.first :] for p in own), tuple(p.ended for p in own)) for begin, own in trees.items()]
    order = [path for own in trees.values() for path in own]
    acts = [act for path in order for act in path.acts[path.first :]]
    rewards = [reward for path in order for reward in path.rewards[path.first :]]
    notes = {"act": torch.tensor(acts, device=device), "reward": torch.tensor(rewards, dtype=torch.float32, device=device)}
    return plant(grown, device).attach(tokens=notes)
