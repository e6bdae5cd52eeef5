"""Mixtures of references: what they reduce to, their order, their weights, and what the weights may not see."""

from dataclasses import replace

import pytest
import torch

from domains.errors import UserError
from experts.mixing import METHODS, WEIGHTINGS, Mixing, clip_to_first
from experts.objectives.dpo import Objective
from tests.experts.test_dpo import random_preference_batch


def three_references(batch):
    generator = torch.Generator().manual_seed(9)
    return torch.stack(
        [batch.reference_BC + 3 * torch.randn(batch.reference_BC.shape, generator=generator) for _ in "abc"]
    )


def loss(mixing, references, batch=None):
    return mixing.loss(Objective(), batch or random_preference_batch(4, 3), references)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_references_that_agree_are_one_reference(method, weighting):
    batch = random_preference_batch(4, 3)
    expected = Objective()(batch)
    for count in (1, 3):
        references = batch.reference_BC.expand(count, -1, -1)
        torch.testing.assert_close(loss(Mixing(method, weighting), references), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_all_weight_on_one_is_that_one(method):
    batch = random_preference_batch(4, 3)
    references = three_references(batch)
    mixing = Mixing(method, "accuracy", clip=1.0)
    mixing.held_out = (0.0, 1.0, 0.0)
    unclipped = references if method != "harmonic" else clip_to_first(references, batch.present_BC, 1.0)
    expected = Objective()(replace(batch, reference_BC=unclipped[1]))
    torch.testing.assert_close(mixing.loss(Objective(), batch, references), expected, rtol=1e-4, atol=1e-4)


def test_harmonic_geometric_and_arithmetic_means_are_in_order():
    batch = random_preference_batch(4, 3)
    references = three_references(batch) / 20
    weights = torch.full((3, 4), 1 / 3)
    wide = Mixing("harmonic", clip=1.0)
    harmonic = -(weights.log().unsqueeze(-1) - references).logsumexp(0)
    torch.testing.assert_close(wide.mixture(references[:1], weights[:1] * 3, batch.present_BC), references[0])
    geometric = Mixing().mixture(references, weights, batch.present_BC)
    arithmetic = (weights.log().unsqueeze(-1) + references).logsumexp(0)
    assert (harmonic <= geometric + 1e-6).all()
    assert (geometric <= arithmetic + 1e-6).all()


def test_no_room_for_others_is_the_first_reference_alone():
    batch = random_preference_batch(4, 3)
    references = three_references(batch)
    torch.testing.assert_close(loss(Mixing("harmonic", clip=0.0), references), loss(Mixing(), references[:1]))


def test_clipping_by_hand():
    """Means of -10 and -30: rooms 0.4 * 10/40 = 0.1 and 0.4 * 30/40 = 0.3 around the first's -10 and -20."""
    references = torch.tensor([[[-10.0, -20.0]], [[-10.0, -40.0]]])
    clipped = clip_to_first(references, torch.ones(1, 2, dtype=torch.bool), 0.4)
    torch.testing.assert_close(clipped[1], torch.tensor([[-10.0, -26.0]]))
    far = torch.tensor([[[-10.0, -20.0]], [[-10.0, 0.0]]])
    room = 0.4 * 10 / 20
    torch.testing.assert_close(
        clip_to_first(far, torch.ones(1, 2, dtype=torch.bool), 0.4)[1, 0, 1], torch.tensor(-20 * (1 - room))
    )


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_weights_are_a_distribution(weighting):
    batch = random_preference_batch(5, 3)
    references = three_references(batch)
    mixing = Mixing(weighting=weighting, window=2)
    mixing.fit(references, batch.present_BC)
    for _ in range(4):
        weights = mixing.weights(references, batch.present_BC)
        assert weights.shape == (3, 5)
        assert (weights >= 0).all()
        torch.testing.assert_close(weights.sum(0), torch.ones(5))
        mixing.observe(references, batch.present_BC)


@pytest.mark.parametrize("weighting", ["sliding_window", "thompson"])
def test_a_batch_does_not_set_its_own_weights(weighting):
    """Weights before `observe` do not depend on the batch's references; after it, those of the next batch may."""
    batch = random_preference_batch(5, 3)
    references = three_references(batch)
    mixing = Mixing(weighting=weighting, window=1)
    torch.testing.assert_close(
        mixing.weights(references, batch.present_BC), mixing.weights(references.flip(-1), batch.present_BC)
    )


def test_the_window_forgets():
    """Window 1: after a batch where only reference 0 tells the answers apart, it has the weight; then reference 1."""
    present = torch.ones(1, 2, dtype=torch.bool)
    first, second = torch.tensor([[[0.0, -8.0]], [[0.0, 0.0]]]), torch.tensor([[[0.0, 0.0]], [[0.0, -8.0]]])
    mixing = Mixing(weighting="sliding_window", window=1)
    assert mixing.shared_weights(2) == [0.5, 0.5]
    for references, best in ((first, 0), (second, 1)):
        mixing.observe(references, present)
        assert mixing.shared_weights(2)[best] == pytest.approx(1.0, abs=1e-5)


def test_thompson_finds_the_reference_that_ranks_right():
    """Reference 1 is always right, reference 0 never: after 50 batches nearly every draw is 1."""
    present = torch.ones(1, 2, dtype=torch.bool)
    references = torch.tensor([[[-8.0, 0.0]], [[0.0, -8.0]]])
    mixing = Mixing(weighting="thompson")
    for _ in range(50):
        mixing.observe(references, present)
    draws = []
    for _ in range(20):
        draws.append(mixing.shared_weights(2).index(1.0))
        mixing.observe(references, present)
    assert draws == [1] * 20


@pytest.mark.parametrize("weighting", ["sliding_window", "thompson", "discrimination"])
def test_a_saved_state_gives_the_same_weights(weighting):
    batch = random_preference_batch(5, 3)
    references = three_references(batch)
    first, second = (Mixing(weighting=weighting, window=1) for _ in range(2))
    first.fit(references, batch.present_BC)
    first.observe(references, batch.present_BC)
    second.restore(first.state())
    torch.testing.assert_close(
        first.weights(references, batch.present_BC), second.weights(references, batch.present_BC)
    )


def test_held_out_weights_by_hand():
    """Gaps of 6 and 2 nats: discrimination 0.75 and 0.25; both rank right: accuracy 0.5 and 0.5."""
    references = torch.tensor([[[0.0, -6.0]], [[0.0, -2.0]]])
    present = torch.ones(1, 2, dtype=torch.bool)
    for weighting, expected in (("discrimination", [0.75, 0.25]), ("accuracy", [0.5, 0.5])):
        mixing = Mixing(weighting=weighting)
        mixing.fit(references, present)
        assert list(mixing.held_out) == pytest.approx(expected, abs=1e-5)


def test_permuting_references_permutes_weights_and_keeps_the_loss():
    batch = random_preference_batch(4, 3)
    references = three_references(batch)
    for method in ("geometric", "losses"):
        mixing = Mixing(method, "adaptive")
        torch.testing.assert_close(loss(mixing, references), loss(mixing, references[[2, 0, 1]]))


def test_bad_settings_are_refused():
    for settings in ({"method": "mean"}, {"weighting": "best"}, {"clip": 2}, {"window": 0}):
        with pytest.raises(UserError):
            Mixing(**settings)
