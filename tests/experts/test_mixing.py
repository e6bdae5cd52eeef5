"""Mixtures of references: what they reduce to, their order, their weights, and what the weights may not see."""

import json
import math
from dataclasses import replace

import pytest
import torch

from domains.errors import UserError
from experts.alignment import Alignment
from experts.batch import candidates_segment
from experts.logprobs import Scored
from experts.mixing import METHODS, WEIGHTINGS, Mixing, clip_to_first
from experts.objectives import beta_dpo
from experts.objectives.dpo import Objective
from experts.preferences import EncodedPreference, preference_batch
from tests.experts.test_dpo import random_preference_batch


def three_references(batch):
    generator = torch.Generator().manual_seed(9)
    return torch.stack(
        [batch.reference_BC + 3 * torch.randn(batch.reference_BC.shape, generator=generator) for _ in "abc"]
    )


def loss(mixing, references, batch=None, objective=None):
    return mixing.loss(objective or Objective(), batch or random_preference_batch(4, 3), references)


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


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("best", [0, 1, 2])
def test_a_weight_of_0_is_nothing_however_far_a_reference_is(method, best):
    """References 1,000 nats apart: the mixture is the one with all the weight, number for number; also at an absent
    candidate, and with a finite loss."""
    references = torch.tensor([[[-2000.0, -2200.0, 0.0]], [[-3000.0, -1200.0, 0.0]], [[-4000.0, -200.0, 0.0]]])
    present = torch.tensor([[True, True, False]])
    mixing = Mixing(method, "accuracy", clip=1.0)
    mixing.held_out = tuple(float(k == best) for k in range(3))
    source = clip_to_first(references, present, 1.0) if method == "harmonic" else references
    batch = replace(random_preference_batch(1, 3), present_BC=present)
    assert torch.equal(mixing.mixed(batch, references).reference_BC, source[best])
    expected = Objective()(replace(batch, reference_BC=source[best]))
    torch.testing.assert_close(mixing.loss(Objective(), batch, references), expected)


@pytest.mark.parametrize("method", METHODS)
def test_references_that_agree_are_one_reference_under_unequal_weights(method):
    batch = random_preference_batch(4, 3)
    mixing = Mixing(method, "accuracy")
    mixing.held_out = WEIGHTS
    mixed = mixing.mixed(batch, batch.reference_BC.expand(3, -1, -1))
    torch.testing.assert_close(mixed.reference_BC, batch.reference_BC)


WEIGHTS = (0.5, 0.3, 0.2)


def naive_reference(method, columns, sizes, b, c, clip):
    """One cell of the mixture in Python floats: `columns[k]` are a reference's sums of the row, `sizes` the absolute
    mean sums of its candidates."""
    values = [column[c] for column in columns]
    if method == "geometric":
        return sum(a * v for a, v in zip(WEIGHTS, values, strict=True))
    room, first = clip * sizes[c] / sum(sizes), values[0]
    low, high = sorted((first * (1 + room), first * (1 - room)))
    values = [first, *(min(max(v, low), high) for v in values[1:])]
    smallest = min(values)
    return smallest - math.log(sum(a * math.exp(smallest - v) for a, v in zip(WEIGHTS, values, strict=True)))


def naive_loss(policy, reference, beta=0.1):
    """DPO of one row in Python floats."""
    ratios = [p - r for p, r in zip(policy, reference, strict=True)]
    losses = [math.log1p(math.exp(-beta * (ratios[0] - r))) for r in ratios[1:]]
    return sum(losses) / len(losses)


