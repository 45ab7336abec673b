"""Mistakes in run and bench files are told before anything heavy is imported: by the sources of the components, which say what
the components themselves would say."""

from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from shelf import shelf_in
from test_cli_light import alignzoo

from alignzoo.lab.bench.benchfile import look
from alignzoo.seam.discovery import discover
from alignzoo.seam.settings import SettingsError, build
from alignzoo.seam.sketch import sketch
from alignzoo.seam.zoo import Found

RUN = """
name = "early"
[task]
use = "playground"
[model]
path = "there-is-no-such-model"
[feedback]
use = "playground"
kind = "{kind}"
[optimizer]
use = "dpo"
[judge]
use = "playground-gold"
"""
BENCH = RUN + '[[entry]]\nname = "a"\n[[entry]]\nname = "b"\noptimizer.use = "ipo"\n'
MISFIT = (
    "optimizer: optimizer:dpo/dpo needs comparisons, but feedback:playground/playground as it is set gives rating; set "
    'feedback.kind = "comparisons" or feedback.kind = "rankings", where its data has them'
)


def told(verb: tuple[str, ...], file: Path, text: str) -> list[str]:
    """The lines in which a command refuses a file; it has imported nothing heavy by then."""
    file.write_text(text)
    done = alignzoo(*verb[:1], str(file), *verb[1:], spy=True)
    *lines, heavy = done.stderr.splitlines()
    assert (done.returncode, done.stdout, heavy) == (2, "", "HEAVY []"), done.stderr
    return [line.removeprefix("alignzoo: ") for line in lines]


@pytest.mark.parametrize(
    "verb",
    [("run",), ("run", "--dry-run"), ("train",), ("collect", "--preview"), ("bench",), ("bench", "--dry-run")],
    ids=" ".join,
)
def test_an_impossible_pairing_is_refused_at_once(tmp_path: Path, verb: tuple[str, ...]) -> None:
    (line,) = told(verb, tmp_path / "early.toml", RUN.format(kind="thumbs"))
    assert MISFIT in line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["budget.labels=0"], ["budget.labels: must be greater than 0; got 0"]),
        (["optimizer.betta=1"], ["optimizer.betta: no such setting; did you mean 'beta'?"]),
        (["optimizer.beta=-1"], ["optimizer.beta: must be greater than 0; got -1"]),
        (["optimizer.descent.lr=fast"], ['optimizer.descent.lr: must be a number; got "fast"']),
        (["optimizer.use=dpp"], ["optimizer.use: no optimizer named 'dpp'; did you mean 'dpo'?"]),
        (["judgee.use=x"], ["judgee: no such setting; did you mean 'judge'?"]),
        (["feedback.use=helpsteer", "feedback.kind=none"], ['feedback.kind: must be "marks" or "preferences"; got "none"']),
        (["model.path=/no/such/folder"], ["model.path: there is no folder /no/such/folder"]),
        (["answer.file=nowhere.jsonl"], ["answer.file: there is no file nowhere.jsonl"]),
        (["seed=-1", "watch.every=-2"], ["seed: must be at least 0; got -1", "watch.every: must be at least 0; got -2"]),
    ],
    ids=" ".join,
)
def test_a_wrong_setting_is_told_at_once(tmp_path: Path, changes: list[str], words: list[str]) -> None:
    said = told(("run", *(f"--set={change}" for change in changes)), tmp_path / "early.toml", RUN.format(kind="comparisons"))
    assert [line.startswith(f"early.toml: {word}") for line, word in zip(said, words, strict=True)] == [True] * len(words), said


SWAPPED = RUN.format(kind="comparisons") + '[[reward]]\nuse = "length"\nfree = 3\n'


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        (
            ["feedback.use=shp"],
            'feedback: --set feedback.use=shp leaves in [feedback] what is there for "playground" (kind); '
            "--set 'feedback={use=\"shp\"}' puts a table in the place of it",
        ),
        (
            ["optimizer.use='kto'", "optimizer.beta=0.2"],
            'optimizer: --set optimizer.use=kto leaves in [optimizer] what is there for "dpo" (likelihood); '
            "--set 'optimizer={use=\"kto\"}' puts a table in the place of it",
        ),
        (
            ["reward.0.use=sentiment"],
            'reward.0: --set reward.0.use=sentiment leaves in [reward.0] what is there for "length" (free); '
            "--set 'reward.0={use=\"sentiment\"}' puts a table in the place of it",
        ),
    ],
    ids=str,
)
def test_settings_left_of_another_component_are_told_with_what_replaces_them(
    tmp_path: Path, changes: list[str], hint: str
) -> None:
    file = SWAPPED.replace('use = "dpo"', 'use = "dpo"\nlikelihood = 0.2')
    *wrong, last = told(("run", *(f"--set={change}" for change in changes)), tmp_path / "early.toml", file)
    assert wrong
    assert all("no such setting" in line for line in wrong)
    assert last == f"early.toml: {hint}"


@pytest.mark.parametrize(
    "changes",
    [
        ["optimizer.use=dpo", "optimizer.betta=1"],  # the same one
        ["feedback.use=shp", "feedback.kind=none"],  # what is wrong was set beside it
        ["feedback={use='shp', kind='none'}"],
        ["optimizer.use=kto", "optimizer.betta=1"],
    ],
    ids=str,
)
def test_what_is_wrong_for_another_reason_has_no_such_hint(tmp_path: Path, changes: list[str]) -> None:
    (line,) = told(("run", *(f"--set={change}" for change in changes)), tmp_path / "early.toml", RUN.format(kind="comparisons"))
    assert "no such setting" in line


