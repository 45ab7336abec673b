"""What listing plugins is made of, without what it would cost.

`alignzoo list` is to take no longer than three bare imports of alignzoo. The standard library's `dataclasses` and pluggy take
longer than that to be imported, and a listing needs next to nothing of them.
"""

from __future__ import annotations

TYPE_CHECKING = False  # a checker takes it for typing's own, which is another slow import

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
    from typing import Any

    from pluggy import HookimplMarker as HookimplMarker
    from pluggy import HookspecMarker as HookspecMarker

else:

    def dataclass(*, frozen: bool) -> Any:
        """A frozen dataclass that can at first only be made and read. Who compares, prints, hashes or changes one, or asks for
        its fields, has the standard library finish the class, and it is then what it would have been from the beginning."""
        return _begun

    class HookspecMarker:
        """`pluggy.HookspecMarker`, as far as `hookspecs` uses it."""

        def __init__(self, project: str) -> None:
            self.mark = f"{project}_spec"

        def __call__(self, function: Any) -> Any:
            options = {"firstresult": False, "historic": False, "warn_on_impl": None, "warn_on_impl_args": None}
            setattr(function, self.mark, options)
            return function

    class HookimplMarker:
        """`pluggy.HookimplMarker`: it takes what that one takes and leaves on a function what that one leaves."""

        def __init__(self, project: str) -> None:
            self.mark = f"{project}_impl"

        def __call__(self, function: Any = None, **chosen: Any) -> Any:
            options = {**PLAIN, **chosen}
            if odd := options.keys() - PLAIN.keys():
                raise TypeError(f"a hook has no option '{min(odd)}'; there is {', '.join(PLAIN)}")

            def mark(function: Any) -> Any:
                setattr(function, self.mark, options)
                return function

            return mark if function is None else mark(function)


PLAIN = dict.fromkeys(("hookwrapper", "optionalhook", "tryfirst", "trylast", "wrapper"), False) | {"specname": None}
"""The options of a hook that has none."""


def _begun(cls: Any) -> Any:
    names = tuple(cls.__annotations__)
    blank = {name: vars(cls).get(name) for name in names}
    required = {name for name in names if name not in vars(cls)}
    checked = "__post_init__" in vars(cls)

    def __init__(self: Any, *args: Any, **named: Any) -> None:
        given = dict(zip(names, args, strict=False)) | named
        whole = blank | given
        if len(given) < len(args) + len(named) or len(whole) > len(names) or not given.keys() >= required:
            _finish(cls)
            cls.__init__(self, *args, **named)  # it says what is wrong
        vars(self).update(whole)
        if checked:
            self.__post_init__()

    first = {"__init__": __init__, "__match_args__": names, "__dataclass_fields__": _Fields()}
    for name, thing in {**first, **{name: _deferred(cls, name) for name in DEFERRED}}.items():
        setattr(cls, name, thing)
    return cls


DEFERRED = ("__eq__", "__hash__", "__repr__", "__setattr__", "__delattr__")


def _deferred(cls: Any, name: str) -> Any:
    def method(self: Any, *args: Any) -> Any:
        _finish(cls)
        return getattr(cls, name)(self, *args)

    return method


class _Fields:
    """Stands where `dataclasses` looks for the fields of a class, which says that they are wanted."""

    def __get__(self, instance: Any, cls: Any) -> Any:
        _finish(cls)
        return cls.__dataclass_fields__


def _finish(cls: Any) -> None:
    """Make the class the dataclass that it is said to be."""
    from dataclasses import dataclass

    if isinstance(vars(cls)["__dataclass_fields__"], _Fields):
        for name in ("__dataclass_fields__", "__init__", *DEFERRED):
            delattr(cls, name)
        dataclass(frozen=True)(cls)
