"""The verbs about judges: `calibrate` tests one on known answers or on people's labels, `label` makes such labels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from domains.domain import Domain
from domains.errors import UserError
from ui.commands import Options, emit, names, say
from ui.llm_judge import judge_for


def calibrate(options: Options) -> int:
    """How well a judge agrees with known better and worse answers, or with people; always exit code 0."""
    from judges.labels import read_labels

    labels = read_labels(options.labels) if options.labels else []
    if options.labels and not labels:
        raise UserError(f"{options.labels} has no labels. Make some with 'expertsmith label PAIRS.jsonl --out FILE'.")
    if labels and options.limit:
        raise UserError("--limit is for the shipped probes. Leave it out with --labels.")
    with opened(options) as (judge, pairwise):
        if labels:
            from judges.people import against_people

            found = against_people(options.judge, judge, labels, pairwise).as_dict()
        else:
            found = on_probes(options, judge, pairwise)
    emit(options, found, lines_of(found))
    return 0


@contextmanager
def opened(options: Options) -> Iterator[tuple[Any, Any]]:
    """The judge, and its pairwise form where that was asked for."""
    from judges.scoring import load_judges

    domain = Domain.load(options.domain) if options.domain else None
    judge: Any = load_judges([options.judge], domain)[options.judge]
    if options.judge != "llm_judge":
        if options.pairwise:
            raise UserError("--pairwise is for llm_judge; other judges score one answer at a time.")
        yield judge, None
        return
    from judges.pairwise import PairwiseJudge
    from router.local import LocalAssistant

    def assistant() -> Any:
        say("No OPENAI_BASE_URL is set, so our own general model is the judge. It is a weak one.")
        return LocalAssistant.load(options.home)

    with judge_for(assistant, ["llm_judge"], options.home) as (asked, _):
        yield asked, PairwiseJudge(asked) if options.pairwise else None


def on_probes(options: Options, judge: Any, pairwise: Any) -> dict[str, Any]:
    """The calibration on the shipped probes and on the domain's own."""
    from judges.probe_sets import calibrate_set
    from judges.probes import DOMAIN_BOUND, own_probes
    from router.calibrations import Effort, probes_of

    if options.judge in DOMAIN_BOUND and not options.domain:
        raise UserError(f"The judge '{options.judge}' rests on a domain's own data. Give one: --domain mortgage.")
    domain = Domain.load(options.domain) if options.domain else None
    own, name = (own_probes(domain), domain.name) if domain else ((), "")
    chosen = probes_of(options.judge, judge, name, Effort(options.limit), own)
    if not chosen.all:
        raise UserError(f"No probe applies to '{options.judge}'. Give --labels FILE.jsonl (expertsmith label).")
    return calibrate_set(options.judge, pairwise or judge, chosen)


def lines_of(found: dict[str, Any]) -> list[str]:
    """A calibration for people."""
    from judges.agreement import Kappa

    trusted = "trusted" if found["trusted"] else "not trusted"
    lines = [f"{found['judge']}: {trusted}. {found['reason']}"]
    if "kappa" in found:
        lines.append(f"Kappa with people {kappa_words(Kappa(**found['kappa']))}, {found['num_labels']} labels.")
    for pair in found.get("people", ()):
        kappa = Kappa(pair["value"], pair["low"], pair["high"], pair["n"])
        lines.append(f"Kappa of {pair['first']} and {pair['second']} {kappa_words(kappa)}.")
    return lines


def kappa_words(kappa: Any) -> str:
    """A kappa with its interval and count."""
    if kappa.value is None:
        return "unknown (no pair in common)"
    interval = f", 95% CI {kappa.low:.2f} to {kappa.high:.2f}" if kappa.low is not None else ""
    return f"{kappa.value:.2f} (n={kappa.n}{interval})".replace("-", "\u2212")


def label(options: Options) -> int:
    """The labelling page."""
    from ui.label import launch

    session = session_of(options)
    say(f"{len(session.pairs)} pairs, {len(session.done)} labelled by {options.labeller}. Labels go to {session.out}.")
    say(f"Labelling page on http://{options.host}:{options.port}")
    try:
        launch(session, options.host, options.port)
    except OSError as error:
        raise UserError(f"Port {options.port} cannot be used ({error}). Give another one with --port.") from None
    return 0


def session_of(options: Options) -> Any:
    """The work of a labeller: the pairs of a file, or two arms' answers of a report."""
    from judges.labels import Session
    from judges.report import REPORT_FILE, load
    from judges.report_pairs import pairs_of

    if not options.file.is_dir() and options.file.name != REPORT_FILE:
        if options.arms:
            raise UserError("--arms is for the folder of a report. Leave it out with a file of pairs.")
        if options.out is None:
            raise UserError(f"Give the labels of {options.file} a file: --out labels.jsonl.")
        return Session.open(options.file, options.out, options.labeller)
    arms = names(options.arms)
    if len(arms) != 2:
        raise UserError(f"Two arms are needed, got {len(arms)}. Name them like --arms conversation,instruct.")
    folder = options.file if options.file.is_dir() else options.file.parent
    out = options.out or folder / f"labels-{'-'.join(re.sub(r'[^A-Za-z0-9_.-]', '_', arm) for arm in arms)}.jsonl"
    return Session.over(pairs_of(load(options.file), *arms), out, options.labeller)
