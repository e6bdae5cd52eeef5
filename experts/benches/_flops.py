"""Arithmetic that a training step of frozen weights with adapters cannot do without, counted from the packed rows.

Two operations per multiplication and addition. A token costs every frozen matrix once forward and once backward (no
gradient for the matrix itself), every adapter matrix three times; a target costs the vocabulary projection twice; a
pair of a query and a key that it may see costs each head two products forward and four backward. Norms, softmax,
optimiser and padding do not count. And the machine's own rate for large products, to compare with.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from experts.batch import Row, Segment, collate
from experts.device import probe
from experts.logprobs import decoder, projection


@dataclass(frozen=True)
class Sizes:
    """Numbers in the frozen and in the trained matrices of the decoder and in the projection; and the width of all
    heads of all layers together."""

    frozen: int
    trained: int
    vocabulary: int
    attention: int

    @classmethod
    def of(cls, model: Any) -> Sizes:
        """Those of a model with adapters."""
        linear = [module.weight for module in decoder(model).modules() if isinstance(module, torch.nn.Linear)]
        config = model.config
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return cls(
            sum(weight.numel() for weight in linear if not weight.requires_grad),
            sum(weight.numel() for weight in linear if weight.requires_grad),
            projection(model).numel(),
            config.num_hidden_layers * config.num_attention_heads * width,
        )

    def step(self, segments: Sequence[Segment]) -> int:
        """Operations of a step on rows that share nothing with each other."""
        tokens = sum(len(segment) for segment in segments)
        targets = sum(label >= 0 for segment in segments for label in segment.labels)
        pairs = sum(int(collate([Row([segment])], 0).mask_R1LL.sum()) for segment in segments)
        matrices = tokens * (4 * self.frozen + 6 * self.trained) + targets * 4 * self.vocabulary
        return matrices + pairs * 12 * self.attention


def clock() -> float:
    """Seconds, when all work on the device is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def matmul_gflops(size: int = 2048) -> float:
    """The machine's rate for large matrices in the device's number format."""
    device = probe()
    matrix = torch.randn(size, size, device=device.name, dtype=device.dtype)
    times = []
    for _ in range(8):
        start = clock()
        matrix @ matrix
        times.append(clock() - start)
    return 2 * size**3 / statistics.median(times) / 1e9
