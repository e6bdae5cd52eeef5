"""What the LLM judge grades by: one criterion with a description of each score from 1 to 5.

Shipped packs are TOML files in `judges/data/rubrics`. A file of one's own, TOML or JSON, has the fields of a
Prometheus rubric (arXiv 2310.08491): criteria, score1_description ... score5_description.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from domains.errors import UserError, unknown_name

FOLDER = Path(__file__).parent / "data" / "rubrics"
SCORES = (1, 2, 3, 4, 5)
PLAIN_SCALE = ("bad, empty or harmful", "poor", "acceptable", "good", "excellent")


@dataclass(frozen=True)
class Rubric:
    """A criterion and what an answer is like that gets 1, 2, 3, 4 and 5."""

    name: str
    criterion: str
    scale: tuple[str, ...] = PLAIN_SCALE

    @property
    def text(self) -> str:
        """The criterion with its scale, the best score first."""
        lines = [f"{score}: {words}" for score, words in zip(SCORES, self.scale, strict=True)]
        return "\n".join([f"Criterion: {self.criterion}", "Scale:", *reversed(lines)])

    def as_dict(self) -> dict[str, Any]:
        """Everything that a score depends on."""
        return asdict(self)


def rubric_names() -> tuple[str, ...]:
    """The shipped packs."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load_rubrics(given: str) -> tuple[Rubric, ...]:
    """Rubrics by name or path, several with commas between; a text of several words that is neither is a criterion."""
    parts = [part.strip() for part in given.split(",") if part.strip()]
    if parts and all(rubric_path(part) for part in parts):
        return tuple(load_rubric(part) for part in dict.fromkeys(parts))
    if len(given.split()) > 1 and not given.rstrip().endswith((".json", ".toml")):
        return (Rubric("own", given.strip()),)
    wrong = next((part for part in parts if not rubric_path(part)), given)
    raise unknown_name("rubric (or rubric file)", wrong, rubric_names())


def rubric_path(name_or_path: str) -> Path | None:
    """The file of a rubric: a shipped name, or a file with an ending; None when there is no such file."""
    if name_or_path in rubric_names():
        return FOLDER / f"{name_or_path}.toml"
    path = Path(name_or_path)
    return path if path.suffix in {".json", ".toml"} and path.is_file() else None


def load_rubric(name_or_path: str) -> Rubric:
    """One rubric."""
    path = rubric_path(name_or_path)
    if path is None:
        raise unknown_name("rubric (or rubric file)", name_or_path, rubric_names())
    return read_rubric(path, path.read_bytes())


@lru_cache(maxsize=64)
def read_rubric(path: Path, content: bytes) -> Rubric:
    """The rubric in a file's content; a missing field is a UserError that names it."""
    try:
        text = content.decode("utf-8")
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise UserError(f"{path.name} cannot be read as {path.suffix[1:].upper()} in UTF-8: {error}.") from None
    if not isinstance(values, Mapping):
        raise UserError(f"{path.name} holds no object. Write {', '.join(fields())} as texts.")
    criterion, *scale = [field_text(path, values, name) for name in fields()]
    return Rubric(path.stem, criterion, tuple(scale))


def field_text(path: Path, values: Mapping[str, Any], name: str) -> str:
    """A field that must be a text."""
    value = values.get(name)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{path.name} needs '{name}' as a text. A rubric has the fields {', '.join(fields())}.")
    return " ".join(value.split())


def fields() -> tuple[str, ...]:
    """The fields of a rubric file."""
    return ("criteria", *(f"score{score}_description" for score in SCORES))
