"""What this machine can do: device, dtype, attention kernel. Probed once, so that no library guesses."""

from __future__ import annotations

import ctypes
import gc
import os
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch

from domains.errors import UserError
from experts.attention import FLEX, flex_works
from experts.lean_attention import register

DTYPE = "EXPERTSMITH_DTYPE"

# glibc's mallopt: keep large freed blocks instead of returning them to the kernel. Tensors of 100 MB come and go in
# every step; without this a quarter of a CPU training step is page faults.
MALLOPT_TRIM_THRESHOLD, MALLOPT_TOP_PAD, MALLOPT_MMAP_THRESHOLD = -1, -2, -3


@dataclass(frozen=True)
class Device:
    """A torch device with the number format and the attention kernels to use on it."""

    name: Literal["cpu", "cuda", "mps"]
    dtype: torch.dtype
    train_attention: str
    score_attention: str

    @property
    def is_cpu(self) -> bool:
        """True when there is no accelerator."""
        return self.name == "cpu"

    @property
    def bf16(self) -> bool:
        """Whether training runs under bf16 autocast."""
        return self.dtype == torch.bfloat16


def probe(tune_allocator: bool = True) -> Device:
    """The best device of this machine. On a CPU, training has an attention of its own (`lean_attention`), and numbers
    are bf16 only where the processor multiplies them fast: without such instructions a product takes a hundred times as
    long as in fp32. EXPERTSMITH_DTYPE (bfloat16 or float32) sets the number format."""
    if torch.cuda.is_available() and os.environ.get("ACCELERATE_USE_CPU", "").lower() != "true":
        return Device("cuda", wanted(torch.bfloat16), cuda_attention(), "sdpa")
    if torch.backends.mps.is_available():
        return Device("mps", wanted(torch.float32), "sdpa", "sdpa")
    if tune_allocator:
        keep_freed_memory()
    return Device("cpu", wanted(torch.bfloat16 if has_fast_bf16() else torch.float32), register(), "sdpa")


@cache
def has_fast_bf16() -> bool:
    """Whether this processor has the instructions (AVX-512, AMX, Arm's bf16) that torch's products in bf16 need; torch
    has no public name for the question."""
    asked = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return bool(asked and asked())


def wanted(default: torch.dtype) -> torch.dtype:
    """The number format that the environment asks for, or the default."""
    name = os.environ.get(DTYPE, "")
    if name not in ("", "bfloat16", "float32"):
        raise UserError(f"{DTYPE} is '{name}'; it takes bfloat16 or float32. Correct it or unset it.")
    return {"bfloat16": torch.bfloat16, "float32": torch.float32}.get(name, default)


@cache
def cuda_attention() -> str:
    """FlexAttention for training where it compiles and agrees with SDPA, which is asked once; else SDPA."""
    return FLEX if flex_works("cuda") else "sdpa"


def glibc() -> ctypes.CDLL | None:
    """The C library, where it is glibc."""
    try:
        return ctypes.CDLL("libc.so.6") if os.name == "posix" else None
    except OSError:
        return None


def release_memory() -> None:
    """Give what is no longer used back to the system, between two models."""
    gc.collect()
    libc = glibc()
    if libc is not None:
        libc.malloc_trim(0)


def keep_freed_memory() -> None:
    """Tell glibc to reuse large blocks (no effect elsewhere)."""
    libc = glibc()
    if libc is None:
        return
    libc.mallopt(MALLOPT_MMAP_THRESHOLD, 2**30)
    libc.mallopt(MALLOPT_TRIM_THRESHOLD, 2**31 - 1)
    libc.mallopt(MALLOPT_TOP_PAD, 2**26)
