"""The verbs that find and look after plugins, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shelf import plugin_wheel, shelf_in

from alignzoo.cli import main
from alignzoo.seam.kept import kept
from alignzoo.shop.wheel import sha256_of


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ALIGNZOO_STATE", str(tmp_path / "state.toml"))
    (tmp_path / "site").mkdir()
    shelf_in(tmp_path / "site", monkeypatch).healthy("here")
    path = tmp_path / "registry.toml"
    wheel = plugin_wheel(tmp_path)
    path.write_text(
        '[[plugin]]\nid = "thumbs"\ndist = "zoo-thumbs"\ntier = "community"\nsummary = "Thumbs up and down"\nlicense = "MIT"\n'
        'components = ["optimizer:thumbs", "reward:thumb", "reward:finger"]\nrepo = "https://x.org"\nmaintainers = ["X", "Y"]\n'
        f'[[plugin.release]]\nversion = "1.0"\napi = "1.0"\nsha256 = "{sha256_of(wheel)}"\n'
        f'[[plugin.release]]\nversion = "0.9"\napi = "1.0"\nsha256 = "{"b" * 64}"\nyanked = "learned backwards"\n'
    )
    return str(path)


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(words) == code
    told = capsys.readouterr()
    return told.err if code else told.out


def test_search_shows_what_is_listed_and_what_of_it_is_here(registry: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [line.split() for line in said(capsys, "search", "thumbs", "--registry", registry).splitlines()]
    assert rows[0] == ["PLUGIN", "TIER", "INSTALLED", "OFFERS", "SUMMARY"]
    assert rows[1] == "thumbs community optimizer, 2 reward Thumbs up and down".split()
    assert rows[2][:3] == ["kto", "bundled", "0.1.0"]
    seen = json.loads(said(capsys, "search", "thumbs", "--registry", registry, "--json"))
    assert [(row["id"], bool(row["installed"])) for row in seen] == [("thumbs", False), ("kto", True)]
    assert "did you mean 'thumbs'?" in said(capsys, "search", "thums", "--registry", registry)


def test_info_of_a_plugin_that_is_only_listed(registry: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "info", "thumbs", "--registry", registry).splitlines()
    assert lines[:2] == ["thumbs", "Thumbs up and down"]
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    assert {key: facts[key].strip() for key in ("tier", "source", "conformance", "maintainers", "releases")} == {
        "tier": "community",
        "source": "not installed",
        "conformance": "nothing is known",
        "maintainers": "X, Y",
        "releases": "1.0, 0.9 (withdrawn: learned backwards)",
    }
    assert "no component named 'thumbs'" in said(capsys, "info", "thumbs", code=2)


def test_info_shows_a_plugins_own_page(registry: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "info", "dpo", "--readme").startswith("# dpo\n")
    assert "readme:       dpo, " in said(capsys, "info", "dpo")
    facts = json.loads(said(capsys, "info", "dpo", "--json"))
    assert facts["readme"].startswith("# dpo\n")
    assert (facts["tier"], facts["conformance"]) == ("bundled", "tested with alignzoo itself")
    assert said(capsys, "info", "here", "--readme") == "plugin 'here' has no page of its own here\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "say what to install: NAME, or -e DIR, or --for RUN"),
        (["x", "-e", "y"], "say what to install: NAME, or -e DIR, or --for RUN"),
        (["-e", "x", "--dry-run"], "-e has no dry run"),
        (["./gone.whl"], "there is no wheel gone.whl"),
        (["dpo"], "plugin 'dpo' comes with alignzoo and is installed"),
        (["thums"], "the registry lists no plugin 'thums'"),
        (["--for", "gone.toml"], "there is no run file gone.toml"),
        (["thumbs==0.9"], "thumbs 0.9 was withdrawn by its author: learned backwards"),
    ],
)
def test_what_cannot_be_installed_is_one_line(
    registry: str, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    complaint = said(capsys, "install", *words, "--registry", registry, code=2)
    assert complaint.startswith(f"alignzoo: {told}")
    assert len(complaint.splitlines()) == 1
    assert kept().receipt == ()


def test_a_run_file_that_lacks_nothing_installs_nothing(
    registry: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run.toml"
    run.write_text('[optimizer]\nuse = "here"\n[reward]\nuse = "mine:score"\n')
    assert said(capsys, "install", "--for", str(run)) == f"everything that {run} names is installed\n"


def test_list_shows_tier_health_and_what_is_disabled(registry: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [line.split() for line in said(capsys, "list", "--kind", "optimizer").splitlines()]
    assert ["optimizer", "here", "zoo-here", "1.0", "unlisted", "ok", "does", "here"] in rows
    said(capsys, "disable", "here")
    told = said(capsys, "list", "--kind", "optimizer")
    assert told.endswith("disabled (alignzoo enable NAME):\n  here (zoo-here 1.0)\n")
    assert "does here" not in told
