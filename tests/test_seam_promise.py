"""What was promised to plugins is kept: the code beside docs/reference/plugin-api.json."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from alignzoo.seam import promise, surface
from alignzoo.seam.hookspecs import API
from alignzoo.seam.promise import Change, Promised, changes, renewed
from alignzoo.seam.surface import Name

PROMISE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "plugin-api.json"
ADVICE = f"""
A plugin built for plugin API {API} would not work any more. One of these mends it (docs/reference/plugin-api.md):
* put the name back as it was; or keep the old one beside the new one, marked with alignzoo.deprecation (deprecated, moved);
* no plugin can notice (a type is only written in other words): python docs/generate.py --accept NAME
* it has to be: raise the major number of API in core/alignzoo/seam/hookspecs.py, accept the names, tell CHANGELOG.md."""


def test_no_plugin_that_works_stops_working() -> None:
    broken = [str(change) for change in changes(promise.read(PROMISE.read_text()), surface.surface()) if change.breaks]
    assert not broken, "\n".join(broken) + ADVICE


def test_what_is_new_is_promised_from_now_on() -> None:
    """It passes as minor; this only asks that it be written down."""
    text = PROMISE.read_text(encoding="utf-8")
    now = promise.written(renewed(promise.read(text), surface.surface(), API))
    assert now == text, "run: python docs/generate.py"


def test_everything_promised_is_of_a_version_that_there_has_been() -> None:
    major, minor = API.split(".")
    since = {made.since for made in promise.read(PROMISE.read_text()).values()}
    assert since <= {f"{major}.{number}" for number in range(int(minor) + 1)}


# The surface, as it is read ----------------------------------------------------------------------------------------------


def test_the_surface_is_what_the_code_says() -> None:
    names = surface.surface()
    said = {name.removeprefix("alignzoo."): (made.kind, made.said) for name, made in names.items()}
    assert said["interfaces.Policy"] == ("protocol", "")
    assert said["interfaces.Wrapper.wrap"] == ("method", "(policy: Policy) -> Policy")
    assert said["interfaces.Distant.kl"] == ("property", "float")
    assert said["records.Turn"] == ("dataclass", "(speaker: Speaker, text: str)")
    assert said["records.RecordError"] == ("error", "(ValueError)")
    assert said["seam.hookspecs.alignzoo_components"] == ("hook", "() -> Iterable[Component]")
    signature = "(records: Sequence[T], size: int, epochs: int, seed: int, together: Sequence[Sequence[int]]=())"
    assert said["learning.decks.Deck"] == ("class", signature)
    assert said["model.role.Role"] == ("class", "")  # nobody makes one but by policy_on
    assert {"model.role.Role.base", "model.role.Role.name"} <= set(said)
    assert "interfaces.Manner.seed" not in said  # a field is in its dataclass's signature
    assert "seam.hookspecs.API" not in said  # the version is not part of what it is the version of
    assert not [name for name in said if "._" in name and "__" not in name]
    assert names["alignzoo.interfaces.Policy"].doc == "Answers prompts."


def test_a_name_that_the_contract_names_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surface, "CONTRACT", {"alignzoo.learning.decks": ("Deck", "Dreck")})
    with pytest.raises(LookupError, match=r"alignzoo.learning.decks has no Dreck, which the contract names"):
        surface.surface()


def test_what_is_deprecated_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        'from alignzoo.deprecation import deprecated\n\n@deprecated("1.1", "use young")\ndef old(x: int) -> int:\n    ...\n'
    )
    (tmp_path / "zoo_aging.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(surface, "CONTRACT", {"zoo_aging": ()})
    monkeypatch.setattr(surface, "VERSION", "zoo_aging.old_version")
    with pytest.raises(KeyError):
        surface.surface()  # a contract has a version
    monkeypatch.setattr(surface, "VERSION", "zoo_aging.API")
    (tmp_path / "zoo_aging.py").write_text(source + 'API = "3.1"\n')
    assert surface.surface() == {"zoo_aging.old": Name("function", "(x: int) -> int", "", "1.1; use young")}


# What breaks and what does not --------------------------------------------------------------------------------------------


def compare(old: Mapping[str, tuple[str, str]], new: Mapping[str, tuple[str, str]]) -> list[Change]:
    before = {name: Promised(*made, "1.0") for name, made in old.items()}
    return changes(before, {name: Name(*made) for name, made in new.items()})


@pytest.mark.parametrize(
    ("kind", "old", "new", "what", "breaks"),
    [
        ("function", "(a: int) -> int", "(a: int, b: int=0) -> int", "a new parameter 'b'", False),
        ("function", "(a: int) -> int", "(a: int, *, b: int=0) -> int", "a new parameter 'b'", False),
        ("function", "(a: int) -> int", "(a: int, b: int) -> int", "a new parameter 'b' that must be given", True),
        ("function", "(a: int) -> int", "(a: int, *, b: int) -> int", "a new parameter 'b' that must be given", True),
        ("function", "(a: int, b: int=0) -> int", "(a: int) -> int", "its parameter 'b' is gone", True),
        ("function", "(a: int) -> int", "(b: int) -> int", "its parameter 'a' is gone", True),
        ("function", "(a, b) -> int", "(b, a) -> int", "its parameter 'a' has another place", True),
        ("function", "(a: int, b: int=0) -> int", "(a: int, *, b: int=0) -> int", "its parameter 'b' has another place", True),
        ("function", "(a: int, b: int=0) -> int", "(a: int, c: int=0, b: int=0) -> int", "'b' has another place", True),
        ("function", "(a: int, b: int=0) -> int", "(a: int, b: int=1) -> int", "had the default 0, and has 1", True),
        ("function", "(a: int, b: int=0) -> int", "(a: int, b: int) -> int", "had the default 0, and has none", True),
        ("function", "(a: int) -> int", "(a: int | None) -> int", "was of int, and is of int | None", False),
        ("function", "(a: int | None) -> int", "(a: int) -> int", "was of int | None, and is of int", True),
        ("function", "(a: int) -> int", "(a: str) -> int", "was of int, and is of str", True),
        ("function", "(a: int) -> int", "(a: int) -> str", "it gave int, and gives str", True),
        ("function", "(*a: int) -> int", "(*a: int, **more: str) -> int", "a new parameter '**more'", False),
        ("dataclass", "(a: int)", "(a: int, b: str = 'x')", "a new parameter 'b'", False),
        ("dataclass", "(a: int)", "(b: str = 'x', a: int = 1)", "its parameter 'a' has another place", True),
        ("dataclass", "(a: Literal['x', 'y'])", "(a: Literal['y', 'x', 'z'])", "was of", False),
        ("hook", "() -> int", "(run: Run) -> int", "a new parameter 'run'", False),
        ("hook", "(run: Run) -> int", "() -> int", "its parameter 'run' is gone", True),
        ("value", "Literal['a', 'b']", "Literal['b', 'a', 'c']", "it is wider", False),
        ("value", "Literal['a', 'b']", "Literal['a']", "without 'b'", True),
        ("value", "Annotated[int, Ge(1)]", "Annotated[int, Ge(0)]", "it was Annotated[int, Ge(1)]", True),
        ("property", "int", "float", "it was int, and is float", True),
        ("error", "(ValueError)", "(KeyError)", "it was (ValueError)", True),
    ],
)
def test_what_breaks_is_told_from_what_does_not(kind: str, old: str, new: str, what: str, breaks: bool) -> None:
    found = compare({"x.name": (kind, old)}, {"x.name": (kind, new)})
    assert any(change.breaks for change in found) == breaks
    assert any(what in change.what for change in found), found
    assert compare({"x.name": (kind, old)}, {"x.name": (kind, old)}) == []


def test_names_that_come_and_go() -> None:
    thing = {"x.Thing": ("class", "()")}
    assert compare(thing, {}) == [Change("x.Thing", "it is gone", True)]
    assert compare({}, thing) == [Change("x.Thing", "new", False)]
    assert compare(thing, {**thing, "x.Thing.more": ("method", "() -> int")}) == [Change("x.Thing.more", "new", False)]
    assert compare(thing, {"x.Thing": ("function", "()")}) == [Change("x.Thing", "it was a class and is a function", True)]


def test_what_plugins_have_cannot_be_asked_for_more() -> None:
    """A protocol is what strangers wrote: a new method of it, or a new argument with a default, is nothing that theirs have."""
    old = {"x.Policy": ("protocol", ""), "x.Policy.sample": ("method", "(n: int) -> str")}
    [more] = compare(old, {**old, "x.Policy.score": ("method", "() -> int")})
    assert more == Change("x.Policy.score", "a new demand of an old protocol, which no old plugin meets", True)
    [wider] = compare(old, {**old, "x.Policy.sample": ("method", "(n: int, k: int=0) -> str")})
    assert wider.breaks
    assert compare({}, old) == [Change("x.Policy", "new", False), Change("x.Policy.sample", "new", False)]


def test_a_promise_grows_and_never_shrinks() -> None:
    before = {"x.a": Promised("function", "(k: int) -> int", "1.0"), "x.b": Promised("value", "int", "1.0")}
    now = {"x.a": Name("function", "(k: int, l: int=0) -> int"), "x.c": Name("value", "str")}
    kept = renewed(before, now, "1.3")
    assert kept == {
        "x.a": Promised("function", "(k: int, l: int=0) -> int", "1.0"),
        "x.b": before["x.b"],  # gone from the code, and still promised: the test above says so until somebody decides
        "x.c": Promised("value", "str", "1.3"),
    }
    narrower = {"x.a": Name("function", "() -> int")}
    assert renewed(before, narrower, "1.3")["x.a"] == before["x.a"]
    assert promise.read(promise.written(kept)) == kept


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("alignzoo.model.loading:Loading", "alignzoo.model.choices:Loading"),
        ("alignzoo.model.loading:Lora", "alignzoo.model.choices:Lora"),
        ("alignzoo.model.wardrobe:Lora", "alignzoo.model.choices:Lora"),
        ("alignzoo.learning.ledger:Budget", "alignzoo.learning.choices:Budget"),
        ("alignzoo.learning.canaries:Watch", "alignzoo.learning.choices:Watch"),
        ("alignzoo.learning.intake:Limits", "alignzoo.learning.choices:Limits"),
        ("alignzoo.learning.rewards:Voice", "alignzoo.learning.choices:Voice"),
        ("alignzoo.lab.answering:read_prompts", "alignzoo.lab.prompts:read_prompts"),
    ],
)
def test_what_our_pages_named_is_found_where_it_stood(old: str, new: str) -> None:
    """Code that was copied from them goes on working."""
    assert pkgutil.resolve_name(old) is pkgutil.resolve_name(new)
