"""Chat template → ids and back: the only place where records become tensors.

Prompt and reply are tokenized apart and their ids joined, so no token spans the boundary; one BOS at most, which the
template or the tokenizer puts before the prompt; every finished reply ends with an end token.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch

from alignzoo.model.choices import LongPrompts
from alignzoo.model.forest import Forest, Tree, plant
from alignzoo.records import Comparison, Completion, Prompt, Turn

TEMPLATES = ("auto", "chat", "dialogue", "plain")

log = logging.getLogger("alignzoo")


class TextError(ValueError):
    """Text that cannot be brought before this model."""


class RoomError(TextError):
    """Prompts that leave no room for the replies that are to be written to them."""


@dataclass
class Cuts:
    """How many prompts lost their beginning to fit the context, however often each was read. Counted, and printed by whoever
    runs."""

    lost: set[int] = field(default_factory=set)

    @property
    def prompts(self) -> int:
        return len(self.lost)


@dataclass(frozen=True)
class Text:
    """A tokenizer, the way turns are written, and how much fits."""

    tokenizer: Any
    template: str
    context: int
    ends: frozenset[int]
    cuts: Cuts = field(default_factory=Cuts, compare=False)
    long_prompts: LongPrompts = "refuse"

    @classmethod
    def of(
        cls,
        tokenizer: Any,
        template: str = "auto",
        context: int = 2048,
        ends: Sequence[int] = (),
        long_prompts: LongPrompts = "refuse",
    ) -> Text:
        """`template` auto: the tokenizer's own chat template if it has one, else "dialogue". `ends` are tokens that end a
        reply besides the tokenizer's own."""
        if template not in TEMPLATES:
            raise TextError(f"no template named '{template}'; there are {', '.join(TEMPLATES)}")
        has_own = bool(getattr(tokenizer, "chat_template", None))
        if template == "chat" and not has_own:
            raise TextError('this tokenizer has no chat template; use template = "dialogue" or "plain"')
        if template == "auto":
            template = "chat" if has_own else "dialogue"
        if tokenizer.eos_token_id is None:
            raise TextError("this tokenizer has no end-of-sequence token, so no reply could ever end; set one")
        return cls(tokenizer, template, context, frozenset({tokenizer.eos_token_id, *ends}), long_prompts=long_prompts)

    @property
    def end(self) -> int:
        """The token that a finished reply ends with."""
        return int(self.tokenizer.eos_token_id)

    def written(self, prompt: Prompt) -> str:
        """The prompt as the model is shown it, up to where the reply begins."""
        if self.template == "chat":
            turns = [{"role": turn.speaker, "content": turn.text} for turn in prompt.turns]
            try:
                return str(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
            except Exception as error:  # templates raise what they like
                raise TextError(f"the chat template refuses this prompt: {error}") from error
        if self.template == "plain":
            return "".join(turn.text for turn in prompt.turns)
        return "".join(_dialogue_turn(turn) for turn in prompt.turns) + "\n\nAssistant:"

    def prompt_ids(self, prompt: Prompt) -> tuple[int, ...]:
        """All of the prompt's ids, beginning with one BOS where the tokenizer has one for this template."""
        text = self.written(prompt)
        return _prompt_ids(self.tokenizer, text, self.template == "chat")

    def reply_ids(self, completion: Completion) -> tuple[int, ...]:
        """The ids that were really written, or else the text's own and, where it was finished, the end token."""
        if completion.tokens:
            return completion.tokens
        text = completion.text if self.template != "dialogue" else " " + completion.text
        return _reply_ids(self.tokenizer, text) + ((self.end,) if completion.finished else ())

    def tree(self, prompt: Prompt, replies: Sequence[Completion], room: int = 0) -> Tree:
        """One prompt and its replies as ids, within the context: the prompt loses its beginning if need be, a reply
        nothing, ever. `room` is what was left for replies when they were written: the same beginning is lost again."""
        ids = tuple(map(self.reply_ids, replies))
        longest = max(map(len, ids))
        if longest >= self.context:
            raise TextError(
                f"a reply of {longest} tokens does not fit the context of {self.context} with even one token of its "
                f"prompt; leave the record out (reply begins: {replies[0].text[:60]!r})"
            )
        ended = tuple(reply.finished and not self.stopped(reply) for reply in replies)
        return Tree(self.fitted(prompt, max(longest, room)), ids, ended)

    def leave_room(self, max_tokens: int) -> None:
        """An error where replies of this length leave no room for any prompt."""
        if max_tokens >= self.context:
            raise TextError(
                f"max_tokens = {max_tokens} leaves no room for a prompt in this model's context of {self.context}; "
                "ask for shorter replies"
            )

    def answerable(self, prompt: Prompt, max_tokens: int) -> bool:
        """Whether replies of this length may be written to a prompt: whether it fits beside them, or may be cut."""
        if self.long_prompts == "cut":
            return True
        text = self.written(prompt)
        if text.isascii() and len(text) + _BESIDES <= self.context - max_tokens:
            return True  # no letter of these is more than a token: most prompts need not be tokenized to know it
        return len(self.prompt_ids(prompt)) <= self.context - max_tokens

    def make_room(self, prompts: Sequence[Prompt], max_tokens: int) -> None:
        """An error where replies of this length cannot be written to all of these prompts."""
        self.leave_room(max_tokens)
        if not (long := [prompt for prompt in prompts if not self.answerable(prompt, max_tokens)]):
            return
        longest = max(long, key=lambda prompt: len(self.prompt_ids(prompt)))
        raise RoomError(
            f"{len(long)} of {len(prompts)} prompts leave no room for a reply: the longest has "
            f"{len(self.prompt_ids(longest))} tokens, and of this model's context of {self.context} max_tokens = {max_tokens} "
            f"leaves {self.context - max_tokens} (it begins: {longest.text[:60]!r}). Leave these prompts out, ask for shorter "
            'replies, take a model with a longer context, or have prompts lose their beginning: [model] long_prompts = "cut"'
        )

    def fitted(self, prompt: Prompt, reply_room: int) -> tuple[int, ...]:
        """The prompt's ids with room for a reply: what is cut (and counted) is the beginning, but for the BOS."""
        ids = self.prompt_ids(prompt)
        room = self.context - reply_room
        if len(ids) <= room:
            return ids
        if room < 1:
            raise TextError(f"a reply of {reply_room} tokens leaves no room in the context of {self.context}")
        if not self.cuts.lost:
            log.warning("a prompt of %d tokens loses its beginning: there is room for %d beside its reply", len(ids), room)
        self.cuts.lost.add(hash(ids))
        start = ids[:1] if ids[0] == self.tokenizer.bos_token_id and room > 1 else ()
        return start + ids[len(ids) - room + len(start) :]

    def wrote(self, completion: Completion) -> bool:
        """Whether the ids of a completion, if it has any, are this tokenizer's: whether they say its text."""
        ids = completion.tokens
        return not ids or (
            0 <= min(ids) <= max(ids) < len(self.tokenizer) and (self.said(ids) == completion.text or self.stopped(completion))
        )

    def stopped(self, completion: Completion) -> bool:
        """Whether a stop string ended it: it is finished without an end token, and its text is the beginning of what was
        really written."""
        ids = completion.tokens
        if not completion.finished or not ids or ids[-1] in self.ends:
            return False
        said = self.said(ids)
        return said != completion.text and said.startswith(completion.text)

    def pairs(self, comparisons: Sequence[Comparison], device: torch.device | str = "cpu") -> Forest:
        """One tree for each comparison, chosen before rejected, with the strengths as a note on the trees."""
        trees = [self.tree(pair.prompt, (pair.chosen, pair.rejected)) for pair in comparisons]
        strengths = torch.tensor([pair.strength for pair in comparisons], dtype=torch.float32, device=device)
        return plant(trees, device).attach(trees={"strength": strengths})

    def replies(
        self,
        prompts: Sequence[Prompt],
        groups: Sequence[Sequence[Completion]],
        device: torch.device | str = "cpu",
        room: int = 0,
    ) -> Forest:
        """One tree for each prompt with its replies."""
        return plant([self.tree(p, g, room) for p, g in zip(prompts, groups, strict=True)], device)

    def said(self, ids: Sequence[int]) -> str:
        """What the ids of a reply say."""
        text = str(self.tokenizer.decode(list(ids), skip_special_tokens=True))
        return text.removeprefix(" ") if self.template == "dialogue" else text

    def completion(self, ids: Sequence[int], logps: Sequence[float] = (), stop: Sequence[str] = ()) -> Completion:
        """What these sampled ids say, up to the first stop string; finished if there is one, or an end token at the end."""
        said = self.said(ids)
        text = said[: min((said.find(word) for word in stop if word in said), default=len(said))]
        finished = text != said or (bool(ids) and ids[-1] in self.ends)
        return Completion(text, tuple(ids), finished, tuple(logps))


_BESIDES = 2
"""Tokens that a tokenizer may put before a text's own: a BOS, and a mark that it begins."""


def _dialogue_turn(turn: Turn) -> str:
    if turn.speaker == "system":
        return turn.text
    return f"\n\n{'Human' if turn.speaker == 'user' else 'Assistant'}: {turn.text}"


@lru_cache(maxsize=2**16)
def _prompt_ids(tokenizer: Any, text: str, template_has_bos: bool) -> tuple[int, ...]:
    ids = tuple(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    bos = tokenizer.bos_token_id
    if not template_has_bos and bos is not None and _adds_bos(tokenizer) and ids[:1] != (bos,):
        ids = (bos, *ids)
    if not ids:
        raise TextError("an empty prompt has no token to predict from; give it some text")
    return ids


@lru_cache(maxsize=2**16)
def _reply_ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


@lru_cache(maxsize=64)
def _adds_bos(tokenizer: Any) -> bool:
    """Whether this tokenizer itself begins a text with BOS."""
    return tokenizer.bos_token_id in tokenizer("a")["input_ids"][:1]
