"""What a plugin may offer: an entry point of the group `alignzoo.plugins`, naming a module with these functions.

The module must be import-light: a component names its object as "module:attribute", and it is imported only when used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import pluggy

API = "1.0"
"""The version of this page and of `interfaces`. A plugin built for 1.0 works with every 1.x."""

Kind = Literal["optimizer", "reward", "feedback", "filter", "acquisition", "policy", "model", "task"]

hookspec = pluggy.HookspecMarker("alignzoo")
hookimpl = pluggy.HookimplMarker("alignzoo")


@dataclass(frozen=True)
class Component:
    """One thing that a plugin adds. `object` is "module:attribute". `needs` says what an optimizer's lesson must hold
    or what a feedback source asks of the run; `gives` what records a source yields, or "reward" where that, and no policy,
    is what an optimizer deploys. `trial` names, as "module:attribute", how the conformance kit is to try the component (an
    `alignzoo.testing.Trial`), where its defaults are not enough."""

    kind: Kind
    id: str
    object: str
    summary: str
    needs: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    paper: str = ""
    api: str = API
    trial: str = ""


@dataclass(frozen=True)
class Command:
    """A verb of its own: `alignzoo VERB …`. `module` is imported only when the verb is used; it has `arguments(page)`, which
    tells an `argparse.ArgumentParser` what the verb takes, and `run(args)`, which does it and returns the exit code."""

    verb: str
    module: str
    summary: str
    api: str = API


@hookspec
def alignzoo_components() -> Iterable[Component]:
    """Name the components of this plugin."""
    raise NotImplementedError


@hookspec
def alignzoo_commands() -> Iterable[Command]:
    """Name the commands that this plugin adds to `alignzoo`."""
    raise NotImplementedError
