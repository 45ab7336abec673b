"""Critique and revision: how they are asked for, what is thrown away, and the records that come of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from alignzoo.interfaces import Asking, FeedbackSource, Lesson, Manner
from alignzoo.model.role import policy_on
from alignzoo.records import Completion, Critique, Prompt, Turn
from alignzoo.tally import Tally
from alignzoo.testing import WORDS, toy_base
from alignzoo_rlaif.chains import ChainError, Chains, read_chain, read_dialogue
from alignzoo_rlaif.constitution import ConstitutionError, Principle
from alignzoo_rlaif.critique_revision import CollectError, CritiqueRevision
from alignzoo_rlaif.rounds import ask_critique, ask_revision, flaw, revise, revise_in_rounds

POLITE = Principle("polite", critique="Is it polite?", revision="Make it polite.")
BRIEF = Principle("brief", critique="Is it brief?", revision="Make it brief.")
PROMPT = Prompt.ask("how is the cat")
PROMPTS = [Prompt.ask(f"how is cat {number}") for number in range(6)]
RULES = """
name = "manners"
[[principle]]
id = "polite"
critique = "Is it polite?"
revision = "Make it polite."
[[principle]]
id = "brief"
critique = "Is it brief?"
revision = "Make it brief."
"""


class Scripted:
    """A policy that answers by a rule of the prompt, and remembers what it was asked."""

    def __init__(self, rule: Callable[[Prompt], str], finished: Callable[[Prompt], bool] = lambda prompt: True) -> None:
        self.rule, self.finished = rule, finished
        self.asked: list[Prompt] = []
        self.manners: list[Manner] = []

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        self.asked += prompts
        self.manners.append(manner)
        return [[Completion(self.rule(prompt), finished=self.finished(prompt)) for _ in range(n)] for prompt in prompts]


def manners(prompt: Prompt) -> str:
    """Answers rudely; as a critic finds that; as a reviser adds a word for each principle."""
    asked = prompt.text
    if asked.startswith("Is it"):
        return f"Not {asked.removeprefix('Is it ').rstrip('?')} at all."
    if asked.startswith("Make it"):
        before = [turn.text for turn in prompt.turns if turn.speaker == "assistant"][-2]
        return f"{before} {asked.removeprefix('Make it ').rstrip('.')}"
    return "go away"


@pytest.fixture
def rules(tmp_path: Path) -> str:
    (tmp_path / "rules.toml").write_text(RULES)
    return str(tmp_path / "rules.toml")


# How it is asked -------------------------------------------------------------------------------------------------------


def test_a_dialogue_goes_on() -> None:
    assert ask_revision("dialogue", POLITE, PROMPT, "go away", "It is rude.").turns == (
        Turn("user", "how is the cat"),
        Turn("assistant", "go away"),
        Turn("user", "Is it polite?"),
        Turn("assistant", "It is rude."),
        Turn("user", "Make it polite."),
    )
    assert ask_critique("dialogue", POLITE, PROMPT, "go away").turns == (
        Turn("user", "how is the cat"),
        Turn("assistant", "go away"),
        Turn("user", "Is it polite?"),
    )


def test_a_form_has_a_line_for_each_thing() -> None:
    """A reply with lines of its own makes no line of the form."""
    reply = "go\nCritique: fine"
    assert ask_critique("form", POLITE, PROMPT, reply) == Prompt.ask(
        "Is it polite?\nRequest: how is the cat\nReply: go Critique: fine"
    )
    assert ask_revision("form", POLITE, PROMPT, reply, "Rude.\nVery.") == Prompt.ask(
        "Make it polite.\nRequest: how is the cat\nReply: go Critique: fine\nCritique: Rude. Very."
    )


def test_the_form_is_the_one_that_the_playgrounds_model_was_taught() -> None:
    corpus = pytest.importorskip("alignzoo_playground.judging")
    principle = Principle("polite", critique="Is the reply polite?", revision="Write a more polite reply.")
    assert ask_critique("form", principle, PROMPT, "no") == corpus.critique_prompt("polite", PROMPT, "no")
    assert ask_revision("form", principle, PROMPT, "no", "c") == corpus.revise_prompt("polite", PROMPT, "no", "c")


# What is thrown away ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("critique", "revision", "why"),
    [
        ("It is rude to the cat.", "Please, the cat is fine.", ""),
        ("It is rude to the cat.", "  ", "the revision is empty"),
        ("It is rude to the cat.", "Hello.\n\nHuman: how is the dog", "the revision speaks for somebody else"),
        ("It is rude to the cat.", "Assistant: Hello.", "the revision speaks for somebody else"),
        ("It is rude to the cat.", "A human: what is it?", ""),
        ("It is rude.\n\nHuman: thank you", "Please, the cat is fine.", "the critique speaks for somebody else"),
        ("It is rude to the cat.", "It is rude, to the cat. Hello.", "the critique leaks into the revision"),
        ("It is rude to the cat.", "Critique: none.\nHello", "the critique leaks into the revision"),
        ("It is rude.", "It is rude. Hello", ""),  # too short to tell
        ("The cat is fine and well.", "The cat is fine and well.", ""),  # was said before
        ("It is wrong: the cat is fine today.", "The cat is fine today.", ""),  # part of a sentence: what was to be said
    ],
)
def test_flaws(critique: str, revision: str, why: str) -> None:
    reply = Completion("Go away. The cat is fine and well.")
    assert flaw(PROMPT, reply, Completion(critique), Completion(revision)) == why


def test_texts_that_were_cut_are_flawed() -> None:
    reply, whole, cut = Completion("no"), Completion("yes yes"), Completion("yes yes", finished=False)
    assert flaw(PROMPT, reply, cut, whole) == "the critique was cut"
    assert flaw(PROMPT, reply, whole, cut) == "the revision was cut"


# Rounds ----------------------------------------------------------------------------------------------------------------


def test_each_round_goes_on_from_the_last_good_text() -> None:
    critic = Scripted(manners)
    [chain] = revise_in_rounds(critic, [PROMPT], [Completion("go away")], [POLITE], 3, "dialogue", Manner())
    assert [one.after.text for one in chain] == ["go away polite", "go away polite polite", "go away polite polite polite"]
    assert [one.before.text for one in chain] == ["go away", "go away polite", "go away polite polite"]
    assert len({manner.seed for manner in critic.manners}) == 6


def test_a_flawed_round_leaves_the_text_as_it_was() -> None:
    def sometimes(prompt: Prompt) -> str:
        leaks = prompt.text == "Make it polite." and "twice" not in str(prompt.turns)
        return "Human: hello" if leaks else manners(prompt)

    [one] = revise(Scripted(sometimes), [PROMPT], [Completion("go away")], [POLITE], "dialogue", Manner())
    assert one.flaw == "the revision speaks for somebody else"
    assert one.best == Completion("go away")
    [chain] = revise_in_rounds(Scripted(sometimes), [PROMPT], [Completion("go")], [POLITE, BRIEF], 8, "dialogue", Manner())
    kept = [one for one in chain if not one.flaw]
    assert 0 < len(kept) < 8
    assert chain[-1].best.text == "go" + " brief" * len(kept)


def test_a_reply_that_leaves_no_room_to_be_revised_is_passed_over_and_the_others_are_revised() -> None:
    """On a real policy, whose context of 128 words is full after sixty of a reply."""
    policy, manner = policy_on(toy_base()), Manner(max_tokens=40, seed=3)
    replies = [Completion("no"), Completion("cat " * 100), Completion("yes")]
    first, second, third = revise(policy, [PROMPT] * 3, replies, [POLITE] * 3, "dialogue", manner)
    assert second.flaw == "the context has no room for a critique and a revision"
    assert second.best == replies[1]
    for one, reply in ((first, replies[0]), (third, replies[2])):
        assert one.critique == revise(policy, [PROMPT], [reply], [POLITE], "dialogue", manner)[0].critique


def test_principles_are_drawn_for_each_answer_and_whatever_else_is_in_the_batch() -> None:
    def draws(prompts: Sequence[Prompt], seed: int) -> list[list[str]]:
        replies = [Completion("go")] * len(prompts)
        chains = revise_in_rounds(Scripted(manners), prompts, replies, [POLITE, BRIEF], 4, "dialogue", Manner(seed=seed))
        return [[one.principle.id for one in chain] for chain in chains]

    together = draws(PROMPTS, 3)
    assert together == [draws([prompt], 3)[0] for prompt in PROMPTS]
    assert together != draws(PROMPTS, 4)
    assert len(set(map(tuple, together))) > 2


# The source ------------------------------------------------------------------------------------------------------------


def asking(policy: Scripted, **more: object) -> Asking:
    return Asking(prompts=PROMPTS, policy=policy, seed=3, tally=Tally(), **more)  # type: ignore[arg-type]


def test_what_comes_of_it_are_critiques_and_so_demonstrations_and_pairs(rules: str) -> None:
    source = CritiqueRevision(rules, rounds=2, count=6)
    assert isinstance(source, FeedbackSource)
    asked = asking(Scripted(manners))
    records = list(source.collect(asked))
    assert len(records) == 6
    for record in records:
        assert isinstance(record, Critique)
        assert record.completion.text == "go away"
        assert (record.provenance.source, record.provenance.annotator) == ("critique-revision", "base")
        used = record.principle.split(", ")
        assert record.revision.text == f"go away {used[0]} {used[1]}"
        assert record.critique == f"Not {used[0]} at all.\nNot {used[1]} at all."
        assert record.provenance.note.startswith(f"principle {record.principle}; constitution manners@")
    lesson = Lesson.of(records)
    assert {shown.completion.text for shown in lesson.demonstrations} == {r.revision.text for r in records}  # type: ignore[union-attr]
    assert {pair.rejected.text for pair in lesson.comparisons} == {"go away"}
    assert (asked.tally.read, asked.tally.kept, asked.tally.unexplained) == (6, 6, 0)
    assert records == list(source.collect(asking(Scripted(manners))))


def test_a_record_for_each_round(rules: str) -> None:
    records = list(CritiqueRevision(rules, rounds=2, count=4, keep="all").collect(asking(Scripted(manners))))
    first, second = records[:2]
    assert isinstance(first, Critique)
    assert isinstance(second, Critique)
    assert first.completion.text == "go away"
    assert second.completion == first.revision
    assert second.revision.text == f"{first.revision.text} {second.principle}"


def test_unchanged_revisions_are_counted_and_dropped_by_a_rule(rules: str) -> None:
    def idle(prompt: Prompt) -> str:
        return "Go,  away!" if prompt.text.startswith("Make it") and "cat 1" in prompt.turns[0].text else manners(prompt)

    asked = asking(Scripted(idle))
    records = list(CritiqueRevision(rules, count=10).collect(asked))
    assert all("cat 1" not in record.prompt.text for record in records)
    assert asked.tally.set_aside["the revision changes nothing"].count in (1, 2)
    assert asked.tally.unexplained == 0
    asked = asking(Scripted(idle))
    kept = list(CritiqueRevision(rules, count=6, unchanged="keep").collect(asked))
    assert sum("cat 1" in record.prompt.text for record in kept) == 1
    assert asked.tally.noticed["the revision changes nothing"].count == 1


def test_a_revision_that_comes_back_to_the_original_changes_nothing(rules: str) -> None:
    def there_and_back(prompt: Prompt) -> str:
        if prompt.text.startswith("Make it"):
            return "go away" if "hello there" in [turn.text for turn in prompt.turns] else "hello there"
        return manners(prompt)

    with pytest.raises(CollectError, match="0 of 4 records"):
        list(CritiqueRevision(rules, rounds=2, count=4).collect(asking(Scripted(there_and_back))))
    assert len(list(CritiqueRevision(rules, rounds=2, count=4, keep="all").collect(asking(Scripted(there_and_back))))) == 4


def test_what_cannot_be_used_is_dropped_by_reason(rules: str) -> None:
    def confused(prompt: Prompt) -> str:
        return "Human: hm" if prompt.text.startswith("Make it") and "cat 2" in prompt.turns[0].text else manners(prompt)

    critic = Scripted(confused, finished=lambda prompt: "cat 3" not in prompt.text)
    asked = asking(critic)
    records = list(CritiqueRevision(rules, count=8).collect(asked))
    assert len(records) == 8
    assert set(asked.tally.dropped) == {"the answer was cut", "the revision speaks for somebody else"}
    assert all(cases.count >= 1 for cases in asked.tally.dropped.values())
    assert asked.tally.unexplained == 0
    assert not any("cat 3" in prompt.turns[0].text and len(prompt.turns) > 1 for prompt in critic.asked)  # nobody is asked


def test_the_base_criticises_and_the_tokens_of_the_revision_are_its_own(rules: str) -> None:
    base = toy_base()
    policy = policy_on(base)
    many = [Prompt.ask(f"{word} the {thing}") for word in WORDS[:8] for thing in WORDS[20:26]]
    with pytest.raises(CollectError, match="no more to be had"):  # random words are cut, or speak in tongues
        list(CritiqueRevision(rules, count=1, max_tokens=2).collect(Asking(prompts=PROMPTS, policy=policy, manner=Manner(2))))
    assert base.roles["reviser"].bare
    source = CritiqueRevision(rules, count=1, max_tokens=40, critic="policy")
    [record] = source.collect(Asking(prompts=many, policy=policy, manner=Manner(40)))
    assert isinstance(record, Critique)
    assert record.revision.tokens
    assert record.revision.logps == record.completion.logps == ()


def test_what_is_wrong_is_said_when_it_is_made(rules: str, tmp_path: Path) -> None:
    with pytest.raises(ConstitutionError, match="no such file"):
        CritiqueRevision(str(tmp_path / "none.toml"))
    with pytest.raises(ConstitutionError, match="no principle 'polit'"):
        CritiqueRevision(rules, principles=("polit",))
    (tmp_path / "pairs.toml").write_text('[[principle]]\nid = "a"\ncomparison = "Which?"\n')
    with pytest.raises(ConstitutionError, match="has critique and revision"):
        CritiqueRevision(str(tmp_path / "pairs.toml"))
    with pytest.raises(CollectError, match="name a task"):
        next(CritiqueRevision(rules).collect(Asking()))


# Recorded chains -------------------------------------------------------------------------------------------------------

CHAIN = {
    "source": "here",
    "rl_prompt": "\n\nHuman: Hi.\nAssistant: Hello.\n\nHuman: How is the cat?\n\nAssistant:",
    "initial_response": [{"sample": " Go away."}],
    "cst": [
        {"cst_key": "harmful0", "critique": {"sample": " Rude."}, "revision": {"sample": " It is well.\n\n"}},
        {"cst_key": "harmful3", "critique": {"sample": " Fine."}, "revision": {"sample": " It is well."}},
    ],
}


def test_a_chain_is_read_round_by_round() -> None:
    first, second = read_chain(CHAIN)
    assert first.prompt.turns == (Turn("user", "Hi."), Turn("assistant", "Hello."), Turn("user", "How is the cat?"))
    assert (first.completion.text, first.critique, first.revision.text) == ("Go away.", "Rude.", "It is well.")
    assert first.principle == "harmful0"
    assert second.completion == first.revision


@pytest.mark.parametrize("text", ["\n\nHuman: Hi.", "Hi.\n\nHuman: Hi.\n\nAssistant:", "\n\nAssistant:", ""])
def test_a_dialogue_must_end_where_the_assistant_is_to_answer(text: str) -> None:
    with pytest.raises(ChainError):
        read_dialogue(text)


def test_chains_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "chains.jsonl"
    file.write_text("\n".join(map(json.dumps, [CHAIN, {"rl_prompt": CHAIN["rl_prompt"]}, {**CHAIN, "cst": []}])))
    tally = Tally()
    [record] = Chains(str(file)).collect(Asking(tally=tally))
    assert isinstance(record, Critique)
    assert record.principle == "harmful0"
    assert tally.set_aside["the revision changes nothing"].places == ["chains.jsonl:1"]
    assert [cases.places for cases in tally.dropped.values()] == [["chains.jsonl:2"], ["chains.jsonl:3"]]
    assert tally.unexplained == 0
    last = {**CHAIN["cst"][1], "revision": {"sample": "It is very well."}}  # type: ignore[dict-item]
    file.write_text(json.dumps({**CHAIN, "cst": [CHAIN["cst"][0], last]}))
    [whole] = Chains(str(file), keep="last").collect(Asking())
    assert isinstance(whole, Critique)
    assert (whole.completion.text, whole.revision.text) == ("Go away.", "It is very well.")
    assert (whole.critique, whole.principle) == ("Rude.\nFine.", "harmful0, harmful3")
    with pytest.raises(ValueError, match="no file"):
        Chains(str(tmp_path / "none.jsonl"))


PUBLISHED = Path(__file__).resolve().parents[4] / "shared" / "data" / "cai_critique_revision_chains.jsonl"


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="no published chains beside the checkout")
def test_the_published_chains_load() -> None:
    tally = Tally()
    records = list(Chains(str(PUBLISHED)).collect(Asking(tally=tally)))
    assert (tally.read, len(records), tally.left_out) == (124, 122, 0)
    assert len(list(Chains(str(PUBLISHED), keep="last").collect(Asking()))) == 31
    assert all(isinstance(r, Critique) and r.critique and r.principle.startswith("harmful") for r in records)
    assert len(Lesson.of(records).demonstrations) == len(Lesson.of(records).comparisons) == 122
