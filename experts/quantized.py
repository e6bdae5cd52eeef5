"""QLoRA (Dettmers et al. 2023, arXiv 2305.14314): a frozen base in 4-bit NF4, double quantisation, adapters in bf16.

`pretrain.method=qlora`, and the same for every other training stage. The saved adapter goes over the unquantised base
like any other, so what quantisation changed in the base stays behind; the report measures the model as it is used.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from domains.errors import UserError
from experts.checkpoint import Checkpoint, load, load_tokenizer, without_dropout
from experts.device import Device, probe
from experts.journal import discard
from experts.ranks import first_alone, wait
from experts.recipe import Recipe

START = "quantized_start"


def check_can_quantize(device: Device) -> None:
    """Refuse QLoRA where it can not run."""
    if device.name != "cuda":
        raise UserError(
            f"method = qlora needs a CUDA device, and this machine has {device.name} alone. Use method = lora, or run "
            "where there is one."
        )
    if find_spec("bitsandbytes") is None:
        raise UserError("method = qlora needs bitsandbytes. Install it: pip install 'expertsmith[qlora]'.")


def check_methods(recipe: Recipe) -> None:
    """Refuse a way of training that this machine does not have."""
    methods = {section: getattr(settings, "method", "lora") for section, settings in recipe}
    if methods["reward_model"] != "lora":
        raise UserError(f"reward_model.method is {methods['reward_model']}; a reward model takes lora alone.")
    if "qlora" in methods.values():
        check_can_quantize(probe())


def load_quantized(start: Checkpoint, device: Device, folder: Path) -> Any:
    """A checkpoint in 4-bit on this process's device. One with an adapter is merged before, in a folder that is removed
    again."""
    check_can_quantize(device)
    merged = folder / START
    if start.adapter is not None:
        with first_alone():
            write_merged(start, merged)
    source = start.base if start.adapter is None else merged
    model = AutoModelForCausalLM.from_pretrained(
        source,
        config=without_dropout(source),
        quantization_config=settings(),
        dtype=torch.bfloat16,
        attn_implementation=device.train_attention,
        device_map={"": torch.cuda.current_device()},
    )
    wait()
    with first_alone():
        discard(merged)
    return model.requires_grad_(False)


def settings() -> BitsAndBytesConfig:
    """4-bit NF4; stored in bf16, so that FSDP can share it out."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        bnb_4bit_quant_storage=torch.bfloat16,
    )


def write_merged(start: Checkpoint, folder: Path) -> None:
    """A checkpoint with its adapter added, as a folder of bf16 weights."""
    if not (folder / "config.json").exists():
        load(start, torch.bfloat16, "sdpa").save_pretrained(folder)
        load_tokenizer(start.base).save_pretrained(folder)
