"""How the conformance kit tries the game's parts: what is no walk has no worth, so the reward is asked about walks; and the
model, which has to be made first, only where there is time."""

from alignzoo.records import Completion, Prompt
from alignzoo.testing import Trial
from alignzoo_random_walks.feedback import parted
from alignzoo_random_walks.walks import game

_walks: list[tuple[Prompt, Completion]] = [parted(walk) for walk in game(1000).walks[:12]]

reward = Trial(prompts=[prompt for prompt, _ in _walks], completions=[reply for _, reply in _walks])
model = Trial(slow="a model is trained where none is kept yet")
