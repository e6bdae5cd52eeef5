"""Every objective against a naive formula in Python floats, and the setting that makes it another one."""

import math
from dataclasses import replace

import pytest
import torch

from domains.errors import UserError
from experts.objectives import beta_dpo, ddo_rm, dph, dpo, s_dpo
from experts.preferences import PreferenceBatch, load_objective
from tests.experts.test_dpo import random_preference_batch

NAMES = ("dpo", "beta_dpo", "s_dpo", "ddo_rm", "dph")


def full_batch(num_rows=6, num_candidates=4, seed=3):
    """A ragged batch in fp64 with rewards and head outputs; gradients go to policy and head."""
    batch = random_preference_batch(num_rows, num_candidates)
    generator = torch.Generator().manual_seed(seed)
    scores, head = (torch.randn(num_rows, num_candidates, generator=generator).double() for _ in range(2))
    return PreferenceBatch(
        batch.policy_BC.double().requires_grad_(),
        batch.reference_BC.double(),
        torch.randint(5, 40, batch.policy_BC.shape, generator=generator),
        batch.present_BC,
        scores,
        head.requires_grad_(),
    )


def rows_of(batch):
    """Per row: log-ratios, mean log-probabilities, rewards and head outputs of the candidates that are there."""
    batch = replace(batch, policy_BC=batch.policy_BC.detach(), head_BC=batch.head_BC.detach())
    for b in range(len(batch.policy_BC)):
        here = [c for c in range(batch.policy_BC.shape[1]) if batch.present_BC[b, c]]
        yield {
            "ratio": [float(batch.policy_BC[b, c] - batch.reference_BC[b, c]) for c in here],
            "mean": [float(batch.policy_BC[b, c]) / int(batch.num_tokens_BC[b, c]) for c in here],
            "anchor": [float(batch.reference_BC[b, c]) / int(batch.num_tokens_BC[b, c]) for c in here],
            "length": [int(batch.num_tokens_BC[b, c]) for c in here],
            "score": [float(batch.scores_BC[b, c]) for c in here],
            "head": [float(batch.head_BC[b, c]) for c in here],
        }


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def softmax(values):
    weights = [math.exp(v - max(values)) for v in values]
    return [w / sum(weights) for w in weights]


def nls(x):
    """-log of the logistic function."""
    return math.log1p(math.exp(-x)) if x > -30 else -x


def naive_s_dpo(row, beta=0.1):
    return math.log1p(sum(math.exp(beta * (r - row["ratio"][0])) for r in row["ratio"][1:]))


def naive_ipo(row, beta=0.1):
    per_token = [r / n for r, n in zip(row["ratio"], row["length"], strict=True)]
    return mean((per_token[0] - r - 1 / (2 * beta)) ** 2 for r in per_token[1:])


def naive_hinge(row, beta=0.1):
    return mean(max(0.0, 1 - beta * (row["ratio"][0] - r)) for r in row["ratio"][1:])


def naive_robust(row, beta=0.1, e=0.1):
    margins = [beta * (row["ratio"][0] - r) for r in row["ratio"][1:]]
    return mean(((1 - e) * nls(m) - e * nls(-m)) / (1 - 2 * e) for m in margins)


def naive_ddo_rm(row, eta=1.0, tau=1.0, source="mean"):
    p = softmax([s / tau for s in row["mean"]])
    base = softmax([s / tau for s in row[source]])
    centre = sum(a * r for a, r in zip(base, row["score"], strict=True))
    q = softmax([(s + eta * (r - centre)) / tau for s, r in zip(row[source], row["score"], strict=True)])
    return -sum(a * math.log(b) for a, b in zip(q, p, strict=True))


def naive_dph(row, contrastive=False, e=0.1, beta=0.1):
    chosen, *others = row["head"]
    if contrastive:
        head = mean((1 - e) * nls(chosen - r) + e * nls(r - chosen) for r in others)
    else:
        head = (1 - e) * nls(chosen) + e * nls(-chosen) + mean(e * nls(r) + (1 - e) * nls(-r) for r in others)
    margins = [beta * (row["ratio"][0] - r) for r in row["ratio"][1:]]
    return head + mean((1 - e) * nls(m) + e * nls(-m) for m in margins)


