"""The house adapter that comes with the package: the trained difference of the foundation and its instruct sibling.

It is what `expertsmith build house` trains, rounded to bf16, and saves some minutes of every first build. It is used
only when its inputs (base weights, data, settings, seed) have the digest it was made from; otherwise the stage trains.
Make it again after a change: `expertsmith build house --set foundation.shipped_house=false`, then
`python -m experts.house HOME`.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from experts.checkpoint import CONFIG, WEIGHTS
from experts.journal import read_record

SHIPPED = Path(__file__).parent / "house_adapter"
RECORD = "made_from.json"


def shipped_metrics(digest: str) -> dict[str, Any] | None:
    """The training numbers of the shipped adapter, if it was made from these inputs."""
    path = SHIPPED / RECORD
    record = json.loads(path.read_text()) if path.exists() else {}
    return {**record["metrics"], "shipped": True} if record.get("digest") == digest else None


def use_shipped(folder: Path) -> None:
    """Put the shipped adapter where a training would have written it."""
    folder.mkdir(exist_ok=True)
    for name in (CONFIG, WEIGHTS):
        shutil.copy(SHIPPED / name, folder / name)


def ship(home: Path) -> None:
    """Make the adapter of a home folder the shipped one."""
    source = home / "house" / "instruct"
    record = read_record(source)
    SHIPPED.mkdir(exist_ok=True)
    tensors = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(source / WEIGHTS).items()}
    save_file(tensors, SHIPPED / WEIGHTS, metadata={"format": "pt"})
    shutil.copy(source / CONFIG, SHIPPED / CONFIG)
    made_from = {"digest": record["digest"], "metrics": record["metrics"], "inputs": record["inputs"]}
    (SHIPPED / RECORD).write_text(json.dumps(made_from, indent=2) + "\n")


if __name__ == "__main__":
    ship(Path(sys.argv[1]))
