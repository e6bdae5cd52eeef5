"""Several frozen references at once: R columns of log-probabilities and their weights become one reference, or a
weighted sum of losses. A modifier: it goes with any objective that needs a reference.

Sources: MRPO (Le et al. 2024, arXiv 2405.16388) for the harmonic mixture, its clipping and the adaptive weights; Wu
and Echarghaoui 2025 (arXiv 2512.10040) for the four weightings after it, whose constants are not public: the window
length, prior, discount and normalisation here are ours. With one reference, or with several that agree, every mixture
is that reference; with all weight on one, it is that one (harmonic: without clipping).

That paper found most single references ahead of every mixture, so compare before you mix: `bench references`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from domains.errors import UserError
from experts.preferences import Objective, PreferenceBatch, mean_over_rejected
from experts.ranks import gathered
from experts.settings import choice, number, whole

METHODS = ("geometric", "harmonic", "losses")
WEIGHTINGS = ("uniform", "discrimination", "accuracy", "sliding_window", "thompson", "adaptive")
SMALL = 1e-6
MIXING = "mixing"


@dataclass
class Mixing:
    """How R references become one.

    * geometric: `log p_ref = sum_k a_k log p_k`, the optimum under `sum_k a_k KL(p || p_k)`; recommended.
    * harmonic: `log p_ref = -log sum_k a_k / p_k` (MRPO), the others clipped to within `clip` of the first. At the
      level of sequences this is nearly the smallest of them, whatever the weights.
    * losses: `sum_k a_k loss(reference k)`. What an objective decides for a whole batch (running statistics, a batch's
      beta, which rows are kept) and what is logged goes by the weighted mean of the margins, `sum_k a_k m_k`.

    Weights `a`: uniform; discrimination `a_k ~ mean |log p_k(chosen) - log p_k(rejected)|` or accuracy
    `a_k ~ mean [log p_k(chosen) > log p_k(rejected)]`, both on held-out rows; sliding_window, the discrimination over
    the last `window` training batches, never the current one; thompson, all weight on one reference per batch, drawn by
    how often it ranked earlier batches right; adaptive, the discrimination of each example itself (MRPO's: it lets the
    example's own label set its weight).
    """

    method: str = "geometric"
    weighting: str = "uniform"
    clip: float = 0.1
    window: int = 64
    discount: float = 0.99
    seed: int = 0
    held_out: tuple[float, ...] = field(default=(), init=False)
    recent: list[list[float]] = field(default_factory=list, init=False)
    wins: list[float] = field(default_factory=list, init=False)
    losses: list[float] = field(default_factory=list, init=False)
    count: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Refuse settings that mix nothing."""
        choice("method", self.method, METHODS, MIXING)
        choice("weighting", self.weighting, WEIGHTINGS, MIXING)
        number("clip", self.clip, low=0, high=1, of=MIXING)
        whole("window", self.window, low=1, of=MIXING)
        whole("seed", self.seed, of=MIXING)
        number("discount", self.discount, above=0, high=1, of=MIXING)

    @property
    def needs_held_out(self) -> bool:
        """Whether the weights come from held-out rows."""
        return self.weighting in ("discrimination", "accuracy")

    def fit_rows(self, rows: Sequence[Sequence[Sequence[float]]]) -> None:
        """Set the held-out weights from rows of R columns of log-probabilities each."""
        if not rows:
            raise UserError(
                f"The weighting '{self.weighting}' needs held-out preference rows (dev), and there are none."
            )
        counts = [len(row[0]) for row in rows]
        tables = [pad_sequence([torch.tensor(row[k]) for row in rows], batch_first=True) for k in range(len(rows[0]))]
        present = torch.arange(max(counts)) < torch.tensor(counts).unsqueeze(1)
        self.fit(torch.stack(tables), present)

    def loss(self, objective: Objective, batch: PreferenceBatch, references_RBC: Tensor) -> Tensor:
        """loss_B of an objective under the mixture."""
        mixed = self.mixed(batch, references_RBC)
        if self.method != "losses":
            return objective(mixed)
        parts = [
            objective(replace(mixed, reference_BC=reference, deciding_BC=mixed.reference_BC))
            for reference in references_RBC
        ]
        return (self.weights(references_RBC, batch.present_BC) * torch.stack(parts)).sum(0)

    def mixed(self, batch: PreferenceBatch, references_RBC: Tensor) -> PreferenceBatch:
        """The batch with the mixture as its reference; for a sum of losses, the weighted mean of the log-probabilities,
        whose margins are the weighted means of the margins."""
        weights_RB = self.weights(references_RBC, batch.present_BC)
        return replace(batch, reference_BC=self.mixture(references_RBC, weights_RB, batch.present_BC))

    def mixture(self, references_RBC: Tensor, weights_RB: Tensor, present_BC: Tensor) -> Tensor:
        """One reference (B, C) from R."""
        if self.method != "harmonic":
            return (weights_RB.unsqueeze(-1) * references_RBC).sum(0)
        clipped = clip_to_first(references_RBC, present_BC, self.clip)
        return -(weights_RB.log().unsqueeze(-1) - clipped).logsumexp(0)

    def weights(self, references_RBC: Tensor, present_BC: Tensor) -> Tensor:
        """Weights (R, B): not negative, and 1 in sum over the references."""
        num_references, num_rows = references_RBC.shape[:2]
        if self.weighting == "adaptive":
            return normalised(discrimination(references_RBC, present_BC))
        weights_R = references_RBC.new_tensor(self.shared_weights(num_references))
        return weights_R.unsqueeze(1).expand(num_references, num_rows)

    def shared_weights(self, num_references: int) -> list[float]:
        """The weights that all rows of a batch share (R,)."""
        uniform = [1 / num_references] * num_references
        if self.needs_held_out:
            return list(self.held_out) or uniform
        if self.weighting == "sliding_window" and len(self.recent) >= self.window:
            return normalised(torch.tensor(self.recent).mean(0)).tolist()
        if self.weighting == "thompson":
            return self.drawn(num_references)
        return uniform

    def drawn(self, num_references: int) -> list[float]:
        """All weight on the reference with the highest draw from its Beta(1 + wins, 1 + losses)."""
        wins, losses = self.wins or [0.0] * num_references, self.losses or [0.0] * num_references
        draws = np.random.default_rng([self.seed, self.count]).beta(np.add(wins, 1), np.add(losses, 1))
        return [float(k == int(draws.argmax())) for k in range(num_references)]

    def fit(self, references_RBC: Tensor, present_BC: Tensor) -> None:
        """Set the held-out weights from rows that are not trained on."""
        values = discrimination(references_RBC, present_BC)
        if self.weighting == "accuracy":
            values = accuracy(references_RBC, present_BC)
        self.held_out = tuple(normalised(values.mean(1)).tolist())

    def observe(self, references_RBC: Tensor, present_BC: Tensor) -> None:
        """Note how the references did on a training batch of all ranks, after its weights were used."""
        found_BR = gathered(discrimination(references_RBC, present_BC).T)
        right_BR = gathered(accuracy(references_RBC, present_BC).T)
        self.recent = [*self.recent, found_BR.mean(0).tolist()][-self.window :]
        right = right_BR.mean(0).tolist()
        self.wins = decayed(self.wins, right, self.discount)
        self.losses = decayed(self.losses, [1 - share for share in right], self.discount)
        self.count += 1

    def state(self) -> dict[str, Any]:
        """What was noted, as JSON."""
        names = ("held_out", "recent", "wins", "losses", "count")
        return {name: getattr(self, name) for name in names}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what was noted."""
        self.held_out = tuple(state["held_out"])
        self.recent, self.wins, self.losses, self.count = (state[k] for k in ("recent", "wins", "losses", "count"))


def decayed(old: Sequence[float], new: Sequence[float], discount: float) -> list[float]:
    """Discounted sums."""
    return [discount * a + b for a, b in zip(old or [0.0] * len(new), new, strict=True)]


def normalised(values: Tensor) -> Tensor:
    """Values as weights over the first axis; uniform where all are 0."""
    return (values + SMALL) / (values + SMALL).sum(0, keepdim=True)


def gaps(references_RBC: Tensor) -> Tensor:
    """log p(chosen) - log p(rejected) per reference (R, B, K)."""
    return references_RBC[..., :1] - references_RBC[..., 1:]


def discrimination(references_RBC: Tensor, present_BC: Tensor) -> Tensor:
    """How far apart each reference puts the chosen and the rejected answers (R, B), in nats."""
    return mean_over_rejected(gaps(references_RBC).abs(), present_BC)


def accuracy(references_RBC: Tensor, present_BC: Tensor) -> Tensor:
    """The share of rejected answers that each reference puts below the chosen one (R, B)."""
    return mean_over_rejected((gaps(references_RBC) > 0).float(), present_BC)


def clip_to_first(references_RBC: Tensor, present_BC: Tensor, rate: float) -> Tensor:
    """Log-probabilities of the others within a share of the first reference's: `rate` times the candidate's part of
    the row's mean log-probabilities (MRPO's adaptive clipping; for two candidates as published)."""
    size_BC = torch.where(present_BC, references_RBC.mean(0).abs(), 0.0)
    room_BC = rate * size_BC / size_BC.sum(1, keepdim=True).clamp(min=SMALL)
    first = references_RBC[0]
    bounds = torch.stack([first * (1 + room_BC), first * (1 - room_BC)])
    others = references_RBC[1:].clamp(bounds.amin(0), bounds.amax(0))
    return torch.cat([references_RBC[:1], others])
