"""Fits the router on the training requests of the built domains, and loads it; bound to what it was fitted on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from domains.atomic import write_text_atomically
from domains.domain import GENERAL, Domain
from domains.errors import UserError
from domains.example import Split, Utterance
from domains.plugins import load_plugin
from experts.build import built_domain
from experts.digests import digest_of
from judges.classification import macro_f1
from router.engine import Engine
from router.route import Router, decide
from router.strategies import few_shot

FILE = "router/few_shot.json"
THRESHOLDS = (0.0, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8)
DEFAULT = "few_shot"


def domain_names(engine: Engine) -> list[str]:
    """The domains that have experts."""
    return sorted({name.partition("/")[0] for name in engine.experts if name != GENERAL})


def domains_of(engine: Engine) -> list[Domain]:
    """The built domains, from wherever they were built."""
    return [built_domain(engine.home, name) for name in domain_names(engine)]


def requests(engine: Engine, split: Split) -> list[Utterance]:
    """The routing rows of all built domains in a split."""
    return [row for domain in domains_of(engine) for row in domain.utterances(split)]


def reading_expert(engine: Engine) -> str:
    """The expert that classifies: a structured one, because it was trained to answer with labels."""
    return next((n for n in engine.experts if n.endswith("/structured")), GENERAL)


def fit_router(home: Path, engine: Engine | None = None) -> dict[str, Any]:
    """Fit the few-shot router and choose its threshold on the dev split; returns the numbers worth keeping."""
    engine = engine or Engine(home)
    train, dev = requests(engine, "train"), requests(engine, "dev")
    if not train:
        raise UserError("The built domains have no routing.jsonl. Add routing rows, or use '--strategy fixed'.")
    strategy = few_shot.fit(engine, train, reading_expert(engine))
    scored = strategy([row.text for row in dev])
    threshold = best_threshold(scored, [row.label for row in dev], strategy.labels)
    metrics = {"dev_macro_f1": f1_at(threshold, scored, [row.label for row in dev], strategy.labels), "dev_n": len(dev)}
    content = few_shot.as_dict(strategy) | {
        "threshold": threshold,
        "digest": strategy.digest(),
        "data": data_digest(engine),
        "metrics": metrics,
    }
    write_text_atomically(home / FILE, json.dumps(content))
    return metrics


def data_digest(engine: Engine) -> str:
    """The digest of everything a fit depends on besides the model."""
    return digest_of([repr(row) for split in ("train", "dev") for row in requests(engine, split)])


def f1_at(threshold: float, scored: Sequence[dict[str, float]], labels: Sequence[str], names: Sequence[str]) -> float:
    """Macro-F1 of the decisions at a threshold."""
    predictions = [decide(scores, threshold, "few_shot").expert for scores in scored]
    return round(macro_f1(predictions, labels, names), 4)


def best_threshold(scored: Sequence[dict[str, float]], labels: Sequence[str], names: Sequence[str]) -> float:
    """The lowest of the thresholds with the best macro-F1."""
    return max(THRESHOLDS, key=lambda t: (f1_at(t, scored, labels, names), -t)) if labels else 0.0


def is_fitted(home: Path, engine: Engine) -> bool:
    """Whether the router in a home was fitted on these experts and requests."""
    path = home / FILE
    if not path.exists():
        return False
    values = json.loads(path.read_text())
    if set(values["labels"]) != set(engine.experts):
        return False
    return bool(
        values["digest"] == few_shot.from_dict(engine, values).digest() and values["data"] == data_digest(engine)
    )


def load_router(home: Path, strategy: str | None = None, engine: Engine | None = None) -> Router:
    """The fitted router of a home folder; `fixed` always takes the general model."""
    name = strategy or DEFAULT
    plugin = load_plugin("router.strategies", name, "routing strategy")
    if not hasattr(plugin, "from_dict"):
        return Router(plugin.Strategy(), name, 0.0)
    engine = engine or Engine(home)
    if not is_fitted(home, engine):
        raise UserError(
            f"The router in '{home}' was not fitted on the experts that are there. Run 'expertsmith build' again."
        )
    values = json.loads((home / FILE).read_text())
    return Router(plugin.from_dict(engine, values), name, values["threshold"])
