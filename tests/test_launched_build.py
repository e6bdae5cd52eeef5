"""`build --launch cpu`: the whole build by two processes is that of one, also when a process is killed in the middle.

The recipe's batches are even (6 rows of documents, 4 of everything else), so the global batch of two processes with one
row each is that of one process with two rows.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from experts.build import run_build
from experts.checkpoint import WEIGHTS
from experts.device import DTYPE
from experts.train import COMPLETE
from tests.fakes import TRAINED_STAGES, tiny_build, tiny_recipe, trained
from tests.fakes_ranks import environment

pytestmark = pytest.mark.slow
TRACKS = ("pretrain", "residual", "structured", "conversation", "multi_task", "sft_after_dapt")
SHARED = {"row_tokens": 64, "max_examples": 4, "accumulation": 1, "checkpoint_steps": 1, "learning_rate": 0.01}
MORE = ("align.epochs=6", "foundation.shipped_house=false")


def overrides(batch_rows: int) -> list[str]:
    return [*trained(**SHARED, batch_rows=batch_rows), *MORE]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The domain, the base, and `home` built by this one process with two rows a step."""
    folder = tmp_path_factory.mktemp("launched")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DTYPE, "float32")
        run_build(tiny_build(folder, *overrides(2)), lambda line: None)
    return folder


def command(folder: Path, home: str) -> list[str]:
    given = [f"foundation.base={folder / 'base'}", *overrides(1)]
    settings = [part for override in given for part in ("--set", override)]
    options = ["--home", str(folder / home), "--recipe", "tiny", "--launch", "cpu", "--json"]
    return [sys.executable, "-m", "ui.cli", "build", str(folder / "toy"), *options, *settings]


def launched(folder: Path, home: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(folder, home), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture(scope="module")
def together(folder):
    """What the command says of an uninterrupted build by two processes."""
    process = launched(folder, "together")
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out)


def assert_same(first: Path, second: Path, tolerance: float) -> None:
    for track in TRACKS:
        expected, found = (load_file(home / "toy" / track / WEIGHTS) for home in (first, second))
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


def test_the_recipe_is_what_the_comparison_says(folder):
    recipe = tiny_recipe(folder / "base", *overrides(1))
    assert {getattr(recipe, stage).batch_rows for stage in TRAINED_STAGES} == {1}
    assert {getattr(recipe, stage).accumulation for stage in TRAINED_STAGES} == {1}


def test_every_adapter_is_that_of_one_process(folder, together):
    assert_same(folder / "home", folder / "together", 2e-4)


def test_the_command_prints_once_what_was_built(together):
    stages = {record["stage"]: record for record in together["stages"]}
    assert list(stages) == ["house/instruct", *(f"toy/{track}" for track in TRACKS)]
    assert not any(record["reused"] for record in stages.values())
    assert {name for name, record in stages.items() if record["metrics"].get("ranks") == 2} == {
        name for name in stages if name != "toy/residual"
    }
    assert together["router"]


def rank_one(launcher: int) -> psutil.Process:
    """The process of the second rank."""
    for process in psutil.Process(launcher).children(recursive=True):
        if process.environ().get("RANK") == "1":
            return process
    raise AssertionError("no second rank")


def test_a_build_goes_on_after_one_rank_is_killed(folder, together):
    """Killed between two checkpoints of the conversation stage: the launcher ends the other rank and fails, and the
    same command ends with the same weights."""
    process = launched(folder, "killed")
    scratch = f"killed/toy/.conversation-*/track/checkpoints/checkpoint-*/{COMPLETE}"
    end = time.monotonic() + 400
    while not list(folder.glob(scratch)) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    os.kill(rank_one(process.pid).pid, signal.SIGKILL)
    _, err = process.communicate(timeout=200)
    assert process.returncode != 0
    assert "SIGKILL" in err or "Signal 9" in err
    assert not (folder / "killed" / "toy" / "conversation").exists()
    assert list(folder.glob(scratch)), "a checkpoint to go on from"

    again = launched(folder, "killed")
    out, err = again.communicate(timeout=500)
    assert again.returncode == 0, err[-3000:]
    reused = {record["stage"] for record in json.loads(out)["stages"] if record["reused"]}
    assert reused == {"house/instruct", "toy/pretrain", "toy/residual", "toy/structured"}
    assert_same(folder / "together", folder / "killed", 1e-6)
