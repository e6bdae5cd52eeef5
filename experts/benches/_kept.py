"""Results of a bench in a file, one line each, so that a bench that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Result = dict[str, Any]


@dataclass(frozen=True)
class Kept:
    """A file of results by key. A line that was cut off does not count."""

    path: Path

    def known(self) -> dict[str, Result]:
        """The results in the file, by key."""
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        rows = [json.loads(line) for line in lines if line.endswith(b"\n") and line.strip().endswith(b"}")]
        return {row["key"]: row.get("result", row) for row in rows}

    def result(self, key: str, compute: Callable[[], Result]) -> Result:
        """The result of a key, computed when the file lacks it."""
        known = self.known()
        if key not in known:
            known[key] = compute()
            self.add(key, known[key])
        return known[key]

    def add(self, key: str, result: Result) -> None:
        """One line more; it begins a line of its own also where the last one was cut off."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as handle:
            if handle.tell():
                handle.seek(-1, 2)
                handle.write(b"" if handle.read() == b"\n" else b"\n")
            handle.write(json.dumps({"key": key, "result": result}).encode() + b"\n")
