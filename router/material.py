"""What strategies are fitted on: the models they read with, and labelled requests. The contract of a strategy's file.

A file in `router/strategies/` has a dataclass `Strategy` (see `route.Strategy`). One that learns has also

    fit(material) -> Strategy             on the train split; `strategy.held_out` may hold its dev probabilities (N, L)
    refit(material, strategy) -> Strategy optional: the same settings on train and dev, once dev has been used
    Fit                                   a pydantic model of its JSON, which a stored fit is checked against
    as_dict(strategy) -> dict             that JSON
    from_dict(values, labels, sources, parts) -> Strategy
    digests(values, sources) -> dict      what the fit is bound to: name of the thing -> digest
    PARTS                                 optional: the strategies that it is made of
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Protocol

from pydantic import AfterValidator, FiniteFloat

from domains.example import Utterance
from router.calibration import FloatArray
from router.encoder import Encoder
from router.reader import Reader


def rectangular(rows: list[list[float]]) -> list[list[float]]:
    """Rows that are all of one length."""
    if len({len(row) for row in rows}) > 1:
        raise ValueError("the rows are of different lengths")
    return rows


Vector = list[FiniteFloat]
Matrix = Annotated[list[Vector], AfterValidator(rectangular)]


class Sources(Protocol):
    """The models, loaded when first used; their digests are known without loading."""

    @property
    def encoder(self) -> Encoder:
        """The sentence encoder."""
        ...

    @property
    def reader(self) -> Reader:
        """The language model that reads the few-shot prompt."""
        ...

    @property
    def encoder_digest(self) -> str:
        """The digest of the encoder."""
        ...

    @property
    def reader_digest(self) -> str:
        """The digest of the reader."""
        ...


@dataclass(frozen=True)
class Given:
    """Models that are loaded already."""

    encoder: Encoder
    reader: Reader

    @property
    def encoder_digest(self) -> str:
        """The digest of the encoder."""
        return self.encoder.digest

    @property
    def reader_digest(self) -> str:
        """The digest of the reader."""
        return self.reader.digest


@dataclass(frozen=True)
class Material:
    """Labelled requests and models. `dev_scores` are the dev probabilities (N, L) of the strategies fitted so far."""

    labels: tuple[str, ...]
    train: Sequence[Utterance]
    dev: Sequence[Utterance]
    sources: Sources
    dev_scores: Mapping[str, FloatArray] = field(default_factory=dict)

    @property
    def dev_targets(self) -> list[int]:
        """The places of the dev rows' labels."""
        return [self.labels.index(row.label) for row in self.dev]
