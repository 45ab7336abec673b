"""One frozen, quantized base: the shared weights, the adapters worn over them, and the forward passes.

Which adapter is worn is one attribute in shared state (`Worn`); peft injects the layers and owns their file format, and a
lean forward of ours reads that attribute. `acting_as` always restores it, and the recomputed pass of a checkpointed layer
wears what its first pass wore, so that a joint loss over several roles gives each exactly its own gradient.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import Cache

from alignzoo.model import loading, past, sampling
from alignzoo.model.attention import Packing
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.files import likeness
from alignzoo.model.fixed import Record, graph
from alignzoo.model.forest import Forest, rows_of
from alignzoo.model.head import Head
from alignzoo.model.meter import Meter, Sizes
from alignzoo.model.origin import origin
from alignzoo.model.proof import prove_ahead, prove_cache, prove_fixed, prove_packing, prove_prefix, prove_steps, prove_tail
from alignzoo.model.step import Steps
from alignzoo.model.tail import Tail, pick
from alignzoo.model.text import Text
from alignzoo.model.wardrobe import Wardrobe, Worn

if TYPE_CHECKING:
    from alignzoo.model.role import Role


@dataclass
class Again:
    """Wear an adapter in a recomputed pass: as often as backward() comes by, which a generator would not stand."""

    base: Base
    name: str | None
    acting: AbstractContextManager[None] = field(default_factory=nullcontext)

    def __enter__(self) -> None:
        self.acting = self.base.acting_as(self.name)
        self.acting.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.acting.__exit__(*error)
        self.base.tail.rows = None  # the last layer is recomputed first, and the others need every row


KeysValues = tuple[Tensor, Tensor]
"""Of one layer, (1, heads, tokens, width) each."""


@dataclass(frozen=True)
class Reading:
    """The states of one forward pass, and where in them each reply token is predicted from and each reply ends."""

    hidden: Tensor
    before: Tensor
    end: Tensor
    kept: Sequence[KeysValues] = ()
    """Of each layer, what the pass has made of the packed tokens; none where it was not wanted."""


class Base:
    """The shared weights and the wardrobe of adapters that may be worn over them."""

    def __init__(
        self, model: Any, text: Text, lora: Lora = Lora(), *, checkpointing: bool = False, recording: bool = True
    ) -> None:
        self.model = model.requires_grad_(False).eval()
        self.text = text
        self.lora = lora
        self.checkpointing = checkpointing
        self.meter = Meter()
        self.roles: dict[str, Role] = {}
        self.recalled: Mapping[str, Mapping[str, Tensor]] = {}  # what a checkpoint holds for roles yet to be made
        self.listener: Callable[[Forest, Tensor], None] | None = None  # hears every log-probability that is learned from
        self.sampler: sampling.Sampler = sampling.write
        self.files = ""  # what tells those that it was loaded from, if it was loaded from any
        self.worn = Worn()
        self.tail = Tail()
        self.wardrobe = Wardrobe(model, lora, self.worn, self.tail)
        self._layers = loading.repeated_layers(model)
        loading.switch_dropout_off(model)
        loading.guard_quantized_layers(model)
        head = model.get_output_embeddings()
        self.head = Head(head.weight, getattr(head, "bias", None))
        self._sizes = Sizes(loading.count_linear(model, head), head.weight.numel(), loading.attention_width(model))
        if checkpointing:
            # The recomputed forward pass must wear what the first one wore, not what is worn when backward() runs.
            again: Callable[[], Any] = lambda: (nullcontext(), Again(self, self.worn.name))  # noqa: E731
            model.gradient_checkpointing_enable({"use_reentrant": False, "context_fn": again})
            for layer in self._layers:
                layer._gradient_checkpointing_func = loading.unheard(layer, layer._gradient_checkpointing_func)
        self.positions = "position_ids" in inspect.signature(self.trunk.forward).parameters
        self.plain_head = True
        self.packs = True
        self.tail_layers = 0  # until it is proven that the tail may be shortened
        self.caches = True
        self.steps: Steps | None = None  # until it is proven that a next token may be read in fewer operations
        self.branches = False  # until it is proven that prompts may be kept once for all their replies
        self.record: Record | None = None  # until it is proven that a next token may be read in shapes that stay the same
        self.prefixes = False  # until it is proven that a beginning that texts share may be read once and kept
        self.keeps = False  # until it is proven that other replies can go on from what a pass has made of its prompts
        self._prove(head, recording)
        self.meter = Meter()  # proofs are not charged

    def _prove(self, head: Any, recording: bool) -> None:
        """Find out what may be relied on with this model; whatever is not proven is done the plain way."""
        prove_packing(self)
        if self.packs:
            prove_tail(self, head)
        prove_cache(self)
        if self.packs and self.plain_head and self.caches and self.exact:
            prove_steps(self)
        if recording and self.packs and self.caches and self.device.type == "cuda":
            prove_fixed(self, graph)
        if self.packs and self.plain_head and self.caches:
            prove_prefix(self)
            prove_ahead(self)

    @classmethod
    def load(cls, path: str, how: Loading = Loading(), lora: Lora = Lora()) -> Base:
        """Load a causal language model from a folder or a hub name, quantized as asked, with its tokenizer."""
        model, tokenizer = loading.load(path, how)
        context = getattr(model.config, "max_position_embeddings", None) or 2048
        ends = getattr(model.generation_config, "eos_token_id", None)
        ends = ends if isinstance(ends, list) else [] if ends is None else [ends]
        text = Text.of(tokenizer, how.template, context, ends, how.long_prompts)
        base = cls(model, text, lora, checkpointing=how.checkpointing, recording=how.decoding == "auto")
        base.files = likeness(path)
        return base

    @property
    def device(self) -> torch.device:
        return self.head.weight.device

    @property
    def exact(self) -> bool:
        """Whether a token's log-probability is the same, to float32's rounding, in whatever batch it is computed."""
        return self.head.weight.dtype == torch.float32 and not getattr(self.model, "is_loaded_in_8bit", False)

    @cached_property
    def origin(self) -> Mapping[str, str]:
        """What tells it from another base of its shape. It never changes: the base is frozen."""
        return origin(self.model, self.files)

    @property
    def width(self) -> int:
        return self.head.weight.shape[1]

    @property
    def vocabulary(self) -> int:
        return self.head.weight.shape[0]

    @property
    def trunk(self) -> Any:
        """The model without its head."""
        return getattr(self.model, self.model.base_model_prefix)

    # Adapters ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def acting_as(self, name: str | None) -> Iterator[None]:
        """Wear one adapter for the time of the block, whatever happens inside it."""
        before, self.worn.name = self.worn.name, name
        try:
            yield
        finally:
            self.worn.name = before

    def add_adapter(self, name: str, seed: int) -> list[nn.Parameter]:
        """Inject an adapter that changes nothing yet, and return its parameters."""
        adapter = self.wardrobe.add(name, seed)
        self._sizes = replace(self._sizes, adapter=sum(p.numel() for p in adapter))
        for role in self.roles.values():  # peft leaves only the newest adapter trainable, which would silence the others
            for parameter in role.parameters():
                parameter.requires_grad_(True)
        return adapter

    def dismiss(self, name: str) -> None:
        """Forget a role and its adapter, if there is one of this name, and its companions."""
        role = self.roles.pop(name, None)
        if role is None:
            return
        if not role.bare:
            self.wardrobe.remove(name)
        for companion in role.companions.values():
            self.dismiss(companion.name)

    def dismiss_all(self) -> None:
        """Forget every role: what the base answers then is itself."""
        for name in list(self.roles):
            self.dismiss(name)

    def sizes(self, worn: str | None) -> Sizes:
        """What a pass costs by, wearing this adapter or none."""
        return self._sizes if worn is not None else replace(self._sizes, adapter=0)

    # Forward passes ---------------------------------------------------------------------------------------------------

    def read(self, forest: Forest, worn: str | None, *, learning: bool, keeping: bool = False) -> Reading:
        """One forward pass over the forest without the head, wearing the adapter `worn`. `keeping` asks for its keys and
        values, which are there where that was proven to be of use."""
        with self._passing(forest, worn, learning):
            if not self.packs:
                return self.rowed(forest)
            return self.packed(forest, witnesses=past.witnesses(self) if keeping and self.keeps else None)

    def every(self, forest: Forest, worn: str | None, *, learning: bool) -> Tensor:
        """(packed, width) The state of every token, of a prompt's, too: for a base that packs."""
        with self._passing(forest, worn, learning):
            return self.packed_states(forest, Packing.of(forest, forest.needed))[0]

    def ends(self, forest: Forest, worn: str | None, *, learning: bool) -> Tensor:
        """(replies, width) The states that have read each whole reply: a pass that finishes no other row."""
        with self._passing(forest, worn, learning):
            if self.packs:
                return self.finished(forest, forest.end)
            rows = self.rowed(forest)
            return rows.hidden[rows.end]

    @contextmanager
    def _passing(self, forest: Forest, worn: str | None, learning: bool) -> Iterator[None]:
        self.meter.charge_reading(forest, self.sizes(worn), learning=learning, recomputing=self.checkpointing)
        with self.acting_as(worn), torch.set_grad_enabled(learning), self._recomputing(learning):
            yield

    def whole_spread(self, forest: Forest, worn: str | None, temperature: float, *, learning: bool) -> Tensor:
        """(tokens, vocabulary) Log-probabilities through the model's own head, for heads that are more than a matrix."""
        ids, flat = rows_of(forest)
        with self.acting_as(worn), torch.set_grad_enabled(learning), self._recomputing(learning):
            logits: Tensor = self.model(input_ids=ids, use_cache=False).logits.flatten(0, 1)[flat].float()
            self.meter.charge_reading(forest, self.sizes(worn), learning=learning, recomputing=self.checkpointing)
            return (logits / temperature).log_softmax(-1)

    def heard(self, forest: Forest, logps: Tensor) -> Tensor:
        """Pass on log-probabilities that gradients will flow through, after letting the listener hear them."""
        if self.listener is not None and logps.requires_grad:
            self.listener(forest, logps)
        return logps

    def packed(self, forest: Forest, past: Sequence[KeysValues] = (), witnesses: Cache | None = None) -> Reading:
        """The states of the forest, whose prompts may go on from a beginning that was read before (`Prefix`)."""
        needed = forest.needed
        place = torch.empty_like(forest.ids)
        place[needed] = torch.arange(len(needed), device=place.device)
        hidden = self.finished(forest, needed, past, witnesses)
        kept = [(layer.keys, layer.values) for layer in witnesses.layers] if witnesses else ()
        return Reading(hidden, place[forest.before], place[forest.end], kept)

    def finished(
        self, forest: Forest, needed: Tensor, past: Sequence[KeysValues] = (), witnesses: Cache | None = None
    ) -> Tensor:
        """(needed, width) The states of these rows of the packed forest."""
        packing = Packing.of(forest, needed, self.tail, self.tail_layers, past)
        with self.tail.ending():
            states = self.packed_states(forest, packing, witnesses)
        return pick(states, needed)[0]

    def packed_states(self, forest: Forest, packing: Packing, witnesses: Cache | None = None) -> Tensor:
        inputs = {"input_ids": forest.ids[None], "position_ids": forest.positions[None], "packing": packing}
        keeping = {"past_key_values": witnesses} if witnesses else {}
        states: Tensor = self.trunk(**inputs, **keeping, use_cache=bool(keeping)).last_hidden_state
        return states

    def rowed(self, forest: Forest) -> Reading:
        """One row for each reply, padded on the right, where no causal model looks: for attention that cannot be packed."""
        ids, flat = rows_of(forest)
        hidden = self.trunk(input_ids=ids, use_cache=False).last_hidden_state.flatten(0, 1)
        return Reading(hidden, flat, flat[forest.last] + 1)

    @contextmanager
    def _recomputing(self, learning: bool) -> Iterator[None]:
        """Checkpointed layers look at `training`; only they are switched, and only here, so nothing else ever sees it."""
        if not (self.checkpointing and learning):
            yield
            return
        for layer in self._layers:
            layer.training = True
        try:
            yield
        finally:
            for layer in self._layers:
                layer.training = False
