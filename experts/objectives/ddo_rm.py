"""Distribution-level improvement under a reward model: Zhang, Zuo and Wang 2026, arXiv 2604.11119."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from domains.errors import UserError
from experts.preferences import PreferenceBatch
from experts.settings import flag, key, number


@dataclass
class Objective:
    """Cross-entropy of a reward-guided target to the policy's distribution over a prompt's candidates:

    `p = softmax(s / tau)`, `A = R - sum_j p_j R_j`, `q = softmax((s + eta A) / tau)`, `loss = -sum_i q_i log p_i`,
    with s the mean log-probability per token and R the reward of each candidate. q is the mirror-descent step
    `argmax_u <u, A> - (tau / eta) KL(u || p)`.

    The target is a constant (`detach_target`); the published code lets gradient through it, which sharpens any
    distribution, and is kept only to reproduce its numbers. From the current policy the gap between two candidates
    grows by eta (R_i - R_j) in every exact step, without end. `reference_anchored` takes q from the reference's s
    instead, and then p = q is a finite optimum. With eta = 0 the gradient is 0. No setting makes it DPO: its limit for
    large eta, with two candidates of different rewards, is `-log s((s_best - s_other) / tau)`, which is DPO with beta =
    1 / tau on log-probabilities per token and a reference that finds both candidates equally likely.
    Source: arXiv 2604.11119, section 3.
    """

    eta: float = 1.0
    tau: float = 1.0
    detach_target: bool = True
    reference_anchored: bool = False

    @property
    def needs(self) -> frozenset[str]:
        """Rewards; the reference only as an anchor."""
        return frozenset({"scores", "reference"} if self.reference_anchored else {"scores"})

    def __post_init__(self) -> None:
        """Refuse settings that make no loss."""
        number("eta", self.eta, low=0)
        number("tau", self.tau, above=0)
        flag("detach_target", self.detach_target)
        flag("reference_anchored", self.reference_anchored)
        if self.reference_anchored and not self.detach_target:
            raise UserError(
                f"{key('detach_target')} is false, but with reference_anchored = true the target is that of the "
                "reference, which has no gradient. Leave one of them out."
            )

    def __call__(self, batch: PreferenceBatch) -> Tensor:
        """loss_B, in nats."""
        log_policy_BC = masked(batch.mean_logprobs_BC / self.tau, batch).log_softmax(1)
        target_BC = self.target(batch)
        # masked before the product: 0 times minus infinity has no gradient
        return -(target_BC * log_policy_BC.masked_fill(~batch.present_BC, 0.0)).sum(1)

    def target(self, batch: PreferenceBatch) -> Tensor:
        """q_BC; 0 where there is no candidate."""
        source = batch.mean_reference_BC if self.reference_anchored else batch.mean_logprobs_BC
        if self.detach_target:
            source = source.detach()
        scores_BC = torch.where(batch.present_BC, batch.scores_BC, 0.0)
        p_BC = masked(source / self.tau, batch).softmax(1)
        advantage_BC = scores_BC - (p_BC * scores_BC).sum(1, keepdim=True)
        return masked((source + self.eta * advantage_BC) / self.tau, batch).softmax(1)

    def metrics(self, batch: PreferenceBatch) -> dict[str, float]:
        """How much probability the target puts on the candidate with the highest reward."""
        best_B = masked(batch.scores_BC, batch).argmax(1, keepdim=True)
        return {"target_of_best": float(self.target(batch).gather(1, best_B).mean())}


def masked(values_BC: Tensor, batch: PreferenceBatch) -> Tensor:
    """Minus infinity where there is no candidate."""
    return values_BC.masked_fill(~batch.present_BC, -torch.inf)
