"""The verb `improve`: run the loop on an expert, or put a version of it back into use."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from domains.errors import UserError
from ui.commands import emit, recipe_of, say

Options = argparse.Namespace


def improve(options: Options) -> int:
    """Improve an expert, or roll it back."""
    if options.rollback is not None:
        return rollback(options)
    from experts.improvement.run import Improvement
    from experts.improvement.run import improve as run
    from ui.improvement_page import write_page

    recipe = recipe_of(options)
    result = run(Improvement(options.home, options.expert, recipe.improve, recipe.seed, say))
    page = write_page(result, Path(result["folder"]))
    emit(options, {**result, "html": str(page)}, told(result, page))
    return 0


def told(result: dict[str, Any], page: Path) -> list[str]:
    """The result in lines."""
    outcomes = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in result["threads"].items())
    version = "No new version" if result["version"] is None else f"Version {result['version']}"
    use = "in use" if result["in_use"] else f"not in use: version {result['current']} is"
    return [
        f"{result['expert']}: {outcomes or 'no threads'}; {len(result['bursts'])} bursts.",
        f"{version}, {use}. {result['reason']}",
        f"Report: {page}",
    ]


def rollback(options: Options) -> int:
    """Put a version into use."""
    from experts.improvement.history import History, histories

    if options.expert not in histories(options.home):
        raise UserError(f"'{options.expert}' has no versions. 'expertsmith improve {options.expert}' makes some.")
    history = History.of(options.home, options.expert)
    if options.rollback and not options.rollback.isdecimal():
        raise UserError(f"--rollback is '{options.rollback}'; give the number of a version, or nothing.")
    found = history.use(int(options.rollback) if options.rollback else history.before())
    if not found.promoted:
        say(f"Warning: version {found.number} was not promoted: {found.note}")
    data = {"expert": options.expert, "version": found.number, "digest": found.digest, "note": found.note,
            "promoted": found.promoted}  # fmt: skip
    emit(options, data, [f"{options.expert} is at version {found.number} again ({found.note})."])
    return 0


def version_names(home: Path) -> list[str]:
    """Every version of every expert that was improved, and what became of it."""
    from experts.improvement.history import histories

    return [
        f"{name}@{version.number} ({state(version.number == history.current, version.promoted)})"
        for name, history in histories(home).items()
        for version in history.versions
    ]


def state(in_use: bool, promoted: bool) -> str:
    """A version's state in words."""
    return "in use" if in_use else "kept" if promoted else "not promoted"
