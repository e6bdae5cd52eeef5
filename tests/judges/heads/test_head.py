"""A head by hand-derived numbers; its file; the error when the file is missing."""

from __future__ import annotations

from math import log
from pathlib import Path

import pytest
import torch

from domains.errors import UserError
from judges.heads.head import Head, facts, load_heads, matrix, save_heads


def head() -> Head:
    return Head(
        ("a", "b"),
        bias_C=torch.tensor([0.0, log(3.0)]),
        measures_CF=torch.tensor([[0.0, 0.0], [log(2.0), 0.0]]),
        vector_CD=torch.tensor([[0.0], [1.0]]),
        tilt_C=torch.tensor([log(4.0), 0.0]),
    )


def test_probabilities_by_hand():
    """Odds of class 1: 3 at zero; times 2 with a = 1 -> 6; times e with the vector at 1 -> 3e."""
    found = head().probabilities(
        torch.tensor([[0.0, 9.0], [1.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0], [0.0], [1.0]])
    )
    odds = (found[:, 1] / found[:, 0]).tolist()
    assert odds == pytest.approx([3.0, 6.0, 3 * 2.718281828], rel=1e-5)


def test_the_tilt_moves_the_reported_class_only():
    """Odds 3 against a tilt of 4 for class 0: class 0; odds 6 against 4: class 1."""
    assert head().levels(torch.tensor([[0.25, 0.75], [1 / 7, 6 / 7]])) == [0, 1]


def test_saved_and_loaded(tmp_path: Path):
    save_heads(tmp_path / "h.safetensors", {"x": head(), "y": head()}, {"note": "n"})
    loaded = load_heads(tmp_path / "h.safetensors")
    assert list(loaded) == ["x", "y"]
    assert loaded["y"].names == ("a", "b")
    assert torch.equal(loaded["x"].bias_C, head().bias_C)
    assert facts(tmp_path / "h.safetensors")["note"] == "n"


def test_a_missing_file_is_the_users_to_fix(tmp_path: Path):
    with pytest.raises(UserError, match="Install the package again"):
        load_heads(tmp_path / "none.safetensors")


def test_matrix_keeps_the_order_of_the_names():
    assert matrix([{"b": 2.0, "a": 1.0}], ("a", "b")).tolist() == [[1.0, 2.0]]
    assert matrix([], ("a", "b")).shape == (0, 2)
