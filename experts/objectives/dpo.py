"""Direct preference optimization: Rafailov et al. 2023, arXiv 2305.18290."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from domains.errors import UserError
from experts.preferences import PreferenceBatch


@dataclass
class Objective:
    """Mean over the rejected answers j of `-(1 - e) log s(beta m_j) - e log s(-beta m_j)`, with
    `m_j = (log p(chosen) - log p_ref(chosen)) - (log p(j) - log p_ref(j))`, s the logistic function.

    With e = 0 and one rejected answer this is DPO; e > 0 is conservative DPO (Mitchell 2023). At policy = reference
    the loss is ln 2. Source: arXiv 2305.18290, eq. 7.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"reference"})
    beta: float = 0.1
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        """Refuse settings that make no loss."""
        if not isinstance(self.beta, int | float) or self.beta <= 0:
            raise UserError(f"align.settings.beta is {self.beta!r}; give a number above 0, such as 0.1.")
        if not isinstance(self.label_smoothing, int | float) or not 0 <= self.label_smoothing <= 0.5:
            raise UserError(f"align.settings.label_smoothing is {self.label_smoothing!r}; give a number from 0 to 0.5.")

    def __call__(self, batch: PreferenceBatch) -> Tensor:
        """loss_B, in nats."""
        margins_BK = self.beta * batch.margins_BK
        losses_BK = -(1 - self.label_smoothing) * logsigmoid(margins_BK) - self.label_smoothing * logsigmoid(
            -margins_BK
        )
        present_BK = batch.present_BC[:, 1:]
        return torch.where(present_BK, losses_BK, 0.0).sum(1) / present_BK.sum(1)

    def observe(self, batch: PreferenceBatch) -> None:
        """No running statistics."""

    def state(self) -> dict[str, Any]:
        """Nothing to save."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""
