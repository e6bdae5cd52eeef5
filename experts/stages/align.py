"""Preference optimization against the starting model, with any objective of `experts/objectives`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from domains.example import Preference
from experts.checkpoint import Checkpoint
from experts.preferences import load_objective
from experts.recipe import Align
from experts.train import train_preferences


def run(start: Checkpoint, rows: Sequence[Preference], settings: Align, seed: int, folder: Path) -> dict[str, Any]:
    """Train; the adapter is written to `folder`."""
    objective = load_objective(settings.objective, settings.settings)
    return train_preferences(start, rows, objective, settings, seed, folder) | {"rows": len(rows)}
