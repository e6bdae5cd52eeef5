"""An expert on disk: a PEFT adapter (or full weights), the tokenizer with its template, `expert.json` and a card."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from domains.domain import CALLS, GENERAL, TRACKS
from experts.checkpoint import CONFIG, Checkpoint, load_tokenizer
from experts.digests import weights_digest
from experts.encoding import template_digest

CARD = "expert.json"
PACKAGES = ("torch", "transformers", "peft", "trl", "safetensors")


@dataclass(frozen=True)
class Expert:
    """A built expert and where it came from. `base` is "embedded", a hub id (at `base_revision`) or a folder."""

    name: str
    about: str
    base: str
    base_digest: str
    folder: Path
    template: str
    seed: int
    recipe_digest: str
    parents: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    base_revision: str | None = None

    @property
    def has_adapter(self) -> bool:
        """False for the base model as it is, and for a model of its own."""
        return (self.folder / CONFIG).exists()

    def checkpoint(self, base: Path) -> Checkpoint:
        """The expert over its base model; one of full weights is a model of its own."""
        if (self.folder / "config.json").exists():
            return Checkpoint(self.folder)
        return Checkpoint(base, self.folder if self.has_adapter else None)


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def write_expert(folder: Path, base: Path, card: Mapping[str, Any], tokenizer_folder: Path | None = None) -> None:
    """Complete a folder of weights to an expert: tokenizer (the base's, unless it is given), `expert.json` and the
    model card."""
    tokenizer = load_tokenizer(tokenizer_folder or base)
    tokenizer.save_pretrained(folder)
    full = {
        **card,
        "base_digest": weights_digest(base),
        "template": template_digest(tokenizer),
        "versions": versions(),
    }
    (folder / CARD).write_text(json.dumps(full, indent=2, default=str))
    (folder / "README.md").write_text(model_card(full))


def model_card(card: Mapping[str, Any]) -> str:
    """The model card, made from the same facts as `expert.json`."""
    metrics = "\n".join(f"- {name}: {value}" for name, value in dict(card.get("metrics", {})).items()) or "- none"
    parents = "\n".join(f"- {name}: `{value[:16]}`" for name, value in dict(card.get("parents", {})).items())
    data = "\n".join(f"- {name}: `{value[:16]}`" for name, value in dict(card.get("data", {})).items())
    return (
        f"---\nbase_model: {card['base']}\nlibrary_name: peft\ntags: [expertsmith]\n---\n\n# {card['name']}\n\n"
        f"{card['about']}\n\nBuilt with seed {card['seed']}, recipe `{card['recipe_digest'][:16]}`.\n\n"
        f"## Parents\n\n{parents}\n\n## Data\n\n{data}\n\n## Training\n\n{metrics}\n"
    )


def read_expert(folder: Path) -> Expert:
    """Load an expert's card from its folder."""
    values = json.loads((folder / CARD).read_text())
    known = {key: values[key] for key in asdict_keys() if key in values}
    return Expert(folder=folder, **known)


def asdict_keys() -> list[str]:
    """The card's keys."""
    return [name for name in Expert.__dataclass_fields__ if name != "folder"]


def built_experts(home: Path) -> dict[str, Expert]:
    """All experts in a home folder, by name; the general model is called `general`."""
    found = {}
    for path in sorted(home.glob(f"*/*/{CARD}")):
        if path.parent.name.startswith("."):
            continue  # the scratch folder of a stage that is not finished
        expert = read_expert(path.parent)
        found[expert.name] = expert
    return found


def experts_apart(home: Path) -> list[str]:
    """Offered experts over another base than the general model's, such as those of full weights: no process serves them
    together."""
    found = {name: expert for name, expert in built_experts(home).items() if is_offered(name)}
    base = found[GENERAL].base_digest if GENERAL in found else ""
    return sorted(name for name, expert in found.items() if expert.base_digest != base)


def is_offered(name: str) -> bool:
    """Whether a built model is one of the experts that people use, and not only an arm of the report."""
    return name == GENERAL or name.rpartition("/")[2] in (*TRACKS, CALLS)
