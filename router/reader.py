"""The model that reads a few-shot prompt: one of the experts in the engine, or a model alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from experts.checkpoint import Checkpoint, load, load_tokenizer
from experts.device import probe
from experts.digests import digest_of, weights_digest
from experts.encoding import template_digest
from experts.expert import Expert
from router.engine import Engine


class Reader(Protocol):
    """A causal language model that one caller at a time may use."""

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        ...

    @property
    def digest(self) -> str:
        """The digest of its weights and its tokenizer's template: what scores depend on besides the prompt."""
        ...

    def using(self) -> AbstractContextManager[Any]:
        """The model, for this caller alone."""
        ...


@dataclass(frozen=True)
class ExpertReader:
    """An expert of an engine."""

    engine: Engine
    expert: str

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of the base."""
        return self.engine.tokenizer

    @cached_property
    def digest(self) -> str:
        """Of the base and the adapter."""
        return expert_digest(self.engine.experts[self.expert])

    def using(self) -> AbstractContextManager[Any]:
        """The engine's model with this expert's adapter."""
        return self.engine.using(self.expert)


def expert_digest(expert: Expert) -> str:
    """The digest of an expert's weights, its base's and its template; nothing is loaded."""
    adapter = weights_digest(expert.folder) if expert.has_adapter else ""
    return digest_of([expert.base_digest, adapter, expert.template])


@dataclass(frozen=True)
class ModelReader:
    """A base model alone."""

    model: Any
    tokenizer: Any
    digest: str
    lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def load(cls, base: Path) -> ModelReader:
        """A model folder on the best device."""
        device = probe()
        model = load(Checkpoint(base), device.dtype, device.score_attention).to(device.name)
        tokenizer = load_tokenizer(base)
        return cls(
            model.requires_grad_(False), tokenizer, digest_of([weights_digest(base), template_digest(tokenizer)])
        )

    @contextmanager
    def using(self) -> Iterator[Any]:
        """The model behind a lock."""
        with self.lock:
            yield self.model
