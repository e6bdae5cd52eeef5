"""Word documents through mammoth (HTML by style names) and markdownify: headings, lists and tables are kept."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from domains.formats import OLE_HEADER, Limits, Part, Unreadable
from domains.formats.html import to_markdown

STYLES = "p[style-name='Title'] => h1:fresh\np[style-name='Subtitle'] => p:fresh"


def read(path: Path, limits: Limits) -> Iterator[Part]:
    """The text of the main document; headers, footers and pictures are left out."""
    import mammoth

    check_container(path, limits)
    with path.open("rb") as handle:
        html = mammoth.convert_to_html(handle, style_map=STYLES, convert_image=no_image).value
    yield Part(to_markdown(html))


def no_image(_image: Any) -> list[Any]:
    """Pictures give no text."""
    return []


def check_container(path: Path, limits: Limits) -> None:
    """Refuse what is encrypted, what is no zip, and what unpacks to more than the limit."""
    with path.open("rb") as handle:
        if handle.read(8) == OLE_HEADER:
            raise Unreadable("encrypted", "protected by a password, or in the old .doc format: save it as plain .docx.")
    if not zipfile.is_zipfile(path):
        raise Unreadable("corrupt", "not a Word document (no zip container).")
    with zipfile.ZipFile(path) as container:
        entries = container.infolist()
    size = sum(entry.file_size for entry in entries)
    if len(entries) > limits.max_entries or size > limits.max_bytes:
        raise Unreadable("too_large", f"it unpacks to {size / 1e6:.1f} MB in {len(entries)} entries.")
    if any(entry.flag_bits & 1 for entry in entries):
        raise Unreadable("encrypted", "protected by a password.")
