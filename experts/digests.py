"""SHA-256 digests of files, folders and settings: how a stage knows that its inputs have not changed."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any


def digest_of(value: Any) -> str:
    """The digest of a JSON-like value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """The digest of a file's bytes, remembered while its size and time stamp stay the same."""
    stat = path.stat()
    return cached_file_digest(str(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def cached_file_digest(path: str, size: int, modified: int) -> str:
    """Digest by path, size and time stamp."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def folder_digest(folder: Path, patterns: tuple[str, ...] = ("*",)) -> str:
    """The digest of all matching files directly in a folder, by name."""
    files = sorted({p for pattern in patterns for p in folder.glob(pattern) if p.is_file()})
    return digest_of({path.name: file_digest(path) for path in files})


def weights_digest(folder: Path) -> str:
    """The digest of a model's or an adapter's weights and configuration."""
    return folder_digest(folder, ("*.safetensors", "config.json", "adapter_config.json"))


def tokenizer_digest(folder: Path) -> str:
    """The digest of a tokenizer's files, its chat template among them."""
    return folder_digest(folder, ("tokenizer*", "special_tokens_map.json", "chat_template*"))


def data_digest(folder: Path) -> str:
    """The digest of all of a domain's files."""
    return digest_of([folder_digest(folder), folder_digest(folder / "documents")])
