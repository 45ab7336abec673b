"""Many roles on one base: nothing is copied, nobody gets another's gradient, and both halves of the cure are needed."""

from __future__ import annotations

import gc
import math
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from plain import gradients, loaded, mixed, pairs, stirred
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointError

from alignzoo.interfaces import Manner
from alignzoo.learning.descent import Descent, Loss
from alignzoo.model.base import Base
from alignzoo.model.choices import Quantization
from alignzoo.model.forest import Forest, Tree, plant
from alignzoo.model.loading import ModelError
from alignzoo.model.role import Role, bare_on, policy_on, role_on
from alignzoo.records import Prompt
from alignzoo.testing import toy_base, toy_folder

Family = Callable[[str], Path]


def frozen_storage(base: Base) -> dict[str, int]:
    """Where every tensor of the base lies, adapters and heads left out; names as they are without peft's wrapping."""
    tensors = {**dict(base.model.named_parameters()), **dict(base.model.named_buffers())}
    return {key.replace(".base_layer", ""): t.data_ptr() for key, t in tensors.items() if ".lora_" not in key}


@pytest.mark.parametrize("quantize", ["none", "int8", "nf4"])
def test_five_roles_share_every_frozen_tensor(quantize: Quantization, tmp_path: Path) -> None:
    base = loaded(toy_folder(tmp_path), quantize)
    before = frozen_storage(base)
    policy = stirred(policy_on(base))
    roles = [policy, policy.frozen(), role_on(base, "critic"), role_on(base, "reward", trained=False), bare_on(base, "judge")]
    assert frozen_storage(base) == before
    assert len(before) > 20
    for role in roles:
        role.logps(pairs())
    assert frozen_storage(base) == before
    own = [tensor.data_ptr() for role in roles for tensor in role.tensors().values() if not role.bare]
    assert len(set(own)) == len(own)
    assert not set(own) & set(before.values())


