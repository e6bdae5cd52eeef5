"""The bench of a CUDA device: refused without one, its numbers by hand."""

from types import SimpleNamespace

import pytest
import torch

from domains.errors import UserError
from experts.benches.device import Task, peak, row_of, run


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a device")
def test_it_is_refused_in_one_sentence_without_a_device():
    with pytest.raises(UserError, match=r"needs a CUDA device and this machine has none; .*\.$"):
        run()


def test_the_share_of_the_peak_by_hand():
    """Steps of 9, 9 (to warm up), 2, 1, 2, 2 s: the median of the last four is 2. 1,000 tokens in 2 s are 500 a second;
    4 x 134.5e6 operations each are 2.69e11, a tenth of 2.69e12."""
    racer = SimpleNamespace(seconds=[9, 9, 2, 1, 2, 2], losses=[1.0, 0.5], peak_mb=123.4)
    row = row_of(Task("dpo", "ours", 4), racer, 1000, 2.69e12)
    assert (row["tokens_per_second"], row["share_of_peak"], row["peak_mb"]) == (500, 0.1, 123)


def test_peaks_of_known_devices():
    assert peak("NVIDIA H100 80GB HBM3") == 989e12
    assert peak("NVIDIA A100-SXM4-40GB") == 312e12
