"""The conformance kit: every check over a plugin, as one pytest test, or as verdicts.

from alignzoo.testing import conformance

test_conformance = conformance("grpo")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from alignzoo.seam.discovery import discover
from alignzoo.seam.installed import LOCAL, entries
from alignzoo.seam.local import entry_of
from alignzoo.seam.zoo import Found, Zoo
from alignzoo.testing import offered, optimizers, others, repeats, rewards, sources
from alignzoo.testing.checks import CHECKS, LEVELS, Check, Offer, Subject, Trial, Verdict, judged

ROOMS = (offered, optimizers, repeats, rewards, sources, others)
"""The modules that hold the checks."""


def subjects(name: str = "", trial: Trial | None = None, *, thorough: bool = False, distribution: str = "") -> list[Subject]:
    """What a name means: a component, or a plugin and all its components; without a name, every installed plugin (of one
    distribution). A file, "my_loss.py", means the components in it."""
    if name.endswith(".py"):
        return _in_file(name, trial, thorough)
    zoo = discover()
    offers = {entry.plugin: _offer(zoo, entry.plugin, entry.module, entry.distribution) for entry in entries()}
    if name in offers or not name:
        chosen = [offer for plugin, offer in sorted(offers.items()) if name in ("", plugin)]
        chosen = [offer for offer in chosen if distribution in ("", offer.distribution)]
        given = trial if name else None
        return [subject for offer in chosen for subject in _of_plugin(offer, given, thorough)]
    found = zoo.lookup(name)
    return [Subject(offers[found.plugin]), Subject(offers[found.plugin], found, trial, thorough)]


def _in_file(path: str, trial: Trial | None, thorough: bool) -> list[Subject]:
    """A plugin in one file: nothing is installed, so there is nothing but its components."""
    plugin = entry_of(path).plugin
    found = [one for one in discover(files=[path]).components if one.plugin == plugin and one.version == LOCAL]
    return [Subject(Offer(plugin, "", path, LOCAL), one, trial, thorough) for one in found]


def _offer(zoo: Zoo, plugin: str, module: str, distribution: str) -> Offer:
    components = tuple(found for found in zoo.components if found.plugin == plugin)
    broken = tuple(fault for fault in zoo.broken if fault.plugin == plugin)
    versions = [*(found.version for found in components), *(fault.version for fault in broken), ""]
    return Offer(plugin, module, distribution, versions[0], components, broken)


def _of_plugin(offer: Offer, trial: Trial | None, thorough: bool) -> Iterator[Subject]:
    yield Subject(offer)
    yield from (Subject(offer, found, trial, thorough) for found in offer.components)


def alone(found: Found, trial: Trial | None = None) -> Subject:
    """A component that no installed plugin offers."""
    return Subject(Offer("", "", "", ""), found, trial)


def checks_of(subject: Subject) -> list[Check]:
    """The checks that a subject is put to, the static ones first, then those on a CPU, then those on a GPU."""
    chosen = [one for one in CHECKS.values() if one.kind in subject.kinds]
    return sorted(chosen, key=lambda one: LEVELS.index(one.level))


def verdicts(some: Sequence[Subject]) -> Iterator[Verdict]:
    """The verdict of every check over these subjects, one by one."""
    for subject in some:
        for one in checks_of(subject):
            yield judged(one, subject)
        subject.close()


def conformance(
    name: str = "", *, trial: Trial | None = None, thorough: bool = False, distribution: str = ""
) -> Callable[..., None]:
    """A pytest test of one component, of a plugin with all its components, or, without a name, of everything that is installed
    (from one distribution). A check that is not run is skipped, with its reason; it is never a pass."""
    import pytest

    some = subjects(name, trial, thorough=thorough, distribution=distribution)
    cases: list[Any] = [
        pytest.param(subject, one, id=f"{subject.name}-{one.id}") for subject in some for one in checks_of(subject)
    ]

    @pytest.mark.parametrize(("subject", "one"), cases)
    def test_conformance(subject: Subject, one: Check) -> None:
        verdict = judged(one, subject)
        match verdict.status:
            case "failed":
                pytest.fail(f"{one.id}: {verdict.said}\n{one.says}", pytrace=False)
            case "expected":
                pytest.xfail(verdict.said)
            case "not run":
                pytest.skip(verdict.said)
            case "passed":
                pass

    return test_conformance
