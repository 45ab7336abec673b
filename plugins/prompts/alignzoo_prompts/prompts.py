"""A task made of one's own prompts: JSON lines with "prompt" (a text) or "turns" (a list of speaker and text)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alignzoo.interfaces import Share
from alignzoo.lab.prompts import read_prompts
from alignzoo.records import Prompt


@dataclass(frozen=True)
class Prompts:
    """Which prompt is in which split is decided by a hash of its words: it stays there whatever is added to the file."""

    file: Path
    """The prompts, one a line."""
    validation: Share = 0.1
    """Share of the prompts to choose settings by."""
    test: Share = 0.2
    """Share of the prompts to be judged on."""

    def __post_init__(self) -> None:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together leave no prompt to learn on; they must be below 1")
        if not self.file.is_file():
            raise ValueError(f"there is no file {self.file}")
        for split in ("train", "test"):
            if not self.prompts(split) and (split == "train" or self.test):
                raise ValueError(f"no prompt of {self.file} falls into '{split}': it holds too few")

    def prompts(self, split: str) -> Sequence[Prompt]:
        """Each prompt once, in the order of the file."""
        if split not in ("train", "validation", "test"):
            raise ValueError(f"no split is named '{split}'; there are train, validation and test")
        different = {prompt.id: prompt for prompt in read_prompts(self.file)}
        return [prompt for prompt in different.values() if self._split(prompt) == split]

    def _split(self, prompt: Prompt) -> str:
        place = int(prompt.id[:8], 16) / 16**8
        return "test" if place < self.test else "validation" if place < self.test + self.validation else "train"