@pytest.mark.parametrize("clip", [0.05, 0.4, 1.0])
@pytest.mark.parametrize("method", METHODS)
def test_mixtures_equal_the_naive_formulas(method, clip):
    """Three references, three weights, ragged rows, fp64."""
    batch = random_preference_batch(4, 3)
    batch = replace(batch, policy_BC=batch.policy_BC.double(), reference_BC=batch.reference_BC.double())
    references = three_references(batch)
    mixing = Mixing(method, "accuracy", clip=clip)
    mixing.held_out = WEIGHTS
    expected = []
    for b in range(4):
        here = [c for c in range(3) if batch.present_BC[b, c]]
        policy = [float(batch.policy_BC[b, c]) for c in here]
        columns = [[float(reference[b, c]) for c in here] for reference in references]
        if method == "losses":
            expected.append(sum(a * naive_loss(policy, column) for a, column in zip(WEIGHTS, columns, strict=True)))
            continue
        sizes = [abs(sum(column[c] for column in columns) / 3) for c in here]
        mixed = [naive_reference(method, columns, sizes, b, c, clip) for c in here]
        expected.append(naive_loss(policy, mixed))
    assert mixing.loss(Objective(), batch, references).tolist() == pytest.approx(expected, rel=1e-9)


def test_harmonic_geometric_and_arithmetic_means_are_in_order():
    """One row whose first reference leaves the others room enough: no clipping."""
    references = torch.tensor([[[-9.0, -9.0]], [[-8.0, -10.0]], [[-8.5, -7.0]]]).double()
    weights, present = torch.tensor(WEIGHTS).double().unsqueeze(1), torch.ones(1, 2, dtype=torch.bool)
    harmonic = Mixing("harmonic", clip=1.0).mixture(references, weights, present)
    geometric = Mixing().mixture(references, weights, present)
    arithmetic = (weights.log().unsqueeze(-1) + references).logsumexp(0)
    assert (harmonic < geometric - 1e-3).all()
    assert (geometric < arithmetic - 1e-3).all()


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


def referenced(references):
    """Rows of two one-token candidates with each reference's sums (R, B, 2)."""
    segment = candidates_segment([1], [[2], [3]])
    return [
        EncodedPreference(str(b), segment, tuple(tuple(r) for r in references[:, b].tolist()))
        for b in range(references.shape[1])
    ]


