"""The service under load and faults, as a process of its own over the experts of a home folder, on loopback.

Rows: `load` (mixed clients, several numbers of them), `soak` (the same for longer; memory), `two_keys` (many clients
with one key, one with another), `restart` (killed in the
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
SOAK_SECONDS = 1800.0
SOAK_VARIABLE = "EXPERTSMITH_SOAK_SECONDS"  # another number of seconds for the soak
KEY_VARIABLE = "EXPERTSMITH_BENCH_KEYS"
Row = dict[str, Any]


@dataclass(frozen=True)
class Process:
    """A running service."""

    url: str
    process: subprocess.Popen[bytes]
    key: str = "none"

    @property
    def megabytes(self) -> float:
        """Resident memory."""
        return float(psutil.Process(self.process.pid).memory_info().rss) / 2**20


def run(quick: bool = False, home: Path = Path(".expertsmith")) -> dict[str, Any]:
    """All rows; `quick` takes about a minute of load instead of forty. The length of the soak can be given in the
    environment: EXPERTSMITH_SOAK_SECONDS."""
    servable(home)
    plan = Plan(seconds=10 if quick else 60)
    rows = []
    with service(home) as up:
        for clients in (1, 8) if quick else (1, 8, 16, 32):
            rows.append(loaded(up, replace(plan, clients=clients)))
        rows.append(soaked(up, replace(plan, seconds=soak_seconds(quick))))
    rows.append(shared(home, plan))
    rows.append(restarted(home, plan))
    rows.append(terminated(home, plan))
    from ui.benches._steps import memory_rows, step_row

    return {"rows": [*rows, *memory_rows(home), step_row(home)]}


def loaded(up: Process, plan: Plan) -> Row:
    """One load."""
    tally = run_load(up.url, plan)
    return {"kind": "load", "clients": plan.clients, "seconds": round(tally.seconds, 1), **tally.row()}


def soak_seconds(quick: bool) -> float:
    """How long to soak."""
    return float(os.environ.get(SOAK_VARIABLE, 20.0 if quick else SOAK_SECONDS))


def shared(home: Path, plan: Plan, *options: str) -> Row:
    """Two keys: all clients but one have the first, one has the second for itself. Its time to the first token stands
    apart: a fair queue lets it wait for one answer of the others at most."""
    keys = "many-clients one-client"
    with service(home, None, *options, keys=keys) as up:
        return {**loaded(up, replace(plan, key=keys, clients=max(2, plan.clients))), "kind": "two_keys"}


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


def restarted(home: Path, plan: Plan, *options: str) -> Row:
    """Kill the process under load, start another on the same port: requests broken by the kill are seen by their
    clients as such, and none is lost."""
    with service(home, None, *options) as first:
        port = int(first.url.rpartition(":")[2])
        with loading(first.url, plan) as tally:
            time.sleep(plan.seconds / 4)
            first.process.kill()
            first.process.wait()
            started = time.monotonic()
            with service(home, port, *options):
                ready = time.monotonic() - started
                tally()
                found = tally().row()
    return {"kind": "restart", "seconds_to_ready": round(ready, 1), **found}


def terminated(home: Path, plan: Plan, *options: str) -> Row:
    """Ask the process to end under load: it finishes what it accepted. Requests after that are refused a connection."""
    with service(home, None, *options) as up, loading(up.url, replace(plan, seconds=plan.seconds / 2)) as tally:
        time.sleep(plan.seconds / 4)
        started = time.monotonic()
        up.process.terminate()
        code = up.process.wait(START_SECONDS)
        seconds = time.monotonic() - started
        found = tally().row()
    return {"kind": "shutdown", "seconds_to_end": round(seconds, 1), "exit_code": code, **found}


@contextmanager
def service(home: Path, port: int | None = None, *options: str, keys: str = "") -> Iterator[Process]:
    """The service as a process, ready; `options` are those of `expertsmith serve`, `keys` its keys."""
    port = port or free_port()
    command = [sys.executable, "-m", "ui.cli", "serve", "--home", str(home), "--port", str(port), *options]
    command += ["--api-key-env", KEY_VARIABLE] if keys else []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), KEY_VARIABLE: keys}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    up = Process(f"http://127.0.0.1:{port}", process, (keys.split() or ["none"])[0])
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
            headers = {"Authorization": f"Bearer {up.key}"}
            if httpx.get(f"{up.url}/ready", timeout=5, headers=headers).status_code == 200:
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
