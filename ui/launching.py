"""A build by several processes: `--launch` hands over to `accelerate launch`, which runs the same verb in each."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from domains.domain import Domain
from domains.errors import UserError

if TYPE_CHECKING:
    from experts.recipe import Recipe

Say = Callable[[str], None]


def add_launch(made: argparse.ArgumentParser) -> None:
    """Options for several processes."""
    made.add_argument("--launch", metavar="CONFIG", help="cpu, ddp, fsdp2, zero3, or a configuration of accelerate")
    made.add_argument(
        "--launch-set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of accelerate launch, e.g. num_processes=4, machine_rank=1",
    )


def hand_over(options: argparse.Namespace, recipe: Recipe, say: Say) -> NoReturn:
    """Become the launcher of this build; what a user can correct is said before."""
    from experts.launcher import load_launch
    from experts.quantized import check_methods
    from experts.stages.align import check

    if options.jobs > 1:
        raise UserError(f"--launch and --jobs {options.jobs} do not go together. Leave --jobs out.")
    launch = load_launch(options.launch, options.launch_set)
    check(recipe.align)
    check_methods(recipe)
    for name in options.domains:
        Domain.load(name)
    command = launch.command(worker_arguments(options))
    say(f"Starting {launch.num_processes()} processes ({launch.file.stem}).")
    os.execve(command[0], command, launch.environment())


def worker_arguments(options: argparse.Namespace) -> Sequence[str]:
    """The verb as each process runs it."""
    given = ["build", *options.domains, "--home", str(options.home)]
    given += ["--recipe", options.recipe] if options.recipe else []
    given += ["--seed", str(options.seed)] if options.seed is not None else []
    given += [part for override in options.overrides for part in ("--set", override)]
    return given + (["--json"] if options.json else [])
