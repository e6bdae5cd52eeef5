"""Federated learning of adapters: theta <- theta + 1/M sum of the M workers' deltas (arXiv 2511.23436; federated
averaging: McMahan et al. 2017, arXiv 1602.05629).

The mean of M adapters of rank r has rank up to M r; it is exact as such, and cut back to rank r by its singular values
(Eckart and Young 1936) so that training can go on from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from domains.errors import UserError
from experts.checkpoint import LowRank, compose, read_adapter, write_adapter


@dataclass(frozen=True)
class Averaged:
    """The mean adapter, and the share of its squared norm (0..1) that the cut to the rank lost."""

    updates: dict[str, LowRank]
    lost: float


def average(adapters: Sequence[dict[str, LowRank]], rank: int | None = None) -> Averaged:
    """The mean of the adapters' deltas; a matrix that a worker did not change counts as 0. None keeps the full rank."""
    if not adapters:
        raise UserError("There is no adapter to average. Give at least one.")
    mean = compose([(updates, 1 / len(adapters)) for updates in adapters])
    if rank is None:
        return Averaged(mean, 0.0)
    return cut_to(mean, rank)


def bounded(updates: dict[str, LowRank], rank: int) -> Averaged:
    """An adapter as it is when it has at most a rank, else cut to it."""
    most = max((update.down.shape[0] for update in updates.values()), default=0)
    return Averaged(updates, 0.0) if most <= rank else cut_to(updates, rank)


def cut_to(updates: dict[str, LowRank], rank: int) -> Averaged:
    """The nearest adapter of a rank."""
    cut = {name: truncated(update, rank) for name, update in updates.items()}
    whole = sum(float(update.delta().square().sum()) for update in updates.values())
    kept = sum(float(update.delta().square().sum()) for update in cut.values())
    return Averaged(cut, max(0.0, 1 - kept / whole) if whole else 0.0)


def truncated(update: LowRank, rank: int) -> LowRank:
    """The nearest update of a rank, from the factors' QR decompositions: the full matrix is never made."""
    left, right = torch.linalg.qr(update.up.float() * update.scaling), torch.linalg.qr(update.down.float().T)
    u, s, v = torch.linalg.svd(left.R @ right.R.T)
    size = min(rank, len(s))
    root = s[:size].sqrt()
    up, down = left.Q @ u[:, :size] * root, root.unsqueeze(1) * (v[:size] @ right.Q.T)
    missing = rank - size
    pad = torch.nn.functional.pad
    return LowRank(pad(down, (0, 0, 0, missing)), pad(up, (0, missing)), 1.0)


def average_folders(folders: Sequence[Path], base: Path, rank: int, target: Path) -> float:
    """Write the mean of adapter folders in PEFT layout; returns the share that was lost."""
    found = average([read_adapter(folder) for folder in folders], rank)
    write_adapter(found.updates, base, target)
    return found.lost
