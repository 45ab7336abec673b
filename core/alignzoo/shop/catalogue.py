"""Looking into the registry: searching it, choosing a release, and whether it says what is true."""

from __future__ import annotations

from alignzoo.seam.hookspecs import API
from alignzoo.seam.light import TYPE_CHECKING, dataclass
from alignzoo.seam.nearest import nearest
from alignzoo.seam.registry import Registry, RegistryError, read
from alignzoo.shop import ShopError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packaging.version import Version

    from alignzoo.seam.registry import Plugin, Release
    from alignzoo.seam.zoo import Zoo


@dataclass(frozen=True)
class Choice:
    """A release that is to be installed."""

    plugin: Plugin
    release: Release


def catalogue(private: str = "") -> Registry:
    """alignzoo's own registry, and a private one beside it. Neither can take an id of the other."""
    own = read()
    if not private:
        return own
    more = read(private)
    try:
        return Registry((*own.plugin, *more.plugin), (*own.revoked, *more.revoked))
    except RegistryError as error:
        raise RegistryError(f"{private}, beside alignzoo's own registry: {error}") from None


def search(registry: Registry, words: Sequence[str]) -> list[Plugin]:
    """The entries that every word occurs in, those first where it is in the name."""
    wanted = [word.casefold() for word in words]
    found = [plugin for plugin in registry.plugin if all(word in _said(plugin) for word in wanted)]
    return sorted(found, key=lambda plugin: (not any(word in plugin.id.casefold() for word in wanted), plugin.id))


def _said(plugin: Plugin) -> str:
    texts = (plugin.id, plugin.dist, plugin.summary, *plugin.components, *plugin.needs, plugin.paper, *plugin.maintainers)
    return " ".join(texts).casefold()


def choose(registry: Registry, wanted: str) -> Choice:
    """The release that "grpo" or "grpo==1.2" means: the newest that fits, and never one that was withdrawn."""
    name, _, version = wanted.partition("==")
    plugin = _named(registry, name.strip())
    if plugin.tier == "bundled":
        raise ShopError(f"plugin '{plugin.id}' comes with alignzoo and is installed; see alignzoo list")
    if not plugin.release:
        raise ShopError(f"the registry lists no release of '{plugin.id}' yet; see {plugin.repo}")
    if version:
        release = next((r for r in plugin.release if r.version == version.strip()), None)
        if release is None:
            raise ShopError(f"'{plugin.id}' has no release {version}{nearest(version, [r.version for r in plugin.release])}")
        if reason := _against(registry, plugin, release):
            raise ShopError(f"{plugin.id} {release.version} {reason}")
        return Choice(plugin, release)
    reasons = {r.version: _against(registry, plugin, r) for r in plugin.release}
    fitting = [r for r in plugin.release if not reasons[r.version]]
    if not fitting:
        told = "; ".join(f"{version} {reason}" for version, reason in reasons.items())
        raise ShopError(f"no release of '{plugin.id}' can be installed: {told}")
    return Choice(plugin, max(fitting, key=lambda r: _ordered(r.version)))


def _named(registry: Registry, name: str) -> Plugin:
    plugin = registry.entry(name)
    if plugin is None:
        owners = [p for p in registry.plugin if name in [c.partition(":")[2] for c in p.components] or p.dist == name]
        if len(owners) != 1:
            hint = nearest(name, [p.id for p in registry.plugin])
            unlisted = f"for a distribution that nobody listed: alignzoo install {name} --unlisted"
            raise ShopError(f"the registry lists no plugin '{name}'{hint} ({unlisted})")
        plugin = owners[0]
    return plugin


def _against(registry: Registry, plugin: Plugin, release: Release) -> str:
    """Why a release is not to be installed here; "" where nothing speaks against it."""
    if reason := registry.revocation(plugin.dist, release.version, release.sha256):
        return f"is revoked: {reason}"
    if release.yanked:
        return f"was withdrawn by its author: {release.yanked}"
    major, _, minor = release.api.partition(".")
    ours = API.partition(".")
    if major != ours[0] or int(minor or 0) > int(ours[2]):
        return f"is built for plugin API {release.api}; this alignzoo has {API}"
    if not _python_fits(release.requires_python):
        import platform

        return f"needs Python {release.requires_python}; this is {platform.python_version()}"
    return ""


def _python_fits(requirement: str) -> bool:
    if not requirement:
        return True
    import platform

    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return platform.python_version() in SpecifierSet(requirement)
    except InvalidSpecifier:
        raise ShopError(f"requires-python = {requirement!r} in the registry is no requirement such as '>=3.11'") from None


def _ordered(version: str) -> Version:
    from packaging.version import Version

    return Version(version)


def untruths(registry: Registry, zoo: Zoo) -> list[str]:
    """Where the registry and the bundled plugins disagree, both ways."""
    import re

    told = []
    there = {found.plugin for found in zoo.components if found.distribution == "alignzoo"}
    listed = {plugin.id: plugin for plugin in registry.plugin if plugin.tier == "bundled"}
    told += [f"{id} is bundled, and the registry does not list it" for id in sorted(there - set(listed))]
    for id, plugin in listed.items():
        offered = [f.component for f in zoo.components if f.plugin == id and f.distribution == plugin.dist]
        needs = {need for component in offered if component.kind == "optimizer" for need in component.needs}
        pairs = (
            ("offers", {f"{component.kind}:{component.id}" for component in offered}, set(plugin.components)),
            ("needs", needs, set(plugin.needs)),
        )
        for verb, true, said in pairs:
            if true != said:
                told.append(f"{id} {verb} {_all(true)}; the registry says {_all(said)}")
        if not re.fullmatch(r"\S.{10,150}[^.\s]", plugin.summary):
            told.append(f"{id}: its summary is to be one line, without a full stop")
    return told


def _all(words: set[str]) -> str:
    return ", ".join(sorted(words)) or "nothing"
