"""What cannot be set is refused as soon as it is set, in Python as in a run file, and by its name; what looks odd and may be
stands here."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import numpy as np
import pytest
from annotated_types import Ge, Gt, Le

from alignzoo.interfaces import Count, Manner, Share
from alignzoo.learning.choices import Limits, Voice, Watch
from alignzoo.limits import check_settings
from alignzoo.model.choices import Loading, Lora
from alignzoo.seam.discovery import discover
from alignzoo.seam.settings import SettingsError, build

ODD = (math.nan, math.inf, -math.inf, -1, 0, True, "1", None)

NOUGHT = {
    *("lam", "gamma", "kept", "approach", "coefficient", "target", "label_noise", "likelihood", "value_weight", "ptx"),
    *("margin", "centring", "caution", "held_out", "samples", "least_gain", "cql", "awac", "awac_beta", "beta1", "beta2"),
    *("weight_decay", "warmup", "top_k", "among", "desirable", "undesirable", "seed", "temperature", "min_p", "every", "pairs"),
    *("dropped", "contradictory", "thoughts", "clamp", "unread", "backoff", "per_minute", "price_in", "price_out"),
    "Steering.beta",
}
"""May be 0, which is nothing of it, or (of a temperature) greedy."""
NEVER_NOUGHT = {
    "ppo.gamma",
    "ilql.gamma",
    "expert-iteration.temperature",
    "Exploring.temperature",
    "context-distillation.held_out",
}
"""But not here."""
ANY = {"threshold", "cut", "unfinished_score", "weight", "at_most"}
"""Any number with an end: scores have no zero."""
ENDLESS = {"Watch.kl_limit", "Descent.clip"}
"""May be inf: never."""
OFF = {"threshold", "cut", "desirable", "undesirable", "stop_kl", "clip", "clip_high", "at_most", "most_cost", "most_requests"}
"""May be None, where that is the default."""


def may_be(kind: str, name: str, value: Any, default: Any) -> bool:
    """What of `ODD` is allowed."""
    if value is None:
        return name in OFF and default is None
    if value in (0, -1) and not isinstance(value, bool):
        nought = bool({name, f"{kind}.{name}"} & NOUGHT) and f"{kind}.{name}" not in NEVER_NOUGHT
        return name in ANY or (value == 0 and nought)
    return (f"{kind}.{name}" in ENDLESS and value == math.inf) or (isinstance(value, bool) and isinstance(default, bool))


OPTIMIZERS = {found.component.id: found for found in discover().components if found.component.kind == "optimizer"}


def example(name: str, folder: Path) -> Any:
    """The optimizer with its own defaults."""
    kind = OPTIMIZERS[name].load()
    if not any(f.name == "constitution" for f in fields(kind)):
        return kind()
    rules = folder / "rules.toml"
    rules.write_text('[[principle]]\nid = "short"\ntext = "Be short."\n', encoding="utf-8")
    return kind(constitution=str(rules))


def numeric(made: Any, name: str) -> Iterator[tuple[Any, str, str]]:
    """(settings, what they are called, setting) of every number and switch of these settings and of those within them."""
    hints = get_type_hints(type(made))
    for f in fields(made):
        if is_dataclass(getattr(made, f.name)):
            yield from numeric(getattr(made, f.name), type(getattr(made, f.name)).__name__)
        elif {"int", "float", "bool"} & set(str(hints[f.name]).replace("<class '", " ").replace("'>", " ").split()):
            yield made, name, f.name


def holds(made: Any, kind: str, name: str) -> list[str]:
    """Try every odd value of one setting, and say what was let through, refused, or refused without its name."""
    odd = (*ODD, 1.5) if type(getattr(made, name)) is int else ODD
    wrong = []
    for value in odd:
        allowed = value != 1.5 and may_be(kind, name, value, getattr(made, name))
        try:
            replace(made, **{name: value})
        except ValueError as error:
            if allowed or name not in str(error):
                wrong.append(f"{kind}.{name} = {value!r}: {error}")
        else:
            if not allowed:
                wrong.append(f"{kind}.{name} = {value!r} was taken")
    return wrong


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_an_optimizer_is_held_to_the_limits_of_each_number(name: str, tmp_path: Path) -> None:
    found = list(numeric(example(name, tmp_path), name))
    assert len(found) > 1, "there are numbers to be tried"
    assert [line for made, kind, setting in found for line in holds(made, kind, setting)] == []


@pytest.mark.parametrize("kind", [Manner, Lora, Loading, Watch, Limits, Voice])
def test_so_is_what_stands_beside_it(kind: type[Any]) -> None:
    found = list(numeric(kind(), kind.__name__))
    assert [line for made, name, setting in found for line in holds(made, name, setting)] == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temperature": 9e-7}, "temperature is 0, for greedy, or at least 1e-6; got 9e-07"),
        ({"stop": "yes"}, "stop is a list of texts, even of one: ('yes',)"),
        ({"stop": ("no", "")}, "an empty stop string would end every reply before it begins"),
        ({"stop": ("no", 3)}, "stop [1] must be text"),
        ({"temperature": 1e-6}, ""),
        ({"stop": ("yes", "no")}, ""),
    ],
)
def test_a_manner_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    if said:
        with pytest.raises(ValueError, match=re.escape(said)):
            Manner(**settings)
    else:
        assert Manner(**settings)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ppo", {"gamma": 2}),
        ("ppo", {"lam": 1.5}),
        ("ppo", {"clip": 1.0}),
        ("ppo", {"critic": "head"}),
        ("ppo", {"descent": {"lr": 1e-3}}),
        ("best-of-n", {"n": 1.5}),
        ("rloo", {"replies": 1}),
        ("grpo", {"replies": 1}),
        ("online-dpo", {"replies": 1}),
        ("expert-iteration", {"n": 1}),
        ("expert-iteration", {"share": 1.5}),
        ("nlpo", {"mask_top_p": 1.5}),
        ("reinforce-plus-plus", {"gamma": 1.5}),
        ("ilql", {"tau": 1}),
        ("ilql", {"alpha": 1.2}),
        ("ilql", {"hidden": (8, 0)}),
        ("ilql", {"hidden": 8}),
        ("dpo", {"label_noise": 0.5}),
        ("dpo", {"loss": "robust"}),
        ("dpo", {"per": "word"}),
        ("simpo", {"label_noise": 0.5}),
        ("bco", {"kept": 1.5}),
        ("kto", {"desirable": 0.0, "undesirable": 0.0}),
        ("bco", {"desirable": 0.0, "undesirable": 0.0}),
        ("sft", {"seed": 2**63}),
        ("reward-model", {"held_out": 1.0}),
    ],
)
def test_a_setting_that_cannot_be(name: str, settings: dict[str, Any]) -> None:
    """Under each name, in Python and in the table of a run file."""
    kind = OPTIMIZERS[name].load()
    with pytest.raises(ValueError, match=next(iter(settings))):
        kind(**settings)
    if settings != {"descent": {"lr": 1e-3}}:  # in a file this is how it is said
        with pytest.raises(SettingsError, match=next(iter(settings))):
            build(kind, {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()})


# By hand --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inner:
    depth: Count = 1


@dataclass(frozen=True)
class Settings:
    share: Share = 0.5
    most: Annotated[float, Gt(0), Le(math.inf)] = 1.0
    open: float = math.inf
    count: Annotated[int, Ge(1)] | None = None
    word: Literal["a", "b"] = "a"
    row: tuple[Count, ...] = ()
    two: tuple[int, str] = (1, "x")
    inner: Inner = Inner()
    path: Path = Path()
    name: str = ""

    def __post_init__(self) -> None:
        check_settings(self)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"share": 1.1}, "Settings: share must be at most 1; got 1.1"),
        ({"share": "half"}, "Settings: share must be a number; got 'half'"),
        ({"share": math.nan}, "Settings: share must be a finite number; got nan"),
        ({"most": 0}, "Settings: most must be greater than 0; got 0"),
        ({"open": -math.inf}, "Settings: open must be a finite number; got -inf"),
        ({"count": 0}, "Settings: count must be at least 1 or must be None; got 0"),
        ({"word": "c"}, "Settings: word must be 'a' or 'b'; got 'c'"),
        ({"row": (1, 0)}, "Settings: row [1] must be at least 1; got (1, 0)"),
        ({"row": 1}, "Settings: row must be a tuple; got 1"),
        ({"two": (1,)}, "Settings: two must hold 2; got (1,)"),
        ({"inner": {"depth": 2}}, "Settings: inner must be a Inner; got {'depth': 2}"),
        ({"name": None}, "Settings: name must be text; got None"),
        ({"share": 2, "name": 3}, "Settings: share must be at most 1; got 2\nSettings: name must be text; got 3"),
    ],
)
def test_what_is_said_of_it(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        Settings(**settings)


def test_what_may_be() -> None:
    """Whole numbers where a number is asked, numpy's own, an infinity that is the default or a limit, lists for tuples."""
    Settings(share=1, most=math.inf, open=math.inf, count=np.int64(3), row=[1, 2], two=(2, "y"), path="no path")  # type: ignore[arg-type]
