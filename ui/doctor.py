"""Is this machine fit to use: versions against the security floor, device, embedded models; and are the built experts
the same in training, service and export (`ui/parity.py`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from domains.errors import UserError

if TYPE_CHECKING:
    from experts.expert import Expert
    from router.engine import Engine
    from ui.parity import Agreement

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

    from experts.device import has_fast_bf16, probe

    device = probe()
    slow = ", a processor without fast bf16" if device.is_cpu and not has_fast_bf16() else ""
    return Finding("device", True, f"{device.name}, {device.dtype}, {torch.get_num_threads()} threads{slow}")


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
        experts = servable(home)
    except UserError as error:
        yield Finding("parity", endpoint is None, f"not checked: {error}")
        return
    try:
        engine = Engine(home)
    except UserError as error:
        yield Finding("parity", False, str(error))
        return
    yield from weight_findings(experts)
    yield Finding("template", True, f"{engine.experts['general'].template} in training and in service")
    yield from canary(engine)
    yield from parity(engine, endpoint, key)


def weight_findings(experts: Mapping[str, Expert]) -> Iterator[Finding]:
    """The digest of each expert's own weights."""
    from experts.digests import weights_digest

    for name, expert in experts.items():
        if expert.has_adapter:
            yield Finding(f"weights {name}", True, weights_digest(expert.folder)[:16])


def canary(engine: Engine) -> Iterator[Finding]:
    """Each adapter changes the output."""
    from ui.parity import LEAST_EFFECT, effects

    for name, change in effects(engine).items():
        detail = f"changes log-probabilities by up to {change:.2f} nats"
        idle = "changes nothing; it was not trained or not loaded. Build it again"
        yield Finding(f"adapter {name}", change > LEAST_EFFECT, detail if change > LEAST_EFFECT else idle)


def parity(engine: Engine, endpoint: str | None, key: str | None) -> Iterator[Finding]:
    """Every expert with an adapter everywhere in this process, and every expert at another endpoint."""
    from ui.parity import agreements, endpoint_agreements

    for name, expert in engine.experts.items():
        if expert.has_adapter:
            yield from map(agreement_finding, agreements(engine, name))
    if endpoint is None:
        return
    try:
        yield from map(agreement_finding, endpoint_agreements(engine, endpoint, key))
    except UserError as error:
        yield Finding(f"endpoint {endpoint}", False, str(error))


def agreement_finding(found: Agreement) -> Finding:
    """A share in words; an expert that is not there has none."""
    if found.share is None:
        return Finding(found.name, False, "the endpoint has no model of this name; load the adapter there")
    needed = "all must be" if found.exact else "rounding may differ"
    return Finding(found.name, found.ok, f"{found.share:.0%} of the greedy tokens are equal ({needed})")
