"""Names on their way out still work, and warn with what to do instead."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from types import ModuleType

import pytest

from alignzoo.deprecation import AlignzooDeprecation, Moved, deprecated, moved


@deprecated("1.1", "use newer")
def older(number: int, *, twice: bool = False) -> int:
    """Its words."""
    return number * (2 if twice else 1)


@deprecated("1.2", "use Record")
@dataclass
class Row:
    number: int = 0


def test_a_function_works_and_warns_where_it_is_called() -> None:
    with pytest.warns(AlignzooDeprecation, match=r"older is deprecated since plugin API 1\.1: use newer") as heard:
        assert older(3, twice=True) == 6
    assert heard[0].filename == __file__
    assert (older.__name__, older.__doc__) == ("older", "Its words.")


def test_a_class_stays_a_class_and_warns_when_one_is_made() -> None:
    with pytest.warns(AlignzooDeprecation, match=r"Row is deprecated since plugin API 1\.2: use Record") as heard:
        assert Row(3).number == 3
    assert heard[0].filename == __file__
    assert isinstance(Row, type)


def test_a_name_that_moved_is_found_where_it_was() -> None:
    module = ModuleType("old_house")
    setattr(module, "__getattr__", moved("old_house", {"Row": Moved(f"{__name__}:Row", "1.1")}))  # noqa: B010
    sys.modules[__name__] = sys.modules.get(__name__, module_of_this_test())
    with pytest.warns(AlignzooDeprecation, match=r"old_house.Row is deprecated since plugin API 1\.1: it is .*\.Row now"):
        assert module.Row is Row
    with pytest.raises(AttributeError, match="module 'old_house' has no attribute 'Column'"):
        _ = module.Column


def module_of_this_test() -> ModuleType:
    """pytest's importlib mode may not have put it among the modules."""
    module = ModuleType(__name__)
    vars(module)["Row"] = Row
    return module


def test_nothing_else_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert moved("x", {}) is not None
        assert deprecated("1.1", "use y")(lambda: 1) is not None


def test_authors_see_it_for_it_is_a_deprecation_warning() -> None:
    assert issubclass(AlignzooDeprecation, DeprecationWarning)
