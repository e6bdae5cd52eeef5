"""Direct preference optimization and its close relatives: Rafailov et al. 2023, arXiv 2305.18290."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from domains.errors import UserError
from experts.preferences import PreferenceBatch
from experts.settings import choice, key, number

LOSSES = ("sigmoid", "robust", "ipo", "hinge")


@dataclass
class Objective:
    """Mean over the rejected answers j of a loss of the margin `m_j = (log p(chosen) - log p_ref(chosen)) - (log p(j) -
    log p_ref(j))`; s is the logistic function, e the label smoothing.

    * sigmoid: `-(1 - e) log s(beta m) - e log s(-beta m)`. With e = 0 and one rejected answer this is DPO (arXiv
      2305.18290, eq. 7); e > 0 is conservative DPO (Mitchell 2023). At policy = reference the loss is ln 2.
    * robust: `(-(1 - e) log s(beta m) + e log s(-beta m)) / (1 - 2e)`, unbiased when a share e of the labels is
      flipped (arXiv 2403.00409); with e = 0 it is DPO.
    * ipo: `(m' - 1 / (2 beta))^2` with log-ratios per token in m' (arXiv 2310.12036, eq. 17).
    * hinge: `max(0, 1 - beta m)` (SLiC, arXiv 2309.06657).
    """

    needs: ClassVar[frozenset[str]] = frozenset({"reference"})
    beta: float = 0.1
    label_smoothing: float = 0.0
    loss: str = "sigmoid"

    def __post_init__(self) -> None:
        """Refuse settings that make no loss."""
        number("beta", self.beta, above=0)
        number("label_smoothing", self.label_smoothing, low=0, high=0.5)
        choice("loss", self.loss, LOSSES)
        if self.label_smoothing and self.loss not in ("sigmoid", "robust"):
            raise UserError(f"{key('label_smoothing')} has no meaning for loss '{self.loss}'. Set it to 0.")
        if self.loss == "robust" and self.label_smoothing == 0.5:
            raise UserError(f"{key('label_smoothing')} is 0.5; the robust loss needs a number below 0.5.")

    def __call__(self, batch: PreferenceBatch) -> Tensor:
        """loss_B, in nats (ipo: squared nats per token)."""
        return batch.mean_over_rejected(self.losses(batch))

    def losses(self, batch: PreferenceBatch) -> Tensor:
        """loss_BK of every pair."""
        if self.loss == "ipo":
            ratio_BC = batch.ratio_BC / batch.num_tokens_BC.clamp(min=1)
            return (ratio_BC[:, :1] - ratio_BC[:, 1:] - 1 / (2 * self.beta)) ** 2
        logits_BK, smoothing = self.beta * batch.margins_BK, self.label_smoothing
        if self.loss == "hinge":
            return relu(1 - logits_BK)
        right, wrong = -logsigmoid(logits_BK), -logsigmoid(-logits_BK)
        if self.loss == "robust":
            return torch.sub((1 - smoothing) * right, smoothing * wrong) / (1 - 2 * smoothing)
        return (1 - smoothing) * right + smoothing * wrong
