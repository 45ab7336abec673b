"""What both sides are told: the hyper-parameters, and the official cases."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """Hyper-parameters of a run on pairs. β is also ORPO's λ and IPO's τ."""

    batch: int
    lr: float = 5e-4
    beta: float = 0.1
    simpo_beta: float = 2.0
    gamma: float = 1.0
    clip: float = 1.0
    rank: int = 8
    alpha: float = 16.0
    seed: int = 0


@dataclass(frozen=True)
class Case:
    """One official case: a model, a mix of lengths, and what is to be reached."""

    number: int
    size: str
    mix: str
    batch: int
    ratio: float
    """How many times the peer's CPU time ours must fit into, at least."""
    ceiling: float | None = None
    """The share of the machine's matmul ceiling to be reached."""
    memory: float | None = None
    """The most that memory may grow, as a share of what it grows at the peer's."""
    first_epoch: float | None = None
    """The ratio to be reached while the reference is still asked about every pair, which the peer has done before."""


METHODS = ("dpo", "ipo", "kto", "kto-pairs", "orpo", "simpo")
"""DPO has goals of its own; its relatives have its ratios. KTO's batches are dealt by chance, or with both thumbs of a
pair in one; the peer is given the same."""

CASES = {
    case.number: case
    for case in (
        Case(1, "tiny32k", "hh", batch=4, ratio=6.0, ceiling=0.60, memory=1 / 8),
        Case(2, "small32k", "tldr", batch=2, ratio=3.8, ceiling=0.65),
        Case(3, "tiny4k", "hh", batch=4, ratio=3.4, first_epoch=2.0),
    )
}
