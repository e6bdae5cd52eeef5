"""The verbs about a domain's data, with their options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ui import data_commands, ingestion
from ui.verbs import add_engine, verb


def add_data(verbs: Any) -> None:
    """Verbs about training rows."""
    check = verb(
        verbs,
        "validate",
        data_commands.validate,
        "Check a domain, or training rows in any known format, row by row.",
        "expertsmith validate mortgage; expertsmith validate pairs.parquet --show",
    )
    check.add_argument("target", metavar="DOMAIN_OR_FILE")
    check.add_argument("--show", action="store_true", help="one decoded example with its loss mask")
    check.add_argument("--model", default="embedded", help="--show: model folder or hub id of the tokenizer (embedded)")
    convert = verb(
        verbs,
        "convert",
        data_commands.convert,
        "Write training rows of any known format in TRL's conversational form.",
        "expertsmith convert pairs.parquet --out pairs.jsonl",
    )
    convert.add_argument("file", metavar="FILE", help="JSONL, JSON, Parquet, Arrow, or hub:OWNER/NAME@COMMIT[:SPLIT]")
    convert.add_argument("--out", type=Path, required=True, metavar="FILE.jsonl")
    convert.add_argument("--pairs", action="store_true", help="one row per rejected answer, as TRL's trainers want")
    audit = verb(
        verbs,
        "audit",
        data_commands.audit,
        "What gives rejected answers away: length, reading level, words, facts, leaks; warns or refuses (exit code 1).",
        "expertsmith audit mortgage --json",
    )
    audit.add_argument("target", metavar="DOMAIN_OR_FILE")
    for made in (check, convert, audit):
        made.add_argument("--format", default="", help="preference, prompt_completion, messages, ... (found by keys)")
    add_making(verbs)


def add_making(verbs: Any) -> None:
    """The verb that makes training rows."""
    made = verb(
        verbs,
        "data",
        data_commands.data,
        "Make training rows from a domain's documents, rows or corrections; run again to go on.",
        "expertsmith data leases --kind persona_contrast,perturbation --endpoint http://127.0.0.1:8000/v1",
    )
    made.add_argument("name", metavar="DOMAIN")
    about = "question_answer, classification, summarization, persona_contrast, weak_model_rejected, "
    made.add_argument(
        "--kind",
        required=True,
        help=about + "failure_to_success, wrong_calls, routing, edits or perturbation; or several",
    )
    made.add_argument("--out", type=Path, metavar="DIR", help="where rows are added (the domain's folder)")
    made.add_argument("--limit", type=int, help="at most so many items of each kind")
    about = "who writes, or 'local' (OPENAI_BASE_URL); of several the least loaded"
    made.add_argument("--endpoint", default="", metavar="URL[,URL]", help=about)
    made.add_argument("--model", default="", help="its model (EXPERTSMITH_JUDGE_MODEL)")
    made.add_argument("--weak-endpoint", default="", metavar="URL", help="whose answers are rejected (--endpoint)")
    made.add_argument("--weak-model", default="", help="the weaker model there")
    made.add_argument("--endpoint-key-env", default="OPENAI_API_KEY", help="variable with the key (OPENAI_API_KEY)")
    add_engine(made)
    made.add_argument("--rows", default="", metavar="FILE", help="perturbation: good answers (the preferences)")
    made.add_argument("--edits", default="", metavar="FILE", help='edits: rows {"prompt", "draft", "edited"}')


def add_domain(verbs: Any) -> None:
    """The verb that makes a domain from documents."""
    made = verb(
        verbs,
        "domain",
        ingestion.domain,
        "Make a domain from a folder of documents: read, clean, replace personal data, write; run again to go on.",
        "expertsmith domain new leases --documents my_files --jobs 2",
    )
    made.add_argument("action", choices=["new"], metavar="new")
    made.add_argument("name", metavar="NAME", help="name of the domain, and of its folder")
    made.add_argument(
        "--documents", type=Path, required=True, metavar="DIR", help="PDF, DOCX, HTML, MD, TXT, CSV, JSONL"
    )
    made.add_argument("--out", type=Path, default=Path(), help="where the folder NAME is made (here)")
    made.add_argument("--jobs", type=int, default=1, help="processes (1); the result is the same for any number")
    add_engine(made)
    made.add_argument("--language", default="en", help="ISO 639-1 code to keep, or 'any' (en)")
    made.add_argument("--salt", default="", help="secret that decides the surrogates of personal data (NAME)")
    made.add_argument("--keep", type=Path, metavar="FILE", help="texts, one a line, that are not personal data")
    made.add_argument("--max-megabytes", type=float, default=100, help="larger files are not read (100)")
    made.add_argument("--chunk-characters", type=int, default=2000, help="largest section of a document (2000)")
