"""Softmax DPO for one chosen answer against any number of rejected ones: Chen et al. 2024, arXiv 2406.09215."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from experts.preferences import PreferenceBatch
from experts.settings import number


@dataclass
class Objective:
    """`log(1 + sum_j exp(-beta m_j))`, with m_j the log-ratio of the chosen minus that of rejected answer j: the
    cross-entropy of choosing among all candidates by `beta (log p - log p_ref)`.

    The gradient weighs rejected answers by their softmax, so that hard ones count most. With one rejected answer it is
    DPO; at policy = reference it is ln(1 + k). Source: arXiv 2406.09215, eq. 11.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"reference"})
    beta: float = 0.1

    def __post_init__(self) -> None:
        """Refuse settings that make no loss."""
        number("beta", self.beta, above=0)

    def __call__(self, batch: PreferenceBatch) -> Tensor:
        """loss_B, in nats."""
        return -self.logits(batch).log_softmax(1)[:, 0]

    def logits(self, batch: PreferenceBatch) -> Tensor:
        """Implicit rewards (B, C); minus infinity where there is no candidate."""
        return (self.beta * batch.ratio_BC).masked_fill(~batch.present_BC, -torch.inf)

    def metrics(self, batch: PreferenceBatch) -> dict[str, float]:
        """The largest weight among a row's rejected answers (1: one hard negative has all; 1/k: all alike)."""
        weights_BK = self.logits(batch)[:, 1:].softmax(1)
        return {"hardest_negative_weight": float(weights_BK.max(1).values.mean())}
