"""Documents in, Markdown out: one file per format, and the file name is the registry by extension.

A reader yields `Part`s of bounded size, so that a file larger than memory can be read. What cannot be read is an
`Unreadable` with one of the statuses of the report; `read_file` turns every failure of a library into one.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from domains.plugins import load_plugin, plugin_names

Status = Literal["ok", "empty", "encrypted", "corrupt", "too_large", "unsupported"]
ALIASES = {"htm": "html", "xhtml": "html", "markdown": "md", "text": "txt", "tsv": "csv", "ndjson": "jsonl"}
PART_CHARACTERS = 200_000
PAGE_BREAK = "\f"
OLE_HEADER = bytes.fromhex("d0cf11e0a1b11ae1")


@dataclass(frozen=True)
class Limits:
    """Bounds on one file: bytes on disk, characters of text, pages, entries of a container, seconds, memory."""

    max_bytes: int = 100_000_000
    max_characters: int = 50_000_000
    max_pages: int = 5_000
    max_entries: int = 10_000
    max_seconds: int = 600
    max_memory_bytes: int = 4_000_000_000


@dataclass(frozen=True)
class LeftOut:
    """Text that a reader left out, and why."""

    reason: str
    text: str


@dataclass(frozen=True)
class Part:
    """Some of a file as Markdown; pages are separated by form feeds. `rows`: records, one paragraph each. `removed`:
    what the reader left out. `notes`: what the report should say of the file."""

    text: str
    num_pages: int = 0
    rows: bool = False
    removed: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


class Unreadable(Exception):
    """A file that gives no text: its status and the reason for the report."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status: Status = status
        self.reason = reason


def format_of(path: Path) -> str:
    """The name of the format of a file, by its extension."""
    extension = path.suffix.lower().removeprefix(".")
    name = ALIASES.get(extension, extension)
    names = plugin_names("domains.formats")
    if name not in names:
        allowed = ", ".join(sorted((*names, *ALIASES)))
        raise Unreadable("unsupported", f"'{path.suffix or path.name}' is not one of: {allowed}.")
    return name


def read_file(path: Path, limits: Limits) -> Iterator[Part]:
    """The parts of a file that have text. Raises Unreadable, and nothing else, for whatever is wrong with the file.
    Time and memory are the caller's to bound, with `bounded`, because what is done with a part counts too."""
    name = format_of(path)
    try:
        check_size(path, limits)
        num_characters, found = 0, False
        for part in load_plugin("domains.formats", name, "format").read(path, limits):
            num_characters += len(part.text)
            if num_characters > limits.max_characters:
                raise Unreadable("too_large", f"more than {limits.max_characters:,} characters of text.")
            found = found or bool(part.text.strip())
            yield part
        if not found:
            raise Unreadable("empty", "no text in it (a scan needs text recognition first).")
    except Unreadable:
        raise
    except Exception as error:  # a library met a broken file: one row in the report, whatever it raises
        detail = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise refusal(error, limits, f"it cannot be read as {name} ({detail}).") from error


def refusal(error: Exception, limits: Limits, otherwise: str) -> Unreadable:
    """What the report says of an error that a file led to; `otherwise`: the reason when its kind tells none."""
    if isinstance(error, Unreadable):
        return error
    if isinstance(error, MemoryError):
        return Unreadable("too_large", "it needs more memory than one file may take.")
    if isinstance(error, TimeoutError):
        return Unreadable("too_large", f"reading and cleaning took more than {limits.max_seconds} s.")
    if isinstance(error, PermissionError):
        return Unreadable("corrupt", "it may not be opened: allow this account to read it, then run again.")
    return Unreadable("corrupt", otherwise)


def check_size(path: Path, limits: Limits) -> None:
    """Refuse an empty file and one over the limit before it is opened."""
    size = path.stat().st_size
    if size == 0:
        raise Unreadable("empty", "0 bytes.")
    if size > limits.max_bytes:
        raise Unreadable(
            "too_large",
            f"{size / 1e6:.1f} MB, the limit is {limits.max_bytes / 1e6:.0f} MB: split it or raise --max-megabytes.",
        )


@contextmanager
def bounded(limits: Limits) -> Iterator[None]:
    """Stop work that hangs, or that turns a small file into gigabytes (where the platform can), by an error in it."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    import resource

    def expire(*_: Any) -> None:
        raise TimeoutError

    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = memory_in_use() + limits.max_memory_bytes  # besides what the process has already
    within = [allowed, *(limit for limit in (before, hard) if limit != resource.RLIM_INFINITY)]
    handler = signal.signal(signal.SIGALRM, expire)
    resource.setrlimit(resource.RLIMIT_DATA, (min(within), hard))
    signal.setitimer(signal.ITIMER_REAL, limits.max_seconds, 1)  # again and again: a finalizer swallows what it meets
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))


def memory_in_use() -> int:
    """Bytes of data of this process; its resident memory where the platform does not tell them apart (macOS)."""
    told = psutil.Process().memory_info()
    return int(getattr(told, "data", told.rss))


def table(rows: list[list[str]]) -> str:
    """Rows as a Markdown table; the first row is the header."""
    width = max(len(row) for row in rows)
    cells = [[" ".join((cell or "").split()).replace("|", "\\|") for cell in row] for row in rows]
    lines = ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in cells]
    return "\n".join([lines[0], "|" + " --- |" * width, *lines[1:]])
