"""The peer: TRL's RewardTrainer, on the same adapter, head, ids and order; at its best settings for this machine, or as it
comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from models import PAD, SHELF, Size, folder, tokenizer
from setting import Setting
from trl_dpo import Stopwatch, _quiet

Manner = Literal["tuned", "default"]


class Theirs:
    """A RewardTrainer whose `train()` can be called again on other rows."""

    def __init__(
        self,
        size: Size,
        setting: Setting,
        rows: Sequence[Mapping[str, list[int]]],
        adapter: Path,
        head: torch.Tensor,
        manner: Manner = "tuned",
    ) -> None:
        import datasets
        from peft import PeftConfig, get_peft_model
        from peft.utils import load_peft_weights, set_peft_model_state_dict
        from trl import RewardTrainer

        class Trainer(RewardTrainer):  # type: ignore[misc]
            """Notes the loss of every step as it is: what the trainer logs is averaged and rounded."""

            def training_step(self, *given: Any, **more: Any) -> Any:
                loss = super().training_step(*given, **more)
                losses.append(loss)
                return loss

        self.losses: list[Any] = []
        losses = self.losses
        datasets.disable_progress_bars()
        kind = transformers.AutoModelForSequenceClassification
        model = kind.from_pretrained(folder(size), dtype="float32", num_labels=1, pad_token_id=PAD)
        shape = PeftConfig.from_pretrained(adapter)
        shape.task_type, shape.inference_mode = "SEQ_CLS", False  # makes the head trainable
        self.rows = datasets.Dataset.from_list([dict(row) for row in rows])
        with _quiet():
            worn = get_peft_model(model, shape)
            set_peft_model_state_dict(
                worn, load_peft_weights(str(adapter), device="cpu") | {"base_model.model.score.weight": head}
            )
            self.trainer = Trainer(
                worn, args=_settings(setting, manner), train_dataset=self.rows, processing_class=tokenizer(size.vocabulary)
            )
        self.trainer.pop_callback(transformers.PrinterCallback)
        self.stopwatch = Stopwatch()
        self.trainer.add_callback(self.stopwatch)

    def train(self, batches: Sequence[Sequence[int]]) -> float:
        """Train on these rows in this order; returns the CPU seconds of the loop."""
        self.trainer.train_dataset = self.rows.select([row for batch in batches for row in batch])
        self.losses.clear()
        with _quiet():
            self.trainer.train()
        return self.stopwatch.seconds


def _settings(setting: Setting, manner: Manner) -> Any:
    """Tuned: nothing recomputed, float32 without autocast, no padding beyond the longest, fused AdamW, no logs. Default: what
    RewardConfig says of those, with the same hyper-parameters and logs."""
    from trl import RewardConfig

    same = {
        "output_dir": str(SHELF / "trl-reward"),
        "per_device_train_batch_size": setting.batch,
        "num_train_epochs": 1,
        "learning_rate": setting.lr,
        "lr_scheduler_type": "constant",
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "adam_epsilon": 1e-8,
        "weight_decay": 0.0,
        "max_grad_norm": setting.clip,
        "max_length": None,
        "train_sampling_strategy": "sequential",
        "seed": setting.seed,
        "use_cpu": True,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    tuned = {
        "optim": "adamw_torch_fused",
        "gradient_checkpointing": False,
        "bf16": False,
        "pad_to_multiple_of": None,
        "dataloader_pin_memory": False,
        "logging_strategy": "no",
    }
    return RewardConfig(**same, **(tuned if manner == "tuned" else {}))
