"""Fits the router on the training requests of the built domains, and loads it; bound to what it was fitted on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from domains.atomic import write_text_atomically
from domains.domain import GENERAL, Domain
from domains.errors import UserError
from domains.example import Split, Utterance
from experts.build import built_domain
from experts.digests import digest_of
from experts.expert import Expert
from router.calibration import Abstention
from router.encoder import Encoder, encoder_digest, load_sentence_encoder
from router.engine import Engine, servable
from router.material import Material
from router.reader import ExpertReader, expert_digest
from router.route import Router
from router.selection import check_digests, fit_all, router_of, strategy_module
from router.stored import FILE, stored


@dataclass(frozen=True)
class HomeSources:
    """The models of a home folder, loaded when first used; the engine is used if there is one already."""

    home: Path
    experts: Mapping[str, Expert]
    engine: Engine | None = None

    @cached_property
    def encoder(self) -> Encoder:
        """The embedded sentence encoder."""
        return load_sentence_encoder()

    @cached_property
    def reader(self) -> ExpertReader:
        """The expert that classifies."""
        return ExpertReader(self.engine or Engine(self.home), reading_expert(self.experts))

    @property
    def encoder_digest(self) -> str:
        """The digest of the encoder."""
        return encoder_digest()

    @property
    def reader_digest(self) -> str:
        """The digest of the expert that classifies."""
        return expert_digest(self.experts[reading_expert(self.experts)])


def domain_names(engine: Engine) -> list[str]:
    """The domains that have experts."""
    return sorted({name.partition("/")[0] for name in engine.experts if name != GENERAL})


def domains_of(home: Path, experts: Iterable[str]) -> list[Domain]:
    """The built domains, from wherever they were built."""
    return [built_domain(home, name) for name in sorted({n.partition("/")[0] for n in experts if n != GENERAL})]


def requests(engine: Engine, split: Split) -> list[Utterance]:
    """The routing rows of all built domains in a split; those for experts that are not there are left out."""
    rows = [row for domain in domains_of(engine.home, engine.experts) for row in domain.utterances(split)]
    return [row for row in rows if row.label in engine.experts]


def reading_expert(experts: Mapping[str, Expert]) -> str:
    """The expert that classifies: a structured one, because it was trained to answer with labels."""
    return next((name for name in experts if name.endswith("/structured")), GENERAL)


def fit_router(home: Path, engine: Engine | None = None, abstention: Abstention | None = None) -> dict[str, Any]:
    """Fit all strategies on train and dev; returns the numbers worth keeping."""
    engine = engine or Engine(home)
    train, dev = requests(engine, "train"), requests(engine, "dev")
    if not train:
        raise UserError(
            "The built domains have no routing.jsonl. Make one with 'expertsmith data DOMAIN --kind routing', or use "
            "'--strategy fixed'."
        )
    chosen = abstention or Abstention()
    sources = HomeSources(home, engine.experts, engine)
    content = fit_all(Material(tuple(engine.experts), train, dev, sources), chosen)
    content |= {"data": data_digest(engine), "abstention": asdict(chosen)}
    write_text_atomically(home / FILE, json.dumps(content))
    dev_f1 = {name: values["dev"]["macro_f1"] for name, values in content["strategies"].items()}
    return {"default": content["default"], "dev_macro_f1": dev_f1, "dev_n": len(dev)}


def data_digest(engine: Engine) -> str:
    """The digest of the labelled requests that a fit depends on."""
    return digest_of([repr(row) for split in ("train", "dev") for row in requests(engine, split)])


def is_fitted(home: Path, engine: Engine, abstention: Abstention | None = None) -> bool:
    """Whether the router in a home was fitted on these experts and requests, with this kind of threshold."""
    sources = HomeSources(home, engine.experts, engine)
    try:
        content = stored(home)
        check(content, sources, list(content.get("strategies", ())))
    except UserError:
        return False
    if abstention is not None and content.get("abstention") != asdict(abstention):
        return False
    return content.get("data") == data_digest(engine)


def check(content: Mapping[str, Any], sources: HomeSources, names: list[str]) -> None:
    """Refuse a router that is not there, or that was fitted on other experts or models."""
    if not content:
        raise UserError(f"There is no router in '{sources.home}'. Run 'expertsmith build' again to fit one.")
    if not set(names) <= set(content["strategies"]) or set(content["labels"]) != set(sources.experts):
        raise UserError(
            f"The router in '{sources.home}' was not fitted on the experts that are there. "
            "Run 'expertsmith build' again."
        )
    for name in names:
        check_digests(name, content, sources, str(sources.home))


def load_router(home: Path, strategy: str | None = None, engine: Engine | None = None) -> Router:
    """The fitted router of a home folder, with the strategy that won on dev or the one that is asked for; `fixed`
    always takes the general model."""
    if strategy is not None:
        plugin = strategy_module(strategy)
        if not hasattr(plugin, "fit"):
            return Router(plugin.Strategy(), strategy, 0.0)
    content = stored(home)
    sources = HomeSources(home, engine.experts if engine else servable(home), engine)
    name = strategy or content.get("default", "")
    check(content, sources, [name])
    return router_of(name, content, sources)
