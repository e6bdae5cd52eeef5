"""What is used of the package `bfcl-eval`: its loader, its checker and its simulated APIs, imported and not copied.

The package imports the clients of all vendors to look up one flag of a model, and makes folders where it is installed.
So that flag is given here and the folders are temporary; everything else is the package's own code.
Install: pip install --no-deps bfcl-eval (https://github.com/ShishirPatil/gorilla, Apache-2.0).
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType, SimpleNamespace
from typing import Any

from domains.errors import UserError

PACKAGE = "bfcl_eval"
DISTRIBUTION = "bfcl-eval"
MODELS = f"{PACKAGE}.constants.model_config"
MODEL = "expertsmith"
ROOT = "BFCL_PROJECT_ROOT"


@dataclass(frozen=True)
class Official:
    """The parts of the package by name, its version and the version of its data; `folder` lives as long as they do."""

    version: str
    data_version: str
    utils: Any
    ast: Any
    multi_turn: Any
    execution: Any
    prompts: Any
    languages: Any
    types: Mapping[str, str]
    folder: tempfile.TemporaryDirectory[str]


@cache
def official() -> Official:
    """The package; a UserError where it is not installed."""
    folder = tempfile.TemporaryDirectory(prefix="bfcl-")
    try:
        found = version(DISTRIBUTION)
        with temporary_root(folder.name), one_model():
            return load(found, folder)
    except (PackageNotFoundError, ModuleNotFoundError) as error:
        raise UserError(
            f"The leaderboard's package is not there ({error}). Install it: pip install --no-deps {DISTRIBUTION}, "
            "and what it needs: pip install 'expertsmith[bfcl]'."
        ) from None


def load(found: str, folder: tempfile.TemporaryDirectory[str]) -> Official:
    """Import the parts."""

    def part(name: str) -> Any:
        return importlib.import_module(f"{PACKAGE}.{name}")

    return Official(
        version=found,
        data_version=part("constants.category_mapping").VERSION_PREFIX,
        utils=part("utils"),
        ast=part("eval_checker.ast_eval.ast_checker"),
        multi_turn=part("eval_checker.multi_turn_eval.multi_turn_checker"),
        execution=part("eval_checker.multi_turn_eval.multi_turn_utils"),
        prompts=part("constants.default_prompts"),
        languages=part("constants.enums").Language,
        types=part("constants.type_mappings").GORILLA_TO_OPENAPI,
        folder=folder,
    )


@contextmanager
def temporary_root(folder: str) -> Iterator[None]:
    """Let the package make its folders in this one."""
    before = os.environ.get(ROOT)
    os.environ[ROOT] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ[ROOT]
        else:
            os.environ[ROOT] = before


@contextmanager
def one_model() -> Iterator[None]:
    """Give the checker the one flag that it asks for: whether dots in names were replaced by underscores. They are not
    here."""
    before = sys.modules.get(MODELS)
    given = ModuleType(MODELS)
    given.MODEL_CONFIG_MAPPING = {MODEL: SimpleNamespace(underscore_to_dot=False)}  # type: ignore[attr-defined]
    sys.modules[MODELS] = given
    try:
        yield
    finally:
        del sys.modules[MODELS]
        if before is not None:
            sys.modules[MODELS] = before
