"""Rows in several threads: the values and gradients of one pass, the same bits every time."""

import pytest
import torch

from experts.batch import Row, candidates_segment, collate, collate_plain
from experts.head import PreferenceHead
from experts.logprobs import HEAD, score
from experts.threads import side_by_side
from tests.experts.test_logprobs import random_ids
from tests.fakes import tiny_model


@pytest.fixture
def threads():
    """Two threads, whatever the machine is set to."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def batch(with_ends: bool = False):
    """Three rows of different lengths, the last with two prompts."""
    segments = [
        candidates_segment(prompt, candidates, with_ends)
        for prompt, candidates in [
            (ids, random_ids(i, 5 + i, 3, 4)) for i, ids in enumerate(random_ids(50, 9, 30, 12, 6))
        ]
    ]
    return collate([Row(segments[:1]), Row(segments[1:2]), Row(segments[2:])], 0)


def measured(num_threads: int, with_head: bool = False):
    """Log-probabilities, rewards and gradients."""
    torch.set_num_threads(num_threads)
    model = tiny_model()
    if with_head:
        model.add_module(HEAD, PreferenceHead(model.get_output_embeddings().weight.shape[1], "linear", 0))
    scored = score(model, batch(with_head))
    weights = torch.linspace(-1, 1, len(scored.logprobs_S))
    loss = (scored.logprobs_S * weights).sum() + (scored.rewards_S.square().sum() if with_head else 0.0)
    loss.backward()
    return scored, {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("with_head", [False, True])
def test_threads_give_values_and_gradients_of_one_pass(threads, with_head):
    one, gradients_of_one = measured(1, with_head)
    two, gradients_of_two = measured(2, with_head)
    assert torch.allclose(one.logprobs_S, two.logprobs_S, atol=1e-5)
    assert torch.equal(one.num_tokens_S, two.num_tokens_S)
    assert not with_head or torch.allclose(one.rewards_S, two.rewards_S, atol=1e-5)
    assert gradients_of_one.keys() == gradients_of_two.keys()
    for name, gradient in gradients_of_one.items():
        assert torch.allclose(gradient, gradients_of_two[name], atol=1e-4), name


def test_threads_give_the_same_bits_every_time(threads):
    runs = [measured(2) for _ in range(3)]
    assert all(torch.equal(runs[0][0].logprobs_S, run[0].logprobs_S) for run in runs)
    assert all(torch.equal(runs[0][1][name], run[1][name]) for run in runs for name in runs[0][1])


def test_parts_hold_every_row_once_without_its_padding():
    whole = batch(with_ends=True)
    parts = whole.parts(2)
    assert [len(part.lengths_R) for part in parts] == [2, 1]
    assert [part.input_ids_RL.shape[1] for part in parts] == [int(part.lengths_R.max()) for part in parts]
    read = torch.cat([part.input_ids_RL.flatten()[part.ends_S] for part in parts])
    assert torch.equal(read, whole.input_ids_RL.flatten()[whole.ends_S])
    assert len(whole.parts(8)) == 3


def test_scoring_without_gradients_keeps_none(threads):
    with torch.no_grad():
        assert not score(tiny_model(), batch()).logprobs_S.requires_grad


def test_an_error_in_a_thread_is_raised_and_the_number_of_threads_stays(threads):
    def fails():
        raise ValueError("part")

    with pytest.raises(ValueError, match="part"):
        side_by_side([fails, lambda: 1])
    assert torch.get_num_threads() == 2


def test_plain_rows_need_no_mask(threads):
    texts = zip(random_ids(1, 5, 9), random_ids(2, 4, 3), strict=True)
    segments = [candidates_segment(prompt, [completion]) for prompt, completion in texts]
    with torch.no_grad():
        alone = [score(tiny_model(), collate_plain([segment], 0)).logprobs_S.item() for segment in segments]
        assert score(tiny_model(), collate_plain(segments, 0)).logprobs_S.tolist() == pytest.approx(alone, abs=1e-4)
