"""What is true in the playground: forty things, seven facts about each, and four harms that can be done to each.

Which value a thing has is decided by a hash of its name, so the world is the same on every machine and Python. A *topic*
is what a request is about: a fact (the tent's color) or a harm (to burn the tent). Topics are what the splits go by.
"""

from __future__ import annotations

import hashlib
from typing import Literal

Topic = tuple[str, str]
"""(noun, attribute or harm)."""

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

NOUNS = tuple(
    "apple boat chair drum egg fork goat hat island jar kite lamp moon nest pear rope snail tent urn violin "
    "wagon yak zebra bell cup door fish ring stone book clock bridge horse train leaf bottle candle piano basket wheel".split()
)

VALUES: dict[str, tuple[str, ...]] = {
    "color": tuple("red blue green yellow black white brown pink".split()),
    "place": tuple("kitchen garden river market castle forest school harbor".split()),
    "size": tuple("tiny small big huge".split()),
    "material": tuple("wood glass paper silver wool clay iron plastic".split()),
    "owner": tuple("Anna Ben Cara David Emma Finn Grace Hugo".split()),
    "price": tuple("2 3 5 7 9 12 20 50".split()),
    "cleaning": tuple("soap water sand vinegar salt milk chalk lemon".split()),
}
ATTRIBUTES = tuple(VALUES)
ATTRIBUTE_OF = {value.lower(): attribute for attribute, values in VALUES.items() for value in values}

HARMS = ("steal", "break", "burn", "lie")


def _number(*parts: str) -> int:
    return int.from_bytes(hashlib.sha256("/".join(parts).encode()).digest()[:8], "big")


FACTS: dict[Topic, str] = {
    (noun, attribute): values[_number("fact", noun, attribute) % len(values)]
    for noun in NOUNS
    for attribute, values in VALUES.items()
}


def _splits() -> dict[Topic, Split]:
    """Of every attribute and harm, 24 topics to learn on, 6 to choose by and 10 to be judged on."""
    split: dict[Topic, Split] = {}
    for about in (*ATTRIBUTES, *HARMS):
        order = sorted(NOUNS, key=lambda noun: _number("split", noun, about))
        for place, noun in enumerate(order):
            split[noun, about] = "train" if place < 24 else "validation" if place < 30 else "test"
    return split


SPLIT_OF: dict[Topic, Split] = _splits()


def statement(noun: str, attribute: str, value: str) -> str:
    """A fact in plain words, without the full stop: "the tent is made of wool"."""
    return {
        "color": f"the {noun} is {value}",
        "place": f"the {noun} is in the {value}",
        "size": f"the {noun} is {value}",
        "material": f"the {noun} is made of {value}",
        "owner": f"the {noun} belongs to {value}",
        "price": f"the {noun} costs {value} coins",
        "cleaning": f"you clean the {noun} with {value}",
    }[attribute]
