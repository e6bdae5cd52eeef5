"""Direct preference heads: a reward read from the policy's hidden state. Hadji-Kyriacou and Arandjelovic 2024, arXiv
2405.20053."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import logsigmoid

from experts.head import POOLERS
from experts.objectives import dpo
from experts.preferences import PreferenceBatch
from experts.settings import choice, number

LOSSES = ("separable", "contrastive")


@dataclass
class Objective:
    """`weight * L_head + dpo_weight * L_dpo`, with r the head's reward at each answer's last token and e the smoothing:

    * separable: `-(1 - e) log s(r_chosen) - e log s(-r_chosen)`, plus the mean over rejected answers of
      `-e log s(r_j) - (1 - e) log s(-r_j)`; its optimum is r = +-log((1 - e) / e), so that 0 is a threshold;
    * contrastive: the mean over rejected answers of `-(1 - e) log s(r_chosen - r_j) - e log s(r_j - r_chosen)`; with
      e = 0 it is the Bradley-Terry loss of a reward model.

    L_dpo is conservative DPO on the policy; with weight = 0 and dpo_smoothing = 0 this objective is DPO. `pooler` is
    the form of the head; `prior_decay` pulls the trained weights toward where they started (0 is the start of an
    adapter; with all weights in training it is refused). With dpo_weight = 0 no reference is read.
    Source: arXiv 2405.20053, sections 3.2-3.4, and its published code.
    """

    loss: str = "separable"
    label_smoothing: float = 0.1
    weight: float = 1.0
    dpo_weight: float = 1.0
    dpo_smoothing: float = 0.1
    beta: float = 0.1
    pooler: str = "identity"
    head_learning_rate: float = 1e-3
    head_decay: float = 0.1
    prior_decay: float = 0.0

    @property
    def needs(self) -> frozenset[str]:
        """The head; a reference only for the part that is DPO."""
        return frozenset({"head", "reference"} if self.dpo_weight else {"head"})

    def __post_init__(self) -> None:
        """Refuse settings that make no loss."""
        choice("loss", self.loss, LOSSES)
        choice("pooler", self.pooler, POOLERS)
        for name in ("label_smoothing", "dpo_smoothing"):
            number(name, getattr(self, name), low=0, high=0.5)
        for name in ("weight", "dpo_weight", "head_decay", "prior_decay"):
            number(name, getattr(self, name), low=0)
        number("beta", self.beta, above=0)
        number("head_learning_rate", self.head_learning_rate, above=0)

    def __call__(self, batch: PreferenceBatch) -> Tensor:
        """loss_B, in nats."""
        loss_B = self.weight * self.head_loss(batch)
        if self.dpo_weight:
            loss_B = loss_B + self.dpo_weight * dpo.Objective(self.beta, self.dpo_smoothing)(batch)
        return loss_B

    def head_loss(self, batch: PreferenceBatch) -> Tensor:
        """The loss of the head alone (B,)."""
        reward_BC = batch.head_BC.float()
        if self.loss == "contrastive":
            return batch.mean_over_rejected(smoothed(reward_BC[:, :1] - reward_BC[:, 1:], self.label_smoothing))
        chosen_B = smoothed(reward_BC[:, 0], self.label_smoothing)
        return chosen_B + batch.mean_over_rejected(smoothed(-reward_BC[:, 1:], self.label_smoothing))

    def metrics(self, batch: PreferenceBatch) -> dict[str, float]:
        """How often the head puts the chosen answer above a rejected one."""
        wins_BK = (batch.head_BC[:, :1] > batch.head_BC[:, 1:]).float()
        return {"head_accuracy": float(batch.mean_over_rejected(wins_BK).mean())}


def smoothed(logits: Tensor, smoothing: float) -> Tensor:
    """Binary cross-entropy of the logistic function of `logits` against 1 - smoothing."""
    return -(1 - smoothing) * logsigmoid(logits) - smoothing * logsigmoid(-logits)
