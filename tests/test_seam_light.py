"""What a listing is made of does what the slower thing does that it stands for, or leaves it to that."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pluggy
import pytest
import tomli_w
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alignzoo.cli.parser import parsed
from alignzoo.cli.plain import QUICK, plainly
from alignzoo.seam import hookspecs, registry
from alignzoo.seam.calling import caller, manager
from alignzoo.seam.hookspecs import Component, hookimpl
from alignzoo.seam.installed import Entry, normal
from alignzoo.seam.light import dataclass
from alignzoo.seam.plainly import tables
from alignzoo.seam.vetting import KINDS

# Dataclasses -------------------------------------------------------------------------------------------------------------


def both() -> tuple[Any, Any]:
    """The same class, marked by the quick and by the slow decorator."""

    def made(mark: Any) -> Any:
        class Point:
            """A point."""

            x: int
            y: int = 2
            """Up."""

            def __post_init__(self) -> None:
                if self.x < 0:
                    raise ValueError("left of all")

            @property
            def sum(self) -> int:
                return self.x + self.y

        return mark(frozen=True)(Point)

    return made(dataclass), made(dataclasses.dataclass)


USES: dict[str, Any] = {
    "made by place": lambda of: vars(of(1, 3)),
    "made by name": lambda of: vars(of(y=3, x=1)),
    "made with defaults": lambda of: vars(of(1)),
    "checked": lambda of: of(-1),
    "read": lambda of: (of(1).x, of(1).y, of(1).sum),
    "equal": lambda of: (of(1) == of(1, 2), of(1) == of(2), of(1) != of(1), of(1) == 1),
    "hashed": lambda of: len({of(1), of(1, 2), of(3)}),
    "printed": lambda of: repr(of(1)).rpartition(".")[2],
    "changed": lambda of: setattr(of(1), "x", 2),
    "given more": lambda of: setattr(of(1), "z", 2),
    "emptied": lambda of: delattr(of(1), "x"),
    "its fields": lambda of: [(f.name, f.default, f.type) for f in dataclasses.fields(of)],
    "is one": lambda of: (dataclasses.is_dataclass(of), dataclasses.is_dataclass(of(1))),
    "as a table": lambda of: dataclasses.asdict(of(1)),
    "replaced": lambda of: vars(dataclasses.replace(of(1), y=5)),
    "copied": lambda of: vars(copy.deepcopy(of(1))),
    "no argument": lambda of: of(),
    "one too many": lambda of: of(1, 2, 3),
    "an unknown one": lambda of: of(1, z=3),
    "twice the same": lambda of: of(1, x=3),
    "matched": lambda of: of.__match_args__,
    "documented": lambda of: of.__doc__,
}


def outcome(use: Any, of: Any) -> Any:
    try:
        return use(of)
    except Exception as error:
        return type(error), str(error).replace("both.<locals>.made.<locals>.Point.", "")


@pytest.mark.parametrize("first", USES)
@pytest.mark.parametrize("then", ["made by place", "equal", "printed", "its fields", "no argument", "changed"])
def test_a_quick_dataclass_is_what_a_slow_one_is_whatever_is_asked_of_it_first(first: str, then: str) -> None:
    quick, slow = both()
    old = quick(1), slow(1)  # made before anything was asked
    assert outcome(USES[first], quick) == outcome(USES[first], slow)
    assert outcome(USES[then], quick) == outcome(USES[then], slow)
    assert (old[0] == quick(1), old[1] == slow(1)) == (True, True)


def test_a_component_is_a_dataclass_to_everybody() -> None:
    one = Component("optimizer", "x", "x:X", "does x")
    assert [f.name for f in dataclasses.fields(one)][:3] == ["kind", "id", "object"]
    assert dataclasses.replace(one, id="y").id == "y"
    assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.id = "z"  # type: ignore[misc]


def test_the_kinds_stand_in_the_contract_as_they_are() -> None:
    from alignzoo.seam.surface import surface

    assert get_args(hookspecs.Kind) == KINDS
    assert surface()["alignzoo.seam.hookspecs.Kind"].said == f"Literal{list(KINDS)}"
    with pytest.raises(ImportError, match="Kinds"):
        from alignzoo.seam.hookspecs import Kinds  # type: ignore[attr-defined]  # noqa: F401


# Hooks -------------------------------------------------------------------------------------------------------------------

ENTRY = Entry("x", "zoo_x", "zoo-x", "1.0")


@pytest.mark.parametrize("options", [{}, {"specname": "alignzoo_components"}, {"tryfirst": True}, {"wrapper": True}])
def test_our_marks_are_pluggys(options: dict[str, Any]) -> None:
    def hook() -> None: ...

    def same() -> None: ...

    ours, theirs = hookimpl(**options)(hook), pluggy.HookimplMarker("alignzoo")(**options)(same)
    assert vars(ours) == vars(theirs)
    assert hookspecs.hookspec(hook) is hook
    assert vars(hook)["alignzoo_spec"] == vars(pluggy.HookspecMarker("alignzoo")(same))["alignzoo_spec"]
    with pytest.raises(TypeError, match="a hook has no option 'firstly'"):
        hookimpl(firstly=True)


def hooks(source: str) -> ModuleType:
    module = ModuleType("zoo_x")
    exec("import functools, pluggy\nfrom alignzoo.seam.hookspecs import hookimpl\n" + source, vars(module))
    return module


WAYS = {
    "a generator": "@hookimpl\ndef alignzoo_components():\n    yield 1\n    yield 2\n",
    "a list": "@hookimpl\ndef alignzoo_components():\n    return [1, 2]\n",
    "nothing": "@hookimpl\ndef alignzoo_components():\n    return None\n",
    "pluggy's own mark": "@pluggy.HookimplMarker('alignzoo')\ndef alignzoo_components():\n    return [3]\n",
    "another name": "@hookimpl(specname='alignzoo_components')\ndef mine():\n    return [4]\n",
    "two of them": "@hookimpl\ndef alignzoo_components():\n    return [1]\n"
    "@hookimpl(specname='alignzoo_components')\ndef more():\n    return [2]\n",
    "a default": "@hookimpl\ndef alignzoo_components(more=5):\n    return [more]\n",
    "wrapped": "def f(x):\n    return [x]\n@hookimpl\n@functools.wraps(f)\ndef alignzoo_findings():\n    return f(6)\n",
    "a wrapper": "@hookimpl\ndef alignzoo_components():\n    return [1]\n"
    "@hookimpl(wrapper=True, specname='alignzoo_components')\ndef more():\n    return [(yield), [7]]\n",
    "an object": "class C:\n    alignzoo_impl = {}\n    def __call__(self):\n        return [8]\nalignzoo_components = C()\n",
    "run hooks": "@hookimpl\ndef alignzoo_run_updated(update):\n    1\n@hookimpl\ndef alignzoo_components():\n    return [9]\n",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_hook_answers_as_pluggy_would_have_it(way: str) -> None:
    module = hooks(WAYS[way])
    named = [name for name in vars(module) if isinstance(getattr(vars(module)[name], "alignzoo_impl", None), dict)]
    specs = {name: vars(module)[name].alignzoo_impl.get("specname") or name for name in named}

    def answers(call: Any) -> Any:
        return [[list(answer) for answer in call(hook)] for hook in ("alignzoo_components", "alignzoo_commands")]

    try:
        true = manager(module, "x")
    except pluggy.PluginValidationError:
        with pytest.raises(Exception, match="wrong signature"):
            caller(module, specs, ENTRY)
        return
    assert answers(caller(module, specs, ENTRY)) == answers(lambda hook: getattr(true.hook, hook)())


# TOML --------------------------------------------------------------------------------------------------------------------

WORDS = st.text(st.sampled_from('ab-_ ,"[]=#\\\n\té'), max_size=6)
LISTS = ("components", "needs")


def flat(table: dict[str, Any], heading: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """What `tomllib` reads, as `tables` gives it: each table with what it says itself."""
    below = {key: value for key, value in table.items() if isinstance(value, dict) or (value and isinstance(value[0], dict))}
    yield heading, {key: tuple(v) if isinstance(v, list) else v for key, v in table.items() if key not in below}
    for key, value in below.items():
        name = f"{heading}.{key}".strip(".")
        rows = value if isinstance(value, list) else [value]
        yield from (one for row in rows for one in flat(row, name) if isinstance(value, list) or one[0] != name)


@given(st.lists(st.dictionaries(st.sampled_from(["id", "re-po", *LISTS]), WORDS | st.lists(WORDS, max_size=3), max_size=3)))
@settings(deadline=None)
def test_what_is_read_plainly_is_what_it_says(rows: list[dict[str, Any]]) -> None:
    text = tomli_w.dumps({"plugin": rows}) if rows else ""
    read = tables(text.encode(), LISTS)
    assert read is None or read == list(flat(tomllib.loads(text)))


LINES = st.sampled_from(
    [
        *('a = "x"', 'b = "y"', 'a = "x" # why', "a = 'x'", 'a = """', '"""', "a = 1", 'needs = ["x", "y"]', "needs = []"),
        *(
            "needs = [",
            "[[plugin.release]]",
            '    "x",',
            '    "x", "y",',
            '    "x"',
            "]",
            "# note",
            "",
            "[[plugin]]",
            "[plugin]",
            "[[b.c]]",
            "[[a]]",
            "[[plugin.a]]",
            "[[needs]]",
            " a = 1",
        ),
        *('a= "x"', 'a = ""', 'a = "x\\n"', 'a.b = "x"', '"a" = "x"', 'é = "x"', 'needs = ["x" , "y"]', 'needs = ["x, y"]'),
        *('needs = ["x", "y",]', 'needs = "x"', 'a = ["x"]', 'a = "\x7f"', 'a = "x"\r', "[[ plugin ]]", 'needs = ["", ""]'),
    ]
)


@given(st.lists(LINES, max_size=6))
@example(["[[ plugin ]]"])
@example(["[[plugin.release]]", "[[plugin]]"])
@example(['a = "x"', "[[a]]"])
@settings(deadline=None, max_examples=400)
def test_whatever_is_not_plain_is_left_to_tomllib(lines: list[str]) -> None:
    text = "\n".join(lines)
    read = tables(text.encode(), LISTS)
    try:
        true = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assert read is None
        return
    if read is not None:
        assert sorted(read, key=str) == sorted(flat(true), key=str)


def test_the_registry_that_we_ship_is_read_plainly_and_as_strictly() -> None:
    written = Path(registry.home()).read_bytes()
    assert registry._plainly(written) == registry._strict(written, "registry.toml")
    assert len(registry.read().plugin) > 15


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('tier = "community"', 'tier = "comunity"'), "did you mean 'community'?"),
        (('id = "x"', 'idd = "x"'), "no such setting; did you mean 'id'?"),
        (('components = ["optimizer:x"]', 'components = "optimizer:x"'), "must be a list"),
        (('license = "MIT"\n', ""), "license: missing"),
        (('license = "MIT"', "license = MIT"), "not TOML"),
        (('[[plugin]]', '[[plugin.release]]\nversion = "1"\n[[plugin]]'), "not TOML"),
        (('[[plugin]]', '[[plugins]]'), "no such setting; did you mean 'plugin'?"),
        (('["X"]', '["X"]\n[[revoked]]\nreason = "bad"'), "names a dist"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_plain_registry_is_told_as_strictly(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    good = (
        '[[plugin]]\nid = "x"\ndist = "zoo-x"\ntier = "community"\nsummary = "Does x"\ncomponents = ["optimizer:x"]\n'
        'license = "MIT"\nrepo = "https://example.org"\nmaintainers = ["X"]\n'
    )
    (tmp_path / "registry.toml").write_text(good)
    assert registry.read(str(tmp_path / "registry.toml")).plugin[0].id == "x"
    (tmp_path / "registry.toml").write_text(good.replace(*change))
    assert registry._plainly((tmp_path / "registry.toml").read_bytes()) is None
    with pytest.raises(registry.RegistryError) as error:
        registry.read(str(tmp_path / "registry.toml"))
    assert words in str(error.value)


@given(st.text(st.sampled_from("aB.-_"), max_size=7))
def test_a_distributions_name_is_compared_as_indexes_do(name: str) -> None:
    from packaging.utils import canonicalize_name

    assert normal(name) == canonicalize_name(name)


# The command line --------------------------------------------------------------------------------------------------------

SAID = st.sampled_from(
    [
        *(
            "--json",
            "--kind",
            "reward",
            "optimizer",
            "--kind=reward",
            "--accepts",
            "prompts",
            "--plugin",
            "x.py",
            "word",
            "two",
        ),
        *("--registry", "-h", "--help", "--", "-x", "--jso", "", "a b", "-1", "--kin", "--version"),
    ]
)


@given(st.sampled_from(QUICK), st.lists(SAID, max_size=5))
@settings(deadline=None, max_examples=400)
def test_a_plain_command_line_says_what_argparse_reads(verb: str, words: list[str]) -> None:
    plain = plainly([verb, *words])
    if plain is not None:
        assert vars(plain) == vars(parsed([verb, *words]))


def test_an_option_is_given_twice_and_a_choice_is_one_of_those_there_are() -> None:
    words = ["list", "--plugin", "a.py", "--plugin", "b.py"]
    assert vars(plainly(words) or 0) == vars(parsed(words))
    assert vars(parsed(words))["plugins"] == ["a.py", "b.py"]
    assert plainly(["list", "--kind", "nobody"]) is None


@pytest.mark.parametrize(
    "words",
    [["list"], ["list", "--kind", "reward", "--json"], ["search"], ["search", "two", "words", "--registry", "x"]],
)
def test_the_usual_command_lines_are_plain(words: list[str]) -> None:
    assert plainly(words) is not None
    assert plainly([*words, "--help"]) is None
