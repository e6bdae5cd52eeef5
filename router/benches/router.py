"""Routing strategies side by side on held-out requests, with two baselines that get the same encoder and examples.

Everything is fitted on train, calibrated and chosen on dev, and measured on test. `--data FILE.jsonl` takes rows {text,
label} of any kind (see `_rows.read_rows`); without it the routing rows of the built domains (or, if nothing is built,
the shipped ones) are used. Few-shot prompts are read by the home's expert, or by the foundation if nothing is built.
Without requests that no expert should get (label `general`, `out_of_scope`, `oos` or `none`), nothing is left to the
general model and `auroc_out_of_scope` is null. What is fitted and measured is kept in `HOME/bench/router`, so that a
stopped run goes on. Run: `expertsmith bench router --data FILE.jsonl --json`.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from domains.domain import CALLS, GENERAL, Domain, shipped_names
from domains.errors import UserError
from experts.benches._kept import Kept
from experts.build import built_domain
from experts.digests import digest_of, file_digest
from experts.embedded import foundation_folder
from experts.expert import built_experts
from judges.encoder import encoder_folder
from router.benches import _semantic_router, _setfit
from router.benches._rows import Rows, domain_rows, read_rows, shortened
from router.calibration import Abstention, Calibrated, fit_temperature, fit_threshold, rows_of, table, tempered
from router.encoder import load_sentence_encoder
from router.engine import Engine
from router.fit import reading_expert
from router.material import Given, Material, Sources
from router.metrics import measured, median_ms
from router.reader import ExpertReader, ModelReader, Reader
from router.route import Strategy
from router.selection import fit_all, strategy_of

QUICK_ROWS = 60
UNCACHED_REQUESTS = 5
UNCACHED = "few_shot_uncached_p50_ms"
KEYS = ("macro_f1", "auroc_out_of_scope", "ece", "accuracy", "n")
PACKAGES = ("semantic-router", "sentence-transformers", "scikit-learn", "torch")
PACKAGE_FOLDER = Path(__file__).parents[1]

Row = dict[str, Any]
Baseline = Callable[[Rows, bool], Sequence[Strategy]]


@dataclass(frozen=True)
class Contenders:
    """The models that our strategies read with, and the baselines by name. A baseline is fitted on rows (sooner done
    with `quick`) in one or several ways, of which the best on dev is measured."""

    sources: Sources
    baselines: Mapping[str, Baseline]


def run(
    quick: bool = False,
    home: Path = Path(".expertsmith"),
    data: Path | None = None,
    contenders: Contenders | None = None,
) -> dict[str, Any]:
    """A row per strategy and baseline, the median time of few_shot when its prompt is computed anew for each request,
    and the strategy that won on dev. A baseline that cannot run has a row of nulls with the reason."""
    rows = read_rows(data) if data else home_rows(home)
    rows = shortened(rows, QUICK_ROWS) if quick else rows
    given = contenders or shipped(home)
    kept = Kept(home / "bench" / "router" / f"{digest(rows, given, quick)[:16]}.jsonl")
    bench = Bench(rows, given, kept, quick)
    found = [*bench.own(), *bench.others()]
    return {
        "rows": found,
        UNCACHED: bench.uncached(),
        "default": bench.content["default"],
        "labels": list(rows.labels),
        "num_rows": {"train": len(rows.train), "dev": len(rows.dev), "test": len(rows.test)},
        "notes": list(rows.notes),
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


def shipped(home: Path) -> Contenders:
    """The embedded encoder, what is built in a home, and both baselines."""
    baselines = {"semantic_router": by_library, "setfit": by_tuning}
    return Contenders(Given(load_sentence_encoder(), default_reader(home)), baselines)


def default_reader(home: Path) -> Reader:
    """The home's reading expert, or the foundation alone."""
    if home.is_dir() and any("/" in name for name in built_experts(home)):
        engine = Engine(home)
        return ExpertReader(engine, reading_expert(engine.experts))
    return ModelReader.load(foundation_folder())


