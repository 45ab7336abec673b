"""Finished runs side by side: contestants, verdicts, cautions, and a report that is whole by itself."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from typing import Any

import pytest
from finished import Score, finished

from alignzoo.cli import main
from alignzoo.lab.compare.comparison import CompareError, Comparison, Note, compare
from alignzoo.lab.compare.frontier import Point, fitted
from alignzoo.lab.compare.played import played
from alignzoo.lab.compare.together import entrants_of, together, write
from alignzoo.lab.compare.words import leaderboard
from alignzoo.lab.statistics import Estimate
from alignzoo.lab.store import StoreError


def scoring(level: float, seed: int, spread: float = 0.1) -> Score:
    """The start at 0, the policy at this level; prompts differ, and a little is left to chance."""
    dice = Random(f"{level}/{seed}")

    def score(who: str, prompt: int, number: int) -> float:
        return (level if who == "policy" else 0.0) + 0.05 * prompt + (spread * dice.gauss(0, 1) if who == "policy" else 0.0)

    return score


def runs(folder: Path, levels: dict[str, float], seeds: int = 5, prompts: int = 12, **more: Any) -> list[Path]:
    """A run of each optimizer under each seed."""
    return [
        finished(
            folder / f"{name}-{seed}",
            scoring(level, seed),
            name=name,
            optimizer=f"optimizer:{name}/{name}",
            seed=seed,
            prompts=prompts,
            **more,
        )
        for name, level in levels.items()
        for seed in range(seeds)
    ]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Comparison]:
    folders = runs(tmp_path_factory.mktemp("three"), {"good": 0.5, "fair": 0.49, "poor": 0.1})
    return folders, together(folders)


# Contestants --------------------------------------------------------------------------------------------------------------


def test_runs_that_differ_in_their_seed_are_one_contestant(three: tuple[list[Path], Comparison]) -> None:
    entrants = entrants_of([played(root) for root in reversed(three[0])])
    assert {one.name: one.seeds for one in entrants} == {name: [0, 1, 2, 3, 4] for name in ("good", "fair", "poor")}


def test_contestants_have_the_shortest_name_that_tells_them_apart(tmp_path: Path) -> None:
    one = finished(tmp_path / "a", scoring(1, 0), name="same", optimizer="optimizer:dpo/dpo")
    two = finished(tmp_path / "b", scoring(1, 0), name="same", optimizer="optimizer:ppo/ppo")
    assert [entrant.name for entrant in entrants_of([played(one), played(two)])] == ["dpo", "ppo"]
    votes = {"feedback": {"use": "feedback:votes/reddit-votes"}}
    three = finished(tmp_path / "c", scoring(1, 0), name="same", optimizer="optimizer:dpo/dpo", changes=votes)
    names = [entrant.name for entrant in entrants_of([played(one), played(two), played(three)])]
    assert names == [str(one) if names[0] == str(one) else "dpo", "ppo", "dpo on reddit-votes"]
    four = finished(tmp_path / "d", scoring(1, 0), name="same", optimizer="optimizer:dpo/dpo", changes={"optimizer.beta": 1})
    assert [entrant.name for entrant in entrants_of([played(one), played(four)])] == [str(one), str(four)]


# What is told -------------------------------------------------------------------------------------------------------------


def test_the_best_is_told_first_with_whom_it_beats(three: tuple[list[Path], Comparison]) -> None:
    found = three[1]
    assert [line.name for line in found.lines] == sorted(
        ("good", "fair", "poor"), key=lambda name: -next(line.reward.mean for line in found.lines if line.name == name)
    )
    assert found.between("good", "poor").told() == "good is better than poor"
    assert found.between("poor", "fair").told() == "fair is better than poor"
    near = found.between("good", "fair")
    assert near.verdict == "not separable"
    assert near.told().startswith("good and fair are not separable: ") or near.told().startswith("fair and good are")
    leader = found.lines[0].name
    assert found.answer().startswith(f"{leader} has the highest reward, ")
    assert "better than poor, but not separable from" in found.answer()


def test_the_figures_are_those_of_the_scores(three: tuple[list[Path], Comparison]) -> None:
    folders, found = three
    rows = [json.loads(line) for root in folders if root.name.startswith("good") for line in (root / "scores.jsonl").open()]
    ours = [row["score"] for row in rows if row["who"] == "policy"]
    base = [row["score"] for row in rows if row["who"] == "start"]
    good = next(line for line in found.lines if line.name == "good")
    assert good.reward.mean == pytest.approx(sum(ours) / len(ours))
    assert good.gain.mean == pytest.approx(sum(ours) / len(ours) - sum(base) / len(base))
    assert good.values["kind"].mean == pytest.approx(-good.reward.mean)
    assert good.kl is not None
    assert good.kl.mean == pytest.approx(1.5)
    assert good.words.mean == 5.0  # "policy says 3 and 1"
    assert good.spent["tokens"] == Estimate(400, 400, 400)
    assert found.start.reward.mean == pytest.approx(sum(base) / len(base))
    assert found.between("good", "poor").wins.mean > 0.9


def test_refusals_and_repetitions_are_seen_beside_the_reward(tmp_path: Path) -> None:
    def text(who: str, prompt: int, number: int) -> str:
        return "the cat sat" if who == "start" else ("I can't help with that" if prompt < 3 else f"word {prompt} {number}")

    [line] = together([finished(tmp_path / "run", scoring(1, 0), text=text)]).lines
    assert line.refuses.mean == 0.5  # three prompts of six
    assert line.distinct.mean == (4 + 3 * 2) / (3 * 4 + 3 * 2)
    assert together([tmp_path / "run"]).start.distinct.mean == 2 / 12


@pytest.mark.parametrize("seeds", [1, 3])
def test_few_seeds_never_separate_anybody(seeds: int, tmp_path: Path) -> None:
    found = together(runs(tmp_path, {"good": 5.0, "poor": 0.0}, seeds=seeds))
    [duel] = found.duels
    assert (duel.verdict, duel.seeds_needed) == ("not separable", 5)
    assert f"{seeds} seed" in duel.why
    words = "one seed, so no interval" if seeds == 1 else "fewer than 5 seeds"
    assert any(caution.startswith(words) for caution in found.cautions)
    assert found.answer().endswith("not separable from poor (a verdict takes 5 seeds).")
    assert math.isnan(found.lines[0].reward.low) == (seeds == 1)


def test_no_seed_in_common_separates_nobody(tmp_path: Path) -> None:
    ones = [finished(tmp_path / f"a{s}", scoring(1, s), name="a", seed=s) for s in range(5)]
    others = [finished(tmp_path / f"b{s}", scoring(9, s), name="b", optimizer="o:p/q", seed=s) for s in range(5, 10)]
    found = together([*ones, *others])
    assert found.duels[0].why == "they have no seed in common"
    assert found.ranks == ()


def test_cautions_about_ground_that_is_not_the_same(tmp_path: Path) -> None:
    one = finished(tmp_path / "a", scoring(1, 0), name="a")
    other = finished(
        tmp_path / "b", lambda who, prompt, number: 7.0, name="b", optimizer="o:p/q", changes={"answer": {"n": 2, "split": "x"}}
    )
    cautions = " ".join(together([one, other]).cautions)
    assert "did not begin with the same start" in cautions
    assert "did not answer in the same manner" in cautions


def test_the_leaderboard_has_quality_time_and_memory_in_one_table(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run", scoring(0.5, 0))
    summary = folder / "train" / "summary.json"
    summary.write_text(summary.read_text().replace('"peak_bytes": 1', f'"peak_bytes": {300 * 2**20}'))
    head, [row, _] = leaderboard(together([folder]))
    told = dict(zip(head, row, strict=True))
    assert (told["FLOPs"], told["seconds"], told["peak MiB"]) == ("2e+09", "5.0", "300")


# What cannot be compared --------------------------------------------------------------------------------------------------


def test_what_the_judge_cannot_say_is_in_no_interval(tmp_path: Path) -> None:
    def score(who: str, prompt: int, number: int) -> float:
        return 0.5 if who == "start" else float((prompt, number) != (3, 1))

    folders = [finished(tmp_path / str(seed), score, seed=seed, bounds={"score": (0.0, 1.0)}) for seed in range(5)]
    [line] = together(folders).lines
    assert 0 <= line.reward.low < line.reward.mean < line.reward.high < 1
    assert line.values["kind"].low < -1  # of this value nobody said anything
    for folder in folders:
        (folder / "judging.json").unlink()  # as older runs are
    assert together(folders).lines[0].reward.high > 1


def test_in_a_closed_task_intervals_are_for_other_seeds_alone_and_say_so(tmp_path: Path) -> None:
    def score(who: str, prompt: int, number: int) -> float:
        return 0.1 * prompt + (0.3 if who == "policy" else 0.0)

    folders = [finished(tmp_path / str(seed), score, seed=seed, closed="all there are") for seed in range(5)]
    found = together(folders)
    assert (found.lines[0].reward.low, found.lines[0].reward.high) == pytest.approx((0.55, 0.55))  # no seed differs
    assert found.lines[0].gain.low == pytest.approx(0.3)
    assert "no prompt is held out (all there are): intervals are for other seeds with these very prompts" in found.cautions
    for folder in folders:
        (folder / "judging.json").unlink()
    assert together(folders).lines[0].reward.low < 0.4


def test_duels_and_ratings_of_a_closed_task_are_for_other_seeds_alone(tmp_path: Path) -> None:
    """Who wins depends on the prompt, and nothing on the seed."""

    def score(name: str) -> Score:
        return lambda who, prompt, number: 0.1 * prompt if (who, name) == ("policy", "steep") else 0.2

    def text(who: str, prompt: int, number: int) -> str:
        return "word " * (prompt + 1)

    folders = [
        finished(tmp_path / f"{name}{seed}", score(name), name=name, optimizer=f"o:{name}/{name}", seed=seed, closed="yes",
                 text=text if name == "steep" else lambda who, prompt, number: "word")
        for name in ("steep", "flat")
        for seed in range(5)
    ]  # fmt: skip
    found = together(folders)
    [duel] = found.duels
    assert duel.difference.low == pytest.approx(duel.difference.high)
    assert duel.wins.low == pytest.approx(duel.wins.high)
    assert duel.wins_at_equal_length.low == pytest.approx(duel.wins_at_equal_length.high)
    assert all(rank.rating.low == pytest.approx(rank.rating.high) for rank in found.ranks)
    for folder in folders:
        (folder / "judging.json").unlink()
    [duel] = together(folders).duels
    assert duel.difference.low < duel.difference.high - 0.1


def test_a_point_of_a_way_stays_where_the_judge_can_be(tmp_path: Path) -> None:
    folders = [
        finished(
            tmp_path / str(seed),
            scoring(0.5, seed),
            seed=seed,
            trail=[{"update": 0, "kl": 0.0, "proxy": None, "gold": 0.9 + 0.1 * (seed % 2), "each": {}}],
            bounds={"score": (0.0, 1.0)},
        )
        for seed in range(3)
    ]
    [point] = together(folders).ways["run"]
    assert point.gold.high == 1.0
    assert point.gold.low < 0.9


def test_a_judge_of_other_settings_is_another_judge(tmp_path: Path) -> None:
    """But for his seed, which is a run's own; a setting that one of them does not know came with a later version."""
    gold = {"use": "reward:playground/playground-gold", "seed": 0, "strict": True}
    one = finished(tmp_path / "a", scoring(1, 0), changes={"judge": gold})
    same = finished(tmp_path / "b", scoring(1, 1), seed=1, changes={"judge": {**gold, "seed": 1, "new": 3}})
    assert together([one, same]).judge == gold["use"]
    other = finished(tmp_path / "c", scoring(1, 0), optimizer="o:p/q", changes={"judge": {**gold, "strict": False}})
    with pytest.raises(CompareError, match="with other settings; their figures cannot be compared: strict is True and False"):
        together([one, other])


