"""How good is a reward model, and what does a policy believe: pairs by subset, model-written questions, as a plugin."""

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Component, hookimpl


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    return ()
