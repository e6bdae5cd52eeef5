"""The mask of packed rows in the form that an attention kernel takes, and whether FlexAttention works here.

FlexAttention (arXiv 2412.05496) skips the blocks of a mask that nothing sees, which is most of a packed row; SDPA and
eager attention take the mask as numbers to add.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

FLEX = "flex_attention"
TOLERANCE = 2e-2  # bf16


def attention_input(model: Any, mask_R1LL: Tensor, dtype: torch.dtype) -> Tensor | BlockMask | None:
    """What a model gets as `attention_mask` for a boolean mask (R, 1, L, L); None for an empty one."""
    if not mask_R1LL.numel():
        return None
    if getattr(getattr(model, "config", None), "_attn_implementation", None) == FLEX:
        return block_mask(mask_R1LL)
    return additive(mask_R1LL, dtype)


def additive(mask_R1LL: Tensor, dtype: torch.dtype) -> Tensor:
    """A boolean mask as 0 / most negative number, the form that every dense attention kernel takes."""
    return torch.zeros_like(mask_R1LL, dtype=dtype).masked_fill_(~mask_R1LL, torch.finfo(dtype).min)


def block_mask(mask_R1LL: Tensor) -> BlockMask:
    """A boolean mask as blocks that are full, partial or skipped."""

    def seen(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return mask_R1LL[row, 0, query, key]

    rows, _, length, _ = mask_R1LL.shape
    return create_block_mask(seen, rows, None, length, length, device=mask_R1LL.device)


def flex_works(device: str) -> bool:
    """Whether a compiled FlexAttention gives SDPA's values and gradients on this device."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 2, 160, 64, device=device, dtype=torch.bfloat16) for _ in range(3))
    mask = torch.ones(1, 1, 160, 160, dtype=torch.bool, device=device).tril()
    query.requires_grad_()
    try:
        found = torch.compile(flex_attention)(query, key, value, block_mask=block_mask(mask))
        (gradient,) = torch.autograd.grad(found.float().square().sum(), query)
    except Exception:  # noqa: BLE001 - a compiler can fail in any way; then the dense kernel is used
        return False
    expected = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    (expected_gradient,) = torch.autograd.grad(expected.float().square().sum(), query)
    return close(found, expected) and close(gradient, expected_gradient)


def close(found: Tensor, expected: Tensor) -> bool:
    """Equal up to bf16 noise."""
    return float((found - expected).abs().max()) <= TOLERANCE * max(float(expected.abs().max()), 1.0)
