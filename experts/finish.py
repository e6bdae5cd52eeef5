"""What was trained becomes an expert: joined with the adapter that it started from; tokenizer, `expert.json`, card."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domains.example import Example, Preference
from experts.checkpoint import CONFIG, Checkpoint, joined, load_tokenizer
from experts.digests import digest_of
from experts.expert import write_expert
from experts.journal import RECORD, discard
from experts.ranks import rank

if TYPE_CHECKING:
    from experts.build import Build

TRACK_WORK = "track"
FULL_WEIGHTS = ("config.json", "generation_config.json", "model*")


@dataclass(frozen=True)
class Finish:
    """What a trained track is made of."""

    start: Checkpoint
    data: Sequence[Example | Preference]
    metrics: Mapping[str, Any]


def finish(build: Build, name: str, about: str, parts: Finish, folder: Path) -> Mapping[str, Any]:
    """Join a trained track with the adapter it started from, and complete the folder to an expert; rank 0 does it."""
    if rank() > 0:
        return parts.metrics
    work = folder / TRACK_WORK
    is_adapter = (work / CONFIG).exists()
    if is_adapter:
        joined(parts.start, work, folder)
    else:
        load_tokenizer(parts.start.tokenizer_folder).save_pretrained(folder)
    for pattern in ("*.jsonl", "head.*", *(() if is_adapter else FULL_WEIGHTS)):
        for path in work.glob(pattern):
            shutil.copy(path, folder / path.name)
    model = parts.start if is_adapter else Checkpoint(folder)
    write_expert(folder, model.base, card(build, name, about, parts), model.tokenizer_folder)
    discard(work)
    return parts.metrics


def card(build: Build, name: str, about: str, parts: Finish) -> dict[str, Any]:
    """What `expert.json` says of a model and its making."""
    return {
        "name": name,
        "about": about,
        **build.base_name(parts.start.base),
        "seed": build.recipe.seed,
        "recipe_digest": digest_of(build.recipe.model_dump(mode="json")),
        "parents": {"start": parts.start.digest(), **parents(build)},
        "data": {"rows": digest_of([repr(row) for row in parts.data])},
        "metrics": dict(parts.metrics),
    }


def parents(build: Build) -> dict[str, str]:
    """The digests of the base model and, where they are made already, of the other two terms of the residual."""
    found = {"base": build.base_digest}
    for name, folder, checkpoint in (
        ("instruct", build.house_folder, build.instruct),
        ("dapt", build.folder / "pretrain", build.dapt),
    ):
        if (folder / RECORD).exists():
            found[name] = checkpoint.digest()
    return found
