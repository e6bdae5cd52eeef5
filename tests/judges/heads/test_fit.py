"""The labelled data, the fits, and that the shipped weights are what the fits give."""

from __future__ import annotations

import json
from collections import Counter
from hashlib import sha256

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from domains.readers import rows
from domains.splits import split_of
from judges.heads import fit, fit_politeness
from judges.heads.fit import AXES, Settings, Table
from judges.heads.head import facts, load_heads

REPLIES = [json.loads(line) for _, line in rows(fit.DATA)]
REQUESTS = [json.loads(line) for _, line in rows(fit_politeness.DATA)]


def test_the_replies_are_many_different_and_labelled():
    assert len(REPLIES) >= 400
    assert len({row["id"] for row in REPLIES}) == len({row["reply"] for row in REPLIES}) == len(REPLIES)
    assert all(row[axis] in (0, 1, 2) for row in REPLIES for axis in AXES)
    assert sum(row["style"] == "forum" for row in REPLIES) >= 0.6 * len(REPLIES)
    openings = Counter(" ".join(row["reply"].lower().split()[:3]) for row in REPLIES)
    assert openings.most_common(1)[0][1] <= 0.02 * len(REPLIES)
    assert min(Counter(row["kind"] for row in REPLIES).values()) >= 5


def test_formulas_are_never_labelled_strong():
    formulas = [row for row in REPLIES if row["kind"] == "formula"]
    assert len(formulas) >= 20
    assert max(row[axis] for row in formulas for axis in AXES) == 1


def test_the_requests_are_many_different_and_labelled():
    assert len(REQUESTS) >= 150
    assert len({row["text"] for row in REQUESTS}) == len(REQUESTS)
    assert {row["label"] for row in REQUESTS} == set(fit_politeness.TARGETS)


def test_posts_are_in_one_split_and_every_level_is_in_train():
    seen = [row for row in REPLIES if split_of(row["id"].partition("-")[0]) != "test"]
    for axis in AXES:
        assert {row[axis] for row in seen} == {0, 1, 2}
        assert {row[axis] for row in REPLIES if row not in seen} == {0, 1, 2}


def planted(n: int = 60) -> Table:
    """Rows whose first measure is the level of the first axis; the second axis is noise; posts have three replies."""
    levels = np.arange(n) % 3
    measures = np.zeros((n, len(fit.NAMES)))
    measures[:, 0] = levels
    labels = np.stack([levels, (np.arange(n) // 3 + np.arange(n)) % 3, levels], axis=1)
    posts = tuple(f"p{i // 3}" for i in range(n))
    return Table(measures, np.zeros((n, 4)), labels, posts, ("forum",) * n)


def test_a_planted_signal_is_learned_and_calibrated():
    table = planted()
    head = fit.fit_head(table, 0, Settings(strength=10.0, vector_scale=1.0))
    found = fit.probabilities(head, table)
    assert (found.argmax(-1) == table.labels[:, 0]).all()
    assert found.sum(-1) == pytest.approx(np.ones(len(found)), abs=1e-5)


def test_fitting_twice_gives_the_same_weights():
    first, second = (fit.fit_head(planted(), 0, Settings(0.1, 2.0)) for _ in range(2))
    assert torch.equal(first.measures_CF, second.measures_CF)


def test_a_level_without_rows_is_refused():
    with pytest.raises(ValueError, match="only the levels"):
        fit.fit_head(planted().where(planted().labels[:, 0] != 2), 0, Settings(0.1, 0.0))


def test_calibration_error_by_hand():
    """Two rows at confidence 0.8, one right: |1.6 - 1| / 2 = 0.3."""
    assert fit.calibration_error(np.array([[0.8, 0.2], [0.8, 0.2]]), np.array([0, 1])) == pytest.approx(0.3)


def test_rank_correlation_equals_scipy_with_ties():
    first, second = np.array([1.0, 2, 2, 5, 3, 0]), np.array([0.0, 1, 1, 1, 4, 2])
    assert fit.spearman(first, second) == pytest.approx(spearmanr(first, second).statistic)


@pytest.mark.parametrize(("data", "weights"), [(fit.DATA, fit.WEIGHTS), (fit_politeness.DATA, fit_politeness.WEIGHTS)])
def test_the_weights_are_of_this_data(data, weights):
    assert facts(weights)["data"] == sha256(data.read_bytes()).hexdigest()


@pytest.mark.slow
def test_fitting_again_gives_the_shipped_heads_and_they_beat_the_majority_on_test_rows():
    table = fit.load_table(fit.DATA)
    heads = fit.fit_heads(table, fit.shipped_settings())
    for name, shipped in load_heads(fit.WEIGHTS).items():
        assert shipped.names == fit.NAMES
        for part in ("bias_C", "measures_CF", "vector_CD", "tilt_C"):
            torch.testing.assert_close(getattr(heads[name], part), getattr(shipped, part), atol=0.02, rtol=0.02)
    found = fit.measured(heads, table.where(table.held_out))
    for axis in AXES:
        assert found[f"{axis}_macro_f1"] > found[f"{axis}_majority"] + 0.3
        assert found[f"{axis}_calibration_error"] < 0.1
    assert found["spearman_sum"] > 0.7


@pytest.mark.slow
def test_fitting_the_tone_again_gives_the_shipped_head():
    again, shipped = fit_politeness.refitted(), load_heads(fit_politeness.WEIGHTS)[fit_politeness.HEAD]
    torch.testing.assert_close(again.vector_CD, shipped.vector_CD, atol=0.02, rtol=0.02)
    requests = fit_politeness.load_requests()
    assert fit_politeness.measured(again, requests.where(requests.held_out))["accuracy"] > 0.8
