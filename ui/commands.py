"""What each verb does: load, call the packages below, print. Heavy imports wait until a verb needs them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from inspect import signature
from itertools import takewhile
from pathlib import Path
from typing import Any

from domains.domain import Domain, shipped_names
from domains.errors import UserError, unknown_name
from ui.failure_limit import check_limit, exit_code
from ui.jobs import side_by_side
from ui.launching import hand_over
from ui.llm_judge import judge_for

Options = argparse.Namespace
BENCH_OPTIONS = ("data", "recipe", "rows", "all_rows", "arms", "num_bytes", "python")
BENCHES = ("experts.benches", "router.benches", "ui.benches")
LIMITS = (
    *("limit", "judge_limit", "label_limit", "instruction_limit"),
    *("document_limit", "preference_limit", "memorisation_limit"),
)


def say(text: str) -> None:
    """Progress for people, on standard error; standard output is for results."""
    print(text, file=sys.stderr, flush=True)


def names(text: str) -> tuple[str, ...]:
    """A comma-separated list."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def emit(options: Options, data: Any, lines: Sequence[str]) -> None:
    """Results as JSON or as lines."""
    print(json.dumps(data, ensure_ascii=False, default=str) if options.json else "\n".join(lines))


def recipe_of(options: Options) -> Any:
    """The recipe with the overrides of the command line."""
    from experts.recipe import load_recipe

    overrides = list(options.overrides)
    if options.seed is not None:
        overrides.append(f"seed={options.seed}")
    if getattr(options, "limit", None) is not None:
        overrides += [f"evaluation.{name}={options.limit}" for name in LIMITS]
    return load_recipe(options.recipe, overrides)


def build_of(options: Options, name: str, recipe: Any) -> Any:
    """The build of a domain."""
    from experts.build import Build
    from experts.tracks import budgeted

    domain = Domain.load(name)
    return Build(domain, budgeted(recipe, domain), options.home)


def show_list(options: Options) -> int:
    """Everything that can be named."""
    from domains.plugins import plugin_names
    from experts.expert import built_experts, is_offered
    from experts.recipe import recipe_names
    from ui.improve_commands import version_names

    experts = built_experts(options.home) if options.home.is_dir() else {}
    found = {
        "domains": list(shipped_names()),
        "experts": [name for name in experts if is_offered(name)],
        "objectives": list(plugin_names("experts.objectives")),
        "judges": list(plugin_names("judges.scorers")),
        "strategies": list(plugin_names("router.strategies")),
        "recipes": list(recipe_names()),
        "verifiers": list(plugin_names("judges.verifiers")),
        "versions": version_names(options.home),
    }
    emit(options, found, [f"{kind + ':':12} {', '.join(items) or '(none)'}" for kind, items in found.items()])
    return 0


def build(options: Options) -> int:
    """Build domains, then fit the router over everything that is built."""
    from experts import ranks
    from experts.build import run_build
    from experts.device import probe

    recipe = recipe_of(options)
    builds = [build_of(options, name, recipe) for name in options.domains]
    if options.dry_run:
        return dry_run(options, builds)
    if options.launch:
        hand_over(options, recipe, say)
    side_by_side([partial(build_alone, options, name) for name in options.domains], options.jobs)
    ranks.join(probe().is_cpu)
    is_first = ranks.rank() == 0
    records = [record for each in builds for record in run_build(each, say if is_first else lambda text: None)]
    ranks.leave()
    if not is_first:
        return 0
    router = fit_router(options.home, recipe)
    done = {"stages": records, "router": router}
    seconds = sum(record["seconds"] for record in records if not record["reused"])
    emit(options, done, [f"Built {len(records)} stages ({seconds:.0f} s of work) in {options.home}."])
    return 0


def build_alone(options: Options, name: str) -> None:
    """One domain, as a job."""
    from experts.build import run_build

    run_build(build_of(options, name, recipe_of(options)), say)


def dry_run(options: Options, builds: Sequence[Any]) -> int:
    """The stages and what is there already; nothing is written."""
    from experts.journal import read_record
    from experts.tracks import stage_names

    rows = []
    for each in builds:
        done = [stage.name for stage in takewhile(lambda stage: stage.done, each.stages())]
        for name in stage_names(each):
            seconds = read_record(options.home / name).get("seconds")
            rows.append({"stage": name, "there": name in done, "seconds": seconds})
    emit(options, rows, [f"{row['stage']}: {'there' if row['there'] else 'to do'}" for row in rows])
    return 0


