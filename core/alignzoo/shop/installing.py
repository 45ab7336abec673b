"""Installing a plugin, in this order: choose a release → fetch its wheel, and nothing else → compare its hash → look inside →
resolve what it needs with the installed torch stack held fast → install, in a process of pip's or uv's own."""

from __future__ import annotations

import importlib.metadata
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from alignzoo.seam.installed import entries, normal
from alignzoo.seam.kept import Receipt, keep, kept
from alignzoo.seam.registry import Registry
from alignzoo.shop import ShopError
from alignzoo.shop.catalogue import Choice, catalogue, choose
from alignzoo.shop.lint import STACK, examine
from alignzoo.shop.tools import Step, Tool, tool
from alignzoo.shop.wheel import Wheel, WheelError, sha256_of


@dataclass(frozen=True)
class Order:
    """What to install, and what to say yes to beforehand."""

    wanted: str
    """A registered name ("grpo", "grpo==1.2"), a wheel, or the name of a distribution that nobody listed."""
    registry: str = ""
    """A private registry, beside alignzoo's own."""
    unlisted: bool = False
    """Take a distribution or a wheel that no registry knows."""


@dataclass(frozen=True)
class Ready:
    """All that was found out before anything runs: a dry run ends here."""

    wheel: Wheel
    steps: tuple[Step, ...]
    tier: str
    registry: str

    def lines(self) -> list[str]:
        """For a reader."""
        brought = [f"{step.dist} {step.version}" for step in self.steps if step.dist != normal(self.wheel.name)]
        return [
            f"{self.wheel.name} {self.wheel.version}: {self.tier}, sha256 {self.wheel.sha256}",
            f"  plugins: {', '.join(self.wheel.plugins)}",
            f"  comes with it: {', '.join(brought) or 'nothing'}",
        ]


def install(order: Order, worker: Tool | None = None) -> Ready:
    """Install a plugin, and remember where it came from."""
    worker = worker or tool()
    with _prepared(order, worker) as (ready, constraints):
        worker.install(ready.wheel.path, ready.steps, constraints)
    _remember(ready)
    return ready


def prepare(order: Order, worker: Tool | None = None) -> Ready:
    """Everything up to the installation: a dry run."""
    with _prepared(order, worker or tool()) as (ready, _):
        return ready


@contextmanager
def _prepared(order: Order, worker: Tool) -> Iterator[tuple[Ready, Path]]:
    registry = catalogue(order.registry)
    with tempfile.TemporaryDirectory(prefix="alignzoo-") as name:
        folder = Path(name)
        path, choice = _got(order, registry, worker, folder)
        if choice and (got := sha256_of(path)) != choice.release.sha256:
            raise WheelError(f"{path.name} is not what the registry lists: its sha256 is {got}, not {choice.release.sha256}")
        choice = choice or _listed(registry, path)
        if choice is None and not order.unlisted:
            raise ShopError(
                f"no registry lists {path.name}: nobody has said anything about it. It would run with all your rights; "
                "to take it all the same: --unlisted"
            )
        wheel = examine(path, registry)
        constraints = folder / "constraints.txt"
        constraints.write_text("".join(f"{line}\n" for line in held()))
        steps = worker.resolve(path, constraints)
        _stack_stays(wheel, steps)
        yield Ready(wheel, tuple(steps), choice.plugin.tier if choice else "unlisted", order.registry), constraints


def _got(order: Order, registry: Registry, worker: Tool, folder: Path) -> tuple[Path, Choice | None]:
    """The wheel, in a folder of our own, so that nobody exchanges it while it is looked at."""
    given = Path(order.wanted)
    if given.suffix == ".whl":
        if not given.is_file():
            raise ShopError(f"there is no wheel {given}")
        return Path(shutil.copy(given, folder)), None
    if given.suffix in (".gz", ".zip", ".tar") or "/" in order.wanted:
        raise ShopError(
            f"{order.wanted}: only wheels are installed, because anything else runs code to be built; a folder: -e DIR"
        )
    dist, _, version = order.wanted.partition("==")
    if order.unlisted and registry.entry(dist) is None:
        if not version:
            raise ShopError(f"say which version of {dist} you mean: alignzoo install {dist}==VERSION --unlisted")
        return worker.fetch(dist, version, folder), None
    choice = choose(registry, order.wanted)
    return worker.fetch(choice.plugin.dist, choice.release.version, folder), choice


