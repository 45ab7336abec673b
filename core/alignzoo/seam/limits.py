"""The limits of a setting: what `annotated_types` can say about a value, said in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt, MaxLen, MinLen, MultipleOf, Predicate


def broken_limit(value: Any, metadata: Iterable[Any]) -> str:
    """The first limit that a value breaks, in words; "" where it keeps all."""
    return next((words for words, kept in _judged(value, metadata) if not kept), "")


def _judged(value: Any, metadata: Iterable[Any]) -> Iterator[tuple[str, bool]]:
    for limit in metadata:
        match limit:
            case GroupedMetadata():
                yield from _judged(value, limit)
            case Gt(gt):
                yield f"must be greater than {gt}", value > gt
            case Ge(ge):
                yield f"must be at least {ge}", value >= ge
            case Lt(lt):
                yield f"must be less than {lt}", value < lt
            case Le(le):
                yield f"must be at most {le}", value <= le
            case MultipleOf(step):
                yield f"must be a multiple of {step}", value % step == 0
            case MinLen(least):
                yield f"must hold at least {least}", len(value) >= least
            case MaxLen(most):
                yield f"must hold at most {most}", len(value) <= most
            case Predicate(holds):
                yield f"must satisfy {getattr(holds, '__name__', 'its condition')}", bool(holds(value))
            case _:
                pass
