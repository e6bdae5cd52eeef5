"""The base model of a recipe and its instruct sibling, as checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

from domains.errors import UserError
from experts.checkpoint import Checkpoint, load_tokenizer
from experts.embedded import foundation_folder
from experts.recipe import Foundation

EMBEDDED = "embedded"
HOUSE = "house"


def base_folder(settings: Foundation) -> Path:
    """The folder of the base model."""
    return foundation_folder() if settings.base == EMBEDDED else model_folder(settings.base, settings.base_revision)


def base_checkpoint(settings: Foundation) -> Checkpoint:
    """The base model. Conversations with it are rendered as the instruct sibling reads them."""
    base = base_folder(settings)
    if settings.instruct == HOUSE:
        return Checkpoint(base)
    instruct = model_folder(settings.instruct, settings.instruct_revision)
    if understands(base, instruct):
        return Checkpoint(base, tokenizer=instruct)
    if not load_tokenizer(base).chat_template:
        raise UserError(
            f"The base model in {base} has no chat template and cannot read the tokens of {settings.instruct}. "
            "Take two models with the same vocabulary, or add a chat template to the base's tokenizer."
        )
    return Checkpoint(base)


def understands(base: Path, other: Path) -> bool:
    """Whether a base model can read another tokenizer's tokens: each that both have has one number, and the base has an
    embedding for every number."""
    known, tokens = load_tokenizer(base).get_vocab(), load_tokenizer(other).get_vocab()
    room = json.loads((base / "config.json").read_text()).get("vocab_size", len(known))
    return max(tokens.values()) < room and all(known.get(token, number) == number for token, number in tokens.items())


def instruct_checkpoint(settings: Foundation, house: Path | None) -> Checkpoint:
    """The instruct sibling: the house adapter over the base, or a model of its own."""
    if settings.instruct == HOUSE:
        return Checkpoint(base_folder(settings), house)
    return Checkpoint(model_folder(settings.instruct, settings.instruct_revision))


def model_folder(name: str, revision: str | None) -> Path:
    """A local folder, or a hub model at a revision from the local cache or the hub."""
    if (Path(name) / "config.json").is_file():
        return Path(name)
    if Path(name).exists() or name.startswith((".", "/")):
        raise UserError(
            f"{name} is not a model folder (no config.json). Give a folder with config.json and safetensors."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise UserError(
            f"The model '{name}' is neither a folder nor reachable on the hub ({type(error).__name__}). "
            'Give a local folder, use base = "embedded", or connect to the hub.'
        ) from None
