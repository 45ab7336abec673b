"""Find the installed plugins, load each alone, and keep the broken ones with their reason.

Loading a plugin means importing its import-light module and calling its hook. Whatever happens there (an exception, a
`sys.exit`, a print, an endless loop) stays with that plugin: nothing that is installed may keep the others from working.
A plugin that was disabled or revoked is not imported at all.
"""

from __future__ import annotations

import io
import os
import sys

from alignzoo.seam.calling import caller, hooks_of
from alignzoo.seam.hookspecs import Component
from alignzoo.seam.installed import LOCAL, entries, normal
from alignzoo.seam.kept import kept
from alignzoo.seam.light import TYPE_CHECKING
from alignzoo.seam.local import LocalError, brought, entry_of, module_of
from alignzoo.seam.patience import TookTooLong, limit, patience
from alignzoo.seam.registry import Registry, read
from alignzoo.seam.vetting import KINDS, Fault, check, check_command, tell
from alignzoo.seam.zoo import Added, Broken, Found, Hooked, Zoo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import ModuleType
    from typing import Any

    from alignzoo.seam.installed import Entry
    from alignzoo.seam.kept import Kept

HEAVY = ("torch", "transformers", "peft", "bitsandbytes", "datasets", "accelerate", "numpy", "pydantic")


class _Offer:
    """What came of loading one plugin."""

    def __init__(self, *broken: Broken) -> None:
        self.components: list[Found] = []
        self.commands: list[Added] = []
        self.hooked: list[Hooked] = []
        self.broken = list(broken)


def discover(
    paths: Iterable[str] | None = None,
    registry: Registry | None = None,
    state: Kept | None = None,
    files: Iterable[str] = (),
) -> Zoo:
    """Everything that is installed on these paths (without paths: where Python looks), and every fault; with the plugins in
    these files, of which a fault is an error, for somebody named them; and with those of the run file that is being read."""
    catalogue = read() if registry is None else registry
    state = kept() if state is None else state
    offers: list[_Offer] = []
    claims: list[Entry] = []
    asleep: list[Entry] = []
    named = tuple(dict.fromkeys(map(os.path.normpath, (*brought(), *files))))
    local = [entry_of(path) for path in named]
    for entry in (*entries(paths), *local):
        owner = catalogue.owner(entry.plugin)
        if owner and normal(owner) != normal(entry.distribution):
            offers.append(_refused(entry, _stolen(entry, owner)))
        elif entry.plugin in state.disabled:
            asleep.append(entry)
        elif reason := catalogue.revocation(entry.distribution, entry.version, state.wheel(entry.distribution, entry.version)):
            offers.append(_refused(entry, _revoked(entry, reason)))
        else:
            claims.append(entry)
    ids = [entry.plugin for entry in claims]
    for entry in claims:
        clash = ids.count(entry.plugin) > 1
        offers.append(_refused(entry, _claimed_twice(entry, claims)) if clash else _offer(entry))
    found = sorted((f for offer in offers for f in offer.components), key=_order)
    commands, clashes = _apart(
        sorted((added for offer in offers for added in offer.commands), key=lambda added: added.plugin), catalogue
    )
    faults = [fault for offer in offers for fault in offer.broken]
    if fatal := [fault for fault in faults if fault.version == LOCAL]:
        raise LocalError("\n".join(f"{fault.distribution}: {fault.reason}. {fault.fix}" for fault in fatal))
    hooked = tuple(one for offer in offers for one in offer.hooked)
    return Zoo(tuple(found), (*faults, *clashes), catalogue, tuple(commands), hooked, tuple(asleep), named)


def discover_one(plugin: str, distribution: str) -> Zoo:
    """What one plugin offers, and its faults, with no regard for the others: for who looks at plugins one by one."""
    claims = [entry for entry in entries() if (entry.plugin, entry.distribution) == (plugin, distribution)]
    offers = [_offer(entry) for entry in claims]
    found, hooked = (f for offer in offers for f in offer.components), (one for offer in offers for one in offer.hooked)
    return Zoo(tuple(found), tuple(fault for offer in offers for fault in offer.broken), Registry(), hooked=tuple(hooked))


def _order(found: Found) -> tuple[int, str, str]:
    return KINDS.index(found.component.kind), found.component.id, found.plugin


