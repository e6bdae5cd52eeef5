"""The `expertsmith` command: one verb per task. It parses and prints; the packages below decide."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from domains.errors import UserError
from ui import commands, data_commands, ingestion, judge_commands, operations, report_commands

Handler = Callable[[argparse.Namespace], int]
FAILURE_LIMIT = 0.02


def parser() -> argparse.ArgumentParser:
    """All verbs and their options."""
    top = argparse.ArgumentParser(
        prog="expertsmith", description="Build domain-specialist language models and prove whether they are better."
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    add_building(verbs)
    add_judging(verbs)
    add_judge_checks(verbs)
    add_reports(verbs)
    add_using(verbs)
    return top


def verb(verbs: Any, name: str, handler: Handler, about: str, example: str) -> argparse.ArgumentParser:
    """One verb with its help, an example and the options that all have."""
    made: argparse.ArgumentParser = verbs.add_parser(name, help=about, description=about, epilog=f"Example: {example}")
    made.add_argument("--home", type=Path, default=Path(".expertsmith"), help="where built models live (.expertsmith)")
    made.add_argument("--json", action="store_true", help="print data as JSON")
    made.set_defaults(handler=handler)
    return made


def add_building(verbs: Any) -> None:
    """Verbs that make things."""
    verb(
        verbs,
        "list",
        commands.show_list,
        "Domains, experts, objectives, judges, strategies, recipes.",
        "expertsmith list",
    )
    build = verb(
        verbs,
        "build",
        commands.build,
        "Build the experts of domains; run again to go on.",
        "expertsmith build mortgage caregiving",
    )
    build.add_argument("domains", nargs="+", metavar="DOMAIN", help="shipped name, or a folder with a domain.toml")
    add_recipe(build)
    build.add_argument("--dry-run", action="store_true", help="print the stages and whether they are done")
    add_data(verbs)
    add_domain(verbs)
    about = "Versions, security floor, device, models; the experts the same in training, service and export."
    doctor = verb(verbs, "doctor", operations.doctor, about, "expertsmith doctor --json")
    doctor.add_argument(
        "--endpoint", metavar="URL", help="compare with the experts at this OpenAI-compatible server too"
    )
    doctor.add_argument("--endpoint-key-env", help="environment variable with its key")


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
    made.add_argument("--kind", required=True, help=about + "failure_to_success, edits or perturbation; or several")
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


def add_engine(made: argparse.ArgumentParser) -> None:
    """Where the work of a verb with many items is done."""
    about = "local, or ray: this machine's or RAY_ADDRESS' cluster; the same result (local)"
    made.add_argument("--engine", choices=["local", "ray"], default="local", help=about)


def add_recipe(made: argparse.ArgumentParser) -> None:
    """Options that choose a recipe."""
    made.add_argument("--recipe", help="shipped recipe or TOML file")
    made.add_argument("--seed", type=int, help="seed of everything random")
    made.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="e.g. pretrain.epochs=1"
    )
    made.add_argument("--jobs", type=int, default=1, help="domains side by side, each with its share of the cores (1)")


def add_judging(verbs: Any) -> None:
    """Verbs that measure."""
    judge = verb(
        verbs,
        "evaluate",
        commands.evaluate,
        "Measure every arm of domains and write reports.",
        "expertsmith evaluate mortgage --out reports",
    )
    judge.add_argument("domains", nargs="+", metavar="DOMAIN")
    add_recipe(judge)
    judge.add_argument("--experts", default="", help="arms, comma-separated (all)")
    judge.add_argument("--judges", default="", help="judges, comma-separated (those of the recipe and llm_judge)")
    add_engine(judge)
    judge.add_argument("--out", type=Path, default=Path("reports"), help="folder for one report per domain (reports)")
    judge.add_argument("--limit", type=int, help="at most this many rows of each kind")
    judge.add_argument(
        "--endpoint", default="", metavar="URL[,URL]", help="compare with models of this OpenAI-compatible API"
    )
    judge.add_argument("--model", default="", help="models of --endpoint, comma-separated; each is an arm")
    judge.add_argument(
        "--endpoint-key-env", default="OPENAI_API_KEY", help="environment variable with its key (OPENAI_API_KEY)"
    )
    judge.add_argument(
        "--failure-limit",
        type=float,
        default=FAILURE_LIMIT,
        metavar="SHARE",
        help="exit code 3 when more of an arm's rows failed (%(default)s)",
    )
    score = verb(
        verbs,
        "score",
        commands.score,
        "Judge rows {question, answer, reference?} of a file.",
        "expertsmith score answers.jsonl --judges bertscore,empathy --out scored.jsonl",
    )
    score.add_argument("file", type=Path, metavar="FILE.jsonl")
    score.add_argument("--judges", required=True, help="judges, comma-separated")
    score.add_argument("--out", type=Path, required=True)
    score.add_argument("--domain", help="for judges with domain rules or documents (safety, grounding)")
    score.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="JUDGE.KEY=VALUE",
        dest="overrides",
        help="e.g. bertscore.idf=true",
    )
    add_bench(verbs)


def add_bench(verbs: Any) -> None:
    """The verb that measures this machine."""
    bench = verb(verbs, "bench", commands.bench, "Measurements of this machine.", "expertsmith bench preference --json")
    bench.add_argument(
        "name",
        metavar="NAME",
        help="preference, objectives, recommendation, references, residual, device, router, evaluation, "
        "scaling or serving",
    )
    bench.add_argument(
        "--data", type=Path, metavar="FILE.jsonl", help="router: rows {text, label}; objectives: preference rows"
    )
    bench.add_argument("--recipe", help="objectives: the model and the settings for --data")
    bench.add_argument("--bytes", type=int, dest="num_bytes", metavar="N", help="residual: size of the pair (2e9)")
    bench.add_argument("--python", metavar="PATH", help="residual: interpreter that has mergekit and residuals")
    bench.add_argument("--quick", action="store_true", help="a smaller measurement, to see that it works")


def add_reports(verbs: Any) -> None:
    """Verbs about reports and test data."""
    compare = verb(
        verbs,
        "compare",
        report_commands.compare,
        "Paired comparison of two reports of a domain, or of two arms: better, worse or not enough evidence.",
        "expertsmith compare before/mortgage after/mortgage; expertsmith compare mortgage --arms conversation,instruct",
    )
    compare.add_argument("first", type=Path, metavar="REPORT_A", help="folder or report.json")
    compare.add_argument("second", type=Path, nargs="?", metavar="REPORT_B", help="the same report when left out")
    compare.add_argument("--arms", default="", help="A,B: arm A of the first report against arm B of the second")
    leaks = verb(
        verbs,
        "contamination",
        report_commands.contamination,
        "Test rows that share long runs of words with training rows.",
        "expertsmith contamination mortgage",
    )
    leaks.add_argument("domain", metavar="DOMAIN")
    export = verb(
        verbs,
        "export-evaluation",
        report_commands.export_evaluation,
        "Write the held-out data of a domain as lm-evaluation-harness tasks and as JSONL.",
        "expertsmith export-evaluation mortgage --out exported",
    )
    export.add_argument("domain", metavar="DOMAIN")
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder, made if it is not there")


def add_judge_checks(verbs: Any) -> None:
    """Verbs that test judges."""
    check = verb(
        verbs,
        "calibrate",
        judge_commands.calibrate,
        "Whether a judge can be believed: its agreement with known better answers, or with people's labels.",
        "expertsmith calibrate llm_judge --pairwise --json",
    )
    check.add_argument("judge", metavar="JUDGE")
    check.add_argument("--labels", type=Path, metavar="FILE.jsonl", help="choices of 'expertsmith label' (the probes)")
    check.add_argument("--pairwise", action="store_true", help="llm_judge: compare pairs, in both orders")
    check.add_argument("--domain", help="for judges with domain rules or documents (safety, grounding)")
    check.add_argument("--limit", type=int, default=0, help="at most so many probes, a fixed choice (all)")
    label = verb(
        verbs,
        "label",
        judge_commands.label,
        "A page on which a person chooses between two answers without knowing where they come from.",
        "expertsmith label pairs.jsonl --out labels.jsonl --labeller kim",
    )
    label.add_argument("file", type=Path, metavar="FILE.jsonl", help='rows {"question", "a", "b"}')
    label.add_argument("--out", type=Path, required=True, help="the choices, one line each; run again to go on")
    label.add_argument("--labeller", default="person", help="who is labelling (person)")
    label.add_argument("--host", default="127.0.0.1")
    label.add_argument("--port", type=int, default=7861)


def add_using(verbs: Any) -> None:
    """Verbs that use experts."""
    route = verb(
        verbs,
        "route",
        commands.route,
        "Which expert a request goes to.",
        'expertsmith route "My escrow payment went up" --json',
    )
    ask = verb(verbs, "ask", commands.ask, "Route a request, then answer it.", 'expertsmith ask "Mom will not bathe"')
    for made in (route, ask):
        made.add_argument("text", metavar="TEXT")
        made.add_argument("--strategy", help="few_shot, nearest, blend or fixed (what won on dev)")
    ask.add_argument("--expert", default="auto", help="an expert's name (auto)")
    ask.add_argument("--max-tokens", type=int, default=200)
    for name, handler, port in (("serve", operations.serve, 8000), ("chat", commands.chat, 7860)):
        about = "OpenAI-compatible service." if name == "serve" else "Chat page in the browser."
        made = verb(verbs, name, handler, about, f"expertsmith {name} --port {port}")
        made.add_argument("--host", default="127.0.0.1")
        made.add_argument("--port", type=int, default=port)
        made.add_argument("--strategy", help="few_shot, nearest, blend or fixed (what won on dev)")
        if name == "serve":
            add_serving(made)
    export = verb(
        verbs,
        "export",
        operations.export,
        "An expert as one model, for other software.",
        "expertsmith export mortgage/conversation --format gguf --out exported",
    )
    export.add_argument("expert", metavar="EXPERT")
    export.add_argument("--format", default="safetensors", help="safetensors or gguf (safetensors)")
    export.add_argument("--dtype", help="f32, f16, bf16, with gguf also q8_0 (bf16; gguf: f16)")
    export.add_argument("--out", type=Path, required=True, help="a new folder")


def add_serving(made: argparse.ArgumentParser) -> None:
    """Options of the service."""
    made.add_argument("--api-key-env", help="environment variable with the key, or several, that clients must send")
    about = "OpenAI-compatible servers that generate, the least loaded first (this process)"
    made.add_argument("--backend", metavar="URL[,URL]", help=about)
    made.add_argument("--backend-key-env", help="environment variable with the back-end's key")
    made.add_argument("--request-seconds", type=float, default=120.0, help="longest time of an answer (120)")
    made.add_argument(
        "--drain-seconds", type=float, default=30.0, help="time to finish accepted requests at the end (30)"
    )
    made.add_argument("--log-prompts", action="store_true", help="write what is asked to the log")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb. Exit code 0: done; 1: the user can fix it; 2: wrong usage; 3: done, but too many samples failed;
    130: interrupted."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(given)
    options.command = shlex.join(["expertsmith", *given])
    try:
        return int(options.handler(options))
    except UserError as error:
        if options.json:
            print(json.dumps({"error": str(error)}))
        print(f"expertsmith: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. Run the same command again to go on.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