@pytest.mark.parametrize(
    ("objective", "naive"),
    [
        (s_dpo.Objective(), naive_s_dpo),
        (dpo.Objective(loss="ipo"), naive_ipo),
        (dpo.Objective(loss="hinge"), naive_hinge),
        (dpo.Objective(loss="robust", label_smoothing=0.1), naive_robust),
        (ddo_rm.Objective(), naive_ddo_rm),
        (ddo_rm.Objective(eta=0.5, tau=2.0), lambda row: naive_ddo_rm(row, 0.5, 2.0)),
        (ddo_rm.Objective(reference_anchored=True), lambda row: naive_ddo_rm(row, source="anchor")),
        (dph.Objective(), naive_dph),
        (dph.Objective(loss="contrastive"), lambda row: naive_dph(row, contrastive=True)),
    ],
    ids=lambda value: type(value).__module__.rpartition(".")[2] if not callable(value) else "",
)
@pytest.mark.parametrize("num_candidates", [2, 4])
def test_equals_the_naive_formula(objective, naive, num_candidates):
    batch = full_batch(num_candidates=num_candidates)
    expected = [naive(row) for row in rows_of(batch)]
    assert objective(batch).tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_absent_candidates_change_nothing_and_get_no_gradient(name):
    """Whatever stands in an empty place, NaN included, the loss is the same and its gradient there is 0."""
    objective = load_objective(name, {})
    batch, other = full_batch(), full_batch()
    for values in (other.policy_BC, other.reference_BC, other.scores_BC, other.head_BC):
        values.data[~other.present_BC] = 123.0
    torch.testing.assert_close(objective(batch), objective(other))
    objective(other).sum().backward()
    assert not other.policy_BC.grad[~other.present_BC].any()
    assert torch.isfinite(other.policy_BC.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_rejected_answers_does_not_matter(name):
    batch = full_batch()
    turned = torch.tensor([0, 3, 1, 2])
    moved = PreferenceBatch(
        *(
            getattr(batch, key)[:, turned]
            for key in ("policy_BC", "reference_BC", "num_tokens_BC", "present_BC", "scores_BC", "head_BC")
        )
    )
    torch.testing.assert_close(load_objective(name, {})(batch), load_objective(name, {})(moved))


@pytest.mark.parametrize("name", NAMES)
def test_one_row_and_huge_values_stay_finite(name):
    batch = full_batch(1, 2)
    huge = replace(batch, policy_BC=torch.tensor([[-1e4, -10.0]]).double(), head_BC=torch.tensor([[1e3, -1e3]]))
    objective = load_objective(name, {})
    if hasattr(objective, "observe"):
        objective.observe(replace(huge, training=True))
    assert torch.isfinite(objective(replace(huge, training=True))).all()


# s_dpo


def test_s_dpo_with_one_rejected_answer_is_dpo():
    batch = full_batch(num_candidates=2)
    torch.testing.assert_close(s_dpo.Objective(0.3)(batch), dpo.Objective(0.3)(batch))


def test_s_dpo_starts_at_the_log_of_the_number_of_candidates():
    """At policy = reference all candidates are alike: log(1 + k)."""
    batch = full_batch()
    same = replace(batch, reference_BC=batch.policy_BC.detach())
    counts = batch.present_BC.sum(1)
    assert s_dpo.Objective()(same).tolist() == pytest.approx(counts.double().log().tolist())


def test_s_dpo_with_a_rejected_answer_twice_and_a_margin_of_zero_is_log_3():
    zeros = torch.zeros(1, 3)
    batch = PreferenceBatch(zeros, zeros, zeros + 1, torch.ones(1, 3, dtype=torch.bool))
    assert float(s_dpo.Objective()(batch)) == pytest.approx(math.log(3))


@pytest.mark.parametrize("copies", [1, 2, 5])
def test_s_dpo_with_a_rejected_answer_several_times_by_hand(copies):
    """n copies at margin m: log(1 + n exp(-beta m)), the margin moved by log n / beta."""
    beta, margin = 0.3, 2.5
    policy = torch.tensor([[margin] + [0.0] * copies]).double()
    batch = PreferenceBatch(policy, 0 * policy, torch.ones_like(policy), torch.ones_like(policy).bool())
    expected = math.log(1 + copies * math.exp(-beta * margin))
    assert float(s_dpo.Objective(beta)(batch)) == pytest.approx(expected)
    moved = of_margins(margin - math.log(copies) / beta)
    assert float(dpo.Objective(beta)(moved)) == pytest.approx(expected)


def test_s_dpo_gradient_weighs_hard_negatives_by_their_softmax():
    """d loss / d log p(j) = beta softmax(beta ratio)_j over all candidates."""
    batch = full_batch()
    s_dpo.Objective(0.2)(batch).sum().backward()
    weights = (0.2 * batch.ratio_BC).masked_fill(~batch.present_BC, -torch.inf).softmax(1)
    torch.testing.assert_close(batch.policy_BC.grad[:, 1:], 0.2 * weights[:, 1:].detach())


def test_s_dpo_does_not_overflow():
    """One rejected answer is 1,000 nats ahead with beta 1: the loss is 1,000."""
    batch = PreferenceBatch(
        torch.tensor([[0.0, 1000.0]]), torch.zeros(1, 2), torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool)
    )
    assert float(s_dpo.Objective(1.0)(batch)) == pytest.approx(1000)


