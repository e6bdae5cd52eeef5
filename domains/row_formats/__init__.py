"""Formats of training rows, one file each: `matches(row)` knows a row by its keys, `to_trl(row)` rewrites it.

A format raises RowError for a row that it cannot read, lists in `KEYS` what it reads, and may add `notes` to what it
returns: sentences about what a reader of the row should know. A file whose name begins with an underscore is no format.
"""

from __future__ import annotations

from typing import Any

from domains.plugins import load_plugin, plugin_names

PACKAGE = "domains.row_formats"


def format_names() -> tuple[str, ...]:
    """All formats."""
    return plugin_names(PACKAGE)


def load_format(name: str) -> Any:
    """One format by name; an unknown one is a UserError."""
    return load_plugin(PACKAGE, name, "row format")


def format_of(row: dict[str, Any]) -> str | None:
    """The format that a row's keys show; no row has two."""
    return next((name for name in format_names() if load_format(name).matches(row)), None)
