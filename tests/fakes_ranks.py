"""Trainings of the fake model for one process and for several: `python -m torch.distributed.run --nproc-per-node 2
-m tests.fakes_ranks FOLDER [JOB ...]`. Every rank writes what it knows at the end to FOLDER/JOB/rank-N.json.

The rows of a batch are shared out over the processes, so that the global batch is the same for one and for several.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from domains.errors import UserError
from domains.example import Example, Message, Preference
from experts import ranks
from experts.alignment import REFERENCES, Alignment, train_preferences
from experts.checkpoint import Checkpoint, load_tokenizer
from experts.device import DTYPE
from experts.mixing import Mixing
from experts.preferences import load_objective
from experts.recipe import Align, Sft, Training
from experts.references import ReferenceCache
from experts.stages import reward
from experts.stages.sft import example_rows
from experts.train import train_rows
from tests.fakes import TOPICS, byte_tokenizer, tiny_model, write_base, write_model

GLOBAL_BATCH = 4
ROWS = tuple(
    Preference(
        f"p{i}", (Message("user", f"Where is my {t}?"),), f"The {t} is here.", ("No.", f"Which {t}?")[: 1 + i % 2]
    )
    for i, t in enumerate(TOPICS[:8])
)
EXAMPLES = tuple(
    Example(f"e{i}", "summarization", (Message("user", f"Say {t}."),), t * (1 + i % 3))
    for i, t in enumerate(TOPICS[:16])
)


@dataclass(frozen=True)
class Job:
    """One training: `kind` sft, reward or the name of an objective."""

    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    mixing: Mapping[str, Any] | None = None
    base: str = "base"


JOBS = {
    "sft": Job("sft"),
    "sft_by_example": Job("sft", training={"by_example": True}),
    "dpo": Job("dpo"),
    "dpo_full": Job("dpo", training={"method": "full", "learning_rate": 1e-3}),
    "beta_dpo": Job("beta_dpo", {"beta": 0.5}),
    "window": Job("dpo", mixing={"weighting": "sliding_window", "window": 2}),
    "head": Job("dph"),
    "reward": Job("reward"),
    "untied": Job("sft", base="untied"),
}


def run_job(name: str, folder: Path) -> Alignment | None:
    """One training in `folder`/NAME over the fake foundation in `folder`/base."""
    job, target = JOBS[name], folder / name
    target.mkdir(exist_ok=True)
    settings = dict(rank=2, epochs=3, learning_rate=0.01, row_tokens=96, accumulation=1, checkpoint_steps=2)
    settings |= {"batch_rows": GLOBAL_BATCH // ranks.num_ranks()} | dict(job.training)
    start = Checkpoint(folder / job.base)
    if job.kind == "sft":
        rows = example_rows(load_tokenizer(start.base), EXAMPLES, settings["row_tokens"], seed=0)
        train_rows(start, rows[: len(rows) // GLOBAL_BATCH * GLOBAL_BATCH], Sft(**settings), 0, target)
        return None
    if job.kind == "reward":
        reward.run(start, ROWS, Training(**settings), 0, target)
        return None
    alignment = alignment_of(job, start, folder)
    training: Training = Align(**settings)
    train_preferences(start, ROWS, alignment, training, 0, target)
    return alignment


def alignment_of(job: Job, start: Checkpoint, folder: Path) -> Alignment:
    """The objective of a job, with two references where it mixes."""
    objective = load_objective(job.kind, dict(job.settings))
    if job.mixing is None:
        return Alignment(objective)
    return Alignment(objective, Mixing(**job.mixing), (start, Checkpoint(folder / "other")))


def ask_cache(folder: Path) -> list[tuple[float, ...]]:
    """Fill a reference cache with all ranks; every call of the model leaves a line with its rank."""

    def score_rows(rows: Sequence[Preference]) -> list[tuple[float, ...]]:
        with (folder / "scored").open("a") as handle:
            handle.write(f"{ranks.rank()}\n")
        return [(float(len(row.chosen)), 0.0) for row in rows]

    with ranks.first_alone():
        return ReferenceCache(folder / REFERENCES).filled([row.id for row in ROWS], ROWS, score_rows)


def refused(digest: str) -> str:
    """What is said when the ranks' inputs are to be the same."""
    try:
        ranks.check_same(digest, "inputs of a stage")
    except UserError as error:
        return str(error)
    return ""


def pretend_accelerator() -> None:
    """Let accelerate shard on a CPU: it starts FSDP for accelerators alone, so the CPU is called one."""
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    def prepared_backend(state: Any, *args: Any, **options: Any) -> tuple[str, DistributedType]:
        return "gloo", DistributedType.MULTI_XPU

    def set_device(state: Any) -> None:
        state.device = torch.device("cpu")

    PartialState._prepare_backend, PartialState.set_device = prepared_backend, set_device
    torch.distributed.init_process_group("gloo")


def main(folder: Path, names: Sequence[str]) -> None:
    """The jobs in order, by all ranks."""
    if ranks.is_sharded():
        pretend_accelerator()
    ranks.join(is_cpu=True)
    for name in names:
        alignment = run_job(name, folder)
        state = alignment.state() if alignment else {}
        (folder / name / f"rank-{ranks.rank()}.json").write_text(json.dumps(state))
    known = {"ranks": ranks.num_ranks(), "cache": ask_cache(folder), "agreed": ranks.agreed(ranks.rank() == 0)}
    known["refused"] = [refused("ab" * 32), refused(str(ranks.rank()) * 64)]
    known["means"] = ranks.means({"b": 10.0 * ranks.rank(), "a": 1.0})
    (folder / f"rank-{ranks.rank()}.json").write_text(json.dumps(known))
    ranks.leave()


def prepared(folder: Path) -> Path:
    """A folder with the models that jobs need."""
    write_base(folder / "base")
    write_base(folder / "other", seed=3)
    write_model(folder / "untied", tiny_model(tied=False), byte_tokenizer())
    return folder


def environment(**more: str) -> dict[str, str]:
    """For processes that compute in fp32 with one thread each."""
    return {**os.environ, DTYPE: "float32", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **more}


def run_ranks(folder: Path, names: Sequence[str], num_ranks: int = 2, **more: str) -> None:
    """The jobs in several processes; `more` is set in their environment."""
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(num_ranks)]
    command = [sys.executable, "-m", *launcher, "-m", "tests.fakes_ranks", str(folder), *names]
    done = subprocess.run(command, env=environment(**more), capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
