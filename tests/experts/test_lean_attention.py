"""Lean attention against the eager attention of transformers."""

import pytest
import torch
from transformers.models.llama import modeling_llama

from experts.lean_attention import lean_attention


class Grouped(torch.nn.Module):
    """What the functions read of a module: three query heads for each key head."""

    num_key_value_groups = 3


def case(masked: bool):
    generator = torch.Generator().manual_seed(3)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, requires_grad=True)

    inputs = random(2, 6, 13, 8), random(2, 2, 13, 8), random(2, 2, 13, 8)
    hidden = ~torch.ones(13, 13, dtype=torch.bool).tril()
    mask = torch.zeros(2, 1, 13, 13).masked_fill(hidden, torch.finfo(torch.float32).min) if masked else None
    return inputs, mask


@pytest.mark.parametrize("masked", [True, False])
def test_values_and_gradients_are_those_of_eager_attention(masked):
    inputs, mask = case(masked)
    expected, _ = modeling_llama.eager_attention_forward(Grouped(), *inputs, mask, 0.3)
    found, _ = lean_attention(Grouped(), *inputs, mask, 0.3)
    assert torch.allclose(found, expected, atol=1e-6)
    for ours, theirs in zip(
        torch.autograd.grad(found.square().sum(), inputs),
        torch.autograd.grad(expected.square().sum(), inputs),
        strict=True,
    ):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_fp32_weights_under_mixed_precision_give_gradients_in_fp32():
    inputs, mask = case(masked=True)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = lean_attention(Grouped(), *inputs, mask, 0.3)
    assert found.dtype == torch.bfloat16
    assert {gradient.dtype for gradient in torch.autograd.grad(found.float().sum(), inputs)} == {torch.float32}


def eager_attention_forward(*given, **options):
    """Stands for the one in the file of a model: here, the file of `Grouped`."""
    return "own", options["softcap"]


def test_a_model_with_more_than_a_mask_gets_its_own_attention():
    inputs, mask = case(masked=True)
    assert lean_attention(Grouped(), *inputs, mask, 0.3, softcap=50.0) == ("own", 50.0)
