"""kill -9 in the middle of a burst of the real trainer, on a built expert: nothing verified is lost, the run resumes.

`python -m tests.experts.improvement.test_kill HOME MODE` is the process that is killed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experts.improvement.learner import TEXT, lesson_key, lesson_of
from experts.improvement.run import Improvement, improve
from experts.recipe import Improve
from judges.samples import repaired
from tests.fakes_improvement import Digest

EXPERT = "toy/conversation"
ROOT = Path(__file__).parents[3]
SETTINGS = Improve(
    threshold=0.6, prompts=6, steps=30, rank=2, max_new_tokens=8, learning_rate=1e-3, row_tokens=128,
    context_tokens=256, max_tasks=18, held_out_limit=3, max_staleness=60,
)  # fmt: skip


def started(home, mode):
    command = [sys.executable, "-m", "tests.experts.improvement.test_kill", str(home), mode]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE)


def checkpoints(home):
    """Checkpoints of bursts that have not ended."""
    return list(home.glob(f"improve/{EXPERT}/run-*/work/**/checkpoint-*"))


def verified(home):
    """The keys of the lessons that finished threads have found."""
    rows = [row for path in home.glob(f"improve/{EXPERT}/run-*/threads.jsonl") for row in repaired(path)]
    return {lesson_key(lesson_of(row["lesson"], TEXT), TEXT) for row in rows if row["lesson"]}


def kept(home):
    """The keys in the buffer's file."""
    return {row["key"] for row in repaired(home / "improve" / EXPERT / "replay.jsonl")}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_kill_in_a_burst_of_the_trainer_loses_no_verified_pair(built, tmp_path, mode):
    """Killed when the burst has written its first checkpoint: every lesson of a finished thread is in the buffer when
    the same command has ended, and where answers wait for training, the outcome is that of a run without a kill."""
    names = ("killed", "whole") if mode == "sync" else ("killed",)
    homes = [shutil.copytree(built.home, tmp_path / name) for name in names]
    with started(homes[0], mode) as first:
        until = time.monotonic() + 120
        while not checkpoints(homes[0]):
            assert first.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < until
            time.sleep(0.01)
        os.kill(first.pid, signal.SIGKILL)
    before = verified(homes[0])
    assert before
    assert not list(homes[0].rglob("result.json"))
    results = []
    for home in homes:
        with started(home, mode) as process:
            results.append(json.loads(process.communicate(timeout=300)[0].splitlines()[-1]))
            assert process.returncode == 0
    assert before <= verified(homes[0]) <= kept(homes[0])
    assert {result["version"] for result in results} == {1}
    if mode == "sync":
        assert verified(homes[0]) == verified(homes[1])
        assert results[0]["threads"] == results[1]["threads"]


if __name__ == "__main__":
    settings = SETTINGS.model_copy(update={"mode": sys.argv[2]})
    found = improve(Improvement(Path(sys.argv[1]), EXPERT, settings, 0, lambda line: None, Digest()))
    print(json.dumps({"version": found["version"], "threads": found["threads"]}), flush=True)
