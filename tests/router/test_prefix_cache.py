"""Scoring after a cached prefix equals scoring the whole prompt, and leaves the cache as it was."""

import pytest
import torch

from router.prefix_cache import PrefixCache
from tests.experts.test_logprobs import alone, random_ids

PREFIX = tuple(random_ids(21, 60)[0])


@pytest.fixture
def cache(model):
    return PrefixCache(model, PREFIX)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_equals_scoring_without_a_cache(model, cache, seed):
    suffix, *labels = random_ids(seed, 11, 1, 4, 7, 4)
    found = cache.label_logprobs(suffix, labels).tolist()
    assert found == pytest.approx([alone(model, [*PREFIX, *suffix], label) for label in labels], abs=1e-4)


def test_a_suffix_of_one_token(model, cache):
    labels = random_ids(4, 2, 3)
    found = cache.label_logprobs([7], labels).tolist()
    assert found == pytest.approx([alone(model, [*PREFIX, 7], label) for label in labels], abs=1e-4)


def test_the_cache_has_the_prefix_alone_after_each_request(cache):
    first_suffix, second_suffix, *labels = random_ids(5, 20, 3, 2, 2)
    first = cache.label_logprobs(first_suffix, labels)
    assert cache.cache.get_seq_length() == len(PREFIX)
    cache.label_logprobs(second_suffix, labels)
    assert cache.cache.get_seq_length() == len(PREFIX)
    assert torch.equal(cache.label_logprobs(first_suffix, labels), first)


def test_a_failed_request_leaves_the_cache_usable(cache):
    suffix, *labels = random_ids(6, 8, 2)
    expected = cache.label_logprobs(suffix, labels)
    with pytest.raises(IndexError):
        cache.label_logprobs([*suffix, 10_000], labels)
    assert cache.cache.get_seq_length() == len(PREFIX)
    assert torch.equal(cache.label_logprobs(suffix, labels), expected)


def test_the_prefix_is_computed_once(model):
    """A model that counts its calls: one for the prefix, one per request."""

    class Counting(torch.nn.Module):
        calls = 0
        device, dtype = model.device, model.dtype

        def forward(self, **options):
            self.calls += 1
            return model(**options)

    counting = Counting()
    cache = PrefixCache(counting, PREFIX)
    for seed in (7, 8, 9):
        cache.label_logprobs(random_ids(seed, 6)[0], [[1], [2, 3]])
    assert counting.calls == 4


def test_labels_do_not_see_each_other(cache):
    suffix, one, two, three = random_ids(10, 9, 3, 3, 3)
    first, second = cache.label_logprobs(suffix, [one, two]), cache.label_logprobs(suffix, [one, three])
    assert torch.equal(first[0], second[0])
    assert abs(float(first[1] - second[1])) > 0.1