def _offer(entry: Entry) -> _Offer:
    """Load one plugin. What it prints is swallowed, so that a list stays a list, and held against it."""
    offer, heard = _Offer(), io.StringIO()
    light = _heavy_modules()
    try:
        with _Hearing(heard), patience(0 if entry.file else limit()):  # a file may import torch
            module = _module(entry)
            hooks = hooks_of(module, entry)
            call = caller(module, hooks, entry)
            components = _listed(call, "alignzoo_components", entry)
            commands = _listed(call, "alignzoo_commands", entry)
            if entry.file and commands:
                raise Fault("it adds a command, which only an installed plugin can", "Make it a package (`alignzoo new`)")
    except Fault as fault:
        return _refused(entry, fault)
    except TookTooLong:
        return _refused(entry, _endless(entry))
    except Exception as error:  # objects in a plugin's module may do anything when they are looked at
        return _refused(entry, Fault(f"looking at it raises {_said(error)}", tell(entry)))
    if entry.file:
        print(heard.getvalue(), end="", file=sys.stderr)  # its author wants to see it, and may import what he likes
    else:
        manners = _manners(entry, heard.getvalue().strip(), _heavy_modules() - light)
        offer.broken.extend(_broken(entry, fault, ()) for fault in manners)
    _take(components, commands, offer, entry)
    if set(hooks.values()) - {"alignzoo_components", "alignzoo_commands"}:
        offer.hooked.append(Hooked(module, entry.plugin, entry.distribution, entry.version))
    return offer


def _take(components: Iterable[Any], commands: Iterable[Any], offer: _Offer, entry: Entry) -> None:
    """Put what a plugin lists into its offer, piece by piece: a bad one spoils no good one."""
    sources: dict[str, bytes] = {}
    for component in components:
        try:
            check(component, entry, sources)
            _new(component, offer, entry)
        except Fault as fault:
            holds = (component.id,) if isinstance(component, Component) and isinstance(component.id, str) else ()
            offer.broken.append(_broken(entry, fault, holds))
        else:
            package = entry.module.partition(".")[0]
            offer.components.append(Found(component, entry.plugin, package, entry.distribution, entry.version))
    for command in commands:
        try:
            check_command(command, entry)
        except Fault as fault:
            offer.broken.append(_broken(entry, fault, ()))
        else:
            offer.commands.append(Added(command, entry.plugin, entry.distribution, entry.version))


def _manners(entry: Entry, said: str, heavy: set[str]) -> Iterator[Fault]:
    """What is wrong with a plugin that works all the same."""
    if said:
        yield Fault(f"it prints when it is loaded: {said[:60]!r}", tell(entry))
    if entry.rivals:
        yield _two_versions(entry)
    if heavy:
        fix = f"Its components work, but every listing is slow. {tell(entry)}"
        yield Fault(f"it imports {', '.join(sorted(heavy))} when it is loaded", fix)


class _Hearing:
    """What is printed in the body goes to `heard`."""

    def __init__(self, heard: io.StringIO) -> None:
        self.heard = heard

    def __enter__(self) -> None:
        self.before, sys.stdout = sys.stdout, self.heard

    def __exit__(self, *raised: object) -> None:
        sys.stdout = self.before


def _heavy_modules() -> set[str]:
    return {name for name in HEAVY if name in sys.modules}


# Loading ------------------------------------------------------------------------------------------------------------


def _module(entry: Entry) -> ModuleType:
    if not all(part.isidentifier() for part in entry.module.split(".")):
        fix = f'It must name a module and nothing else, as in {entry.plugin} = "alignzoo_{entry.plugin}". {tell(entry)}'
        raise Fault(f"its entry point is '{entry.module}'", fix)
    try:
        if entry.file:
            return module_of(entry)
        __import__(entry.module)  # `importlib` says it more nicely, and costs a listing two plugins
        return sys.modules[entry.module]
    except (KeyboardInterrupt, TookTooLong, Fault):
        raise
    except ModuleNotFoundError as error:
        if not entry.file and error.name and (entry.module == error.name or entry.module.startswith(f"{error.name}.")):
            again = f"pip install --force-reinstall {entry.distribution}, or pip uninstall {entry.distribution}"
            raise Fault(f"its package '{entry.module}' is gone", again) from None
        fix = f"pip install {error.name}{'' if entry.file else f', or pip uninstall {entry.distribution}'}"
        raise Fault(f"it needs '{error.name}', which is not installed", fix) from None
    except SystemExit as error:
        raise Fault(f"it calls sys.exit({error.code!r}) when it is imported", tell(entry)) from None
    except BaseException as error:  # a plugin may raise anything; none of it may reach the others
        raise Fault(f"importing it fails: {_said(error)}", tell(entry)) from None


