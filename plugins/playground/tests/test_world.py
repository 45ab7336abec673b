"""The world: its size, its wordings, and the walls between its splits."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from random import Random

import pytest

from alignzoo_playground.corpus import document
from alignzoo_playground.facts import ATTRIBUTES, FACTS, HARMS, NOUNS, SPLIT_OF, SPLITS, VALUES
from alignzoo_playground.replies import CAREFUL, MIXED, plan_reply, write_reply
from alignzoo_playground.requests import KINDS, Request, draw_request, read_request, requests, wordings
from alignzoo_playground.task import PlaygroundTask, SplitError


def test_the_world_is_large_enough():
    assert len(FACTS) >= 200
    assert len(KINDS) >= 10
    assert len(HARMS) >= 4
    assert set(VALUES) == set(ATTRIBUTES)


def test_no_word_means_two_things():
    values = [value.lower() for values in VALUES.values() for value in values]
    assert len(set(values)) == len(values)
    assert not set(values) & set(NOUNS)


def test_facts_do_not_change():
    """Weights are trained on these facts: a world that differs makes them wrong."""
    assert FACTS["tent", "color"] == "green"
    assert FACTS["moon", "owner"] == "Hugo"


def test_every_topic_is_in_one_split_and_every_kind_in_all():
    assert set(SPLIT_OF) == set(FACTS) | {(noun, harm) for noun in NOUNS for harm in HARMS}
    for split in SPLITS:
        assert {request.kind for request in requests(split)} == set(KINDS)
    assert Counter(SPLIT_OF.values()) == {"train": 264, "validation": 66, "test": 110}


@pytest.mark.parametrize("split", SPLITS)
def test_every_wording_is_read_as_what_was_asked(split):
    for request in requests(split):
        for text in wordings(request, split):
            assert read_request(text) == request


def test_no_wording_is_in_two_splits():
    said = {split: {text for request in requests() for text in wordings(request, split)} for split in SPLITS}
    assert not said["train"] & said["validation"]
    assert not said["train"] & said["test"]
    assert not said["validation"] & said["test"]


def test_every_request_can_be_asked_in_several_ways():
    for request in requests():
        assert len(wordings(request, "train")) >= 4
        assert len(wordings(request, "test")) >= 2


@pytest.mark.parametrize(
    "text", ["", "Hello!", "What color is the sky?", "Which reply is more polite?\nRequest: Where is the tent?\nA: x\nB: y"]
)
def test_other_text_is_no_request(text):
    assert read_request(text) is None


def test_near_misses_are_read_right():
    assert read_request("How do I clean the tent?") == Request("cleaning", "tent", "cleaning")
    assert read_request("how big is the tent") == Request("size", "tent", "size")
    assert read_request("Is the tent big?") == Request("check", "tent", "size", "big")
    assert read_request("I want to lie to the owner of the tent.") == Request("lie", "tent")


def test_splits_of_the_task_share_no_topic_and_no_wording():
    topics, texts = {}, {}
    for split in SPLITS:
        prompts = PlaygroundTask(wordings_each=3).prompts(split)
        texts[split] = {prompt.text for prompt in prompts}
        topics[split] = {read_request(prompt.text).topic for prompt in prompts}
        assert len(texts[split]) == len(prompts)
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not topics[one] & topics[other]
        assert not texts[one] & texts[other]


def test_the_task_has_enough_prompts_and_harm_in_every_split():
    task = PlaygroundTask()
    sizes = {split: len(task.prompts(split)) for split in SPLITS}
    assert sizes["train"] >= 300
    assert sizes["validation"] >= 60
    assert sizes["test"] >= 100
    for split in SPLITS:
        asked = [read_request(prompt.text) for prompt in task.prompts(split)]
        assert 0.15 < sum(request.harmful for request in asked) / len(asked) < 0.4


def test_the_task_is_the_same_every_time():
    assert PlaygroundTask().prompts("test") == PlaygroundTask().prompts("test")


def test_an_unknown_split_is_refused_by_name():
    with pytest.raises(SplitError, match="no split named 'tset'; the playground has train, validation, test"):
        PlaygroundTask().prompts("tset")


def test_held_out_wordings_are_in_no_document():
    held_out = {text for split in ("validation", "test") for request in requests() for text in wordings(request, split)}
    for number in range(4000):
        for turn in document(1, number).turns:
            if turn.speaker == "user":
                assert not any(line.removeprefix("Request: ") in held_out for line in turn.text.split("\n"))


def test_documents_depend_on_seed_and_number_alone():
    assert [document(1, number) for number in range(50)] == [document(1, number) for number in range(50)]
    assert document(1, 3) != document(2, 3)


def test_careful_writers_vary():
    request, dice = Request("color", "tent", "color"), Random(0)
    for habits in (CAREFUL, MIXED):
        assert len({write_reply(request, plan_reply(request, habits, dice)) for _ in range(50)}) > 5


def test_requests_are_drawn_from_every_kind():
    dice = Random(1)
    assert {draw_request(dice).kind for _ in range(500)} == set(KINDS)


def test_the_plugin_is_light():
    """Listing components must not load torch, transformers or numpy."""
    heavy = "import sys, alignzoo_playground as p; list(p.alignzoo_components()); "
    heavy += "sys.exit(sorted({'torch', 'transformers', 'numpy'} & set(sys.modules)).__repr__() if "
    heavy += "{'torch', 'transformers', 'numpy'} & set(sys.modules) else 0)"
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
