"""The peer: TRL's trainers for fixed sets of pairs at their best settings for this machine, on the same adapter, pairs and
order. Those of ORPO and SimPO (there a loss of CPO) are its experimental ones."""

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

LONG = 4096
"""More tokens than any row has: the trainers that want a limit get one that cuts nothing."""

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
    """A trainer whose `train()` goes on with the next rows. It is made with each row once, in the order of the first epoch
    (KTO's rows are paired with their neighbours then, for good), and the rows are laid out for all epochs after that."""

    def __init__(
        self, size: Size, setting: Setting, pairs: Sequence[Comparison], adapter: Path, order: Sequence[int], method: str
    ) -> None:
        import datasets
        from peft import PeftModel

        trainer, config = _named(method, setting)

        class Trainer(trainer):  # type: ignore[misc, valid-type]
            """Notes the loss of every step as it is: what the trainer logs is averaged and rounded."""

            def training_step(self, *given: Any, **more: Any) -> Any:
                loss = super().training_step(*given, **more)
                losses.append(loss)
                return loss

        self.losses: list[Any] = []
        losses = self.losses
        datasets.disable_progress_bars()
        model = transformers.AutoModelForCausalLM.from_pretrained(folder(size), dtype="float32")
        rows = [row for pair in pairs for row in (_ratings(pair) if method.startswith("kto") else [_row(pair)])]
        first = list(order)[: len(rows)]
        with _quiet():
            self.trainer = Trainer(
                PeftModel.from_pretrained(model, adapter, is_trainable=True),
                args=config,
                train_dataset=datasets.Dataset.from_list([rows[place] for place in first]),
                processing_class=_tokenizer(size, method),
            )
        self.trainer.pop_callback(transformers.PrinterCallback)
        self.stopwatch = Stopwatch()
        self.trainer.add_callback(self.stopwatch)
        laid_out = [first.index(place) for place in order]
        self.rows = self.trainer.train_dataset.select(laid_out).flatten_indices()
        self.order, self.done, self.method = list(order), 0, method

    def ids(self, pair: int) -> tuple[tuple[int, ...], ...]:
        """Prompt, chosen, rejected as this side will read them."""
        if self.method.startswith("kto"):
            chosen, rejected = (self.rows[self.order.index(2 * pair + side)] for side in (0, 1))
            return tuple(map(tuple, (chosen["prompt_ids"], chosen["completion_ids"], rejected["completion_ids"])))
        row = self.rows[self.order.index(pair)]
        if self.method in ("orpo", "simpo"):  # there a side is prompt and reply together
            prompt = row["prompt_input_ids"]
            return tuple(map(tuple, (prompt, *(row[f"{side}_input_ids"][len(prompt) :] for side in ("chosen", "rejected")))))
        return tuple(tuple(row[f"{name}_ids"]) for name in ("prompt", "chosen", "rejected"))

    def train(self, rows: int) -> float:
        """Train on so many rows more; returns the CPU seconds of the loop."""
        self.trainer.train_dataset = self.rows.select(range(self.done, self.done + rows))
        self.done += rows
        self.losses.clear()
        with _quiet():
            self.trainer.train()
        return self.stopwatch.seconds


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Progress bars go to standard error, final figures to standard output; an exception still comes through."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _tokenizer(size: Size, method: str) -> Any:
    """The experimental trainers put a BOS before every prompt, asked or not: theirs has none."""
    ours = tokenizer(size.vocabulary)
    if method in ("orpo", "simpo"):
        ours.bos_token = None
    return ours


def _row(pair: Comparison) -> dict[str, str]:
    """TRL tokenizes prompt and reply together, so the word boundary is part of the reply; it appends the end itself."""
    return {"prompt": pair.prompt.text, "chosen": " " + pair.chosen.text, "rejected": " " + pair.rejected.text}


def _ratings(pair: Comparison) -> list[dict[str, Any]]:
    """Both sides of a pair, each with a thumb."""
    row = _row(pair)
    return [{"prompt": row["prompt"], "completion": row[side], "label": side == "chosen"} for side in ("chosen", "rejected")]


def _named(method: str, setting: Setting) -> tuple[Any, Any]:
    """The trainer, and its settings at their best on a CPU: the reference, where there is one, precomputed; nothing recomputed;
    float32 without autocast (the default, bfloat16 autocast with checkpointing, is slower here); fused AdamW; no logs."""
    import trl

    shared = _settings(setting)
    match method:
        case "dpo":
            return trl.DPOTrainer, trl.DPOConfig(**shared, max_length=None, precompute_ref_log_probs=True)
        case "ipo":
            return trl.DPOTrainer, trl.DPOConfig(**shared, max_length=None, precompute_ref_log_probs=True, loss_type="ipo")
        case "kto" | "kto-pairs":
            twice = shared | {"per_device_train_batch_size": 2 * setting.batch}
            return trl.KTOTrainer, trl.KTOConfig(**twice, max_length=None, precompute_ref_log_probs=True)
        case "orpo":
            from trl.experimental.orpo import ORPOConfig, ORPOTrainer

            return ORPOTrainer, ORPOConfig(**shared, max_length=LONG)
        case _:
            from trl.experimental.cpo import CPOConfig, CPOTrainer

            only = {"loss_type": "simpo", "cpo_alpha": 0.0, "simpo_gamma": setting.gamma, "beta": setting.simpo_beta}
            return CPOTrainer, CPOConfig(**(shared | only), max_length=LONG)


def _settings(setting: Setting) -> dict[str, Any]:
    """What all of them are told."""
    return {
        "output_dir": str(SHELF / "trl"),
        "per_device_train_batch_size": setting.batch,
        "num_train_epochs": 1,
        "learning_rate": setting.lr,
        "lr_scheduler_type": "constant",
        "optim": "adamw_torch_fused",
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "adam_epsilon": 1e-8,
        "weight_decay": 0.0,
        "max_grad_norm": setting.clip,
        "beta": setting.beta,
        "gradient_checkpointing": False,
        "bf16": False,
        "train_sampling_strategy": "sequential",
        "seed": setting.seed,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "report_to": [],
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
    }