def fit_router(home: Path, recipe: Any) -> dict[str, Any]:
    """Fit the router unless it fits already."""
    from experts.expert import experts_apart
    from router.calibration import Abstention
    from router.engine import Engine
    from router.fit import domain_names, fit_router, is_fitted

    if apart := experts_apart(home):
        say(f"No router is fitted: {', '.join(apart)} and the general model share no base. Export them to serve them.")
        return {}
    engine = Engine(home)
    abstention = Abstention(recipe.router.abstention, recipe.router.target)
    if not domain_names(engine) or is_fitted(home, engine, abstention):
        return {}
    say("Fitting the router on the training requests.")
    return fit_router(home, engine, abstention)


def evaluate(options: Options) -> int:
    """One report per domain, as JSON and HTML."""
    from router.evaluation import arm_names

    recipe = recipe_of(options)
    arm_names(names(options.experts))
    endpoint_arms(options)
    check_limit(options)
    labels_of(options)
    for name in options.domains:
        check_built(build_of(options, name, recipe))
    fit_router(options.home, recipe)
    side_by_side([partial(evaluate_alone, options, [name]) for name in options.domains], options.jobs)
    done = evaluate_alone(options, options.domains)
    emit(options, done, [line for each in done for line in (*each["headlines"], f"Report: {each['html']}", "")])
    return exit_code(options, done, say)


def labels_of(options: Options) -> tuple[Any, ...]:
    """The choices of people that the judges are held against."""
    from judges.labels import read_labels

    if options.labels is None:
        return ()
    if len(options.domains) > 1:
        raise UserError("--labels is about one domain's answers. Evaluate that domain alone.")
    found = tuple(read_labels(options.labels))
    if not found:
        raise UserError(f"{options.labels} has no labels. Make some with 'expertsmith label REPORT --arms A,B'.")
    return found


def endpoint_arms(options: Options) -> dict[str, Any]:
    """The models of an endpoint that are compared too, by the name of their arm."""
    from judges.endpoints import endpoints_of

    models = names(options.model)
    if bool(models) != bool(options.endpoint):
        raise UserError(
            "--endpoint and --model belong together: give the URL of an endpoint and the name of its model."
        )
    key = options.endpoint_key_env
    return {f"endpoint:{model}": endpoints_of(options.endpoint, model, key) for model in models}


def evaluate_alone(options: Options, domains: Sequence[str]) -> list[dict[str, Any]]:
    """Reports of domains, one after the other; returns where they are and what they say first."""
    from domains.engine import Engine
    from router.evaluation import Evaluation, arm_names
    from router.evaluation import evaluate as run
    from router.local import LocalAssistant

    recipe = recipe_of(options)
    judges = names(options.judges) or (*recipe.evaluation.judges, "llm_judge")
    offline = tuple(j for j in judges if j != "llm_judge")
    weak = not os.environ.get("OPENAI_BASE_URL")
    remarks = apart_remarks(options.home)
    assistant = None if remarks else LocalAssistant.load(options.home)
    if weak and assistant is None:
        judges = offline
    done = []
    settings = recipe.evaluation.settings.get("llm_judge", {})
    with judge_for(lambda: assistant, judges, options.home, settings) as (judge, judge_name):
        for name in domains:
            each = build_of(options, name, recipe)
            arms, others = arm_names(names(options.experts), each.domain), endpoint_arms(options)
            engine = Engine("ray", 0, runs_model=True) if options.engine == "ray" else Engine()
            people = labels_of(options)
            plan = Evaluation(each, say, offline, arms, judge, judge_name, weak, others, engine, remarks, people)
            report = run(plan, assistant.router if assistant else None, options.command)
            done.append(write_report(report, options.out / each.domain.name))
    return done


def apart_remarks(home: Path) -> tuple[str, ...]:
    """What a report has to say where the experts cannot be served by one process; nothing where they can."""
    from experts.expert import experts_apart

    apart = experts_apart(home)
    if not apart:
        return ()
    return (
        f"{', '.join(apart)} and the general model share no base, so no process serves them together: there is no "
        "router to measure, and no judge of our own (set OPENAI_BASE_URL for one).",
    )


def check_built(each: Any) -> None:
    """Refuse to evaluate what is not there, or was built with another recipe, seed or data."""
    for stage in each.stages():
        if not stage.done:
            raise UserError(
                f"Stage '{stage.name}' is not built with these settings and data. "
                f"Run 'expertsmith build {each.domain.name}' with the same --recipe, --set and --seed first."
            )


