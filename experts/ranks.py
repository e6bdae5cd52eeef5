"""Values of all processes of a distributed training; one process has its own."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def num_ranks() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """The place of this process among them."""
    return distributed.get_rank() if num_ranks() > 1 else 0


def gathered(values_B: Tensor) -> Tensor:
    """The values of all ranks in rank order, (ranks x B,), without gradient. All ranks have the same B."""
    if num_ranks() == 1:
        return values_B.detach()
    parts = [torch.empty_like(values_B) for _ in range(num_ranks())]
    distributed.all_gather(parts, values_B.detach().contiguous())
    return torch.cat(parts)


def local_part(values_N: Tensor, size: int) -> Tensor:
    """This rank's part of gathered values."""
    return values_N[rank() * size : (rank() + 1) * size]
