"""An endpoint that speaks OpenAI's protocol, with the standard library alone: deadlines, retries, rate and cost caps.

Whatever goes wrong on the way is tried again, later and later; what the endpoint refuses is told at once. The key comes from
the environment, is sent to the named host only, and is written nowhere.
"""

from __future__ import annotations

import json
import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from annotated_types import Ge, Gt

from alignzoo.interfaces import Count
from alignzoo.limits import check_settings
from alignzoo_rlaif.cache import Cache, key_of
from alignzoo_rlaif.judging import JudgeError

_PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 529}
log = logging.getLogger("alignzoo")

_LONGEST_WAIT = 60.0
_MOST_BYTES = 2**24
"""An answer that is longer is cut there, and cannot be read."""


class EndpointError(JudgeError):
    """An endpoint that refuses, or that is gone."""


class CostError(JudgeError):
    """A cap that the next request might break."""


class _Passing(Exception):
    """Something that may be over soon. `paid` where the request may have been charged all the same."""

    def __init__(self, what: str, *, paid: bool = False, wait: float = 0.0) -> None:
        super().__init__(what)
        self.paid, self.wait = paid, wait


@dataclass(frozen=True)
class Endpoint:
    """Where a remote judge is, and how much it may be asked."""

    url: str = ""
    """The address before /chat/completions, as in "http://localhost:8000/v1"."""
    model: str = ""
    """The model's name there."""
    key_from: str = ""
    """The environment variable that holds the key; none if empty. The key itself is never stored."""
    timeout: Annotated[float, Gt(0)] = 60.0
    """Seconds that one whole answer may take."""
    tries: Count = 6
    """How often one request is tried before the endpoint counts as gone."""
    backoff: Annotated[float, Ge(0)] = 1.0
    """Seconds before the second try; twice as many before each further one, and up to half as many again by chance."""
    at_once: Count = 4
    """Requests under way at the same time."""
    per_minute: Annotated[int, Ge(0)] = 0
    """Requests that may be begun in a minute; 0 for any number."""
    price_in: Annotated[float, Ge(0)] = 0.0
    """What a million tokens cost that are read."""
    price_out: Annotated[float, Ge(0)] = 0.0
    """What a million tokens cost that are written."""
    most_cost: Annotated[float, Gt(0)] | None = None
    """What all requests of this model may cost together, those of earlier runs (in the cache) among them."""
    most_requests: Annotated[int, Gt(0)] | None = None
    """How many requests there may be, those of earlier runs among them."""
    cache: str = "runs/.judged"
    """The folder where answers are kept."""

    def __post_init__(self) -> None:
        check_settings(self)
        parts = urlsplit(self.url)
        if self.url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise JudgeError(f'endpoint.url: "{self.url}" is no address; write it as "http://localhost:8000/v1"')
        if parts.username or parts.password or parts.query:
            raise JudgeError("endpoint.url: leave keys out of the address; name the variable that holds one: key_from")
        if self.most_cost is not None and not (self.price_in or self.price_out):
            raise JudgeError(
                "endpoint.most_cost: nothing has a price, so it would never be reached; set price_in and price_out"
            )

    def line(self) -> Line:
        """The endpoint, ready to be asked."""
        if not self.url or not self.model:
            raise JudgeError('endpoint: a remote judge needs an address and a model: url = "http://…/v1", model = "…"')
        key = os.environ.get(self.key_from, "") if self.key_from else ""
        if self.key_from and not key:
            raise JudgeError(
                f"endpoint.key_from: the environment has no variable {self.key_from}; export the key under that name"
            )
        return Line(self, key, Cache.at(Path(self.cache), self.url, self.model))


