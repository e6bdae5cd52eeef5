"""A domain from a folder of documents: `expertsmith domain new NAME --documents DIR`.

Files are read and cleaned side by side (as many processes as jobs, or on Ray), then joined in the order of their names,
so the result does not depend on the number of jobs. `NAME/.ingest` is the journal; after a whole run it
may be deleted.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from domains.atomic import write_text_atomically
from domains.blocks import Block
from domains.cleaning import FILE_STAGES, CleaningSettings, Tally, shortened
from domains.cleaning.chunks import Chunk, Chunker
from domains.cleaning.duplicates import DuplicateIndex, Mark
from domains.domain import SHIPPED
from domains.engine import Engine
from domains.errors import UserError
from domains.formats import Limits
from domains.ingest import Plan, ingest_files, journaled, journaled_blocks, size_of, source_files
from domains.made_documents import JOURNAL, MADE_BY, REPORT, edited_documents, is_ours, remove_stale, write_document
from domains.pii import TYPES
from domains.pii.detect import redacted
from domains.pii.measure import measure

DOCUMENT_CHARACTERS = 300_000
LICENCE = "unknown: set it"
GROUP_BYTES, GROUP_FILES = 1_000_000, 32
NOT_OPENED = frozenset({"too_large", "unsupported"})


@dataclass(frozen=True)
class Request:
    """What a person asks for: the domain's name, the folder of documents, where the domain goes, how to clean."""

    name: str
    documents: Path
    folder: Path
    cleaning: CleaningSettings = field(default_factory=CleaningSettings)
    limits: Limits = field(default_factory=Limits)
    jobs: int = 1
    engine: Engine | None = None


@dataclass
class Joined:
    """What joining the files counts: duplicates, chunks, files written with their digests."""

    duplicates: Tally = field(default_factory=Tally)
    chunks: Tally = field(default_factory=Tally)
    written: dict[str, str] = field(default_factory=dict)


def new_domain(request: Request) -> dict[str, Any]:
    """Make or renew the domain; gives the report, which is also written to `ingest_report.json`."""
    check(request)
    names = source_files(request.documents)
    if not names:
        raise UserError(f"There is no file in {request.documents}. Give a folder with documents.")
    journal = request.folder / JOURNAL
    journal.mkdir(parents=True, exist_ok=True)
    plan = Plan(request.documents.resolve(), journal.resolve(), request.cleaning, request.limits)
    start = time.monotonic()
    done = read_all(plan, names, request.engine or Engine("processes", request.jobs))
    read_seconds = time.monotonic() - start
    rows = [journaled(plan, found["key"]) for found in done]
    joined = join(plan, request, [found["key"] for found in done], rows)
    if not joined.written:
        raise UserError("Nothing is left of the documents:\n" + "\n".join(map(row_line, rows)))
    write_settings(request)
    remove_stale(request.folder, joined.written)
    read = (row for row, found in zip(rows, done, strict=True) if not found["reused"])
    num_new = sum(row["bytes"] for row in read if row["status"] not in NOT_OPENED)
    times = {"read": read_seconds, "all": time.monotonic() - start}
    report = report_of(request, rows, joined, {"bytes": num_new, **times})
    write_text_atomically(request.folder / REPORT, json.dumps(report, indent=2) + "\n")
    clear(journal, {found["key"] for found in done})
    return report


def check(request: Request) -> None:
    """Refuse what cannot be made, and a folder that was not made here or was edited since."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", request.name):
        raise UserError(f"The name '{request.name}' is not usable. Take letters, digits, - and _ (at most 64).")
    if (SHIPPED / request.name).exists():
        raise UserError(f"'{request.name}' is the name of a part of this package. Choose another name.")
    if not request.documents.is_dir():
        raise UserError(f"{request.documents} is not a folder. Give --documents the folder with your files.")
    folder = request.folder
    if folder.resolve().is_relative_to(request.documents.resolve()):
        raise UserError(
            f"{folder} would lie inside the folder of documents, {request.documents}. Choose another place with --out."
        )
    if folder.exists() and not folder.is_dir() or folder.is_dir() and any(folder.iterdir()) and not is_ours(folder):
        raise UserError(
            f"{folder} exists and was not made by '{MADE_BY}'. Choose another name, or --out another place."
        )
    edited = edited_documents(folder)
    if edited:
        raise UserError(
            f"{len(edited)} documents in {folder} were edited since they were made, the first: {edited[0]}. "
            "Move them to another name to keep them, or delete them to have them made again."
        )


def read_all(plan: Plan, names: Sequence[str], engine: Engine) -> list[dict[str, Any]]:
    """Read and clean every file, large ones first; results {key, reused} in the order of the names."""
    from tqdm import tqdm

    sizes = {name: size_of(plan.source / name) for name in names}
    groups = list(grouped(sorted(names, key=lambda name: -sizes[name]), sizes))
    done: dict[str, dict[str, Any]] = {}
    with tqdm(total=len(names), desc="Reading and cleaning files") as shown:
        for group, found in zip(groups, engine.map(partial(ingest_files, plan=plan), groups), strict=True):
            done |= dict(zip(group, found, strict=True))
            shown.update(len(group))
    return [done[name] for name in names]


def grouped(names: Sequence[str], sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Names in groups of at most GROUP_BYTES and GROUP_FILES, a larger file alone: one piece of work each."""
    group: list[str] = []
    for name in names:
        if group and (sum(map(sizes.__getitem__, group)) + sizes[name] > GROUP_BYTES or len(group) >= GROUP_FILES):
            yield group
            group = []
        group.append(name)
    if group:
        yield group


