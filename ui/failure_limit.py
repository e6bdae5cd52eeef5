"""The end of `evaluate` and `score` where too many samples failed: one sentence, and an exit code of its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from domains.errors import UserError

FAILURE_LIMIT = 0.02
TOO_MANY_FAILED = 3


def add_failure_limit(made: argparse.ArgumentParser) -> None:
    """The option of both verbs."""
    made.add_argument(
        "--failure-limit",
        type=float,
        default=FAILURE_LIMIT,
        metavar="SHARE",
        help="exit code 3 when a larger share failed, of a metric or judge (%(default)s)",
    )


def check_limit(options: argparse.Namespace) -> None:
    """Refuse what is no share."""
    if not 0 <= options.failure_limit <= 1:
        raise UserError(f"--failure-limit is {options.failure_limit:g}; give a share from 0 to 1, like 0.02.")


def exit_code(options: argparse.Namespace, done: Sequence[dict[str, Any]], say: Callable[[str], None]) -> int:
    """0, or 3 when more of a metric of an arm failed than the limit, which is said. `done`: {"domain", "failures"}."""
    bad = [each for each in done if each["failures"]["share"] > options.failure_limit]
    for each in bad:
        found = each["failures"]
        reasons = "; ".join(f"{count} x {reason}" for reason, count in found["reasons"].items())
        say(
            f"{each['domain']}: {found['share']:.1%} of '{found['worst_metric']}' of '{found['worst_arm']}' failed, "
            f"more than the limit of {options.failure_limit:.1%} ({reasons}). "
            "Run the same command again to try only these."
        )
    return TOO_MANY_FAILED if bad else 0
