"""Domains side by side: each in a process of its own with its share of the cores.

On a CPU two processes of one thread do more than one process of two. A child dies with its parent, also when that one
is killed; what it left unfinished goes on in the next run. A task that fails is left to the caller, which runs it again
in its own process and so meets the error itself; of one that the system killed it says so, because nobody else does.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

import psutil

Task = Callable[[], object]
GIB = 2**30


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
            codes = [process.exitcode for process in running]  # asked once: one may end at any moment
            for code in codes:
                tell_if_killed(code)
            running = [process for process, code in zip(running, codes, strict=True) if code is None]
    finally:
        for process in running:
            process.terminate()
            process.join()


def tell_if_killed(code: int | None) -> None:
    """Say that a process was killed (a negative exit code is a signal), which it could not say itself."""
    if code is None or code >= 0:
        return
    memory = psutil.virtual_memory()
    cause = " The usual reason is that the memory was used up." if -code == signal.SIGKILL else ""
    print(
        f"A process beside others was killed (exit {code}).{cause} The machine has {memory.total / GIB:.1f} GiB, of "
        f"which {memory.available / GIB:.1f} GiB are free now. Its work goes on here, alone; if that is killed too, "
        "stop other programs, or run the same command again with --jobs 1.",
        file=sys.stderr,
        flush=True,
    )


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
