"""One merge by one contender, in a process of its own: `python _contender.py NAME DAPT BASE INSTRUCT OUT SHARD_BYTES`.

It imports nothing of ours but for `ours`, so that another environment's interpreter can run it. mergekit adds
task vectors to the base, which at weights 1 is the same sum; both others work in bf16, their faster setting.
"""

from __future__ import annotations

import sys
from pathlib import Path

Folders = tuple[Path, Path, Path, Path]


def ours(folders: Folders, _shard_bytes: int) -> None:
    """The residual of this package, fp32 arithmetic."""
    import torch

    from experts.residual import Parents, apply

    dapt, base, instruct, out = folders
    apply(Parents(dapt, base, instruct), 1.0, out, torch.bfloat16)


def mergekit(folders: Folders, shard_bytes: int) -> None:
    """mergekit's task arithmetic."""
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    dapt, base, instruct, out = (str(folder) for folder in folders)
    plan = {
        "merge_method": "task_arithmetic",
        "base_model": base,
        "models": [{"model": model, "parameters": {"weight": 1.0}} for model in (dapt, instruct)],
        "dtype": "bfloat16",
    }
    run_merge(MergeConfiguration.model_validate(plan), out, MergeOptions(out_shard_size=shard_bytes, quiet=True))


def residuals(folders: Folders, _shard_bytes: int) -> None:
    """The package of that name: whole models in memory."""
    import torch
    from residuals import Residuals

    dapt, base, instruct, out = (str(folder) for folder in folders)
    found = Residuals.from_models(base, instruct, dtype=torch.bfloat16)
    found.apply(dapt, out_dir=out, model_dtype=torch.bfloat16)


CONTENDERS = {"ours": ours, "mergekit": mergekit, "residuals": residuals}

if __name__ == "__main__":
    given = sys.argv[1:]
    dapt, base, instruct, out = (Path(folder) for folder in given[1:5])
    CONTENDERS[given[0]]((dapt, base, instruct, out), int(given[5]))
