"""Files of a domain folder that nothing reads: a misspelled name, a document that has to be converted first."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from domains.domain import PARSERS
from domains.made_documents import REPORT
from domains.readers import DOCUMENT_SUFFIXES
from domains.tool_rows import FUNCTIONS_FILE

KNOWN_FILES = (*sorted(PARSERS), FUNCTIONS_FILE, "domain.toml", "documents")
ALSO_THERE = frozenset({REPORT, "made"})
DATA_SUFFIXES = frozenset({".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".toml"})


def strays(folder: Path) -> Iterator[str]:
    """A warning for each."""
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and path.name not in {*KNOWN_FILES, *ALSO_THERE}:
            yield from unknown_file(path)
    for path in sorted((folder / "documents").glob("**/*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and path.suffix.lower() not in DOCUMENT_SUFFIXES:
            yield (
                f"{path.relative_to(folder).as_posix()} is not read: documents are {' or '.join(DOCUMENT_SUFFIXES)}. "
                "Save it as text there, or convert a folder of such files with 'expertsmith domain new NAME "
                "--documents DIR'."
            )


def unknown_file(path: Path) -> Iterator[str]:
    """A warning about data that have no name of a domain's file, and about anything whose name is nearly one."""
    is_data = path.is_file() and path.suffix.lower() in DATA_SUFFIXES
    known = {Path(name).stem: name for name in KNOWN_FILES}
    near = difflib.get_close_matches(path.stem.lower(), known, n=1, cutoff=0.6 if is_data else 0.8)
    if near or is_data:
        hint = f" Did you mean '{known[near[0]]}'?" if near else ""
        yield f"{path.name} is not read: it is none of a domain's files ({', '.join(KNOWN_FILES)}).{hint}"
