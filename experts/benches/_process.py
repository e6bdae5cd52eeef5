"""A command measured from outside: wall time, and the largest resident memory of it and its children together."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.02


@dataclass(frozen=True)
class Measured:
    """What a command took. `cpu_seconds` are of all its threads and children, so they depend little on what else runs;
    `anonymous_mb` leaves out pages of files, which the kernel may take back at any time."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    anonymous_mb: float
    status: int
    errors: str


@dataclass
class Peak:
    """The largest sums so far, in bytes."""

    resident: int = 0
    anonymous: int = 0

    def sample(self, root: psutil.Process) -> None:
        """Look once at a process and all below it."""
        resident = anonymous = 0
        try:
            for process in (root, *root.children(recursive=True)):
                memory = process.memory_info()
                resident += memory.rss
                anonymous += memory.rss - memory.shared
        except psutil.Error:
            return
        resident = max(resident, high_water(root.pid))
        self.resident, self.anonymous = max(self.resident, resident), max(self.anonymous, anonymous)


def high_water(pid: int) -> int:
    """The largest resident memory of a process so far in bytes, where the kernel says it (Linux). Not `ru_maxrss`,
    which begins at that of the process which started it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def own_high_water() -> int:
    """The largest resident memory of this process so far in bytes; `ru_maxrss` where the kernel has nothing better."""
    unit = 1 if sys.platform == "darwin" else 1024
    return high_water(os.getpid()) or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measured(command: Sequence[str], environment: Mapping[str, str]) -> Measured:
    """Run a command to its end."""
    started = time.monotonic()
    process = subprocess.Popen(command, env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors: list[bytes] = []
    assert process.stderr is not None
    reader = threading.Thread(target=lambda pipe: errors.append(pipe.read()), args=(process.stderr,))
    reader.start()
    peak, root = Peak(), psutil.Process(process.pid)
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        peak.sample(root)
        time.sleep(SAMPLE_SECONDS)
    seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    reader.join()
    process.stderr.close()
    text = b"".join(errors).decode(errors="replace")
    cpu = usage.ru_utime + usage.ru_stime
    return Measured(seconds, cpu, peak.resident / 2**20, peak.anonymous / 2**20, process.returncode, text)