def by_library(rows: Rows, quick: bool) -> Sequence[Strategy]:
    """The semantic-router library over the embedded encoder."""
    return _semantic_router.fit(load_sentence_encoder(), rows.train, rows.dev, rows.labels)


def by_tuning(rows: Rows, quick: bool) -> Sequence[Strategy]:
    """The embedded encoder, tuned as SetFit does."""
    return [_setfit.fit(encoder_folder(), rows.train, rows.labels, quick)]


def digest(rows: Rows, contenders: Contenders, quick: bool) -> str:
    """What every number of a comparison depends on."""
    code = [file_digest(path) for path in sorted(PACKAGE_FOLDER.rglob("*.py"))]
    models = [contenders.sources.encoder_digest, contenders.sources.reader_digest]
    return digest_of([repr(rows), models, quick, code, [version_of(name) for name in PACKAGES]])


def version_of(package: str) -> str | None:
    """The installed version of a package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Bench:
    """One comparison; what is fitted and each row are kept as soon as they are there."""

    rows: Rows
    contenders: Contenders
    kept: Kept
    quick: bool

    @property
    def material(self) -> Material:
        """What our strategies are fitted on."""
        return Material(self.rows.labels, self.rows.train, self.rows.dev, self.contenders.sources)

    @cached_property
    def content(self) -> dict[str, Any]:
        """Our strategies, fitted."""
        return self.kept.result("fit", self.fitted)

    def fitted(self) -> dict[str, Any]:
        """Fit our strategies."""
        say(f"Fitting on {len(self.rows.train)} rows with {len(self.rows.labels)} labels.")
        return fit_all(self.material, Abstention())

    @property
    def texts(self) -> list[str]:
        """The held-out requests."""
        return [row.text for row in self.rows.test]

    def own(self) -> Iterator[Row]:
        """Rows of our strategies."""
        for name in self.content["strategies"]:
            yield self.kept.result(name, partial(self.own_row, name))

    def own_row(self, name: str) -> Row:
        """One of our strategies."""
        values = self.content["strategies"][name]
        strategy = strategy_of(name, self.content, self.contenders.sources)
        return self.row(name, Calibrated(strategy, self.rows.labels, values["temperature"]), values["threshold"])

    def others(self) -> Iterator[Row]:
        """Rows of the baselines. They are other people's packages, so whatever goes wrong in one is told in its row and
        costs no other row; the next run tries it again."""
        for name, fit in self.contenders.baselines.items():
            try:
                yield self.kept.result(name, partial(self.baseline_row, name, fit))
            except ImportError as error:
                yield without_numbers(name, f"{error}; the README says how to install it.")
            except Exception as error:
                traceback.print_exc()
                yield without_numbers(name, f"{type(error).__name__}: {error}")

    def baseline_row(self, name: str, fit: Baseline) -> Row:
        """A baseline, in the way that does best on dev."""
        say(f"Fitting {name}.")
        best, threshold, _ = max(map(self.calibrated, fit(self.rows, self.quick)), key=lambda found: found[2])
        return self.row(name, best, threshold)

    def row(self, name: str, strategy: Strategy, threshold: float) -> Row:
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

    def uncached(self) -> float | None:
        """The median time of few_shot when every request computes the whole prompt."""
        found: float | None = self.kept.result(UNCACHED, self.uncached_time)["p50_ms"]
        return found

    def uncached_time(self) -> Row:
        """Measure it."""
        say("Measuring few_shot with its prompt computed anew.")
        strategy: Any = strategy_of("few_shot", self.content, self.contenders.sources)
        return {"p50_ms": median_ms(partial(anew, strategy), self.texts[:UNCACHED_REQUESTS])}


def without_numbers(name: str, why: str) -> Row:
    """The row of a baseline that could not run."""
    reason = " ".join(why.split())
    say(f"{name} has no numbers: {reason}")
    return {"strategy": name, **dict.fromkeys((*KEYS, "p50_ms")), "reason": reason}


def anew(strategy: Any, text: str) -> Any:
    """One request with an empty cache."""
    strategy.forget()
    answer: Callable[[list[str]], Any] = strategy
    return answer([text])
