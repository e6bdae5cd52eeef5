"""One file from bytes to cleaned blocks, journaled: the part of an ingestion that runs in several processes.

`<journal>/<key>.jsonl` holds the blocks and `<key>.json` the result row, written last; the key is a digest of the
path, the bytes and the settings, so a run that was killed goes on, and a changed file is read again.
"""

from __future__ import annotations

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
from domains.cleaning import FILE_STAGES, Change, CleaningSettings, FileContext, Tally, shortened
from domains.cleaning.duplicates import Mark, Marker, is_compared, mark_of
from domains.formats import Limits, Part, Unreadable, read_file
from domains.pii.detect import redacted
from domains.plugins import load_plugin

VERSION = 1


@dataclass(frozen=True)
class Plan:
    """What decides the result for a file. `source`: the folder; `journal`: where results are kept."""

    source: Path
    journal: Path
    cleaning: CleaningSettings
    limits: Limits

    def key(self, name: str) -> str:
        """The digest of everything that the result for a file depends on."""
        path = self.source / name
        settings = json.dumps([VERSION, name, self.cleaning.as_dict(), asdict(self.limits)], sort_keys=True)
        digest = hashlib.sha256(settings.encode())
        if path.stat().st_size <= self.limits.max_bytes:
            with path.open("rb") as handle:
                digest.update(hashlib.file_digest(handle, "sha256").digest())
        else:
            digest.update(str(path.stat().st_size).encode())
        return digest.hexdigest()[:32]


def source_files(folder: Path) -> list[str]:
    """Files below a folder as sorted relative paths; hidden ones and links that lead out of the folder are left out."""
    root = folder.resolve()
    found = []
    for top, folders, files in os.walk(root):
        base = Path(top)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not (base / name).is_symlink())
        for name in files:
            path = base / name
            inside = not path.is_symlink() or path.resolve().is_relative_to(root)
            if not name.startswith(".") and inside and path.is_file():
                found.append(path.relative_to(root).as_posix())
    return sorted(found)


def ingest_file(row: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """Read and clean one file unless its result is there; gives the key under which the journal has it."""
    key = plan.key(row["file"])
    if not (plan.journal / f"{key}.json").exists():
        result = read_and_clean(row["file"], key, plan)
        write_text_atomically(plan.journal / f"{key}.json", json.dumps(result, ensure_ascii=False))
        return {"key": key, "reused": False}
    return {"key": key, "reused": True}


def ingest_files(names: Sequence[str], plan: Plan) -> list[dict[str, Any]]:
    """Read and clean some files: one piece of work."""
    return [ingest_file({"file": name}, plan) for name in names]


def read_and_clean(name: str, key: str, plan: Plan) -> dict[str, Any]:
    """The result row of a file {file, status, reason, num_pages, characters, bytes, seconds, stages, mark, title}."""
    start = time.monotonic()
    path = plan.source / name
    work = FileWork(plan, name)
    status, reason = "ok", ""
    part_file = plan.journal / f".{key}.part"
    try:
        with part_file.open("w", encoding="utf-8") as handle:
            for part in read_file(path, plan.limits):
                handle.writelines(work.lines(part))
    except Unreadable as error:
        status, reason = error.status, error.reason
    part_file.replace(plan.journal / f"{key}.jsonl")
    return {
        "file": name,
        "status": status,
        "reason": reason or " ".join(work.notes),
        "num_pages": work.num_pages,
        "characters": work.characters,
        "bytes": path.stat().st_size,
        "seconds": round(time.monotonic() - start, 3),
        "stages": {stage: asdict(tally) for stage, tally in work.tallies.items()},
        "mark": asdict(work.marker.mark()) if work.marker.num_words else None,
        "title": work.title,
    }


class FileWork:
    """The running state of one file: stages carry names from part to part, and tallies grow."""

    def __init__(self, plan: Plan, name: str) -> None:
        self.context = FileContext(plan.cleaning)
        self.tallies = {stage: Tally() for stage in FILE_STAGES}
        self.marker = Marker()
        self.notes: list[str] = []
        self.num_pages = self.characters = 0
        self.title = ""
        self.name = name

    def lines(self, part: Part) -> Iterator[str]:
        """The cleaned blocks of a part, one JSON line each."""
        self.num_pages += part.num_pages
        self.characters += len(part.text)
        self.notes += part.notes
        blocks: tuple[Block, ...] = tuple(blocks_of(part))
        self.count("boilerplate", [Change("removed", "navigation", text) for text in part.removed])
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
            yield json.dumps({**asdict(block), "mark": mark and asdict(mark)}, ensure_ascii=False) + "\n"

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