def join(plan: Plan, request: Request, keys: Sequence[str], rows: list[dict[str, Any]]) -> Joined:
    """Write the documents, leaving out what an earlier file has; adds `chunks` and a reason to the rows."""
    joined = Joined()
    taken: set[str] = set()
    thresholds = {"paragraph": plan.cleaning.near_duplicate, "document": plan.cleaning.near_document}
    with DuplicateIndex(plan.journal / "index.sqlite", thresholds) as index:
        for key, row in zip(keys, rows, strict=True):
            row["chunks"] = 0
            if row["status"] != "ok" or is_duplicate(row, index, joined.duplicates):
                continue
            title = title_of(row, plan.cleaning)
            kept = new_blocks(plan, key, row["file"], index, joined.duplicates)
            chunker = Chunker(title, plan.cleaning.chunk_characters)
            for text in documents(title, row, counted(chunker.chunks(kept), row, joined.chunks)):
                name = free_name(row["file"], taken)
                joined.written[name] = write_document(request.folder, name, text)
            for heading in chunker.left_out:
                joined.chunks.add_change("heading without text", {"removed": shortened(heading)})
            if not row["chunks"]:
                row["reason"] = (row["reason"] + " Nothing is left of it after cleaning.").strip()
    (plan.journal / "index.sqlite").unlink()
    return joined


def is_duplicate(row: dict[str, Any], index: DuplicateIndex, tally: Tally) -> bool:
    """Whether an earlier file has nearly the same text; then the row says which."""
    if not row["mark"]:
        return False
    found = index.seen("document", Mark(**row["mark"]), row["file"])
    if found:
        tally.add_change(f"document, {found[0]}", {"removed": row["file"], "of": found[1]})
        tally.blocks_in += row["stages"][FILE_STAGES[-1]]["blocks_out"]
        tally.characters_in += row["stages"][FILE_STAGES[-1]]["characters_out"]
        row["reason"] = f"{found[0]} duplicate of {found[1]}."
    return bool(found)


def new_blocks(plan: Plan, key: str, name: str, index: DuplicateIndex, tally: Tally) -> Iterator[Block]:
    """The blocks of a file that no earlier text has."""
    for block, mark in journaled_blocks(plan, key):
        found = mark and index.seen("paragraph", mark, name)
        tally.add_sizes([block], [] if found else [block])
        if found:
            tally.add_change(f"paragraph, {found[0]}", {"removed": shortened(block.text), "of": found[1]})
        else:
            yield block


def counted(chunks: Iterator[Chunk], row: dict[str, Any], tally: Tally) -> Iterator[Chunk]:
    """Chunks, counted in the file's row and in the tally."""
    for chunk in chunks:
        row["chunks"] += 1
        tally.blocks_out += 1
        tally.characters_out += len(chunk.text)
        yield chunk


def documents(title: str, row: dict[str, Any], chunks: Iterator[Chunk]) -> Iterator[str]:
    """Chunks as Markdown documents of bounded size, each with its source."""
    texts: list[str] = []
    size = 0
    seen: dict[str, int] = {}
    for chunk in chunks:
        seen[chunk.heading] = seen.get(chunk.heading, 0) + 1
        heading = chunk.heading + (f" ({seen[chunk.heading]})" if seen[chunk.heading] > 1 else "")
        texts.append(f"## {heading}\n\n{chunk.text}\n")
        size += len(texts[-1])
        if size > DOCUMENT_CHARACTERS:
            yield document(title, row, texts)
            texts, size = [], 0
    if texts:
        yield document(title, row, texts)


def document(title: str, row: dict[str, Any], texts: Sequence[str]) -> str:
    """One Markdown document."""
    pages = f" ({row['num_pages']} pages)" if row["num_pages"] else ""
    source = " ".join(row["file"].split())
    return "\n".join([f"# {title}\n", *texts, f"## Sources\n\n- {source}{pages}\n"])


def title_of(row: dict[str, Any], settings: CleaningSettings) -> str:
    """The first heading, else the name of the file, without personal data."""
    title = row["title"] or re.sub(r"[\s_-]+", " ", Path(row["file"]).stem).strip().capitalize() or "Document"
    return redacted(" ".join(title.split())[:120], settings.salt, settings.keep) if not row["title"] else title[:120]


