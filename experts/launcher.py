"""Several processes for one build: the command line of `accelerate launch` for a shipped or a given configuration.

`expertsmith build DOMAIN --launch fsdp2` runs itself on every GPU. A scheduler's own launcher does as well: `torchrun
--nproc-per-node 8 -m ui.cli build DOMAIN`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate.commands.config.config_args import ClusterConfig
from accelerate.commands.launch import launch_command_parser

from domains.errors import UserError, unknown_name

SHIPPED = Path(__file__).parent / "launch"
SECTIONS = {"fsdp_config": "fsdp_", "deepspeed_config": ""}
NEEDS_ACCELERATOR = ("MULTI_GPU", "FSDP", "DEEPSPEED")
SHARED_IN_VERSION = 2


@dataclass(frozen=True)
class Launch:
    """An accelerate configuration and what is set besides it."""

    file: Path
    settings: Mapping[str, Any]
    overrides: Mapping[str, str]

    @property
    def kind(self) -> str:
        """How the work is shared: MULTI_CPU, MULTI_GPU, FSDP, DEEPSPEED, NO."""
        return str(self.settings.get("distributed_type", "NO"))

    def value(self, name: str, default: Any = None) -> Any:
        """A setting, the given one before the file's."""
        return self.overrides.get(name, self.settings.get(name, default))

    def command(self, arguments: Sequence[str]) -> list[str]:
        """The command that runs `python -m ui.cli ARGUMENTS` in every process."""
        flags = dict(self.overrides) | {"config_file": str(self.file), "num_processes": str(self.num_processes())}
        if int(self.value("num_machines", 1)) < 2 and self.value("main_process_port") is None:
            flags["main_process_port"] = "0"  # any free one: two builds on one machine do not meet
        given = [part for name, value in flags.items() for part in (f"--{name}", value)]
        if self.kind == "MULTI_CPU" and not self.settings.get("mpirun_config"):
            given.append("--multi_gpu")  # that is how it starts several processes; they find that they are on a CPU
        return [sys.executable, "-m", "accelerate.commands.launch", *given, "--module", "ui.cli", *arguments]

    def environment(self) -> dict[str, str]:
        """The environment of the launcher."""
        on_cpu = self.kind == "MULTI_CPU" or bool(self.settings.get("use_cpu"))
        return dict(os.environ) | ({"ACCELERATE_USE_CPU": "true"} if on_cpu else {})

    def num_processes(self) -> int:
        """How many processes on all hosts: what is set, else one for each GPU."""
        given = self.value("num_processes")
        found = int(given) if given is not None else torch.cuda.device_count() * int(self.value("num_machines", 1))
        if found < 1:
            raise UserError(
                f"{self.file.name} does not say how many processes, and this machine has no GPU to count. "
                "Add --launch-set num_processes=2, or use --launch cpu."
            )
        return found


def launch_names() -> tuple[str, ...]:
    """Names of the shipped configurations."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.yaml")))


def load_launch(name_or_path: str, overrides: Sequence[str] = ()) -> Launch:
    """A shipped configuration by name, or a file of accelerate's, with `key=value` settings; refused where it can not
    run here."""
    file = find_launch(name_or_path)
    launch = Launch(file, read_settings(file), dict(parsed(override) for override in overrides))
    check_can_run(launch)
    launch.num_processes()
    return launch


def find_launch(name_or_path: str) -> Path:
    """The file of a configuration."""
    for path in (Path(name_or_path), SHIPPED / f"{name_or_path}.yaml"):
        if path.is_file():
            return path.resolve()
    raise unknown_name("launch configuration (or accelerate's YAML file)", name_or_path, launch_names())


def options() -> frozenset[str]:
    """The names of accelerate's launch options."""
    return frozenset(action.dest for action in launch_command_parser()._actions)


def parsed(override: str) -> tuple[str, str]:
    """`key=value`, where the key is an option of `accelerate launch`."""
    name, equals, value = override.partition("=")
    if not equals:
        raise UserError(f"--launch-set takes KEY=VALUE, not '{override}'. For example num_processes=4.")
    if name not in options():
        raise unknown_name("option of accelerate launch", name, sorted(options()))
    return name, value


def read_settings(file: Path) -> dict[str, Any]:
    """A configuration by accelerate's own schema, its sections' keys too."""
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError("it is no table of keys")
        ClusterConfig.from_yaml_file(str(file))
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise UserError(
            f"{file.name} is no configuration of accelerate: {error}. 'accelerate config' writes one."
        ) from None
    for section, prefix in SECTIONS.items():
        for key in settings.get(section) or {}:
            full = key if key.startswith(prefix) else prefix + key
            if full not in options():
                raise unknown_name(f"key in [{section}] of {file.name}", key, sorted(options()))
    return settings


def check_can_run(launch: Launch) -> None:
    """Refuse what this machine or our checkpoints can not do."""
    if launch.kind in NEEDS_ACCELERATOR and not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        raise UserError(
            f"{launch.file.name} ({launch.kind}) needs a GPU, and PyTorch finds none here. Use --launch cpu to try it."
        )
    if launch.kind == "DEEPSPEED" and find_spec("deepspeed") is None:
        raise UserError(f"{launch.file.name} needs DeepSpeed. Install it: pip install 'expertsmith[deepspeed]'.")
    version = (launch.settings.get("fsdp_config") or {}).get("fsdp_version", 1)
    if launch.kind == "FSDP" and int(version) < SHARED_IN_VERSION:
        raise UserError(f"{launch.file.name} asks for FSDP {version}. Set fsdp_config.fsdp_version: 2.")
