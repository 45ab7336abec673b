"""TRL's trainers as entries of a bench, beside ours: the same base, start, records in the same order, seeds, prompts and judge.

    plugins = ["benchmarks/peers/trl_trainers.py"]
    [optimizer]
    use = "trl-dpo"        # or trl-kto, trl-rloo, trl-grpo; and trl-reward as a [reward]

A trainer owns its loop and cannot be pulled. So it runs in a thread that stands still between two of its updates (`pulled`),
on a copy of the base with the role's adapter; after each update the adapter is brought back into the role, and everything that
looks at a role goes on as with ours. Each id that it reads is compared with ours before it begins. What passes through its
model is counted where it passes and charged by our own formula, padding and prompts read twice with it, because that is work.

It is given its best settings for this machine, and ours where a default would make the comparison unfair; both are logged
beside that default. It cannot be taken up in the middle: a run that was interrupted begins anew, so set checkpoint_every beyond
its end.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Annotated, Any, ClassVar

import datasets
import torch
import transformers
from annotated_types import Ge, Gt
from peft import PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils import load_peft_weights
from torch import Tensor
from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    KTOConfig,
    KTOTrainer,
    RewardConfig,
    RewardTrainer,
    RLOOConfig,
    RLOOTrainer,
)

from alignzoo.interfaces import Count, Lesson, Manner, Metrics
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent
from alignzoo.learning.ledger import Ledger, counting
from alignzoo.learning.rollouts import Exploring
from alignzoo.model.base import Base
from alignzoo.model.meter import Sizes
from alignzoo.model.role import Role
from alignzoo.records import Comparison, Prompt
from alignzoo.seam.hookspecs import Component
from alignzoo_kto.thumbs import thumbs_in
from alignzoo_reward_model.model import LearnedReward, grow_heads, mark, normalise

log = logging.getLogger("alignzoo.trl")
Row = dict[str, Any]
CONSTANT = Descent(lr=5e-4)
SEQUENTIAL = {"train_sampling_strategy": "sequential"}


def alignzoo_components() -> Iterable[Component]:
    for name, what, needs in (
        ("trl-dpo", "DPO", ("comparisons",)),
        ("trl-kto", "KTO", ("ratings",)),
        ("trl-rloo", "RLOO", ("prompts", "reward")),
        ("trl-grpo", "GRPO", ("prompts", "reward")),
    ):
        yield Component("optimizer", name, f"trl_trainers:Trl{what}", f"TRL's {what}Trainer, for comparison", needs=needs)
    told = "TRL's RewardTrainer, for comparison"
    yield Component("optimizer", "trl-reward", "trl_trainers:TrlReward", told, needs=("comparisons",), gives=("reward",))


# A trainer that is pulled -------------------------------------------------------------------------------------------------


class Gate(transformers.TrainerCallback):  # type: ignore[misc]
    """Where the trainer's thread stands still after an update until it is asked for the next."""

    def __init__(self) -> None:
        self.words: SimpleQueue[BaseException | str] = SimpleQueue()
        self.go, self.stop = threading.Semaphore(0), False

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.words.put("updated")
        self.go.acquire()
        control.should_training_stop |= self.stop

    def run(self, train: Callable[[], object]) -> None:
        try:
            train()
            self.words.put("ended")
        except BaseException as error:
            self.words.put(error)


def pulled(trainer: Any) -> Iterator[None]:
    """One update at a time. The ledger that is charged here is charged there, too."""
    gate = Gate()
    trainer.pop_callback(transformers.PrinterCallback)
    trainer.add_callback(gate)
    thread = threading.Thread(target=copy_context().run, args=(gate.run, trainer.train), daemon=True)
    thread.start()
    try:
        while (word := gate.words.get()) != "ended":
            if isinstance(word, BaseException):
                raise word
            yield
            gate.go.release()
    finally:
        gate.stop = True
        gate.go.release()
        thread.join()


