"""Samples on disk: one append-only JSONL row per sample, {"key", "status", "reason", ...}, keyed by its content.

A kill loses no row that was written: a last line that it cut short is taken off when the file is opened again.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

OK, FAILED = "ok", "failed"
CODE = Path(__file__).parent


@dataclass
class SampleFile:
    """The last row of each key. Rows that failed in an earlier run are not in `known`: they are tried again."""

    path: Path
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        """Repair and read the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for row in repaired(self.path):
            self.known[row["key"]] = row
        self.known = {key: row for key, row in self.known.items() if row.get("status", OK) == OK}

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add finished rows; several threads may."""
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        with self.lock, self.path.open("a", encoding="utf-8") as handle:
            handle.write(lines)
            self.known |= {row["key"]: dict(row) for row in rows}


def repaired(path: Path) -> list[dict[str, Any]]:
    """The rows of a file; a half-written last line is cut off, and other lines that are no rows are passed over."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with path.open("r+b") as handle:
            handle.truncate(len(whole))
    return [row for row in map(parsed, whole.split(b"\n")) if row is not None]


def parsed(line: bytes) -> dict[str, Any] | None:
    """A row with a key, or nothing."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("key"), str) else None


def key_of(*content: Any) -> str:
    """The key of a sample: the digest of everything that it depends on (a JSON-like value)."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


@lru_cache(maxsize=1)
def code_digest() -> str:
    """The digest of this package's files: verdicts belong to the code and the weights that gave them."""
    found = hashlib.sha256()
    for path in sorted(path for path in CODE.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        found.update(str(path.relative_to(CODE)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()
