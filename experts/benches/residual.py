"""The residual of a sharded checkpoint against mergekit's task arithmetic and the `residuals` package: wall time and
peak memory, each run a process of its own, in turns; the difference to the exact sum; copying the same bytes.

Run: `expertsmith bench residual --json`; `--bytes 100000000` is smaller, `--python PATH` runs the two others with
the interpreter of another environment. `bytes` is the size of the weights of the pair (base and instruct) that is
generated and copied; the domain model is half as much more, so a merge reads and writes twice `bytes`, as a copy does.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from domains.errors import UserError
from experts.benches import _contender
from experts.benches._contender import CONTENDERS
from experts.benches._process import Measured, measured
from experts.benches._trio import write_trio
from experts.residual import Parents, Weights

NUM_BYTES, QUICK_BYTES, LEAST_BYTES = 2 * 10**9, 2 * 10**8, 4 * 10**7
ROUNDS = 3
SPACE = 5
BLOCK = 1 << 22
Row = dict[str, Any]


def run(quick: bool = False, home: Path = Path(), num_bytes: int | None = None, python: str = "") -> dict[str, Any]:
    """A row per contender; one that cannot run says why."""
    size = num_bytes or (QUICK_BYTES if quick else NUM_BYTES)
    if size < LEAST_BYTES:
        raise UserError(f"--bytes {size} is too small to measure. Take at least {LEAST_BYTES}.")
    with TemporaryDirectory(prefix="expertsmith-bench-") as name:
        folder = Path(name)
        if shutil.disk_usage(folder).free < SPACE * size:
            raise UserError(f"{folder} has less than {SPACE * size / 1e9:.0f} GB free. Set TMPDIR to a larger disk.")
        parents, stored = write_trio(folder, size // 2)
        runs: dict[str, list[Measured]] = {contender: [] for contender in CONTENDERS}
        copies = []
        for number in range(1 if quick else ROUNDS):
            copies.append(copy_seconds((parents.base, parents.instruct), folder / "copy"))
            for contender in rotated(number):
                if not runs[contender] or runs[contender][-1].status == 0:
                    runs[contender].append(merge(contender, parents, folder / contender, python))
                    say(contender, runs[contender][-1])
        rows = [row_of(contender, found, parents, folder / contender) for contender, found in runs.items()]
        return {"rows": rows, "bytes": 2 * stored, "disk_copy_seconds": round(statistics.median(copies), 2)}


def rotated(number: int) -> list[str]:
    """The contenders, another one first in each round."""
    names = list(CONTENDERS)
    return names[number % len(names) :] + names[: number % len(names)]


def say(contender: str, found: Measured) -> None:
    """Tell of a run."""
    times = f"{found.seconds:.1f} s ({found.cpu_seconds:.1f} s of CPU)"
    print(f"{contender}: {times}, {found.peak_mb:.0f} MB, exit {found.status}", file=sys.stderr, flush=True)


def merge(contender: str, parents: Parents, out: Path, python: str) -> Measured:
    """One run, the disk at rest before it."""
    shutil.rmtree(out, ignore_errors=True)
    os.sync()
    package = Path(__file__).parents[2]
    ours = contender == "ours"
    environment = dict(os.environ) | ({"PYTHONPATH": str(package)} if ours else {}) | {"HF_HUB_OFFLINE": "1"}
    if not ours:
        environment.pop("PYTHONPATH", None)
    interpreter = sys.executable if ours or not python else python
    folders = [str(folder) for folder in (parents.dapt, parents.base, parents.instruct, out)]
    shard = max(path.stat().st_size for path in parents.base.glob("*.safetensors"))
    return measured([interpreter, str(Path(_contender.__file__)), contender, *folders, str(shard)], environment)


def copy_seconds(sources: Sequence[Path], target: Path) -> float:
    """Copy the weights of some models as any program would."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    os.sync()
    started = time.monotonic()
    for source in sources:
        for path in sorted(source.glob("*.safetensors")):
            shutil.copyfile(path, target / f"{source.name}-{path.name}")
    return time.monotonic() - started


def row_of(contender: str, runs: list[Measured], parents: Parents, out: Path) -> Row:
    """The medians; without a run that succeeded, the reason."""
    good = [found for found in runs if found.status == 0]
    row: Row = {"name": contender, "seconds": None, "peak_mb": None, "max_abs_difference": None}
    if not good:
        lines = runs[-1].errors.strip().splitlines()
        return row | {"reason": lines[-1] if lines else f"exit code {runs[-1].status}"}
    return row | {
        "seconds": round(statistics.median(found.seconds for found in good), 2),
        "peak_mb": round(statistics.median(found.peak_mb for found in good), 1),
        "max_abs_difference": largest_difference(parents, out),
        "cpu_seconds": round(statistics.median(found.cpu_seconds for found in good), 2),
        "anonymous_mb": round(statistics.median(found.anonymous_mb for found in good), 1),
        "all_seconds": [round(found.seconds, 2) for found in good],
    }


def largest_difference(parents: Parents, out: Path) -> float:
    """The largest absolute difference of a result to `dapt + instruct - base` of the stored numbers in double
    precision, before any rounding. A result that is stored in bf16 is at best half a step of bf16 away."""
    models = [Weights(folder) for folder in (parents.dapt, parents.base, parents.instruct, out)]
    largest = 0.0
    for name in models[0].files:
        flat = [model.tensor(name).view(-1) for model in models]
        for first in range(0, flat[0].numel(), BLOCK):
            dapt, base, instruct, found = (part[first : first + BLOCK].double() for part in flat)
            largest = max(largest, float((dapt + instruct - base - found).abs().max()))
    return largest