@dataclass
class Line:
    """The line to an endpoint. Several threads may ask at once."""

    endpoint: Endpoint
    key: str = field(repr=False)
    cache: Cache
    wait: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    held: float = 0.0
    """The most that the requests under way can cost."""
    begun: int = 0
    """Requests under way."""
    _next: float = 0.0
    _told: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one chat: from the cache, or else from the endpoint, tried as often as is allowed."""
        key = key_of(body)
        if (known := self.cache.answers.get(key)) is not None:
            return known
        most = self._most(body)
        for number in range(self.endpoint.tries):
            self._hold(most)
            paid: float | None = None
            try:
                answer = self._sent(body)
                paid = self._price(answer, most)
                self.cache.put(key, answer, paid)
                return answer
            except _Passing as trouble:
                if trouble.paid:
                    self.cache.put(key, None, most)
                last, wait = trouble, max(trouble.wait, self.endpoint.backoff * 2**number * random.uniform(1, 1.5))
            finally:
                self._release(most)
            if number < self.endpoint.tries - 1:
                self._tell(last, number)
                self.wait(min(wait, _LONGEST_WAIT))
        raise EndpointError(
            f"{self.endpoint.url} is gone: {last} ({self.endpoint.tries} tries). {len(self.cache.answers)} answers are kept in "
            f"{self.cache.path}; run it again when it is back, and it goes on from there"
        )

    def _tell(self, trouble: _Passing, number: int) -> None:
        """Once, what is waited for and for how long: nobody should wonder at the silence."""
        with self._lock:
            if self._told:
                return
            self._told = True
        ahead = range(number, self.endpoint.tries - 1)
        waits = sum(min(1.25 * self.endpoint.backoff * 2**one, _LONGEST_WAIT) for one in ahead)
        log.warning(
            f"{self.endpoint.url} does not answer ({trouble}). What is asked is tried again, {len(ahead)} times, with about "
            f"{waits:.0f} seconds of waiting between; each try may take {self.endpoint.timeout:g}. What was said is kept"
        )

    # What a request may cost ------------------------------------------------------------------------------------------

    def _most(self, body: Mapping[str, Any]) -> float:
        """More than a request can cost: no token has less than a byte, and a message's frame has few."""
        read = sum(len(message["content"].encode()) + 16 for message in body["messages"])
        return (read * self.endpoint.price_in + int(body["max_tokens"]) * self.endpoint.price_out) / 1e6

    def _price(self, answer: Mapping[str, Any], most: float) -> float:
        """By the endpoint's own count of tokens; the most it can be, if it does not tell."""
        counts = [answer["usage"].get(name) for name in ("prompt_tokens", "completion_tokens")]
        if not all(isinstance(count, int) and 0 <= count < 2**32 for count in counts):
            return most
        return float(counts[0] * self.endpoint.price_in + counts[1] * self.endpoint.price_out) / 1e6

    def _hold(self, most: float) -> None:
        """Begin a request only if no cap can be broken by it and all those under way; and wait for its turn."""
        end, cache = self.endpoint, self.cache
        with self._lock:
            if end.most_cost is not None and cache.cost + self.held + most > end.most_cost:
                raise CostError(
                    f"endpoint.most_cost: {cache.cost:.4g} of {end.most_cost:g} is spent, and the next request may cost "
                    f"{most:.4g}. {len(cache.answers)} answers are kept in {cache.path}; allow more and run it again"
                )
            if end.most_requests is not None and cache.requests + self.begun >= end.most_requests:
                raise CostError(
                    f"endpoint.most_requests: all {end.most_requests} requests are made. {len(cache.answers)} answers are kept "
                    f"in {cache.path}; allow more and run it again"
                )
            self.held, self.begun = self.held + most, self.begun + 1
            now = self.clock()
            turn = max(now, self._next)
            self._next = turn + (60 / end.per_minute if end.per_minute else 0)
        if turn > now:
            self.wait(turn - now)

    def _release(self, most: float) -> None:
        with self._lock:
            self.held, self.begun = self.held - most, self.begun - 1

    # One try ----------------------------------------------------------------------------------------------------------

    def _sent(self, body: Mapping[str, Any]) -> dict[str, Any]:
        parts, most = urlsplit(self.endpoint.url), self.endpoint.timeout
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(str(parts.hostname), parts.port, timeout=most)
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        late, wires = threading.Event(), list[socket.socket]()
        deadline = threading.Timer(most, _hang_up, (wires, late))
        deadline.start()
        sent = False
        try:
            connection.connect()
            wires.append(connection.sock)  # the connection lets go of it where the answer is to be the last one
            if late.is_set():
                raise TimeoutError
            sent = True
            connection.request("POST", parts.path.rstrip("/") + "/chat/completions", json.dumps(body).encode(), headers)
            response = connection.getresponse()
            said = response.read(_MOST_BYTES)
            if late.is_set():
                raise TimeoutError
        except (OSError, HTTPException) as error:
            slow = late.is_set() or isinstance(error, TimeoutError)
            what = f"no whole answer within {most:g} seconds" if slow else f"{type(error).__name__} {error}".strip()
            raise _Passing(what, paid=sent) from error
        finally:
            deadline.cancel()
            connection.close()
        if response.status != 200:
            self._refused(response.status, response.getheader("Retry-After") or "", said)
        return heard(said)

    def _refused(self, status: int, after: str, said: bytes) -> None:
        what = f"{status} {self._plain(said)}".strip()
        if status in _PASSING:
            raise _Passing(what, wait=float(after) if after.isdecimal() else 0.0)
        hint = {
            401: "check the key" if self.key else "it wants a key: set key_from",
            403: "the key may not do this",
            404: "check the address and the model's name",
        }.get(status, "the request itself is refused")
        raise EndpointError(f"{self.endpoint.url} refuses: {what} ({hint})")

    def _plain(self, said: bytes) -> str:
        """Its own words, shortened; should it send the key back, without that."""
        text = " ".join(said.decode(errors="replace").split())
        return (text.replace(self.key, "…") if self.key else text)[:200]


def _hang_up(wires: Sequence[socket.socket], late: threading.Event) -> None:
    """When an answer is late: whoever waits for it, for its head or for the rest of it, hears its end. A socket's own timeout
    begins anew with every byte."""
    late.set()
    for wire in wires:
        with suppress(OSError):
            socket.socket.shutdown(wire, socket.SHUT_RDWR)  # below TLS, which another thread is reading through


def heard(said: bytes) -> dict[str, Any]:
    """What is kept of an answer: its text, its tokens with the likeliest alternatives where they are told, its usage, and
    whether it ended for want of room."""
    try:
        row = json.loads(said)
        choice = row["choices"][0]
        text = legible(choice["message"]["content"] or "")
        told = (choice.get("logprobs") or {}).get("content") or []
        tokens = [
            [
                legible(one["token"]),
                {legible(other["token"]): min(0.0, float(other["logprob"])) for other in one.get("top_logprobs") or []},
            ]
            for one in told
        ]
        cut = choice.get("finish_reason") == "length"
        return {"text": text, "tokens": tokens, "usage": dict(row.get("usage") or {}), "cut": cut}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise _Passing(f"an answer that cannot be read ({type(error).__name__})", paid=True) from error


def legible(text: str) -> str:
    """Text as it can be written down: half a pair of surrogates, which JSON can spell, becomes a question mark."""
    return str.encode(text, errors="replace").decode()
