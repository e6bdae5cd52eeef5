"""Where what is costly to make and can be made again is kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """EXPERTSMITH_CACHE, or the user's cache folder."""
    given = os.environ.get("EXPERTSMITH_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "expertsmith"
