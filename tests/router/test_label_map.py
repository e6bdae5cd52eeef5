"""The map from label scores to logits: what calibration takes out, and what is learnt on top."""

import numpy as np
import pytest

from router.calibration import softmax
from router.label_map import LabelMap, fit_map

PRIOR = np.array([0.0, 5.0, -3.0])
NOTHING = np.zeros((0, 3))


def drawn(size, seed=0):
    """Scores that favour the right label, on top of the prior of the prompt."""
    generator = np.random.default_rng(seed)
    targets = [i % 3 for i in range(size)]
    return PRIOR + 2.0 * np.eye(3)[targets] + generator.normal(size=(size, 3)), targets


def test_without_rows_the_calibrated_scores_decide():
    """softmax(scores - prior): what is as likely as without content is as likely as anything else."""
    found = fit_map(NOTHING, PRIOR, [])
    assert found(PRIOR[None]) == pytest.approx(np.full((1, 3), 1 / 3))
    scores, _ = drawn(9)
    assert found(scores) == pytest.approx(softmax(scores - PRIOR))
    assert fit_map(NOTHING, 0 * PRIOR, [])(scores) == pytest.approx(softmax(scores))


def test_the_prior_matters():
    """With a row per label, maps with different priors differ, and the right prior is right more often."""
    scores, targets = drawn(3)
    held_out, wanted = drawn(300, seed=1)
    right = {}
    for name, prior in (("none", 0 * PRIOR), ("right", PRIOR), ("wrong", np.array([100.0, -7.0, 3.0]))):
        right[name] = float(np.mean(fit_map(scores, prior, targets)(held_out).argmax(axis=1) == wanted))
    assert right["right"] > right["none"] + 0.1
    assert right["right"] > right["wrong"] + 0.05


def test_what_a_request_without_content_gets_is_taken_out():
    """A constant added to one label's scores, those without content included, changes no probability."""
    scores, targets = drawn(30)
    plain = fit_map(scores, PRIOR, targets)
    shift = np.array([0.0, 5.0, -3.0])
    moved = fit_map(scores + shift, PRIOR + shift, targets)
    assert moved(scores + shift) == pytest.approx(plain(scores), abs=1e-6)


def test_many_rows_correct_a_wrong_prior():
    """With 600 rows the map without a prior is as good as the one with it."""
    scores, targets = drawn(600)
    held_out, wanted = drawn(300, seed=1)
    right = [np.mean(fit_map(scores, p, targets)(held_out).argmax(axis=1) == wanted) for p in (PRIOR, 0 * PRIOR)]
    assert right[1] == pytest.approx(right[0], abs=0.03)


def test_a_label_without_rows_keeps_its_score():
    """Rows of two labels teach their gain; the third still wins where it is much likelier."""
    scores, targets = drawn(90)
    rows = [row for row, target in enumerate(targets) if target != 2]
    found = fit_map(scores[rows], PRIOR, [targets[row] for row in rows])
    assert found((PRIOR + [0.0, 0.0, 20.0])[None]).argmax() == 2


def test_the_map_is_linear():
    found = LabelMap(np.eye(2), np.array([0.0, np.log(3)]))
    assert found(np.zeros((1, 2))) == pytest.approx(np.array([[0.25, 0.75]]))