def test_the_hardest_negative_has_the_largest_weight():
    """Three rejected answers alike share the weight: 1/3."""
    zeros = torch.zeros(1, 4)
    batch = PreferenceBatch(zeros, zeros, zeros + 1, torch.ones(1, 4, dtype=torch.bool))
    assert s_dpo.Objective().metrics(batch)["hardest_negative_weight"] == pytest.approx(1 / 3)


# beta_dpo


def trained(batch):
    return replace(batch, training=True)


def test_beta_dpo_without_its_two_ideas_is_dpo():
    objective = beta_dpo.Objective(0.2, alpha=0.0, keep=1.0)
    batch = trained(full_batch())
    objective.observe(batch)
    torch.testing.assert_close(objective(batch), dpo.Objective(0.2)(batch))


def test_the_dynamic_beta_by_hand():
    """Margins of the first batch 1 and 3: M = 2 after correction (0.1 * 2 / (1 - 0.9)), so a batch of mean 4 has
    beta = 0.1 (1 + 0.6 (4 - 2)) = 0.22; below M it falls, and stops at the floor."""
    objective = beta_dpo.Objective(keep=1.0)
    objective.observe(of_margins(1.0, 3.0))
    assert objective.average() == pytest.approx(2.0)
    assert objective.dynamic_beta(torch.tensor([4.0])) == pytest.approx(0.22)
    assert objective.dynamic_beta(torch.tensor([-40.0])) == objective.floor


def test_the_dynamic_beta_of_margins_that_are_all_the_running_mean_is_beta():
    """Margins of 3 nats in every batch: M = 3 and no spread, so beta' = beta (1 + alpha (3 - 3)): the loss of DPO."""
    objective = beta_dpo.Objective(0.2, keep=1.0)
    batch = of_margins(3.0, 3.0, 3.0, 3.0)
    for _ in range(7):
        objective.observe(batch)
    assert objective.dynamic_beta(beta_dpo.row_margins(batch)) == pytest.approx(0.2, rel=1e-12)
    torch.testing.assert_close(objective(batch), dpo.Objective(0.2)(batch))


def of_margins(*margins, training=True):
    policy = torch.tensor([[m, 0.0] for m in margins], dtype=torch.float64)
    ones = torch.ones_like(policy)
    return PreferenceBatch(policy, 0 * policy, ones, ones.bool(), training=training)


def naive_beta_dpo(batches, beta=0.2, alpha=0.5, momentum=0.9, floor=1e-3):
    """The last batch's loss in Python floats, nothing filtered: running mean of the batches' mean margins, corrected
    for its start; the batch's own beta; pairs averaged within rows."""
    total = weight = 0.0
    for batch in batches:
        margins = [[row["ratio"][0] - r for r in row["ratio"][1:]] for row in rows_of(batch)]
        centre = mean(mean(each) for each in margins)
        total, weight = momentum * total + (1 - momentum) * centre, momentum * weight + (1 - momentum)
    own = max(floor, beta * (1 + alpha * (centre - total / weight)))
    return [mean(nls(own * m) for m in each) for each in margins]