def test_what_the_entries_of_a_bench_have_in_common_is_told_once(tmp_path: Path) -> None:
    def said(*changes: str, kind: str = "comparisons") -> list[str]:
        return told(("bench", *changes), tmp_path / "early.toml", BENCH.format(kind=kind))

    assert said("--set=budget.labels=0") == ["early.toml: budget.labels: must be greater than 0; got 0"]
    (one, other) = said(kind="thumbs")
    assert one.startswith(f"early.toml: entry 'a': {MISFIT}")
    assert other.startswith("early.toml: entry 'b': optimizer: optimizer:dpo/ipo needs comparisons")
    assert said("--jobs=0") == ["--jobs counts processes, 1 or more; got 0"]
    (line,) = said("--set=entry.1.optimizer.batch_sise=1")
    assert line == "early.toml: entry 'b': optimizer.batch_sise: no such setting; did you mean 'batch_size'?"


def test_a_broken_plugin_is_left_to_the_second_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is its entry's misfortune, and the others' bench goes on."""
    shelf_in(tmp_path, monkeypatch).put("bad", "1 / 0")
    file = tmp_path / "early.toml"
    file.write_text(BENCH.format(kind="comparisons") + '[[entry]]\nname = "x"\noptimizer.use = "bad"\n')
    look(file)
    with pytest.raises(SettingsError, match=r"entry 'x': optimizer\.use: no optimizer named 'baad'"):
        look(file, ["entry.2.optimizer.use=baad"])


def components() -> list[Any]:
    return [pytest.param(found, id=found.full_name) for found in discover().components if found.distribution == "alignzoo"]


@pytest.mark.parametrize("found", components())
def test_a_sketch_is_the_component_as_far_as_it_goes(found: Found) -> None:
    """Bundled ones say all they have plainly: the same fields with the same types; where a default is computed, anything."""
    drawn, real = sketch(found.component.object), found.load()
    assert drawn is not None
    sides = [{f.name: f for f in dataclasses.fields(side) if f.init} for side in (drawn, real)]
    assert list(sides[0]) == list(sides[1])
    hints = [get_type_hints(side, include_extras=True) for side in (drawn, real)]
    for name in sides[0]:
        ours, theirs = (hint[name] for hint in hints)
        assert ours is Any or dataclasses.is_dataclass(ours) or ours == theirs, name
    said = {name: value for name, value in vars(drawn).items() if name in ("needs", "gives", "asks") and value}
    assert said == {name: vars(real)[name] for name in said}


PAGE = """
from dataclasses import InitVar, dataclass, field
import math
from typing import Annotated, Any, ClassVar, Literal, Optional

from annotated_types import Ge, Gt, Interval, Le

Rate = Annotated[float, Gt(0)]
MOST = 7


@dataclass(frozen=True)
class Inner:
    width: int
    deep: bool = False


@dataclass
class Plain:
    needs: ClassVar[tuple[str, ...]] = ("ratings",)
    must: Rate
    \"\"\"A word.\"\"\"
    way: Literal["a", "b"] = "a"
    most: Annotated[int, Ge(1), Interval(lt=9)] = MOST
    inner: Inner = Inner(3, deep=True)
    perhaps: Optional[int] = None
    endless: Annotated[float, Le(math.inf)] = 1.0
    worked_out: Annotated[int, Ge(len("abc"))] = 3
    either: "int | str" = 2
    row: tuple[float, ...] = ()
    odd: dict[str, list[set[int]]] = field(default_factory=dict)
    computed: int = len("abc")

    def improve(self): ...


@dataclass
class Below(Inner):
    more: int = 1


@dataclass
class Sometimes:
    if MOST > 3:
        hidden: int = 1


@dataclass
class Early:
    given: InitVar[int]


class Bare:
    beta: float = 0.1
"""


def test_a_sketch_says_no_more_than_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sketched_page.py").write_text(PAGE)
    (tmp_path / "sketched_wrong.py").write_text("def :")
    monkeypatch.syspath_prepend(str(tmp_path))
    for none in ("Below", "Sometimes", "Early", "Bare", "Nobody"):
        assert sketch(f"sketched_page:{none}") is None, none
    assert sketch("sketched_wrong:Plain") is None
    assert sketch("sketched_nowhere:Plain") is None
    plain = sketch("sketched_page:Plain")
    assert plain is not None
    assert plain.needs == ("ratings",)
    made = build(plain, {"must": 1, "inner": {"width": 5}, "odd": [1], "computed": "x", "either": "y", "perhaps": "none"})
    assert (made.must, made.way, made.most, made.row, made.odd, made.computed) == (1.0, "a", 7, (), [1], "x")
    assert (made.inner.width, made.inner.deep) == (5, True)
    assert build(plain, {"must": 1}).inner.width == 3
    assert build(plain, {"must": 1, "endless": math.inf}).endless == math.inf
    assert build(plain, {"must": 1, "worked_out": "x"}).worked_out == "x", (
        "a limit that is not said plainly: anything may be right"
    )
    with pytest.raises(SettingsError) as caught:
        build(plain, {"way": "c", "most": 9, "inner": {"wide": 1}, "perhaps": 1.5, "row": [1, "x"]})
    said = str(caught.value)
    assert len(caught.value.problems) == 6, said
    for word in (
        "must: missing",
        "way: must be",
        "most: must be less than 9",
        "inner.wide: no such setting",
        "perhaps: must be",
    ):
        assert word in said
    assert "sketched_page" not in sys.modules
