"""Two network namespaces as two hosts: one training over an Ethernet pair between them, the files on a shared disk.

Skipped where namespaces can not be made (that takes root, or CAP_NET_ADMIN).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load_file

from experts.checkpoint import WEIGHTS
from experts.device import DTYPE
from tests.fakes_ranks import environment, prepared, run_job

pytestmark = pytest.mark.slow
JOB, PORT = "beta_dpo", 29611


@dataclass(frozen=True)
class Host:
    """A namespace with its address and the name of its interface."""

    name: str
    address: str
    interface: str

    def starts(self, *command: str) -> subprocess.Popen[str]:
        known = environment(GLOO_SOCKET_IFNAME=self.interface)
        return subprocess.Popen(
            ["ip", "netns", "exec", self.name, *command], env=known, stderr=subprocess.PIPE, text=True
        )


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    """Two namespaces with a cable between them."""
    if shutil.which("ip") is None:
        pytest.skip("there is no 'ip' command")
    stem = f"x{uuid.uuid4().hex[:6]}"
    made = [Host(f"{stem}{n}", f"10.77.{int(stem[1:3], 16)}.{n + 1}", f"{stem}v{n}") for n in (0, 1)]
    try:
        for host in made:
            ip("netns", "add", host.name)
        ip("link", "add", made[0].interface, "type", "veth", "peer", "name", made[1].interface)
        for host in made:
            ip("link", "set", host.interface, "netns", host.name)
            ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", host.interface)
            ip("-n", host.name, "link", "set", host.interface, "up")
            ip("-n", host.name, "link", "set", "lo", "up")
        yield made
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    finally:
        for host in made:
            subprocess.run(["ip", "netns", "del", host.name], capture_output=True, check=False, timeout=30)


def test_two_hosts_train_what_one_process_does(hosts, tmp_path):
    alone, shared = prepared(tmp_path / "alone"), prepared(tmp_path / "shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DTYPE, "float32")
        run_job(JOB, alone)
    launcher = ["torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--master-port", str(PORT)]
    running = [
        host.starts(
            sys.executable, "-m", *launcher, "--master-addr", hosts[0].address, "--node-rank", str(number),
            "-m", "tests.fakes_ranks", str(shared), JOB,
        )
        for number, host in enumerate(hosts)
    ]  # fmt: skip
    for process in running:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err[-3000:]
    known = [json.loads((shared / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    assert known[0] == known[1]
    assert known[0]["ranks"] == 2
    expected, found = (load_file(folder / JOB / WEIGHTS) for folder in (alone, shared))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_a_host_reaches_the_other_only_over_the_cable(hosts):
    """So that the test above means something: with the cable down the address is not there."""
    ping = [sys.executable, "-c", f"import socket; socket.create_connection(('{hosts[0].address}', 1), 2)"]
    _, refused = hosts[1].starts(*ping).communicate(timeout=60)
    assert "refused" in refused, "the other host is there, and nothing listens"
    ip("-n", hosts[0].name, "link", "set", hosts[0].interface, "down")
    _, gone = hosts[1].starts(*ping).communicate(timeout=60)
    assert "refused" not in gone
    assert "Error" in gone
