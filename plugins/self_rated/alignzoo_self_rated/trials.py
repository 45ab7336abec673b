"""How the conformance kit tries it: with the kit's own reward, few records, pairs."""

from alignzoo.testing import Trial

self_rated = Trial(
    settings={"reward": "alignzoo.testing.lessons:worth", "kind": "comparisons", "count": 24},
)