def write_report(report: Any, folder: Path) -> dict[str, Any]:
    """Write report.json, rows.jsonl and report.html."""
    from ui.report_page import write_page

    report.write(folder)
    page = write_page(report, folder)
    return {
        "domain": report.domain,
        "json": str(folder / "report.json"),
        "html": str(page),
        "headlines": [headline.text for headline in report.headlines],
        "failures": report.provenance["failures"],
    }


def score(options: Options) -> int:
    """Judge any rows; exit code 3 when too many could not be judged, as with `evaluate`."""
    from domains.overrides import apply_override
    from judges.scoring import score_file

    check_limit(options)
    settings: dict[str, Any] = {}
    for override in options.overrides:
        apply_override(settings, override)
    domain = Domain.load(options.domain) if options.domain else None
    summary = score_file(options.file, names(options.judges), options.out, domain, settings)
    done = summary.as_dict()
    emit(options, done, [json.dumps(done, indent=2)])
    return exit_code(options, [{"domain": options.file.name, "failures": done["failures"]}], say)


def bench(options: Options) -> int:
    """One measurement; its rows."""
    given = {name: value for name in BENCH_OPTIONS if (value := getattr(options, name))}
    measure = find_bench(options.name).run
    for name in given:
        if name not in signature(measure).parameters:
            word = name.removesuffix("_rows").removeprefix("num_")
            raise UserError(f"The bench '{options.name}' takes no --{word}. Leave it out; 'expertsmith bench --help'.")
    found = measure(options.quick, options.home, **given)
    lines = [json.dumps(row) for row in found.get("rows", [found])]
    if options.name == "tools":
        from ui.tools_page import text_lines, write_tools_page

        say(f"Wrote {write_tools_page(found, options.home / 'benches' / 'tools')}")
        lines += text_lines(found)
    emit(options, found, lines)
    return 0


def find_bench(name: str) -> Any:
    """A bench's file, from whichever package has it."""
    from domains.plugins import load_plugin, plugin_names

    packages = {found: package for package in BENCHES for found in plugin_names(package)}
    if name not in packages:
        raise unknown_name("bench", name, packages)
    return load_plugin(packages[name], name, "bench")


def request_text(options: Options) -> str:
    """The request, not blank."""
    if not options.text.strip():
        raise UserError('The request is empty. Write it in quotes: expertsmith ask "My payment went up".')
    return str(options.text)


def route(options: Options) -> int:
    """The routing decision."""
    from router.route import Router

    found = Router.load(options.home, options.strategy)(request_text(options))
    scores = [f"  {name}: {value:.2f}" for name, value in sorted(found.scores.items(), key=lambda s: -s[1])]
    emit(options, found.as_dict(), [f"{found.expert} (confidence {found.confidence:.2f})", *scores])
    return 0


def ask(options: Options) -> int:
    """Route, then answer. Where the tools expert answers it is told the local functions, and its calls are run."""
    from router.local import LocalAssistant
    from ui import asking

    text = request_text(options)
    if options.max_tokens < 1:
        raise UserError(f"--max-tokens is {options.max_tokens}; give a number of at least 1.")
    assistant = LocalAssistant.load(options.home, options.strategy)
    found = asking.ask(assistant, text, options.expert, options.max_tokens)
    said = f"[{found.route.expert}, confidence {found.route.confidence:.2f}]"
    emit(options, found.as_dict(), [said, found.answer, *found.results])
    return 0


def notices(home: Path) -> dict[str, str]:
    """The notices of the shipped domains and of those that were built in a home folder."""
    from ui.chat_sources import known_domains

    return {name: domain.notice for name, domain in known_domains(home).items() if domain.notice}


def chat(options: Options) -> int:
    """The chat page."""
    from router.local import LocalAssistant
    from ui.chat import launch
    from ui.chat_sources import Sources

    assistant = LocalAssistant.load(options.home, options.strategy)
    say(f"Chat page on http://{options.host}:{options.port}")
    try:
        launch(assistant, options.host, options.port, EXAMPLES, Sources.of_home(options.home))
    except OSError as error:
        raise UserError(f"Port {options.port} cannot be used ({error}). Give another one with --port.") from None
    return 0


EXAMPLES = (
    "My escrow payment went up by $180 a month. What can I do?",
    "My mother refuses to bathe and gets angry when I insist.",
    "Which label fits: application, closing, escrow, payment, hardship, refinance? "
    '"The new servicer says my June check never came."',
)
