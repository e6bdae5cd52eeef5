"""Is this machine fit to use: versions against the security floor, device, embedded models, built experts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.version import Version

from domains.errors import UserError

# Known vulnerabilities are fixed from these versions on.
SECURITY_FLOOR = {"transformers": "5.17", "torch": "2.11", "sentence-transformers": "6.0", "gradio": "6.20"}


@dataclass(frozen=True)
class Finding:
    """One check and its outcome."""

    name: str
    ok: bool
    detail: str


def diagnose(home: Path) -> list[Finding]:
    """All checks."""
    return [*package_findings(), device_finding(), *model_findings(), expert_finding(home)]


def package_findings() -> Iterator[Finding]:
    """Installed versions against the floor."""
    for name, floor in SECURITY_FLOOR.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Finding(name, False, f"not installed; install {name}>={floor}")
            continue
        ok = Version(found).release >= Version(floor).release
        yield Finding(name, ok, found if ok else f"{found} has known vulnerabilities; install {name}>={floor}")


def device_finding() -> Finding:
    """The device and its number format."""
    import torch

    from experts.device import probe

    device = probe()
    return Finding("device", True, f"{device.name}, {device.dtype}, {torch.get_num_threads()} threads")


def model_findings() -> Iterator[Finding]:
    """The embedded models."""
    from experts.digests import weights_digest
    from experts.embedded import foundation_folder
    from judges.encoder import encoder_folder

    for name, find in (("foundation", foundation_folder), ("encoder", encoder_folder)):
        try:
            yield Finding(name, True, f"weights {weights_digest(find())[:16]}")
        except UserError as error:
            yield Finding(name, False, str(error))


def expert_finding(home: Path) -> Finding:
    """The experts in the home folder."""
    from experts.expert import built_experts

    found = built_experts(home) if home.is_dir() else {}
    return Finding(
        "experts", True, ", ".join(found) or f"none in '{home}' yet; run 'expertsmith build mortgage caregiving'"
    )
