"""The peer: TRL's RLOOTrainer at its best settings for this machine, on the same adapter, prompts and order."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from models import SHELF, Size, folder, tokenizer
from rounds import Round, Rounds, distinct
from torch import Tensor
from trl_dpo import Stopwatch

from alignzoo.records import Prompt

warnings.filterwarnings("ignore")
logging.getLogger("trl").setLevel(logging.ERROR)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

ADAPTER = "default"


class Theirs:
    """An RLOOTrainer whose `train()` can be called again on other prompts."""

    def __init__(self, size: Size, setting: Rounds, prompts: Sequence[Prompt], adapter: Path) -> None:
        import datasets
        from peft import PeftModel
        from trl import RLOOTrainer

        class Trainer(RLOOTrainer):  # type: ignore[misc]
            """Keeps what it wrote in the last round, before it is shuffled."""

            def _generate_and_score_completions(self, inputs: Any) -> Any:
                last.clear()
                last.update(super()._generate_and_score_completions(inputs))
                return dict(last)

        self.last: dict[str, Any] = {}
        last = self.last
        datasets.disable_progress_bars()
        model = transformers.AutoModelForCausalLM.from_pretrained(folder(size), dtype="float32")
        rows = datasets.Dataset.from_list([{"prompt": prompt.text} for prompt in prompts])
        self.prompts, self.setting = prompts, setting
        with _quiet():
            self.trainer = Trainer(
                PeftModel.from_pretrained(model, adapter, is_trainable=True),
                reward_funcs=lambda completions, **_: distinct(completions),
                args=_settings(setting),
                train_dataset=rows,
                processing_class=tokenizer(size.vocabulary),
            )
        self.trainer.pop_callback(transformers.PrinterCallback)
        self.stopwatch = Stopwatch()
        self.trainer.add_callback(self.stopwatch)
        self.rows = rows

    def train(self, batches: Sequence[Sequence[int]]) -> float:
        """Train on these prompts in this order; returns the CPU seconds of the loop."""
        self.trainer.train_dataset = self.rows.select([row for batch in batches for row in batch])
        with _quiet():
            self.trainer.train()
        return self.stopwatch.seconds

    @property
    def model(self) -> Any:
        return self.trainer.accelerator.unwrap_model(self.trainer.model)

    def wear(self, adapter: Mapping[str, Tensor]) -> None:
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(self.model, dict(adapter), adapter_name=ADAPTER)

    def round(self, chosen: Sequence[int]) -> Round:
        """Have these prompts answered, and their answers scored."""
        rows = [{"prompt": self.prompts[row].text} for row in chosen for _ in range(self.setting.replies)]
        self.trainer.model.train()
        with _quiet():
            self.trainer._generate_and_score_completions(rows)
        lengths = self.last["completion_mask"].sum(1).tolist()
        written = [tuple(ids[:length]) for ids, length in zip(self.last["completion_ids"].tolist(), lengths, strict=True)]
        return Round([self.prompts[row] for row in chosen], written, self.last["advantages"].tolist())

    def prompt_ids(self) -> list[tuple[int, ...]]:
        """Of each row of the last round, without padding."""
        rows = zip(self.last["prompt_ids"].tolist(), self.last["prompt_mask"].tolist(), strict=True)
        return [tuple(i for i, there in zip(ids, mask, strict=True) if there) for ids, mask in rows]

    def slope(self) -> tuple[float, dict[str, Tensor]]:
        """The loss of the last round under the adapter as it is now, and its gradient."""
        loss = self.trainer._compute_loss(self.trainer.model, self.last)
        named = {key: p for key, p in self.model.named_parameters() if f".{ADAPTER}." in key}
        found = torch.autograd.grad(loss, list(named.values()))
        kept = {
            key.replace(f".{ADAPTER}.", ".").removeprefix("base_model.model."): g for key, g in zip(named, found, strict=True)
        }
        return float(loss.detach()), kept


@contextlib.contextmanager
def _quiet() -> Any:
    """Progress bars go to standard error, final figures to standard output; an exception still comes through."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _settings(setting: Rounds) -> Any:
    """Its best on a CPU: float32 without autocast, nothing recomputed, fused AdamW, no logs, the round in one batch."""
    from trl import RLOOConfig

    return RLOOConfig(
        output_dir=str(SHELF / "trl-rloo"),
        per_device_train_batch_size=setting.rows,
        num_generations=setting.replies,
        max_completion_length=setting.new,
        temperature=1.0,
        beta=setting.beta,
        num_train_epochs=1,
        learning_rate=setting.lr,
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        weight_decay=0.0,
        max_grad_norm=setting.clip,
        gradient_checkpointing=False,
        bf16=False,
        shuffle_dataset=False,
        seed=setting.seed,
        use_cpu=True,
        dataloader_pin_memory=False,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
