"""The documents of a domain that were made here, and with what content: what may be written anew, and what was edited.

The report has those of the last whole run. The record in the journal has those of runs that were killed since: a line
`digest name` stands there before the document is written, so whatever a killed run left is known as made here.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from domains.atomic import write_text_atomically

REPORT = "ingest_report.json"
JOURNAL = ".ingest"
RECORD = "documents.txt"
MADE_BY = "expertsmith domain new"


def is_ours(folder: Path) -> bool:
    """Whether a folder was made here; a run that was killed left its journal."""
    return report_in(folder).get("made_by") == MADE_BY or (folder / JOURNAL).is_dir()


def report_in(folder: Path) -> dict[str, Any]:
    """The report of an earlier run, empty when there is none."""
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return report if isinstance(report, dict) else {}


def write_document(folder: Path, name: str, text: str) -> str:
    """Write a document, recorded first; gives its digest."""
    made = digest(text.encode())
    with (folder / JOURNAL / RECORD).open("a", encoding="utf-8") as record:
        record.write(f"{made} {name}\n")
    write_text_atomically(folder / "documents" / name, text)
    return made


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def made_documents(folder: Path) -> dict[str, set[str]]:
    """Every digest that each document was written with, by the last whole run or by one that was killed since."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, made in report_in(folder).get("documents", {}).items():
        found[name].add(made)
    record = folder / JOURNAL / RECORD
    for line in record.read_text(encoding="utf-8").splitlines() if record.is_file() else ():
        made, _, name = line.partition(" ")
        found[name].add(made)
    return {name: digests for name, digests in found.items() if name and Path(name).name == name}


def edited_documents(folder: Path) -> list[str]:
    """Documents that are there with other content than was ever written."""
    paths = ((name, folder / "documents" / name, made) for name, made in made_documents(folder).items())
    return [name for name, path, made in paths if path.is_file() and digest(path.read_bytes()) not in made]


def remove_stale(folder: Path, written: dict[str, str]) -> None:
    """Delete documents of earlier runs whose files are gone; anything else in the folder stays."""
    for name in made_documents(folder):
        if name not in written:
            (folder / "documents" / name).unlink(missing_ok=True)
