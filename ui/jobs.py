"""Domains side by side: each in a process of its own with its share of the cores.

On a CPU two processes of one thread do more than one process of two. A child dies with its parent, also when that one
is killed; what it left unfinished goes on in the next run. A task that fails is left to the caller, which runs it again
in its own process and so meets the error itself.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

Task = Callable[[], object]


def side_by_side(tasks: Sequence[Task], jobs: int) -> None:
    """Run picklable tasks, at most `jobs` at a time; nothing happens for one task or one job."""
    if min(jobs, len(tasks)) < 2:
        return
    context = get_context("spawn")
    threads = max(1, num_cores() // min(jobs, len(tasks)))
    waiting = [context.Process(target=child, args=(task, threads, i), daemon=True) for i, task in enumerate(tasks)]
    running: list[BaseProcess] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(waiting.pop(0))
                running[-1].start()
            wait([process.sentinel for process in running])
            running = [process for process in running if process.is_alive()]
    finally:
        for process in running:
            process.terminate()
            process.join()


def num_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def child(task: Task, threads: int, place: int) -> None:
    """What a process does: share the cores, keep its progress bar on its own line, watch the parent, do the task."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["TQDM_POSITION"] = str(place)
    threading.Thread(target=die_with_parent, daemon=True).start()
    try:
        task()
    except (Exception, KeyboardInterrupt) as error:
        print(f"A process beside others ended early ({type(error).__name__}: {error}).", file=sys.stderr, flush=True)
        os._exit(1)  # the caller does the task again: it meets the same error, or goes on


def die_with_parent() -> None:
    """End this process when its parent is gone."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
