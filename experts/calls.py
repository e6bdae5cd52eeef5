"""The stages of a domain of function calls: SFT on its rows, then preference optimization against wrong calls.

The order is that of arXiv 2511.22138, and the SFT is the warm start of the preference stage: `<domain>/calls_sft`, then
`<domain>/calls`. Without preference rows the SFT alone is `<domain>/calls`. Both start from the general model: there
are no documents to pretrain on, so there is no residual either.
"""

from __future__ import annotations

from collections.abc import Iterator

from domains.domain import CALLS
from domains.errors import UserError
from experts.build import Build, align_track, sft_track
from experts.checkpoint import Checkpoint
from experts.journal import Stage

SFT = "calls_sft"


def stages(build: Build) -> Iterator[Stage]:
    """The stages after the general model."""
    domain = build.domain
    examples = domain.examples("calls", "train")
    if not examples:
        raise UserError(
            f"{domain.name} has no training rows in calls.jsonl. Add rows, or take 'calls' from its tracks."
        )
    start = build.instruct
    title = f"{domain.title}: calls functions, asks for what is missing, and says when none fits."
    if not domain.preferences("train"):
        yield sft_track(build, CALLS, start, examples, title)
        return
    yield sft_track(build, SFT, start, examples, f"{title} Before preference optimization.")
    yield align_track(build, CALLS, Checkpoint(start.base, build.folder / SFT), title)


def names(build: Build) -> list[str]:
    """The stages' names for the running list."""
    kept = [SFT, CALLS] if build.domain.preferences("train") else [CALLS]
    return [f"{build.domain.name}/{name}" for name in kept]


def arms(build: Build) -> dict[str, Checkpoint]:
    """The models that a report compares, in order."""
    built = {name.rpartition("/")[2]: Checkpoint(build.instruct.base, build.home / name) for name in names(build)}
    return {"foundation": build.base, "instruct": build.instruct, **built}
