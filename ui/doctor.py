"""Is this machine fit to use: versions against the security floor, device, embedded models; and are the built experts
the same in training, service and export (`ui/parity.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from domains.errors import UserError

if TYPE_CHECKING:
    from router.engine import Engine

# Known vulnerabilities are fixed from these versions on.
SECURITY_FLOOR = {"transformers": "5.17", "torch": "2.11", "sentence-transformers": "6.0", "gradio": "6.20"}


@dataclass(frozen=True)
class Finding:
    """One check and its outcome."""

    name: str
    ok: bool
    detail: str


def diagnose(home: Path, endpoint: str | None = None, key: str | None = None) -> list[Finding]:
    """All checks; those of experts where a home has some."""
    found = [*package_findings(), device_finding(), *model_findings(), expert_finding(home)]
    return [*found, *served_findings(home, endpoint, key)]


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


def served_findings(home: Path, endpoint: str | None = None, key: str | None = None) -> Iterator[Finding]:
    """Whether the experts are what they were when they were trained, wherever they run."""
    from router.engine import Engine, servable

    try:
        servable(home)
    except UserError as error:
        yield Finding("parity", endpoint is None, f"not checked: {error}")
        return
    try:
        engine = Engine(home)
    except UserError as error:
        yield Finding("parity", False, str(error))
        return
    yield Finding("template", True, f"{engine.experts['general'].template} in training and in service")
    yield from canary(engine)
    yield from parity(engine, endpoint, key)


def canary(engine: Engine) -> Iterator[Finding]:
    """Each adapter changes the output."""
    from ui.parity import LEAST_EFFECT, effects

    for name, change in effects(engine).items():
        detail = f"changes log-probabilities by up to {change:.2f} nats"
        idle = "changes nothing; it was not trained or not loaded. Build it again"
        yield Finding(f"adapter {name}", change > LEAST_EFFECT, detail if change > LEAST_EFFECT else idle)


def parity(engine: Engine, endpoint: str | None, key: str | None) -> Iterator[Finding]:
    """One expert everywhere in this process, and every expert at another endpoint."""
    from ui.parity import agreements, endpoint_agreements

    name = next(name for name, expert in engine.experts.items() if expert.has_adapter)
    found = [*agreements(engine, name), *(endpoint_agreements(engine, endpoint, key) if endpoint else ())]
    for each in found:
        needed = "all must be" if each.exact else "rounding may differ"
        yield Finding(each.name, each.ok, f"{each.share:.0%} of the greedy tokens are equal ({needed})")
