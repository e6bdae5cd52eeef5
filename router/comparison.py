"""All strategies of a home on the held-out requests: the routing table of every report, measured once per fit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from domains.example import Utterance
from experts.digests import digest_of
from experts.journal import Stage
from router.calibration import Calibrated
from router.engine import servable
from router.fit import HomeSources, domains_of
from router.material import Sources
from router.metrics import Scored, intervals, measured, median_ms
from router.route import Strategy
from router.selection import strategy_of
from router.stored import stored
from router.strategies import fixed

TABLE = "strategies.json"
STAGE = "router/strategies"


@dataclass
class Remembered:
    """A strategy that scores each text once, so that what is made of it costs nothing more."""

    strategy: Strategy
    known: dict[str, dict[str, float]] = field(default_factory=dict)

    def __call__(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Probabilities, one dict per text."""
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        self.known |= dict(zip(new, self.strategy(new) if new else [], strict=True))
        return [self.known[text] for text in texts]


def comparison_stage(home: Path, sources: Sources | None = None) -> Stage:
    """Measure every fitted strategy, and the one that always takes the general model, on all held-out requests."""
    content, experts = stored(home), servable(home)
    models = sources or HomeSources(home, experts)
    rows = [row for domain in domains_of(home, experts) for row in domain.utterances("test")]

    def measure(folder: Path) -> Mapping[str, Any]:
        (folder / TABLE).write_text(json.dumps(comparison(content, models, rows)), encoding="utf-8")
        return {"rows": len(rows)}

    inputs = {"router": digest_of(content), "rows": digest_of([repr(row) for row in rows]), "intervals": True}
    return Stage(STAGE, home / "router" / "strategies", inputs, measure)


def comparison(content: Mapping[str, Any], sources: Sources, rows: Sequence[Utterance]) -> dict[str, Any]:
    """{"strategies": a record each with accuracy, macro-F1, AUROC of out of scope, expected calibration error and the
    "intervals" of these, median milliseconds, temperature, threshold, and whether it is the default;
    "strategy_reliability": their bins}."""
    texts, labels = [row.text for row in rows], [row.label for row in rows]
    known: dict[str, Strategy] = {}
    found = []
    for name, values in content.get("strategies", {}).items():
        plain = strategy_of(name, content, sources)
        known[name] = Remembered(strategy_of(name, content, sources, known))
        scored = Calibrated(known[name], tuple(content["labels"]), values["temperature"])(texts)
        facts = {"temperature": values["temperature"], "threshold": values["threshold"]}
        speed = median_ms(partial(alone, plain), texts)
        found.append({"strategy": name, **numbers(scored, labels, values["threshold"]), **facts, "p50_ms": speed})
    nothing = numbers(fixed.Strategy()(texts), labels, 0.0)
    found.append({"strategy": "fixed", **nothing, "temperature": 1.0, "threshold": 0.0, "p50_ms": 0.0})
    return {
        "strategy_reliability": {row["strategy"]: row.pop("reliability") for row in found},
        "strategies": [row | {"default": row["strategy"] == content.get("default")} for row in found],
    }


def numbers(scored: Scored, labels: Sequence[str], threshold: float) -> dict[str, Any]:
    """What is measured of a strategy, with intervals."""
    return measured(scored, labels, threshold) | {"intervals": intervals(scored, labels, threshold)}


def alone(strategy: Strategy, text: str) -> dict[str, float]:
    """One request by itself."""
    return strategy([text])[0]
