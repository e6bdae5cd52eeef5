"""Settings from the command line: `section.key=value`, the value read as TOML or as a plain string."""

from __future__ import annotations

import tomllib
from typing import Any

from domains.errors import UserError


def apply_override(values: dict[str, Any], override: str) -> None:
    """Apply `section.key=value`; the value is read as TOML, or as a plain string."""
    key, sign, text = override.partition("=")
    if not sign or not key.strip():
        raise UserError(f"--set takes section.key=value, got '{override}'. Example: --set pretrain.epochs=1")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    *path, last = key.strip().split(".")
    for name in path:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise UserError(f"--set {override}: '{name}' is a value, not a section.")
    values[last] = value
