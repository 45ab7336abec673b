"""What a wrong score costs: pure functions on tensors. Scores are (replies, members): one column for each head.

Every loss is per tree (a pair, a ranking, a rated answer), so a batch may be split anywhere and its mean stays the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def bradley_terry(difference: Tensor, strength: Tensor, margin: float = 0.0) -> Tensor:
    """−p log σ(d − m) − (1−p) log σ(m − d) for d = r_c − r_r, where m = margin · (2p − 1): a sure choice is to be won by the
    whole margin, a tie (p = ½) by none. With margin 0 this is the cross-entropy of softmax([r_c, r_r])."""
    lead = difference - margin * (2 * strength - 1)
    return -strength * logsigmoid(lead) - (1 - strength) * logsigmoid(-lead)


def off_centre(better: Tensor, worse: Tensor) -> Tensor:
    """(r_c + r_r)²: only differences are told by pairs, so something else has to hold the scores near zero."""
    return (better + worse) ** 2


def thumb(scores: Tensor, up: Tensor, weight_up: float, weight_down: float) -> Tensor:
    """−w₁ t log σ(r) − w₀ (1−t) log σ(−r): logistic regression of thumbs, each class with its weight."""
    return -weight_up * up * logsigmoid(scores) - weight_down * (1 - up) * logsigmoid(-scores)


def squared(scores: Tensor, wanted: Tensor) -> Tensor:
    """(r − s)² for a score s in deviations from the mean of its scale."""
    return (scores - wanted) ** 2


@dataclass(frozen=True)
class Pairs:
    """The pairs within each tree, as places among the replies, and the tree that each pair is of."""

    better: Tensor
    worse: Tensor
    tree: Tensor

    @classmethod
    def of(cls, ranks: Tensor, tree: Tensor) -> Pairs:
        """Every two replies of one tree whose ranks differ: C(K, 2) of them where there are no ties."""
        better, worse = ((tree[:, None] == tree[None]) & (ranks[:, None] < ranks[None])).nonzero(as_tuple=True)
        return cls(better, worse, tree[better])

    def mean_per_tree(self, values: Tensor) -> Tensor:
        """(trees, …) The mean over each tree's pairs: a prompt with many pairs weighs as much as one with few."""
        counts = torch.bincount(self.tree)
        sums = values.new_zeros(len(counts), *values.shape[1:]).index_add(0, self.tree, values)
        return sums / counts.view(-1, *[1] * (values.dim() - 1))


def class_weights(thumbs: Tensor) -> tuple[float, float]:
    """(w₁, w₀) that make thumbs up and thumbs down weigh the same in all: n / 2n₁ and n / 2n₀."""
    count, ups = len(thumbs), float(thumbs.sum())
    return count / (2 * ups), count / (2 * (count - ups))
