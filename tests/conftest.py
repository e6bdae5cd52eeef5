"""Folders that are costly to make and that no test changes: the fake foundation and one finished build over it. And the
order of the tests: files with slow ones begin, so that no process is left with them alone."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from experts.build import Build, run_build
from tests.fakes import byte_tokenizer, tiny_build, tiny_model, trained, write_base

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of this folder, which hold tests of the whole path, then others with slow tests, then the quick ones."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.parent != HERE, item.path not in slow))


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was imported stays: no collection of garbage, of which an evaluation asks for many, needs to look at it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def model() -> Any:
    """The fake foundation in memory (fp32); not to be changed."""
    return tiny_model().requires_grad_(False)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """The byte tokenizer."""
    return byte_tokenizer()


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fake foundation as a folder."""
    return write_base(tmp_path_factory.mktemp("foundation") / "base")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A finished build of the small domain, trained hard enough that the experts differ."""
    build = tiny_build(tmp_path_factory.mktemp("built"), *trained(learning_rate=0.02, epochs=3))
    run_build(build, lambda line: None)
    return build
