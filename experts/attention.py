"""The mask of packed rows in the form that an attention kernel takes, and whether FlexAttention works here.

FlexAttention (arXiv 2412.05496) skips the blocks of a mask that nothing sees, which is most of a packed row; SDPA and
eager attention take the mask as numbers to add.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

FLEX = "flex_attention"
FULL, SLIDING = "full_attention", "sliding_attention"  # the names that transformers has for kinds of layers
TOLERANCE = 2e-2  # bf16


def text_config(model: Any) -> Any:
    """The configuration of a model's text part."""
    config = getattr(model, "config", None)
    return getattr(config, "get_text_config", lambda: config)()


def has_window(model: Any) -> bool:
    """Whether some layers see less than all that came before."""
    config = text_config(model)
    kinds = getattr(config, "layer_types", None) or ()
    return bool(getattr(config, "sliding_window", None)) or any(kind != FULL for kind in kinds)


def attention_input(
    model: Any, mask_R1LL: Tensor, positions_RL: Tensor, dtype: torch.dtype
) -> Tensor | BlockMask | dict[str, Tensor | BlockMask] | None:
    """What a model gets as `attention_mask` for a boolean mask (R, 1, L, L); None for an empty one. It replaces the
    model's own mask, so that a sliding window is put in here: positions count the tokens on the way from a prompt into
    an answer. Where a model has layers of several kinds, each kind has its mask."""
    if not mask_R1LL.numel():
        return None
    flex = getattr(getattr(model, "config", None), "_attn_implementation", None) == FLEX
    form: Callable[[Tensor], Tensor | BlockMask] = block_mask if flex else partial(additive, dtype=dtype)
    config = text_config(model)
    window, kinds = getattr(config, "sliding_window", None), getattr(config, "layer_types", None) or (SLIDING,)
    if not window or SLIDING not in kinds or int(positions_RL.max()) < window:
        return form(mask_R1LL)
    distance_R1LL = (positions_RL.unsqueeze(2) - positions_RL.unsqueeze(1)).unsqueeze(1)
    near = form(mask_R1LL & (distance_R1LL < window))
    if not getattr(config, "layer_types", None):
        return near
    return {kind: near if kind == SLIDING else form(mask_R1LL) for kind in set(kinds)}


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