def test_four_roles_take_little_more_memory_than_one() -> None:
    """In processes of their own, over one whole training step each: what is held on top of the imports."""
    program = dedent(
        """
        import os, sys, torch
        torch.set_num_threads(1)
        from transformers import LlamaConfig, LlamaForCausalLM
        from alignzoo.learning.descent import Descent, Loss
        from alignzoo.model.base import Base
        from alignzoo.model.choices import Lora
        from alignzoo.model.forest import Tree, plant
        from alignzoo.model.role import policy_on, role_on
        from alignzoo.model.text import Text
        from alignzoo.testing import toy_tokenizer

        def held(what):
            with open("/proc/self/status") as status:
                return next(int(line.split()[1]) for line in status if line.startswith(what)) / 1024

        def step(roles):
            before = held("VmRSS")
            open("/proc/self/clear_refs", "w").write("5")
            config = LlamaConfig(vocab_size=512, hidden_size=512, intermediate_size=1408, num_hidden_layers=10,
                                 num_attention_heads=8, max_position_embeddings=64)
            with torch.device("meta"):
                model = LlamaForCausalLM(config)
            model.to_empty(device="cpu")
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.data.fill_(0.01)
            base = Base(model, Text.of(toy_tokenizer(), context=64), Lora(rank=4))
            policy = policy_on(base)
            trained, others = [policy], []
            if roles == 4:
                with torch.no_grad():
                    policy.adapter[1].add_(0.1)  # so that the reference needs an adapter of its own
                critic, reward = role_on(base, "critic"), role_on(base, "reward", trained=False)
                critic.grow("value"), reward.grow("score")
                trained, others = [policy, critic], [policy.frozen(), reward]
            forest = plant([Tree(tuple(range(8)), (tuple(range(8, 16)),))])
            def loss_of(forest):
                total = -policy.logps(forest)
                if roles == 4:
                    total = total + others[0].logps(forest) + critic.values(forest) ** 2 + reward.scores(forest)
                return Loss.over(total)
            Descent().on(*trained)(loss_of, forest)
            weights = sum(t.numel() * t.element_size() for t in base.model.parameters()) / 2**20
            return held("VmHWM") - before, weights

        for roles in (1, 4):
            sys.stdout.flush()
            if os.fork() == 0:
                print(*step(roles), flush=True)
                os._exit(0)
            assert os.wait()[1] == 0
        """
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    (one, weights), (four, _) = (map(float, line.split()) for line in ran.stdout.splitlines())
    assert one > weights > 100  # MiB: the base is large, and it is really held
    assert four <= 1.25 * one, f"one role holds {one:.0f} MiB, four hold {four:.0f}"


def test_acting_as_always_restores(base: Base) -> None:
    def stumble() -> None:
        with base.acting_as("critic"):
            assert base.worn.name == "critic"
            raise ZeroDivisionError

    with base.acting_as("policy"):
        with pytest.raises(ZeroDivisionError):
            stumble()
        assert base.worn.name == "policy"
        with base.acting_as(None):
            assert base.worn.name is None
        assert base.worn.name == "policy"
    assert base.worn.name is None


def test_a_forward_pass_that_fails_leaves_nothing_worn(base: Base) -> None:
    policy = policy_on(base)
    with pytest.raises(ModelError, match="has no head 'value'; grow it first"):
        policy.values(pairs())
    far = mixed()
    with pytest.raises(IndexError):
        policy.logps(type(far)(**{**vars(far), "ids": far.ids + 1000}))
    assert base.worn.name is None
    assert not any(layer.training for layer in base._layers)


# The gradient contract -----------------------------------------------------------------------------------------------


def seat(base: Base, *names: str) -> list[Role]:
    """A policy and a critic with a value head, with adapters that do not depend on who else is there."""
    roles = []
    for name in names:
        role = stirred(role_on(base, name), seed=len(name))
        if name == "critic":
            role.grow("value", seed=3)
        roles.append(role)
    return roles


def policy_loss(policy: Role) -> Tensor:
    logps = policy.logps(mixed())
    return (logps * torch.linspace(-1, 1, len(logps))).sum()


def critic_loss(critic: Role) -> Tensor:
    values = critic.values(mixed())
    return ((values - torch.linspace(-2, 2, len(values))) ** 2).sum()


def alone(make: Callable[[], Base], name: str) -> dict[str, Tensor]:
    """The gradient that a role gets on a base where it is the only one."""
    [role] = seat(make(), name)
    (policy_loss(role) if name == "policy" else critic_loss(role)).backward()
    return gradients(role)


def same(got: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return set(got) == set(wanted) and all(torch.equal(got[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("quantize", ["none", "nf4"])
def test_a_joint_loss_gives_each_role_exactly_its_own_gradient(
    quantize: Quantization, checkpointing: bool, tmp_path: Path
) -> None:
    folder = toy_folder(tmp_path)

    def make() -> Base:
        return loaded(folder, quantize, checkpointing=checkpointing)

    base = make()
    policy, critic = seat(base, "policy", "critic")
    reference = policy.frozen()
    joint = policy_loss(policy) + critic_loss(critic) + 0.0 * reference.logps(mixed()).sum()
    with base.acting_as("critic"):  # whatever is worn when backward() runs
        joint.backward()
    wanted = {name: alone(make, name) for name in ("policy", "critic")}
    assert same(gradients(policy), wanted["policy"])
    assert same(gradients(critic), wanted["critic"])
    assert all(float(tensor.abs().max()) > 0 for part in wanted.values() for tensor in part.values())
    assert not any(parameter.grad is not None for parameter in reference.adapter)


def test_checkpointing_changes_no_gradient() -> None:
    plain, again = (alone(lambda c=c: toy_base(checkpointing=c), "policy") for c in (False, True))
    assert same(again, plain)


def test_half_of_the_cure_is_to_keep_everyone_trainable(base: Base) -> None:
    """Planted: peft's own switch between the two forward passes. The policy's gradient is gone, without an error."""
    policy, critic = seat(base, "policy", "critic")
    loss = policy_loss(policy)
    base.wardrobe.peft.set_adapter("critic")  # type: ignore[union-attr]
    (loss + critic_loss(critic)).backward()
    assert all(parameter.grad is None for parameter in policy.parameters())
    assert same(gradients(critic), alone(toy_base, "critic"))


def test_a_new_adapter_silences_no_older_one(base: Base) -> None:
    """peft leaves only the newest one trainable; planted beside ours to show that it still does."""
    policy, critic = seat(base, "policy", "critic")
    frozen = role_on(base, "reward", trained=False)
    role_on(base, "judge")
    assert all(parameter.requires_grad for role in (policy, critic) for parameter in role.parameters())
    assert not any(parameter.requires_grad for parameter in frozen.adapter)
    base.wardrobe.peft.add_adapter("theirs", base.wardrobe.shape())  # type: ignore[union-attr]
    base.wardrobe.peft.set_adapter("theirs")  # type: ignore[union-attr]
    assert not any(parameter.requires_grad for parameter in policy.parameters())


@pytest.mark.parametrize("reentrant", [False, True])
def test_the_other_half_is_to_wear_the_same_in_the_recomputed_pass(reentrant: bool) -> None:
    """Planted: checkpointing as transformers switches it on, and another role acting when backward() runs. Recomputing in the
    old way gives the gradient to that role, in the new way makes it wrong; neither says anything."""
    base = toy_base(checkpointing=True)
    policy, _ = seat(base, "policy", "critic")
    base.model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    base.model.enable_input_require_grads()
    base.tail_layers = 0  # or else torch would notice that the recomputed rows are others
    loss = policy_loss(policy)
    with base.acting_as("critic"):
        loss.backward()
    named = dict(base.model.named_parameters())
    stolen = [key for key, parameter in named.items() if ".critic." in key and parameter.grad is not None]
    missing = [key for key, parameter in named.items() if ".policy." in key and parameter.grad is None]
    if reentrant:
        assert len(stolen) == len(missing) == len(policy.adapter)
        return
    assert not stolen
    wanted, got = alone(toy_base, "policy"), gradients(policy)
    wrong = [key for key in wanted if float((got[key] - wanted[key]).norm() / wanted[key].norm()) > 0.1]
    assert len(wrong) > len(wanted) / 2
    with pytest.raises(CheckpointError):  # with nobody acting, torch notices
        policy_loss(policy).backward()


def test_a_checkpointed_loss_can_be_descended_twice() -> None:
    """Two losses over one forward pass, each with its own backward()."""
    base = toy_base(checkpointing=True)
    [policy] = seat(base, "policy")
    logps = policy.logps(mixed())
    first, second = logps.square().sum(), logps.sum()
    first.backward(retain_graph=True)
    second.backward()
    both = gradients(policy)
    other = toy_base()
    [plain] = seat(other, "policy")
    logps = plain.logps(mixed())
    (logps.square().sum() + logps.sum()).backward()
    for key, wanted in gradients(plain).items():
        assert torch.allclose(both[key], wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))


@pytest.mark.parametrize("name", ["gpt2", "opt", "bloom", "llama"])
def test_sampling_sees_neither_checkpointing_nor_dropout(name: str, family: Family) -> None:
    """Also between a forward pass that is to be recomputed and its backward()."""
    said = []
    for checkpointing in (False, True):
        base = loaded(family(name), checkpointing=checkpointing)
        [policy] = seat(base, "policy")
        loss = policy_loss(policy)
        said.append(policy.sample([Prompt.ask("is the cat small"), Prompt.ask("why")], 2, Manner(max_tokens=12, seed=5)))
        loss.backward()
        said.append(policy.sample([Prompt.ask("is the cat small"), Prompt.ask("why")], 2, Manner(max_tokens=12, seed=5)))
    assert all(again == said[0] for again in said)
    assert all(reply.tokens for group in said[0] for reply in group)


# What a role is ------------------------------------------------------------------------------------------------------


def test_a_fresh_adapter_changes_nothing_and_its_reference_is_the_bare_base(base: Base) -> None:
    policy = policy_on(base)
    with torch.no_grad():
        assert torch.equal(policy.logps(mixed()), bare_on(base, "judge").logps(mixed()))
    assert policy.idle
    reference = policy.frozen()
    assert reference.bare
    assert reference.parameters() == []
    assert torch.equal(reference.logps(mixed()), policy.logps(mixed()).detach())


def test_a_frozen_copy_stays_when_the_original_moves(base: Base) -> None:
    policy = stirred(policy_on(base))
    policy.grow("value", seed=7)
    reference = policy.frozen()
    with torch.no_grad():
        then = (policy.logps(mixed()), policy.values(mixed()))
    digest = reference.digest
    assert not reference.bare
    assert torch.equal(reference.logps(mixed()), then[0])
    assert torch.equal(reference.values(mixed()), then[1])
    stirred(policy, seed=1)
    with torch.no_grad():
        policy.head("value").bias.add_(1.0)  # type: ignore[union-attr,operator]
        assert not torch.allclose(policy.logps(mixed()), then[0], atol=0.1)
    assert reference.digest == digest
    assert torch.equal(reference.logps(mixed()), then[0])
    assert torch.equal(reference.values(mixed()), then[1])


def test_a_frozen_role_records_no_gradient(base: Base) -> None:
    reference = stirred(policy_on(base)).frozen()
    reference.grow("score")
    assert not reference.logps(mixed()).requires_grad
    assert not reference.scores(mixed()).requires_grad
    assert not reference.read(mixed()).reading.hidden.requires_grad


def test_a_second_reference_gets_a_name_of_its_own(base: Base) -> None:
    policy = stirred(policy_on(base))
    assert [policy.frozen().name for _ in range(3)] == ["reference", "reference2", "reference3"]


def test_where_an_adapter_begins_depends_on_name_and_seed_only() -> None:
    """Not on who was made before, nor on the global random state, which is left as it is."""
    first, second = toy_base(), toy_base()
    torch.manual_seed(1)
    one = policy_on(first, seed=3)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    role_on(second, "critic")
    two = policy_on(second, seed=3)
    two.grow("value", seed=1)
    one.grow("value", seed=1)
    two.frozen()
    assert one.digest == two.digest
    assert torch.equal(torch.get_rng_state(), state)
    assert policy_on(toy_base(), seed=4).digest != policy_on(toy_base(), seed=3).digest
    assert role_on(toy_base(), "critic").digest != role_on(toy_base(), "policy").digest


def test_a_head_begins_as_asked(base: Base) -> None:
    """Deviation 1/√(d+1) unless said otherwise, bias 0; a value head of scale 0 says 0 at first, and still learns."""
    policy = policy_on(base)
    policy.grow("wide", 2000)
    wide = policy.head("wide").weight
    assert float(wide.std()) == pytest.approx(1 / 65**0.5, rel=0.02)  # type: ignore[arg-type]
    assert not policy.head("wide").bias.any()  # type: ignore[union-attr,operator]
    policy.grow("value", scale=0.0)
    assert not policy.values(mixed()).any()
    policy.values(mixed()).sum().backward()
    assert policy.head("value").weight.grad.any()  # type: ignore[union-attr]


def test_a_head_may_have_layers_with_a_relu_between_by_hand(base: Base) -> None:
    """States x, y and 0 through the layers [[1, 0, …], [−1, 0, …]] + (0, 1) and [2, 3] − 4: 2·relu(x₀) + 3·relu(1 − x₀) − 4."""
    policy = policy_on(base)
    policy.grow("value", hidden=(2,))
    head = policy.head("value")
    first, last = (layer for layer in head.modules() if isinstance(layer, torch.nn.Linear))
    states = torch.zeros(3, 64)
    states[0, 0], states[1, 0] = 5.0, -2.0
    with torch.no_grad():
        first.weight.zero_()
        first.weight[0, 0], first.weight[1, 0] = 1.0, -1.0
        first.bias.copy_(torch.tensor([0.0, 1.0]))
        last.weight.copy_(torch.tensor([[2.0, 3.0]]))
        last.bias.fill_(-4.0)
        assert head(states)[:, 0].tolist() == [2 * 5 + 0 - 4, 0 + 3 * 3 - 4, 0 + 3 * 1 - 4]
        read = policy.read(mixed())
        x = read.states[:, 0]
        assert torch.allclose(read.values(), 2 * x.relu() + 3 * (1 - x).relu() - 4, atol=1e-5)
        policy.grow("deep", 5, hidden=(7, 3))
        layers = [layer for layer in policy.head("deep").modules() if not isinstance(layer, torch.nn.Sequential)]
    assert [type(layer).__name__ for layer in layers] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]  # and none at the end


def test_the_layers_of_a_head_begin_as_asked(base: Base) -> None:
    """Each by its own number of inputs; `scale` is the last one's alone, so that a head of scale 0 says 0 and still learns."""
    policy = policy_on(base)
    policy.grow("value", hidden=(2000,), scale=0.0)
    first, last = (layer for layer in policy.head("value").modules() if isinstance(layer, torch.nn.Linear))
    assert float(first.weight.std()) == pytest.approx(1 / 65**0.5, rel=0.02)
    assert not first.bias.any()
    assert not policy.values(mixed()).any()
    policy.values(mixed()).sum().backward()
    assert last.weight.grad is not None
    assert last.weight.grad.any()
    policy.grow("wide", 30, hidden=(100,))
    *_, last = (layer for layer in policy.head("wide").modules() if isinstance(layer, torch.nn.Linear))
    assert float(last.weight.std()) == pytest.approx(1 / 101**0.5, rel=0.05)


def test_descent_leaves_a_still_head_alone(base: Base) -> None:
    """Even where the loss goes through it, and after a newer adapter has had everybody made trainable again."""
    policy = policy_on(base)
    policy.grow("value")
    policy.grow("target", hidden=(4,), trained=False)
    role_on(base, "critic")
    theirs = [*policy.head("target").parameters()]
    assert not any(parameter.requires_grad for parameter in theirs)
    assert not {id(parameter) for parameter in policy.parameters()} & {id(parameter) for parameter in theirs}
    then = [parameter.clone() for parameter in theirs]

    def loss_of(forest: Forest) -> Loss:
        read = policy.read(forest)
        return Loss.over((read.values() - 1) ** 2 + (read.values("target") - 1) ** 2)

    value = policy.head("value").get_parameter("weight").detach().clone()
    Descent(lr=0.1).on(policy)(loss_of, mixed())
    assert all(torch.equal(now, before) for now, before in zip(theirs, then, strict=True))
    assert not torch.equal(policy.head("value").get_parameter("weight"), value)
    assert not any(parameter.grad is not None for parameter in theirs)


def test_a_frozen_copy_has_the_same_layers(base: Base) -> None:
    policy = stirred(policy_on(base))
    policy.grow("value", hidden=(6, 5), seed=7)
    policy.grow("target", 2, hidden=(3,), seed=8, trained=False)
    copy = policy.frozen()
    with torch.no_grad():
        assert torch.equal(copy.values(mixed()), policy.values(mixed()))
        states = policy.read(mixed()).states
        assert torch.equal(copy.head("target")(states), policy.head("target")(states))
        policy.head("target").get_parameter("0.weight").add_(1.0)
        assert not torch.equal(copy.head("target")(states), policy.head("target")(states))
    assert not any(parameter.requires_grad for parameter in copy.heads.parameters())


def test_a_policy_and_the_head_of_a_critic_can_share_one_pass(base: Base) -> None:
    [critic] = seat(base, "critic")
    before = base.meter.read
    read = critic.read(mixed())
    logps, values, entropies = read.logps(), read.values(), read.entropies()
    assert base.meter.read - before == mixed().size
    (logps.sum() + values.sum()).backward()
    assert torch.equal(values.detach(), critic.values(mixed()).detach())
    assert torch.equal(logps.detach(), critic.logps(mixed()).detach())
    spread = critic.spread(mixed()).detach()
    assert torch.allclose(entropies, -(spread.exp() * spread).sum(-1), atol=1e-5)
    assert not entropies.requires_grad


def test_who_is_dismissed_leaves_nothing_and_nobody_notices(base: Base, tmp_path: Path) -> None:
    policy, critic = seat(base, "policy", "critic")
    with torch.no_grad():
        wanted = policy.logps(mixed())
        judged = critic.values(mixed())
    memory = [weakref.ref(parameter) for parameter in critic.adapter]
    assert len(memory) == sum(1 for key, _ in base.model.named_parameters() if ".critic." in key)
    base.dismiss("critic")
    base.dismiss("nobody")
    del critic
    gc.collect()
    assert not any(parameter() is not None for parameter in memory)
    assert not any(".critic." in key for key, _ in base.model.named_parameters())
    assert list(base.roles) == ["policy"]
    with torch.no_grad():
        assert torch.equal(policy.logps(mixed()), wanted)
    policy_loss(policy).backward()
    assert same(gradients(policy), alone(toy_base, "policy"))
    [again] = seat(base, "critic")  # the same name, free again
    with torch.no_grad():
        assert torch.equal(again.values(mixed()), judged)
    again.save(tmp_path)
    assert (tmp_path / "adapter_config.json").exists()


def test_companions_go_with_who_needs_them(base: Base) -> None:
    """And theirs with them; a companion may be gone before, and others stay."""
    policy, critic = seat(base, "policy", "critic")
    twins, judge, reference = role_on(base, "twins"), bare_on(base, "judge"), policy.frozen()
    policy.companions["twins"], twins.companions["judge"] = twins, judge
    base.dismiss("policy")
    assert list(base.roles) == ["critic", reference.name]
    assert not any(".twins." in key or ".policy." in key for key, _ in base.model.named_parameters())
    critic.companions["gone"] = twins
    base.dismiss("critic")
    assert list(base.roles) == [reference.name]


def test_when_all_are_dismissed_the_base_is_itself(base: Base) -> None:
    fresh = bare_on(toy_base(), "judge").logps(mixed())
    policy, _ = seat(base, "policy", "critic")
    policy.frozen()
    base.dismiss_all()
    assert base.roles == {}
    assert torch.equal(bare_on(base, "judge").logps(mixed()), fresh)
    [again] = seat(base, "policy")
    policy_loss(again).backward()
    assert same(gradients(again), alone(toy_base, "policy"))


def test_a_role_may_be_called_as_a_part_of_the_model_is(base: Base) -> None:
    """Its parameters are its adapter's, and not every weight below a module of that name."""
    role, plain = role_on(base, "mlp"), role_on(toy_base(), "policy")
    assert len(role.parameters()) == len(plain.parameters())
    assert all(parameter.requires_grad == (".lora_" in key) for key, parameter in base.model.named_parameters())


@pytest.mark.parametrize("word", ["values", "keys"])
def test_a_name_that_torch_has_taken_is_refused(word: str) -> None:
    base = toy_base()
    with pytest.raises(ModelError, match=f"'{word}' is a word of torch's own"):
        role_on(base, word)
    with pytest.raises(ModelError, match=f"'{word}' is a word of torch's own"):
        policy_on(base).grow(word)


# By hand ---------------------------------------------------------------------------------------------------------------


def test_a_role_is_asked_at_the_temperature_that_is_meant(base: Base) -> None:
    """Log-probabilities and entropies, in one pass or by themselves, against the logits divided by it."""
    role, forest = stirred(policy_on(base)), plant([Tree((1, 9, 12), ((6, 7, 2), (40, 2)))])
    with torch.no_grad():
        for temperature in (1.0, 0.5, 2.0):
            spread = (base.head.logits(role.read(forest).states) / temperature).log_softmax(-1)
            wanted = spread.gather(1, forest.targets[:, None])[:, 0]
            assert torch.allclose(role.logps(forest, temperature), wanted, atol=1e-5)
            assert torch.allclose(role.read(forest).logps(temperature), wanted, atol=1e-5)
            entropies = -(spread.exp() * spread).sum(-1)
            assert torch.allclose(role.read(forest).entropies(temperature), entropies, atol=1e-5)


def test_a_frozen_role_offers_nothing_to_move_and_knows_whose_copy_it_is(base: Base) -> None:
    policy = policy_on(base)
    policy.grow("value", seed=1)
    bare, judge = policy.frozen(), bare_on(base, "judge")
    worn = stirred(policy).frozen("start")
    assert (bare.worn, worn.worn) == (None, "start")
    for role in (bare, judge, worn):
        assert role.parameters() == []
    assert (bare.origin, worn.origin, judge.origin) == (policy, policy, None)
    assert ("bare" in bare.tensors(), "bare" in worn.tensors()) == (True, False)
    assert len(policy.parameters()) == len(policy.adapter) + 2


def test_a_digest_is_of_every_byte_and_of_where_it_stands(base: Base) -> None:
    role = policy_on(base)
    digests = {role.digest}
    role.grow("one", seed=1)
    role.grow("two", seed=2)
    digests.add(role.digest)
    one, two = role.head("one").state_dict(), role.head("two").state_dict()
    swapped = {key: tensor.clone() for key, tensor in one.items()}
    role.head("one").load_state_dict({key: tensor.clone() for key, tensor in two.items()})
    role.head("two").load_state_dict(swapped)
    digests.add(role.digest)
    with torch.no_grad():
        role.adapter[-1].view(-1)[-1] += 1e-6
    digests.add(role.digest)
    role.heads["zwei"] = role.heads.pop("two")
    digests.add(role.digest)
    assert len(digests) == 5


def test_a_heads_first_weights_are_of_its_seed_and_one_over_the_root_of_its_inputs_and_one(base: Base) -> None:
    role = policy_on(base)
    for name, seed in (("one", 1), ("two", 2), ("again", 1)):
        role.grow(name, width=2000, seed=seed)
    one, two, again = (role.head(name).get_parameter("weight").detach() for name in ("one", "two", "again"))
    assert torch.equal(one, again)
    assert not torch.equal(one, two)
    drawn = torch.randn(one.shape, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(one, drawn / math.sqrt(base.width + 1), rtol=1e-4)


def test_a_new_adapter_silences_nobody(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some releases of peft leave only the newest adapter trainable."""
    policy, own = policy_on(base), base.wardrobe.add

    def add(name: str, seed: int) -> list[nn.Parameter]:
        for parameter in policy.adapter:
            parameter.requires_grad_(False)
        return own(name, seed)

    monkeypatch.setattr(base.wardrobe, "add", add)
    role_on(base, "critic")
    assert all(parameter.requires_grad for parameter in policy.parameters())
