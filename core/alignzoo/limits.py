"""The limits of a setting: what its type and `annotated_types` say about a value, said in words.

A run file is held to them by `alignzoo.seam.settings`. Who makes settings in Python is told the same, as soon as they are made:

    @dataclass(frozen=True)
    class DPO:
        beta: Annotated[float, Gt(0)] = 0.1

        def __post_init__(self) -> None:
            check_settings(self)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt, MaxLen, MinLen, MultipleOf, Predicate


def check_settings(made: Any) -> None:
    """Raise `ValueError` where a setting of this dataclass cannot be: of another type, no number, one without an end that is
    not its default, or beyond its limits. Every such setting is named."""
    kind = type(made)
    given = [(f.name, _hints(kind)[f.name], getattr(made, f.name), f.default) for f in fields(made) if f.init]
    found = ((name, _wrong(hint, value, default), value) for name, hint, value, default in given)
    if broken := [f"{kind.__name__}: {name} {words}; got {value!r}" for name, words, value in found if words]:
        raise ValueError("\n".join(broken))


def broken_limit(value: Any, metadata: Iterable[Any]) -> str:
    """The first limit that a value breaks, in words; "" where it keeps all."""
    return next((words for words, kept in _judged(value, metadata) if not kept), "")


def names(limits: Iterable[Any], number: float) -> bool:
    """Whether a limit names this very number: inf may be where there is Le(math.inf)."""
    return any(is_dataclass(limit) and number in [getattr(limit, f.name) for f in fields(limit)] for limit in limits)


def _judged(value: Any, metadata: Iterable[Any]) -> Iterator[tuple[str, bool]]:
    for limit in metadata:
        match limit:
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
            case GroupedMetadata():  # last, for to be asked whether it is one takes longer than all the others
                yield from _judged(value, limit)
            case _:
                pass


# Types ----------------------------------------------------------------------------------------------------------------


_READ: dict[type[Any], dict[str, Any]] = {}


def _hints(kind: type[Any]) -> dict[str, Any]:
    """The types of a dataclass's fields. Read once: sampling makes a `Manner` for every batch."""
    if kind not in _READ:
        _READ[kind] = get_type_hints(kind, include_extras=True)
    return _READ[kind]


_KINDS: Mapping[Any, tuple[type[Any], str]] = {
    bool: (bool, "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "text"),
    NoneType: (NoneType, "None"),
}


_PLAIN = (Mapping, Sequence, Real, NoneType)


def _wrong(hint: Any, value: Any, default: Any = None) -> str:
    """What is wrong with a value of this type, in words; "" where nothing is. Types that no table has are not looked at."""
    if get_origin(hint) is Annotated:
        inner, *limits = get_args(hint)
        if inner is float and isinstance(value, float) and math.isinf(value) and names(limits, value):
            return ""
        return _wrong(inner, value, default) or broken_limit(value, limits)
    if get_origin(hint) in (Union, UnionType):
        found = [_wrong(arm, value, default) for arm in get_args(hint)]
        return " or ".join(found) if all(found) else ""
    if get_origin(hint) is Literal:
        return "" if value in get_args(hint) else f"must be {' or '.join(map(repr, get_args(hint)))}"
    if get_origin(hint) is tuple:
        return _wrong_in_row(get_args(hint), value)
    if is_dataclass(hint):  # or what can stand in its place, but no table: that is how a file says it
        return f"must be a {getattr(hint, '__name__', hint)}" if isinstance(value, _PLAIN) else ""
    kind, said = _KINDS.get(hint, (object, ""))
    if not isinstance(value, kind) or (isinstance(value, bool) and hint in (int, float)):
        return f"must be {said}"
    if hint is float and not math.isfinite(value) and value != default:
        return "must be a finite number"
    if hint is int and not -(2**63) <= value < 2**63:  # what a run file may say; torch takes no more as a seed
        return "must be below 2⁶³ in size"
    return ""


def _wrong_in_row(items: tuple[Any, ...], value: Any) -> str:
    if not isinstance(value, list | tuple):
        return "must be a tuple"
    if len(items) == 2 and items[1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        return f"must hold {len(items)}"
    found = ((place, _wrong(item, part)) for place, (item, part) in enumerate(zip(items, value, strict=True)))
    return next((f"[{place}] {words}" for place, words in found if words), "")
