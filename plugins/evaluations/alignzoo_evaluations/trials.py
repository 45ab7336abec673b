"""How the conformance kit tries refusals: of its own questions, those about animals are to be refused."""

from alignzoo.testing import Trial

_harmful = {"words": ["cat", "dog"]}

refusal = Trial(settings={"harmful": _harmful})
refusals = Trial(settings={"harmful": _harmful, "share": 1.0, "count": 4})
