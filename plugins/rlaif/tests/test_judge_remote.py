"""A remote judge beside a small real server that misbehaves: slow, busy, broken, cut short, garbage, gone."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from alignzoo.records import Completion, Prompt
from alignzoo_rlaif.cache import Cache, key_of
from alignzoo_rlaif.endpoint import CostError, Endpoint, EndpointError, Line
from alignzoo_rlaif.form import Form
from alignzoo_rlaif.hiring import Hired
from alignzoo_rlaif.judging import Case, JudgeError
from alignzoo_rlaif.remote import RemoteOracle, spread
from alignzoo_rlaif.sitting import Sitting

FORM = Form(compare="{question} {A}: {first} {B}: {second}", letters=(("A", "B"),), answer="better: {letter}")
CASE = Case(Prompt.ask("Where?"), Completion("Here."), Completion("There."))
USAGE = {"prompt_tokens": 100, "completion_tokens": 10}


def said(text: str, tokens: list[tuple[str, dict[str, float]]] | None = None, usage: Any = USAGE) -> bytes:
    """A chat completion as the protocol has it."""
    content = [
        {"token": token, "logprob": 0.0, "top_logprobs": [{"token": t, "logprob": math.log(p)} for t, p in top.items()]}
        for token, top in tokens or []
    ]
    choice = {"message": {"role": "assistant", "content": text}, "logprobs": {"content": content} if tokens else None}
    return json.dumps({"choices": [choice], "usage": usage}).encode()


@dataclass
class Server:
    """Answers by a list of behaviours, the last of which goes on for ever."""

    behaviours: list[Callable[[BaseHTTPRequestHandler], None]]
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    url: str = ""

    def handle(self, page: Any) -> None:
        page.asked = json.loads(page.rfile.read(int(page.headers["Content-Length"])))
        self.asked.append(page.asked)
        self.keys.append(page.headers["Authorization"])
        (self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0])(page)


def giving(body: bytes, status: int = 200, length: int | None = None, **headers: str) -> Callable[..., None]:
    def behave(page: BaseHTTPRequestHandler) -> None:
        page.send_response(status)
        for name, value in headers.items():
            page.send_header(name.replace("_", "-"), value)
        page.send_header("Content-Length", str(len(body) if length is None else length))
        page.end_headers()
        page.wfile.write(body)

    return behave


def dripping(page: BaseHTTPRequestHandler) -> None:
    """Now and then a byte: no single read is late, and the whole never comes."""
    page.send_response(200)
    page.send_header("Content-Length", "100000")
    page.end_headers()
    over = threading.Event()
    for _ in range(200):
        try:
            page.wfile.write(b" ")
            page.wfile.flush()
        except OSError:
            return
        over.wait(0.02)


def hanging_up(page: BaseHTTPRequestHandler) -> None:
    page.connection.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    running: list[ThreadingHTTPServer] = []

    def start(*behaviours: Callable[..., None]) -> Server:
        server = Server(list(behaviours))

        class Page(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/chat/completions"
                server.handle(self)

            def log_message(self, *words: Any) -> None:
                pass

        running.append(ThreadingHTTPServer(("127.0.0.1", 0), Page))
        threading.Thread(target=running[-1].serve_forever, daemon=True, kwargs={"poll_interval": 0.01}).start()
        server.url = f"http://127.0.0.1:{running[-1].server_address[1]}/v1"
        return server

    yield start
    for one in running:
        one.shutdown()
        one.server_close()


@dataclass
class Patience:
    """Waits without waiting."""

    waited: list[float] = field(default_factory=list)

    def __call__(self, seconds: float) -> None:
        self.waited.append(seconds)


def hired(server: Server | str, folder: Path, hire: dict[str, Any] | None = None, **settings: Any) -> Hired:
    url = server if isinstance(server, str) else server.url
    endpoint = Endpoint(url=url, model="big/one", cache=str(folder / "judged"), **({"at_once": 1} | settings))
    return Hired(which="remote", form=FORM, endpoint=endpoint, **(hire or {}))


def sitting(hire: Hired, patience: Patience | None = None) -> Sitting:
    return Sitting(RemoteOracle(replace(hire.endpoint.line(), wait=patience or Patience()), hire), hire)


def test_a_verdict_by_log_probabilities_in_both_orders(serve, tmp_path):
    first = said("better: A", [("better", {}), (": ", {}), ("A", {"A": 0.6, " A": 0.1, "B": 0.2, "x": 0.1})])
    second = said("better: B", [("better:", {}), (" B", {" A": 0.1, " B": 0.9})])
    server = serve(giving(first), giving(second))
    judge = hired(server, tmp_path).judge(None)
    (verdict,) = judge.compare([CASE], "Which?")
    assert (verdict.shown_first, verdict.shown_second) == (pytest.approx(0.7 / 0.9), pytest.approx(0.9))
    assert server.asked[0] == {
        "model": "big/one",
        "messages": [{"role": "user", "content": "Which? A: Here. B: There."}],
        "max_tokens": 32,
        "temperature": 0.0,
        "logprobs": True,
        "top_logprobs": 20,
    }
    assert server.asked[1]["messages"][0]["content"] == "Which? A: There. B: Here."
    assert server.keys == [None, None]


def test_the_last_answer_counts_and_tokens_are_found_by_their_place(tmp_path):
    sheet = FORM.comparison(CASE, "Which?", turned=False, seed=0)
    tokens = [["A or", {}], [" B? better", {}], [": (", {}], ["(B", {"(A": math.log(0.25), "(B": math.log(0.75)}]]
    assert spread(sheet, len("A or B? better: (("), tokens) == pytest.approx((0.25, 0.75))
    assert spread(sheet, 3, tokens) == ()
    assert spread(sheet, 999, tokens) == ()


def test_a_mark_that_takes_several_tokens_is_not_read_by_the_first(serve, tmp_path):
    """ "10" digit by digit: the alternatives to "1" say nothing of "0"."""
    text = said("The rating is 10", [("The rating is ", {}), ("1", {"1": 0.9, "2": 0.1}), ("0", {"0": 1.0})])
    judge = hired(serve(giving(text)), tmp_path).judge(None)
    assert judge.rate([CASE.prompt], [CASE.first], "How good?") == [1.0]


def test_probabilities_that_cannot_be_are_not_believed(serve, tmp_path):
    odd = json.loads(said("better: A", [("better: ", {}), ("A", {"A": 0.5, "B": 0.5})]))
    odd["choices"][0]["logprobs"]["content"][1]["top_logprobs"][0]["logprob"] = 1e6
    odd["usage"] = {"prompt_tokens": -1_000_000, "completion_tokens": 1}
    hire = hired(serve(giving(json.dumps(odd).encode())), tmp_path, {"orders": "drawn"}, price_in=1.0)
    (verdict,) = hire.judge(None).compare([CASE], "Which?")
    assert max(verdict.shown_first, 1 - verdict.shown_first) == pytest.approx(1 / 1.5)
    assert hire.endpoint.line().cache.cost > 0


def test_without_log_probabilities_what_is_written_counts(serve, tmp_path):
    refusing = giving(b'{"error": "logprobs are not supported by this model"}', 400)
    server = serve(refusing, giving(said("Well, better: B")), giving(said("better: B")))
    (verdict,) = hired(server, tmp_path).judge(None).compare([CASE], "Which?")
    assert (verdict.shown_first, verdict.shown_second) == (0.0, 1.0)
    assert ["logprobs" in body for body in server.asked] == [True, False, False]


@pytest.mark.parametrize(
    "trouble",
    [
        giving(b"busy", 429),
        giving(b"broken", 500),
        giving(said("better: A")[:40], length=len(said("better: A"))),
        giving(b"<html>garbage</html>"),
        giving(b'{"choices": []}'),
        giving(b'{"choices": [{"message": {"content": 7}}]}'),
        giving(b"[" * 100_000),
        giving(said("A", [("A", {"A": 1.0})]).replace(b'"logprob": 0.0}', b'"logprob": 1' + b"0" * 400 + b"}")),
        giving(b"", 503, Retry_After="\xb2"),
        hanging_up,
    ],
    ids=["429", "500", "cut", "garbage", "empty", "no text", "deep", "past all numbers", "odd wait", "hang up"],
)
def test_what_may_be_over_soon_is_tried_again(serve, tmp_path, trouble):
    server = serve(trouble, trouble, giving(said("better: A")))
    patience = Patience()
    (verdict,) = sitting(hired(server, tmp_path, {"orders": "drawn"}), patience).compare([CASE], "Which?")
    assert verdict.unread == 0
    assert len(server.asked) == 3
    assert 1 <= patience.waited[0] <= 1.5
    assert 2 <= patience.waited[1] <= 3


def test_a_slow_answer_is_given_up_though_bytes_keep_coming(serve, tmp_path):
    server = serve(dripping, giving(said("better: A")))
    (verdict,) = sitting(hired(server, tmp_path, {"orders": "drawn"}, timeout=0.2)).compare([CASE], "Which?")
    assert verdict.unread == 0
    assert len(server.asked) == 2


def silent(page: BaseHTTPRequestHandler) -> None:
    """It has heard, and says nothing."""
    threading.Event().wait(1.0)


def dripping_head(page: BaseHTTPRequestHandler) -> None:
    """The head of an answer that never comes to its end, byte by byte."""
    over = threading.Event()
    with contextlib.suppress(OSError):
        for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100:
            page.connection.sendall(bytes([byte]))
            over.wait(0.02)


@pytest.mark.parametrize("trouble", [dripping, silent, dripping_head])
def test_the_deadline_is_one_for_the_whole_answer(serve, tmp_path, trouble):
    with pytest.raises(EndpointError, match=r"is gone: no whole answer within 0\.1 seconds \(2 tries\)"):
        sitting(hired(serve(trouble), tmp_path, timeout=0.1, tries=2)).compare([CASE], "Which?")


def test_whoever_is_late_is_hung_up_on(serve, tmp_path):
    """The endpoint notices: it cannot drip to its end."""
    drips: list[int] = []

    def counted(page: Any) -> None:
        page.send_response(200)
        page.send_header("Content-Length", "100000")
        page.end_headers()
        over = threading.Event()
        with contextlib.suppress(OSError):
            for number in range(200):
                page.wfile.write(b" ")
                drips.append(number)
                over.wait(0.02)

    server = serve(counted, giving(said("better: A")))
    sitting(hired(server, tmp_path, {"orders": "drawn"}, timeout=0.5)).compare([CASE], "Which?")
    assert len(drips) < 150  # some 25, and those on their way


def test_an_answer_without_end_is_cut(serve, tmp_path):
    megabytes: list[int] = []

    def endless(page: BaseHTTPRequestHandler) -> None:
        page.send_response(200)
        page.end_headers()
        with contextlib.suppress(OSError):
            for number in range(100):
                page.wfile.write(b" " * 2**20)
                megabytes.append(number)

    server = serve(endless, giving(said("better: A")))
    (verdict,) = sitting(hired(server, tmp_path, {"orders": "drawn"})).compare([CASE], "Which?")
    assert (verdict.unread, len(server.asked)) == (0, 2)
    assert len(megabytes) < 60  # 16, and what is on its way


def test_an_endpoint_says_when_to_come_back_and_is_believed_within_reason(serve, tmp_path):
    busy = giving(b"", 429, Retry_After="17"), giving(b"", 503, Retry_After="4000"), giving(said("better: A"))
    patience = Patience()
    sitting(hired(serve(*busy), tmp_path, {"orders": "drawn"}), patience).compare([CASE], "Which?")
    assert patience.waited == [17.0, 60.0]


@pytest.mark.parametrize(
    ("status", "hint"), [(400, "itself is refused"), (401, "set key_from"), (404, "check the address"), (302, "refused")]
)
def test_what_is_refused_is_told_at_once(serve, tmp_path, status, hint):
    server = serve(giving(b"no such thing", status))
    with pytest.raises(EndpointError, match=f"refuses: {status} no such thing .*{hint}"):
        sitting(hired(server, tmp_path)).compare([CASE], "Which?")
    assert len(server.asked) == 1


def test_an_endpoint_that_is_gone_costs_nothing_that_it_has_said(serve, tmp_path):
    cases = [Case(CASE.prompt, Completion(f"{n}."), CASE.second) for n in range(3)]
    server = serve(*[giving(said("better: A"))] * 4, giving(b"", 500))
    hire = hired(server, tmp_path, tries=2)
    with pytest.raises(EndpointError, match=r"is gone: 500 \(2 tries\)\. 4 answers are kept in .*run it again"):
        sitting(hire).compare(cases, "Which?")
    assert len(server.asked) == 6
    server.behaviours[:] = [giving(said("better: B"))]
    verdicts = sitting(hire).compare(cases, "Which?")
    assert len(server.asked) == 8  # two were left to ask
    assert [verdict.shown_first for verdict in verdicts] == [1.0, 1.0, 0.0]


def test_what_is_waited_for_is_told_at_the_first_retry_and_once(serve, tmp_path, caplog):
    server = serve(giving(b"", 503), giving(b"", 503), giving(said("better: A")), giving(b"", 503), giving(said("better: A")))
    sitting(hired(server, tmp_path, tries=5, timeout=7)).compare([CASE], "Which?")
    (told,) = (one.getMessage() for one in caplog.records if one.name == "alignzoo")
    assert told.startswith(f"{server.url} does not answer (503). What is asked is tried again, 4 times, with about 19 seconds")
    assert "each try may take 7" in told


def test_who_answers_at_once_is_told_of_nowhere(serve, tmp_path, caplog):
    sitting(hired(serve(giving(said("better: A"))), tmp_path)).compare([CASE], "Which?")
    assert not caplog.records


def test_nobody_there(tmp_path):
    with pytest.raises(EndpointError, match="is gone: ConnectionRefusedError"):
        sitting(hired("http://127.0.0.1:9/v1", tmp_path, tries=2)).compare([CASE], "Which?")
    assert not (tmp_path / "judged").exists()  # nothing was sent, so nothing was paid


def test_answers_are_kept_by_prompt_and_model_and_survive_a_torn_line(serve, tmp_path):
    server = serve(giving(said("better: A")))
    hire = hired(server, tmp_path)
    sitting(hire).compare([CASE], "Which?")
    assert len(server.asked) == 2
    sitting(hire).compare([CASE], "Which?")
    assert len(server.asked) == 2
    sitting(hire).compare([CASE], "Which one?")
    assert len(server.asked) == 4
    (file,) = (tmp_path / "judged").iterdir()
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    file.write_bytes(file.read_bytes()[:-30])  # killed while it wrote
    line = hire.endpoint.line()
    assert (len(line.cache.answers), line.cache.damaged) == (3, 1)
    sitting(hire).compare([CASE], "Which one?")
    assert len(server.asked) == 5
    assert len(hire.endpoint.line().cache.answers) == 4
    other = replace(hire, endpoint=replace(hire.endpoint, model="another"))
    sitting(other).compare([CASE], "Which?")
    assert len(server.asked) == 7


def test_a_cache_reads_whatever_it_finds(tmp_path):
    cache = Cache.at(tmp_path, "u", "m")
    cache.put("k", {"text": "hä"}, 0.5)
    cache.put("l", None, 0.25)
    cache.path.write_bytes(cache.path.read_bytes() + b'\xff\n[1]\n{"key": 1}\n{"key":"t","answ')
    again = Cache.at(tmp_path, "u", "m")
    assert (again.answers, again.cost, again.requests, again.damaged) == ({"k": {"text": "hä"}}, 0.75, 2, 4)
    again.put("n", {"text": "new"}, 0.0)
    assert Cache.at(tmp_path, "u", "m").answers["n"] == {"text": "new"}
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1}) != key_of({"a": 1, "b": 3})


def test_the_cost_never_passes_its_cap_over_runs(serve, tmp_path):
    server = serve(giving(said("better: A")))
    # each answer costs 100 · 10 + 10 · 100 = 2000 per million; the most it can cost is more than that
    settings = {"price_in": 10.0, "price_out": 100.0, "most_cost": 0.012}
    hire = hired(server, tmp_path, **settings)
    cases = [Case(CASE.prompt, Completion(f"{n}."), CASE.second) for n in range(9)]
    for _ in range(2):
        with pytest.raises(CostError, match=r"0\.01 of 0\.012 is spent, .* 5 answers are kept"):
            sitting(hire).compare(cases, "Which?")
    assert len(server.asked) == 5
    assert hire.endpoint.line().cache.cost == pytest.approx(0.01)
    many = hired(server, tmp_path / "many", at_once=8, **settings)
    with pytest.raises(CostError):
        sitting(many).compare(cases, "Which?")
    assert many.endpoint.line().cache.cost <= 0.012


def test_an_answer_that_was_lost_may_have_been_paid(serve, tmp_path):
    server = serve(giving(b"garbage"), giving(said("better: A", usage=None)))
    hire = hired(server, tmp_path, {"orders": "drawn"}, price_out=100.0)
    sitting(hire).compare([CASE], "Which?")
    assert hire.endpoint.line().cache.cost == pytest.approx(2 * 32 * 100 / 1e6)  # both at the most they can have cost


def test_requests_are_capped_and_paced(serve, tmp_path):
    server = serve(giving(said("better: A")))
    with pytest.raises(CostError, match="all 3 requests are made"):
        sitting(hired(server, tmp_path, most_requests=3)).compare([CASE, replace(CASE, first=Completion("x"))], "Which?")
    assert len(server.asked) == 3
    hire, patience = hired(server, tmp_path / "paced", per_minute=30), Patience()
    line = Line(hire.endpoint, "", hire.endpoint.line().cache, patience, clock=lambda: 0.0)
    Sitting(RemoteOracle(line, hire), hire).compare([CASE, replace(CASE, first=Completion("x"))], "Which?")
    assert patience.waited == [2.0, 4.0, 6.0]


def test_half_a_character_and_a_bill_beyond_counting_are_kept_as_something_sane(serve, tmp_path):
    odd = said("better: A \ud800", usage={"prompt_tokens": 10**400, "completion_tokens": 1})
    hire = hired(serve(giving(odd)), tmp_path, {"orders": "drawn"}, price_in=1.0)
    (verdict,) = sitting(hire).compare([CASE], "Which?")
    assert (verdict.unread, verdict.note) == (0, "better: A ?")
    cache = hire.endpoint.line().cache
    assert (len(cache.answers), cache.damaged) == (1, 0)
    assert 0 < cache.cost < 1e-3  # the most that it can have been


def test_several_at_once_come_back_in_order(serve, tmp_path):
    def even(page: Any) -> None:
        digits = re.findall(r"\d+", page.asked["messages"][0]["content"])
        giving(said(f"better: {'AB'[int(digits[0]) % 2]}"))(page)

    server = serve(even)
    cases = [Case(CASE.prompt, Completion(f"{n}."), CASE.second) for n in range(12)]
    verdicts = sitting(hired(server, tmp_path, at_once=6)).compare(cases, "Which?")
    assert [verdict.shown_first for verdict in verdicts] == [1.0, 0.0] * 6
    assert len(server.asked) == 24


def test_the_key_comes_from_the_environment_and_goes_nowhere_else(serve, tmp_path, monkeypatch):
    server = serve(giving(said("better: A")), giving(said("better: A")), giving(b"bad key:" + b" x" * 93 + b" s3cret", 403))
    hire = hired(server, tmp_path, key_from="MY_JUDGE_KEY")
    monkeypatch.delenv("MY_JUDGE_KEY", raising=False)
    with pytest.raises(JudgeError, match="the environment has no variable MY_JUDGE_KEY"):
        hire.judge(None)
    monkeypatch.setenv("MY_JUDGE_KEY", "s3cret")
    hire.judge(None).compare([CASE], "Which?")
    assert server.keys == ["Bearer s3cret"] * 2
    with pytest.raises(EndpointError) as error:
        hire.judge(None).compare([CASE], "And now?")
    assert "s3c" not in str(error.value)  # nor the part of it before the end of what is shown
    assert "s3cret" not in repr(hire.endpoint.line())
    kept = b"".join(file.read_bytes() for file in (tmp_path / "judged").iterdir())
    assert b"s3cret" not in kept
    assert "s3cret" not in os.fspath(hire.endpoint.line().cache.path)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ({"url": "localhost:8000"}, "is no address"),
        ({"url": "http://me:key@host/v1"}, "leave keys out"),
        ({"url": "http://host/v1?key=1"}, "leave keys out"),
        ({"most_cost": 1.0}, "nothing has a price"),
    ],
)
def test_settings_that_cannot_work(wrong, hint):
    with pytest.raises(JudgeError, match=hint):
        Endpoint(**({"model": "m", "url": "http://h/v1"} | wrong))


def test_the_endpoint_writes_its_own_reference(serve, tmp_path):
    server = serve(giving(said("My own.")), giving(said("better: A")), giving(said("better: B")))
    judge = sitting(hired(server, tmp_path, {"rates_by": "reference"}))
    assert judge.rate([CASE.prompt], [CASE.first], "Which?") == [1.0]
    assert server.asked[0]["messages"] == [{"role": "user", "content": "Where?"}]
    assert server.asked[1]["messages"][0]["content"] == "Which? A: Here. B: My own."


def test_a_reference_that_the_endpoint_cut_is_shown_as_cut(serve, tmp_path):
    long = json.loads(said("My own long"))
    long["choices"][0]["finish_reason"] = "length"
    server = serve(giving(json.dumps(long).encode()), giving(said("better: A")), giving(said("better: B")))
    hire = hired(server, tmp_path, {"rates_by": "reference"})
    sitting(hire).rate([CASE.prompt], [CASE.first], "Which?")
    assert server.asked[1]["messages"][0]["content"] == "Which? A: Here. B: My own long […]"
    assert [done.finished for done in sitting(hire).oracle.reply([CASE.prompt])] == [False]  # from the cache, too