def free_name(file: str, taken: set[str]) -> str:
    """A name for a document: the path in plain ASCII; a number when it is taken."""
    stem = re.sub(r"[^a-z0-9]+", "-", file.lower()).strip("-")[:80] or "document"
    names = (f"{stem}.md" if number == 1 else f"{stem}-{number}.md" for number in range(1, len(taken) + 2))
    name = next(name for name in names if name not in taken)
    taken.add(name)
    return name


def write_settings(request: Request) -> None:
    """A `domain.toml` to edit; one that is there stays."""
    path = request.folder / "domain.toml"
    if path.exists():
        return
    title = re.sub(r"[-_]+", " ", request.name).strip().capitalize()
    write_text_atomically(
        path,
        f'name = "{request.name}"\ntitle = "{title}"\n'
        f'about = "{title}: say here in one sentence what the domain is about."\n'
        f'licence = "{LICENCE}"\n'
        f'system_prompt = "You answer questions about {title.lower()} in plain words. Say so when you do not know."\n'
        'notice = "General information from the documents that were given. It is not professional advice."\n'
        "labels = []  # what a message can be classified as, at least two\n"
        'held_out = ["questions", "instructions"]  # files that are never trained on\n',
    )


def clear(journal: Path, keys: set[str]) -> None:
    """Forget results of files that are gone or have changed."""
    for path in journal.iterdir():
        if path.name.removeprefix(".").partition(".")[0] not in keys and path.is_file():
            path.unlink()


def report_of(request: Request, rows: list[dict[str, Any]], joined: Joined, run: dict[str, float]) -> dict[str, Any]:
    """The report; `performance` is all that differs from run to run."""
    tallies = {stage: Tally() for stage in FILE_STAGES}
    for row in rows:
        for stage, tally in tallies.items():
            tally.merge(row["stages"][stage])
    joined.chunks.blocks_in, joined.chunks.characters_in = (
        joined.duplicates.blocks_out,
        joined.duplicates.characters_out,
    )
    stages = {**tallies, "duplicates": joined.duplicates, "chunks": joined.chunks}
    statuses = [row["status"] for row in rows]
    seconds = max(run["read"], 1e-9)
    shown = ("file", "status", "reason", "num_pages", "characters", "bytes", "chunks")
    return {
        "made_by": MADE_BY,
        "name": request.name,
        "settings": {k: v for k, v in asdict(request.cleaning).items() if k != "salt"}
        | {"limits": asdict(request.limits)},
        "statuses": {status: statuses.count(status) for status in sorted(set(statuses))},
        "files": [{key: row[key] for key in shown} for row in rows],
        "stages": [{"stage": name, **asdict(tally)} for name, tally in stages.items()],
        "pii": {"types": list(TYPES), "found": tallies["pii"].reasons, "measured": measure().as_dict()},
        "documents": joined.written,
        "performance": {
            "bytes_read": run["bytes"],
            "seconds_reading_and_cleaning": round(run["read"], 3),
            "seconds": round(run["all"], 3),
            "megabytes_per_second": round(run["bytes"] / 1e6 / seconds, 3),
            "jobs": request.jobs,
        },
    }


def row_line(row: dict[str, Any]) -> str:
    """A file's row for people."""
    size = f"{row['num_pages']} pages" if row["num_pages"] else f"{row['characters']} characters"
    name = "".join(c if c.isprintable() else "?" for c in row["file"])
    return f"{row['status']:12} {name} ({size}, {row['chunks']} chunks) {row['reason']}".rstrip()


def summary(report: dict[str, Any], folder: Path) -> list[str]:
    """The report in lines, and what to do next."""
    lines = [row_line(row) for row in report["files"]]
    for stage in report["stages"]:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(stage["reasons"].items()))
        blocks = f"{stage['blocks_in']} -> {stage['blocks_out']} {'chunks' if stage['stage'] == 'chunks' else 'blocks'}"
        lines.append(f"{stage['stage']:14} {blocks}{': ' + reasons if reasons else ''}")
    speed, found = report["performance"], report["pii"]["measured"]
    lines.append(
        f"Personal data: recall {found['recall']:.2f}, precision {found['precision']:.2f} on {found['mentions']} "
        f"planted mentions; look at the documents before you publish a model."
    )
    lines.append(
        f"{speed['bytes_read'] / 1e6:.2f} MB in {speed['seconds_reading_and_cleaning']:.1f} s "
        f"({speed['megabytes_per_second']:.2f} MB/s) into {len(report['documents'])} documents: {folder / REPORT}"
    )
    lines.append(f"Next: set title, about, licence and labels in {folder / 'domain.toml'}, then")
    kinds = "persona_contrast,classification,summarization,question_answer,routing"
    verbs = (f"validate {folder}", f"data {folder} --kind {kinds}", f"build {folder}")
    return [*lines, *(f"  expertsmith {verb}" for verb in verbs)]
