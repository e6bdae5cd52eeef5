"""One shard of the instruction residual, in blocks of some megabytes that threads read, add in fp32 and write.

Memory is a few blocks a thread, whatever the size of a tensor.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from experts.weight_files import Place, Readers, ShardFile, Wanted, new_shard

BLOCK = 1 << 19
MAX_THREADS = 8
NOTES_ROOM = 96


@dataclass(frozen=True)
class Term:
    """One tensor of the sum. Where rows do not line up, `base_rows` and `dapt_rows` have the row of each row of the
    instruct model, -1 where there is none."""

    dapt: Place
    base: Place
    instruct: Place
    base_rows: Tensor | None = None
    dapt_rows: Tensor | None = None

    @property
    def num_weights(self) -> int:
        """Numbers in the result."""
        return self.instruct.num_weights

    @property
    def places(self) -> tuple[Place, Place, Place]:
        """All that is read."""
        return self.dapt, self.base, self.instruct


@dataclass(frozen=True)
class Counts:
    """Tensors; weights that have a counterpart in the domain model; how many changed, and how many changes vanished
    when stored."""

    num_tensors: int = 0
    num_weights: int = 0
    num_changed: int = 0
    num_lost_to_rounding: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def text(self) -> str:
        """The counts as a note in a file."""
        return " ".join(map(str, astuple(self)))

    @classmethod
    def from_text(cls, text: str) -> Counts:
        """Read the note."""
        return cls(*map(int, text.split()))


class Buffers(threading.local):
    """A thread's memory: flat tensors that are used again for every block."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, torch.dtype], Tensor] = {}

    def take(self, use: str, dtype: torch.dtype, num_weights: int) -> Tensor:
        """A flat tensor with any content."""
        key = use, dtype
        if key not in self.kept or self.kept[key].numel() < num_weights:
            self.kept[key] = torch.empty(num_weights, dtype=dtype)
        return self.kept[key][:num_weights]


@dataclass(frozen=True)
class Merging:
    """What all blocks of a shard share."""

    readers: Readers
    shard: ShardFile
    scale: float
    dtype: torch.dtype
    buffers: Buffers

    def block(self, name: str, term: Term, first: int, size: int) -> Counts:
        """Numbers `first` to `first + size` of a tensor whose rows line up."""
        dapt, base, instruct = (self.buffers.take(use, place.dtype, size) for use, place in named(term))
        for place, buffer in zip(term.places, (dapt, base, instruct), strict=True):
            self.readers.read(place, first, buffer)
        exact = self.buffers.take("exact", torch.float32, size)
        add(exact, dapt, base, instruct, self.scale)
        stored = self.stored(exact)
        self.shard.write(name, first, stored)
        return count(exact, stored, dapt)

    def rows(self, name: str, term: Term, first: int, num_rows: int) -> Counts:
        """Rows of a vocabulary tensor in the instruct model's order; tokens of it alone keep its rows."""
        assert term.base_rows is not None
        assert term.dapt_rows is not None
        width, span = term.instruct.row_weights, slice(first, first + num_rows)
        base_rows, dapt_rows = term.base_rows[span], term.dapt_rows[span]
        known = (base_rows >= 0) & (dapt_rows >= 0)
        instruct = self.buffers.take("instruct", term.instruct.dtype, num_rows * width).view(num_rows, width)
        self.readers.read(term.instruct, first * width, instruct)
        dapt = torch.empty(int(known.sum()), width, dtype=term.dapt.dtype)
        base = torch.empty(len(dapt), width, dtype=term.base.dtype)
        self.readers.read_rows(term.dapt, dapt_rows[known].tolist(), dapt)
        self.readers.read_rows(term.base, base_rows[known].tolist(), base)
        part = torch.empty(len(dapt), width)
        add(part, dapt, base, instruct[known], self.scale)
        exact = instruct.float()
        exact[known] = part
        stored = self.stored(exact.view(-1)).view(num_rows, width)
        self.shard.write(name, first * width, stored)
        return count(part, stored[known], dapt)

    def stored(self, exact: Tensor) -> Tensor:
        """The numbers as they are written."""
        if self.dtype == torch.float32:
            return exact
        return self.buffers.take("stored", self.dtype, exact.numel()).copy_(exact)


def named(term: Term) -> Iterator[tuple[str, Place]]:
    """What is read, each with the name of its buffer."""
    return zip(("dapt", "base", "instruct"), term.places, strict=True)


def add(out: Tensor, dapt: Tensor, base: Tensor, instruct: Tensor, scale: float) -> None:
    """`dapt + scale * (instruct - base)` in fp32."""
    out.copy_(instruct).sub_(base)
    if scale != 1.0:
        out.mul_(scale)
    out.add_(dapt)


def count(exact: Tensor, stored: Tensor, before: Tensor) -> Counts:
    """How many weights changed, and how many changes vanished when stored. numpy compares several times faster here."""
    values, old = exact.numpy(), before.float().numpy()
    moved = values != old
    kept = moved if stored.dtype == torch.float32 else stored.float().numpy() != old
    return Counts(0, exact.numel(), int(np.count_nonzero(kept)), int(np.count_nonzero(moved > kept)))


def merge_shard(path: Path, terms: Mapping[str, Term], scale: float, dtype: torch.dtype) -> None:
    """Write one shard; it gets its name when it is whole."""
    wanted = {name: Wanted(term.instruct.shape, dtype) for name, term in terms.items()}
    readers = Readers([place.path for term in terms.values() for place in term.places])
    try:
        with new_shard(path, wanted, NOTES_ROOM) as shard, one_thread_each() as num_threads:
            merging = Merging(readers, shard, scale, dtype, Buffers())
            with ThreadPoolExecutor(num_threads) as pool:
                found = [pool.submit(work) for work in blocks(merging, terms)]
                counts = sum((each.result() for each in found), Counts(num_tensors=len(terms)))
            shard.finish(counts.text())
    finally:
        readers.close()


def blocks(merging: Merging, terms: Mapping[str, Term]) -> Iterator[partial[Counts]]:
    """The work of a shard."""
    for name, term in terms.items():
        rows = term.base_rows is not None
        size = max(1, BLOCK // term.instruct.row_weights) if rows else BLOCK
        end = term.instruct.shape[0] if rows else term.num_weights
        for first in range(0, end, size):
            work = merging.rows if rows else merging.block
            yield partial(work, name, term, first, min(size, end - first))


@contextmanager
def one_thread_each() -> Iterator[int]:
    """How many blocks are worked on at a time; meanwhile torch takes one thread for each."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield max(2, min(before, MAX_THREADS))
    finally:
        torch.set_num_threads(before)
