"""A seat at the table: policy, reference, critic, reward model or judge. A role is an adapter on the base, or the bare base,
with or without heads."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from alignzoo.interfaces import Manner
from alignzoo.model import head, origin, tensors
from alignzoo.model.forest import Forest
from alignzoo.model.grown import chain, layers_of, widths_of
from alignzoo.model.loading import ModelError
from alignzoo.model.steering import Steer
from alignzoo.records import Completion, Prompt

if TYPE_CHECKING:
    from alignzoo.model.base import Base, Reading


@dataclass(frozen=True)
class Read:
    """One forward pass of a role over a forest, and everything that can be asked of it: a policy and the head of a critic on
    the same trunk share it."""

    role: Role
    forest: Forest
    reading: Reading

    @property
    def states(self) -> Tensor:
        """(tokens, width) The state that each reply token is written from."""
        return self.reading.hidden[self.reading.before]

    def logps(self, temperature: float = 1.0, allowed: Tensor | None = None) -> Tensor:
        """(tokens) log p of each reply token, among those that are allowed in its place (`head.sealed`) where that is said."""
        if not self.role.base.plain_head:
            return self.role.logps(self.forest, temperature, allowed)  # with another pass: states alone do not tell
        logps = head.logps(self.states, self.forest.targets, self.role.base.head, temperature, allowed)
        return self.role.base.heard(self.forest, logps)

    def entropies(self, temperature: float = 1.0) -> Tensor:
        """(tokens) Entropy of what could have been written instead. Not differentiated."""
        if not self.role.base.plain_head:
            with torch.no_grad():
                spread = self.role.spread(self.forest, temperature)
                return -(spread.exp() * spread).sum(-1)
        return head.entropies(self.states, self.role.base.head, temperature)

    def values(self, name: str = "value") -> Tensor:
        """(tokens) What a head one wide says of the state before each reply token."""
        said: Tensor = self.role.head(name)(self.states.float())
        return said[:, 0]


class Role:
    """Made by `policy_on`, `role_on`, `bare_on` or `load_role`; frozen copies by `frozen`."""

    def __init__(self, base: Base, name: str, adapter: list[nn.Parameter], *, bare: bool, trained: bool) -> None:
        self.base, self.name, self.trained = base, name, trained
        self.bare = bare
        self.adapter = adapter
        self.heads = nn.ModuleDict()
        self.still: set[str] = set()
        self.origin: Role | None = None
        self.companions: dict[str, Role] = {}
        """Roles that this one cannot answer without: they are saved and loaded with it, each under its name here."""
        base.roles[name] = self
        for parameter in adapter:
            parameter.requires_grad_(trained)

    @property
    def worn(self) -> str | None:
        """What the base wears when this role acts."""
        return None if self.bare else self.name

    def parameters(self) -> list[nn.Parameter]:
        """What descent may move."""
        if not self.trained:
            return []
        moved = [self.heads[name] for name in self.heads if name not in self.still]
        return [*self.adapter, *(parameter for head in moved for parameter in head.parameters())]

    def grow(
        self,
        name: str,
        width: int = 1,
        *,
        hidden: Sequence[int] = (),
        scale: float | None = None,
        seed: int = 0,
        trained: bool = True,
    ) -> None:
        """Add a head: a float32 map from a state to `width` numbers, with layers of the `hidden` widths and a ReLU after each
        of these between. Weights are normal with deviation 1/√(inputs+1) as in lm-human-preferences, and `scale` sets the
        last layer's: 0 is the usual start of a value head. A head that is not `trained` stays as it is for descent."""
        _check_name(name)
        dice = torch.Generator().manual_seed(seed)
        grown = self.heads[name] = chain((self.base.width, *hidden, width), self.base.device)
        with torch.no_grad():
            *_, last = layers = layers_of(grown)
            for layer in layers:
                deviation = 1 / math.sqrt(layer.in_features + 1) if scale is None or layer is not last else scale
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=dice) * deviation)
                layer.bias.zero_()
        grown.requires_grad_(self.trained and trained)
        if not trained:
            self.still.add(name)
        recalled = self.base.recalled.get(self.name, {})
        if state := {key.removeprefix(f"head.{name}."): t for key, t in recalled.items() if key.startswith(f"head.{name}.")}:
            grown.load_state_dict(state)  # a resumed run: the head goes on as it was

    def head(self, name: str) -> nn.Module:
        if name not in self.heads:
            raise ModelError(f"the role '{self.name}' has no head '{name}'; grow it first")
        return self.heads[name]

    # What a role can be asked -----------------------------------------------------------------------------------------

    def read(self, forest: Forest, *, keeping: bool = False) -> Read:
        """One forward pass. A frozen role records no gradient, because it knows that it is frozen. `keeping` holds on to what
        other replies to the same prompts could go on from (`Ahead`)."""
        learning = self.trained and torch.is_grad_enabled()
        return Read(self, forest, self.base.read(forest, self.worn, learning=learning, keeping=keeping))

    def logps(self, forest: Forest, temperature: float = 1.0, allowed: Tensor | None = None) -> Tensor:
        """(tokens) log p of each reply token, at this temperature, and among those allowed in its place (`head.sealed`) only
        where that is said."""
        if not self.base.plain_head:
            spread = self.spread(forest, temperature)
            if allowed is not None:
                spread = spread.masked_fill(~head.opened(allowed, self.base.vocabulary), -torch.inf).log_softmax(-1)
            return self.base.heard(forest, spread.gather(1, forest.targets[:, None])[:, 0])
        return self.read(forest).logps(temperature, allowed)

    def spread(self, forest: Forest, temperature: float = 1.0) -> Tensor:
        """(tokens, vocabulary) log p of everything that could have been written. As large as it looks: for small forests, and
        for models whose head is more than a matrix."""
        learning = self.trained and torch.is_grad_enabled()
        return self.base.whole_spread(forest, self.worn, temperature, learning=learning)

    def values(self, forest: Forest, name: str = "value") -> Tensor:
        """(tokens) What the head `name` says of the state before each reply token."""
        return self.read(forest).values(name)

    def ends(self, forest: Forest) -> Tensor:
        """(replies, width) The state that has read each whole reply: a pass that finishes no other row."""
        learning = self.trained and torch.is_grad_enabled()
        return self.base.ends(forest, self.worn, learning=learning)

    def scores(self, forest: Forest, name: str = "score") -> Tensor:
        """(replies) What a head one wide says of each whole reply, read at its last token."""
        said: Tensor = self.head(name)(self.ends(forest).float())
        return said[:, 0]

    def sample(
        self,
        prompts: Sequence[Prompt],
        n: int = 1,
        manner: Manner = Manner(),
        *,
        steer: Callable[..., Tensor] | None = None,
        beside: Sequence[Role] = (),
    ) -> list[list[Completion]]:
        """Write `n` completions of each prompt. `steer(own, *others)` gives the logits that the next token is drawn from, out
        of what this role and each of those `beside` it sees of the text so far (`Sight`)."""
        self.base.text.make_room(prompts, manner.max_tokens)
        steering = Steer(steer, tuple(role.worn for role in beside)) if steer else None
        return self.base.sampler(self.base, self.worn, prompts, n, manner, steering)

    def frozen(self, name: str = "reference") -> Role:
        """This role as it is now, never to move: the bare base if its adapter still changes nothing, else a copy of it."""
        fresh = _free_name(self.base, name)
        recalled = self.base.recalled.get(fresh)
        bare = self.bare or self.idle if recalled is None else "bare" in recalled
        if bare:
            copy = Role(self.base, fresh, [], bare=True, trained=False)
        else:
            copy = role_on(self.base, fresh, trained=False)
            if recalled is None:
                self.base.wardrobe.load(fresh, self.base.wardrobe.tensors(self.name))
        for head_name, mine in self.heads.items():
            *hidden, width = (layer.out_features for layer in layers_of(mine))
            copy.grow(head_name, width, hidden=hidden)
            copy.heads[head_name].load_state_dict(mine.state_dict())
        copy.origin = self
        _recall(copy)
        return copy

    @property
    def idle(self) -> bool:
        """Whether the adapter changes nothing: every B is zero."""
        return not any(bool(tensor.any()) for key, tensor in self._adapter_tensors().items() if ".lora_B." in key)

    # On disk and in checkpoints ---------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """Everything that this role is, for a checkpoint."""
        state = {f"adapter.{key}": tensor for key, tensor in self._adapter_tensors().items()}
        state |= {f"head.{key}": tensor for key, tensor in self.heads.state_dict().items()}
        return state | ({"bare": torch.zeros(1)} if self.bare else {})

    def load_tensors(self, state: Mapping[str, Tensor]) -> None:
        adapter = {key.removeprefix("adapter."): t for key, t in state.items() if key.startswith("adapter.")}
        if adapter:
            self.base.wardrobe.load(self.name, adapter)
        self.heads.load_state_dict({k.removeprefix("head."): t for k, t in state.items() if k.startswith("head.")})

    @property
    def digest(self) -> str:
        """A hash of the bytes of adapter and heads."""
        whole = hashlib.sha256()
        for key, tensor in sorted(self.tensors().items()):
            whole.update(key.encode())
            whole.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return whole.hexdigest()[:16]

    def save(self, folder: Path) -> None:
        """The adapter in peft's own format, and heads beside it, all as safetensors; companions in folders of their own. And
        what tells the base, which all of it belongs to."""
        folder.mkdir(parents=True, exist_ok=True)
        origin.write(folder, self.base.origin)
        if not self.bare:
            self.base.wardrobe.config(self.name).save_pretrained(folder)
            tensors.write(self._adapter_tensors(), folder / "adapter_model.safetensors")
        if self.heads:
            tensors.write(self.heads.state_dict(), folder / "heads.safetensors")
        for name, companion in self.companions.items():
            companion.save(folder / name)

    def _adapter_tensors(self) -> dict[str, Tensor]:
        return {} if self.bare else self.base.wardrobe.tensors(self.name)