def batch_of(rows, training=True):
    """A batch in which every answer of the policy has -5 nats; as the trainer makes it, with the first reference."""
    return preference_batch(
        Scored(torch.zeros(0), torch.full((2 * len(rows),), -5.0), torch.ones(2 * len(rows))), rows, training
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weighting", ["sliding_window", "thompson"])
def test_a_batch_does_not_set_its_own_weights(weighting, method):
    """The loss of a batch is that under the weights before it, whatever the batch itself says; those after it differ.
    The references: only the second tells the answers apart, and it is right."""
    references = torch.tensor([[[-1.0, -1.0]] * 4, [[-1.0, -9.0]] * 4])
    rows = referenced(references)
    for _ in range(3):
        mixing = Mixing(method, weighting, window=1, seed=1)
        alignment = Alignment(Objective(), mixing)
        before = Mixing(method, weighting, window=1, seed=1)
        for _ in range(3):
            before.restore(mixing.state())
            found = alignment.evaluated(batch_of(rows), rows)
            torch.testing.assert_close(found.loss_B, before.loss(Objective(), batch_of(rows), references))
            assert mixing.count == before.count + 1
    after = mixing.loss(Objective(), batch_of(rows), references)
    assert not torch.allclose(after, loss(Mixing(method), references, batch_of(rows)))


def test_evaluation_moves_no_weights():
    references = torch.tensor([[[-1.0, -1.0]] * 4, [[-1.0, -9.0]] * 4])
    rows = referenced(references)
    alignment = Alignment(beta_dpo.Objective(), Mixing(weighting="sliding_window"))
    before = alignment.state()
    alignment.evaluated(batch_of(rows, training=False), rows)
    assert alignment.state() == before


@pytest.mark.parametrize("method", METHODS)
def test_running_statistics_go_by_the_mixture_and_not_by_the_first_reference(method):
    """Reference margins of 0 and 8 nats, the policy's 0: under the first alone the mean margin is 0, under the mean of
    both -4; and that is what beta-DPO notes, filters by and what the trainer logs. Harmonic: its own mixture."""
    references = torch.tensor([[[-1.0, -1.0]] * 4, [[-1.0, -9.0]] * 4])
    rows = referenced(references)
    objective, mixing = beta_dpo.Objective(), Mixing(method, clip=1.0)
    found = Alignment(objective, mixing).evaluated(batch_of(rows), rows)
    expected = float(mixing.mixed(batch_of(rows), references).margins_BK.mean())
    assert objective.average() == pytest.approx(expected)
    assert float(found.batch.margins_BK.mean()) == pytest.approx(expected)
    if method == "harmonic":
        assert expected != 0
    else:
        assert expected == pytest.approx(-4.0)


def test_a_sum_of_losses_has_one_beta_and_one_choice_of_rows():
    """Each reference's loss has the beta and the rows of the mean margins, so that their sum is over the same rows."""
    references = torch.stack([torch.zeros(10, 2), torch.randn(10, 2, generator=torch.Generator().manual_seed(0))])
    rows = referenced(references)
    objective, mixing = beta_dpo.Objective(keep=0.5), Mixing("losses")
    found = Alignment(objective, mixing).evaluated(batch_of(rows), rows)
    kept = objective.kept(beta_dpo.row_margins(found.batch))
    assert ((found.loss_B > 0) == kept).all()
    beta = objective.dynamic_beta(beta_dpo.row_margins(found.batch)[kept])
    expected = loss(mixing, references, batch_of(rows), Objective(beta))[kept]
    torch.testing.assert_close(found.loss_B[kept], 2 * expected)


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


def test_thompson_draws_go_on_from_a_saved_state_in_a_new_object():
    """The state as JSON: the next 20 draws are those of the run that nobody disturbed; those of another seed are not.
    Both references are right half of the time, so that draws differ."""
    present = torch.ones(1, 2, dtype=torch.bool)
    both = torch.tensor([[[0.0, -8.0]], [[-8.0, 0.0]]])

    def draws(mixing):
        found = []
        for step in range(20):
            found.append(mixing.shared_weights(2))
            mixing.observe(both[[step % 2, 1 - step % 2]], present)
        return found

    first = Mixing(weighting="thompson", seed=3)
    draws(first)
    state = json.loads(json.dumps(first.state()))
    second, other = Mixing(weighting="thompson", seed=3), Mixing(weighting="thompson", seed=4)
    second.restore(state)
    other.restore(state)
    expected = draws(first)
    assert {tuple(each) for each in expected} == {(0.0, 1.0), (1.0, 0.0)}
    assert draws(second) == expected
    assert draws(other) != expected


def test_the_bench_compares_every_mixture_that_differs_with_every_single_reference():
    """3 methods times 6 weightings, but for losses/thompson: all weight on one reference is geometric/thompson, in the
    loss of DPO number for number. What was measured first comes first, so that kept results stay."""
    from experts.benches.references import NAMES, against_singles, plans

    names = [plan.name for plan in plans()]
    assert tuple(names[:3]) == NAMES
    assert names[3:6] == [f"{method}/uniform" for method in METHODS]
    expected = {f"{method}/{weighting}" for method in METHODS for weighting in WEIGHTINGS} - {"losses/thompson"}
    assert (len(names), set(names[3:])) == (3 + 17, expected)
    batch = random_preference_batch(4, 3)
    references = three_references(batch)
    losses = [loss(Mixing(method, "thompson"), references) for method in ("geometric", "losses")]
    torch.testing.assert_close(*losses)
    rows = [
        {"references": name, "pair_accuracy_logp": value / 10} for value, name in enumerate([*NAMES, "losses/uniform"])
    ]
    assert against_singles(rows) == [{"references": "losses/uniform", **dict(zip(NAMES, (0.3, 0.2, 0.1), strict=True))}]


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
    for settings in (
        {"method": "mean"},
        {"weighting": "best"},
        {"clip": 2},
        {"window": 0},
        {"window": 2.5},
        {"seed": "a"},
    ):
        with pytest.raises(UserError, match=rf"align\.mixing\.{next(iter(settings))}\b"):
            Mixing(**settings)
