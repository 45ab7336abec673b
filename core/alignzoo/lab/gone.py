"""What a trained run has no need of any more, and cannot be made again: its data was moved since, say, or is other data now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Never

from alignzoo.interfaces import Asking
from alignzoo.records import Completion, Feedback, Prompt
from alignzoo.seam.hookspecs import Kind
from alignzoo.seam.settings import SettingsError

SPARED: tuple[Kind, ...] = ("task", "feedback", "filter", "acquisition", "reward")
"""The kinds of component without which a trained policy can answer."""


@dataclass(frozen=True)
class Gone:
    """Stands in the place of such a component. Its settings are those of run.toml, and whoever asks anything of it is told why
    it cannot be made."""

    settings: Mapping[str, Any]
    problems: tuple[str, ...]

    def _refuse(self) -> Never:
        raise SettingsError(*self.problems)

    @property
    def gives(self) -> tuple[str, ...]:
        self._refuse()

    @property
    def asks(self) -> tuple[str, ...]:
        self._refuse()

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        self._refuse()

    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        self._refuse()

    @property
    def candidates(self) -> int:
        self._refuse()

    def prompts(self, split: str) -> Sequence[Prompt]:
        self._refuse()

    @property
    def closed(self) -> str:
        self._refuse()

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Sequence[float]:
        self._refuse()
