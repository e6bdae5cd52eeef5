"""Judgements that were paid for once: an append-only JSONL file whose keys are digests of what was asked.

A key is made from the request as it would read with a constant fence mark, so that the random fence of a call has no
part in it. A line that a kill cut short is passed over and asked for again.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

FILE = "judgements.jsonl"

Record = dict[str, Any]


@dataclass
class VerdictCache:
    """Records by key. Without a folder it holds only for as long as the object lives."""

    folder: Path | None = None
    records: dict[str, Record] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def open(cls, folder: str | Path) -> VerdictCache:
        """The cache of a folder ("" = in memory)."""
        path = Path(folder) if str(folder) else None
        return cls(path, read_records(path / FILE) if path else {})

    def get(self, key: str) -> Record | None:
        """The record of a key; None when there is none."""
        return self.records.get(key)

    def put(self, key: str, record: Record) -> None:
        """Keep a record, on disk before this returns."""
        with self.lock:
            if key in self.records:
                return
            self.records[key] = record
            if self.folder is not None:
                append_line(self.folder / FILE, json.dumps({"key": key, **record}, ensure_ascii=False))


def key_of(content: Any) -> str:
    """The digest of anything that JSON can hold."""
    text = json.dumps(content, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_records(path: Path) -> dict[str, Record]:
    """The records of a file; lines that are not whole are left out."""
    if not path.is_file():
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("key"), str):
            found[record.pop("key")] = record
    return found


def append_line(path: Path, line: str) -> None:
    """Add a line, one writer at a time; after a torn last line it begins on a line of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        write_line(path, line)


def write_line(path: Path, line: str) -> None:
    """Add a line in one write; nobody else may be writing."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, (("\n" if torn else "") + line + "\n").encode("utf-8", "replace"))
    finally:
        os.close(descriptor)
