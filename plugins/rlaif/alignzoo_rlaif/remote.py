"""A judge behind an endpoint: several sheets at once, by the log-probabilities of its answer where they are told, else by what
it wrote."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from alignzoo.records import Completion, Prompt
from alignzoo_rlaif.endpoint import EndpointError, Line
from alignzoo_rlaif.form import Sheet
from alignzoo_rlaif.parsing import found, parsed
from alignzoo_rlaif.sitting import Answer

if TYPE_CHECKING:
    from alignzoo_rlaif.hiring import Hired

T = TypeVar("T")

_WRITTEN = 32
"""Tokens for the answer, besides the thoughts."""

_REPLY = 512
"""Tokens for a reply that is to be a reference."""

_TOP = 20
"""Alternatives that are asked for: the most that the protocol allows."""


@dataclass
class RemoteOracle:
    """An endpoint that answers sheets."""

    line: Line
    hired: Hired
    offers_logprobs: bool = True

    def answer(self, sheets: Sequence[Sheet]) -> list[Answer]:
        """One answer for each sheet, in order. What was answered before something went wrong is in the cache."""
        return [self._read(sheet, said) for sheet, said in zip(sheets, self._all(sheets, self._judged), strict=True)]

    def reply(self, prompts: Sequence[Prompt]) -> list[Completion]:
        """What the endpoint's model would answer."""
        told = self._all(prompts, lambda p: self.line.ask(self._body(p, _REPLY)))
        return [Completion(said["text"], finished=not said.get("cut", False)) for said in told]

    def _all(self, asked: Sequence[T], ask: Callable[[T], dict[str, Any]]) -> list[dict[str, Any]]:
        """Several at once. After the first error nothing more is begun; what is under way comes to its end, and is kept."""
        errors: list[Exception] = []

        def one(this: T) -> dict[str, Any]:
            if errors:
                return {}
            try:
                return ask(this)
            except Exception as error:
                errors.append(error)
                return {}

        with ThreadPoolExecutor(self.line.endpoint.at_once) as crew:
            told = list(crew.map(one, asked))
        if errors:
            raise errors[0]
        return told

    def _judged(self, sheet: Sheet) -> dict[str, Any]:
        body = self._body(sheet.prompt, self.hired.thoughts + _WRITTEN)
        if self.hired.reading == "options" and self.offers_logprobs:
            try:
                return self.line.ask(body | {"logprobs": True, "top_logprobs": _TOP})
            except EndpointError as error:
                if "logprob" not in str(error):
                    raise
                self.offers_logprobs = False  # it does not offer them, and says so: what it writes must do
        return self.line.ask(body)

    def _body(self, prompt: Prompt, most: int) -> dict[str, Any]:
        turns = [{"role": turn.speaker, "content": turn.text} for turn in prompt.turns]
        return {"model": self.line.endpoint.model, "messages": turns, "max_tokens": most, "temperature": 0.0}

    def _read(self, sheet: Sheet, said: dict[str, Any]) -> Answer:
        text: str = said["text"]
        place = found(sheet, text)
        if place is None:
            return Answer(note=text or "(nothing)")
        if self.hired.reading == "options" and (chances := spread(sheet, place[1], said["tokens"])):
            return Answer(chances, text)
        return parsed(sheet, text)


def spread(sheet: Sheet, start: int, tokens: Sequence[Any]) -> tuple[float, ...]:
    """How likely each mark was where the answer names one: the alternatives to that token, with or without spaces and brackets,
    summed and renormalised. Nothing if the marks are not among them, or if the one that was written goes on in the next token:
    there it has alternatives that nobody told."""
    written = max(
        (mark for mark in sheet.marks if "".join(token for token, _ in tokens).startswith(mark, start)), key=len, default=""
    )
    at, here = 0, None
    for token, others in tokens:
        if at <= start < at + len(token):
            here = (token[: start - at], others) if start + len(written) <= at + len(token) else None
            break
        at += len(token)
    if here is None:
        return ()
    before, others = here
    sums = [math.fsum(math.exp(logp) for token, logp in others.items() if _says(token, before, mark)) for mark in sheet.marks]
    total = math.fsum(sums)
    return tuple(one / total for one in sums) if total > 0 else ()


def _says(token: str, before: str, mark: str) -> bool:
    """Whether a token says a mark: the mark itself, behind what stood before it in the token that was written, or alone."""
    return token.removeprefix(before).strip(" ()[].*\"'\n") == mark
