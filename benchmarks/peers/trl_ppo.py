"""The peer: the PPOTrainer of TRL 1.12, the last release that has one, at its best settings for this machine.

Its policy is a LoRA whose reference is the model without it; reward model and value model are models of their own. The reward
model has its adapter merged, which costs it nothing; the value model wears a LoRA and a trainable head, which is less work than
to train all of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from models import PAD, SHELF, Size, folder, tokenizer
from proximal import Proximal, Slope, Update, Weights
from torch import Tensor, nn
from trl_dpo import Stopwatch, _quiet

from alignzoo.records import Prompt

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

ADAPTER = "default"
SEEN = {"old": "logprobs", "reference": "ref_logprobs", "value": "values", "reward": "rewards"}
SEEN |= {"advantage": "advantages", "return": "returns"}
"""Our names of what the peer's loop holds, and its own."""


class Theirs:
    """A PPOTrainer whose `train()` can be called again on other prompts."""

    def __init__(self, size: Size, setting: Proximal, prompts: Sequence[Prompt], policy: Path, judge: Path) -> None:
        import datasets
        from peft import PeftModel
        from trl.experimental.ppo import PPOTrainer

        datasets.disable_progress_bars()
        self.text = tokenizer(size.vocabulary)
        self.text.padding_side = "left"
        self.prompts = prompts
        self.ids = [self.text(prompt.text)["input_ids"] for prompt in prompts]
        self.model = PeftModel.from_pretrained(_causal(size), policy, is_trainable=True)
        self.critic = _critic(size, policy)
        with _quiet():
            self.trainer = PPOTrainer(
                args=_settings(setting),
                processing_class=self.text,
                model=self.model,
                ref_model=None,
                reward_model=_judge(size, judge),
                value_model=self.critic,
                train_dataset=datasets.Dataset.from_dict({"input_ids": self.ids}),
            )
        self.trainer.pop_callback(transformers.PrinterCallback)
        self.stopwatch = Stopwatch()
        self.trainer.add_callback(self.stopwatch)

    def train(self, batches: Sequence[Sequence[int]]) -> float:
        """Train on these prompts in this order; returns the CPU seconds of the loop, collating not included."""
        rows = [{"input_ids": [self.ids[place] for place in batch]} for batch in batches]
        self.trainer.dataloader = [self.text.pad(row, return_tensors="pt") for row in rows]
        self.trainer.args.num_total_batches = len(batches)
        with _quiet():
            self.trainer.train()
        return self.stopwatch.seconds

    def watched(self, chosen: Sequence[int], start: Weights) -> Update:
        """One update over these prompts from these weights, as it was seen at each backward pass: in the variables of the
        trainer's own loop, and in the gradients that came of it."""
        self.wear(start)
        accelerator = self.trainer.accelerator
        backward = accelerator.backward
        held: dict[str, Any] = {}
        epochs: list[Slope] = []

        def watched_backward(loss: Tensor) -> None:
            held.update(sys._getframe(1).f_locals)
            at = self._weights(_values)
            backward(loss)
            epochs.append(Slope(at, float(loss.detach()), self._weights(_gradients)))

        accelerator.backward = watched_backward
        try:
            self.train([chosen])
        finally:
            accelerator.backward = backward
        tokens = {ours: held[theirs].clone() for ours, theirs in SEEN.items()}
        written = [tuple(row) for row in held["responses"].tolist()]
        return Update([self.prompts[place] for place in chosen], written, tokens, epochs)

    def wear(self, weights: Weights) -> None:
        self._copy(_adapter_of(self.model), weights.policy)
        self._copy(_adapter_of(self.critic), weights.critic)
        self._copy({"": self.critic.score.weight}, {"": weights.head})

    def _copy(self, parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
        if set(parameters) != set(values):
            raise AssertionError("the two train different weights")
        with torch.no_grad():
            for key, parameter in parameters.items():
                parameter.copy_(values[key])

    def _weights(self, of: Any) -> Weights:
        return Weights(of(_adapter_of(self.model)), of(_adapter_of(self.critic)), of({"": self.critic.score.weight})[""])


def _values(parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    return {key: parameter.detach().clone() for key, parameter in parameters.items()}


def _gradients(parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    return {key: parameter.grad.clone() for key, parameter in parameters.items() if parameter.grad is not None}


def _adapter_of(model: nn.Module) -> dict[str, nn.Parameter]:
    """Its parameters under the keys of peft's files."""
    named = {key: p for key, p in model.named_parameters() if f".{ADAPTER}." in key}
    return {
        f"base_model.model.{key.replace(f'.{ADAPTER}.', '.').removeprefix('base_model.model.')}": p for key, p in named.items()
    }


def _causal(size: Size) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder(size), dtype="float32")


def _scorer(size: Size) -> Any:
    kind = transformers.AutoModelForSequenceClassification
    return kind.from_pretrained(folder(size), dtype="float32", num_labels=1, pad_token_id=PAD)


def _critic(size: Size, shape: Path) -> Any:
    """A value model with a LoRA of this shape inside, and a head that begins by foreseeing nothing."""
    from peft import PeftConfig, inject_adapter_in_model

    critic = inject_adapter_in_model(PeftConfig.from_pretrained(shape), _scorer(size), adapter_name=ADAPTER)
    torch.nn.init.zeros_(critic.score.weight)
    for key, parameter in critic.named_parameters():
        parameter.requires_grad_("lora_" in key or key.startswith("score."))
    return critic


def _judge(size: Size, place: Path) -> Any:
    """Our reward model as one without an adapter."""
    from peft import PeftConfig, PeftModel
    from safetensors.torch import load_file

    shape = PeftConfig.from_pretrained(place)
    shape.task_type = None
    judge = PeftModel.from_pretrained(_scorer(size), place, config=shape).merge_and_unload()
    with torch.no_grad():
        judge.score.weight.copy_(load_file(place / "heads.safetensors")["score.weight"])
    return judge.eval()


def _settings(setting: Proximal) -> Any:
    """Its best on a CPU: float32 without autocast, nothing recomputed, fused AdamW, one batch, no samples shown."""
    from trl.experimental.ppo import PPOConfig

    return PPOConfig(
        output_dir=str(SHELF / "trl-ppo"),
        per_device_train_batch_size=setting.rows,
        local_rollout_forward_batch_size=setting.rows,
        total_episodes=setting.rows,
        num_mini_batches=1,
        num_ppo_epochs=setting.epochs,
        num_sample_generations=0,
        response_length=setting.new,
        stop_token="eos",
        temperature=1.0,
        kl_coef=setting.beta,
        kl_estimator="k1",
        cliprange=setting.near,
        cliprange_value=setting.value_near,
        vf_coef=setting.value_weight,
        gamma=setting.gamma,
        lam=setting.lam,
        whiten_rewards=False,
        learning_rate=setting.lr,
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        weight_decay=0.0,
        gradient_checkpointing=False,
        bf16=False,
        seed=setting.seed,
        use_cpu=True,
        dataloader_pin_memory=False,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
