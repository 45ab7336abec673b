"""The small Llama that comes with the playground."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PlaygroundModel:
    """About 1.4 million parameters, pre-trained on the playground's text by the recipe in `pretrain`. No settings."""

    def folder(self) -> str:
        """The folder of this package that `transformers` loads model and tokenizer from."""
        return str(Path(__file__).parent / "model")
