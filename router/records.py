"""Rows and values as the files of an evaluation's stages."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from judges.metrics import Row


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Rows as JSONL."""
    path.write_text("".join(json.dumps(row.as_dict(), ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def read_rows(path: Path) -> list[Row]:
    """Rows from JSONL."""
    if not path.exists():
        return []
    return [Row.from_dict(json.loads(line)) for line in path.read_text(encoding="utf-8").split("\n") if line]


def write_json(path: Path, value: Any) -> None:
    """A value as JSON."""
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def read_json(path: Path) -> Any:
    """A value from JSON."""
    return json.loads(path.read_text(encoding="utf-8"))
