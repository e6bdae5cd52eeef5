"""What every verb of the command line has, and the options that several verbs share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

Handler = Callable[[argparse.Namespace], int]


def verb(verbs: Any, name: str, handler: Handler, about: str, example: str) -> argparse.ArgumentParser:
    """One verb with its help, an example and the options that all have."""
    made: argparse.ArgumentParser = verbs.add_parser(name, help=about, description=about, epilog=f"Example: {example}")
    made.add_argument("--home", type=Path, default=Path(".expertsmith"), help="where built models live (.expertsmith)")
    made.add_argument("--json", action="store_true", help="print data as JSON")
    made.set_defaults(handler=handler)
    return made


def count(text: str) -> int:
    """A whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no count. Give a whole number from 0.")
    return int(text)


def add_engine(made: argparse.ArgumentParser) -> None:
    """Where the work of a verb with many items is done."""
    about = "local, or ray: this machine's or RAY_ADDRESS' cluster; the same result (local)"
    made.add_argument("--engine", choices=["local", "ray"], default="local", help=about)


def add_recipe(made: argparse.ArgumentParser, jobs: bool = True) -> None:
    """Options that choose a recipe."""
    made.add_argument("--recipe", help="shipped recipe or TOML file")
    made.add_argument("--seed", type=int, help="seed of everything random")
    made.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="e.g. pretrain.epochs=1"
    )
    if not jobs:
        return
    made.add_argument("--jobs", type=int, default=1, help="domains side by side, each with its share of the cores (1)")
