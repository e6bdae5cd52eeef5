"""The head of `nearest` as weights for all labels."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from router.calibration import softmax
from router.strategies.nearest import expand


@pytest.mark.parametrize("classes", [(0, 1, 2), (0, 2), (1, 2)])
def test_expand_keeps_the_probabilities_of_the_classes_that_were_seen(classes):
    """Two classes are one logistic function (sigma(z) = softmax(-z/2, z/2)); a class never seen gets none."""
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(30, 3))
    labels = [classes[i % len(classes)] for i in range(30)]
    model = LogisticRegression().fit(scores, labels)
    weights, bias = expand(model, 3)
    found = softmax(scores @ weights.T + bias)
    assert found[:, list(classes)] == pytest.approx(model.predict_proba(scores), abs=1e-9)
    assert found[:, [c for c in range(3) if c not in classes]].sum() == pytest.approx(0.0, abs=1e-9)
