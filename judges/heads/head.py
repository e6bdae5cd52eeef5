"""A calibrated linear classifier over named measures and a text vector, kept in one safetensors file.

logits_C = bias_C + measures_CF @ measures_F + vector_CD @ vector_D; probabilities are their softmax. The level that is
reported is the class with the largest probability / prior^tilt: with tilt 0 the most probable one, with tilt 1 the one
that is most probable relative to how rare it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from domains.errors import UserError

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Head:
    """One classifier: `bias_C`, `measures_CF`, `vector_CD` (D may be 0), and the log of its class weights `tilt_C`."""

    names: tuple[str, ...]
    bias_C: Tensor
    measures_CF: Tensor
    vector_CD: Tensor
    tilt_C: Tensor

    def probabilities(self, measures_BF: Tensor, vectors_BD: Tensor) -> Tensor:
        """The probability of each class, [B, C]."""
        dims = self.vector_CD.shape[1]
        logits_BC = self.bias_C + measures_BF @ self.measures_CF.T + vectors_BD[:, :dims] @ self.vector_CD.T
        return torch.softmax(logits_BC, dim=-1)

    def levels(self, probabilities_BC: Tensor) -> list[int]:
        """The class that is reported for each row."""
        return [int(level) for level in (probabilities_BC.log() + self.tilt_C).argmax(-1)]


def matrix(rows: Sequence[Mapping[str, float]], names: Sequence[str]) -> Tensor:
    """Measures as [B, F], in the order of the names."""
    return torch.tensor([[row[name] for name in names] for row in rows], dtype=torch.float32).reshape(-1, len(names))


def save_heads(path: Path, heads: Mapping[str, Head], about: Mapping[str, str]) -> None:
    """Write heads that share their names, with facts about the fit, as one file."""
    tensors = {
        f"{name}.{part}": getattr(head, part).float().contiguous()
        for name, head in heads.items()
        for part in ("bias_C", "measures_CF", "vector_CD", "tilt_C")
    }
    names = next(iter(heads.values())).names
    save_file(tensors, path, metadata={"names": json.dumps(names), "heads": json.dumps(list(heads)), **about})


def facts(path: Path) -> dict[str, str]:
    """What was kept beside the weights: names, heads, and the facts about the fit."""
    if not path.is_file():
        raise UserError(f"There is no {path}, which this judge needs. Install the package again.")
    with safe_open(str(path), framework="pt") as file:
        return dict(file.metadata())


@lru_cache(maxsize=4)
def load_heads(path: Path) -> dict[str, Head]:
    """The heads of a file by name."""
    known = facts(path)
    names = tuple(json.loads(known["names"]))
    with safe_open(str(path), framework="pt") as file:
        return {
            name: Head(
                names, *(file.get_tensor(f"{name}.{p}") for p in ("bias_C", "measures_CF", "vector_CD", "tilt_C"))
            )
            for name in json.loads(known["heads"])
        }
