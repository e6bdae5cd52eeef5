"""A model as files: a base (folder or hub id) and, optionally, one adapter over it in PEFT layout.

Adapters compose exactly: concatenating the low-rank factors of several adapters is their sum, so a model that went
through several stages is one base and one adapter, and any number of experts share one base in memory.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig
from transformers.utils import logging as transformers_logging

from domains.errors import UserError
from experts.digests import digest_of, tokenizer_digest, weights_digest
from judges.loading import LOADING

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
EAGER = "eager"  # the attention that every model of transformers has


@dataclass(frozen=True)
class Checkpoint:
    """A base model and an adapter folder over it (None: the base alone). `tokenizer` is the folder of the tokenizer for
    conversations where it is not the base's: a published base model often has no chat template."""

    base: Path
    adapter: Path | None = None
    tokenizer: Path | None = None

    @property
    def tokenizer_folder(self) -> Path:
        """Where the tokenizer for conversations is."""
        return self.tokenizer or self.base

    def digest(self) -> str:
        """The digest of all of it: weights, tokenizer and chat template."""
        adapter = weights_digest(self.adapter) if self.adapter else None
        return digest_of([weights_digest(self.base), adapter, tokenizer_digest(self.tokenizer_folder)])


@dataclass(frozen=True)
class LowRank:
    """The update of one weight matrix: `scaling * up @ down`."""

    down: Tensor
    up: Tensor
    scaling: float

    def delta(self) -> Tensor:
        """The full update in fp32."""
        return (self.up.float() @ self.down.float()) * self.scaling


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model, padding on the left for generation."""
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base(folder: Path, dtype: torch.dtype, attention: str) -> Any:
    """The base model, remote code refused. Nothing is dropped at random, in training either, so that log-probabilities
    are the same every time. A model that does not take the attention that is asked for has its plain one."""
    transformers_logging.disable_progress_bar()
    config = json.loads((folder / "config.json").read_text()) if (folder / "config.json").exists() else {}
    if "auto_map" in config:
        raise UserError(f"{folder} asks to run its own code (auto_map). Only architectures of transformers are loaded.")
    load_with = partial(AutoModelForCausalLM.from_pretrained, folder, config=without_dropout(folder), dtype=dtype)
    with LOADING:
        try:
            return load_with(attn_implementation=attention)
        except ValueError as error:
            if attention == EAGER or "attention implementation" not in str(error):
                raise
        warnings.warn(f"{folder.name} does not take {attention} attention: it runs with eager attention.", stacklevel=2)
        return load_with(attn_implementation=EAGER)


def without_dropout(folder: Path) -> PreTrainedConfig:
    """A model's configuration with every probability of dropout 0."""
    config: PreTrainedConfig = AutoConfig.from_pretrained(folder)
    stop_dropout(config)
    return config


def stop_dropout(config: PreTrainedConfig) -> None:
    """Set every probability of dropout to 0, those of nested configurations too."""
    for name, value in list(vars(config).items()):
        if isinstance(value, PreTrainedConfig):
            stop_dropout(value)
        elif isinstance(value, float) and ("dropout" in name or name.endswith(("pdrop", "layerdrop"))):
            setattr(config, name, 0.0)


def load(checkpoint: Checkpoint, dtype: torch.dtype, attention: str) -> Any:
    """The model with its adapter added into the weights (fp32 arithmetic, then `dtype`)."""
    model = load_base(checkpoint.base, dtype, attention)
    if checkpoint.adapter is not None:
        add_adapter(model, read_adapter(checkpoint.adapter))
    return model.eval()


@torch.no_grad()
def add_adapter(model: nn.Module, adapter: dict[str, LowRank]) -> None:
    """Add an adapter's updates to a model's weights in place."""
    for name, update in adapter.items():
        weight = model.get_parameter(f"{name}.weight")
        weight.copy_(added(name, weight, update).to(weight.dtype))


def added(name: str, weight: Tensor, update: LowRank) -> Tensor:
    """A weight matrix with an update, in fp32."""
    if weight.shape != (update.up.shape[0], update.down.shape[1]):
        raise UserError(
            f"The adapter changes '{name}' as {update.up.shape[0]} x {update.down.shape[1]}, but the model has "
            f"{' x '.join(map(str, weight.shape))} there. "
            "Use the adapter with the base model that it was trained on."
        )
    return weight.float() + update.delta().to(weight.device)


def read_adapter(folder: Path) -> dict[str, LowRank]:
    """The low-rank updates of an adapter in PEFT layout, by module name."""
    try:
        config = json.loads((folder / CONFIG).read_text())
        tensors = load_file(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise UserError(
            f"{folder} is not an adapter ({Path(str(error.filename)).name} is missing). Build it again."
        ) from None
    scaling = config["lora_alpha"] / config["r"]
    names = sorted({key.split(".lora_")[0] for key in tensors})
    return {
        name.removeprefix("base_model.model."): LowRank(
            tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"], scaling
        )
        for name in names
    }


def write_adapter(updates: dict[str, LowRank], base: Path, folder: Path) -> None:
    """Write updates in PEFT layout (scaling 1: it is folded into the up factor)."""
    if not updates:
        raise UserError("An adapter without any weights cannot be written.")
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for name, update in updates.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = update.down.float().contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = (update.up.float() * update.scaling).contiguous()
    rank = max(update.down.shape[0] for update in updates.values())
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    modules = sorted({name.rsplit(".", 1)[-1] for name in updates})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base.name,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": modules,
        "inference_mode": True,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2))


def compose(parts: Sequence[tuple[dict[str, LowRank], float]]) -> dict[str, LowRank]:
    """The sum of scaled adapters as one adapter, by concatenating factors: exact."""
    names = sorted({name for updates, _ in parts for name in updates})
    sums = {name: concatenated([(u[name], scale) for u, scale in parts if name in u]) for name in names}
    rank = max((update.down.shape[0] for update in sums.values()), default=0)
    return {name: padded(update, rank) for name, update in sums.items()}


def concatenated(parts: Sequence[tuple[LowRank, float]]) -> LowRank:
    """One matrix's updates as one update."""
    down = torch.cat([update.down.float() for update, _ in parts])
    up = torch.cat([update.up.float() * (update.scaling * scale) for update, scale in parts], dim=1)
    return LowRank(down, up, 1.0)


def padded(update: LowRank, rank: int) -> LowRank:
    """The same update with zero factors added up to `rank`: an adapter has one rank."""
    missing = rank - update.down.shape[0]
    down, up = nn.functional.pad(update.down, (0, 0, 0, missing)), nn.functional.pad(update.up, (0, missing))
    return LowRank(down, up, update.scaling)


def joined(start: Checkpoint, own: Path, target: Path) -> Checkpoint:
    """A trained adapter together with the one that its training started from, as one adapter in `target`."""
    parts = [(read_adapter(folder), 1.0) for folder in (start.adapter, own) if folder]
    write_adapter(compose(parts), start.base, target)
    return replace(start, adapter=target)
