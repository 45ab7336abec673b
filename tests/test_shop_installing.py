"""The order of an installation: what is chosen, what is refused and when, and what is remembered. The installer here is a
small one of our own; pip and uv themselves are in test_shop_environments.py."""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from shelf import plugin_wheel

from alignzoo.seam.discovery import discover
from alignzoo.seam.kept import Kept, KeptError, Receipt, keep, kept, place
from alignzoo.seam.registry import Plugin, Registry, RegistryError, Release
from alignzoo.shop import ShopError, facts, installing
from alignzoo.shop.catalogue import catalogue, choose, search
from alignzoo.shop.installing import Order, install, install_folder, prepare, uninstall
from alignzoo.shop.lint import STACK
from alignzoo.shop.tools import Step, ToolError, Uv
from alignzoo.shop.wanted import missing
from alignzoo.shop.wheel import WheelError, sha256_of

RELEASE = Release("1.0", "1.0", "a" * 64)


@dataclass
class Unpacker:
    """Installs a wheel by unpacking it; fetches from a folder; notes what it was asked."""

    site: Path
    shelf: Path
    brings: tuple[Step, ...] = ()
    said: list[str] = field(default_factory=list)
    name: str = "unpacker"

    def fetch(self, dist: str, version: str, folder: Path) -> Path:
        self.said.append("fetch")
        return Path(shutil.copy(next(self.shelf.glob(f"{dist.replace('-', '_')}-{version}-*.whl")), folder))

    def resolve(self, wheel: Path, constraints: Path) -> list[Step]:
        self.said.append("resolve")
        self.constraints = constraints.read_text()
        name, version = wheel.name.split("-")[:2]
        return [Step(name.replace("_", "-"), version, sha256_of(wheel)), *self.brings]

    def install(self, wheel: Path, steps: Sequence[Step], constraints: Path) -> None:
        self.said.append("install")
        zipfile.ZipFile(wheel).extractall(self.site)

    def install_folder(self, folder: Path, constraints: Path) -> None:
        self.said.append(f"install -e {folder.name}")

    def uninstall(self, dist: str) -> None:
        self.said.append(f"uninstall {dist}")
        for path in self.site.glob(f"{dist.replace('-', '_')}*"):
            shutil.rmtree(path)


@dataclass(frozen=True)
class Room:
    """A folder that is installed into, one that wheels come from, and a private registry."""

    worker: Unpacker
    registry: Path

    def listed(self, wheel: Path, more: str = "", sha256: str = "") -> None:
        plugin, version = wheel.name.split("-")[0].removeprefix("zoo_"), wheel.name.split("-")[1]
        self.registry.write_text(
            f'[[plugin]]\nid = "{plugin}"\ndist = "zoo-{plugin}"\ntier = "verified"\nsummary = "Does {plugin}, and no more"\n'
            f'components = ["optimizer:{plugin}"]\nlicense = "MIT"\nrepo = "https://example.org"\nmaintainers = ["X"]\n'
            f'[[plugin.release]]\nversion = "{version}"\napi = "1.0"\nsha256 = "{sha256 or sha256_of(wheel)}"\n'
            f'conformance = "31 passed"\n{more}'
        )

    def order(self, wanted: str, unlisted: bool = False) -> Order:
        return Order(wanted, str(self.registry) if self.registry.exists() else "", unlisted)


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    site, shelf = tmp_path / "site", tmp_path / "shelf"
    site.mkdir()
    shelf.mkdir()
    monkeypatch.setenv("ALIGNZOO_STATE", str(tmp_path / "state.toml"))
    monkeypatch.syspath_prepend(str(site))
    for name in [name for name in sys.modules if name.partition(".")[0] == "zoo_thumbs"]:
        monkeypatch.delitem(sys.modules, name)
    return Room(Unpacker(site, shelf), tmp_path / "registry.toml")


def test_a_registered_plugin_is_installed_by_name_used_and_removed_without_a_trace(room: Room) -> None:
    worker = room.worker
    room.listed(plugin_wheel(worker.shelf))
    ready = install(room.order("thumbs"), worker)
    assert worker.said == ["fetch", "resolve", "install"]
    assert (ready.tier, ready.wheel.version) == ("verified", "1.0")
    found = discover().find("optimizer", "thumbs")
    assert found.full_name == "optimizer:thumbs/thumbs"
    [receipt] = kept().receipt
    assert receipt.digest == found.digest()
    assert (receipt.dist, receipt.plugins, receipt.registry) == ("zoo-thumbs", ("thumbs",), str(room.registry))
    known = facts.facts("thumbs", catalogue(str(room.registry)))
    assert (known.tier, known.conformance, known.readme) == ("verified", "31 passed", "# zoo_thumbs\n\nIts page.")
    assert known.source.startswith(f"wheel, sha256 {receipt.sha256}")

    assert uninstall("thumbs", worker) == ("zoo-thumbs", ())
    assert list(worker.site.iterdir()) == []
    assert not Path(place()).exists()


