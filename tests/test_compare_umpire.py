"""An umpire that is shown two answers at a time: who wins by its word, what the order does to it, and that nothing is asked
twice."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tomli_w
from finished import finished

from alignzoo.cli import main
from alignzoo.lab.compare.bouts import Orders
from alignzoo.lab.compare.comparison import CompareError
from alignzoo.lab.compare.duels import Entrant
from alignzoo.lab.compare.hearing import START, Hearing, Party, _cautions, _taught
from alignzoo.lab.compare.played import played
from alignzoo.lab.compare.together import together
from alignzoo.lab.compare.umpire import UmpireError
from alignzoo.lab.statistics import Estimate

SOURCE = '''
"""Umpires for a test, each of which writes down what it is asked."""

from dataclasses import dataclass, field
from pathlib import Path


class Umpire:
    def __call__(self, prompts, completions):
        return [0.0] * len(prompts)

    def prefer(self, prompts, first, second):
        with Path("asked.txt").open("a") as file:
            file.writelines(f"{x.text} | {a.text} | {b.text}\\n" for x, a, b in zip(prompts, first, second))
        return [self.says(a.text, b.text) for a, b in zip(first, second)]


@dataclass(frozen=True)
class First(Umpire):
    def says(self, first, second):
        return 1.0


@dataclass(frozen=True)
class Longer(Umpire):
    def says(self, first, second):
        ours, theirs = len(first.split()), len(second.split())
        return (ours > theirs) + 0.5 * (ours == theirs)


@dataclass(frozen=True)
class Leans(Umpire):
    """Finds whatever has a 'z' in it better, and is a little surer of the first place."""

    def says(self, first, second):
        return 0.5 + 0.3 * (("z" in first) - ("z" in second)) + 0.1


@dataclass(frozen=True)
class Mute(Umpire):
    def says(self, first, second):
        return float("nan")


@dataclass(frozen=True)
class Mad(Umpire):
    def says(self, first, second):
        return 1.5


@dataclass(frozen=True)
class Short(Umpire):
    def prefer(self, prompts, first, second):
        return [0.5]


@dataclass(frozen=True)
class Told:
    surely: float = 1.0
    path: Path = Path()

    def __call__(self, prompts, completions):
        return [0.0] * len(prompts)

    def prefer(self, prompts, first, second):
        with Path("asked.txt").open("a") as file:
            file.writelines("x\\n" for _ in prompts)
        return [self.surely] * len(prompts)


@dataclass(frozen=True)
class Alone:
    def __call__(self, prompts, completions):
        return [0.0] * len(prompts)
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("umpires")
    (folder / "umpires.py").write_text(SOURCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder


@pytest.fixture
def here(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(folder: Path, name: str, seed: int, said: Any, *, prompts: int = 6, start: Any = None, **more: Any) -> Path:
    """A run that says `said(seed, prompt)`."""

    def text(who: str, prompt: int, number: int) -> str:
        return said(seed, prompt) if who == "policy" else (start or (lambda s, p: f"start {s}"))(seed, prompt)

    optimizer = f"optimizer:{name}/{name}"

    def scored(who: str, prompt: int, number: int) -> float:
        return float(who == "policy")

    return finished(
        folder / f"{name}-{seed}", scored, name=name, optimizer=optimizer, seed=seed, prompts=prompts, text=text, **more
    )


def duels(folder: Path, use: str, **more: Any) -> Path:
    file = folder / "duels.toml"
    file.write_text(tomli_w.dumps({"duels": {"use": f"umpires:{use}", **more}}))
    return file


def heard(roots: list[Path], file: Path) -> Hearing:
    found = together(roots, out=Path("out"), duels=file)
    assert found.hearing is not None
    return found.hearing


def asked() -> list[str]:
    return Path("asked.txt").read_text().splitlines() if Path("asked.txt").exists() else []


def pair(hearing: Hearing, first: str, second: str) -> Any:
    return next(one for one in hearing.pairs if {one.duel.first, one.duel.second} == {first, second})


def two(folder: Path, seeds: int = 5, prompts: int = 6) -> list[Path]:
    """One that says much, with words that are none of the other's, and one that says little."""
    long = [run(folder, "long", seed, lambda s, p: f"so many words {s} {p}", prompts=prompts) for seed in range(seeds)]
    return long + [run(folder, "brief", seed, lambda s, p: f"z {s} {p}", prompts=prompts) for seed in range(seeds)]


