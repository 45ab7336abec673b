"""The duels of a report by a judge behind an endpoint, and by verdicts recorded in a file: no model is there, and none is
loaded (the runs compared here have none)."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import permutations
from pathlib import Path

import pytest
import tomli_w
from finished import finished

from alignzoo.lab.compare.comparison import Comparison
from alignzoo.lab.compare.together import together
from alignzoo_rlaif.endpoint import EndpointError
from alignzoo_rlaif.hiring import Hired
from alignzoo_rlaif.judging import JudgeError
from alignzoo_rlaif.rewards import AIJudge

BETWEEN = "Which reply is longer?"
FORM = {
    "compare": "{question}\nRequest: {request}\nA: {first}\nB: {second}",
    "letters": [["A", "B"]],
    "answer": "better: {letter}",
    "layout": "one line",
}
SAID = {"long": "one two three four", "brief": "one two", "start": "one"}


def first_is_better(first: str, second: str) -> float:
    """A judge that likes the longer one, and the first place a little."""
    return 0.6 + 0.3 * ((len(first) > len(second)) - (len(first) < len(second)))


@dataclass
class Endpoint:
    """Says what it is asked, as often as it may."""

    most: int = 1000
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, page: BaseHTTPRequestHandler) -> None:
        body = json.loads(page.rfile.read(int(page.headers["Content-Length"])))
        self.asked.append(body["messages"][-1]["content"])
        gone = len(self.asked) > self.most
        found = re.search(r"A: (.*)\nB: (.*)$", self.asked[-1])
        assert found
        p = first_is_better(found[1], found[2])
        top = [{"token": letter, "logprob": math.log(chance)} for letter, chance in ((" A", p), (" B", 1 - p))]
        content = [{"token": "better:", "logprob": 0.0, "top_logprobs": []}]
        content.append({"token": " A", "logprob": math.log(p), "top_logprobs": top})
        choice = {"message": {"role": "assistant", "content": "better: A"}, "logprobs": {"content": content}}
        told = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}).encode()
        page.send_response(503 if gone else 200)
        page.send_header("Content-Length", str(len(told)))
        page.end_headers()
        page.wfile.write(told)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    there = Endpoint()

    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            there.answer(self)

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True, kwargs={"poll_interval": 0.01}).start()
    there.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    yield there
    server.shutdown()
    server.server_close()


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two contestants under two seeds; each says the same to three prompts."""

    def run(name: str, seed: int) -> Path:
        def text(who: str, prompt: int, number: int) -> str:
            return SAID["start" if who == "start" else name]

        root = tmp_path / f"{name}-{seed}"
        return finished(root, lambda *at: 0.5, name=name, seed=seed, optimizer=f"optimizer:x/{name}", prompts=3, text=text)

    return [run(name, seed) for name in ("long", "brief") for seed in (0, 1)]


def compared(runs: list[Path], folder: Path, judge: dict[str, object]) -> Comparison:
    """What comes of the runs, decided by this judge."""
    file = folder / "duels.toml"
    table = {"use": "ai-judge", "between": BETWEEN, "judge": {"form": FORM, **judge}}
    file.write_text(tomli_w.dumps({"duels": table}))
    return together(runs, out=folder / "out", duels=file)


def remote(endpoint: Endpoint, folder: Path) -> dict[str, object]:
    line = {"url": endpoint.url, "model": "big", "cache": str(folder / "judged"), "at_once": 1, "tries": 1}
    return {"which": "remote", "endpoint": line}


def told(found: Comparison) -> list[tuple[str, str, float]]:
    assert found.hearing is not None
    return [(one.duel.first, one.duel.second, round(one.duel.wins.mean, 6)) for one in found.hearing.pairs]


WINS = [("long", "brief", 0.8), ("long", "the start", 0.8), ("brief", "the start", 0.8)]
"""(0.9 + 1 − 0.3) / 2: what is owed to the place cancels."""


def test_an_endpoint_decides_and_is_asked_each_case_once_in_each_order(
    runs: list[Path], endpoint: Endpoint, tmp_path: Path
) -> None:
    found = compared(runs, tmp_path, remote(endpoint, tmp_path))
    assert told(found) == WINS
    assert found.hearing is not None
    assert found.hearing.orders.lean.mean == pytest.approx(0.2)
    assert found.hearing.orders.consistent.mean == 1.0
    assert len(endpoint.asked) == len(set(endpoint.asked)) == 3 * 2 * 3, "pairs, orders, prompts; both seeds say the same"
    assert all(BETWEEN in sheet for sheet in endpoint.asked)
    assert told(compared(runs, tmp_path, remote(endpoint, tmp_path))) == WINS
    assert len(endpoint.asked) == 18


def test_an_endpoint_that_goes_away_is_named_and_what_it_said_is_not_asked_again(
    runs: list[Path], endpoint: Endpoint, tmp_path: Path
) -> None:
    endpoint.most = 7
    with pytest.raises(EndpointError, match="503"):
        compared(runs, tmp_path, remote(endpoint, tmp_path))
    met = len(endpoint.asked)
    endpoint.most = 1000
    assert told(compared(runs, tmp_path, remote(endpoint, tmp_path))) == WINS
    assert len(endpoint.asked) == met + (18 - 7)


def recorded(folder: Path, most: int | None = None) -> dict[str, object]:
    """A file of what the same judge would say."""
    file = folder / "verdicts-of-big.jsonl"
    rows = []
    for prompt in range(3):
        for first, second in permutations(SAID.values(), 2):
            p = first_is_better(first, second)
            turns = [{"speaker": "user", "text": f"question {prompt}?"}]
            rows.append({"turns": turns, "shown": [first, second], "question": BETWEEN, "chances": [p, 1 - p]})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows[:most]))
    return {"which": "recorded", "file": str(file)}


def test_recorded_verdicts_decide_as_who_said_them_would(runs: list[Path], tmp_path: Path) -> None:
    found = compared(runs, tmp_path, recorded(tmp_path))
    assert told(found) == WINS
    assert found.hearing is not None
    assert found.hearing.orders.lean.mean == pytest.approx(0.2)


def test_what_was_never_recorded_is_told(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(JudgeError, match=r"verdicts-of-big.jsonl: 1 of 18 things asked are not recorded.*question 2\?"):
        compared(runs, tmp_path, recorded(tmp_path, most=-1))
    assert told(compared(runs, tmp_path, recorded(tmp_path))) == WINS


def test_another_file_of_verdicts_under_the_same_name_is_another_judge(runs: list[Path], tmp_path: Path) -> None:
    judge = recorded(tmp_path)
    assert told(compared(runs, tmp_path, judge)) == WINS
    file = Path(str(judge["file"]))
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps({**row, "chances": [0.5, 0.5]}) + "\n" for row in rows))
    assert {wins for *_, wins in told(compared(runs, tmp_path, judge))} == {0.5}


def test_only_a_judge_that_is_the_runs_base_borrows_it_and_one_without_is_hired_once(tmp_path: Path) -> None:
    assert AIJudge().borrows
    assert not AIJudge(Hired(model="another")).borrows
    file = recorded(tmp_path)["file"]
    alone = AIJudge(Hired(which="recorded", file=Path(str(file))))
    assert not alone.borrows
    assert alone._alone is alone._alone