def _listed(registry: Registry, path: Path) -> Choice | None:
    """The registry's release of exactly these bytes."""
    digest = sha256_of(path)
    choices = [Choice(plugin, release) for plugin in registry.plugin for release in plugin.release if release.sha256 == digest]
    for choice in choices:
        if choice.release.yanked:
            raise ShopError(f"{choice.plugin.id} {choice.release.version} was withdrawn by its author: {choice.release.yanked}")
    return choices[0] if choices else None


def held() -> list[str]:
    """The installed stack as constraints: nothing that a plugin needs may move it."""
    lines = []
    for name in STACK:
        try:
            lines.append(f"{name}=={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return lines


def _stack_stays(wheel: Wheel, steps: Sequence[Step]) -> None:
    """Once more what the constraints say, from what the tool says that it would do."""
    there = {line.partition("==")[0] for line in held()}
    if moved := [f"{step.dist} {step.version}" for step in steps if step.dist in there]:
        raise ShopError(f"{wheel.name} would replace {', '.join(moved)}; a plugin works with what is installed")


def _remember(ready: Ready) -> None:
    wheel, state = ready.wheel, kept()
    [top] = wheel.tops
    receipt = Receipt(
        plugins=tuple(wheel.plugins),
        dist=wheel.name,
        version=wheel.version,
        sha256=wheel.sha256,
        digest=wheel.digest(top.partition(".")[0]),
        tier=ready.tier,
        registry=str(Path(ready.registry).resolve()) if ready.registry else "",
        brought=tuple(f"{step.dist}=={step.version}" for step in ready.steps if step.dist != normal(wheel.name)),
    )
    state = state.without(wheel.name)
    keep(replace(state, receipt=(*state.receipt, receipt)))


def install_folder(folder: Path, worker: Tool | None = None) -> None:
    """An editable installation of a folder of one's own. It is built, so its code runs: that is what was asked for."""
    if not (folder / "pyproject.toml").is_file():
        raise ShopError(f"{folder} is no project: there is no pyproject.toml in it")
    with tempfile.TemporaryDirectory(prefix="alignzoo-") as name:
        constraints = Path(name) / "constraints.txt"
        constraints.write_text("".join(f"{line}\n" for line in held()))
        (worker or tool()).install_folder(folder, constraints)


def uninstall(name: str, worker: Tool | None = None) -> tuple[str, tuple[str, ...]]:
    """Remove the distribution of a plugin. Gives its name, and what had come with it and stays."""
    mine = {e.distribution for e in entries() if e.plugin == name} or {
        e.distribution for e in entries() if normal(e.distribution) == normal(name)
    }
    if not mine:
        raise ShopError(f"no plugin and no plugin's distribution is called '{name}'; see alignzoo list")
    if "alignzoo" in mine:
        raise ShopError(f"plugin '{name}' comes with alignzoo; alignzoo disable {name} makes it invisible")
    if len(mine) > 1:
        raise ShopError(f"'{name}' can mean {' or '.join(sorted(mine))}; name the distribution")
    [dist] = mine
    (worker or tool()).uninstall(dist)
    state = kept()
    receipt = next((receipt for receipt in state.receipt if normal(receipt.dist) == normal(dist)), None)
    gone = {e.plugin for e in entries() if e.distribution == dist} | set(receipt.plugins if receipt else (name,))
    keep(replace(state.without(dist), disabled=tuple(id for id in state.disabled if id not in gone)))
    return dist, receipt.brought if receipt else ()