# By hand ------------------------------------------------------------------------------------------------------------------


def test_an_umpire_of_places_finds_everybody_equal_and_is_told_to_be_one(here: Path) -> None:
    hearing = heard(two(here), duels(here, "First"))
    assert len(hearing.pairs) == 3, "two contestants and the start"
    for one in hearing.pairs:
        assert (one.duel.wins.mean, one.duel.wins.low, one.duel.wins.high) == (0.5, 0.5, 0.5)
        assert one.duel.wins_at_equal_length.mean == 0.5
        assert one.duel.verdict == "not separable"
        assert one.orders.biased.mean == 1.0
    orders = hearing.orders
    assert (orders.consistent.mean, orders.biased.mean, orders.lean.mean, orders.unread.mean) == (0.0, 1.0, 1.0, 0.0)
    assert [one for one in hearing.cautions if "by the place more often than by the answer (100% of pairs against 0%)" in one]
    assert [rank.rating.mean for rank in hearing.ranks] == pytest.approx([1000.0] * 3)


def test_an_umpire_of_length_is_seen_through_where_length_is_taken_out(here: Path) -> None:
    """long has two words more at four prompts of six, and two fewer at the others."""
    roots = []
    for seed in range(5):
        roots.append(run(here, "long", seed, lambda s, p: f"{p}" if p < 2 else f"so very many {s} {p}"))
        roots.append(run(here, "brief", seed, lambda s, p: f"not much {p}"))
    hearing = heard(roots, duels(here, "Longer"))
    told = pair(hearing, "long", "brief")
    wins, fair = told.duel.wins.mean, told.duel.wins_at_equal_length.mean
    assert told.duel.first == "long"
    assert wins == pytest.approx(4 / 6)
    assert 0.45 < fair < 0.6, "length explains all of it, as far as 30 answers can say"
    assert told.orders.consistent.mean == 1.0
    assert not [one for one in hearing.cautions if "by the place" in one]
    assert told.orders.lean.mean == 0.0


def test_what_is_owed_to_the_place_cancels(here: Path) -> None:
    """Leans says 0.9 of brief shown first and 0.3 of long shown first: brief wins (0.9 + 0.7) / 2."""
    hearing = heard(two(here), duels(here, "Leans"))
    told = pair(hearing, "long", "brief")
    assert told.duel.first == "brief", "whoever wins more, whatever the scores say"
    assert told.duel.wins.mean == pytest.approx(0.8)
    assert told.orders.consistent.mean == 1.0
    assert told.orders.lean.mean == pytest.approx(0.2), "0.9 - 0.7, in the words of either"
    start = pair(hearing, "long", "the start")
    assert start.duel.wins.mean == pytest.approx(0.5)
    assert start.orders.biased.mean == 1.0
    assert told.duel.verdict == "first"
    best = hearing.ranks[0]
    assert best.name == "brief"
    assert {rank.name for rank in hearing.ranks} == {"long", "brief", "the start"}


def test_an_umpire_that_cannot_be_read_says_one_half_and_is_counted(here: Path) -> None:
    hearing = heard(two(here), duels(here, "Mute"))
    assert hearing.orders.unread.mean == 1.0
    assert {one.duel.wins.mean for one in hearing.pairs} == {0.5}
    assert hearing.orders.biased.mean == hearing.orders.consistent.mean == 0.0
    assert "null" in (Path("out") / "verdicts.jsonl").read_text()
    assert heard([*here.glob("long-*"), *here.glob("brief-*")], duels(here, "Mute")).orders.unread.mean == 1.0


