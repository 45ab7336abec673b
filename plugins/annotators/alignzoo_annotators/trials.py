"""How the conformance kit tries merging, which by its nature is no filter of single records."""

from alignzoo.testing import Trial

merged = Trial(
    expected={
        "filter.invents-nothing": "it makes one judgement of several, which nobody gave in these words",
        "filter.streams": "what is said of two answers is known only when every judgement has been read",
    }
)
