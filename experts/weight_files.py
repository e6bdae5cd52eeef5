"""Safetensors read and written in pieces: where each tensor lies, bytes of it, and a new file of known size in place.

Format: https://huggingface.co/docs/safetensors (8 bytes of length, a JSON header, the tensors). Reading by position
keeps memory at the piece that is read; a mapped file would count as resident once it is touched.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from domains.errors import UserError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
METADATA = "__metadata__"
DTYPES = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Place:
    """Where a tensor is: its file, the offset of its first byte, the file's name for its type, its shape."""

    path: Path
    offset: int
    kind: str
    shape: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        """The type as torch's; only for floating point."""
        return DTYPES[self.kind]

    @property
    def num_weights(self) -> int:
        """Numbers in the tensor."""
        return prod(self.shape)

    @property
    def row_weights(self) -> int:
        """Numbers in a row (all dimensions but the first)."""
        return prod(self.shape[1:])


class Weights:
    """A safetensors model: one file, or shards with an index. Only headers are read until bytes are asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = folder / INDEX
        if index.is_file():
            self.files: dict[str, str] = read_index(index)
        elif (folder / SINGLE).is_file():
            self.files = dict.fromkeys(places_in(folder / SINGLE), SINGLE)
        else:
            raise UserError(f"{folder} holds no safetensors weights. Convert the model with save_pretrained first.")
        found = {file: places_in(folder / file) for file in sorted(set(self.files.values()))}
        for name, file in self.files.items():
            if name not in found[file]:
                raise UserError(
                    f"{index} says that '{name}' is in {file}, but it is not. Get the model again; its index and its "
                    "shards are not of one version."
                )
        self.places = {name: found[file][name] for name, file in self.files.items()}

    def tensor(self, name: str) -> Tensor:
        """Read one whole tensor."""
        with safe_open(self.folder / self.files[name], "pt") as handle:
            result: Tensor = handle.get_tensor(name)
        return result

    def shards(self) -> dict[str, list[str]]:
        """Tensor names by file."""
        found: dict[str, list[str]] = {}
        for name, file in sorted(self.files.items()):
            found.setdefault(file, []).append(name)
        return found

    def stamp(self) -> list[list[Any]]:
        """Name, size and time of every file: what tells that nothing has changed without reading it all."""
        stats = {file: (self.folder / file).stat() for file in sorted(set(self.files.values()))}
        return [[file, stat.st_size, stat.st_mtime_ns] for file, stat in stats.items()]


def read_index(path: Path) -> dict[str, str]:
    """The file of every tensor; names that lead out of the folder are refused."""
    try:
        files: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is not an index of shards. Get the model again.") from None
    for file in files.values():
        if Path(file).name != file or not (path.parent / file).is_file():
            raise UserError(f"{path} names the shard '{file}', which is not there. Get the model again.")
    return files


def places_in(path: Path) -> dict[str, Place]:
    """Where the tensors of a file are; the library checks that the header fits the file."""
    try:
        with safe_open(path, "pt"):
            pass
    except SafetensorError as error:
        raise UserError(f"{path} is broken or not whole ({error}). Get the model again.") from None
    header, start = read_header(path)
    return {
        name: Place(path, start + entry["data_offsets"][0], entry["dtype"], tuple(entry["shape"]))
        for name, entry in header.items()
        if name != METADATA
    }


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The header of a file, and the offset of the first tensor."""
    with path.open("rb") as handle:
        (size,) = struct.unpack("<Q", handle.read(8))
        return json.loads(handle.read(size)), 8 + size


def read_metadata(path: Path) -> dict[str, str]:
    """The notes in a file's header."""
    return dict(read_header(path)[0].get(METADATA, {}))


class Readers:
    """Files opened once and read by position, from any thread."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.handles = {path: os.open(path, os.O_RDONLY) for path in dict.fromkeys(paths)}

    def read(self, place: Place, first: int, buffer: Tensor) -> None:
        """Fill a contiguous tensor with the numbers from `first` on."""
        offset = place.offset + first * buffer.element_size()
        fill(self.handles[place.path], offset, memory_of(buffer))

    def read_rows(self, place: Place, rows: Sequence[int], buffer: Tensor) -> None:
        """Fill a tensor with some rows, neighbours in one read."""
        for start, stop in runs(rows):
            self.read(place, rows[start] * place.row_weights, buffer[start:stop])

    def close(self) -> None:
        """Close all."""
        for handle in self.handles.values():
            os.close(handle)


def runs(rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last + 1 place of every run of rows that lie one after the other."""
    start = 0
    for place in range(1, len(rows) + 1):
        if place == len(rows) or rows[place] != rows[place - 1] + 1:
            yield start, place
            start = place


def memory_of(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous tensor, to read into and to write from."""
    return tensor.view(-1).view(torch.uint8).numpy().data


def fill(handle: int, offset: int, memory: memoryview) -> None:
    """Read exactly as many bytes as fit."""
    while len(memory):
        count = os.preadv(handle, [memory], offset)
        if not count:
            raise UserError("A file of weights became shorter while it was read. Get the model again.")
        memory, offset = memory[count:], offset + count


@dataclass(frozen=True)
class Wanted:
    """A tensor of a new file."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        """Its size."""
        return prod(self.shape) * self.dtype.itemsize


class ShardFile:
    """A new file whose tensors are written piece by piece, in any order, from any thread."""

    def __init__(self, path: Path, tensors: Mapping[str, Wanted], num_notes: int) -> None:
        """`num_notes`: bytes kept free in the header for notes that are known at the end."""
        self.tensors = tensors
        self.offsets: dict[str, int] = {}
        end = 0
        for name, wanted in tensors.items():
            self.offsets[name], end = end, end + wanted.num_bytes
        self.start = 8 + -(-(len(self.header_text("")) + num_notes) // 8) * 8
        self.handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        os.ftruncate(self.handle, self.start + end)

    def header_text(self, notes: str) -> bytes:
        """The JSON of the header."""
        entries: dict[str, Any] = {METADATA: {"format": "pt", "notes": notes}}
        for name, wanted in self.tensors.items():
            start = self.offsets[name]
            span = [start, start + wanted.num_bytes]
            entries[name] = {"dtype": NAMES[wanted.dtype], "shape": list(wanted.shape), "data_offsets": span}
        return json.dumps(entries, separators=(",", ":")).encode()

    def write(self, name: str, first: int, values: Tensor) -> None:
        """Write numbers of a tensor from `first` on."""
        offset = self.start + self.offsets[name] + first * values.element_size()
        memory = memory_of(values)
        while len(memory):
            count = os.pwrite(self.handle, memory, offset)
            memory, offset = memory[count:], offset + count

    def finish(self, notes: str) -> None:
        """Write the header; without it the file is no model."""
        text = self.header_text(notes).ljust(self.start - 8)
        assert len(text) == self.start - 8, "more notes than room was kept for"
        os.pwrite(self.handle, struct.pack("<Q", len(text)) + text, 0)


@contextmanager
def new_shard(path: Path, tensors: Mapping[str, Wanted], num_notes: int) -> Iterator[ShardFile]:
    """A file that gets its name when it is whole."""
    partial = path.with_name(f".{path.name}.partial")
    shard = ShardFile(partial, tensors, num_notes)
    try:
        yield shard
    finally:
        os.close(shard.handle)
    partial.replace(path)
