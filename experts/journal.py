"""Stages that can be killed at any moment: a stage is done when its folder exists with the digest of its inputs.

A stage writes into `.<name>-<digest>` (where its trainer keeps checkpoints to resume from) and the folder is renamed
when it is complete, so a half-written result never has the final name. Of several processes that build together, rank 0
does this alone; the others come in where a stage trains.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from domains.atomic import write_text_atomically
from domains.errors import UserError
from experts.digests import digest_of
from experts.ranks import agreed, check_same, rank, wait

RECORD = "stage.json"
CHECKPOINTS = "checkpoints"
LOCK = ".lock"


@dataclass(frozen=True)
class Stage:
    """One step of a build. `inputs` is everything that the result depends on; `run` writes files into a folder and
    returns the numbers worth keeping. `trains`: all ranks run it; otherwise rank 0 does, and the others wait."""

    name: str
    folder: Path
    inputs: Mapping[str, Any]
    run: Callable[[Path], Mapping[str, Any]]
    trains: bool = False

    @property
    def digest(self) -> str:
        """The digest of the inputs."""
        return digest_of({"stage": self.name, **self.inputs})

    @property
    def done(self) -> bool:
        """Whether the result for exactly these inputs is there."""
        return read_record(self.folder).get("digest") == self.digest


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a finished stage; empty when there is none."""
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return record


def run_stage(stage: Stage) -> dict[str, Any]:
    """Run a stage unless it is done; returns its record {digest, stage, seconds, metrics, inputs}.

    A process that finds another one at work on the same stage waits for it.
    """
    check_same(stage.digest, f"inputs of {stage.name}")
    if agreed(stage.done):
        return read_record(stage.folder)
    stage.folder.parent.mkdir(parents=True, exist_ok=True)
    with lock_of(stage):
        return read_record(stage.folder) if agreed(stage.done) else run_locked(stage)


def lock_of(stage: Stage) -> AbstractContextManager[Any]:
    """The lock of a stage; rank 0 takes it for all."""
    return FileLock(stage.folder.parent / LOCK) if rank() == 0 else nullcontext()


def run_locked(stage: Stage) -> dict[str, Any]:
    """Run a stage, going on with what an interrupted run left."""
    scratch = stage.folder.parent / f".{stage.folder.name}-{stage.digest[:12]}"
    if agreed(read_record(scratch).get("digest") == stage.digest):  # killed between the record and the rename
        return in_place(scratch, stage)
    make_scratch(scratch)
    start = time.monotonic()
    metrics = dict(stage.run(scratch)) if stage.trains or rank() == 0 else {}
    wait()
    if rank() == 0:
        record = {
            "stage": stage.name,
            "digest": stage.digest,
            "seconds": round(time.monotonic() - start, 1),
            "metrics": metrics,
            "inputs": dict(stage.inputs),
        }
        discard(scratch / CHECKPOINTS)
        write_text_atomically(scratch / RECORD, json.dumps(record, indent=2, default=str))
    return in_place(scratch, stage)


def make_scratch(scratch: Path) -> None:
    """The folder that a stage writes into, which all ranks must see."""
    if rank() == 0:
        scratch.mkdir(parents=True, exist_ok=True)
    wait()
    if not scratch.is_dir():
        raise UserError(f"This host does not see {scratch}. --home must be on a file system that all hosts share.")


def in_place(scratch: Path, stage: Stage) -> dict[str, Any]:
    """Give a finished folder its name; returns its record."""
    if rank() == 0:
        replace_folder(scratch, stage.folder)
    wait()
    return read_record(stage.folder)


def replace_folder(source: Path, target: Path) -> None:
    """Put a finished folder in place of an older one, and clear what earlier inputs left behind."""
    old = target.with_name(f".{target.name}-old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    source.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    for stale in target.parent.glob(f".{target.name}-*"):
        shutil.rmtree(stale, ignore_errors=True)


def discard(folder: Path) -> None:
    """Remove a folder under another name, so that a kill never leaves half of it under its own."""
    trash = folder.with_name(f".{folder.name}-discarded")
    shutil.rmtree(trash, ignore_errors=True)
    if folder.exists():
        folder.rename(trash)
        shutil.rmtree(trash)
