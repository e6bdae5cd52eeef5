"""One engine over the finished build; its experts are not changed by any test. And the build with little to measure."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

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


@pytest.fixture
def few_rows(built: Build, tmp_path: Path) -> Build:
    """The finished build in a home of its own, with few rows to measure; nothing is measured yet."""
    shutil.copytree(built.home, tmp_path / "home", ignore=shutil.ignore_patterns("evaluation"))
    few = {"limit": 3, "label_limit": 4, "document_limit": 2, "preference_limit": 2, "instruction_limit": 2}
    return with_settings(replace(built, home=tmp_path / "home"), **few, max_new_tokens=8, batch_size=4)


def with_settings(build: Build, **settings: Any) -> Build:
    """A build whose recipe measures otherwise."""
    changed = build.recipe.evaluation.model_copy(update=settings)
    return replace(build, recipe=build.recipe.model_copy(update={"evaluation": changed}))
