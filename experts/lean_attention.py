"""Attention for training on a CPU: the values of eager attention from fewer passes over memory.

Query heads that share a key head are one matrix (no copies of keys and values), the softmax stays in the model's format
(its sums are fp32 inside the kernel), and of the L x L tables only the probabilities are kept for the backward pass.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

LEAN = "lean"


@cache
def register() -> str:
    """Make the kernel known to transformers, under the name that is returned."""
    AttentionInterface.register(LEAN, lean_attention)
    AttentionMaskInterface.register(LEAN, eager_mask)
    return LEAN


class Lean(torch.autograd.Function):
    """softmax(scale Q K^T + mask) V for G key heads of which each serves N / G query heads."""

    @staticmethod
    def forward(
        ctx: Any, query_RNLD: Tensor, key_RGLD: Tensor, value_RGLD: Tensor, mask: Tensor | None, scale: float
    ) -> Tensor:
        """The output, (R, N, L, D)."""
        rows, groups, length, size = key_RGLD.shape
        query = (query_RNLD * scale).reshape(rows * groups, -1, size)
        key, value = (each.reshape(rows * groups, length, size) for each in (key_RGLD, value_RGLD))
        scores = query @ key.transpose(1, 2)
        if mask is not None:
            scores.view(rows, -1, query_RNLD.shape[2], length).add_(mask)
        probabilities = scores.softmax(-1)
        ctx.save_for_backward(query, key, value, probabilities)
        ctx.shape, ctx.scale = query_RNLD.shape, scale
        return (probabilities @ value).view(ctx.shape)

    @staticmethod
    def backward(ctx: Any, gradient_RNLD: Tensor) -> Any:
        """Gradients of query, key and value."""
        query, key, value, probabilities = ctx.saved_tensors
        rows, heads, _, size = ctx.shape
        gradient = gradient_RNLD.reshape(query.shape)
        of_value = probabilities.transpose(1, 2) @ gradient
        of_scores = torch._softmax_backward_data(gradient @ value.transpose(1, 2), probabilities, -1, query.dtype)
        of_query = (of_scores @ key).mul_(ctx.scale).view(ctx.shape)
        of_key = of_scores.transpose(1, 2) @ query
        return of_query, of_key.view(rows, -1, *key.shape[1:]), of_value.view(rows, -1, *key.shape[1:]), None, None


def lean_attention(  # noqa: PLR0913, PLR0917 - the signature that transformers calls
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, None]:
    """The attention function of transformers. A model with more than a mask (caps, sinks, dropout) gets its own eager
    attention."""
    if dropout or any(options.get(name) is not None for name in ("softcap", "s_aux")):
        eager: Callable[..., tuple[Tensor, None]] = sys.modules[type(module).__module__].eager_attention_forward
        return eager(module, query, key, value, attention_mask, scaling, dropout, **options)
    kind = query.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else query.dtype
    apply: Callable[..., Tensor] = Lean.apply
    found = apply(query.to(dtype), key.to(dtype), value.to(dtype), attention_mask, scaling)
    return found.transpose(1, 2).contiguous(), None