def role_on(base: Base, name: str, *, trained: bool = True, seed: int = 0) -> Role:
    """A role with an adapter of its own that changes nothing yet."""
    fresh = _free_name(base, name)
    own_seed = int.from_bytes(hashlib.sha256(f"{name}/{seed}".encode()).digest()[:4], "big")
    role = Role(base, fresh, base.add_adapter(fresh, own_seed), bare=False, trained=trained)
    _recall(role)
    return role


def policy_on(base: Base, seed: int = 0) -> Role:
    """The role that is aligned."""
    return role_on(base, "policy", seed=seed)


def bare_on(base: Base, name: str) -> Role:
    """The base itself, as a role: what a judge or an untouched start is."""
    return Role(base, _free_name(base, name), [], bare=True, trained=False)


def load_role(base: Base, folder: Path, name: str, *, trained: bool = False) -> Role:
    """A role from the files that `Role.save` (or peft) wrote."""
    adapter, heads = folder / "adapter_model.safetensors", folder / "heads.safetensors"
    if not adapter.exists() and not heads.exists():
        raise ModelError(f"{folder} holds no adapter: there is no adapter_model.safetensors in it")
    origin.check(folder, base.origin)
    _check_shape(folder, base)
    role = role_on(base, name, trained=trained) if adapter.exists() else bare_on(base, name)
    if adapter.exists():
        base.wardrobe.load(role.name, tensors.read(adapter))
    if heads.exists():
        state = tensors.read(heads)
        for head_name, (*hidden, width) in widths_of(state).items():
            role.grow(head_name, width, hidden=hidden)
        role.heads.load_state_dict(state)
    for inner in sorted({path.parent for path in folder.glob("*/*.safetensors")}):
        role.companions[inner.name] = load_role(base, inner, inner.name, trained=trained)
    _recall(role)
    return role


