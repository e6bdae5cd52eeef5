"""Verbs about training rows: check, convert, audit and make them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domains.errors import UserError
from ui.commands import Options, emit, names, say


def validate(options: Options) -> int:
    """Row-level report; non-zero when there are bad rows, or when the shown example would not teach to stop."""
    from domains.validate import validate as check

    result = check(options.target, options.format)
    data = {
        "ok": result.ok,
        "counts": result.counts,
        "problems": [vars(problem) for problem in result.problems],
        "warnings": list(result.warnings),
        "format": result.format,
    }
    lines = [str(problem) for problem in result.problems]
    lines += [f"warning: {warning}" for warning in result.warnings]
    lines += [f"{name}: {count}" for name, count in result.counts.items()]
    lines += [f"format: {result.format}"] if result.format else []
    lines.append("All rows are good." if result.ok else f"{len(result.problems)} bad rows.")
    shown = shown_example(options) if options.show else None
    if shown is not None:
        data["template"] = shown.as_dict()
        lines += shown.lines()
    emit(options, data, lines)
    return 0 if result.ok and (shown is None or shown.ok) else 1


def shown_example(options: Options) -> Any:
    """The template check of the first good row."""
    from transformers import AutoTokenizer

    from experts.foundation import base_folder
    from experts.recipe import Foundation
    from experts.template_check import check_template

    record = first_record(options)
    tokenizer = AutoTokenizer.from_pretrained(base_folder(Foundation(base=options.model)))
    if not tokenizer.chat_template:
        raise UserError(f"{options.model} has no chat template. Give --model the folder of an instruct model.")
    return check_template(tokenizer, record)


def first_record(options: Options) -> Any:
    """The first good row of a file, or the first training row of a domain."""
    from domains.domain import Domain
    from domains.row_source import is_row_source
    from domains.training_rows import read_training_rows

    if is_row_source(options.target):
        found: tuple[Any, ...] = read_training_rows(options.target, options.format).reading.records
    else:
        domain = Domain.load(options.target)
        found = domain.preferences("train") or domain.examples("classification", "train")
    if not found:
        raise UserError(
            f"{options.target} has no good row to show. Correct the rows that are reported, or make some with "
            "'expertsmith data'."
        )
    return found[0]


def convert(options: Options) -> int:
    """Good rows in TRL's form; bad ones are reported, counted, and make the exit code 1."""
    from domains.training_rows import one_rejected_each, read_training_rows, write_trl

    if options.out.is_dir():
        raise UserError(f"--out {options.out} is a folder. Give the name of a file to write.")
    found = read_training_rows(options.file, options.format)
    records = list(found.reading.records)
    if options.pairs:
        records = [each for record in records for each in one_rejected_each(record)]
    if records:
        write_trl(options.out, records)
    data = {
        "format": found.format,
        "rows": found.num_rows,
        "written": len(records),
        "problems": [vars(problem) for problem in found.reading.problems],
        "notes": list(found.notes),
        "out": str(options.out),
    }
    lines = [str(problem) for problem in found.reading.problems]
    lines += [f"note: {note}" for note in found.notes]
    lines.append(
        f"{found.num_rows} rows of format {found.format}: {len(records)} written to {options.out}, "
        f"{len(found.reading.problems)} bad."
    )
    emit(options, data, lines)
    return 1 if found.reading.problems else 0


def audit(options: Options) -> int:
    """The audit of preference pairs; exit code 1 when the set is refused."""
    from judges.pair_audit import audit as check

    found = check(options.target, options.format)
    emit(options, found.as_dict(), list(found.lines()))
    return 1 if found.level == "refuse" else 0


@dataclass(frozen=True)
class Given:
    """The rows of --rows and --edits, and those that could not be read."""

    rows: tuple[Any, ...] = ()
    edits: tuple[Any, ...] = ()
    problems: tuple[Any, ...] = ()


