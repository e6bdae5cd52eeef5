"""The bench of the residual: generated models, what is measured from outside, rows with a reason; no other package."""

import os
import sys

import pytest
import torch

from domains.errors import UserError
from experts.benches._process import Measured, measured
from experts.benches._trio import Shape, write_trio
from experts.benches.residual import largest_difference, merge, rotated, row_of, run
from experts.residual import Weights, apply


@pytest.fixture(scope="module")
def trio(tmp_path_factory):
    """Three models of about 20 MB each and their size."""
    return write_trio(tmp_path_factory.mktemp("trio"), 2 * 10**7)


def test_generated_models_have_the_size_and_are_near_each_other(trio):
    parents, size = trio
    assert size == pytest.approx(2 * 10**7, rel=0.1)
    base, dapt = Weights(parents.base), Weights(parents.dapt)
    assert len(base.shards()) > 2
    assert sum(path.stat().st_size for path in parents.base.glob("*.safetensors")) == pytest.approx(size, rel=0.01)
    name = "model.layers.0.mlp.up_proj.weight"
    gap = (base.tensor(name).float() - dapt.tensor(name).float()).abs()
    assert 0 < float(gap.max()) < 0.05
    assert Shape.of(2 * 10**9).hidden == 2048


def test_the_difference_is_found_and_ours_is_one_rounding(trio, tmp_path):
    """Stored in bf16 (8 bits), values below 0.25 are at most half of 2**-10 off; the base alone is further away."""
    parents, _ = trio
    apply(parents, 1.0, tmp_path / "out", torch.bfloat16)
    assert largest_difference(parents, tmp_path / "out") <= 2**-11
    assert largest_difference(parents, parents.base) > 2**-9


HUNGRY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "x = b'x' * 60_000_000; import time; time.sleep(1)"])
x = b"x" * 80_000_000
child.wait()
"""


def test_memory_of_children_counts_too():
    """80 MB in the process and 60 MB in its child at the same time, beside two interpreters."""
    found = measured([sys.executable, "-c", HUNGRY], os.environ)
    assert found.status == 0
    assert 133 < found.anonymous_mb < found.peak_mb < 250
    assert found.seconds > 1 > found.cpu_seconds


def test_a_command_that_fails_is_a_row_with_its_reason(trio, tmp_path):
    parents, _ = trio
    failed = measured([sys.executable, "-c", "import sys; sys.exit('no such package')"], os.environ)
    assert (failed.status, failed.errors.strip()) == (1, "no such package")
    row = row_of("mergekit", [failed], parents, tmp_path)
    assert row == {
        "name": "mergekit", "seconds": None, "peak_mb": None, "max_abs_difference": None, "reason": "no such package"
    }  # fmt: skip


def test_a_contender_that_is_not_installed_says_so(trio, tmp_path):
    """An interpreter without any packages."""
    parents, _ = trio
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    bare.chmod(0o755)
    row = row_of("mergekit", [merge("mergekit", parents, tmp_path / "out", str(bare))], parents, tmp_path / "out")
    assert "No module named 'mergekit'" in row["reason"]


def test_the_medians_and_the_order(trio, tmp_path):
    parents, _ = trio
    runs = [Measured(seconds, seconds / 2, 10 * seconds, 5 * seconds, 0, "") for seconds in (3.0, 1.0, 2.0)]
    row = row_of("ours", runs, parents, parents.base)
    assert (row["seconds"], row["peak_mb"], row["cpu_seconds"], row["all_seconds"]) == (2.0, 20.0, 1.0, [3.0, 1.0, 2.0])
    assert [rotated(number)[0] for number in range(4)] == ["ours", "mergekit", "residuals", "ours"]


def test_too_few_bytes_are_refused():
    with pytest.raises(UserError, match="--bytes 5 is too small"):
        run(num_bytes=5)


@pytest.mark.slow
def test_a_merge_takes_the_memory_of_some_blocks(tmp_path):
    """A model of 180 MB in bf16 against one of 60 MB: the memory does not follow the model's size."""
    memory_mb = []
    sizes_mb = []
    for number, num_bytes in enumerate((6 * 10**7, 18 * 10**7)):
        parents, size = write_trio(tmp_path / f"trio{number}", num_bytes)
        found = merge("ours", parents, tmp_path / f"out{number}", "")
        assert found.status == 0, found.errors
        memory_mb.append(found.anonymous_mb)
        sizes_mb.append(size / 2**20)
    assert memory_mb[1] - memory_mb[0] < 0.5 * (sizes_mb[1] - sizes_mb[0])
