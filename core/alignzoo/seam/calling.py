"""The hooks of one plugin: which it has, whether they are written as they must be, and what calls them.

Each plugin has a pluggy manager of its own, so what one plugin's hook raises is lost to no other's. Where pluggy would only
look at a function and call it, as a listing does with every plugin, it is left out: it takes long to be imported.
"""

from __future__ import annotations

from alignzoo.seam import hookspecs
from alignzoo.seam.light import PLAIN, TYPE_CHECKING
from alignzoo.seam.nearest import near, nearest
from alignzoo.seam.vetting import Fault, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType
    from typing import Any

    import pluggy

    from alignzoo.seam.installed import Entry

HOOKS = tuple(name for name in vars(hookspecs) if hasattr(getattr(hookspecs, name), "alignzoo_spec"))


def hooks_of(module: ModuleType, entry: Entry) -> dict[str, str]:
    """The functions of a plugin that are hooks, each with the hook that it is. pluggy is silent about a hook that it does not
    know, so the names are looked at first."""
    hooks = dict(_marked(module))
    if not hooks:
        fix = f"It needs a function `@hookimpl def {HOOKS[0]}()`. {tell(entry)}"
        raise Fault(f"it offers nothing: {entry.module} has no hook", fix)
    return hooks


def _marked(module: ModuleType) -> Iterator[tuple[str, str]]:
    """The names of a module's hooks, here and in `hookspecs`; a misspelled one or one without its mark is a fault."""
    for name, thing in list(vars(module).items()):
        if name[:2] == "__":
            continue  # Python's own
        mark = getattr(thing, "alignzoo_impl", None) if callable(thing) else None
        if isinstance(mark, dict):
            hook = mark.get("specname") or name
            if hook not in HOOKS:
                raise Fault(f"'{hook}' is no hook{nearest(hook, HOOKS)}", f"Rename it in {module.__name__}")
            yield name, hook
        elif callable(thing) and name.startswith("alignzoo_") and (close := near(name, HOOKS)):
            fix = f"Write @hookimpl (from alignzoo.seam.hookspecs) above `def {close}` in {module.__name__}"
            raise Fault(f"'{name}' lacks @hookimpl, so it would never be called", fix)


def caller(module: ModuleType, hooks: dict[str, str], entry: Entry) -> Callable[[str], list[Any]]:
    """What gives the answers of this plugin to a hook that hands nothing over, or a `Fault` where a hook has another
    signature than it should."""
    if all(_is_plain(hook, vars(module)[name]) for name, hook in hooks.items()):
        return lambda hook: [answer for answer in [vars(module)[hook]()] if answer is not None] if hook in hooks else []
    managed = _fitting(module, entry)
    return lambda hook: list(getattr(managed.hook, hook)())


def _is_plain(hook: str, function: Any) -> bool:
    """Whether all that pluggy would do with this function is to call it with what it asks for: it has no options, not even
    another name than its hook, and no arguments but those of the hook."""
    if type(function) is not type(caller) or vars(function)["alignzoo_impl"] != PLAIN:
        return False
    more = (
        function.__defaults__,
        function.__kwdefaults__,
        function.__code__.co_kwonlyargcount,
        vars(function).get("__wrapped__"),
    )
    return not any(more) and set(_arguments(function)) <= set(_arguments(getattr(hookspecs, hook)))


def _arguments(function: Any) -> tuple[str, ...]:
    names: tuple[str, ...] = function.__code__.co_varnames
    return names[: function.__code__.co_argcount]


def _fitting(module: ModuleType, entry: Entry) -> pluggy.PluginManager:
    import pluggy

    try:
        return manager(module, entry.plugin)
    except pluggy.PluginValidationError as error:
        first, *_, reason = str(error).strip().splitlines()
        hook = next(name for name in HOOKS if f"'{name}'" in first)
        takes = ", ".join(_arguments(getattr(hookspecs, hook))) or "no arguments"
        raise Fault(f"{hook} has the wrong signature: {reason}", f"{hook} takes {takes}. {tell(entry)}") from None


def manager(module: ModuleType, plugin: str) -> pluggy.PluginManager:
    """The pluggy manager of one plugin."""
    import pluggy

    made = pluggy.PluginManager("alignzoo")
    made.add_hookspecs(hookspecs)
    made.register(module, name=plugin)
    return made