def metered(model: Any, base: Base, sizes: Sizes) -> None:
    """Charge the base's meter with everything that passes through this model's trunk and head."""
    causal = model.base_model.model

    def trunk(module: Any, args: Any, given: Mapping[str, Any]) -> None:
        ids = given["input_ids"] if "input_ids" in given else args[0]
        rows, length = ids.shape
        past, learning = given.get("past_key_values"), torch.is_grad_enabled()
        before = past.get_seq_length() if past is not None else 0
        seen = rows * (length * before + length * (length + 1) / 2)
        matrices = 2 * (1 + learning) * sizes.linear + 2 * (1 + 2 * learning) * sizes.adapter
        base.meter.flops += matrices * ids.numel() + 4 * (1 + 2 * learning) * sizes.attention * seen
        if length > 1:  # one by one they are written, and counted when they are scored
            mask = given.get("attention_mask")
            base.meter.read += int(mask.sum()) if mask is not None and mask.shape == ids.shape else ids.numel()

    def head(module: Any, args: Any) -> None:
        base.meter.flops += 2 * (1 + torch.is_grad_enabled()) * sizes.head * args[0].shape[:-1].numel()

    causal.model.register_forward_pre_hook(trunk, with_kwargs=True)
    if (out := causal.get_output_embeddings()) is not None:
        out.register_forward_pre_hook(head)


# What both sides are told -------------------------------------------------------------------------------------------------


