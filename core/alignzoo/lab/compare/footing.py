"""Whether contestants stand on the same ground: what cannot be compared is refused, and of what differs a reader is warned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from alignzoo.lab.compare.backing import unlike
from alignzoo.lab.compare.duels import Entrant
from alignzoo.lab.compare.jury import jurors
from alignzoo.lab.compare.played import Played
from alignzoo.lab.statistics import FEW_PROMPTS


class CompareError(ValueError):
    """Runs that cannot stand side by side."""


def one_judge(runs: Sequence[Played]) -> str:
    """Who has judged all of these runs. His settings must be the same, too; of those that only one of two runs knows, the other
    is older than they are."""
    judges = sorted({run.settings["judge"]["use"] for run in runs})
    if len(judges) > 1:
        raise CompareError(f"they were judged by {listed(judges)}; their figures cannot be compared")
    first = runs[0].settings["judge"]
    for run in runs[1:]:
        other = run.settings["judge"]
        if odd := sorted(name for name in first.keys() & other.keys() if name != "seed" and first[name] != other[name]):
            told = ", ".join(f"{name} is {first[name]!r} and {other[name]!r}" for name in odd)
            raise CompareError(f"{judges[0]} judged them with other settings; their figures cannot be compared: {told}")
    return str(judges[0])


def cautions(entrants: Sequence[Entrant], prompts: int) -> Iterator[str]:
    """What a reader must know before believing any of it."""
    if few := [one.name for one in entrants if len(one.runs) == 1]:
        yield f"one seed, so no interval: {listed(few)}. Nothing is known of another training of the same"
    if few := [f"{one.name} ({len(one.runs)})" for one in entrants if 1 < len(one.runs) < 5]:
        yield f"fewer than 5 seeds: {listed(few)}"
    for one in entrants:
        if one.failures:
            yield f"{one.name}: {len(one.failures)} of its runs failed; those that did not may be the lucky ones"
    if closed := sorted({run.closed for one in entrants for run in one.runs if run.closed}):
        yield f"no prompt is held out ({listed(closed)}): intervals are for other seeds with these very prompts"
    if others := unlike([run for one in entrants for run in one.runs]):
        yield f"not all were made with the same {listed(others)}"
    if len(budgets := {_limits(run) for one in entrants for run in one.runs}) > 1:
        yield f"not all had the same budget: some {listed(sorted(budgets))}"
    if (most := max(len(run.prompts) for one in entrants for run in one.runs)) > prompts:
        yield f"they did not answer the same prompts: what is said is of the {prompts} that all answered, where some had {most}"
    if len({_same(run.settings.get("answer")) for one in entrants for run in one.runs}) > 1:
        yield "they did not answer in the same manner (settings under [answer] differ)"
    juries: dict[int, set[str]] = {}  # of the same seed: a juror's own is the run's
    for run in (run for one in entrants for run in one.runs if "jury" in run.settings):
        juries.setdefault(run.seed, set()).add(_same(run.settings["jury"]))
    if any(len(seen) > 1 for seen in juries.values()):
        yield "they were not heard by the same jury (settings under [jury] differ): what it prefers cannot be compared"
    if some := _heard_by_some([run for one in entrants for run in one.runs]):
        yield f"not all were heard by {listed(some)}: what is preferred by who did not hear all is left out"
    starts: dict[int, set[bytes]] = {}
    for one in entrants:
        for run in one.runs:
            starts.setdefault(run.seed, set()).add(run.start["score"].round(6).tobytes())
    if any(len(seen) > 1 for seen in starts.values()):
        bases = sorted({_base(run) for one in entrants for run in one.runs})
        on = f" (their bases are {listed(bases)})" if len(bases) > 1 else ""
        yield f"they did not begin with the same start: its answers were scored otherwise{on}"
    if prompts < FEW_PROMPTS:
        yield f"{prompts} test prompts are few; 100 or more tell small differences"


def _heard_by_some(runs: Sequence[Played]) -> list[str]:
    """The jurors who heard some of these runs and not all."""
    juries = [set(jurors(run)) for run in runs]
    return sorted(set[str]().union(*juries) - juries[0].intersection(*juries))


def _base(run: Played) -> str:
    """The model that a run stands on, as its settings call it."""
    model = run.settings.get("model", {})
    return f"{model.get('path') or model.get('use', 'not told')}, {model.get('quantize', 'as it is')}"


def _limits(run: Played) -> str:
    """What a run was allowed to spend, in words."""
    limits = {name: most for name, most in run.settings.get("budget", {}).items() if name != "rewards" and most != "none"}
    return ", ".join(f"{most:,.6g} {name}" for name, most in limits.items()) or "none"


def _same(value: Any) -> str:
    return repr(sorted(value.items())) if isinstance(value, Mapping) else repr(value)


def listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
