"""What an umpire's verdicts come to, by hand: tables of two orders, without runs and without anybody who is asked."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from finished import finished

from alignzoo.lab import store
from alignzoo.lab.claims import claim
from alignzoo.lab.compare.bouts import Bout, heard, orders, over, same
from alignzoo.lab.compare.duels import Entrant
from alignzoo.lab.compare.hearing import _base, _identity, _lender, alike
from alignzoo.lab.compare.played import played
from alignzoo.lab.compare.significance import SHARE, spread_of
from alignzoo.lab.compare.verdicts import Case, Kept, decided
from alignzoo.records import Completion, Prompt

NAN = math.nan


def bout(ahead: Any, behind: Any, *, alike: Any = 0.0, longer: Any = 0.0, names: str = "ab", seeds: Sequence[int] = ()) -> Bout:
    """Rows are seeds, columns prompts."""
    shape = np.asarray(ahead, dtype=float).shape
    tables = [np.broadcast_to(np.asarray(t, dtype=float), shape).copy() for t in (ahead, behind, longer, alike)]
    return Bout(names[0], names[1], tuple(seeds or range(shape[0])), *tables)


# The orders ---------------------------------------------------------------------------------------------------------------


def test_orders_by_hand() -> None:
    """Of four prompts: the same answer wins twice, the same place once, and one order finds a tie."""
    told = orders([bout([[0.9, 0.2, 0.7, 0.5]], [[0.6, 0.4, 0.1, 0.8]])], closed=False)
    assert told.consistent.mean == pytest.approx(2 / 4)
    assert told.biased.mean == pytest.approx(1 / 4)
    assert told.lean.mean == pytest.approx((0.3 - 0.2 + 0.6 - 0.3) / 4)
    assert told.unread.mean == 0.0


def test_what_nobody_was_asked_is_in_no_share_of_orders() -> None:
    """Two of four prompts have the same answers; of the others each place wins, and one order of one cannot be read."""
    one = bout([[1.0, NAN, 0.0, 0.0]], [[0.0, 0.0, 0.0, 0.0]], alike=[[0, 0, 1, 1]])
    told = orders([one], closed=False)
    assert (told.biased.mean, told.consistent.mean) == (0.5, 0.0)
    assert told.unread.mean == pytest.approx(1 / 4)
    assert told.lean.mean == pytest.approx((1.0 + 0.5) / 2)
    assert same([one], closed=False).mean == 0.5
    assert one.wins.tolist() == [[0.5, 0.25, 0.5, 0.5]]


def test_where_everybody_says_the_same_nothing_is_known_of_the_orders() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = orders([bout([[0.0, 0.0]], [[0.0, 0.0]], alike=1.0)], closed=False)
    assert math.isnan(told.consistent.mean)


def test_a_ratio_over_equal_weights_is_the_mean_of_pairs_with_its_interval() -> None:
    dice = np.random.default_rng(3)
    bouts = [bout(np.zeros((5, 8)), 0.0), bout(np.zeros((5, 8)), 0.0, names="ac")]
    figures = [dice.random((5, 8)) for _ in bouts]
    found = over(bouts, figures, [np.ones((5, 8))] * 2, SHARE, False)
    expected = spread_of((figures[0] + figures[1]) / 2).interval(SHARE)
    assert (found.mean, found.low, found.high) == pytest.approx((expected.mean, expected.low, expected.high))
    closed = over(bouts, figures, [np.ones((5, 8))] * 2, SHARE, True)
    expected = spread_of((figures[0] + figures[1]) / 2, closed=True).interval(SHARE)
    assert (closed.low, closed.high) == pytest.approx((expected.low, expected.high))


def test_a_ratio_counts_seeds_by_what_was_asked_there() -> None:
    """b is met under seeds 0 and 1, c under seed 1 alone."""
    bouts = [bout([[1.0], [0.0]], 0.0), bout([[1.0]], 0.0, names="ac", seeds=[1])]
    found = over(bouts, [one.ahead for one in bouts], [np.ones_like(one.ahead) for one in bouts], SHARE, False)
    assert found.mean == pytest.approx(2 / 3)


# The duels ----------------------------------------------------------------------------------------------------------------


def test_a_pair_is_told_from_the_side_of_whoever_wins_more_and_says_the_same() -> None:
    dice = np.random.default_rng(0)
    ahead, behind, longer = dice.random((5, 20)) ** 2, dice.random((5, 20)) ** 2, dice.normal(size=(5, 20)) + 1
    told, turned = bout(ahead, behind, longer=longer), bout(1 - behind, 1 - ahead, longer=-longer, names="ba")
    assert told.wins.mean() < 0.5
    (one,), _ = heard([told], closed=False)
    (other,), _ = heard([turned], closed=False)
    assert one == other
    assert (one.duel.first, one.duel.second) == ("b", "a")
    assert one.duel.wins.mean == pytest.approx(1 - told.wins.mean())
    assert one.duel.difference.mean == pytest.approx(one.duel.wins.mean - 0.5)


def test_ratings_are_of_the_seeds_that_everybody_has() -> None:
    """a beats b under seed 1, which all share, and loses under seed 0."""
    pairs = [
        bout([[0.0] * 4, [0.8] * 4], [[0.0] * 4, [0.8] * 4], seeds=[0, 1]),
        bout([[0.7] * 4], 0.7, names="ac", seeds=[1]),
        bout([[0.6] * 4], 0.6, names="bc", seeds=[1]),
    ]
    _, ranks = heard(pairs, closed=False)
    assert [rank.name for rank in ranks] == ["a", "b", "c"]
    assert sum(rank.rating.mean for rank in ranks) == pytest.approx(3000)
    _, none = heard([pairs[0], replace(pairs[1], seeds=(2,)), pairs[2]], closed=False)
    assert none == ()


# What is kept -------------------------------------------------------------------------------------------------------------

ASKED, OTHER = Prompt.ask("why?"), Prompt.ask("how?")
ONE, TWO = Completion("one"), Completion("two")


def test_a_verdict_is_of_one_umpire_one_prompt_and_two_answers_in_one_order() -> None:
    cases = [
        Case.put("umpire", ASKED, ONE, TWO),
        Case.put("other", ASKED, ONE, TWO),
        Case.put("umpire", OTHER, ONE, TWO),
        Case.put("umpire", ASKED, TWO, ONE),
        Case.put("umpire", ASKED, Completion("one", finished=False), TWO),
        Case.put("umpire", ASKED, ONE, Completion("two", finished=False)),
    ]
    assert len({case.key for case in cases}) == len(cases)
    assert Case.put("umpire", ASKED, Completion("one", tokens=(1,), logps=(-1.0,)), TWO).key == cases[0].key
    assert alike(ONE, Completion("one", tokens=(1,)))
    assert not alike(ONE, Completion("one", finished=False))


def test_lines_that_are_no_verdicts_are_counted_and_left(tmp_path: Path) -> None:
    file = tmp_path / "verdicts.jsonl"
    good = '{"key": "a", "first": 0.25}\n{"key": "b", "first": null}\n'
    bad = ['{"key": "c", "first": 1.5}', '{"key": "d"}', "[]", "7", '{"key": "e", "first": "x"}', "\xff", '{"key": "f", "fir']
    file.write_bytes((good + "\n".join(bad)).encode("latin-1"))
    kept = Kept.at(file)
    assert kept.damaged == len(bad)
    assert set(kept.says) == {"a", "b"}
    assert kept.says["a"] == 0.25
    assert math.isnan(kept.says["b"])


@dataclass
class Counts:
    """An umpire that knows how much it was asked at once."""

    batches: list[int] = field(default_factory=list)

    def prefer(self, prompts: Sequence[Prompt], first: Sequence[Completion], second: Sequence[Completion]) -> list[float]:
        self.batches.append(len(prompts))
        if len(self.batches) > 11:
            raise ConnectionError("gone")
        return [float(said.text) / 1000 for said in first]


def cases(count: int) -> list[Case]:
    return [Case.put("umpire", ASKED, Completion(f"{n}"), TWO) for n in range(count)]


def test_verdicts_are_asked_and_kept_bunch_by_bunch_and_progress_is_told(tmp_path: Path) -> None:
    umpire, lines = Counts(), []
    file = tmp_path / "there" / "verdicts.jsonl"
    said = decided(cases(700), file, "it", lambda: umpire, lines.append)
    assert umpire.batches == [64] * 10 + [60]
    assert lines == ["duels: it is asked for 700 verdicts", "duels: 640 of 700"]
    assert list(said.values()) == [n / 1000 for n in range(700)]
    with pytest.raises(ConnectionError):
        decided(cases(764), file, "it", lambda: umpire, lines.append)
    assert len(file.read_text().splitlines()) == 700
    fresh = Counts()
    decided(cases(764), file, "it", lambda: fresh, lines.append)
    assert fresh.batches == [64]


def test_what_comes_behind_a_torn_line_is_not_torn_with_it(tmp_path: Path) -> None:
    """Another process may have been killed since the file was read."""
    kept = Kept(tmp_path / "verdicts.jsonl")
    kept.path.write_text('{"key": "a", "first": 0.5}\n{"key": "b", "fir')
    kept.add(cases(1), [0.25])
    again = Kept.at(kept.path)
    assert (again.says, again.damaged) == ({"a": 0.5, cases(1)[0].key: 0.25}, 1)


def test_nobody_is_seated_where_all_is_kept_not_even_for_what_could_not_be_read(tmp_path: Path) -> None:
    def never() -> Any:
        raise AssertionError("there is nothing to ask")

    file = tmp_path / "verdicts.jsonl"
    Kept(file).add(cases(2), [0.5, NAN])
    said = list(decided(cases(2), file, "it", never, print).values())
    assert said[0] == 0.5
    assert math.isnan(said[1])


def test_of_two_who_ask_at_the_same_place_one_waits_and_finds_the_answers(tmp_path: Path) -> None:
    file, lines, told = tmp_path / "verdicts.jsonl", [], threading.Event()
    taken = claim(file.with_suffix(".claim"))
    assert taken is not None

    def tell(line: str) -> None:
        lines.append(line)
        told.set()

    umpire = Counts()
    waiting = threading.Thread(target=lambda: decided(cases(3), file, "it", lambda: umpire, tell))
    waiting.start()
    assert told.wait(30)
    assert lines == ["waiting for another process that is at the same (verdicts.claim)"]
    Kept(file).add(cases(3), [0.1, 0.2, 0.3])
    taken.release()
    waiting.join()
    assert umpire.batches == []


# Who judges ---------------------------------------------------------------------------------------------------------------


def umpire(*, borrows: bool, digest: str = "0", **row: Any) -> Any:
    part = SimpleNamespace(row=lambda: {"use": "it", **row}, behind=dict, found=SimpleNamespace(digest=lambda: digest))
    return SimpleNamespace(part=part, borrows=borrows)


def entrant(root: Path, name: str, base: str, model: dict[str, Any]) -> Entrant:
    run = finished(root / name, lambda who, prompt, number: 0.0, name=name, changes={"model": model})
    files = store.Folder(run).train
    store.write_json(files.summary, {**store.read_json(files.summary), "base": base})
    return Entrant(name, (played(run),))


def test_an_umpire_is_another_with_other_settings_bytes_or_files_or_with_another_base_to_read_with(tmp_path: Path) -> None:
    local = {"path": "/here/model", "quantize": "none"}
    one = [entrant(tmp_path / "1", "b", "aaaa", local)]
    moved = [entrant(tmp_path / "2", "b", "aaaa", {**local, "path": "/there/model", "lora": {"rank": 8}})]
    other = [entrant(tmp_path / "3", "b", "bbbb", local)]
    coarse = [entrant(tmp_path / "4", "b", "aaaa", {**local, "quantize": "nf4"})]
    hub = [entrant(tmp_path / "5", "b", "", {"path": "some/model", "quantize": "none"})]
    reader = umpire(borrows=True)
    told = {_identity(reader, there) for there in (one, other, coarse, hub)}
    assert len(told) == 4
    assert _identity(reader, moved) == _identity(reader, one), (
        "where its files lie, and what is trained on it, is nothing to it"
    )
    assert _base(hub[0].runs[0])["path"] == "some/model"
    alone = umpire(borrows=False)
    assert _identity(alone, one) == _identity(alone, other) != _identity(reader, one)
    assert _identity(umpire(borrows=False, digest="1"), one) != _identity(alone, one)
    assert _identity(umpire(borrows=False, question="?"), one) != _identity(alone, one)


def test_the_base_that_is_lent_is_that_of_the_first_by_name_whoever_leads(tmp_path: Path) -> None:
    both = [entrant(tmp_path, "b", "bbbb", {}), entrant(tmp_path, "a", "aaaa", {})]
    assert _lender(both).folder == tmp_path / "a"
    assert _lender(both[::-1]).folder == tmp_path / "a"