def plainly(descent: Descent, folder: Path, seed: int, rows: int) -> Row:
    """Our AdamW; and the peer at its best on a CPU: float32 without autocast, nothing recomputed, fused AdamW, no logs."""
    if descent.schedule != "constant" or descent.warmup:
        raise ValueError("descent: TRL's schedules are not ours: compare with schedule = 'constant' and warmup = 0")
    ours = {
        "learning_rate": descent.lr,
        "lr_scheduler_type": "constant",
        "adam_beta1": descent.beta1,
        "adam_beta2": descent.beta2,
        "adam_epsilon": descent.eps,
        "weight_decay": descent.weight_decay,
        "max_grad_norm": descent.clip,
        "disable_dropout": True,
        "per_device_train_batch_size": rows,
        "num_train_epochs": 1,
        "seed": seed,
    }
    best = {"optim": "adamw_torch_fused", "gradient_checkpointing": False, "bf16": False, "dataloader_pin_memory": False}
    silent = {"report_to": [], "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True, "use_cpu": True}
    return {"output_dir": str(folder), **ours, **best, **silent}


def announced(config: Any, given: Mapping[str, Any]) -> Any:
    """The configuration, and a word on every default that it does not keep."""
    made = config(**given)
    usual = {one.name: one.default for one in fields(config)}
    told = [f"{name} {value} (TRL: {usual[name]})" for name, value in given.items() if usual[name] != value]
    log.warning(f"{config.__name__}: {'; '.join(entry for entry in told if not entry.startswith('output_dir'))}")
    return made


@contextmanager
def copied(policy: Role, *, scoring: bool = False) -> Iterator[tuple[Any, Path]]:
    """A model of its own with the role's adapter on it, and a folder for its files."""
    base = policy.base
    if base.recalled:
        raise ValueError("a trainer of TRL cannot be taken up in the middle; remove the run's train/ folder to begin anew")
    if getattr(base.model, "is_quantized", False):
        raise ValueError('model.quantize: TRL is compared in float32; write quantize = "none" for both sides')
    transformers.logging.set_verbosity_error()
    logging.getLogger("trl").setLevel(logging.ERROR)
    with TemporaryDirectory() as folder:
        place = Path(folder)
        policy.save(place)
        where, kind = base.model.name_or_path, transformers.AutoModelForCausalLM
        if scoring:
            kind = partial(transformers.AutoModelForSequenceClassification.from_pretrained, where, num_labels=1)
            bare = kind(dtype="float32", pad_token_id=base.text.tokenizer.pad_token_id)
            shape = PeftConfig.from_pretrained(place)
            shape.task_type, shape.inference_mode = "SEQ_CLS", False  # makes the head learn, too
            model = get_peft_model(bare, shape)
            head = policy.head("score").get_parameter("weight")
            state = load_peft_weights(str(place), device="cpu") | {"base_model.model.score.weight": head.detach().clone()}
            set_peft_model_state_dict(model, state)
        else:
            model = PeftModel.from_pretrained(kind.from_pretrained(where, dtype="float32"), place, is_trainable=True)
        metered(model, base, base.sizes(policy.worn))
        yield model, place


def brought_back(model: Any, policy: Role) -> None:
    """Give the role what the trainer has made of its adapter, and of its head."""
    state: dict[str, Tensor] = get_peft_model_state_dict(model, adapter_name="default")
    head = state.pop("base_model.model.score.weight", None)
    policy.base.wardrobe.load(policy.name, state)
    if head is not None:
        with torch.no_grad():
            policy.head("score").get_parameter("weight").copy_(head)


def dealt(deck: Callable[[], Deck[Any]], base: Base) -> list[Any]:
    """All that a deck will deal, in its order; nothing of it is charged yet."""
    with counting(Ledger(), base):
        return [record for batch in deck() for record in batch]


def dataset(rows: Sequence[Row]) -> Any:
    datasets.disable_progress_bars()
    return datasets.Dataset.from_list(list(rows))


def turns(prompt: Prompt) -> list[Row]:
    return [{"role": turn.speaker, "content": turn.text} for turn in prompt.turns]


def said(text: str) -> list[Row]:
    return [{"role": "assistant", "content": text}]


def same_ids(rows: Any, ours: Iterable[tuple[tuple[int, ...], ...]], columns: Sequence[str]) -> None:
    """Whether the trainer reads what we read, id for id."""
    for number, (row, ids) in enumerate(zip(rows, ours, strict=True)):
        if tuple(tuple(row[column]) for column in columns) != ids:
            raise ValueError(
                f"TRL reads record {number} otherwise than alignzoo: {row['prompt']} …; compare on answers that "
                "come to an end, by their text: the filters `finished` and `as-text` (benchmarks/peers/as_text.py)"
            )


def sure(pairs: Sequence[Comparison]) -> None:
    if any(pair.strength != 1 for pair in pairs):
        raise ValueError("TRL knows no soft labels and no ties: choose a source that is sure")


# From records -------------------------------------------------------------------------------------------------------------


def pair_row(pair: Comparison) -> Row:
    return {"prompt": turns(pair.prompt), "chosen": said(pair.chosen.text), "rejected": said(pair.rejected.text)}


def pair_ids(base: Base, pairs: Sequence[Comparison]) -> Iterator[tuple[tuple[int, ...], ...]]:
    return ((tree.prompt, *tree.replies) for tree in base.text.pairs(pairs).trees)


def noting(kind: Any, losses: list[float]) -> Any:
    """The trainer, noting the loss of every step as it is: what it logs is averaged and rounded."""

    class Noting(kind):  # type: ignore[misc]
        def training_step(self, *given: Any, **more: Any) -> Any:
            loss = super().training_step(*given, **more)
            losses.append(float(loss.detach()))
            return loss

    return Noting


@dataclass(frozen=True)
class TrlDPO:
    needs: ClassVar[tuple[str, ...]] = ("comparisons",)

    beta: Annotated[float, Gt(0)] = 0.1
    """β."""
    batch_size: Count = 32
    """Comparisons per update."""
    seed: int = 0
    """Order of the comparisons: that of our own deck."""
    descent: Descent = CONSTANT
    """How the policy is moved."""

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        base, losses = policy.base, list[float]()
        deck = partial(Deck, lesson.comparisons, self.batch_size, 1, self.seed)
        order = dealt(deck, base)
        sure(order)
        with copied(policy) as (model, folder):
            how = plainly(self.descent, folder, self.seed, self.batch_size) | SEQUENTIAL
            how |= {"beta": self.beta, "max_length": None, "precompute_ref_log_probs": True}
            trainer = noting(DPOTrainer, losses)(
                model,
                args=announced(DPOConfig, how),
                train_dataset=dataset([pair_row(pair) for pair in order]),
                processing_class=base.text.tokenizer,
            )
            same_ids(trainer.train_dataset, pair_ids(base, order), ("prompt_ids", "chosen_ids", "rejected_ids"))
            for _, _ in zip(deck(), pulled(trainer), strict=True):
                brought_back(model, policy)
                yield {"loss": losses[-1]}

    def deploy(self, policy: Role, lesson: Lesson) -> Role:
        return policy


@dataclass(frozen=True)
class TrlKTO:
    needs: ClassVar[tuple[str, ...]] = ("ratings",)

    beta: Annotated[float, Gt(0)] = 0.1
    """β."""
    batch_size: Count = 32
    """Ratings per update. TRL takes z₀ from each one's neighbour in the batch, as ours does with baseline = "neighbours"."""
    seed: int = 0
    """Order of the ratings: that of our own deck."""
    descent: Descent = CONSTANT
    """How the policy is moved."""

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        base, losses, thumbs = policy.base, list[float](), thumbs_in(lesson.ratings, None)
        weights = thumbs.weights(None, None)
        deck = partial(thumbs.deck, self.batch_size, 1, self.seed)
        order = [thumbs.records[place] for place in dealt(deck, base)]
        if any(thumb.up not in (0, 1) for thumb in order):
            raise ValueError("trl-kto: TRL knows no uncertain thumbs; choose a source that is sure")
        with copied(policy) as (model, folder):
            how = plainly(self.descent, folder, self.seed, self.batch_size) | SEQUENTIAL
            how |= {"beta": self.beta, "max_length": None, "precompute_ref_log_probs": True}
            how |= {"desirable_weight": weights.desirable, "undesirable_weight": weights.undesirable}
            rows = [{"prompt": turns(t.prompt), "completion": said(t.completion.text), "label": t.up == 1} for t in order]
            trainer = noting(KTOTrainer, losses)(
                model, args=announced(KTOConfig, how), train_dataset=dataset(rows), processing_class=base.text.tokenizer
            )
            trees = base.text.replies([t.prompt for t in order], [[t.completion] for t in order]).trees
            same_ids(trainer.train_dataset, ((t.prompt, *t.replies) for t in trees), ("prompt_ids", "completion_ids"))
            for _, _ in zip(deck(), pulled(trainer), strict=True):
                brought_back(model, policy)
                yield {"loss": losses[-1]}

    def deploy(self, policy: Role, lesson: Lesson) -> Role:
        return policy


@dataclass(frozen=True)
class TrlReward:
    needs: ClassVar[tuple[str, ...]] = ("comparisons",)

    batch_size: Count = 32
    """Comparisons per update."""
    samples: Count = 256
    """Prompts that the start answers in the end, so that scores are normalised as ours are."""
    sample_tokens: Count = 64
    """The longest of those answers."""
    seed: int = 0
    """Weights of the head, order of the comparisons: those of our own reward model."""
    descent: Descent = CONSTANT
    """How adapter and head are moved."""

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        base, losses, start = policy.base, list[float](), policy.frozen("start")
        names = grow_heads(policy, 1, self.seed)
        deck = partial(Deck, lesson.comparisons, self.batch_size, 1, self.seed)
        order = dealt(deck, base)
        sure(order)
        with copied(policy, scoring=True) as (model, folder):
            how = plainly(self.descent, folder, self.seed, self.batch_size) | SEQUENTIAL
            how |= {"max_length": None, "pad_to_multiple_of": None}
            trainer = noting(RewardTrainer, losses)(
                model,
                args=announced(RewardConfig, how),
                train_dataset=dataset([pair_row(pair) for pair in order]),
                processing_class=base.text.tokenizer,
            )
            whole = ((prompt + chosen, prompt + rejected) for prompt, chosen, rejected in pair_ids(base, order))
            same_ids(trainer.train_dataset, whole, ("chosen_ids", "rejected_ids"))
            for _, _ in zip(deck(), pulled(trainer), strict=True):
                brought_back(model, policy)
                mark(policy, 0.0)
                told = {"loss": losses[-1]}
                if trainer.state.global_step == trainer.state.max_steps:
                    asked = list(dict.fromkeys(lesson.prompts or [pair.prompt for pair in lesson.comparisons]))[: self.samples]
                    told |= normalise(policy, names, start, asked, Manner(max_tokens=self.sample_tokens, seed=self.seed), 8192)
                yield told

    def deploy(self, policy: Role, lesson: Lesson) -> LearnedReward:
        return LearnedReward(policy, "mean", 0.5, 8192)


# From a reward ------------------------------------------------------------------------------------------------------------


@dataclass
class Heard:
    """Our reward as TRL asks for it, under our rule for answers that did not end."""

    lesson: Lesson
    base: Base
    how: Exploring
    told: Metrics

    def score(self, completion_ids: Sequence[Sequence[int]], place: Sequence[int], **more: Any) -> list[float]:
        answers = [self.base.text.completion(ids) for ids in completion_ids]
        raw = list(map(float, self.lesson.reward([self.lesson.prompts[at] for at in place], answers)))
        ended, lengths = [answer.finished for answer in answers], [len(ids) for ids in completion_ids]
        self.base.meter.written += sum(lengths)
        self.told.update(score=fmean(raw), ended=fmean(ended), length=fmean(lengths))
        return [score if end else self.how.unfinished_score for score, end in zip(raw, ended, strict=True)]


@dataclass(frozen=True)
class Rounds:
    """As many prompts as our deck deals, in its order, and so many replies to each."""

    prompts: int
    replies: int
    updates: int
    seed: int
    exploring: Exploring

    def pull(self, policy: Role, lesson: Lesson, trainer: Any, config: Any, how: Row, descent: Descent) -> Iterator[Metrics]:
        tell, base = self.exploring, policy.base
        if (tell.unfinished, tell.scale, tell.clip) != ("replace", "none", None):
            raise ValueError("exploring: beside TRL scores are as they are, and those of unfinished answers are replaced")
        deck = partial(Deck.rounds, lesson.prompts, self.prompts, self.updates, self.seed)
        places = {prompt.id: place for place, prompt in enumerate(lesson.prompts)}
        rows = [{"prompt": turns(prompt), "place": places[prompt.id]} for prompt in dealt(deck, base)]
        heard = Heard(lesson, base, tell, {})
        with copied(policy) as (model, folder):
            same = plainly(descent, folder, self.seed, self.prompts * self.replies)
            same |= {"num_generations": self.replies, "max_completion_length": tell.max_tokens, "shuffle_dataset": False}
            same |= {"temperature": tell.temperature, **how}
            made = trainer(
                model,
                reward_funcs=heard.score,
                args=announced(config, same),
                train_dataset=dataset(rows),
                processing_class=base.text.tokenizer,
            )
            for _ in pulled(made):
                brought_back(model, policy)
                yield dict(heard.told)


@dataclass(frozen=True)
class TrlRLOO:
    needs: ClassVar[tuple[str, ...]] = ("prompts", "reward")

    replies: Annotated[int, Ge(2)] = 4
    """Answers to each prompt."""
    prompts_per_update: Count = 16
    """Prompts answered in each round."""
    updates: Count = 100
    """Rounds."""
    beta: Annotated[float, Ge(0)] = 0.05
    """What a nat of log π/π_ref costs, taken from the score of the reply."""
    clip: Annotated[float, Gt(0)] = 0.2
    """ε."""
    exploring: Exploring = Exploring()
    """How answers are written and scored."""
    seed: int = 0
    """Order of the prompts: that of our own deck."""
    descent: Descent = Descent(lr=2e-4)
    """How the policy is moved."""

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        rounds = Rounds(self.prompts_per_update, self.replies, self.updates, self.seed, self.exploring)
        how = {"beta": self.beta, "epsilon": self.clip}
        yield from rounds.pull(policy, lesson, RLOOTrainer, RLOOConfig, how, self.descent)

    def deploy(self, policy: Role, lesson: Lesson) -> Role:
        return policy


@dataclass(frozen=True)
class TrlGRPO:
    needs: ClassVar[tuple[str, ...]] = ("prompts", "reward")

    replies: Annotated[int, Ge(2)] = 8
    """Answers to each prompt."""
    prompts_per_update: Count = 16
    """Prompts answered in each round."""
    updates: Count = 100
    """Rounds."""
    beta: Annotated[float, Ge(0)] = 0.04
    """The weight of the divergence in the loss. TRL's own is 0."""
    clip: Annotated[float, Gt(0)] = 0.2
    """ε."""
    exploring: Exploring = Exploring()
    """How answers are written and scored."""
    seed: int = 0
    """Order of the prompts: that of our own deck."""
    descent: Descent = Descent(lr=2e-4)
    """How the policy is moved."""

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        rounds = Rounds(self.prompts_per_update, self.replies, self.updates, self.seed, self.exploring)
        how = {"beta": self.beta, "epsilon": self.clip, "loss_type": "grpo", "scale_rewards": "group"}
        yield from rounds.pull(policy, lesson, GRPOTrainer, GRPOConfig, how, self.descent)

    def deploy(self, policy: Role, lesson: Lesson) -> Role:
        return policy
