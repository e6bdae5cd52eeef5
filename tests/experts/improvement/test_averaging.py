"""Averaging of adapters: exact at full rank, the nearest at a lower one."""

from __future__ import annotations

import pytest
import torch

from domains.errors import UserError
from experts.checkpoint import LowRank, read_adapter, write_adapter
from experts.improvement.averaging import average, average_folders, bounded, truncated


def low_rank(seed, rank=2, rows=6, columns=5, scaling=2.0):
    generator = torch.Generator().manual_seed(seed)
    return LowRank(
        torch.randn(rank, columns, generator=generator), torch.randn(rows, rank, generator=generator), scaling
    )


def test_the_mean_is_exact_at_full_rank_and_a_missing_matrix_counts_as_nothing():
    first, second = {"a": low_rank(0), "b": low_rank(1)}, {"a": low_rank(2)}
    found = average([first, second])
    assert found.lost == 0
    torch.testing.assert_close(found.updates["a"].delta(), (first["a"].delta() + second["a"].delta()) / 2)
    torch.testing.assert_close(found.updates["b"].delta(), first["b"].delta() / 2)


def test_the_mean_of_one_adapter_with_itself_loses_nothing_at_its_own_rank():
    found = average([{"a": low_rank(0)}] * 3, rank=2)
    torch.testing.assert_close(found.updates["a"].delta(), low_rank(0).delta(), rtol=1e-4, atol=1e-5)
    assert found.lost == pytest.approx(0, abs=1e-5)
    assert found.updates["a"].down.shape == (2, 5)


def test_the_cut_is_the_nearest_matrix_of_its_rank():
    """The best rank-2 error of a matrix is the norm of its other singular values (Eckart and Young)."""
    update = low_rank(3, rank=4)
    values = torch.linalg.svdvals(update.delta())
    error = torch.linalg.norm(update.delta() - truncated(update, 2).delta())
    assert float(error) == pytest.approx(float(values[2:].square().sum().sqrt()), rel=1e-4)
    lost = average([{"a": update}], rank=2).lost
    assert lost == pytest.approx(float(values[2:].square().sum() / values.square().sum()), rel=1e-3)


def test_a_rank_above_that_of_the_matrix_is_padded():
    assert truncated(low_rank(0, rank=2, rows=3, columns=3), 5).down.shape == (5, 3)


def test_folders_are_averaged(tmp_path):
    for name, seed in (("x", 0), ("y", 1)):
        write_adapter({"layer.q": low_rank(seed)}, tmp_path / "base", tmp_path / name)
    average_folders([tmp_path / "x", tmp_path / "y"], tmp_path / "base", 4, tmp_path / "mean")
    expected = (low_rank(0).delta() + low_rank(1).delta()) / 2
    torch.testing.assert_close(read_adapter(tmp_path / "mean")["layer.q"].delta(), expected, rtol=1e-4, atol=1e-5)


def test_nothing_cannot_be_averaged():
    with pytest.raises(UserError, match="at least one"):
        average([])


def test_an_adapter_is_cut_only_beyond_a_rank_and_says_what_it_lost():
    """The share lost is that of the squared singular values beyond the rank."""
    update = low_rank(3, rank=4)
    whole, cut = bounded({"a": update}, 4), bounded({"a": update}, 2)
    assert whole.updates["a"] is update
    assert whole.lost == 0
    values = torch.linalg.svdvals(update.delta()).square()
    assert cut.updates["a"].down.shape[0] == 2
    assert cut.lost == pytest.approx(float(values[2:].sum() / values.sum()), rel=1e-3)
