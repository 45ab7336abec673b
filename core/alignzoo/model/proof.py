"""What a base may do with a model is proven on that very model when it is loaded; where the proof fails, it does without."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.pytorch_utils import Conv1D

from alignzoo.model import panels
from alignzoo.model.ahead import gone_on
from alignzoo.model.attention import NAME, Packing, UnknownAttention, forest_attention
from alignzoo.model.branches import Branched
from alignzoo.model.fixed import Fixed, Record, apart
from alignzoo.model.forest import Forest, Tree, plant, rows_of
from alignzoo.model.past import Cached, Past, Reread
from alignzoo.model.prefix import Prefix
from alignzoo.model.step import Steps

if TYPE_CHECKING:
    from alignzoo.model.base import Base, Reading

log = logging.getLogger("alignzoo")

AttentionInterface.register(NAME, forest_attention)


def prove_packing(base: Base) -> None:
    """Compare the packed form with plain rows on this very model; fall back, and say so once, where they differ."""
    forest = _probe(base)
    native = base.model.config._attn_implementation
    rows, flat = rows_of(forest)
    with torch.no_grad():
        plain = base.model(input_ids=rows, use_cache=False).logits.flatten(0, 1)[flat].float()
        expected = base.rowed(forest)
        ours = base.head.logits(expected.hidden[expected.before])
        base.plain_head = apart(ours, plain) < (1e-4 if base.head.weight.dtype == torch.float32 else 0.02)
        reason = _packing_differs(base, forest, expected)
    if reason:
        base.packs = False
        base.model.set_attn_implementation(native)
        log.warning("%s: batches are not packed (%s); one row per reply instead, with the same results, slower",
                    type(base.model).__name__, reason)  # fmt: skip
    if not base.plain_head:
        log.warning("%s: its head is more than a matrix; full logits are computed", type(base.model).__name__)


def prove_tail(base: Base, head: nn.Module) -> None:
    """Have the linear layers heed the tail, and compare a pass that has one with a whole one; have none if they differ."""
    for layer in base.model.modules():
        if isinstance(layer, nn.Linear | Conv1D) and layer is not head:
            layer.forward = partial(base.tail.through, layer.forward)  # type: ignore[method-assign]
    forest = _probe(base)
    with torch.no_grad():
        whole = base.packed(forest).hidden.float()
        base.tail_layers = base.model.config.get_text_config().num_hidden_layers
        gap = apart(base.packed(forest).hidden.float(), whole)
        if not gap <= _bearable(base):
            base.tail_layers = 0


def prove_cache(base: Base) -> None:
    """Write two replies to two prompts of unequal lengths with what is kept and without; keep nothing where they differ."""
    with torch.no_grad():
        wanted = _written(base, Reread)
        try:
            gap = apart(_written(base, partial(Cached, room=2)), wanted)
            reason = "" if gap <= _bearable(base) else f"what was kept differs by {gap:.2g}"
        except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, IndexError) as error:
            reason = f"{type(error).__name__}: {error}"
    if reason:
        base.caches = False
        log.warning("%s: no keys and values can be kept while it writes (%s); every row is read anew for each token, with the "
                    "same results, slower", type(base.model).__name__, reason)  # fmt: skip
    elif base.packs and base.exact and base.device.type == "cpu":  # where it was measured; half precision would round otherwise
        with torch.no_grad(), suppress(TypeError, ValueError, KeyError, AttributeError, RuntimeError, IndexError):
            base.branches = apart(_written(base, partial(Branched, room=2)), wanted) <= _bearable(base)


def prove_steps(base: Base) -> None:
    """Copy the frozen matrices for writing, as far as there is room, and compare; write as the model's own code has it where
    that differs."""
    head = base.head
    if not panels.available(base.device) or head.weight.nbytes > panels.ROOM:
        return
    with torch.no_grad(), suppress(RuntimeError):
        wanted = _written(base, partial(Cached, room=2))
        base.head = replace(head, panel=panels.Panel(lambda: (head.weight, head.bias), [head.weight, head.bias]))
        if 0 < Steps.bytes(base.trunk) <= panels.ROOM - head.weight.nbytes:
            base.steps = Steps(base.trunk)
        if apart(_written(base, partial(Cached, room=2)), wanted) <= _bearable(base):
            return
    base.head, base.steps = head, None


def prove_fixed(base: Base, record: Record) -> None:
    """Write in fixed shapes and in growing ones; lend no recorder where they differ. Whether the steps of this model can be
    recorded is found out when there is something to write."""
    with torch.no_grad(), suppress(TypeError, ValueError, KeyError, AttributeError, RuntimeError, IndexError):
        wanted = _written(base, partial(Cached, room=2))
        if apart(_written(base, partial(Fixed, room=2)), wanted) <= _bearable(base):
            base.record = record


def prove_prefix(base: Base) -> None:
    """Read two texts after a beginning that is kept, and whole; keep no beginnings where they differ."""
    ids = _probe(base).trees[0].prompt
    rests = (ids[1:3], ids[2:5])
    with torch.no_grad(), suppress(TypeError, ValueError, KeyError, AttributeError, RuntimeError, IndexError):
        wanted = base.ends(plant([Tree(ids, rests)], base.device), None, learning=False).float()
        base.prefixes = apart(Prefix(base, None, ids).ends(rests).float(), wanted) <= _bearable(base)


def prove_ahead(base: Base) -> None:
    """Read other replies after the prompts of a batch that was read, and by themselves; keep nothing for them where they
    differ. A pass that is recomputed keeps nothing."""
    if base.checkpointing:
        return
    batch = _probe(base)
    turned = [tuple(reversed(tree.replies[-1])) for tree in batch.trees]
    others = plant([Tree(t.prompt, (one, one[1:] or one)) for t, one in zip(batch.trees, turned, strict=True)], base.device)
    with torch.no_grad(), suppress(TypeError, ValueError, KeyError, AttributeError, RuntimeError, IndexError):
        wanted = base.read(others, None, learning=False)
        base.keeps = True
        reading = base.read(batch, None, learning=False, keeping=True)
        got = gone_on(base, None, reading, batch, others)
        base.keeps = apart(got.float(), wanted.hidden[wanted.before].float()) <= _bearable(base)
        return
    base.keeps = False


def _written(base: Base, begin: Callable[[Base, list[tuple[int, ...]], int], Past]) -> Tensor:
    """The logits after two tokens, of which the first is written in four rows and the second in two."""
    prompts, drawn = [(3, 10, 17, 24, 31), (38, 45, 52)], torch.tensor([5, 12], device=base.device)
    prompts = [tuple(token % base.vocabulary for token in prompt) for prompt in prompts]
    drawn = drawn % base.vocabulary
    past = begin(base, prompts, 2)
    past.append(drawn.repeat_interleave(2))
    past.keep(torch.tensor([0, 3], device=base.device))
    past.append(drawn)
    return past.logits


def _probe(base: Base) -> Forest:
    """Two trees, one with two replies and one with one, that fit any model."""
    ids = tuple((3 + i * 7) % base.vocabulary for i in range(12))
    return plant([Tree(ids[:5], (ids[5:8], ids[6:11])), Tree(ids[3:6], (ids[8:12],))], base.device)


def _packing_differs(base: Base, forest: Forest, expected: Reading) -> str:
    packing = Packing.of(forest, forest.needed)
    kinds = set(getattr(base.model.config, "layer_types", None) or ())
    if strange := kinds - {"full_attention", "sliding_attention"}:
        return f"it has layers of kind {', '.join(sorted(strange))}"
    try:
        base.model.set_attn_implementation(NAME)
        hidden = base.packed_states(forest, packing)[0]
    except UnknownAttention as error:
        return f"its attention needs {error}"
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, IndexError) as error:
        return f"its attention cannot be replaced: {error}"
    if packing.calls != base.model.config.get_text_config().num_hidden_layers:
        return f"only {packing.calls} of its layers use the attention that can be replaced"
    wanted, got = expected.hidden[expected.before].float(), hidden[forest.before].float()
    gap = apart(got, wanted)
    return "" if gap <= _bearable(base) else f"the packed form differs by {gap:.2g}"


def _bearable(base: Base) -> float:
    """How far two ways to the same state may be apart by rounding."""
    return 1e-4 if base.head.weight.dtype == torch.float32 else 0.1