def test_other_budgets_and_other_prompts_are_cautions(tmp_path: Path) -> None:
    one = finished(
        tmp_path / "a", scoring(1, 0), prompts=6, changes={"budget": {"tokens": 5e4, "labels": "none", "rewards": True}}
    )
    other = finished(tmp_path / "b", scoring(1, 0), prompts=4, optimizer="o:p/q", changes={"budget": {"rewards": True}})
    told = together([one, other]).cautions
    assert "not all had the same budget: some 50,000 tokens and none" in told
    assert "they did not answer the same prompts: what is said is of the 4 that all answered, where some had 6" in told
    same = finished(tmp_path / "c", scoring(1, 1), prompts=6, seed=1, changes={"budget": {"tokens": 5e4}})
    assert not [line for line in together([one, same]).cautions if "same budget" in line or "same prompts" in line]


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("scores.jsonl", '"score": 1', '"score": "1', "scores.jsonl:"),
        ("run.toml", "[judge]", "[jury]", "run.toml: 'judge' is missing"),
        ("train/summary.json", '"read": 300', '"read": null', "summary.json:1: 'read' cannot be null"),
    ],
)
def test_a_damaged_file_is_named_and_what_to_do(name: str, old: str, new: str, said: str, tmp_path: Path) -> None:
    root = finished(tmp_path / "a", lambda who, prompt, number: 1)
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new, 1))
    with pytest.raises(StoreError, match=re.escape(said)) as told:
        together([root])
    if name != "scores.jsonl":  # whose line is found when it is read
        assert str(told.value).endswith(f"delete the file, then: alignzoo run {root}")


