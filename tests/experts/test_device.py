"""The number format follows what the processor is fast at, and the environment has the last word."""

import time

import pytest
import torch

from domains.errors import UserError
from experts import device

BF16 = torch.bfloat16


@pytest.fixture
def processor(monkeypatch):
    """A machine without an accelerator whose processor has fast bf16, or not."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.delenv(device.DTYPE, raising=False)
    return lambda fast: monkeypatch.setattr(device, "has_fast_bf16", lambda: fast)


@pytest.mark.parametrize(("fast", "dtype"), [(True, BF16), (False, torch.float32)])
def test_bf16_only_where_it_is_fast(processor, fast, dtype):
    processor(fast)
    found = device.probe()
    assert (found.dtype, found.bf16) == (dtype, dtype == BF16)


@pytest.mark.parametrize(("name", "dtype"), [("bfloat16", BF16), ("float32", torch.float32)])
@pytest.mark.parametrize("fast", [True, False])
def test_the_environment_decides(processor, monkeypatch, fast, name, dtype):
    processor(fast)
    monkeypatch.setenv(device.DTYPE, name)
    assert device.probe().dtype == dtype


def test_another_format_is_refused(processor, monkeypatch):
    processor(True)
    monkeypatch.setenv(device.DTYPE, "float16")
    with pytest.raises(UserError, match="it takes bfloat16 or float32"):
        device.probe()


def test_a_processor_with_fast_bf16_is_not_slower_in_it():
    """The answer for this processor against the clock: products in the format that is chosen take at most five times as
    long as in the other one (a hundred times, where the instructions are missing and bf16 is taken all the same)."""

    def seconds(dtype):
        a = torch.ones(256, 256, dtype=dtype)
        a @ a
        times = []
        for _ in range(5):
            start = time.perf_counter()
            a @ a
            times.append(time.perf_counter() - start)
        return min(times)

    chosen, other = (BF16, torch.float32) if device.has_fast_bf16() else (torch.float32, BF16)
    assert seconds(chosen) < 5 * seconds(other)
