"""An expert as one model: the adapter added into the base's weights, as a safetensors folder or a GGUF file.

`expertsmith export EXPERT --format safetensors|gguf --out DIR`. Merging rounds: what was written is read again and
answers the probes beside the expert itself, and the share of equal greedy tokens stands in `export.json`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from transformers import AutoModelForCausalLM

from domains.atomic import write_text_atomically
from domains.errors import UserError, unknown_name
from domains.example import Message
from experts.checkpoint import load, load_base, load_tokenizer
from experts.device import probe
from experts.digests import folder_digest
from experts.embedded import foundation_folder
from experts.encoding import prompt_ids, template_digest
from experts.expert import Expert, built_experts
from experts.foundation import EMBEDDED, model_folder
from experts.gguf_file import Format, write_gguf

Kind = Literal["safetensors", "gguf"]
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
PROBES = (
    "My escrow payment went up. What can I do?",
    "My mother refuses to bathe and gets angry when I insist.",
    "Name three fruits.",
    "What is a balloon payment?",
)
PROBE_TOKENS = 32
CARD = "export.json"


@dataclass(frozen=True)
class Exported:
    """What was written: its path, its digest, and how far its greedy answers to the probes are the expert's own."""

    path: Path
    digest: str
    same_tokens: float
    probes: int

    def as_dict(self) -> dict[str, Any]:
        """The content of `export.json`."""
        return {**vars(self), "path": str(self.path)}


def base_of(expert: Expert) -> Path:
    """The folder of an expert's base model."""
    return foundation_folder() if expert.base == EMBEDDED else model_folder(expert.base, expert.base_revision)


def find_expert(home: Path, name: str) -> Expert:
    """A built expert by name."""
    found = built_experts(home) if home.is_dir() else {}
    if not found:
        raise UserError(f"No experts are built in '{home}'. Run 'expertsmith build mortgage caregiving' first.")
    if name not in found:
        raise unknown_name("expert", name, found)
    return found[name]


def export(expert: Expert, kind: Kind, number_format: Format, out: Path) -> Exported:
    """Write the merged expert into a new or empty folder, and check it."""
    check_request(kind, number_format, out)
    checkpoint = expert.checkpoint(base_of(expert))
    tokenizer = load_tokenizer(checkpoint.base)
    if template_digest(tokenizer) != expert.template:
        raise UserError(f"Expert '{expert.name}' was trained with another chat template. Build it again.")
    out.mkdir(parents=True, exist_ok=True)
    merged = load(checkpoint, torch.bfloat16 if number_format == "bf16" else torch.float32, "sdpa")  # as evaluated
    own = greedy(load(checkpoint, *device_format()), tokenizer)
    path = write(merged, tokenizer, kind, number_format, out / expert.name.replace("/", "--"))
    del merged
    written = greedy(read_back(path), tokenizer)
    card = expert.folder / "README.md"
    if card.exists():
        shutil.copyfile(card, out / "README.md")
    done = Exported(path, folder_digest(out, ("*.safetensors", "*.gguf")), same_share(own, written), len(PROBES))
    source = {"expert": expert.name, "parents": dict(expert.parents), "template": expert.template}
    write_text_atomically(out / CARD, json.dumps(source | done.as_dict(), indent=2))
    return done


def check_request(kind: str, number_format: str, out: Path) -> None:
    """Refuse what cannot be written."""
    if kind not in get_args(Kind):
        raise unknown_name("format", kind, get_args(Kind))
    allowed = get_args(Format) if kind == "gguf" else tuple(DTYPES)
    if number_format not in allowed:
        raise UserError(f"--dtype {number_format} does not go with --format {kind}; give {', '.join(allowed)}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"'{out}' is not an empty folder. Give a new one with --out.")


def write(model: Any, tokenizer: Any, kind: Kind, number_format: Format, name: Path) -> Path:
    """The model in its format; a GGUF file, or the folder of safetensors."""
    if kind == "gguf":
        path = name.parent / f"{name.name}-{number_format}.gguf"
        write_gguf(model, tokenizer, path, number_format, name.name)
        return path
    model.to(DTYPES[number_format]).save_pretrained(name.parent)
    tokenizer.save_pretrained(name.parent)
    return name.parent


def read_back(path: Path) -> Any:
    """What was written, as transformers reads it."""
    dtype, attention = device_format()
    if path.suffix == ".gguf":
        model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=dtype)
        return model.eval()
    return load_base(path, dtype, attention).eval()


def device_format() -> tuple[torch.dtype, str]:
    """How experts are run on this machine."""
    device = probe()
    return device.dtype, device.score_attention


@torch.no_grad()
def greedy(model: Any, tokenizer: Any, prompts: Sequence[str] = PROBES) -> list[list[int]]:
    """The first greedy tokens of the answers to probes, by transformers' own loop."""
    answers = []
    for prompt in prompts:
        ids = torch.tensor([prompt_ids(tokenizer, [Message("user", prompt)])], device=model.device)
        output = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=PROBE_TOKENS,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        answers.append(output[0, ids.shape[1] :].tolist())
    return answers


def same_share(first: Sequence[Sequence[int]], second: Sequence[Sequence[int]]) -> float:
    """The share of answers' tokens that are equal up to the first difference of each."""
    equal = total = 0
    for a, b in zip(first, second, strict=True):
        total += max(len(a), len(b))
        equal += next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return equal / total if total else 1.0
