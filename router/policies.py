"""Routing measured by answers: the confusion matrix, the confidence, and what each routing policy costs in quality."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from domains.domain import GENERAL, Domain
from domains.example import Example
from experts.expert import Expert
from experts.measure import Bench
from judges.regret import ORACLE, regret
from judges.reliability import reliability
from judges.report import Row, routing_accuracy, table
from judges.scoring import load_judges
from judges.verdict import Judge
from router.route import Router, routing_text


@dataclass(frozen=True)
class Asked:
    """The requests of a domain whose answers are judged: questions for the one track, texts to label for the other."""

    domain: Domain
    questions: Sequence[Example]
    labelled: Sequence[Example]

    @property
    def items(self) -> list[Example]:
        """All requests, questions first: the order of every plan."""
        return [*self.questions, *self.labelled]


@dataclass
class Policies:
    """Answers of experts, each expert asked at most once for each request."""

    bench: Bench
    base: Path
    experts: Mapping[str, Expert]
    quality: dict[tuple[str, str], Row] = field(default_factory=dict)

    def rows(self, policy: str, plan: Sequence[str], asked: Asked) -> list[Row]:
        """Answer quality when expert plan[i] answers item i; BERTScore of answers, share of right labels."""
        for expert in sorted(set(plan)):
            items = [item for item, choice in zip(asked.items, plan, strict=True) if choice == expert]
            self._ask(expert, [item for item in items if (expert, item.id) not in self.quality], asked.domain)
        found = [self.quality[expert, item.id] for item, expert in zip(asked.items, plan, strict=True)]
        return [replace(row, arm=policy) for row in found]

    def _ask(self, expert: str, items: Sequence[Example], domain: Domain) -> None:
        if not items:
            return
        subject = self.bench.subject(self.experts[expert].checkpoint(self.base))
        judges: dict[str, Judge] = load_judges(["bertscore"], domain)
        rows = subject.judged(expert, [item for item in items if item.task == "questions"], judges)
        labelled = subject.classifies(expert, [item for item in items if item.task != "questions"], domain.labels)
        rows += [replace(row, metric="labels_right", parts={}) for row in labelled]
        self.quality |= {(expert, row.item): row for row in rows}


def route_all(router: Router, rows: Sequence[Any]) -> dict[str, Any]:
    """The confusion matrix on labelled requests, and whether the confidence of the best score comes true."""
    routes = router.batch([row.text for row in rows])
    labels = sorted({row.label for row in rows} | {route.expert for route in routes})
    counts = [[0] * len(labels) for _ in labels]
    for row, route in zip(rows, routes, strict=True):
        counts[labels.index(row.label)][labels.index(route.expert)] += 1
    confusion = {"labels": labels, "counts": counts}
    right = [best(route.scores, route.expert) == row.label for row, route in zip(rows, routes, strict=True)]
    return {
        "strategy": router.name,
        "threshold": router.threshold,
        "accuracy": routing_accuracy(confusion).as_dict(),
        "confusion": confusion,
        "reliability": reliability([route.confidence for route in routes], right),
    }


def best(scores: Mapping[str, float], chosen: str) -> str:
    """The name that the confidence is about: the best score's, also where the router abstained."""
    return max(scores, key=lambda name: scores[name]) if scores else chosen


def end_to_end(policies: Policies, router: Router, asked: Asked, untrusted: Collection[str] = ()) -> dict[str, Any]:
    """Answer quality under every policy, and its regret against the oracle.

    The oracle sends each request to the expert of its task: the right label, not the best answer, so that a policy can
    come out ahead of it. "always X" sends everything to one expert of the domain, or to the general model.
    """
    plans = plans_of(policies, router, asked)
    rows = [row for name, plan in plans.items() for row in policies.rows(name, plan, asked)]
    return {"end_to_end": table(rows, "routing"), "regret": regret(rows, untrusted)}


def plans_of(policies: Policies, router: Router, asked: Asked) -> dict[str, list[str]]:
    """Policy -> the expert of each item."""
    num_asked, num_labelled = len(asked.questions), len(asked.labelled)
    names = {track: f"{asked.domain.name}/{track}" for track in ("conversation", "structured", "multi_task")}
    singles = [name for name in (GENERAL, *names.values()) if name in policies.experts]
    talk, work = (names[track] if names[track] in singles else GENERAL for track in ("conversation", "structured"))
    chosen = [route.expert for route in router.batch([routing_text(item.prompt) for item in asked.items])]
    return {
        ORACLE: [talk] * num_asked + [work] * num_labelled,
        "router": chosen,
        "wrong": [work] * num_asked + [talk] * num_labelled,
        **{f"always {name}": [name] * len(asked.items) for name in singles},
    }
