"""A domain is data: a folder with `domain.toml`, JSONL files and `documents/*.md`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from domains.calculations import Calculation, parse_calculation
from domains.errors import UserError, unknown_name
from domains.example import Document, Example, Preference, SafetyRule, Split, Task, Utterance
from domains.probes import Probe, parse_probe
from domains.readers import (
    FILE_TASKS,
    Reading,
    parse_example,
    parse_preference,
    parse_safety_rule,
    parse_utterance,
    read_documents,
    read_jsonl,
)
from domains.splits import split_of
from domains.tool_calls import Function
from domains.tool_rows import FUNCTIONS_FILE, parser_beside, read_functions

SHIPPED = Path(__file__).parent
GENERAL = "general"
TRACKS = ("conversation", "structured")
CALLS = "calls"
LIST_KEYS = frozenset({"labels", "judges", "held_out", "tracks"})
DOMAIN_KEYS = LIST_KEYS | {"name", "title", "about", "licence", "system_prompt", "notice"}
PARSERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "calculations.jsonl": parse_calculation,
    "preferences.jsonl": parse_preference,
    "probes.jsonl": parse_probe,
    "recommendations.jsonl": parse_preference,
    "routing.jsonl": parse_utterance,
    "safety.jsonl": parse_safety_rule,
    **{name: parse_example(task) for name, task in FILE_TASKS.items()},
}

Record = TypeVar("Record")


@dataclass(frozen=True)
class Domain:
    """The data of one field. `held_out` tasks are never trained on: all their rows are test rows."""

    name: str
    folder: Path
    title: str
    about: str
    licence: str
    system_prompt: str
    notice: str = ""
    labels: tuple[str, ...] = ()
    judges: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    tracks: tuple[str, ...] = TRACKS

    @classmethod
    def load(cls, name_or_folder: str | Path) -> Domain:
        """Open a shipped domain by name, or any folder that holds a `domain.toml`."""
        folder = find_folder(str(name_or_folder))
        try:
            settings = tomllib.loads((folder / "domain.toml").read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{folder.name}/domain.toml is not valid TOML in UTF-8: {error}. Correct it.") from None
        for key in settings:
            if key not in DOMAIN_KEYS:
                raise unknown_name("domain.toml key", key, DOMAIN_KEYS)
        missing = {"name", "title", "about", "licence", "system_prompt"} - settings.keys()
        if missing:
            raise UserError(f"{folder.name}/domain.toml lacks {', '.join(sorted(missing))}. Add the missing keys.")
        check_settings(folder, settings)
        lists: dict[str, Any] = {k: tuple(settings[k]) for k in LIST_KEYS if k in settings}
        return cls(folder=folder, **(settings | lists))

    @cached_property
    def documents(self) -> tuple[Document, ...]:
        """All sections of the domain's documents."""
        return read_documents(self.folder / "documents")

    @property
    def functions(self) -> tuple[Function, ...]:
        """The functions that the domain's rows may call."""
        return read_functions(self.folder / FUNCTIONS_FILE)

    def reading(self, file_name: str) -> Reading[Any]:
        """The records of one JSONL file with its problems; empty when the domain has no such file."""
        path = self.folder / file_name
        return read_jsonl(path, parser_beside(path, PARSERS[file_name])) if path.exists() else Reading((), (), ())

    def records(self, file_name: str) -> tuple[Any, ...]:
        """The records of one JSONL file; a file with problems is refused."""
        reading = self.reading(file_name)
        if reading.problems:
            raise UserError(
                f"{len(reading.problems)} bad rows in {self.name}, the first: {reading.problems[0]} "
                f"Run 'expertsmith validate {self.name}' for all of them."
            )
        return reading.records

    def split(self, row_id: str, task: str) -> Split:
        """The split of one row."""
        return "test" if task in self.held_out else split_of(row_id)

    def examples(self, task: Task, split: Split) -> tuple[Example, ...]:
        """Prompt/completion rows of a task in a split."""
        return tuple(r for r in self.records(f"{task}.jsonl") if self.split(r.id, task) == split)

    def preferences(self, split: Split) -> tuple[Preference, ...]:
        """Preference rows of a split."""
        return tuple(r for r in self.records("preferences.jsonl") if self.split(r.id, "preferences") == split)

    def recommendations(self, split: Split) -> tuple[Preference, ...]:
        """Recommendation rows of a split: the chosen title, and the titles of the other candidates as rejected."""
        return tuple(r for r in self.records("recommendations.jsonl") if self.split(r.id, "recommendations") == split)

    def calculations(self, split: Split) -> tuple[Calculation, ...]:
        """Calculation rows of a split."""
        return tuple(r for r in self.records("calculations.jsonl") if self.split(r.id, "calculations") == split)

    def utterances(self, split: Split) -> tuple[Utterance, ...]:
        """Routing rows of a split."""
        return tuple(r for r in self.records("routing.jsonl") if self.split(r.id, "routing") == split)

    def sections(self, split: Split) -> tuple[Document, ...]:
        """Document sections of a split."""
        return tuple(d for d in self.documents if self.split(d.id, "documents") == split)

    def safety_rules(self) -> tuple[SafetyRule, ...]:
        """The domain's safety rules."""
        return self.records("safety.jsonl")

    def probes(self) -> tuple[Probe, ...]:
        """The domain's own probes for judges."""
        return self.records("probes.jsonl")

    @property
    def experts(self) -> tuple[str, ...]:
        """The names under which the router and the service know this domain's experts."""
        return tuple(f"{self.name}/{track}" for track in self.tracks)


def check_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Refuse a setting of the wrong type, and a name that cannot be a folder and the first half of an expert's name."""
    for key, value in settings.items():
        if key in LIST_KEYS:
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise UserError(f'{folder.name}/domain.toml: {key} must be a list of texts. Write {key} = ["..."].')
        elif not isinstance(value, str):
            raise UserError(f'{folder.name}/domain.toml: {key} must be a text. Write {key} = "...".')
    if CALLS in settings.get("tracks", ()) and settings["tracks"] != [CALLS]:
        raise UserError(f'{folder.name}/domain.toml: the track {CALLS} stands alone. Write tracks = ["{CALLS}"].')
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", settings["name"]):
        raise UserError(
            f"{folder.name}/domain.toml: the name '{settings['name']}' is not usable. Take letters, digits, - and _."
        )


def shipped_names() -> tuple[str, ...]:
    """Names of the domains that come with the package."""
    return tuple(sorted(path.parent.name for path in SHIPPED.glob("*/domain.toml")))


def find_folder(name: str) -> Path:
    """The folder of a domain given by shipped name or by path."""
    if (SHIPPED / name / "domain.toml").is_file() and "/" not in name:
        return SHIPPED / name
    if (Path(name) / "domain.toml").is_file():
        return Path(name)
    raise unknown_name("domain (or folder with a domain.toml)", name, shipped_names())
