"""Domains side by side: a process each, with its share of the cores; it dies with its parent."""

import os
import re
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from ui.jobs import num_cores, side_by_side


def note(folder, name):
    (folder / name).write_text(f"{os.getpid()} {os.environ['OMP_NUM_THREADS']}")


def fail(folder, name):
    note(folder, name)
    raise ValueError(name)


def test_tasks_run_in_their_own_processes_with_shared_cores(tmp_path):
    side_by_side([partial(note, tmp_path, name) for name in "abc"], 2)
    found = [(tmp_path / name).read_text().split() for name in "abc"]
    assert len({pid for pid, _ in found} | {str(os.getpid())}) == 4
    assert {int(threads) for _, threads in found} == {max(1, num_cores() // 2)}


@pytest.mark.parametrize(("names", "jobs"), [("a", 4), ("ab", 1), ("", 2)])
def test_one_task_or_one_job_is_left_to_the_caller(tmp_path, names, jobs):
    side_by_side([partial(note, tmp_path, name) for name in names], jobs)
    assert not list(tmp_path.iterdir())


def test_a_failed_task_is_left_to_the_caller(tmp_path):
    side_by_side([partial(fail, tmp_path, "a"), partial(note, tmp_path, "b")], 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def kill_itself(folder, name):
    note(folder, name)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_task_is_told_with_the_memory_there_is(tmp_path, capfd):
    """What the kernel does when memory runs out: nobody else says it. A task that fails by itself says it itself."""
    tasks = [partial(kill_itself, tmp_path, "a"), partial(fail, tmp_path, "b"), partial(note, tmp_path, "c")]
    side_by_side(tasks, 2)
    said = capfd.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]
    assert said.count("was killed (exit -9)") == 1
    assert re.search(r"The machine has [\d.]+ GiB, of which [\d.]+ GiB are free now.*--jobs 1", said)


PARENT = """
import sys, time
from functools import partial
from pathlib import Path
from tests.ui.test_jobs import sleep
from ui.jobs import side_by_side
if __name__ == "__main__":
    side_by_side([partial(sleep, Path(sys.argv[1]), name) for name in "ab"], 2)
"""


def sleep(folder, name):
    note(folder, name)
    time.sleep(60)


def test_children_die_with_a_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    (tmp_path / "out").mkdir()
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "out")], env={**os.environ, "PYTHONPATH": "."}
    )
    wait_until(lambda: len(list((tmp_path / "out").iterdir())) == 2)
    parent.kill()
    parent.wait()
    pids = [int(p.read_text().split()[0]) for p in (tmp_path / "out").iterdir()]
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
