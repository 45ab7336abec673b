"""The peer: transformers' generate under a peft adapter, at its best settings for this machine."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
import transformers
from models import EOS, PAD, SHELF, SIZES, folder

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()


class Theirs:
    """A model with an adapter that answers the same prompts. It is never asked to look for an end: it writes as many tokens as
    the longest reply has, as it must where only one row is so long, and is spared the search."""

    def __init__(self, prompts: Sequence[Sequence[int]], size: str, n: int, longest: int) -> None:
        from peft import PeftModel

        model = transformers.AutoModelForCausalLM.from_pretrained(folder(SIZES[size]), dtype="float32")
        model.generation_config = transformers.GenerationConfig(pad_token_id=PAD)
        self.model = PeftModel.from_pretrained(model, SHELF / f"{size}-writer").eval()
        self.n, self.longest, self.wide = n, longest, max(map(len, prompts))
        self.ids = torch.tensor([[PAD] * (self.wide - len(row)) + list(row) for row in prompts])
        self.seen = torch.tensor([[0] * (self.wide - len(row)) + [1] * len(row) for row in prompts])

    def sample(self, cache: str | None) -> torch.Tensor:
        """At temperature 1, with every filter off."""
        how = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
        return self._generate(how | ({"cache_implementation": cache} if cache else {}), self.n)

    def greedy(self) -> list[list[int]]:
        """Every reply's ids; one prompt's greedy replies are all the same."""
        rows = self._generate({"do_sample": False, "suppress_tokens": [EOS]}, 1).tolist()
        return [row for row in rows for _ in range(self.n)]

    def _generate(self, how: dict[str, object], n: int) -> torch.Tensor:
        with torch.no_grad():
            written = self.model.generate(
                input_ids=self.ids, attention_mask=self.seen, max_new_tokens=self.longest, num_return_sequences=n, **how
            )
        return written[:, self.wide :]
