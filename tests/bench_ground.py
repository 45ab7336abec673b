"""The ground that the bench's tests are run on: a toy model on disk, and rewards that go wrong on purpose."""

from __future__ import annotations

from pathlib import Path

from alignzoo.testing import toy_folder

SHARED = """
name = "toy"
seeds = {seeds}
threads = 1
[task]
use = "playground"
[model]
path = "{model}"
quantize = "none"
[model.lora]
rank = 4
[start]
use = "sft"
batch_size = 8
[start.feedback]
use = "playground"
kind = "demonstrations"
count = 16
[feedback]
use = "playground"
count = 32
answers = 2
[reward]
use = "{judge}:words"
[watch]
every = 0
prompts = 2
tokens = 4
[answer]
prompts = 6
[answer.manner]
max_tokens = 6
[judge]
use = "{judge}:words"
"""
DPO = """
[[entry]]
name = "dpo"
optimizer = {use = "dpo", batch_size = 8}
"""
BEST = """
[[entry]]
name = "best"
optimizer = {use = "best-of-n", n = 4}
"""
BAD = """
[[entry]]
name = "bad"
optimizer = {use = "best-of-n", n = 2}
reward.use = "JUDGE:SORT"
"""
SOURCE = '''
"""Rewards for a toy: one that means something, and some that go wrong."""

import errno
import os
import signal
from pathlib import Path


def words(prompts, completions):
    return [len(set(said.text.split())) + 0.1 * len(asked.text) for asked, said in zip(prompts, completions)]


ASKED = []


def recording(prompts, completions):
    ASKED.extend(asked.id for asked in prompts)
    return words(prompts, completions)


def fails(prompts, completions):
    raise RuntimeError("the reward has gone home")


def killed(prompts, completions):
    os.kill(os.getpid(), signal.SIGKILL)


def full(prompts, completions):
    if Path("disk-is-full").exists():
        raise OSError(errno.ENOSPC, "No space left on device")
    return words(prompts, completions)
'''


def ground(folder: Path, judge: str, entries: str, seeds: str = "2", budget: str = "") -> Path:
    """A bench file in a folder, with its model and its rewards beside it."""
    if not (folder / "model").exists():
        toy_folder(folder / "model")
    (folder / f"{judge}.py").write_text(SOURCE)
    file = folder / "toy.toml"
    shared = SHARED.format(model=folder / "model", judge=judge, seeds=seeds)
    file.write_text(f"{shared}{budget}{entries.replace('JUDGE', judge)}")
    return file
