"""DPO with a beta that follows the batch, and filtering of outliers: Wu et al. 2024, arXiv 2407.08639."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from domains.errors import UserError
from experts.preferences import PreferenceBatch
from experts.ranks import gathered, local_part
from experts.settings import number, whole

SMALLEST_SPREAD = 1e-6


@dataclass
class Objective:
    """`-log s(beta' m)` averaged over the pairs of each row that is kept, with A_b the row's mean margin (a constant):

    * kept rows: `keep * N` of the batch's N (rounded up or down at random, so that the share is right on average),
      drawn without replacement with weights `exp(-((A_b - M) / S)^2 / 2)`, where M and S are running means of the
      batches' mean and standard deviation;
    * `beta' = max(floor, beta (1 + alpha (mean of A over kept rows - M)))`.

    With alpha = 0 and keep = 1 it is DPO. Source: arXiv 2407.08639, eq. 9-11, and its published code, but for these:
    the running means are corrected for their start at 0 and never updated by evaluation, which does not filter either;
    rows are drawn by Gumbel top-k in log space, which can not run out of rows with positive weight, from a generator
    that every rank seeds alike. N are the rows of one forward pass on all ranks: `align.batch_rows` times the number of
    processes, whatever `align.accumulation` is. One row has no spread: such a batch is kept and moves no statistic, and
    a training whose batches have one row is refused. With several references, margins are those under the mixture.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"reference"})
    beta: float = 0.1
    alpha: float = 0.6
    keep: float = 0.8
    momentum: float = 0.9
    floor: float = 1e-3
    seed: int = 0
    mean: float = field(default=0.0, init=False)
    spread: float = field(default=0.0, init=False)
    count: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Refuse settings that make no loss."""
        number("beta", self.beta, above=0)
        number("alpha", self.alpha, low=0)
        number("keep", self.keep, above=0, high=1)
        number("momentum", self.momentum, low=0, high=0.999999)
        number("floor", self.floor, above=0)
        whole("seed", self.seed)

    def check_batch(self, num_rows: int) -> None:
        """Refuse batches of one row, which have no outliers and no spread."""
        if num_rows < 2 and (self.keep < 1 or self.alpha > 0):
            raise UserError(
                "beta_dpo takes statistics over the rows of a forward pass, and there is one row in it. "
                "Set align.batch_rows to 4 or more (align.accumulation does not count), or align.objective to dpo."
            )

    def __call__(self, batch: PreferenceBatch) -> Tensor:
        """loss_B, in nats, scaled so that its mean is the mean over the kept rows; 0 for the others."""
        margins_N = gathered(row_margins(batch))
        kept_N = self.kept(margins_N) if batch.training else torch.ones_like(margins_N, dtype=torch.bool)
        loss_B = batch.mean_over_rejected(-logsigmoid(self.dynamic_beta(margins_N[kept_N]) * batch.margins_BK))
        weight_B = local_part(kept_N, len(loss_B)).to(loss_B) * (len(kept_N) / kept_N.sum())
        return loss_B * weight_B

    def dynamic_beta(self, margins_N: Tensor) -> float:
        """The batch's beta from the margins of its kept rows; `beta` before the first training batch."""
        if self.count == 0:
            return self.beta
        return max(self.floor, self.beta * (1 + self.alpha * (float(margins_N.mean()) - self.average())))

    def kept(self, margins_N: Tensor) -> Tensor:
        """Which rows of the whole batch are kept."""
        generator = torch.Generator().manual_seed(hash((self.seed, self.count)) % 2**63)
        uniform = torch.rand(len(margins_N), generator=generator, dtype=torch.float64).clamp(min=1e-300)
        log_weights = torch.zeros_like(uniform)
        if self.count and self.deviation() > SMALLEST_SPREAD:
            log_weights = -(((margins_N.cpu().double() - self.average()) / self.deviation()) ** 2) / 2
        chance = float(torch.rand(1, generator=generator, dtype=torch.float64))
        num_kept = min(len(margins_N), max(1, math.floor(self.keep * len(margins_N) + chance)))
        kept = torch.zeros(len(margins_N), dtype=torch.bool)
        kept[(log_weights - (-uniform.log()).log()).topk(num_kept).indices] = True
        return kept.to(margins_N.device)

    def average(self) -> float:
        """The running mean of margins, corrected for its start at 0."""
        return self.mean / (1 - self.momentum**self.count)

    def deviation(self) -> float:
        """The running standard deviation of margins, corrected for its start at 0."""
        return self.spread / (1 - self.momentum**self.count)

    def observe(self, batch: PreferenceBatch) -> None:
        """Move the running statistics by one training batch."""
        margins_N = gathered(row_margins(batch)).double()
        if len(margins_N) < 2 or not torch.isfinite(margins_N).all():
            return  # where it is not finite, the loss is not either, and stops the training
        spread = float(margins_N.std())
        self.mean = self.momentum * self.mean + (1 - self.momentum) * float(margins_N.mean())
        self.spread = self.momentum * self.spread + (1 - self.momentum) * spread
        self.count += 1

    def state(self) -> dict[str, Any]:
        """The running statistics."""
        return {"mean": self.mean, "spread": self.spread, "count": self.count}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from saved statistics."""
        self.mean, self.spread, self.count = float(state["mean"]), float(state["spread"]), int(state["count"])

    def metrics(self, batch: PreferenceBatch) -> dict[str, float]:
        """The beta that the whole batch would have, and whether the floor holds it."""
        beta = self.dynamic_beta(gathered(row_margins(batch)))
        return {"beta": beta, "beta_at_floor": float(math.isclose(beta, self.floor))}


def row_margins(batch: PreferenceBatch) -> Tensor:
    """The mean margin of each row over its rejected answers, without gradient (B,)."""
    if batch.deciding_BC.numel():
        batch = replace(batch, reference_BC=batch.deciding_BC)
    return batch.mean_over_rejected(batch.margins_BK.detach())
