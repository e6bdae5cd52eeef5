"""Fits every strategy, calibrates it on dev, and takes the one that wins there. What comes out is JSON, and everything
that is measured or served is built from that JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np

from domains.errors import UserError
from domains.plugins import load_plugin, plugin_names
from router.calibration import (
    Abstention,
    Calibrated,
    FloatArray,
    coverage,
    fit_temperature,
    fit_threshold,
    rows_of,
    soft_cross_entropy,
    table,
    tempered,
)
from router.encoder import Encoder
from router.material import Given, Material, Sources
from router.metrics import measured
from router.route import Router, Strategy
from router.tool_requests import tools_expert

PACKAGE = "router.strategies"
NOTHING: Mapping[str, Any] = MappingProxyType({})
Content = Mapping[str, Any]


def strategy_module(name: str) -> ModuleType:
    """A strategy's file; a wrong name is a UserError."""
    return load_plugin(PACKAGE, name, "routing strategy")


def learning_strategies() -> list[str]:
    """The strategies that are fitted, those made of others last."""
    found = [name for name in plugin_names(PACKAGE) if hasattr(strategy_module(name), "fit")]
    return sorted(found, key=lambda name: len(getattr(strategy_module(name), "PARTS", ())))


@dataclass
class Remembering:
    """An encoder that reads each text once."""

    encoder: Encoder
    known: dict[str, FloatArray] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Of the encoder."""
        return self.encoder.digest

    def __call__(self, texts: Sequence[str]) -> FloatArray:
        """As the encoder."""
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new or not texts:
            vectors = self.encoder(new)
            self.known |= dict(zip(new, vectors, strict=True))
        return np.stack([self.known[text] for text in texts]) if texts else vectors


def fit_all(material: Material, abstention: Abstention) -> dict[str, Any]:
    """All strategies as JSON: {"labels", "priors", "strategies": {name: {"fit", "temperature", "threshold", "digests",
    "dev"}}, "default"}. The default has the best macro-F1 on dev; of equal ones, the least cross-entropy."""
    sources = Given(Remembering(material.sources.encoder), material.sources.reader)
    material = replace(material, sources=sources)
    found: dict[str, dict[str, Any]] = {}
    for name in learning_strategies():
        scores, found[name] = fit_one(strategy_module(name), material, abstention)
        material = replace(material, dev_scores={**material.dev_scores, name: scores})
    for name, values in found.items():
        values["digests"] = digests_of(name, found, sources)
    return {
        "labels": list(material.labels),
        "priors": priors(material),
        "strategies": found,
        "default": max(found, key=lambda name: (found[name]["dev"]["macro_f1"] or 0, -found[name]["dev"]["loss"])),
    }


def fit_one(module: ModuleType, material: Material, abstention: Abstention) -> tuple[FloatArray, dict[str, Any]]:
    """One strategy: fitted on train, calibrated and measured on dev, then fitted again on both where it can be."""
    strategy = module.fit(material)
    scores_NL = getattr(strategy, "held_out", None)
    if scores_NL is None:
        scores_NL = table(strategy([row.text for row in material.dev]), material.labels)
    temperature = fit_temperature(scores_NL, material.dev_targets)
    scored = rows_of(tempered(scores_NL, temperature), material.labels)
    labels = [row.label for row in material.dev]
    threshold = fit_threshold(scored, labels, abstention)
    final = module.refit(material, strategy) if hasattr(module, "refit") else strategy
    return scores_NL, {
        "fit": module.as_dict(final),
        "temperature": temperature,
        "threshold": threshold,
        "dev": measured(scored, labels, threshold)
        | {
            "coverage": coverage(scored, labels, threshold),
            "loss": soft_cross_entropy(tempered(scores_NL, temperature), material.dev_targets) if labels else 0.0,
        },
    }


def priors(material: Material) -> dict[str, float]:
    """The shares of the labels among the training requests, with one more of each (Laplace)."""
    counts = Counter(row.label for row in material.train)
    total = sum(counts.values()) + len(material.labels)
    return {label: (counts[label] + 1) / total for label in material.labels}


def digests_of(name: str, strategies: Content, sources: Sources) -> dict[str, str]:
    """What a fit is bound to, its parts' included."""
    module = strategy_module(name)
    found: dict[str, str] = {}
    for part in getattr(module, "PARTS", ()):
        found |= digests_of(part, strategies, sources)
    found |= module.digests(strategies[name]["fit"], sources)
    return found


def strategy_of(name: str, content: Content, sources: Sources, known: Mapping[str, Strategy] = NOTHING) -> Strategy:
    """A fitted strategy from JSON, as it was fitted (not yet calibrated). Parts that are `known` are taken as such."""
    module = strategy_module(name)
    names = getattr(module, "PARTS", ())
    parts = {part: known.get(part) or strategy_of(part, content, sources, known) for part in names}
    found: Strategy = module.from_dict(content["strategies"][name]["fit"], content["labels"], sources, parts)
    return found


def router_of(name: str, content: Content, sources: Sources) -> Router:
    """The router with a strategy from JSON."""
    values = content["strategies"][name]
    calibrated = Calibrated(strategy_of(name, content, sources), tuple(content["labels"]), values["temperature"])
    tools = tools_expert(content["labels"])
    return Router(calibrated, name, values["threshold"], content["priors"], sources, tools)


def check_digests(name: str, content: Content, sources: Sources, where: str) -> None:
    """Refuse a fit whose model, encoder or prompt is not the present one: its thresholds mean nothing there."""
    now = digests_of(name, content["strategies"], sources)
    changed = [what for what, digest in content["strategies"][name]["digests"].items() if now.get(what) != digest]
    if changed:
        raise UserError(
            f"The thresholds of the router in '{where}' were fitted with another {' and '.join(changed)} than the one "
            "that is there, so they do not hold. Run 'expertsmith build' again to fit them."
        )