@pytest.mark.parametrize("num_batches", [1, 2, 5])
def test_beta_dpo_end_to_end_equals_the_naive_formula(num_batches):
    batches = [trained(full_batch(4 + i, 3 + i % 2)) for i in range(num_batches)]
    objective = beta_dpo.Objective(0.2, alpha=0.5, keep=1.0)
    for batch in batches:
        objective.observe(batch)
        found = objective(batch)
    assert found.tolist() == pytest.approx(naive_beta_dpo(batches), rel=1e-9)


def test_filtered_rows_by_hand():
    """What is kept is weighed by rows / kept rows, under the beta of the kept rows alone."""
    objective = beta_dpo.Objective(0.2, alpha=0.5, keep=0.5)
    batch = of_margins(*range(10))
    objective.observe(batch)
    kept = [m for m, loss in enumerate(objective(batch).tolist()) if loss]
    assert len(kept) == 5
    own = 0.2 * (1 + 0.5 * (mean(kept) - 4.5))
    expected = [2 * nls(max(1e-3, own) * m) if m in kept else 0.0 for m in range(10)]
    assert objective(batch).tolist() == pytest.approx(expected)


def test_beta_dpo_without_its_two_ideas_has_the_gradient_of_dpo():
    objective = beta_dpo.Objective(0.2, alpha=0.0, keep=1.0)
    batch, same = (trained(full_batch()) for _ in range(2))
    objective.observe(batch)
    objective(batch).mean().backward()
    dpo.Objective(0.2)(same).mean().backward()
    torch.testing.assert_close(batch.policy_BC.grad, same.policy_BC.grad)


def test_the_share_of_small_batches_is_right_on_average():
    """0.8 of 2 rows is 1.6: two rows in 60% of batches, one in the others; of 200, 120 give or take 21."""
    objective, sizes = beta_dpo.Objective(), []
    for count in range(200):
        objective.count = count
        sizes.append(int(objective.kept(torch.zeros(2)).sum()))
    assert set(sizes) == {1, 2}
    assert abs(sizes.count(2) - 120) <= 21


def test_batches_of_one_row_are_refused_and_move_no_statistic():
    for objective in (beta_dpo.Objective(), beta_dpo.Objective(alpha=0.0), beta_dpo.Objective(keep=1.0)):
        objective.check_batch(2)
        with pytest.raises(UserError, match=r"one row in it. Set align.batch_rows"):
            objective.check_batch(1)
    beta_dpo.Objective(alpha=0.0, keep=1.0).check_batch(1)
    objective = beta_dpo.Objective()
    objective.observe(of_margins(1.0, 3.0))
    before = objective.state()
    objective.observe(of_margins(40.0))
    assert objective.state() == before


def test_the_share_that_is_kept_and_its_scale():
    """8 of 10 rows are kept; the others have loss 0, and the mean over all is the mean over the kept."""
    objective = beta_dpo.Objective(alpha=0.0)
    batch = of_margins(*range(10))
    objective.observe(batch)
    losses = objective(batch)
    kept = losses > 0
    assert int(kept.sum()) == 8
    assert float(losses.mean()) == pytest.approx(float(dpo.Objective()(batch)[kept].mean()))


def test_outliers_are_dropped_first():
    """Two of ten margins are 50 standard deviations away: their weights are nothing beside the others'."""
    objective = beta_dpo.Objective()
    for _ in range(5):
        objective.observe(of_margins(*torch.linspace(-1, 1, 10).tolist()))
    kept = objective.kept(torch.tensor([0.0] * 8 + [40.0, -40.0]))
    assert kept.tolist() == [True] * 8 + [False] * 2


def test_evaluation_neither_filters_nor_moves_statistics():
    objective = beta_dpo.Objective()
    objective.observe(of_margins(1.0, 2.0))
    before = objective.state()
    losses = objective(of_margins(*range(1, 11), training=False))
    assert (losses > 0).all()
    assert objective.state() == before


