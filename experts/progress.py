"""Bars for people who wait: on standard error, only on a terminal, and gone when they are full. Beside other processes
TQDM_POSITION gives each its line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def bar(total: int, what: str) -> Any:
    """A bar that `update` moves on; a context that closes it."""
    return drawn(None, total, what)


def shown(items: Sequence[Item], what: str) -> Any:
    """The items, counted in a bar as they are taken."""
    return drawn(items, len(items), what)


def drawn(items: Sequence[Item] | None, total: int, what: str) -> Any:
    """The bar of both, over the items where there are some."""
    return tqdm(items, what, total, disable=None, leave=False, dynamic_ncols=True)
