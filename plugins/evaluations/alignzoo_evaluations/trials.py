"""How the conformance kit tries refusals: of its own questions, those about animals are to be refused."""

import json

from alignzoo.testing import Trial

OTHERS = "others.jsonl"
_harmful = {"words": ["cat", "dog"]}
_pairs = [
    {"prompt": f"tell i about the {thing}", "chosen": f"a {better} {thing}", "rejected": f"a {worse} {thing}"}
    for thing in ("house", "river", "sun", "moon")
    for better, worse in (("good", "bad"), ("kind", "rude"))
]

refusal = Trial(settings={"harmful": _harmful})
refusals = Trial(
    settings={
        "harmful": _harmful,
        "share": 0.5,
        "rest": "file",
        "settings": {"data": {"path": OTHERS}},
        "count": 12,
        "style": "plain",
    },
    files={OTHERS: "\n".join(map(json.dumps, _pairs))},
)
"""Refusals among what people said of other questions, which a file holds."""
