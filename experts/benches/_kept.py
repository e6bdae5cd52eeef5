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
        rows = map(json.loads, self.whole().splitlines())
        return {row["key"]: row.get("result", row) for row in rows}

    def whole(self) -> bytes:
        """The lines that were written to their end."""
        text = self.path.read_bytes() if self.path.exists() else b""
        return text[: text.rfind(b"\n") + 1]

    def result(self, key: str, compute: Callable[[], Result]) -> Result:
        """The result of a key, computed when the file lacks it."""
        known = self.known()
        if key not in known:
            known[key] = compute()
            self.add(key, known[key])
        return known[key]

    def add(self, key: str, result: Result) -> None:
        """One line more, in the place of one that was cut off."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        size = len(self.whole())
        with self.path.open("ab") as handle:
            handle.truncate(size)
            handle.write(json.dumps({"key": key, "result": result}).encode() + b"\n")
