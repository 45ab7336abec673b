"""A table of a run file becomes a frozen dataclass, or says everything that is wrong with it."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
import tomli_w
from annotated_types import Ge, Gt, Interval, Le, Len, MinLen, MultipleOf, Predicate
from hypothesis import given
from hypothesis import strategies as st

from alignzoo.interfaces import Manner, Share
from alignzoo.seam.described import Setting, describe
from alignzoo.seam.settings import SettingsError, build, override, table_of

Rate = Annotated[float, Gt(0)]


@dataclass(frozen=True)
class Descent:
    rate: Rate = 1e-3  # how far a step goes
    clip: Annotated[float, Gt(0)] | None = 1.0


@dataclass(frozen=True)
class Linear:
    to: float = 0.0


@dataclass(frozen=True)
class Cosine:
    cycles: int = 1


@dataclass(frozen=True)
class Algorithm:
    needs: ClassVar[tuple[str, ...]] = ("comparisons",)
    beta: Annotated[float, Gt(0)] = 0.1
    """How far from the reference
    the policy may go."""
    loss: Literal["sigmoid", "hinge"] = "sigmoid"
    descent: Descent = Descent(rate=5e-4)
    manner: Manner = Manner()
    epochs: Annotated[int, Ge(1)] = 1
    shuffle: bool = True
    share: Share = 0.5
    sizes: tuple[Annotated[int, Ge(1)], ...] = (1, 2)
    pair: tuple[int, str] = (1, "x")
    weights: Mapping[str, float] = field(default_factory=dict)
    stages: Annotated[tuple[Descent, ...], MinLen(1)] = (Descent(),)
    schedule: Linear | Cosine = Linear()
    length: int | Literal["auto"] = "auto"
    corpus: Path = Path("votes.jsonl")
    note: str | None = None

    def __post_init__(self) -> None:
        if self.loss == "hinge" and self.epochs > 5:
            raise ValueError("the hinge loss does not last more than 5 epochs")


def problems(table: dict[str, Any], kind: type[Any] = Algorithm) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as error:
        build(kind, table, "optimizer", file="run.toml")
    return error.value.problems


def test_nothing_said_is_every_default() -> None:
    assert build(Algorithm, {}) == Algorithm()


def test_everything_said_arrives_in_its_type() -> None:
    said = """
    beta = 1
    loss = "hinge"
    epochs = 3
    shuffle = false
    sizes = [4]
    pair = [7, "y"]
    length = 12
    corpus = "a/b.jsonl"
    note = "tried"
    weights = { helpful = 1, harmless = 0.5 }
    descent = { rate = 0.1, clip = "none" }
    schedule = { cycles = 2 }
    stages = [{ rate = 1 }, {}]
    """
    made = build(Algorithm, tomllib.loads(said))
    assert made == Algorithm(
        beta=1.0,
        loss="hinge",
        epochs=3,
        shuffle=False,
        sizes=(4,),
        pair=(7, "y"),
        length=12,
        corpus=Path("a/b.jsonl"),
        note="tried",
        weights={"helpful": 1.0, "harmless": 0.5},
        descent=Descent(0.1, None),
        schedule=Cosine(2),
        stages=(Descent(1.0), Descent()),
    )
    assert type(made.beta) is float
    assert type(made.weights["helpful"]) is float


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"betta": 1}, "optimizer.betta: no such setting; did you mean 'beta'?"),
        ({"beta": -1}, "optimizer.beta: must be greater than 0; got -1"),
        ({"beta": math.nan}, "optimizer.beta: must be a number; got nan"),
        ({"beta": math.inf}, "optimizer.beta: must be a number with an end; got inf"),
        ({"descent": {"rate": -math.inf}}, "optimizer.descent.rate: must be a number with an end; got -inf"),
        ({"weights": {"a": math.inf}}, "optimizer.weights.a: must be a number with an end; got inf"),
        ({"beta": 10**400}, "optimizer.beta: must be below 2⁶³ in size; got a number of 1329 bits"),
        ({"epochs": 2**63}, "optimizer.epochs: must be below 2⁶³ in size; got a number of 64 bits"),
        ({"epochs": 16**5000}, "optimizer.epochs: must be below 2⁶³ in size; got a number of 20001 bits"),
        ({"beta": "0,1"}, 'optimizer.beta: must be a number; got "0,1"'),
        ({"beta": True}, "optimizer.beta: must be a number; got true"),
        ({"epochs": True}, "optimizer.epochs: must be a whole number; got true"),
        ({"epochs": 2.0}, "optimizer.epochs: must be a whole number; got 2.0; write 2"),
        ({"epochs": 0}, "optimizer.epochs: must be at least 1; got 0"),
        ({"shuffle": 1}, "optimizer.shuffle: must be true or false; got 1"),
        ({"share": 1.5}, "optimizer.share: must be at most 1; got 1.5"),
        ({"loss": "hing"}, 'optimizer.loss: must be "sigmoid" or "hinge"; got "hing"; did you mean \'hinge\'?'),
        ({"descent": {"rte": 1}}, "optimizer.descent.rte: no such setting; did you mean 'rate'?"),
        ({"descent": {"rate": 0}}, "optimizer.descent.rate: must be greater than 0; got 0"),
        ({"descent": {"clip": "non"}}, 'optimizer.descent.clip: must be a number or "none"; got "non"'),
        ({"descent": {"clip": -2.0}}, "optimizer.descent.clip: must be greater than 0; got -2.0"),
        ({"descent": 3}, "optimizer.descent: must be a table; got 3"),
        ({"sizes": 3}, "optimizer.sizes: must be a list; got 3"),
        ({"sizes": [1, 0]}, "optimizer.sizes[1]: must be at least 1; got 0"),
        ({"pair": [1]}, "optimizer.pair: must be a list of 2; got 1"),
        ({"weights": {"a": "b"}}, 'optimizer.weights.a: must be a number; got "b"'),
        ({"weights": 1}, "optimizer.weights: must be a table; got 1"),
        ({"stages": []}, "optimizer.stages: must hold at least 1; got []"),
        ({"stages": [{}, {"rate": 0}]}, "optimizer.stages[1].rate: must be greater than 0; got 0"),
        ({"schedule": {}}, "optimizer.schedule: can mean a table (Linear) and a table (Cosine)"),
        ({"schedule": {"cyles": 1}}, "optimizer.schedule: must be a table (Linear) or a table (Cosine); got a table"),
        ({"length": "all"}, 'optimizer.length: must be a whole number or "auto"; got "all"'),
        ({"corpus": 1}, "optimizer.corpus: must be a path; got 1"),
        ({"note": 1}, 'optimizer.note: must be text or "none"; got 1'),
        ({"loss": "hinge", "epochs": 6}, "optimizer: the hinge loss does not last more than 5 epochs"),
    ],
)
def test_each_mistake_says_what_where_and_what_to_do(table: dict[str, Any], message: str) -> None:
    (problem,) = problems(table)
    assert problem.startswith(f"run.toml: {message}")


def test_all_mistakes_of_a_table_come_together() -> None:
    found = problems({"betta": 1, "epochs": 0, "descent": {"rate": "x", "clap": 1}})
    assert [problem.split(": ")[1] for problem in found] == [
        "optimizer.betta",
        "optimizer.descent.clap",
        "optimizer.descent.rate",
        "optimizer.epochs",
    ]


def test_a_setting_without_default_must_be_there() -> None:
    @dataclass(frozen=True)
    class Needy:
        path: str

    assert problems({}, Needy) == ("run.toml: optimizer.path: missing, and it has no default",)
    with pytest.raises(SettingsError, match=r"^path: missing"):
        build(Needy, {})


@dataclass(frozen=True)
class Limited:
    even: Annotated[int, MultipleOf(2)] = 2
    few: Annotated[tuple[int, ...], Len(1, 2)] = (1,)
    word: Annotated[str, Predicate(str.islower)] = "a"
    open: Annotated[float, Interval(gt=0, lt=1)] = 0.5


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"even": 3}, "multiple of 2"),
        ({"few": [1, 2, 3]}, "at most 2"),
        ({"word": "A"}, "islower"),
        ({"open": 1}, "less than 1"),
    ],
)
def test_every_kind_of_limit(table: dict[str, Any], words: str) -> None:
    assert words in problems(table, Limited)[0]


@dataclass(frozen=True)
class Unions:
    number: float | int = 1
    word: str | None = None
    level: Literal[1, 2] = 1


def test_a_union_takes_the_arm_that_fits_exactly() -> None:
    assert type(build(Unions, {"number": 2}).number) is int
    assert type(build(Unions, {"number": 2.0}).number) is float
    assert build(Unions, {"word": "none"}).word == "none"


def test_true_is_not_one() -> None:
    assert problems({"level": True}, Unions) == ("run.toml: optimizer.level: must be 1 or 2; got true",)


def test_a_type_that_toml_cannot_say_is_a_mistake_of_the_author() -> None:
    @dataclass(frozen=True)
    class Odd:
        thing: complex = 1j

    with pytest.raises(TypeError, match="thing: settings cannot be of the type"):
        build(Odd, {"thing": 1})


rates = st.floats(min_value=1e-9, allow_nan=False, allow_infinity=False)
descents = st.builds(Descent, rate=rates, clip=st.none() | rates)
algorithms = st.builds(
    Algorithm,
    beta=rates,
    descent=descents,
    epochs=st.integers(1, 5),
    share=st.floats(0, 1),
    sizes=st.lists(st.integers(1, 99)).map(tuple),
    pair=st.tuples(st.integers(-9, 9), st.text(max_size=5)),
    weights=st.dictionaries(st.text("abc", min_size=1), st.floats(allow_nan=False, allow_infinity=False)),
    stages=st.lists(descents, min_size=1, max_size=3).map(tuple),
    schedule=st.builds(Linear, st.floats(allow_nan=False, allow_infinity=False)) | st.builds(Cosine, st.integers(0, 9)),
    length=st.integers(0, 9) | st.just("auto"),
    corpus=st.sampled_from([Path("a"), Path("/b/c.jsonl")]),
    note=st.none() | st.text(max_size=5),
)


@given(algorithms)
def test_settings_come_back_equal_from_toml(made: Algorithm) -> None:
    table = table_of(made)
    assert build(Algorithm, tomllib.loads(tomli_w.dumps(table))) == made
    assert table["descent"].keys() == {"rate", "clip"}


def test_none_that_would_be_read_as_text_is_not_written() -> None:
    @dataclass(frozen=True)
    class Said:
        note: str | None = "something"

    assert "note" not in table_of(Algorithm())
    with pytest.raises(SettingsError, match="note: None cannot be written here"):
        table_of(Said(note=None))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("a.b=0.2", 0.2),
        ("a.b=-1e-5", -1e-5),
        ("a.b=true", True),
        ('a.b="1"', "1"),
        ("a.b=dpo", "dpo"),
        ("a.b=optimizer:x/dpo", "optimizer:x/dpo"),
        ("a.b=./votes.jsonl", "./votes.jsonl"),
        ("a.b=[1, 2]", [1, 2]),
        ("a.b = {c = 1}", {"c": 1}),
    ],
)
def test_an_override_reads_its_value_as_toml_and_bare_words_as_text(setting: str, value: object) -> None:
    table: dict[str, Any] = {"a": {"b": 1, "c": 2}, "d": 3}
    assert override(table, setting) == {"a": {"b": value, "c": 2}, "d": 3}
    assert table == {"a": {"b": 1, "c": 2}, "d": 3}


def test_an_override_makes_tables_and_reaches_into_lists() -> None:
    assert override({}, "optimizer.descent.rate=1") == {"optimizer": {"descent": {"rate": 1}}}
    assert override({"s": [{"a": 1}, {"a": 2}]}, "s.1.a=9") == {"s": [{"a": 1}, {"a": 9}]}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("beta", "write it as table.name=value, for example optimizer.beta=0.2"),
        ("a..b=1", "write it as table.name=value"),
        ("a.b=[1", "the value is not TOML"),
        ("a.b=", "the value is not TOML"),
        ("a.b=1\nc = 2", "one setting at a time"),
        ("d.x=1", "'d' is 3, not a table"),
        ("s.4.a=1", "'s' is a list of 1; '4' is not in it"),
    ],
)
def test_a_bad_override_says_so(setting: str, message: str) -> None:
    with pytest.raises(SettingsError) as error:
        override({"a": {"b": 1}, "d": 3, "s": [{}]}, setting)
    assert message in str(error.value)


def test_a_description_follows_aliases_nested_settings_and_words() -> None:
    shown = {setting.name: setting for setting in describe(Algorithm)}
    assert "needs" not in shown
    doc = "How far from the reference the policy may go."
    assert shown["beta"] == Setting("beta", "float", "0.1", "> 0", doc)
    assert shown["loss"] == Setting("loss", '"sigmoid" | "hinge"', '"sigmoid"', "", "")
    assert shown["descent.rate"] == Setting("descent.rate", "float", "0.0005", "> 0", "how far a step goes")
    assert shown["descent.clip"] == Setting("descent.clip", "float | None", "1.0", "> 0", "")
    assert shown["manner.top_p"] == Setting("manner.top_p", "float", "1.0", "> 0, <= 1", "")
    assert shown["share"] == Setting("share", "float", "0.5", ">= 0, <= 1", "")
    assert shown["sizes"] == Setting("sizes", "tuple[int, ...]", "(1, 2)", ">= 1", "")
    assert shown["weights"].default == "dict()"
    assert shown["schedule"].type == "Linear | Cosine"


def test_a_description_has_what_can_be_built() -> None:
    names = {setting.name.partition(".")[0] for setting in describe(Algorithm)}
    assert names == {*table_of(Algorithm()), "note"}


@dataclass(frozen=True)
class Inner:
    rate: float = 1.0
    warm: int = 0


@dataclass(frozen=True)
class Outer:
    inner: Inner = Inner(rate=5.0, warm=3)


def test_a_nested_table_keeps_the_defaults_that_the_outer_one_chose() -> None:
    assert build(Outer, {"inner": {"warm": 7}}) == Outer(Inner(rate=5.0, warm=7))


def test_an_infinite_number_is_taken_where_it_is_meant() -> None:
    @dataclass(frozen=True)
    class Patient:
        wait: float = math.inf
        limit: Annotated[float, Le(math.inf)] = 1.0
        share: Annotated[float, Interval(ge=0, le=math.inf)] = 0.5
        least: Annotated[float, Ge(0)] = 0.0

    given = {"wait": math.inf, "limit": math.inf, "share": math.inf}
    assert build(Patient, given) == Patient(**given)
    for wrong in ({"wait": -math.inf}, {"least": math.inf}, {"limit": -math.inf}):
        with pytest.raises(SettingsError, match="must be a number with an end"):
            build(Patient, wrong)