def data(options: Options) -> int:
    """Make training rows of some kinds; exit code 1 when nothing at all was made of one. Given rows that cannot be read
    are reported, counted, and make it 1 too."""
    from domains.domain import Domain
    from experts.building import Job, builder_names, load_builder, make_rows
    from experts.writers import endpoint_of, identity
    from judges.endpoint import MODEL_VARIABLE

    kinds = names(options.kind)
    if not kinds:
        raise UserError(f"--kind names nothing to make. Give one or several of {', '.join(builder_names())}.")
    if options.limit is not None and options.limit < 1:
        raise UserError(f"--limit is {options.limit}. Take 1 or more, or leave it out.")
    asks = any([load_builder(kind).USES_MODEL for kind in kinds])
    domain = Domain.load(options.name)
    folder = out_folder(options, domain)
    given = given_rows(options)
    strong = endpoint_of(options.endpoint, options.model, options.endpoint_key_env)
    weak = endpoint_of(options.weak_endpoint or options.endpoint, options.weak_model, options.endpoint_key_env)
    if "weak_model_rejected" in kinds:
        warn_of_equals(options, identity(strong), identity(weak))
    made = []
    with writers_of(options, strong, weak) if asks else nullcontext(no_writers()) as writers:
        for kind in kinds:
            job = Job(
                kind,
                material_of(given, domain, folder),
                folder,
                f"{identity(strong)} {identity(weak)}",
                options.limit,
                strong.concurrency if strong and weak else 1,
                options.engine == "ray",
                (options.endpoint_key_env, MODEL_VARIABLE),
            )
            made.append(make_rows(job, writers, say))
    lines = [str(problem) for problem in given.problems]
    lines += [line for each in made for line in made_lines(each, folder)]
    lines += [f"{len(given.problems)} bad rows were given."] if given.problems else []
    problems = [vars(problem) for problem in given.problems]
    emit(options, {"made": [each.as_dict() for each in made], "problems": problems}, lines)
    return 1 if problems or any("ok" not in each.statuses for each in made) else 0


def warn_of_equals(options: Options, strong: str, weak: str) -> None:
    """Say it when the rejected answers come from a model that nobody called weaker, or from the writer itself."""
    if strong == weak or not (options.weak_model or options.weak_endpoint):
        said = "the writer itself" if strong == weak else f"the default model of the endpoint ({weak})"
        say(f"weak_model_rejected: the weaker model is {said}. Give --weak-model or --weak-endpoint.")


def writers_of(options: Options, strong: Any, weak: Any) -> AbstractContextManager[Any]:
    """The writers of a run: opened here, or by each worker of Ray."""
    from experts.builders._parts import Writers
    from experts.writers import asked_there, open_writers

    if options.engine != "ray":
        return open_writers(strong, weak)
    key, weak_urls = options.endpoint_key_env, options.weak_endpoint or options.endpoint
    return nullcontext(Writers(asked_there(strong, options.endpoint, key), asked_there(weak, weak_urls, key)))


def no_writers() -> Any:
    """Writers of builders that ask no model."""
    from experts.builders._parts import Writers

    return Writers(no_model, no_model)


def no_model(messages: Any) -> str:
    """Stands where no model is needed."""
    raise AssertionError("this builder asks no model")


def made_lines(made: Any, folder: Path) -> list[str]:
    """An outcome for people."""
    counts = ", ".join(f"{count} {status}" for status, count in sorted(made.statuses.items()))
    reasons = [f"  {count} x {reason}" for reason, count in made.reasons.items()]
    replaced = f", {made.num_replaced} put in the place of another writer's" if made.num_replaced else ""
    return [f"{made.kind}: {counts}; {made.num_added} rows added to {folder / made.file}{replaced}", *reasons]


def out_folder(options: Options, domain: Any) -> Path:
    """Where rows are written: the domain's folder, but not that of a domain that comes with the package."""
    from domains.domain import SHIPPED

    folder: Path = options.out or domain.folder
    if folder.resolve().parent == SHIPPED.resolve():
        raise UserError(f"{domain.name} comes with the package and is not changed. Give --out DIR for the new rows.")
    return folder


def given_rows(options: Options) -> Given:
    """Rows of --rows and corrections of --edits; each that cannot be read is a problem."""
    from domains.readers import Problem, Reading
    from domains.row_source import source_rows
    from domains.training_rows import read_training_rows

    empty: Any = Reading((), (), ())
    reading = read_training_rows(options.rows).reading if options.rows else empty
    if options.rows and not reading.records:
        raise UserError(f"{options.rows} has no good row. The first: {reading.problems[0]}")
    edits = list(source_rows(options.edits)) if options.edits else []
    bad = [(edit.number, edit.error) for edit in edits if edit.error]
    file = Path(options.edits).name
    problems = (Problem(file, number, error.field, error.reason, error.fix) for number, error in bad)
    good = tuple(edit.row for edit in edits if not edit.error)
    return Given(reading.records, good, (*reading.problems, *problems))


def material_of(given: Given, domain: Any, folder: Path) -> Any:
    """What builders may use: documents, rows of --rows (else the preferences), corrections of --edits."""
    from domains.domain import PARSERS
    from domains.readers import read_jsonl
    from experts.builders._parts import Material

    own = folder / "preferences.jsonl"
    if given.rows:
        rows = given.rows
    elif own.is_file():
        rows = read_jsonl(own, PARSERS[own.name]).records
    else:
        rows = domain.records(own.name)
    return Material(domain, rows, given.edits)
