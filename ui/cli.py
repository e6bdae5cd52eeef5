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
from ui import commands, ingestion

Handler = Callable[[argparse.Namespace], int]


def parser() -> argparse.ArgumentParser:
    """All verbs and their options."""
    top = argparse.ArgumentParser(
        prog="expertsmith", description="Build domain-specialist language models and prove whether they are better."
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    add_building(verbs)
    add_judging(verbs)
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
    check = verb(
        verbs,
        "validate",
        commands.validate,
        "Check a domain or a JSONL file row by row.",
        "expertsmith validate mortgage",
    )
    check.add_argument("target", metavar="DOMAIN_OR_FILE")
    add_domain(verbs)
    verb(verbs, "doctor", commands.doctor, "Versions, device, security floor, models.", "expertsmith doctor")


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
    made.add_argument("--language", default="en", help="ISO 639-1 code to keep, or 'any' (en)")
    made.add_argument("--salt", default="", help="secret that decides the surrogates of personal data (NAME)")
    made.add_argument("--keep", type=Path, metavar="FILE", help="texts, one a line, that are not personal data")
    made.add_argument("--max-megabytes", type=float, default=100, help="larger files are not read (100)")
    made.add_argument("--chunk-characters", type=int, default=2000, help="largest section of a document (2000)")


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
    judge.add_argument("--out", type=Path, default=Path("reports"), help="folder for one report per domain (reports)")
    judge.add_argument("--limit", type=int, help="at most this many rows of each kind")
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
    score.add_argument("--domain", help="for judges with domain rules (safety)")
    bench = verb(verbs, "bench", commands.bench, "Measurements of this machine.", "expertsmith bench preference --json")
    bench.add_argument("name", metavar="NAME", help="preference, objectives, recommendation or references")
    bench.add_argument("--quick", action="store_true", help="a smaller measurement, to see that it works")
    compare = verb(
        verbs,
        "compare",
        commands.compare,
        "Paired comparison of two reports of a domain.",
        "expertsmith compare before/mortgage after/mortgage",
    )
    compare.add_argument("first", type=Path, metavar="REPORT_A")
    compare.add_argument("second", type=Path, metavar="REPORT_B")


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
        made.add_argument("--strategy", help="few_shot or fixed")
    ask.add_argument("--expert", default="auto", help="an expert's name (auto)")
    ask.add_argument("--max-tokens", type=int, default=200)
    for name, handler, port in (("serve", commands.serve, 8000), ("chat", commands.chat, 7860)):
        about = "OpenAI-compatible service." if name == "serve" else "Chat page in the browser."
        made = verb(verbs, name, handler, about, f"expertsmith {name} --port {port}")
        made.add_argument("--host", default="127.0.0.1")
        made.add_argument("--port", type=int, default=port)
        made.add_argument("--strategy", help="few_shot or fixed")
        if name == "serve":
            made.add_argument("--api-key-env", help="environment variable that holds the key clients must send")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb. Exit code 0: done; 1: the user can fix it; 2: wrong usage; 130: interrupted."""
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