def test_a_dry_run_does_everything_but_the_last_step(room: Room) -> None:
    room.worker.brings = (Step("tabulate", "0.9"),)
    room.listed(plugin_wheel(room.worker.shelf))
    told = prepare(room.order("thumbs==1.0"), room.worker).lines()
    assert room.worker.said == ["fetch", "resolve"]
    assert told[0].startswith("zoo-thumbs 1.0: verified, sha256 ")
    assert told[1:] == ["  plugins: thumbs", "  comes with it: tabulate 0.9"]
    assert kept() == Kept()
    assert list(room.worker.site.iterdir()) == []


def test_another_hash_than_the_registrys_is_refused_before_anything_else(room: Room) -> None:
    room.listed(plugin_wheel(room.worker.shelf), sha256="b" * 64)
    with pytest.raises(WheelError, match="is not what the registry lists: its sha256 is"):
        install(room.order("thumbs"), room.worker)
    assert room.worker.said == ["fetch"]


def test_a_hostile_wheel_is_refused_before_anything_is_resolved(room: Room) -> None:
    room.listed(plugin_wheel(room.worker.shelf, more={"zoo_thumbs.pth": "import os"}))
    with pytest.raises(WheelError, match="would run at every start of Python"):
        install(room.order("thumbs"), room.worker)
    assert room.worker.said == ["fetch"]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ('yanked = "learns backwards"\n', "thumbs 1.0 was withdrawn by its author: learns backwards"),
        ('[[revoked]]\ndist = "zoo-thumbs"\nreason = "steals keys"\n', "thumbs 1.0 is revoked: steals keys"),
        ('[[revoked]]\ndist = "zoo-thumbs"\nversion = "1.0"\nreason = "steals keys"\n', "is revoked: steals keys"),
        ('requires-python = "<3.11"\n', "needs Python <3.11; this is "),
    ],
)
def test_a_withdrawn_or_revoked_release_is_not_even_fetched(room: Room, more: str, reason: str) -> None:
    room.listed(plugin_wheel(room.worker.shelf), more)
    for wanted in ("thumbs", "thumbs==1.0"):
        with pytest.raises(ShopError) as error:
            install(room.order(wanted), room.worker)
        assert reason.partition(" 1.0 ")[2] in str(error.value)
    assert room.worker.said == []


def test_the_file_of_a_withdrawn_release_is_refused_too(room: Room) -> None:
    wheel = plugin_wheel(room.worker.shelf)
    room.listed(wheel, 'yanked = "learns backwards"\n')
    with pytest.raises(ShopError, match=r"thumbs 1\.0 was withdrawn by its author: learns backwards"):
        install(room.order(str(wheel), unlisted=True), room.worker)


def test_a_wheel_that_nobody_listed_needs_a_word(room: Room) -> None:
    wheel = plugin_wheel(room.worker.shelf)
    with pytest.raises(ShopError, match=r"no registry lists zoo_thumbs-1\.0-py3-none-any\.whl.*--unlisted"):
        install(room.order(str(wheel)), room.worker)
    assert room.worker.said == []
    assert install(room.order(str(wheel), unlisted=True), room.worker).tier == "unlisted"
    assert wheel.exists()


def test_a_wheel_of_listed_bytes_is_as_good_as_its_name(room: Room) -> None:
    wheel = plugin_wheel(room.worker.shelf)
    room.listed(wheel)
    assert install(room.order(str(wheel)), room.worker).tier == "verified"


def test_a_distribution_that_nobody_listed_is_fetched_by_name_and_version(room: Room) -> None:
    plugin_wheel(room.worker.shelf)
    with pytest.raises(ShopError, match=r"the registry lists no plugin 'zoo-thumbs'.*alignzoo install zoo-thumbs --unlisted"):
        install(room.order("zoo-thumbs"), room.worker)
    with pytest.raises(ShopError, match="say which version of zoo-thumbs you mean"):
        install(room.order("zoo-thumbs", unlisted=True), room.worker)
    assert install(room.order("zoo-thumbs==1.0", unlisted=True), room.worker).tier == "unlisted"


