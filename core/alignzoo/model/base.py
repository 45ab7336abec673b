"""One frozen, quantized base: the shared weights, the adapters worn over them, and the forward passes.

Which adapter is worn is one attribute in shared state (`Worn`); peft injects the layers and owns their file format, and a
lean forward of ours reads that attribute. `acting_as` always restores it, and the recomputed pass of a checkpointed layer
wears what its first pass wore, so that a joint loss over several roles gives each exactly its own gradient.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import torch
from annotated_types import Ge, Gt
from peft import LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from alignzoo.model import loading
from alignzoo.model.attention import Packing, UnknownAttention
from alignzoo.model.forest import Forest, Tree, pairs_seen, plant
from alignzoo.model.head import Head
from alignzoo.model.lora import Pair, adapted
from alignzoo.model.tail import Tail, pick
from alignzoo.model.text import Text

if TYPE_CHECKING:
    from alignzoo.model.role import Role

log = logging.getLogger("alignzoo")


@dataclass(frozen=True)
class Lora:
    """The shape of every adapter on one base."""

    rank: Annotated[int, Ge(1)] = 16
    alpha: Annotated[float, Gt(0)] = 32.0
    targets: tuple[str, ...] = ()
    """Names of the layers to adapt; empty adapts every linear layer but the head, whatever the architecture."""


@dataclass
class Worn:
    """Which adapter is worn now; None is the bare base."""

    name: str | None = None


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


@dataclass
class Meter:
    """What the base has done so far. FLOPs by formula: see docs/explanation/costs.md."""

    read: int = 0
    written: int = 0
    flops: float = 0.0


@dataclass(frozen=True)
class Reading:
    """The states of one forward pass, and where in them each reply token is predicted from and each reply ends."""

    hidden: Tensor
    before: Tensor
    end: Tensor


class Base:
    """The shared weights and the wardrobe of adapters that may be worn over them."""

    def __init__(self, model: Any, text: Text, lora: Lora = Lora(), *, checkpointing: bool = False) -> None:
        self.model = model.requires_grad_(False).eval()
        self.text = text
        self.lora = lora
        self.checkpointing = checkpointing
        self.meter = Meter()
        self.roles: dict[str, Role] = {}
        self.recalled: Mapping[str, Mapping[str, Tensor]] = {}  # what a checkpoint holds for roles yet to be made
        self.listener: Callable[[Forest, Tensor], None] | None = None  # hears every log-probability that is learned from
        self.worn = Worn()
        self.tail = Tail()
        self._peft: PeftModel | None = None
        self._layers = loading.repeated_layers(model)
        loading.switch_dropout_off(model)
        loading.guard_quantized_layers(model)
        head = model.get_output_embeddings()
        self.head = Head(head.weight, getattr(head, "bias", None))
        self.linear_parameters = loading.count_linear(model, head)
        self.attention_width = loading.attention_width(model)
        self.adapter_parameters = 0  # of one adapter; they all have the same shape
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
        self._prove_packing()
        if self.packs:
            self._prove_tail(head)

    @classmethod
    def load(cls, path: str, how: loading.Loading = loading.Loading(), lora: Lora = Lora()) -> Base:
        """Load a causal language model from a folder or a hub name, quantized as asked, with its tokenizer."""
        model, tokenizer = loading.load(path, how)
        context = getattr(model.config, "max_position_embeddings", None) or 2048
        ends = getattr(model.generation_config, "eos_token_id", None) or ()
        text = Text.of(tokenizer, how.template, context, ends if isinstance(ends, list) else [ends] if ends else [])
        return cls(model, text, lora, checkpointing=how.checkpointing)

    @property
    def device(self) -> torch.device:
        return self.head.weight.device

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

    def lora_config(self) -> LoraConfig:
        targets = list(self.lora.targets) or "all-linear"
        shape = LoraConfig(r=self.lora.rank, lora_alpha=self.lora.alpha, lora_dropout=0.0, target_modules=targets)
        shape.task_type = "CAUSAL_LM"
        shape.base_model_name_or_path = getattr(self.model.config, "_name_or_path", "")
        return shape

    def add_adapter(self, name: str, seed: int) -> list[nn.Parameter]:
        """Inject an adapter that changes nothing yet, and return its parameters. No global random state is touched."""
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            if self._peft is None:
                self._peft = PeftModel(self.model, self.lora_config(), adapter_name=name)
            else:
                self._peft.add_adapter(name, self.lora_config())
        layers = [layer for layer in self.model.modules() if isinstance(layer, LoraLayer)]
        for layer in layers:
            self._wire(layer, name)
        adapter = [half[name].weight for layer in layers for half in (layer.lora_A, layer.lora_B) if name in half]
        self.adapter_parameters = sum(p.numel() for p in adapter)
        return adapter

    def dismiss(self, name: str) -> None:
        """Forget a role and its adapter, if there is one of this name."""
        role = self.roles.pop(name, None)
        if role is None or role.bare or self._peft is None:
            return
        for layer in self.model.modules():
            if isinstance(layer, LoraLayer):
                layer.__dict__["_alignzoo_pairs"].pop(name, None)
                for adapters in (layer.lora_A, layer.lora_B, layer.lora_dropout):
                    adapters.pop(name)
        del self._peft.peft_config[name]

    def dismiss_all(self) -> None:
        """Forget every role: what the base answers then is itself."""
        for name in list(self.roles):
            self.dismiss(name)

    def adapter_config(self, name: str) -> LoraConfig:
        """What peft needs to know of an adapter to load it elsewhere. Layers are named by their last part, as serving programs
        expect, where that means the same ones."""
        assert self._peft is not None
        shape: LoraConfig = self._peft.peft_config[name]
        adapted = {key for key, module in self.model.named_modules() if isinstance(module, LoraLayer)}
        short = {key.rpartition(".")[2] for key in adapted}
        meant = {key for key, _ in self.model.named_modules() if key.rpartition(".")[2] in short}
        written = replace(shape, inference_mode=True)
        written.target_modules = sorted(short if meant == adapted else adapted)
        return written

    def adapter_tensors(self, name: str) -> dict[str, Tensor]:
        """The adapter in peft's own key format."""
        from peft import get_peft_model_state_dict

        state: dict[str, Tensor] = get_peft_model_state_dict(self._peft, adapter_name=name)
        return state

    def load_adapter_tensors(self, name: str, tensors: dict[str, Tensor]) -> None:
        own = self.adapter_tensors(name)
        if set(own) != set(tensors) or any(own[key].shape != tensors[key].shape for key in own):
            odd = sorted(set(own) ^ set(tensors)) or [key for key in own if own[key].shape != tensors[key].shape]
            raise loading.ModelError(
                f"this adapter is of another shape or base: first difference at '{odd[0]}'; load it with the [model] and "
                "[model.lora] settings it was trained with"
            )
        with torch.no_grad():
            for key, tensor in own.items():
                tensor.copy_(tensors[key])

    def _wire(self, layer: Any, name: str) -> None:
        """Give an injected layer the lean forward: one `addmm` on the output of the base layer, scaled on the rank side."""
        pairs: dict[str, Pair] | None = layer.__dict__.get("_alignzoo_pairs")
        if pairs is None:
            pairs = layer.__dict__["_alignzoo_pairs"] = {}
            layer.forward = _lean_forward(layer.base_layer, pairs, self.worn, self.tail)
        if name in layer.lora_A:
            pairs[name] = Pair(layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name])
        for role in self.roles.values():  # peft leaves only the newest adapter trainable, which would silence the others
            for parameter in role.parameters():
                parameter.requires_grad_(True)

    # Forward passes ---------------------------------------------------------------------------------------------------

    def read(self, forest: Forest, worn: str | None, *, learning: bool) -> Reading:
        """One forward pass over the forest without the head, wearing the adapter `worn`."""
        self._account(forest, worn, learning=learning)
        with self.acting_as(worn), torch.set_grad_enabled(learning), self._recomputing(learning):
            return self._packed(forest) if self.packs else self._rowed(forest)

    def whole_spread(self, forest: Forest, worn: str | None, temperature: float, *, learning: bool) -> Tensor:
        """(tokens, vocabulary) Log-probabilities through the model's own head, for heads that are more than a matrix."""
        ids, flat = _rows(forest)
        with self.acting_as(worn), torch.set_grad_enabled(learning), self._recomputing(learning):
            logits: Tensor = self.model(input_ids=ids, use_cache=False).logits.flatten(0, 1)[flat].float()
            self._account(forest, worn, learning=learning)
            return (logits / temperature).log_softmax(-1)

    def heard(self, forest: Forest, logps: Tensor) -> Tensor:
        """Pass on log-probabilities that gradients will flow through, after letting the listener hear them."""
        if self.listener is not None and logps.requires_grad:
            self.listener(forest, logps)
        return logps

    def _packed(self, forest: Forest) -> Reading:
        packing = Packing.of(forest, self.tail, self.tail_layers)
        with self.tail.ending():
            states = self._packed_states(forest, packing)
        place = torch.empty_like(forest.ids)
        place[packing.needed] = torch.arange(len(packing.needed), device=place.device)
        return Reading(pick(states, packing.needed)[0], place[forest.before], place[forest.end])

    def _packed_states(self, forest: Forest, packing: Packing) -> Tensor:
        states: Tensor = self.trunk(
            input_ids=forest.ids[None], position_ids=forest.positions[None], use_cache=False, packing=packing
        ).last_hidden_state
        return states

    def _rowed(self, forest: Forest) -> Reading:
        """One row for each reply, padded on the right, where no causal model looks: for attention that cannot be packed."""
        ids, flat = _rows(forest)
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

    def account_writing(self, groups: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Charge what was sampled: for each prompt its length, and the lengths of its replies. A prompt is read once, and the
        last token of a reply is not read any more."""
        adapter = self.adapter_parameters if self.worn.name is not None else 0
        for prompt, replies in groups:
            again = [length - 1 for length in replies]
            trunk = 2 * (self.linear_parameters + adapter) * (prompt + sum(again))
            attention = 4 * self.attention_width * pairs_seen(prompt, again)
            self.meter.read += prompt
            self.meter.written += sum(replies)
            self.meter.flops += trunk + attention + 2 * self.head.weight.numel() * (1 + sum(again))

    def _account(self, forest: Forest, worn: str | None, *, learning: bool) -> None:
        """Charge the meter by the formula of docs/explanation/costs.md. A frozen matrix costs 2 per weight and token forward
        and 2 backward; an adapter's 2 and 4, because it learns; attention 4 · width per pair of tokens and layer forward and
        twice that backward. Recomputed layers pay their forward share again."""
        forward = 1 + (learning and self.checkpointing)
        adapter = self.adapter_parameters if worn is not None else 0
        trunk = 2 * (forward + learning) * self.linear_parameters + 2 * (forward + 2 * learning) * adapter
        attention = 4 * (forward + 2 * learning) * self.attention_width * forest.seen
        head = 2 * (1 + learning) * self.head.weight.numel() * len(forest.targets)
        self.meter.read += forest.size
        self.meter.flops += trunk * forest.size + attention + head

    def _prove_packing(self) -> None:
        """Compare the packed form with plain rows on this very model; fall back, and say so once, where they differ."""
        forest = self._probe()
        native = self.model.config._attn_implementation
        rows, flat = _rows(forest)
        with torch.no_grad():
            plain = self.model(input_ids=rows, use_cache=False).logits.flatten(0, 1)[flat].float()
            expected = self._rowed(forest)
            ours = self.head.logits(expected.hidden[expected.before])
            self.plain_head = _apart(ours, plain) < (1e-4 if self.head.weight.dtype == torch.float32 else 0.02)
            reason = self._packing_differs(forest, expected)
        if reason:
            self.packs = False
            self.model.set_attn_implementation(native)
            log.warning("%s: batches are not packed (%s); one row per reply instead, with the same results, slower",
                        type(self.model).__name__, reason)  # fmt: skip
        if not self.plain_head:
            log.warning("%s: its head is more than a matrix; full logits are computed", type(self.model).__name__)

    def _prove_tail(self, head: nn.Module) -> None:
        """Have the linear layers heed the tail, and compare a pass that has one with a whole one; have none if they differ."""
        for layer in self.model.modules():
            if isinstance(layer, nn.Linear | Conv1D) and layer is not head:
                layer.forward = partial(self.tail.through, layer.forward)  # type: ignore[method-assign]
        forest = self._probe()
        with torch.no_grad():
            whole = self._packed(forest).hidden.float()
            self.tail_layers = self.model.config.get_text_config().num_hidden_layers
            if _apart(self._packed(forest).hidden.float(), whole) > (1e-4 if self.head.weight.dtype == torch.float32 else 0.1):
                self.tail_layers = 0

    def _probe(self) -> Forest:
        """Two trees, one with two replies and one with one, that fit any model."""
        ids = tuple((3 + i * 7) % self.vocabulary for i in range(12))
        return plant([Tree(ids[:5], (ids[5:8], ids[6:11])), Tree(ids[3:6], (ids[8:12],))], self.device)

    def _packing_differs(self, forest: Forest, expected: Reading) -> str:
        packing = Packing.of(forest)
        kinds = set(getattr(self.model.config, "layer_types", None) or ())
        if strange := kinds - {"full_attention", "sliding_attention"}:
            return f"it has layers of kind {', '.join(sorted(strange))}"
        try:
            self.model.set_attn_implementation("alignzoo")
            hidden = self._packed_states(forest, packing)[0]
        except UnknownAttention as error:
            return f"its attention needs {error}"
        except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, IndexError) as error:
            return f"its attention cannot be replaced: {error}"
        if packing.calls != self.model.config.get_text_config().num_hidden_layers:
            return f"only {packing.calls} of its layers use the attention that can be replaced"
        wanted, got = expected.hidden[expected.before].float(), hidden[forest.before].float()
        gap = _apart(got, wanted)
        return "" if gap <= (1e-4 if hidden.dtype == torch.float32 else 0.1) else f"the packed form differs by {gap:.2g}"


def _apart(got: Tensor, wanted: Tensor) -> float:
    """How far off the worst row is, as a share of its length."""
    return float(((got - wanted).norm(dim=-1) / wanted.norm(dim=-1)).max())


def _rows(forest: Forest) -> tuple[Tensor, Tensor]:
    """One right-padded row for each reply, and where in the flattened rows each reply token is predicted from."""
    rows = [tree.prompt + reply for tree in forest.trees for reply in tree.replies]
    starts = [len(tree.prompt) for tree in forest.trees for _ in tree.replies]
    wide = max(map(len, rows))
    ids = torch.zeros(len(rows), wide, dtype=torch.long, device=forest.ids.device)
    for row, content in zip(ids, rows, strict=True):
        row[: len(content)] = torch.tensor(content)
    flat = [
        r * wide + place - 1
        for r, (row, start) in enumerate(zip(rows, starts, strict=True))
        for place in range(start, len(row))
    ]
    return ids, torch.tensor(flat, device=ids.device)


def _lean_forward(base_layer: nn.Module, pairs: dict[str, Pair], worn: Worn, tail: Tail) -> Callable[[Tensor], Tensor]:
    def whole(x: Tensor) -> Tensor:
        pair = pairs.get(worn.name) if worn.name is not None else None
        y: Tensor = base_layer(x) if pair is None else adapted(base_layer, x, pair)
        return y

    def forward(x: Tensor) -> Tensor:
        return tail.through(whole, x)

    return forward
