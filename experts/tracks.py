"""Which experts a domain can have: a track needs training rows, and a domain of documents alone has none. And how a
finished stage is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from domains.domain import CALLS, Domain
from domains.example import Example
from experts.foundation import HOUSE
from experts.recipe import Training

if TYPE_CHECKING:
    from experts.build import Build

Record = TypeVar("Record")

ROWS = {"structured": "classification.jsonl or summarization.jsonl", "conversation": "preferences.jsonl"}


def structured_examples(domain: Domain) -> tuple[Example, ...]:
    """Training rows of the structured track."""
    return domain.examples("classification", "train") + domain.examples("summarization", "train")


def trainable(domain: Domain) -> tuple[str, ...]:
    """The tracks that a domain has training rows for; both together make the multi-task track."""
    tracks: tuple[str, ...] = ("structured",) if structured_examples(domain) else ()
    tracks += ("conversation",) if domain.preferences("train") else ()
    return (*tracks, "multi_task") if len(tracks) == 2 else tracks


def skipped(domain: Domain) -> list[str]:
    """Why tracks are left out, one line each."""
    missing = [track for track in ROWS if track in domain.tracks and track not in trainable(domain)]
    return [f"{domain.name}/{track}: skipped, there are no training rows in {ROWS[track]}." for track in missing]


def summary(metrics: Mapping[str, Any]) -> str:
    """The numbers of a stage in brackets."""
    plain = {k: v for k, v in metrics.items() if isinstance(v, int | float | str) and k != "template"}
    return f"({', '.join(f'{k} {v}' for k, v in plain.items())})"


def calls_stages() -> Any:
    """The stages of a domain of function calls; they are made of the stages of a build."""
    from experts import calls

    return calls


def stage_names(build: Build) -> list[str]:
    """Names for the running list."""
    if build.domain.name == HOUSE:
        return ["house/instruct"]
    if CALLS in build.domain.tracks:
        return ["house/instruct", *calls_stages().names(build)]
    reward_model = ["reward_model"] if build.has_reward_model and "conversation" in build.trainable else []
    tracks = ["structured", *reward_model, "conversation", "multi_task"]
    kept = [name for name in tracks if name in (*build.trainable, "reward_model")]
    names = [f"{build.domain.name}/{name}" for name in ("pretrain", "residual", *kept, "sft_after_dapt")]
    return ["house/instruct", *names]


def capped(rows: Sequence[Record], settings: Training) -> Sequence[Record]:
    """The rows that a recipe trains on."""
    return rows[: settings.max_examples] if settings.max_examples else rows