@pytest.mark.parametrize("wanted", ["x.tar.gz", "./folder", "git/url"])
def test_only_wheels_are_installed(room: Room, wanted: str) -> None:
    with pytest.raises(ShopError, match="only wheels are installed"):
        install(room.order(wanted), room.worker)


def test_the_stack_is_held_and_looked_at_once_more(room: Room) -> None:
    room.listed(plugin_wheel(room.worker.shelf))
    room.worker.brings = (Step("torch", "9.9"),)
    with pytest.raises(ShopError, match=r"zoo-thumbs would replace torch 9\.9"):
        install(room.order("thumbs"), room.worker)
    assert room.worker.said == ["fetch", "resolve"]
    assert [line.partition("==")[0] for line in room.worker.constraints.splitlines()] == list(STACK)
    assert room.worker.constraints.splitlines() == installing.held()


def test_an_upgrade_takes_the_place_of_the_receipt(room: Room) -> None:
    install(room.order(str(plugin_wheel(room.worker.shelf)), unlisted=True), room.worker)
    room.worker.uninstall("zoo-thumbs")
    room.worker.brings = (Step("tabulate", "0.9"),)
    install(room.order(str(plugin_wheel(room.worker.shelf, version="1.1")), unlisted=True), room.worker)
    assert [(receipt.version, receipt.brought) for receipt in kept().receipt] == [("1.1", ("tabulate==0.9",))]
    assert uninstall("zoo_thumbs", room.worker) == ("zoo-thumbs", ("tabulate==0.9",))


def test_what_cannot_be_removed_is_told(room: Room) -> None:
    with pytest.raises(ShopError, match="plugin 'dpo' comes with alignzoo; alignzoo disable dpo makes it invisible"):
        uninstall("dpo", room.worker)
    with pytest.raises(ShopError, match="no plugin and no plugin's distribution is called 'thumbs'"):
        uninstall("thumbs", room.worker)
    assert room.worker.said == []


def test_a_folder_is_installed_as_it_stands(room: Room, tmp_path: Path) -> None:
    with pytest.raises(ShopError, match=r"there is no pyproject\.toml in it"):
        install_folder(tmp_path, room.worker)
    (tmp_path / "pyproject.toml").touch()
    install_folder(tmp_path, room.worker)
    assert room.worker.said == [f"install -e {tmp_path.name}"]


# Choosing ----------------------------------------------------------------------------------------------------------------


def entry(id: str, *releases: Release, **about: str) -> Plugin:
    whole = {
        "dist": f"zoo-{id}",
        "tier": "community",
        "summary": f"Does {id}",
        "license": "MIT",
        "repo": "https://x.org",
        **about,
    }
    return Plugin(id, components=(f"optimizer:{id}-one",), maintainers=("X",), release=releases, **whole)  # type: ignore[arg-type]


def test_the_newest_release_that_fits_is_chosen() -> None:
    versions = ("1.9", "1.10", "1.2")
    releases = [replace(RELEASE, version=version) for version in versions]
    registry = Registry(
        (entry("a", *releases, replace(RELEASE, version="2.0", yanked="bad"), replace(RELEASE, version="3.0", api="1.1")),)
    )
    assert choose(registry, "a").release.version == "1.10"
    assert choose(registry, "a==1.2").release.version == "1.2"
    assert choose(registry, "a-one").plugin.id == "a"
    with pytest.raises(ShopError, match=r"a 3\.0 is built for plugin API 1\.1; this alignzoo has 1\.0"):
        choose(registry, "a==3.0")
    with pytest.raises(ShopError, match=r"'a' has no release 1\.11; did you mean '1\.1"):
        choose(registry, "a==1.11")
    with pytest.raises(ShopError, match="'b' yet; see https"):
        choose(Registry((entry("b"),)), "b")
    yanked, future = replace(RELEASE, version="2.0", yanked="bad"), replace(RELEASE, version="2.1", api="2.0")
    with pytest.raises(
        ShopError, match=r"no release of 'a' can be installed: 2\.0 was withdrawn.*; 2\.1 is built for plugin API"
    ):
        choose(Registry((entry("a", yanked, future),)), "a")
    with pytest.raises(ShopError, match="plugin 'dpo' comes with alignzoo"):
        choose(catalogue(), "dpo")


def test_a_private_registry_cannot_take_an_id(tmp_path: Path, room: Room) -> None:
    room.listed(plugin_wheel(tmp_path, "dpo"))
    with pytest.raises(RegistryError, match="the id 'dpo' is listed twice"):
        catalogue(str(room.registry))