def test_the_first_batch_of_a_policy_that_is_its_reference_is_a_plain_mean():
    """All margins are 0, so is their spread: rows are drawn alike, beta is beta, the loss is ln 2 over the kept."""
    objective = beta_dpo.Objective()
    batch = of_margins(*[0.0] * 10)
    objective.observe(batch)
    assert float(objective(batch).mean()) == pytest.approx(math.log(2))


def test_a_saved_state_gives_the_same_draws_and_betas():
    first, second = beta_dpo.Objective(), beta_dpo.Objective()
    first.observe(of_margins(1.0, 5.0, 2.0))
    second.restore(first.state())
    batch = of_margins(*range(10))
    torch.testing.assert_close(first(batch), second(batch))
    assert beta_dpo.Objective(seed=1).kept(torch.zeros(50)).tolist() != first.kept(torch.zeros(50)).tolist()


def test_beta_is_no_path_for_gradients():
    """The gradient is that of DPO with the dynamic beta as a constant."""
    objective = beta_dpo.Objective(keep=1.0)
    objective.observe(of_margins(1.0, 3.0))
    batch, same = (trained(full_batch()) for _ in range(2))
    objective(batch).sum().backward()
    beta = objective.dynamic_beta(beta_dpo.row_margins(same))
    dpo.Objective(beta)(same).sum().backward()
    torch.testing.assert_close(batch.policy_BC.grad, same.policy_BC.grad)


# ddo_rm


def test_ddo_rm_gradient_is_p_minus_q():
    """With the target constant, d loss / d s = (p - q) / tau, and s = log p(y) / tokens."""
    objective = ddo_rm.Objective(eta=0.7, tau=0.5)
    batch = full_batch()
    objective(batch).sum().backward()
    q = objective.target(batch)
    p = (batch.mean_logprobs_BC / 0.5).masked_fill(~batch.present_BC, -torch.inf).softmax(1)
    expected = torch.where(batch.present_BC, (p - q) / 0.5 / batch.num_tokens_BC, 0.0)
    torch.testing.assert_close(batch.policy_BC.grad, expected.detach())


def test_ddo_rm_published_gradient_has_an_entropy_term():
    """Without detaching: (p - q) / tau - q (log p - E_q log p) / tau."""
    objective = ddo_rm.Objective(detach_target=False)
    batch = full_batch(num_candidates=2)
    objective(batch).sum().backward()
    q = objective.target(batch).detach()
    log_p = batch.mean_logprobs_BC.detach().log_softmax(1)
    leak = q * (log_p - (q * log_p).sum(1, keepdim=True))
    torch.testing.assert_close(batch.policy_BC.grad, (log_p.exp() - q - leak) / batch.num_tokens_BC)


@pytest.mark.parametrize("anchored", [False, True])
def test_ddo_rm_moving_or_anchored_gradient_of_a_ragged_row_is_that_of_the_row_alone(anchored):
    objective = ddo_rm.Objective(detach_target=anchored, reference_anchored=anchored)
    wide = full_batch()
    objective(wide).sum().backward()
    assert torch.isfinite(wide.policy_BC.grad).all()
    for b in range(1, 6, 2):
        values = {k: getattr(wide, k)[b : b + 1, :3].detach() for k in ("reference_BC", "num_tokens_BC", "scores_BC")}
        policy = wide.policy_BC[b : b + 1, :3].detach().clone().requires_grad_()
        narrow = PreferenceBatch(policy, present_BC=torch.ones(1, 3, dtype=torch.bool), **values)
        objective(narrow).sum().backward()
        torch.testing.assert_close(wide.policy_BC.grad[b, :3], policy.grad[0])
        assert wide.policy_BC.grad[b, 3] == 0


@pytest.mark.parametrize("anchored", [False, True])
def test_the_target_of_ddo_rm_goes_with_its_candidates(anchored):
    """Any order of all places, the chosen answer's and the empty ones among them: the same numbers in that order, 0
    where there is no candidate."""
    objective, batch = ddo_rm.Objective(reference_anchored=anchored), full_batch()
    for order in ([3, 1, 0, 2], [1, 2, 3, 0]):
        names = ("policy_BC", "reference_BC", "num_tokens_BC", "present_BC", "scores_BC")
        moved = PreferenceBatch(*(getattr(batch, name)[:, order] for name in names))
        torch.testing.assert_close(objective.target(moved), objective.target(batch)[:, order])
        torch.testing.assert_close(objective(moved), objective(batch))
        assert not objective.target(moved)[~moved.present_BC].any()
        torch.testing.assert_close(objective.target(moved).sum(1), torch.ones(6).double())


