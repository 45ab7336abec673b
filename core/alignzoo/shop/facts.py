"""What is known of a plugin beyond its code: its README, what the registry says, what the kit said of its bytes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path

from alignzoo.seam.installed import Entry, entries
from alignzoo.seam.kept import kept
from alignzoo.seam.registry import Plugin, Registry
from alignzoo.seam.source import file_of
from alignzoo.shop.onsite import editable


@dataclass(frozen=True)
class Facts:
    """Of one plugin, installed or only listed. `source` says how it came here."""

    plugin: str
    tier: str
    source: str
    conformance: str
    license: str
    paper: str
    repo: str
    maintainers: tuple[str, ...]
    releases: tuple[str, ...]
    readme: str


def facts(plugin: str, registry: Registry) -> Facts:
    """All of them; what nobody says is empty."""
    entry = next((entry for entry in entries() if entry.plugin == plugin), None)
    listed = registry.entry(plugin)
    tier = kept().tier(plugin, entry.distribution, entry.version, registry) if entry else listed.tier if listed else ""
    return Facts(
        plugin=plugin,
        tier=tier,
        source=_source(entry),
        conformance=_conformance(entry, listed, tier),
        license=listed.license if listed else "",
        paper=listed.paper if listed else "",
        repo=listed.repo if listed else "",
        maintainers=listed.maintainers if listed else (),
        releases=tuple(_release(listed)) if listed else (),
        readme=readme(entry) if entry else "",
    )


def _release(listed: Plugin) -> list[str]:
    return [f"{r.version} (withdrawn: {r.yanked})" if r.yanked else r.version for r in listed.release]


def _source(entry: Entry | None) -> str:
    if entry is None:
        return "not installed"
    if folder := editable(entry):
        return f"editable, {folder}"
    receipt = kept().of(entry.distribution, entry.version)
    if receipt is None:
        return "installed by other means than alignzoo install" if entry.distribution != "alignzoo" else "comes with alignzoo"
    return f"wheel, sha256 {receipt.sha256}" + (f", by {receipt.registry}" if receipt.registry else "")


def _conformance(entry: Entry | None, listed: Plugin | None, tier: str) -> str:
    """What is said of exactly the installed bytes, and nothing about others."""
    if tier == "bundled":
        return "tested with alignzoo itself"
    receipt = kept().of(entry.distribution, entry.version) if entry else None
    said = [r.conformance for r in listed.release if receipt and r.sha256 == receipt.sha256] if listed else []
    return next((words for words in said if words), "nothing is known")


def readme(entry: Entry) -> str:
    """A plugin's page: beside its package where there is a checkout, or else in the metadata of its distribution."""
    package = os.path.dirname(file_of(entry.module.partition(".")[0]))
    beside = Path(package).parent / "README.md"
    if package and beside.is_file():
        return beside.read_text(encoding="utf-8", errors="replace").strip()
    if entry.distribution == "alignzoo":
        return ""  # the distribution's own page is about all of alignzoo
    try:
        text = Path(entry.info, "METADATA").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return str(Parser().parsestr(text).get_payload()).strip()