def _check_shape(folder: Path, base: Base) -> None:
    """What the tensors alone do not tell: with another alpha they fit, and every log-probability would be wrong."""
    file = folder / "adapter_config.json"
    try:
        theirs = dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}
    except (ValueError, TypeError) as error:
        raise ModelError(f"{file} is damaged: {error}") from None
    ours = {"r": base.lora.rank, "lora_alpha": base.lora.alpha, "rank_pattern": {}, "alpha_pattern": {}}
    for setting, wanted in {**ours, "use_rslora": False, "use_dora": False}.items():
        if (found := theirs.get(setting) or wanted) != wanted:
            raise ModelError(
                f"the adapter in {folder} has {setting} = {found}, and the adapters of this base {wanted or 'none'}; load it "
                "with the [model.lora] settings it was trained with"
            )


def _free_name(base: Base, name: str) -> str:
    """peft keeps an adapter under one name for good, so a second reference is called reference2."""
    _check_name(name)
    number = 1
    while (fresh := name if number == 1 else f"{name}{number}") in base.roles:
        number += 1
    return fresh


def _check_name(name: str) -> None:
    if name in dir(nn.ModuleDict):
        raise ModelError(f"'{name}' is a word of torch's own (`ModuleDict.{name}`); give the role or head another name")


def _recall(role: Role) -> None:
    """Take up the adapter that a checkpoint holds for a role of this name, and the heads it has; others as they are grown."""
    if (state := role.base.recalled.get(role.name)) is not None:
        heads = {f"head.{key}" for key in role.heads.state_dict()}
        role.load_tensors({key: tensor for key, tensor in state.items() if key.startswith("adapter.") or key in heads})
