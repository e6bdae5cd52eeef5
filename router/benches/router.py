"""Routing strategies side by side on held-out requests, with two baselines that get the same encoder and examples.

Everything is fitted on train, calibrated and chosen on dev, and measured on test. `--data FILE.jsonl` takes rows {text,
label} of any kind (see `_rows.read_rows`); without it the routing rows of the built domains (or, if nothing is built,
the shipped ones) are used. Few-shot prompts are read by the home's expert, or by the foundation if nothing is built.
Without requests that no expert should get (label `general`, `out_of_scope`, `oos` or `none`), nothing is left to the
general model and `auroc_out_of_scope` is null. Run: `expertsmith bench router --data FILE.jsonl --json`.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from domains.domain import CALLS, GENERAL, Domain, shipped_names
from domains.errors import UserError
from experts.build import built_domain
from experts.embedded import foundation_folder
from experts.expert import built_experts
from judges.encoder import encoder_folder
from router.benches import _semantic_router, _setfit
from router.benches._rows import Rows, domain_rows, read_rows, shortened
from router.calibration import Abstention, Calibrated, fit_temperature, fit_threshold, rows_of, table, tempered
from router.encoder import load_sentence_encoder
from router.engine import Engine
from router.fit import reading_expert
from router.material import Given, Material
from router.metrics import measured, median_ms
from router.reader import ExpertReader, ModelReader, Reader
from router.route import Strategy
from router.selection import fit_all, strategy_of

QUICK_TEST_ROWS = 60
UNCACHED_REQUESTS = 5
KEYS = ("macro_f1", "auroc_out_of_scope", "ece", "accuracy", "n")


def run(quick: bool = False, home: Path = Path(".expertsmith"), data: Path | None = None) -> dict[str, Any]:
    """A row per strategy and baseline, the median time of few_shot when its prompt is computed anew for each request,
    and the strategy that won on dev."""
    rows = read_rows(data) if data else home_rows(home)
    bench = Bench(shortened(rows, QUICK_TEST_ROWS) if quick else rows, home, quick)
    found = list(bench.own())
    found += [row for row in (bench.semantic_router(), bench.setfit()) if row]
    return {
        "rows": found,
        "few_shot_uncached_p50_ms": bench.uncached(),
        "default": bench.content["default"],
        "labels": list(rows.labels),
        "num_rows": {"train": len(rows.train), "dev": len(rows.dev), "test": len(bench.rows.test)},
        "notes": bench.notes,
    }


def home_rows(home: Path) -> Rows:
    """The routing rows of the domains built in a home, or of the shipped conversational ones."""
    built = sorted({name.partition("/")[0] for name in built_experts(home) if "/" in name}) if home.is_dir() else []
    domains = [built_domain(home, name) for name in built] or conversational()
    with_rows = [domain for domain in domains if domain.utterances("train")]
    if not with_rows:
        raise UserError("There are no routing rows to measure on. Give --data FILE.jsonl with rows {text, label}.")
    return domain_rows(with_rows)


def conversational() -> list[Domain]:
    """The shipped domains without those of function calls, whose expert is offered only where it is built."""
    return [domain for domain in map(Domain.load, shipped_names()) if CALLS not in domain.tracks]


def default_reader(home: Path) -> Reader:
    """The home's reading expert, or the foundation alone."""
    if home.is_dir() and any("/" in name for name in built_experts(home)):
        engine = Engine(home)
        return ExpertReader(engine, reading_expert(engine.experts))
    return ModelReader.load(foundation_folder())


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


@dataclass
class Bench:
    """One comparison."""

    rows: Rows
    home: Path
    quick: bool

    def __post_init__(self) -> None:
        self.notes: list[str] = []

    @cached_property
    def material(self) -> Material:
        """What everything is fitted on."""
        sources = Given(load_sentence_encoder(), default_reader(self.home))
        return Material(self.rows.labels, self.rows.train, self.rows.dev, sources)

    @cached_property
    def content(self) -> dict[str, Any]:
        """Our strategies, fitted."""
        say(f"Fitting on {len(self.rows.train)} rows with {len(self.rows.labels)} labels.")
        return fit_all(self.material, Abstention())

    @property
    def texts(self) -> list[str]:
        """The held-out requests."""
        return [row.text for row in self.rows.test]

    def own(self) -> Iterator[dict[str, Any]]:
        """Rows of our strategies."""
        for name, values in self.content["strategies"].items():
            strategy = strategy_of(name, self.content, self.material.sources)
            yield self.row(name, Calibrated(strategy, self.rows.labels, values["temperature"]), values["threshold"])

    def row(self, name: str, strategy: Strategy, threshold: float) -> dict[str, Any]:
        """One strategy on the held-out requests."""
        say(f"Measuring {name} on {len(self.texts)} rows.")
        scored = strategy(self.texts)
        found = measured(scored, [row.label for row in self.rows.test], self.used(threshold))
        speed = median_ms(lambda text: strategy([text]), self.texts)
        row = {"strategy": name, **{key: found[key] for key in KEYS}, "p50_ms": speed}
        say(json.dumps(row))
        return row

    def used(self, threshold: float) -> float:
        """No threshold where nothing is out of scope."""
        return threshold if GENERAL in self.rows.labels else 0.0

    def calibrated(self, strategy: Strategy) -> tuple[Calibrated, float, float]:
        """A baseline with temperature and threshold from dev, as ours have, and its macro-F1 there."""
        labels = [row.label for row in self.rows.dev]
        scores = table(strategy([row.text for row in self.rows.dev]), self.rows.labels)
        temperature = fit_temperature(scores, self.material.dev_targets)
        scored = rows_of(tempered(scores, temperature), self.rows.labels)
        threshold = fit_threshold(scored, labels, Abstention())
        score = measured(scored, labels, self.used(threshold))["macro_f1"] or 0.0
        return Calibrated(strategy, self.rows.labels, temperature), threshold, score

    def semantic_router(self) -> dict[str, Any] | None:
        """The library, if it is installed."""
        if importlib.util.find_spec("semantic_router") is None:
            self.note("The semantic_router row is left out: the library is not installed (see the README).")
            return None
        say("Fitting semantic_router.")
        encoder = load_sentence_encoder()
        ways = _semantic_router.fit(encoder, self.rows.train, self.rows.dev, self.rows.labels)
        best, threshold, _ = max((self.calibrated(way) for way in ways), key=lambda found: found[2])
        return self.row("semantic_router", best, threshold)

    def setfit(self) -> dict[str, Any]:
        """The tuned encoder."""
        say("Tuning the encoder for setfit.")
        strategy = _setfit.fit(encoder_folder(), self.rows.train, self.rows.labels, self.quick)
        best, threshold, _ = self.calibrated(strategy)
        return self.row("setfit", best, threshold)

    def uncached(self) -> float | None:
        """The median time of few_shot when every request computes the whole prompt."""
        strategy: Any = strategy_of("few_shot", self.content, self.material.sources)
        return median_ms(partial(anew, strategy), self.texts[:UNCACHED_REQUESTS])

    def note(self, text: str) -> None:
        """Something the reader of the rows should know."""
        say(text)
        self.notes.append(text)


def anew(strategy: Any, text: str) -> Any:
    """One request with an empty cache."""
    strategy.forget()
    answer: Callable[[list[str]], Any] = strategy
    return answer([text])
