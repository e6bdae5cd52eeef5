"""The processes (ranks) of one training: which one this is, and how they keep in step. One process needs none of it.

Values go through the training's own group (NCCL on CUDA, gloo on a CPU). Waiting goes through a second group over gloo,
which allows what only rank 0 does to take as long as it takes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

import torch
from torch import Tensor, distributed

from domains.errors import UserError

LONGEST_WAIT = timedelta(days=7)
SHARDED = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")  # what `accelerate launch` tells its processes


def join(is_cpu: bool) -> None:
    """Meet the other processes of the launcher that started this one; one that was started alone stays alone."""
    if num_started() > 1:
        from accelerate import PartialState

        PartialState(cpu=is_cpu)
        waiting_group()


def leave() -> None:
    """The end of training together."""
    if num_ranks() > 1:
        distributed.destroy_process_group()
        waiting_group.cache_clear()


def num_ranks() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def num_started() -> int:
    """How many processes the launcher started, also before they have met."""
    return max(num_ranks(), int(os.environ.get("WORLD_SIZE", "1")))


def rank() -> int:
    """The place of this process among them."""
    return distributed.get_rank() if num_ranks() > 1 else 0


def is_sharded() -> bool:
    """Whether each rank holds a part of the weights alone (FSDP, ZeRO-3)."""
    return any(os.environ.get(name, "").lower() == "true" for name in SHARDED)


@cache
def waiting_group() -> Any:
    """The group for waiting and for small facts."""
    return distributed.new_group(backend="gloo", timeout=LONGEST_WAIT)


def wait() -> None:
    """Until every rank is here."""
    if num_ranks() > 1:
        reduced(torch.zeros(1))


def reduced(values: Tensor) -> Tensor:
    """The sum over ranks of values on the CPU."""
    try:
        distributed.all_reduce(values, group=waiting_group())
    except RuntimeError as error:
        raise UserError(f"Another process of this training stopped; its own message says why. ({error})") from None
    return values


@contextmanager
def first_alone() -> Iterator[None]:
    """Rank 0 does the work while the others wait; then they do it and find what it left."""
    if rank() > 0:
        wait()
    yield
    if rank() == 0:
        wait()


def agreed(flag: bool) -> bool:
    """What rank 0 says."""
    return flag if num_ranks() == 1 else bool(reduced(torch.tensor([float(flag and rank() == 0)])))


def check_same(digest: str, what: str) -> None:
    """Refuse ranks that would not do the same (`digest` in hexadecimal)."""
    if num_ranks() == 1:
        return
    numbers = torch.zeros(num_ranks(), 4, dtype=torch.int64)
    numbers[rank()] = torch.tensor([int(digest[i : i + 8], 16) for i in range(0, 32, 8)])
    if len(reduced(numbers).unique(dim=0)) > 1:
        raise UserError(
            f"The processes have different {what}. Every host needs the same version, recipe, data and models."
        )


def means(values: Mapping[str, float]) -> dict[str, float]:
    """Numbers of all ranks, averaged; all ranks have the same names."""
    if num_ranks() == 1:
        return dict(values)
    sums = reduced(torch.tensor([values[name] for name in sorted(values)], dtype=torch.float64))
    return {name: float(total) / num_ranks() for name, total in zip(sorted(values), sums, strict=True)}


def gathered(values_B: Tensor) -> Tensor:
    """The values of all ranks in rank order, (ranks x B, ...), without gradient. All ranks have the same B."""
    if num_ranks() == 1:
        return values_B.detach()
    parts = [torch.empty_like(values_B) for _ in range(num_ranks())]
    distributed.all_gather(parts, values_B.detach().contiguous())
    return torch.cat(parts)


def local_part(values_N: Tensor, size: int) -> Tensor:
    """This rank's part of gathered values."""
    return values_N[rank() * size : (rank() + 1) * size]
