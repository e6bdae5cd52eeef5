"""Verbs about reports and test data: compare, contamination, export-evaluation."""

from __future__ import annotations

import argparse

from domains.domain import Domain
from domains.errors import UserError
from ui.commands import emit, names, say

Options = argparse.Namespace


def compare(options: Options) -> int:
    """Better, worse or not enough evidence, per arm and metric, of two reports or of two arms."""
    from judges.headlines import comparison_line
    from judges.report import changed_items, compare_reports, load, unlike_metrics

    first = load(options.first)
    second = load(options.second) if options.second else first
    found = compare_reports(first, second, arm_pair(options))
    if changed := changed_items(first, second):
        say(f"The data changed between the reports: {len(changed)} items are left out ({', '.join(changed[:3])} ...).")
    if unlike := unlike_metrics(first, second):
        say(f"The reports have other judges or decoding for {', '.join(unlike)}, which are left out.")
    emit(options, [c.as_dict() for c in found], [comparison_line(c) for c in found])
    return 0


def arm_pair(options: Options) -> tuple[str, str] | None:
    """The two arms of --arms."""
    arms = names(options.arms)
    if len(arms) == 2:
        return arms[0], arms[1]
    if arms or not options.second:
        raise UserError(
            f"Two arms are needed, got {len(arms)}. Give two reports, or two arms: "
            "expertsmith compare reports/mortgage --arms conversation,instruct"
        )
    return None


def contamination(options: Options) -> int:
    """Test rows of a domain that its training rows, or the house instructions, contain."""
    from domains.contamination import check_domains

    house = Domain.load("house")
    domain = Domain.load(options.domain)
    found = check_domains([domain] if domain.name == house.name else [domain, house]).as_dict()
    lines = [
        f"{row['test_file']} {row['test_id']} <- {row['train_file']} {row['train_id']}: {row['kind']}, "
        f"overlap {row['overlap']:.0%} {row['shared']}"
        for row in found["rows"]
    ]
    lines += [f"{each['file']}: {each['flagged']} of {each['rows']} test rows" for each in found["files"]]
    emit(options, found, lines)
    return 0


def export_evaluation(options: Options) -> int:
    """The held-out data of a domain as lm-eval tasks and as JSONL."""
    from judges.export import export_domain

    done = export_domain(Domain.load(options.domain), options.out)
    emit(options, done.as_dict(), [f"{len(done.tasks)} tasks ({', '.join(done.tasks)}) in {done.folder}", done.command])
    return 0
