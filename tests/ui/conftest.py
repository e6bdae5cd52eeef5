"""The browser and the page for the browser tests; other tests of this folder load neither."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; skipped where there is none."""
    from tests.ui.browsing import open_browser

    with open_browser() as opened:
        yield opened


@pytest.fixture
def running(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """A `Running` page."""
    from tests.ui.browsing import run_page

    with run_page(browser, tmp_path) as page:
        yield page
