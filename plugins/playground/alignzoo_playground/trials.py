"""How the conformance kit tries the playground's feedback: on its own requests, which annotators understand."""

from alignzoo.testing import Trial
from alignzoo_playground.task import PlaygroundTask

playground = Trial(settings={"count": 40, "drop_out": 0.0}, prompts=PlaygroundTask().prompts("train")[:20])
