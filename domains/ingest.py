"""One file from bytes to cleaned blocks, journaled: the part of an ingestion that runs in several processes.

`<journal>/<key>.jsonl` holds the blocks and `<key>.json` the result row, written last; the key is a digest of the
path, the bytes and the settings, so a run that was killed goes on, and a changed file is read again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from domains.atomic import write_text_atomically
from domains.blocks import Block, blocks_of
from domains.cleaning import FILE_STAGES, Change, CleaningSettings, FileContext, Tally, printable, shortened
from domains.cleaning.duplicates import Mark, Marker, is_compared, mark_of
from domains.errors import UserError
from domains.formats import Limits, Part, bounded, read_file, refusal
from domains.pii.detect import redacted
from domains.pii.file_names import safe_file_name
from domains.plugins import load_plugin

VERSION = 3
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True)
class Plan:
    """What decides the result for a file. `source`: the folder; `journal`: where results are kept."""

    source: Path
    journal: Path
    cleaning: CleaningSettings
    limits: Limits

    def key(self, name: str) -> str:
        """The digest of everything that the result for a file depends on."""
        settings = json.dumps([VERSION, name, self.cleaning.as_dict(), asdict(self.limits)], sort_keys=True)
        digest = hashlib.sha256(settings.encode())
        digest.update(self.content(name))
        return digest.hexdigest()[:32]

    def content(self, name: str) -> bytes:
        """What stands for the bytes of a file: their digest, the size of one that is too large, or the kind of error of
        one that cannot be opened; reading it then meets the same error, and says so in its row."""
        path = self.source / name
        try:
            size = path.stat().st_size
            if size > self.limits.max_bytes:
                return str(size).encode()
            with path.open("rb") as handle:
                return hashlib.file_digest(handle, "sha256").digest()
        except OSError as error:
            return type(error).__name__.encode()


def size_of(path: Path) -> int:
    """Bytes on disk; 0 for a file that is gone or may not be looked at."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def source_files(folder: Path) -> list[str]:
    """Files below a folder as sorted relative paths; hidden ones and links that lead out of the folder are left out."""
    root = folder.resolve()
    found = []
    for top, folders, files in os.walk(root):
        base = Path(top)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not (base / name).is_symlink())
        for name in files:
            path = base / name
            if not name.startswith(".") and is_source(path, root):
                found.append(path.relative_to(root).as_posix())
    return sorted(found)


def is_source(path: Path, root: Path) -> bool:
    """Whether it is a file, or a link to one in the folder; what may not be looked at is one, so that it gets a row."""
    try:
        return path.is_file() and (not path.is_symlink() or path.resolve().is_relative_to(root))
    except PermissionError:
        return True


def ingest_file(row: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """Read and clean one file unless its result is there; gives the key under which the journal has it."""
    key = plan.key(row["file"])
    if not (plan.journal / f"{key}.json").exists():
        result = read_and_clean(row["file"], key, plan)
        write_text_atomically(plan.journal / f"{key}.json", json.dumps(result))
        return {"key": key, "reused": False}
    return {"key": key, "reused": True}


def ingest_files(names: Sequence[str], plan: Plan) -> list[dict[str, Any]]:
    """Read and clean some files: one piece of work."""
    return [ingest_file({"file": name}, plan) for name in names]


def read_and_clean(name: str, key: str, plan: Plan) -> dict[str, Any]:
    """The result row of a file {file, status, reason, num_pages, characters, bytes, seconds, stages, mark, title}. A
    file that is bad in any way has another status than `ok`; only a full disk raises, which is no fault of the file."""
    start = time.monotonic()
    path = plan.source / name
    work = FileWork(plan)
    status, reason = "ok", ""
    part_file = plan.journal / f".{key}.part"
    with part_file.open("w", encoding="utf-8") as handle:
        try:
            with bounded(plan.limits):
                for part in read_file(path, plan.limits):
                    handle.writelines(work.lines(part))
        except UserError:
            raise
        except Exception as error:  # whatever a file leads to is its row, and the other files go on
            if getattr(error, "errno", None) in DISK_FULL:
                raise
            otherwise = f"cleaning it failed ({type(error).__name__}): save it in another form, or leave it out."
            refused = refusal(error, plan.limits, otherwise)
            status, reason = refused.status, refused.reason
    part_file.replace(plan.journal / f"{key}.jsonl")
    return {
        "file": printable(safe_file_name(name, plan.cleaning.salt, plan.cleaning.keep)),
        "status": status,
        "reason": printable(reason or " ".join(work.notes)),
        "num_pages": work.num_pages,
        "characters": work.characters,
        "bytes": size_of(path),
        "seconds": round(time.monotonic() - start, 3),
        "stages": {stage: asdict(tally) for stage, tally in work.tallies.items()},
        "mark": asdict(work.marker.mark()) if work.marker.num_words else None,
        "title": work.title,
    }


class FileWork:
    """The running state of one file: stages carry names from part to part, and tallies grow."""

    def __init__(self, plan: Plan) -> None:
        self.context = FileContext(plan.cleaning)
        self.tallies = {stage: Tally() for stage in FILE_STAGES}
        self.marker = Marker()
        self.notes: list[str] = []
        self.num_pages = self.characters = 0
        self.title = ""

    def lines(self, part: Part) -> Iterator[str]:
        """The cleaned blocks of a part, one JSON line each."""
        self.num_pages += part.num_pages
        self.characters += len(part.text)
        self.notes += part.notes
        blocks: tuple[Block, ...] = tuple(blocks_of(part))
        self.count("boilerplate", [Change("removed", left.reason, left.text) for left in part.removed])
        for stage in FILE_STAGES:
            cleaned = load_plugin("domains.cleaning", stage, "cleaning stage").clean(blocks, self.context)
            self.tallies[stage].add_sizes(blocks, cleaned.blocks)
            self.count(stage, cleaned.changes)
            blocks = cleaned.blocks
        for block in blocks:
            self.title = self.title or (block.text if block.kind == "heading" and block.level == 1 else "")
            if block.kind != "heading":
                self.marker.add(block)
            mark = mark_of(block) if is_compared(block) else None
            yield json.dumps({**asdict(block), "mark": mark and asdict(mark)}) + "\n"

    def count(self, stage: str, changes: Sequence[Change]) -> None:
        """Count changes; samples hold no personal data."""
        tally = self.tallies[stage]
        for change in changes:
            wanted = tally.reasons.get(change.reason, 0) < 2
            before = change.text if stage == "pii" else self.safe(change.text) if wanted else ""
            sample: dict[str, str] = {change.action: shortened(before)}
            if change.result and wanted:
                sample["to"] = shortened(change.result if stage == "pii" else self.safe(change.result))
            tally.add_change(change.reason, sample)

    def safe(self, text: str) -> str:
        """A text for a sample."""
        settings = self.context.settings
        return redacted(text, settings.salt, settings.keep, self.context.names)


def journaled(plan: Plan, key: str) -> dict[str, Any]:
    """The result row of a file."""
    row: dict[str, Any] = json.loads((plan.journal / f"{key}.json").read_text(encoding="utf-8"))
    return row


def journaled_blocks(plan: Plan, key: str) -> Iterator[tuple[Block, Mark | None]]:
    """The cleaned blocks of a file with their marks."""
    with (plan.journal / f"{key}.jsonl").open(encoding="utf-8") as handle:
        for line in handle:
            row = json.loads(line)
            mark = row.pop("mark")
            yield Block(**row), Mark(**mark) if mark else None