def test_two_who_say_the_same_are_a_tie_that_nobody_is_asked_about(here: Path) -> None:
    roots = [run(here, "one", seed, lambda s, p: "same" if p < 2 else f"z {p}") for seed in range(5)]
    roots += [run(here, "other", seed, lambda s, p: "same" if p < 2 else f"x {p}") for seed in range(5)]
    hearing = heard(roots, duels(here, "Leans"))
    told = pair(hearing, "one", "other")
    assert told.duel.wins.mean == pytest.approx((2 * 0.5 + 4 * 0.8) / 6)
    assert told.orders.consistent.mean == 1.0, "of those that were asked about"
    assert hearing.alike.mean == pytest.approx(2 / 6 / 3)
    assert not [line for line in asked() if line.endswith("| same | same")]


# What is asked ------------------------------------------------------------------------------------------------------------


def test_every_pair_is_asked_once_in_both_orders(here: Path) -> None:
    lines: list[str] = []
    found = together(two(here, seeds=2), out=Path("out"), duels=duels(here, "Leans"), tell=lines.append)
    assert len(asked()) == len(set(asked())) == 3 * 2 * 6 * 2
    turned = [" | ".join([x, b, a]) for x, a, b in (line.split(" | ") for line in asked())]
    assert sorted(turned) == sorted(asked())
    assert lines == ["duels: umpires:Leans is asked for 72 verdicts"]
    assert found.hearing is not None
    assert found.hearing.verdicts == 72


def test_a_report_that_is_made_again_asks_nothing_again(here: Path) -> None:
    roots, file = two(here), duels(here, "Leans")
    first = heard(roots, file)
    count = len(asked())
    assert heard(roots, file) == first
    assert len(asked()) == count


def test_a_new_contestant_is_asked_about_alone(here: Path) -> None:
    roots, file = two(here, seeds=1), duels(here, "Leans")
    heard(roots, file)
    before = len(asked())
    roots.append(run(here, "third", 0, lambda s, p: f"third {p}"))
    heard(roots, file)
    fresh = asked()[before:]
    assert len(fresh) == 3 * 6 * 2
    assert all("third" in line for line in fresh)


def test_a_killed_one_goes_on_and_a_torn_line_is_asked_again(here: Path) -> None:
    roots, file = two(here, seeds=1), duels(here, "Leans")
    whole = heard(roots, file)
    kept = Path("out") / "verdicts.jsonl"
    lines = kept.read_text().splitlines()
    kept.write_text("\n".join(lines[:10]) + "\n" + lines[10][:20])
    Path("asked.txt").unlink()
    told: list[str] = []
    found = together(roots, out=Path("out"), duels=file, tell=told.append)
    assert str(found.hearing) == str(whole), "nan is not nan"
    assert len(asked()) == 36 - 10
    assert told == [
        "out/verdicts.jsonl: 1 of its lines cannot be read; what they said is asked again, where it is needed",
        "duels: umpires:Leans is asked for 26 verdicts, 10 are kept",
    ]
    assert str(heard(roots, file)) == str(whole)
    assert len(asked()) == 36 - 10, "what was asked after the torn line is read"
    together(roots, out=Path("out"), duels=file, tell=told.append)
    assert len(told) == 2, "what is damaged is told once"


def test_another_umpire_other_settings_and_other_files_are_asked_anew(here: Path) -> None:
    roots = two(here, seeds=1)
    (here / "rules.txt").write_text("be kind")
    asks = [
        ("Leans", {}),
        ("Told", {}),
        ("Told", {"surely": 0.7}),
        ("Told", {"surely": 0.7, "path": "rules.txt"}),
    ]
    for number, (use, more) in enumerate(asks, start=1):
        heard(roots, duels(here, use, **more))
        assert len(asked()) == 36 * number, use
    (here / "rules.txt").write_text("be good")
    heard(roots, duels(here, *("Told",), surely=0.7, path="rules.txt"))
    assert len(asked()) == 36 * 5
    heard(roots, duels(here, "Told", surely=0.7, most=36, prompts=6))
    assert len(asked()) == 36 * 5, "how much is asked says nothing of who judges"


