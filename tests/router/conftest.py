"""One engine over the finished build; its experts are not changed by any test."""

from __future__ import annotations

import pytest

from experts.build import Build
from router.backends.in_process import InProcess
from router.engine import Engine


@pytest.fixture(scope="session")
def engine(built: Build) -> Engine:
    """The engine over the fake experts."""
    return Engine(built.home)


@pytest.fixture(scope="session")
def backend(engine: Engine) -> InProcess:
    """The in-process back-end over that engine."""
    return InProcess(engine)