def test_a_search_wants_every_word_and_puts_names_first() -> None:
    registry = Registry((entry("z", summary="About pairs"), entry("pairs"), entry("other", summary="Of Pairs and more")))
    assert [plugin.id for plugin in search(registry, ["PAIRS"])] == ["pairs", "other", "z"]
    assert [plugin.id for plugin in search(registry, ["pairs", "more"])] == ["other"]
    assert [plugin.id for plugin in search(registry, ["optimizer:z"])] == ["z"]
    assert len(search(registry, [])) == 3


# What a run file names ---------------------------------------------------------------------------------------------------


def test_what_a_run_file_names_and_is_not_here(tmp_path: Path) -> None:
    registry = Registry((*catalogue().plugin, entry("mine"), Plugin("judge", "j", "bundled", "", ("reward:kind",), "MIT")))
    run = tmp_path / "run.toml"
    run.write_text(
        '[optimizer]\nuse = "optimizer:mine/mine-one"\n[feedback]\nuse = "playground"\n[judge]\nuse = "kind"\n'
        '[task]\nuse = "playground"\n'
        '[[reward]]\nuse = "my_module:score"\n[[reward]]\nuse = "reward-model"\n'
        '[made_with.plugins]\n"optimizer:mine/mine-one" = "1.3 sha256:abc"\n'
    )
    assert sorted(missing(run, discover(), registry)) == ["judge", "mine==1.3"]
    run.write_text('[optimizer]\nuse = "mine-two"\n')
    with pytest.raises(ShopError, match=r"run\.toml: optimizer\.use: no optimizer named 'mine-two'.*no registry lists"):
        missing(run, discover(), registry)
    run.write_text("[optimizer")
    with pytest.raises(ShopError, match="not TOML"):
        missing(run, discover(), registry)
    with pytest.raises(ShopError, match="there is no run file"):
        missing(tmp_path / "gone.toml", discover(), registry)


# What is remembered ------------------------------------------------------------------------------------------------------


def test_what_is_remembered_comes_back_and_leaves_no_file_behind(room: Room) -> None:
    receipt = Receipt(("a", "b"), "zoo-a", "1.0", "a" * 64, "b" * 64, "verified", "/r.toml", ("x==1",))
    keep(Kept(("ppo",), (receipt,)))
    assert kept() == Kept(("ppo",), (receipt,))
    assert kept().of("Zoo_A", "1.0") == receipt
    assert kept().of("zoo-a", "1.1") is None
    assert kept().without("zoo_A") == Kept(("ppo",))
    keep(Kept())
    assert not Path(place()).exists()
    Path(place()).write_text("disabled = 3")
    with pytest.raises(KeptError, match=r"disabled: must be a list.*mend it, or remove it"):
        kept()


def test_a_tier_belongs_to_bytes() -> None:
    registry = Registry((entry("a", RELEASE), Plugin("b", "zoo-b", "bundled", "", (), "MIT")))
    receipt = Receipt(("a",), "zoo-a", "1.0", RELEASE.sha256, "", "community")
    assert Kept((), (receipt,)).tier("a", "zoo-a", "1.0", registry) == "community"
    assert Kept((), (replace(receipt, sha256="c" * 64),)).tier("a", "zoo-a", "1.0", registry) == "unproven"
    assert Kept().tier("a", "zoo-a", "1.0", registry) == "unproven"
    assert Kept().tier("b", "zoo-b", "1.0", registry) == "bundled"
    assert Kept().tier("b", "thief", "1.0", registry) == "unlisted"
    private = replace(receipt, plugins=("c",), dist="zoo-c", tier="verified")
    assert Kept((), (private,)).tier("c", "zoo-c", "1.0", registry) == "verified"


def test_a_uv_that_is_too_old_is_told_so_and_other_complaints_are_its_own(tmp_path: Path) -> None:
    """uv knows `--format` since 0.6.15."""
    uv = Uv((sys.executable, "-c", "import sys; sys.exit(\"error: unexpected argument '--format' found\")"))
    with pytest.raises(ToolError, match=r"too old .* 0\.6\.15 or newer, or use pip"):
        uv.fetch("thumbs", "1.0", tmp_path)
    uv = Uv((sys.executable, "-c", "import sys; sys.exit('error: no such package')"))
    with pytest.raises(ToolError, match="error: no such package"):
        uv.fetch("thumbs", "1.0", tmp_path)