def test_a_score_that_is_no_number_is_no_score(tmp_path: Path) -> None:
    root = finished(tmp_path / "a", lambda who, prompt, number: 1)
    text = (root / "scores.jsonl").read_text()
    (root / "scores.jsonl").write_text(text.replace('"score": 1', '"score": NaN', 1))
    with pytest.raises(StoreError, match="an answer's score is no number; delete its scores and judge again"):
        together([root])


def test_what_cannot_stand_side_by_side_is_refused(tmp_path: Path) -> None:
    one = finished(tmp_path / "a", scoring(1, 0))
    other = finished(tmp_path / "b", scoring(1, 0), optimizer="o:p/q", changes={"judge": {"use": "reward:x/y"}})
    with pytest.raises(CompareError, match=r"judged by reward:playground/playground-gold and reward:x/y"):
        together([one, other])
    with pytest.raises(CompareError, match="are the same run, seed 0, twice"):
        together([one, one])
    with pytest.raises(StoreError, match="is no run"):
        together([tmp_path])
    (one / "scores.jsonl").unlink()
    with pytest.raises(StoreError, match=f"is not judged yet; go on with: alignzoo run {one}"):
        together([one])


def test_other_prompts_are_no_comparison_and_shared_ones_are(tmp_path: Path) -> None:
    one = finished(tmp_path / "a", scoring(1, 0), prompts=9)
    other = finished(tmp_path / "b", scoring(1, 0), optimizer="o:p/q", prompts=4)
    assert len(together([one, other]).prompts) == 4
    lone = finished(tmp_path / "c", scoring(1, 0), optimizer="o:p/r", prompts=1)
    with pytest.raises(CompareError, match="have 1 test prompts in common"):
        together([one, lone])


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    root = finished(tmp_path / "a", scoring(1, 0))
    lines = (root / "scores.jsonl").read_text().splitlines(keepends=True)
    (root / "scores.jsonl").write_text("".join([*lines[:3], '{"who": "st\n', *lines[4:]]))
    with pytest.raises(StoreError, match=r"scores\.jsonl:4: not JSON"):
        together([root])
    (root / "scores.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(StoreError, match="has 23 rows for 24 answers"):
        together([root])


# Distance -----------------------------------------------------------------------------------------------------------------


def test_the_way_of_a_training_is_a_mean_over_seeds_with_its_cost(tmp_path: Path) -> None:
    def trail(seed: int) -> list[dict[str, Any]]:
        return [
            {"update": u, "kl": 0.5 * u, "proxy": 2.0 * u, "gold": 0.1 * u + 0.01 * seed, "each": {"gold": [9.0]}}
            for u in (0, 2, 4)
        ]

    found = together([finished(tmp_path / f"{s}", scoring(1, s), seed=s, trail=trail(s)) for s in range(3)])
    [way] = found.ways.values()
    assert [(point.update, point.kl.mean, point.proxy and point.proxy.mean, point.labels) for point in way] == [
        (0, 0.0, 0.0, 0.0),
        (2, 1.0, 4.0, 20.0),
        (4, 2.0, 8.0, 40.0),
    ]
    assert way[1].gold.mean == pytest.approx(0.21)
    assert way[1].gold.high - way[1].gold.mean == pytest.approx(4.303 * 0.01 / math.sqrt(3), rel=1e-3)


def test_without_a_way_start_and_end_are_known(tmp_path: Path) -> None:
    [way] = together([finished(tmp_path / "a", scoring(1, 0))]).ways.values()
    assert [(point.kl.mean, point.labels) for point in way] == [(0.0, 0.0), (1.5, 40.0)]
    assert together([finished(tmp_path / "b", scoring(1, 0), kl=None)]).ways == {"run": ()}


def test_the_law_of_too_much_is_fitted_to_what_obeys_it() -> None:
    def points(law: Any, n: int) -> list[Point]:
        gold = [Estimate(0.5 + law(math.sqrt(kl)), 0, 1) for kl in (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)]
        return [
            Point(i, n * i, Estimate(kl, kl, kl), g, None, 0, 0, 0)
            for i, (kl, g) in enumerate(zip((0.0, 0.5, 1, 2, 4, 8), gold, strict=True))
        ]

    training = fitted(points(lambda d: d * (1.2 - 0.7 * math.log(d)) if d else 0.0, 0))
    chosen = fitted(points(lambda d: d * (1.2 - 0.3 * d), 2))
    assert training is not None
    assert chosen is not None
    assert (training.law, training.alpha, training.beta) == ("rl", pytest.approx(1.2), pytest.approx(0.7))
    assert (chosen.law, chosen.peak.kl) == ("best-of-n", pytest.approx((1.2 / 0.6) ** 2))
    assert fitted(points(lambda d: d, 0)[:3]) is None


# The report ---------------------------------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Which elements are open, which were there, and what they load."""

    VOID = ("meta", "input", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.loads += [value or "" for name, value in attributes if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_by_itself_and_says_what_the_data_say(tmp_path: Path) -> None:
    def text(who: str, prompt: int, number: int) -> str:
        return f"<script>alert({prompt})</script> & more"

    folders = []
    for name, level, proxy in (("good", 0.5, None), ("poor", 0.1, 1.0)):
        trail = [{"update": u, "kl": 0.3 * u, "proxy": proxy and proxy * u, "gold": 0.2 * u, "each": {}} for u in range(5)]
        folders += runs(tmp_path, {name: level}, text=text, trail=trail, warnings=["the chosen fell"])
    found = together(folders, "Which one", tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert reader.loads == []
    assert not re.findall(r"(?<!w3\.org/2000/svg)https?://(?!www\.w3\.org)", page)
    assert reader.seen.count("script") == 1  # our own; those in answers are only words
    colours = {name: set(re.findall(rf'fill="(#\w+)"><title>{name}:', page)) for name in ("good", "poor")}
    assert [len(seen) for seen in colours.values()] == [1, 1]  # whoever it is, in every picture
    assert colours["good"] != colours["poor"]
    assert "&lt;script&gt;alert(0)&lt;/script&gt; &amp; more" in page
    assert reader.seen.count("svg") == 6  # rewards; gold and proxy by KL; gold by three costs
    for told in (
        found.answer(),
        "▲",
        "the chosen fell",
        "@media screen and (prefers-color-scheme: dark)",
        "@media print",
        "--out",
    ):
        assert told in page.replace("&#x27;", "'"), told
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    assert data["answer"] == found.answer()
    assert [line["name"] for line in data["lines"]] == ["good", "poor"]
    words = (tmp_path / "out" / "report.md").read_text()
    assert words.startswith(f"# Which one\n\n**{found.answer()}**")
    assert "| good is better than poor |" in words


def test_no_figure_of_the_data_is_what_json_has_no_word_for(tmp_path: Path) -> None:
    found = together([finished(tmp_path / "a", scoring(1, 0), kl=None)])
    assert json.loads(json.dumps(found.row(), allow_nan=False))["lines"][0]["reward"]["low"] is None


def test_the_command_compares_and_its_mistakes_are_told(
    three: tuple[list[Path], Comparison], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *map(str, three[0]), "--out", str(tmp_path / "out"), "--name", "Three"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("# Three\n\n**")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.html", "report.md", "report.json"}
    assert main(["compare", *map(str, three[0]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"] == three[1].answer()
    assert main(["compare", str(tmp_path)]) == 2
    assert "is no run" in capsys.readouterr().err


# By hand ------------------------------------------------------------------------------------------------------------------


def flat(values: dict[str, float]) -> Any:
    """A policy that scores the same everywhere; the start scores 0."""
    return {
        name: (lambda who, prompt, number, value=value: value if who == "policy" else 0.0) for name, value in values.items()
    }


def grid(folder: Path, scores: dict[str, Score], **more: Any) -> Comparison:
    return together(
        [
            finished(folder / f"{name}{seed}", score, name=name, optimizer=f"o:{name}/{name}", seed=seed, **more)
            for name, score in scores.items()
            for seed in range(5)
        ]
    )


def test_a_tie_is_half_a_win(tmp_path: Path) -> None:
    [duel] = grid(tmp_path, flat({"a": 1.0, "b": 1.0})).duels
    assert (duel.wins.mean, duel.difference.mean, duel.verdict) == (0.5, 0.0, "not separable")


def test_ratings_say_how_often_each_won(tmp_path: Path) -> None:
    scores = {
        "often": lambda who, prompt, number: float(prompt % 4 != 0) if who == "policy" else 0.0,  # wins three times in four
        "seldom": lambda who, prompt, number: 0.5 if who == "policy" else 0.0,
    }
    ranks = grid(tmp_path, scores, prompts=8, n=1).ranks
    assert [rank.name for rank in ranks] == ["often", "seldom"]
    odds = (0.75 * 40 + 0.1) / (0.25 * 40 + 0.1)
    assert ranks[0].rating.mean - ranks[1].rating.mean == pytest.approx(400 * math.log10(odds))
    assert ranks[0].rating.low < ranks[0].rating.mean < ranks[0].rating.high


def test_winning_by_length_is_seen_in_the_wins_at_equal_length(tmp_path: Path) -> None:
    def wordy(name: str) -> Any:
        return lambda who, prompt, number: " ".join(["word"] * (3 + (prompt % 5 if name == "long" and who == "policy" else 0)))

    dice = Random(0)
    folders = []
    for name in ("long", "short"):
        for seed in range(5):

            def score(who: str, prompt: int, number: int, name: str = name) -> float:
                return dice.gauss(1.2 * (prompt % 5) if name == "long" else 0.0, 1.0)

            more = {"name": name, "optimizer": f"o:{name}/{name}", "seed": seed, "prompts": 40, "text": wordy(name)}
            folders.append(finished(tmp_path / f"{name}{seed}", score, **more))
    [duel] = together(folders).duels
    assert duel.wins.mean > 0.8
    assert duel.wins_at_equal_length.mean < duel.wins.mean - 0.1


def test_the_prompts_that_are_shared_keep_their_scores(tmp_path: Path) -> None:
    root = finished(tmp_path / "a", lambda who, prompt, number: float(prompt), prompts=4, n=1)
    run = played(root)
    some = run.on([run.prompts[3], run.prompts[1]])
    assert some.policy["score"].tolist() == [[3.0], [1.0]]
    assert some.start["score"].tolist() == [[3.0], [1.0]]
    assert some.prompts == (run.prompts[3], run.prompts[1])


def test_a_point_that_a_seed_lacks_or_whose_distance_is_not_known_is_no_point(tmp_path: Path) -> None:
    def point(update: int, kl: float | None) -> dict[str, Any]:
        return {"update": update, "kl": kl, "proxy": None, "gold": 0.5, "each": {}}

    one = finished(tmp_path / "0", scoring(1, 0), trail=[point(0, 0.0), point(1, -0.02), point(2, 1.0), point(3, None)])
    two = finished(tmp_path / "1", scoring(1, 1), seed=1, trail=[point(0, 0.0), point(1, 0.0), point(3, 1.0)])
    [way] = together([one, two]).ways.values()
    assert [(at.update, at.kl.mean) for at in way] == [(0, 0.0), (1, 0.0)]
    assert (way[1].kl.low, way[1].kl.high) == (0.0, pytest.approx(0.117, abs=1e-3)), "of -0.02 and 0"


def test_what_whoever_compares_adds_is_a_section_of_its_own(tmp_path: Path) -> None:
    entrants = entrants_of([played(finished(tmp_path / "a", scoring(1, 0)))])
    note = Note("Tuning", ("three | trials",), ("entry", "changed"), (("a", "x | y"),))
    found = compare("noted", entrants, [note])
    write(found, entrants, tmp_path, "alignzoo bench x")
    assert (
        "## Tuning\n\n* three | trials\n\n| entry | changed |\n|---|---|\n| a | x \\| y |\n"
        in (tmp_path / "report.md").read_text()
    )
    page = (tmp_path / "report.html").read_text()
    assert "<h2>Tuning</h2><ul><li>three | trials</li></ul>" in page
    assert "<td>x | y</td>" in page
