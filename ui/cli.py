"""The `expertsmith` command: one verb per task. It parses and prints; the packages below decide."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from domains.errors import UserError
from ui import commands, improve_commands, judge_commands, operations, report_commands
from ui.data_verbs import add_data, add_domain
from ui.failure_limit import add_failure_limit
from ui.launching import add_launch
from ui.verbs import add_engine, add_recipe, count, verb


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
    add_launch(build)
    add_improving(verbs)
    add_data(verbs)
    add_domain(verbs)
    about = "Versions, security floor, device, models; the experts the same in training, service and export."
    doctor = verb(verbs, "doctor", operations.doctor, about, "expertsmith doctor --json")
    doctor.add_argument(
        "--endpoint", metavar="URL", help="compare with the experts at this OpenAI-compatible server too"
    )
    doctor.add_argument("--endpoint-key-env", help="environment variable with its key")


def add_improving(verbs: Any) -> None:
    """The verb of self-improvement."""
    made = verb(
        verbs,
        "improve",
        improve_commands.improve,
        "Let an expert learn from its own corrected answers; keep the result only if it holds. Run again to go on.",
        "expertsmith improve caregiving/conversation --set improve.max_tasks=32; "
        "expertsmith improve caregiving/conversation --rollback",
    )
    made.add_argument("expert", metavar="EXPERT", help="a built expert; 'expertsmith list' shows them")
    add_recipe(made, jobs=False)
    made.add_argument(
        "--rollback",
        nargs="?",
        const="",
        metavar="VERSION",
        help="put a version back into use (the one before) instead",
    )


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
    judge.add_argument("--labels", type=Path, metavar="FILE.jsonl", help="people's choices, to hold the judges against")
    add_engine(judge)
    judge.add_argument("--out", type=Path, default=Path("reports"), help="folder for one report per domain (reports)")
    judge.add_argument("--limit", type=count, help="at most this many rows of each kind")
    judge.add_argument(
        "--endpoint", default="", metavar="URL[,URL]", help="compare with models of this OpenAI-compatible API"
    )
    judge.add_argument("--model", default="", help="models of --endpoint, comma-separated; each is an arm")
    judge.add_argument(
        "--endpoint-key-env", default="OPENAI_API_KEY", help="environment variable with its key (OPENAI_API_KEY)"
    )
    add_failure_limit(judge)
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
    add_failure_limit(score)
    add_bench(verbs)


def add_bench(verbs: Any) -> None:
    """The verb of benches; an option belongs to those that it names."""
    bench = verb(verbs, "bench", commands.bench, "Measurements of this machine.", "expertsmith bench preference --json")
    bench.add_argument(
        "name",
        metavar="NAME",
        help="preference, objectives, recommendation, references, residual, device, router, evaluation, scaling, "
        "serving, improve, edge or tools",
    )
    about = "router: rows {text, label}, where nobody should answer the label is oos; objectives: preference rows"
    bench.add_argument("--data", type=Path, metavar="FILE.jsonl", help=about)
    bench.add_argument("--recipe", help="objectives: the model and the settings for --data")
    bench.add_argument("--bytes", type=int, dest="num_bytes", metavar="N", help="residual: size of the pair (2e9)")
    bench.add_argument("--python", metavar="PATH", help="residual: interpreter that has mergekit and residuals")
    bench.add_argument("--rows", type=int, metavar="N", help="tools: a fixed random subset of about N rows (200)")
    bench.add_argument("--all", action="store_true", dest="all_rows", help="tools: every row")
    bench.add_argument("--arms", metavar="A,B", help="tools: before, prompt, constrained, sft, sft+preference, ...")
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
    check.add_argument("--limit", type=count, default=0, help="at most so many probes, a fixed choice (all)")
    label = verb(
        verbs,
        "label",
        judge_commands.label,
        "A page on which a person chooses between two answers without knowing where they come from.",
        "expertsmith label reports/mortgage --arms conversation,instruct --labeller kim; "
        "expertsmith label pairs.jsonl --out labels.jsonl",
    )
    about = 'folder of a report, or rows {"question", "a", "b"}'
    label.add_argument("file", type=Path, metavar="REPORT_OR_FILE", help=about)
    label.add_argument("--arms", default="", metavar="A,B", help="the arms of the report whose answers are shown")
    about = "the choices, one line each; run again to go on (labels-A-B.jsonl in the report's folder)"
    label.add_argument("--out", type=Path, help=about)
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
    export.add_argument("--dtype", help="f32, f16, bf16, with gguf also q8_0 and q4_0 (bf16; gguf: f16)")
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
