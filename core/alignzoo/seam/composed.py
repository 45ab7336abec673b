"""Components that are made of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from alignzoo.seam.zoo import Found


@runtime_checkable
class Composed(Protocol):
    """A component that looks others up by names in its settings. What it does hangs on their bytes, too: a run records them."""

    def looked_up(self) -> Mapping[str, tuple[Found, Any]]:
        """Those that it found, as they were made, by the settings that name them."""
        ...