def test_the_first_answer_of_several_is_shown_and_other_bytes_are_another_umpire(here: Path, place: Path) -> None:
    def text(who: str, prompt: int, number: int) -> str:
        return f"{who} {prompt}" if number == 0 else "never shown"

    roots = [finished(here / "one", lambda who, prompt, number: 0.0, n=3, text=text)]
    heard(roots, duels(here, "Leans"))
    assert len(asked()) == 6 * 2
    assert not [line for line in asked() if "never" in line]
    heard(roots, duels(here, "Leans"))
    assert len(asked()) == 6 * 2
    module = place / "umpires.py"
    module.write_text(SOURCE + "# another umpire\n")
    heard(roots, duels(here, "Leans"))
    module.write_text(SOURCE)
    assert len(asked()) == 6 * 4


def test_a_leader_that_both_agree_on_is_no_caution_and_the_start_is_no_leader(here: Path) -> None:
    roots = [run(here, "one", seed, lambda s, p: f"x {s} {p}", start=lambda s, p: f"z {s} {p}") for seed in range(2)]
    found = together(roots, out=Path("out"), duels=duels(here, "Leans"))
    assert found.hearing is not None
    assert found.hearing.ranks[0].name == "the start"
    assert not [one for one in found.cautions if "leads" in one]
    roots += [run(here, "two", seed, lambda s, p: f"a {s} {p}", start=lambda s, p: f"z {s} {p}") for seed in range(2)]
    found = together(roots, out=Path("out"), duels=duels(here, "Longer"))
    assert not [one for one in found.cautions if "leads" in one]


def test_the_prompts_are_the_same_for_all_and_spread_over_the_test_set(here: Path) -> None:
    heard(two(here, seeds=1, prompts=12), duels(here, "Leans", prompts=3))
    assert {line.partition(" | ")[0] for line in asked()} == {"question 0?", "question 4?", "question 8?"}
    assert len(asked()) == 3 * 3 * 2
    heard(two(here, seeds=1, prompts=12), duels(here, "Leans", prompts=5))
    assert len(asked()) == 3 * 5 * 2, "0, 2, 4, 6 and 8; 10 would be a sixth"


def test_more_than_may_be_asked_is_refused_before_the_first(here: Path) -> None:
    with pytest.raises(UmpireError, match=r"duels: 36 verdicts, more than most = 35; ask of fewer prompts, or allow more"):
        heard(two(here, seeds=1), duels(here, "Leans", most=35))
    assert asked() == []


def test_seeds_that_nobody_shares_leave_the_start_alone_to_be_met(here: Path) -> None:
    roots = [run(here, "one", 0, lambda s, p: f"z {p}"), run(here, "other", 1, lambda s, p: f"x {p}")]
    hearing = heard(roots, duels(here, "Leans"))
    told = pair(hearing, "one", "other")
    assert told.duel.why == "they have no seed in common"
    assert math.isnan(told.orders.consistent.mean)
    assert pair(hearing, "one", "the start").duel.seeds == 1
    assert hearing.ranks == ()


def test_the_start_is_in_no_duel_where_there_are_two(here: Path) -> None:
    roots = [
        run(here, "one", 0, lambda s, p: f"z {p}"),
        run(here, "other", 0, lambda s, p: f"x {p}", start=lambda s, p: "else"),
    ]
    hearing = heard(roots, duels(here, "Leans"))
    assert [(one.duel.first, one.duel.second) for one in hearing.pairs] == [("one", "other")]
    assert "they did not begin with the same start: it is in no duel" in hearing.cautions