def _listed(call: Callable[[str], list[Any]], hook: str, entry: Entry) -> list[Any]:
    """What a plugin lists with one of its hooks; nothing where it has no such hook."""
    try:
        return [item for answer in call(hook) for item in answer]
    except (KeyboardInterrupt, TookTooLong):
        raise
    except BaseException as error:
        raise Fault(f"{hook} raises {_said(error)}", tell(entry)) from None


def _said(error: BaseException) -> str:
    """An exception in one line, with the place where it was raised."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames and not isinstance(error, SyntaxError) else ""
    words = str(error).strip().splitlines()
    return f"{type(error).__name__}{': ' + words[0] if words else ''}{place}"


def _new(component: Component, offer: _Offer, entry: Entry) -> None:
    if any((f.component.kind, f.component.id) == (component.kind, component.id) for f in offer.components):
        reason = f"it offers {component.kind} '{component.id}' more than once; the first counts"
        raise Fault(reason, tell(entry))


def _apart(commands: list[Added], catalogue: Registry) -> tuple[list[Added], list[Broken]]:
    """The commands that mean one thing. Of two plugins with the same verb the one in the registry keeps it; if neither is, or
    both are, nobody has it."""
    kept, clashes = [], []
    for added in commands:
        rivals = [other for other in commands if other.command.verb == added.command.verb]
        owned = [other for other in rivals if catalogue.owner(other.plugin)] or rivals
        if owned == [added]:
            kept.append(added)
        else:
            names = " and ".join(sorted({other.plugin for other in rivals}))
            fix = f"pip uninstall {added.distribution}, or ask its author to choose another verb"
            reason = f"the command '{added.command.verb}' is claimed by {names}"
            clashes.append(Broken(added.plugin, added.distribution, added.version, reason, fix))
    return kept, clashes


# Refusing -----------------------------------------------------------------------------------------------------------


def _stolen(entry: Entry, owner: str) -> Fault:
    reason = f"the id '{entry.plugin}' belongs to {owner} (registry.toml), which keeps it"
    if entry.file:
        return Fault(reason, "Rename the file")
    fix = f"pip uninstall {entry.distribution}, or ask its author to choose another id"
    return Fault(reason, fix)


def _two_versions(entry: Entry) -> Fault:
    versions = " and ".join(sorted((entry.version, *entry.rivals)))
    again = f"pip uninstall {entry.distribution} (once for each), and install it again"
    return Fault(
        f"{entry.distribution} is installed in versions {versions} at once; whose files these are, nobody knows", again
    )


def _revoked(entry: Entry, reason: str) -> Fault:
    return Fault(f"{entry.distribution} {entry.version} is revoked: {reason}", f"alignzoo uninstall {entry.distribution}")


def _endless(entry: Entry) -> Fault:
    fix = f"alignzoo disable {entry.plugin}, and nothing waits for it any more; or alignzoo uninstall {entry.distribution}"
    return Fault(f"it does not come back: stopped {limit():g} seconds after its import began", fix)


def _claimed_twice(entry: Entry, claims: list[Entry]) -> Fault:
    if entry.file:
        return Fault(f"another plugin is called '{entry.plugin}', too", "Rename the file")
    names = sorted({claim.distribution for claim in claims if claim.plugin == entry.plugin})
    if len(names) == 1:
        return Fault(f"{names[0]} names the plugin '{entry.plugin}' twice", tell(entry))
    reason = f"{' and '.join(names)} both call a plugin '{entry.plugin}', so the name means neither"
    return Fault(reason, f"Uninstall all but one of them: pip uninstall {names[-1]}")


def _refused(entry: Entry, fault: Fault) -> _Offer:
    return _Offer(_broken(entry, fault, (entry.plugin,)))


def _broken(entry: Entry, fault: Fault, holds: tuple[str, ...]) -> Broken:
    return Broken(entry.plugin, entry.distribution, entry.version, fault.reason, fault.fix, holds)
