"""Which tokens are actions, what they are rewarded with, and which lessons are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from tokenizers.processors import TemplateProcessing

from alignzoo.interfaces import Lesson, LessonError
from alignzoo.model.text import Text, TextError
from alignzoo.records import Completion, Prompt, Rating, Turn
from alignzoo.testing.toy import toy_tokenizer
from alignzoo_ilql.episodes import Episode, chained, path_of, planted, scaled, spoken
from alignzoo_ilql.ilql import ILQL

TOY = Text.of(toy_tokenizer(), context=128)
ASKED, SAID, AGAIN = Turn("user", "is the cat small"), Turn("assistant", "yes please"), Turn("user", "why")
LONG = Prompt((ASKED, SAID, AGAIN))
SHORT = Prompt((ASKED,))


def rated(*scores: float) -> list[Rating]:
    return [Rating(SHORT, Completion("yes" if i % 2 else "no please"), score) for i, score in enumerate(scores)]


def words(ids: tuple[int, ...], which: list[int]) -> list[str]:
    return list(TOY.tokenizer.convert_ids_to_tokens([ids[place] for place in which]))


# Rewards ------------------------------------------------------------------------------------------------------------------


def test_scores_are_scaled_by_the_samples_deviation() -> None:
    """1, 2, 3: mean 2, deviation of a sample 1 (of a population it would be 0.816)."""
    assert [r.score for r in scaled(rated(1, 2, 3), "standard")] == [-1, 0, 1]
    assert [r.score for r in scaled(rated(1, 0, 0.5), "signed")] == [1, -1, 0]
    assert [r.score for r in scaled(rated(4, 2), "none")] == [4, 2]


@pytest.mark.parametrize("scale", ["standard", "signed", "none"])
def test_ratings_that_are_all_equal_are_refused(scale: str) -> None:
    with pytest.raises(LessonError, match="all 3 ratings are 1"):
        scaled(rated(1, 1, 1), scale)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", ["standard", "none"])
def test_ratings_whose_squares_are_no_numbers_are_refused(scale: str) -> None:
    """Their sum, too, may be none."""
    with pytest.raises(LessonError, match=r"a rating is -1\.7e\+308, and beyond 1e\+18 its square is no number"):
        scaled(rated(1e308, -1.7e308, 1e308), scale)  # type: ignore[arg-type]
    assert [r.score for r in scaled(rated(1e18, -1e18), "none")] == [1e18, -1e18]


def test_only_thumbs_have_a_sign() -> None:
    with pytest.raises(LessonError, match="these ratings go from 1 to 5"):
        scaled(rated(1, 5), "signed")


def test_a_rating_of_an_earlier_turn_is_a_reward_within_the_longer_dialogue() -> None:
    first = Rating(SHORT, Completion("yes please"), 3.0)
    other = Rating(SHORT, Completion("no"), 4.0)
    last = Rating(LONG, Completion("because"), 5.0)
    assert chained([first, other, last]) == [
        Episode(SHORT, Completion("no"), 4.0),
        Episode(LONG, Completion("because"), 5.0, ((1, 3.0),)),
    ]
    assert chained([first, replace(first, score=1.0), last]) == [Episode(LONG, Completion("because"), 5.0, ((1, 2.0),))]
    assert len(chained([last, replace(last, score=1.0)])) == 2
    opened = Rating(Prompt((SAID, AGAIN)), Completion("because"), 5.0)  # nobody asked for the first turn, so none rated it
    assert chained([opened, other])[0] == Episode(opened.prompt, opened.completion, 5.0)


# Tokens -------------------------------------------------------------------------------------------------------------------


def test_an_answer_is_all_action_its_end_token_too_and_rewarded_there() -> None:
    path = path_of(Episode(SHORT, Completion("yes please"), 2.5), TOY)
    acting = [place for place, act in enumerate(path.acts) if act]
    assert words(path.ids, acting) == ["yes", "please", "<eos>"]
    assert path.ids[: path.first] == TOY.prompt_ids(SHORT)
    assert [path.rewards[place] for place in acting] == [0, 0, 2.5]
    assert path.ended
    cut = path_of(Episode(SHORT, Completion("yes please", finished=False), 2.5), TOY)
    assert not cut.ended
    assert cut.rewards[-2:] == (0, 2.5)


def test_earlier_turns_of_the_assistant_are_actions_up_to_their_end_token() -> None:
    path = path_of(Episode(LONG, Completion("because"), 2.0, ((1, 7.0),)), TOY)
    acting = [place for place, act in enumerate(path.acts) if act]
    assert words(path.ids, acting) == ["yes", "please", "<eos>", "because", "<eos>"]
    assert [path.rewards[place] for place in acting] == [0, 0, 7, 0, 2]
    assert sum(path.rewards) == 9
    assert path.ids[: len(TOY.prompt_ids(LONG))] == TOY.prompt_ids(LONG)


def test_a_dialogue_that_the_assistant_opens_has_its_words_as_actions_but_no_first_token_without_a_state() -> None:
    """A template writes something before the first word, and that is the state it is written from. Without one, none is."""
    opened = Prompt((SAID, AGAIN))
    path = path_of(Episode(opened, Completion("because"), 2.0), TOY)
    acting = [place for place, act in enumerate(path.acts) if act]
    assert words(path.ids, acting) == ["yes", "please", "<eos>", "because", "<eos>"]
    assert words(path.ids, [acting[0] - 1]) == ["<assistant>"]
    tokenizer = toy_tokenizer(template=None)
    tokenizer.bos_token = None
    bare = Text.of(tokenizer, "plain", context=64)
    path = path_of(Episode(Prompt((Turn("assistant", "yes please "), Turn("user", "why "))), Completion("because"), 2.0), bare)
    assert path.acts == (False, True, False, True, True)


def test_only_the_last_turn_if_asked() -> None:
    path = path_of(Episode(LONG, Completion("because"), 2.0, ((1, 7.0),)), TOY, all_turns=False)
    assert path.first == len(TOY.prompt_ids(LONG))
    assert sum(path.rewards) == 2


def test_where_earlier_turns_are_no_actions_their_ratings_are_episodes_of_their_own() -> None:
    """They would be lost otherwise: nothing in the longer dialogue could bear them."""
    lesson = Lesson(ratings=[Rating(SHORT, Completion("yes please"), 3.0), Rating(LONG, Completion("because"), 5.0)])
    [whole] = ILQL(scale="none").paths(lesson, TOY)
    assert [reward for reward in whole.rewards if reward] == [3, 5]
    for path, prompt, reward in zip(ILQL(scale="none", turns="last").paths(lesson, TOY), (SHORT, LONG), (3, 5), strict=True):
        assert path.first == len(TOY.prompt_ids(prompt))
        assert sum(path.rewards) == path.rewards[-1] == reward


def test_a_template_without_end_tokens_ends_a_turn_with_its_last_word() -> None:
    text = Text.of(toy_tokenizer(template=None), "dialogue", context=64)
    places = spoken(LONG, text)[1]
    assert text.tokenizer.convert_ids_to_tokens([text.prompt_ids(LONG)[place] for place in places]) == ["yes", "please"]


def test_a_start_token_that_only_the_tokenizer_writes_moves_no_action() -> None:
    """It stands in the ids and in no text, so places in the text are one off from places in the ids."""
    tokenizer = toy_tokenizer(template=None)
    start = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", tokenizer.bos_token_id)])
    tokenizer.backend_tokenizer.post_processor = start
    text = Text.of(tokenizer, "dialogue", context=64)
    ids = text.prompt_ids(LONG)
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.convert_ids_to_tokens([ids[place] for place in spoken(LONG, text)[1]]) == ["yes", "please"]


def test_the_same_words_said_by_both_are_told_apart() -> None:
    prompt = Prompt((Turn("user", "yes please"), Turn("assistant", "yes please"), Turn("user", "yes please")))
    ids = TOY.prompt_ids(prompt)
    assert spoken(prompt, TOY) == {1: [5, 6, 7]}
    assert words(ids, [4, 5, 6, 7]) == ["<assistant>", "yes", "please", "<eos>"]


def test_a_dialogue_that_loses_its_beginning_keeps_its_actions_in_place() -> None:
    """The context cuts the first turn and part of the first answer; what is left of it is action."""
    whole = len(TOY.prompt_ids(LONG))
    text = replace(TOY, context=whole + 2 - 7)
    path = path_of(Episode(LONG, Completion("because"), 2.0, ((1, 7.0),)), text)
    acting = [place for place, act in enumerate(path.acts) if act]
    assert path.ids[0] == TOY.tokenizer.bos_token_id
    assert words(path.ids, acting) == ["please", "<eos>", "because", "<eos>"]
    assert [path.rewards[place] for place in acting] == [0, 7, 0, 2]
    assert not path.acts[0]


def test_a_template_that_rewrites_earlier_answers_is_refused() -> None:
    tokenizer = toy_tokenizer(template="{% for turn in messages %}{{ turn['role'] }} {% endfor %}")
    with pytest.raises(TextError, match='set turns = "last"'):
        path_of(Episode(LONG, Completion("because"), 2.0), Text.of(tokenizer, context=64))


def test_ids_of_another_tokenizer_are_refused() -> None:
    with pytest.raises(TextError, match="another tokenizer"):
        path_of(Episode(SHORT, Completion("yes please", tokens=(9, 9, 2)), 1.0), TOY)


def test_a_reward_for_each_token_comes_on_top_of_the_answers() -> None:
    path = path_of(Episode(SHORT, Completion("yes please"), 2.0), TOY, each=lambda prompt, completion, ids: (0.1, 0.2, 0.3))
    assert path.rewards[path.first :] == (0.1, 0.2, 2.3)


def test_tokens_of_earlier_turns_have_rewards_too_beside_what_the_turn_was_rated() -> None:
    """Each is asked about with what led to it; one that opens the dialogue was led to by nothing, so it is not."""
    asked: list[tuple[Prompt, Completion, list[str]]] = []

    def each(prompt: Prompt, completion: Completion, ids: Sequence[int]) -> list[float]:
        asked.append((prompt, completion, TOY.tokenizer.convert_ids_to_tokens(list(ids))))
        return [0.25 * (place + 1) for place in range(len(ids))]

    episode = Episode(LONG, Completion("because"), 2.0, ((1, 7.0),))
    path = path_of(episode, TOY, each=each)
    assert [reward for reward, act in zip(path.rewards, path.acts, strict=True) if act] == [0.25, 0.5, 7.75, 0.25, 2.5]
    turn, answer = (SHORT, Completion("yes please"), ["yes", "please", "<eos>"]), (LONG, Completion("because"))
    assert asked == [turn, (*answer, ["because", "<eos>"])]
    asked.clear()
    path = path_of(episode, TOY, all_turns=False, each=each)
    assert [prompt for prompt, *_ in asked] == [LONG]
    asked.clear()
    path = path_of(Episode(Prompt((SAID, AGAIN)), Completion("because"), 2.0), TOY, each=each)
    assert [reward for reward, act in zip(path.rewards, path.acts, strict=True) if act] == [0, 0, 0, 0.25, 2.5]


def test_episodes_are_planted_with_their_notes_and_share_what_they_begin_with() -> None:
    episodes = [
        Episode(SHORT, Completion("no"), 1.0),
        Episode(LONG, Completion("because"), 2.0, ((1, 7.0),)),
        Episode(Prompt.ask("where"), Completion("here"), 3.0),
        Episode(SHORT, Completion("maybe"), 4.0),
    ]
    forest = planted([path_of(episode, TOY) for episode in episodes])
    assert [len(tree.replies) for tree in forest.trees] == [3, 1]
    acts, rewards = forest.tokens["act"], forest.tokens["reward"]
    actions = TOY.tokenizer.convert_ids_to_tokens(forest.targets[acts].tolist())
    wanted = ["no", "<eos>", "yes", "please", "<eos>", "because", "<eos>", "maybe", "<eos>", "<unk>", "<eos>"]
    assert actions == wanted
    assert rewards[acts].tolist() == [0, 1, 0, 0, 7, 0, 2, 0, 4, 0, 3]
    assert float(rewards[~acts].abs().sum()) == 0
    assert forest.reply[acts].tolist() == [0, 0, 1, 1, 1, 1, 1, 2, 2, 3, 3]
    before = forest.ids[forest.before[acts]]
    assert TOY.tokenizer.convert_ids_to_tokens(before.tolist())[5] == "<assistant>"  # the state before "because"
    assert torch.equal(forest.positions[forest.before[acts]][:2], torch.tensor([6, 7]))