def test_the_target_of_ddo_rm_is_p_tilted_by_rewards_centred_under_p():
    """(tau / eta) log(q / p), less its mean under p, is R - E_p R; so E_q R is above E_p R."""
    objective, batch = ddo_rm.Objective(eta=0.7, tau=0.5), full_batch(num_candidates=2)
    p = (batch.mean_logprobs_BC.detach() / 0.5).softmax(1)
    q = objective.target(batch)

    def centred(values):
        return values - (p * values).sum(1, keepdim=True)

    torch.testing.assert_close(centred(0.5 / 0.7 * (q / p).log()), centred(batch.scores_BC))
    assert ((q * centred(batch.scores_BC)).sum(1) > 0).all()


@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_ddo_rm_for_large_eta_is_dpo_per_token_without_a_reference(tau):
    """Two candidates: the target is all on the one with the higher reward, -log s((s_best - s_other) / tau): DPO with
    beta = 1 / tau on means, whose reference finds both alike. Value and gradient."""
    batch = replace(full_batch(num_candidates=2), scores_BC=torch.tensor([[1.0, 0.0]] * 6).double())
    means = batch.mean_logprobs_BC.detach().requires_grad_()
    like = replace(batch, policy_BC=means, reference_BC=torch.zeros_like(means))
    found, limit = ddo_rm.Objective(eta=1e6, tau=tau)(batch), dpo.Objective(1 / tau)(like)
    torch.testing.assert_close(found, limit)
    assert not torch.allclose(ddo_rm.Objective(eta=1.0, tau=tau)(batch), limit)
    found.sum().backward()
    limit.sum().backward()
    torch.testing.assert_close(batch.policy_BC.grad, means.grad / batch.num_tokens_BC)


def test_the_gap_grows_by_eta_times_the_rewards_in_every_exact_step():
    """Three steps, each to the optimum of its target: gaps of 0.2 + 3 * 0.7 * (R_w - R_l)."""
    policy, scores = torch.tensor([[0.2, 0.0]]).double(), torch.tensor([[1.5, 1.0]]).double()
    for _ in range(3):
        batch = PreferenceBatch(policy, 0 * policy, torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), scores)
        policy = ddo_rm.Objective(eta=0.7).target(batch).log()
    assert float(policy[0, 0] - policy[0, 1]) == pytest.approx(0.2 + 3 * 0.7 * 0.5)


def test_ddo_rm_with_eta_0_or_equal_rewards_has_no_gradient():
    for objective, batch in (
        (ddo_rm.Objective(eta=0.0), full_batch()),
        (ddo_rm.Objective(), replace(full_batch(), scores_BC=torch.full((6, 4), 2.0).double())),
    ):
        objective(batch).sum().backward()
        assert float(batch.policy_BC.grad.abs().max()) < 1e-12


def test_ddo_rm_does_not_see_shifts_of_rewards_and_takes_eta_for_their_scale():
    batch = full_batch()
    plain = ddo_rm.Objective(eta=2.0)(batch)
    torch.testing.assert_close(plain, ddo_rm.Objective(eta=2.0)(replace(batch, scores_BC=batch.scores_BC + 7)))
    torch.testing.assert_close(plain, ddo_rm.Objective(eta=1.0)(replace(batch, scores_BC=2 * batch.scores_BC)))


def test_ddo_rm_of_two_candidates_by_hand():
    """q(chosen) = s(g + eta (R_w - R_l)) with g the gap of means: 0.5 and 1 give s(1.5)."""
    batch = PreferenceBatch(
        torch.tensor([[-5.0, -10.0]]), torch.zeros(1, 2), torch.tensor([[10, 10]]),
        torch.ones(1, 2, dtype=torch.bool), torch.tensor([[1.0, 0.0]]),
    )  # fmt: skip
    assert float(ddo_rm.Objective().target(batch)[0, 0]) == pytest.approx(1 / (1 + math.exp(-1.5)))


