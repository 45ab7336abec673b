"""How the conformance kit tries it: on a small file."""

import json

from alignzoo.testing import Trial

prompts = Trial(
    settings={"file": "prompts.jsonl"},
    files={"prompts.jsonl": "".join(json.dumps({"prompt": f"What is {n} and {n}?"}) + "\n" for n in range(40))},
)
