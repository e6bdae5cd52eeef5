"""The mask as kernels take it: as numbers to add, and as blocks."""

import warnings

import pytest
import torch
from torch.nn.attention.flex_attention import flex_attention

from experts.attention import additive, attention_input, block_mask, close
from experts.batch import candidates_segment, collate, conversation_segment, pack_in_order
from experts.logprobs import score
from tests.experts.test_logprobs import random_ids
from tests.fakes import tiny_model


def test_additive_mask():
    mask = additive(torch.tensor([[True, False]]), torch.float32)
    assert mask.tolist() == [[0.0, torch.finfo(torch.float32).min]]


def packed(lengths=(40, 90, 60)):
    """Rows with a prompt and two candidates each, and one conversation; longer than one block of 128."""
    prompts, answers = random_ids(51, *lengths), random_ids(52, 30, 25, 60, 10, 45, 12)
    shared = [candidates_segment(p, answers[2 * i : 2 * i + 2]) for i, p in enumerate(prompts)]
    return collate(pack_in_order([*shared, conversation_segment(*random_ids(53, 20, 30))], 400), 0)


def test_blocks_hold_the_same_mask():
    """FlexAttention over the blocks is a softmax over what the boolean mask lets through."""
    mask = packed().mask_R1LL
    rows, _, length, _ = mask.shape
    generator = torch.Generator().manual_seed(3)
    query, key, value = (torch.randn(rows, 2, length, 8, generator=generator) for _ in range(3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # uncompiled: slow, and the same values
        found = flex_attention(query, key, value, block_mask=block_mask(mask))
    scores = (query @ key.transpose(-1, -2)) / 8**0.5
    expected = (scores + additive(mask, torch.float32)).softmax(-1) @ value
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kernel", "kind"), [("eager", "Tensor"), ("sdpa", "Tensor"), ("flex_attention", "BlockMask")])
def test_the_form_follows_the_kernel(kernel, kind):
    model = tiny_model()
    model.config._attn_implementation = kernel
    batch = packed()
    assert type(attention_input(model, batch.mask_R1LL, batch.position_ids_RL, torch.float32)).__name__ == kind
    assert attention_input(model, torch.zeros(0, dtype=torch.bool), batch.position_ids_RL, torch.float32) is None


def test_close_is_relative_for_large_values_and_absolute_for_small_ones():
    assert close(torch.tensor([100.0, 1.0]), torch.tensor([101.0, 1.0]))
    assert not close(torch.tensor([1.0]), torch.tensor([1.1]))


@pytest.mark.slow
def test_a_model_scores_the_same_with_flex_attention():
    """The whole path, compiled."""
    batch, model = packed(), tiny_model().requires_grad_(False)
    expected = score(model, batch).logprobs_S
    model.set_attn_implementation("flex_attention")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = score(model, batch).logprobs_S
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
