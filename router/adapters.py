"""Many experts in one batch over one copy of the base: each row of a batch takes its own expert's low-rank update.

A layer adds every active adapter's update to all rows, multiplied by 1 for the rows of that expert and by 0 for the
others. So the shape of every matrix product depends on the size of the batch alone, and an answer does not depend on
which experts answer beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from experts.checkpoint import LowRank


@dataclass
class Choice:
    """The adapters in use: of each its name and which rows take it, shape (B, 1, 1); None means all rows."""

    active: tuple[tuple[str, Tensor | None], ...] = ()

    def one(self, name: str | None) -> None:
        """One adapter for all rows, or the bare base."""
        self.active = () if name is None else ((name, None),)

    def mix(self, names: Sequence[str | None], device: torch.device, dtype: torch.dtype) -> None:
        """One adapter per row; None takes the bare base."""
        self.active = tuple(
            (name, torch.tensor([each == name for each in names], device=device).to(dtype).view(-1, 1, 1))
            for name in sorted({name for name in names if name is not None})
        )


class SharedLinear(nn.Module):
    """A frozen linear layer with the updates of every adapter."""

    def __init__(self, base: nn.Linear, choice: Choice) -> None:
        super().__init__()
        self.base, self.choice = base, choice
        self.updates: dict[str, tuple[Tensor, Tensor]] = {}

    @property
    def weight(self) -> Tensor:
        """The base's weight."""
        return self.base.weight

    def add(self, name: str, update: LowRank) -> None:
        """Keep an adapter's update in the base's format; the scaling goes into the up factor, in fp32."""
        like = self.base.weight
        self.updates[name] = (update.down.to(like), (update.up.float() * update.scaling).to(like))

    def forward(self, inputs_BTD: Tensor) -> Tensor:
        """The base's output and the updates of the adapters in use."""
        result: Tensor = self.base(inputs_BTD)
        for name, rows in self.choice.active:
            if name in self.updates:
                down, up = self.updates[name]
                low = linear(inputs_BTD, down)
                result = result + linear(low if rows is None else low * rows, up)
        return result


def share(model: nn.Module, adapters: Mapping[str, Mapping[str, LowRank]], choice: Choice | None = None) -> Choice:
    """Put adapters into a model, in place; returns the switch that says which of them are in use. With the switch of an
    earlier call, adapters are added to those."""
    choice = choice or Choice()
    for module_name in sorted({name for updates in adapters.values() for name in updates}):
        shared = shared_module(model, module_name, choice)
        for name, updates in adapters.items():
            if module_name in updates:
                shared.add(name, updates[module_name])
    return choice


def shared_module(model: nn.Module, module_name: str, choice: Choice) -> SharedLinear:
    """A linear layer of a model as one that adapters share."""
    parent_name, _, attribute = module_name.rpartition(".")
    parent = model.get_submodule(parent_name)
    found = getattr(parent, attribute)
    if not isinstance(found, SharedLinear):
        found = SharedLinear(found, choice)
        setattr(parent, attribute, found)
    return found
