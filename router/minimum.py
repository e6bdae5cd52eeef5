"""The minimum of a smooth convex function, for the few numbers that the router learns."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def minimised(loss: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """The point with the least loss, from a start, by L-BFGS."""
    point = start.clone().requires_grad_(True)
    optimiser = torch.optim.LBFGS([point], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss(point)
        value.backward()
        return value

    optimiser.step(closure)
    return point.detach()
