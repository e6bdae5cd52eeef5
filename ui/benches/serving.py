"""The service under load and faults, as a process of its own over the experts of a home folder, on loopback.

Rows: `load` (mixed clients, several numbers of them), `soak` (the same for longer; memory), `restart` (killed in the
middle, started again), `shutdown` (ended in the middle: every accepted request ends or is told), `memory` (what each
adapter adds to one base), `step` (a token for eight answers of all experts: mixed as we do it, one pass per expert,
and by PEFT's `adapter_names`). Run: `expertsmith bench serving --json`.
"""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psutil

from router.engine import servable
from ui.load import Plan, Tally, run_load

START_SECONDS = 180.0
SOAK_SECONDS = 600.0
Row = dict[str, Any]


@dataclass(frozen=True)
class Process:
    """A running service."""

    url: str
    process: subprocess.Popen[bytes]

    @property
    def megabytes(self) -> float:
        """Resident memory."""
        return float(psutil.Process(self.process.pid).memory_info().rss) / 2**20


def run(quick: bool = False, home: Path = Path(".expertsmith")) -> dict[str, Any]:
    """All rows; `quick` takes about a minute of load instead of a quarter of an hour."""
    servable(home)
    plan = Plan(seconds=10 if quick else 60)
    rows = []
    with service(home) as up:
        for clients in (1, 8) if quick else (1, 8, 16, 32):
            rows.append(loaded(up, replace(plan, clients=clients)))
        rows.append(soaked(up, replace(plan, seconds=20 if quick else SOAK_SECONDS)))
    rows.append(restarted(home, plan))
    rows.append(terminated(home, plan))
    from ui.benches._steps import memory_rows, step_row

    return {"rows": [*rows, *memory_rows(home), step_row(home)]}


def loaded(up: Process, plan: Plan) -> Row:
    """One load."""
    tally = run_load(up.url, plan)
    return {"kind": "load", "clients": plan.clients, "seconds": round(tally.seconds, 1), **tally.row()}


def soaked(up: Process, plan: Plan) -> Row:
    """A longer load. Growth is the difference between the medians of memory in its second and its last fifth: the first
    one warms up."""
    samples: list[float] = []
    with sampled(lambda: samples.append(up.megabytes)):
        tally = run_load(up.url, plan)
    fifth = max(1, len(samples) // 5)
    early, late = statistics.median(samples[fifth : 2 * fifth]), statistics.median(samples[-fifth:])
    memory = {"rss_early_mb": round(early, 1), "rss_late_mb": round(late, 1), "growth_mb": round(late - early, 1)}
    return {"kind": "soak", "clients": plan.clients, "seconds": round(tally.seconds, 1), **memory, **tally.row()}


def restarted(home: Path, plan: Plan) -> Row:
    """Kill the process under load, start another on the same port: requests broken by the kill are seen by their
    clients as such, and none is lost."""
    with service(home) as first:
        port = int(first.url.rpartition(":")[2])
        with loading(first.url, plan) as tally:
            time.sleep(plan.seconds / 4)
            first.process.kill()
            first.process.wait()
            started = time.monotonic()
            with service(home, port):
                ready = time.monotonic() - started
                tally()
                found = tally().row()
    return {"kind": "restart", "seconds_to_ready": round(ready, 1), **found}


def terminated(home: Path, plan: Plan) -> Row:
    """Ask the process to end under load: it finishes what it accepted. Requests after that are refused a connection."""
    with service(home) as up, loading(up.url, replace(plan, seconds=plan.seconds / 2)) as tally:
        time.sleep(plan.seconds / 4)
        started = time.monotonic()
        up.process.terminate()
        code = up.process.wait(START_SECONDS)
        seconds = time.monotonic() - started
        found = tally().row()
    return {"kind": "shutdown", "seconds_to_end": round(seconds, 1), "exit_code": code, **found}


@contextmanager
def service(home: Path, port: int | None = None, *options: str) -> Iterator[Process]:
    """The service as a process, ready; `options` are those of `expertsmith serve`."""
    port = port or free_port()
    command = [sys.executable, "-m", "ui.cli", "serve", "--home", str(home), "--port", str(port), *options]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    up = Process(f"http://127.0.0.1:{port}", process)
    try:
        wait_until_ready(up)
        yield up
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_until_ready(up: Process) -> None:
    """Until it answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and up.process.poll() is None:
        try:
            if httpx.get(f"{up.url}/ready", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass  # it does not listen yet
        time.sleep(0.2)
    raise RuntimeError("The service did not start.")


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def loading(url: str, plan: Plan) -> Iterator[Callable[[], Tally]]:
    """A load in the background; calling what this yields waits for it."""
    found: list[Tally] = []
    thread = threading.Thread(target=lambda: found.append(run_load(url, plan)))
    thread.start()

    def wait() -> Tally:
        thread.join()
        return found[0]

    try:
        yield wait
    finally:
        thread.join()


@contextmanager
def sampled(take: Callable[[], None], seconds: float = 0.5) -> Iterator[None]:
    """Take a sample now and then, as long as the block lasts."""
    done = threading.Event()

    def work() -> None:
        while not done.wait(seconds):
            take()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
