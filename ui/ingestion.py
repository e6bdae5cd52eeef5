"""`expertsmith domain new`: options to a request, the report to lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from domains.engine import Engine
from domains.errors import UserError, unknown_name
from ui.commands import Options, emit

if TYPE_CHECKING:
    from domains.cleaning import CleaningSettings

EXTRA = "Reading documents needs more packages: install them with 'pip install expertsmith[documents]'."


def domain(options: Options) -> int:
    """Make a domain from documents. Files that cannot be read are rows of the report, not a failure."""
    try:
        from domains.new_domain import Request, new_domain, summary
    except ModuleNotFoundError as error:
        raise UserError(f"{EXTRA} ({error.name} is missing.)") from None
    from domains.formats import Limits

    if options.jobs < 1 or options.max_megabytes <= 0:
        raise UserError(
            f"--jobs is {options.jobs} and --max-megabytes {options.max_megabytes:g}. Both must be positive."
        )
    folder = options.out / options.name
    limits = Limits(max_bytes=int(options.max_megabytes * 1e6))
    engine = Engine("ray", options.jobs if options.jobs > 1 else 0) if options.engine == "ray" else None
    request = Request(options.name, options.documents, folder, settings(options), limits, options.jobs, engine)
    report = new_domain(request)
    emit(options, report, summary(report, folder))
    return 0


def settings(options: Options) -> CleaningSettings:
    """How to clean."""
    from domains.cleaning import CleaningSettings
    from domains.cleaning.language import known_languages

    language = "" if options.language == "any" else options.language
    if language not in {"", "en"} and language not in known_languages():
        raise unknown_name("language", language, {*known_languages(), "any"})
    if not 200 <= options.chunk_characters <= 100_000:
        raise UserError(f"--chunk-characters is {options.chunk_characters}. Take 200 to 100000.")
    keep = kept_texts(options.keep) if options.keep else ()
    return CleaningSettings(language, options.salt or options.name, keep, chunk_characters=options.chunk_characters)


def kept_texts(path: Path) -> tuple[str, ...]:
    """The lines of a file."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--keep {path} cannot be read ({error}). Give a UTF-8 file with one text a line.") from None
    return tuple(line.strip() for line in lines if line.strip())