def test_the_anchored_optimum_is_the_reference_tilted_by_the_rewards():
    """At log p = log p_ref + eta R (per token) the loss has no gradient; the moving target has one there."""
    batch = full_batch(num_candidates=2)
    optimum = (batch.mean_reference_BC + batch.scores_BC) * batch.num_tokens_BC
    for anchored in (True, False):
        at = replace(batch, policy_BC=optimum.clone().requires_grad_())
        ddo_rm.Objective(reference_anchored=anchored)(at).sum().backward()
        assert (float(at.policy_BC.grad.abs().max()) < 1e-9) == anchored


# dph


def test_dph_without_the_head_is_dpo():
    batch = full_batch()
    objective = dph.Objective(weight=0.0, dpo_smoothing=0.0)
    torch.testing.assert_close(objective(batch), dpo.Objective()(batch))


def test_the_contrastive_head_without_smoothing_is_bradley_terry():
    batch = full_batch(num_candidates=2)
    objective = dph.Objective(loss="contrastive", label_smoothing=0.0, dpo_weight=0.0)
    expected = [nls(row["head"][0] - row["head"][1]) for row in rows_of(batch)]
    assert objective(batch).tolist() == pytest.approx(expected)


def test_the_contrastive_head_of_implicit_rewards_is_conservative_dpo():
    batch = full_batch()
    head = replace(batch, head_BC=0.1 * batch.ratio_BC)
    objective = dph.Objective(loss="contrastive", label_smoothing=0.2, dpo_weight=0.0)
    expected = dpo.Objective(label_smoothing=0.2)(batch).float()
    torch.testing.assert_close(objective(head), expected)


def test_a_constant_on_all_rewards_changes_no_order_and_no_contrastive_loss():
    batch = full_batch()
    moved = replace(batch, head_BC=batch.head_BC + 5)
    objective = dph.Objective(loss="contrastive")
    torch.testing.assert_close(objective(moved), objective(batch))
    assert objective.metrics(moved) == objective.metrics(batch)
    assert (moved.head_BC.argmax(1) == batch.head_BC.argmax(1)).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_the_separable_optimum(sign):
    """At r = +-log((1 - e) / e) for chosen and rejected the gradient is 0; with signs turned it is not."""
    reward = sign * math.log(9)
    batch = replace(full_batch(1, 2), head_BC=torch.tensor([[reward, -reward]], requires_grad=True))
    dph.Objective(label_smoothing=0.1, dpo_weight=0.0)(batch).sum().backward()
    assert (float(batch.head_BC.grad.abs().max()) < 1e-6) == (sign == 1)


# settings


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("dpo", {"beta": 0}),
        ("dpo", {"loss": "sigmoidal"}),
        ("dpo", {"loss": "hinge", "label_smoothing": 0.1}),
        ("dpo", {"loss": "robust", "label_smoothing": 0.5}),
        ("s_dpo", {"beta": "big"}),
        ("beta_dpo", {"keep": 0}),
        ("beta_dpo", {"keep": 1.5}),
        ("beta_dpo", {"momentum": 1.0}),
        ("ddo_rm", {"tau": -1}),
        ("dph", {"pooler": "bert"}),
        ("dph", {"loss": "seperable"}),
        ("s_dpo", {"negatives": 3}),
        ("beta_dpo", {"seed": 0.5}),
        ("ddo_rm", {"detach_target": "false"}),
        ("ddo_rm", {"detach_target": 0}),
        ("ddo_rm", {"reference_anchored": "yes"}),
        ("ddo_rm", {"detach_target": False, "reference_anchored": True}),
        ("dpo", {"beta": True}),
        ("dpo", {"beta": float("nan")}),
        ("dpo", {"loss": ["sigmoid"]}),
        ("dph", {"head_decay": "0.1"}),
    ],
)
def test_settings_that_make_no_loss_are_refused_with_their_name(name, settings):
    with pytest.raises(UserError, match=next(iter(settings)) + "|loss|Allowed"):
        load_objective(name, settings)