# Refusals -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("use", "said"),
    [
        ("Mad", "gave a verdict that is no probability: 1.5 is not between 0 and 1; tell its author"),
        ("Short", "gave 1 verdicts for 36 pairs; tell its author"),
    ],
)
def test_an_umpire_that_speaks_nonsense_is_told(here: Path, use: str, said: str) -> None:
    with pytest.raises(UmpireError, match=said):
        heard(two(here, seeds=1), duels(here, use))
    assert not (Path("out") / "verdicts.jsonl").exists()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"use": "umpires:Alone"}, r"duels.use: umpires:Alone scores one answer at a time, and cannot be shown two"),
        (
            {"use": "playground-gold"},
            r"cannot be shown two; those that can: reward:rlaif/ai-judge. What wins by its scores is in",
        ),
        ({"use": "ai-jugde"}, r"duels.use: no reward named 'ai-jugde'.*ai-judge"),
        (
            {"use": "umpires:Umpire"},
            r"duels.use: umpires:Umpire is a class and no dataclass; its settings are its fields: write @",
        ),
        ({}, r"duels: say what to use"),
        ({"use": "umpires:Leans", "prompts": 0}, r"duels.prompts: must be at least 1"),
        ({"use": "umpires:Leans", "most": 0}, r"duels.most: must be at least 1"),
        ({"use": "umpires:Told", "surly": 1}, r"duels.surly: no such setting"),
        ({"use": "ai-judge", "judge": {"which": "remote"}}, r"duels.*a remote judge needs an address and a model"),
        ("ai-judge", r"duels: must be a table"),
        (None, r"there is no table \[duels\] in it"),
    ],
)
def test_an_umpire_that_cannot_be_is_refused_before_anything_is_read(
    here: Path, table: Any, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    file = here / "duels.toml"
    file.write_text(tomli_w.dumps({} if table is None else {"duels": table}))
    assert main(["compare", "no-such-run", "--duels", str(file), "--out", "out"]) == 2
    error = capfd.readouterr().err
    assert len(error.strip().splitlines()) == 1, error
    assert re.search(said, error), error


def test_hostile_contestants_are_only_words_among_the_duels(here: Path) -> None:
    name = "<img src=x onerror=alert(1)>"
    roots = [run(here / "a", "one", seed, lambda s, p: f"z {p}") for seed in range(2)]
    roots += [
        finished(here / f"b{seed}", lambda who, prompt, number: 0.5, name=name, optimizer="o:b/b", seed=seed, prompts=6)
        for seed in range(2)
    ]
    together(roots, out=Path("out"), duels=duels(here, "Leans"))
    for file in ("report.html", "report.md"):
        assert "<img" not in Path("out", file).read_text()
        assert "&lt;img" in Path("out", file).read_text()


def test_verdicts_need_a_place(here: Path) -> None:
    with pytest.raises(CompareError, match="say where: --out DIR"):
        together(two(here), duels=duels(here, "Leans"))


# Who taught whom ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "taught"),
    [
        ({}, ""),
        ({"reward": {"use": "umpires:Leans"}}, "umpires:Leans"),
        ({"reward": [{"use": "reward:a/b"}, {"use": "umpires:Leans"}]}, "umpires:Leans"),
        ({"reward": {"use": "umpires:Other"}}, ""),
        ({"feedback": {"use": "feedback:umpires/prefers", "judge": {"which": "local"}}}, ""),
    ],
)
def test_a_contestant_that_learned_from_the_umpire_is_cautioned(here: Path, settings: Any, taught: str) -> None:
    roots = [run(here, "one", 0, lambda s, p: f"z {p}", changes=settings), run(here, "other", 0, lambda s, p: f"x {p}")]
    hearing = together(roots, out=Path("out"), duels=duels(here, "Leans"))
    told = [one for one in hearing.cautions if "learned from" in one]
    expected = f"one learned from {taught}, and umpires:Leans decides the duels: it may please its teacher"
    assert [one.startswith(expected) for one in told] == ([True] if taught else [])


def test_a_source_that_hires_a_judge_as_the_umpire_does_is_its_teacher() -> None:
    umpire = {"use": "reward:rlaif/ai-judge", "judge": {"which": "local"}, "question": "?"}
    hires = {"use": "feedback:rlaif/ai-preferences", "judge": {"which": "remote"}}
    assert list(_taught({"feedback": hires}, umpire)) == ["feedback:rlaif/ai-preferences"]
    assert list(_taught({"judge": {"use": "reward:rlaif/ai-judge"}}, umpire)) == [], "to be scored by it teaches nothing"
    sieve = {"use": "feedback:playground/playground", "filter": [{"use": "filter:rlaif/hybrid", "judge": {}}]}
    assert list(_taught({"feedback": sieve}, umpire)) == ["filter:rlaif/hybrid"]
    assert list(_taught({"feedback": {"use": "feedback:rlaif/critique-chains", "path": "x"}}, umpire)) == []
    assert list(_taught({"feedback": {"use": "feedback:other/ai-preferences", "judge": {}}}, umpire)) == []


