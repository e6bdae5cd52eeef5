"""DPO against ln 2, a naive fp64 formula, and TRL's formula written out."""

import math

import pytest
import torch
from torch.nn import functional

from experts.objectives.dpo import Objective
from experts.preferences import PreferenceBatch


def random_preference_batch(num_rows: int, num_candidates: int) -> PreferenceBatch:
    """Random sums in nats; every second row of a wide batch lacks its last candidate."""
    generator = torch.Generator().manual_seed(100 * num_rows + num_candidates)
    policy, reference = (-60 * torch.rand(num_rows, num_candidates, generator=generator) for _ in range(2))
    present = torch.ones(num_rows, num_candidates, dtype=torch.bool)
    if num_candidates > 2:
        present[1::2, -1] = False
    return PreferenceBatch(policy, reference, torch.full((num_rows, num_candidates), 20), present)


def naive(batch: PreferenceBatch, beta: float, smoothing: float) -> list[float]:
    """The formula of the docstring in Python floats, one pair after the other."""
    losses = []
    for b in range(len(batch.policy_BC)):
        pairs = []
        for j in range(1, batch.policy_BC.shape[1]):
            if batch.present_BC[b, j]:
                ratios = [float(batch.policy_BC[b, c]) - float(batch.reference_BC[b, c]) for c in (0, j)]
                margin = beta * (ratios[0] - ratios[1])
                pairs.append(
                    -(1 - smoothing) * -math.log1p(math.exp(-margin)) - smoothing * -math.log1p(math.exp(margin))
                )
        losses.append(sum(pairs) / len(pairs))
    return losses


def test_at_the_reference_the_loss_is_ln_2():
    """Every margin is 0 and -log s(0) = ln 2, with any beta, any smoothing and any number of rejected answers."""
    batch = random_preference_batch(5, 4)
    same = PreferenceBatch(batch.policy_BC, batch.policy_BC, batch.num_tokens_BC, batch.present_BC)
    for objective in (Objective(), Objective(beta=3.0), Objective(label_smoothing=0.2)):
        assert objective(same).tolist() == pytest.approx([math.log(2)] * 5, abs=1e-6)


@pytest.mark.parametrize(("beta", "smoothing"), [(0.1, 0.0), (0.5, 0.0), (0.1, 0.1), (1.0, 0.4)])
@pytest.mark.parametrize("num_candidates", [2, 3, 6])
def test_equals_the_naive_formula(beta, smoothing, num_candidates):
    batch = random_preference_batch(6, num_candidates)
    assert Objective(beta, smoothing)(batch).tolist() == pytest.approx(naive(batch, beta, smoothing), rel=1e-5)


def test_one_rejected_answer_equals_trl():
    """TRL's sigmoid loss: -logsigmoid(beta * ((pi_c - pi_r) - (ref_c - ref_r))), mean over the batch."""
    batch = random_preference_batch(8, 2)
    pi, ref = batch.policy_BC, batch.reference_BC
    logits = (pi[:, 0] - pi[:, 1]) - (ref[:, 0] - ref[:, 1])
    expected = -functional.logsigmoid(0.1 * logits)
    torch.testing.assert_close(Objective(0.1)(batch), expected)


def test_smoothing_equals_trl():
    """TRL's label smoothing: -logsigmoid(z) (1 - e) - logsigmoid(-z) e; at e = 1/2 the sign of the margin is lost."""
    batch = random_preference_batch(8, 2)
    z = 0.3 * batch.margins_BK[:, 0]
    expected = -functional.logsigmoid(z) * 0.9 - functional.logsigmoid(-z) * 0.1
    torch.testing.assert_close(Objective(0.3, 0.1)(batch), expected)
    swapped = PreferenceBatch(
        batch.policy_BC.flip(1), batch.reference_BC.flip(1), batch.num_tokens_BC.flip(1), batch.present_BC
    )
    torch.testing.assert_close(Objective(0.3, 0.5)(batch), Objective(0.3, 0.5)(swapped))


@pytest.mark.parametrize("beta", [0.01, 0.1, 1.0, 7.0])
def test_a_swapped_pair_has_the_negated_margin(beta):
    """m' = -m to the bit, so that the two losses differ by log s(beta m) - log s(-beta m) = beta m."""
    batch = random_preference_batch(8, 2)
    swapped = PreferenceBatch(
        batch.policy_BC.flip(1), batch.reference_BC.flip(1), batch.num_tokens_BC.flip(1), batch.present_BC
    )
    assert torch.equal(swapped.margins_BK, -batch.margins_BK)
    assert bool((batch.margins_BK != 0).all())
    difference = Objective(beta)(swapped) - Objective(beta)(batch)
    torch.testing.assert_close(difference, beta * batch.margins_BK[:, 0], rtol=1e-4, atol=1e-5)


def test_a_ragged_row_equals_the_row_alone():
    """A row padded from 2 to 5 candidates has the loss, and gives the gradient, that it has alone."""
    wide, narrow = random_preference_batch(1, 5), random_preference_batch(1, 2)
    policy = wide.policy_BC.clone()
    policy[0, :2] = narrow.policy_BC[0]
    reference = wide.reference_BC.clone()
    reference[0, :2] = narrow.reference_BC[0]
    policy.requires_grad_()
    padded = PreferenceBatch(policy, reference, wide.num_tokens_BC, torch.tensor([[True, True, False, False, False]]))
    loss = Objective()(padded)
    torch.testing.assert_close(loss.detach(), Objective()(narrow))
    loss.sum().backward()
    assert policy.grad[0, 2:].tolist() == [0.0, 0.0, 0.0]
    assert policy.grad[0, 0] < 0 < policy.grad[0, 1]


def test_gradient_by_hand():
    """d loss / d log p(chosen) = -beta (1 - s(beta m)); at m = 0 and beta = 0.1 that is -0.05."""
    policy = torch.tensor([[-3.0, -4.0]], requires_grad=True)
    batch = PreferenceBatch(policy, policy.detach().clone(), torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool))
    Objective(0.1)(batch).sum().backward()
    assert policy.grad[0].tolist() == pytest.approx([-0.05, 0.05])


def test_huge_margins_stay_finite():
    policy = torch.tensor([[0.0, -1e6], [-1e6, 0.0]])
    batch = PreferenceBatch(policy, torch.zeros(2, 2), torch.ones(2, 2), torch.ones(2, 2, dtype=torch.bool))
    assert Objective(0.1)(batch).tolist() == pytest.approx([0.0, 1e5])
