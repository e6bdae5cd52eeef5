"""Where training rows lie: JSONL, a JSON list, Parquet, Arrow, or a data set on the hub at a pinned revision.

JSON is read line by line and Parquet and Arrow in batches, so that rows with different columns and files larger than
memory work; a folder of Parquet files is read in the order of their names. A hub data set is named
`hub:OWNER/NAME[/CONFIG]@COMMIT[:SPLIT]` (the split is train when left out).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from domains.errors import UserError
from domains.readers import RowError, parse_object, rows, shown

HUB = "hub:"
HUB_NAME = re.compile(
    r"(?P<name>[\w.-]+(?:/[\w.-]+)?)(?:/(?P<config>[\w.-]+))?@(?P<revision>[0-9a-f]{40})"
    r"(?::(?P<split>[\w.\[\]:%+-]+))?"
)
SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".arrow")
Loader = Callable[..., Iterable[dict[str, Any]]]


@dataclass(frozen=True)
class SourceRow:
    """A row and its number (JSONL: its line; else counted from 1), or why it is no row. Empty columns are left out."""

    number: int
    row: dict[str, Any] = field(default_factory=dict)
    error: RowError | None = None


def is_row_source(target: str) -> bool:
    """Whether a name is that of a file of rows or of a hub data set, and not of a domain."""
    return target.startswith(HUB) or Path(target).is_file() or target.endswith(SUFFIXES) or bool(shards(Path(target)))


def shards(folder: Path) -> list[Path]:
    """The Parquet files of a folder that is no domain."""
    return [] if (folder / "domain.toml").exists() else sorted(folder.glob("*.parquet"))


def source_rows(target: str) -> Iterator[SourceRow]:
    """All rows of a source, in order."""
    path = Path(target)
    if target.startswith(HUB):
        return numbered(hub_rows(target))
    if shards(path):
        return numbered(chain.from_iterable(map(parquet_rows, shards(path))))
    if not path.is_file():
        raise UserError(f"{target} does not exist. Give a {', '.join(SUFFIXES)} file, or {HUB}OWNER/NAME@COMMIT.")
    if path.suffix == ".parquet":
        return numbered(parquet_rows(path))
    if path.suffix == ".arrow":
        return numbered(arrow_rows(path))
    return numbered(json_list(path)) if path.suffix == ".json" and is_list(path) else jsonl_rows(path)


def numbered(values: Iterable[Any]) -> Iterator[SourceRow]:
    """Values with their numbers; what is no object is an error of its row."""
    for number, value in enumerate(values, 1):
        if isinstance(value, dict):
            yield SourceRow(number, without_empty(value))
        else:
            reason = f"a JSON {type(value).__name__}, not an object: {shown(value)}."
            yield SourceRow(number, error=RowError("row", reason, "write one object per row."))


def without_empty(row: dict[str, Any]) -> dict[str, Any]:
    """A row without its null columns: tables have all columns in all rows."""
    return {key: value for key, value in row.items() if value is not None}


def jsonl_rows(path: Path) -> Iterator[SourceRow]:
    """One object per line."""
    for number, line in rows(path):
        try:
            yield SourceRow(number, without_empty(parse_object(line)))
        except RowError as error:
            yield SourceRow(number, error=error)


def is_list(path: Path) -> bool:
    """Whether a file begins as a JSON list."""
    with path.open("rb") as handle:
        return handle.read(256).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


def json_list(path: Path) -> list[Any]:
    """The items of a file that is one JSON list."""
    try:
        return list(json.loads(path.read_text(encoding="utf-8-sig")))
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason}). Save it as UTF-8 and run again.") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not JSON ({error.msg}, line {error.lineno}). Correct it, or use JSONL.") from None


def parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet ({first_line(error)}). Write it again.") from None


def arrow_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of an Arrow file in either IPC form; `datasets.save_to_disk` writes the streaming one."""
    import pyarrow
    import pyarrow.ipc

    try:
        with pyarrow.memory_map(str(path)) as handle:
            yield from (row for batch in arrow_batches(handle) for row in batch.to_pylist())
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as Arrow ({first_line(error)}). Write it again.") from None


def arrow_batches(handle: Any) -> Iterator[Any]:
    """The record batches of an open Arrow file."""
    import pyarrow
    import pyarrow.ipc

    try:
        file = pyarrow.ipc.open_file(handle)
    except pyarrow.ArrowInvalid:
        handle.seek(0)
        yield from pyarrow.ipc.open_stream(handle)
    else:
        yield from (file.get_batch(place) for place in range(file.num_record_batches))


def hub_rows(target: str, load: Loader | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a hub data set at a commit, as they arrive; `load` is `datasets.load_dataset` unless given."""
    found = HUB_NAME.fullmatch(target.removeprefix(HUB))
    if not found:
        raise UserError(
            f"'{target}' does not name a pinned data set. Write {HUB}OWNER/NAME[/CONFIG]@COMMIT with the 40 "
            "hexadecimal digits of a commit, so that the rows stay the same; after it :SPLIT if it is not train."
        )
    try:
        config = [found["config"]] if found["config"] else []
        yield from (load or hub_loader())(
            found["name"], *config, revision=found["revision"], split=found["split"] or "train", streaming=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"The data set '{found['name']}' at {found['revision'][:8]} cannot be read from the hub "
            f"({type(error).__name__}: {first_line(error)}). Check the name, the commit, the split and the connection, "
            "or download its Parquet files and give their paths."
        ) from None


def hub_loader() -> Loader:
    """The loader of the `datasets` library, which takes seconds to import."""
    from datasets import load_dataset

    loader: Loader = load_dataset
    return loader


def first_line(error: BaseException) -> str:
    """The first line of an error, at most 120 characters."""
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__
