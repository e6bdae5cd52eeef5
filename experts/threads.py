"""Rows of a batch side by side, one thread each: on a CPU, several threads with a row each do about half as much again
as one pass whose every operation is divided among them (operations here are short, and dividing each has a cost).

Each part has its own graph. Gradients of the parts are added in the order of the rows, so that a run can be repeated
to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

Part = Callable[[], tuple[Tensor, ...]]


@cache
def pool(num_threads: int) -> ThreadPoolExecutor:
    """Threads that are kept between batches."""
    return ThreadPoolExecutor(num_threads, "rows")


def side_by_side(parts: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run each in a thread that divides its operations among no others; under the caller's mixed precision."""
    num_threads = torch.get_num_threads()
    mixed, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
    grad = torch.is_grad_enabled()

    def alone(part: Callable[[], Any]) -> Any:
        torch.set_num_threads(1)
        with torch.set_grad_enabled(grad), torch.autocast("cpu", dtype, enabled=mixed, cache_enabled=False):
            return part()

    try:
        return list(pool(len(parts)).map(alone, parts))
    finally:
        torch.set_num_threads(num_threads)


class SideBySide(torch.autograd.Function):
    """The concatenated outputs of parts, differentiable with respect to the weights that they share."""

    @staticmethod
    def forward(ctx: Any, parts: Sequence[Part], *weights: Tensor) -> tuple[Tensor, ...]:
        """Each part's outputs, with its graph kept."""
        with torch.enable_grad():
            ctx.outputs = side_by_side(parts)
        ctx.weights = weights
        return tuple(torch.cat([each.detach() for each in column]) for column in zip(*ctx.outputs, strict=True))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Each part's gradients, added in the order of the parts."""
        sizes = [[len(part[i]) for part in ctx.outputs] for i in range(len(gradients))]
        pieces = zip(*(g.split(s) for g, s in zip(gradients, sizes, strict=True)), strict=True)

        def gradient(outputs: tuple[Tensor, ...], piece: tuple[Tensor, ...]) -> Sequence[Tensor | None]:
            found: Sequence[Tensor | None] = torch.autograd.grad(outputs, ctx.weights, piece, allow_unused=True)
            return found

        work = [lambda o=o, p=p: gradient(o, p) for o, p in zip(ctx.outputs, pieces, strict=True)]
        found = side_by_side(work)
        del ctx.outputs
        return None, *(added(column) for column in zip(*found, strict=True))


def added(values: Sequence[Tensor | None]) -> Tensor | None:
    """The sum of what is there, in order."""
    given = [value for value in values if value is not None]
    return sum(given[1:], given[0]) if given else None


def concatenated(model: nn.Module, parts: Sequence[Part]) -> tuple[Tensor, ...]:
    """The outputs of all parts, one after the other, with gradients to the model's weights where these are wanted."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if weights and torch.is_grad_enabled():
        apply: Callable[..., tuple[Tensor, ...]] = SideBySide.apply
        return apply(parts, *weights)
    return tuple(torch.cat(column) for column in zip(*side_by_side(parts), strict=True))
