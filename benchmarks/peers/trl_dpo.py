"""The peer: TRL's DPOTrainer at its best settings for this machine, on the same adapter, pairs and order."""

from __future__ import annotations

import contextlib
import io
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import transformers
from models import SHELF, Size, folder, tokenizer
from setting import Setting

from alignzoo.records import Comparison

warnings.filterwarnings("ignore")
logging.getLogger("trl").setLevel(logging.ERROR)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


class Stopwatch(transformers.TrainerCallback):
    """CPU seconds from the start of the loop to the end of its last step: batches, steps and bookkeeping are in, the making of
    trainer, optimizer and scheduler are not."""

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.start = time.process_time()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds = time.process_time() - self.start


class Theirs:
    """A DPOTrainer whose `train()` can be called again on other rows."""

    def __init__(self, size: Size, setting: Setting, pairs: Sequence[Comparison], adapter: Path) -> None:
        import datasets
        from peft import PeftModel
        from trl import DPOTrainer

        class Trainer(DPOTrainer):  # type: ignore[misc]
            """Notes the loss of every step as it is: what the trainer logs is averaged and rounded."""

            def training_step(self, *given: Any, **more: Any) -> Any:
                loss = super().training_step(*given, **more)
                losses.append(loss)
                return loss

        self.losses: list[Any] = []
        losses = self.losses
        datasets.disable_progress_bars()
        model = transformers.AutoModelForCausalLM.from_pretrained(folder(size), dtype="float32")
        rows = datasets.Dataset.from_list([_row(pair) for pair in pairs])
        with _quiet():
            self.trainer = Trainer(
                PeftModel.from_pretrained(model, adapter, is_trainable=True),
                args=_settings(setting),
                train_dataset=rows,
                processing_class=tokenizer(size.vocabulary),
            )
        self.trainer.pop_callback(transformers.PrinterCallback)
        self.stopwatch = Stopwatch()
        self.trainer.add_callback(self.stopwatch)
        self.rows = self.trainer.train_dataset

    def ids(self, row: int) -> tuple[tuple[int, ...], ...]:
        """Prompt, chosen, rejected as this side will read them."""
        return tuple(tuple(self.rows[row][f"{name}_ids"]) for name in ("prompt", "chosen", "rejected"))

    def train(self, batches: Sequence[Sequence[int]]) -> float:
        """Train on these rows in this order; returns the CPU seconds of the loop."""
        self.trainer.train_dataset = self.rows.select([row for batch in batches for row in batch])
        self.losses.clear()
        with _quiet():
            self.trainer.train()
        return self.stopwatch.seconds


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Progress bars go to standard error, final figures to standard output; an exception still comes through."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _row(pair: Comparison) -> dict[str, str]:
    """TRL tokenizes prompt and reply together, so the word boundary is part of the reply; it appends the end itself."""
    return {"prompt": pair.prompt.text, "chosen": " " + pair.chosen.text, "rejected": " " + pair.rejected.text}


def _settings(setting: Setting) -> Any:
    """Its best on a CPU: the reference precomputed, nothing recomputed, float32 without autocast (its default,
    bfloat16 autocast with checkpointing, is slower here), fused AdamW, no logs."""
    from trl import DPOConfig

    return DPOConfig(
        output_dir=str(SHELF / "trl"),
        per_device_train_batch_size=setting.batch,
        num_train_epochs=1,
        learning_rate=setting.lr,
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        adam_beta1=0.9,
        adam_beta2=0.999,
        adam_epsilon=1e-8,
        weight_decay=0.0,
        max_grad_norm=setting.clip,
        beta=setting.beta,
        max_length=None,
        precompute_ref_log_probs=True,
        gradient_checkpointing=False,
        bf16=False,
        train_sampling_strategy="sequential",
        seed=setting.seed,
        use_cpu=True,
        dataloader_pin_memory=False,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