# In the report ------------------------------------------------------------------------------------------------------------


def test_page_markdown_and_json_tell_of_the_duels(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    roots, file = two(here), duels(here, "Leans")
    assert main(["compare", *map(str, roots), "--duels", str(file), "--out", "out"]) == 0
    said = capfd.readouterr()
    assert said.err == "duels: umpires:Leans is asked for 180 verdicts\n"
    text, html = Path("out/report.md").read_text(), Path("out/report.html").read_text()
    for told in (said.out, text):
        assert "## Shown two answers at a time" in told
        assert "* order consistency (the same answer wins in both orders): 0.67 [" in told
        assert "| brief is better than long | 0.80 [0.80, 0.80] |" in told
        assert "| contestant | rating by these duels | rating by scores |" in told
    leads = "by scores long leads, and shown two answers at a time umpires:Leans prefers brief"
    assert f"* Caution: {leads}." in text
    assert f"Caution: {leads}." in html
    assert "who decided the duels" in html
    assert "use = &quot;umpires:Leans&quot;" in html
    row = json.loads(Path("out/report.json").read_text())["hearing"]
    assert row["umpire"] == "umpires:Leans"
    assert row["settings"]["prompts"] == 50
    assert [one["orders"]["biased"]["mean"] for one in row["pairs"]] == [0.0, 1.0, 0.0]
    assert f"--duels {file}" in text


def test_where_bases_differ_it_is_told_whose_an_umpire_reads_with(tmp_path: Path) -> None:
    def entrant(name: str, *bases: str, quantize: str = "nf4") -> Entrant:
        roots = [tmp_path / f"{name}-{seed}{quantize}" for seed in range(len(bases))]
        for seed, (root, base) in enumerate(zip(roots, bases, strict=True)):
            model = {"path": f"models/{name}", "quantize": quantize}
            finished(root, lambda *at: 0.5, name=name, seed=seed, changes={"model": model})
            summary = root / "train/summary.json"
            summary.write_text(json.dumps({**json.loads(summary.read_text()), "base": base}))
        return Entrant(name, tuple(map(played, roots)))

    def told(*entrants: Entrant, borrows: bool = True) -> list[str]:
        umpire: Any = SimpleNamespace(borrows=borrows, name="judge", row=lambda: {"use": "reward:x/judge"})
        sure = Estimate(0.5, 0.4, 0.6)
        steady = Orders(sure, sure, sure, sure)
        return list(_cautions(umpire, entrants, [Party(START, {})], steady))

    b, a = entrant("b", "bytes", "bytes"), entrant("a", "bytes", "bytes")
    assert told(b, a) == [], "the same bytes under two names"
    other = entrant("c", "bytes", "others")
    caution = f"contestants have other bases; where judge reads with one of them, it is that of {tmp_path / 'b-0nf4'}"
    assert told(other, b) == [caution], "one seed of one of them is enough"
    assert told(other, b, borrows=False) == [], "it reads with none of them"
    assert told(b, entrant("d", "bytes", quantize="none")) == [caution], "and so is another precision"
    unknown = [entrant("e", "", ""), entrant("f", "")]
    assert len(told(*unknown)) == 1, "without bytes by their names"
    assert told(unknown[0]) == []


def test_a_hearing_says_which_bytes_decided(here: Path) -> None:
    roots = [run(here, "one", 0, lambda s, p: f"z {p}"), run(here, "other", 0, lambda s, p: f"x {p}")]
    assert re.fullmatch("(sha256:)?[0-9a-f]{12,64}", heard(roots, duels(here, "Leans")).settings["digest"])
