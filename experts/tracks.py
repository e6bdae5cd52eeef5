"""Which experts a domain can have: a track needs training rows, and a domain of documents alone has none."""

from __future__ import annotations

from domains.domain import Domain
from domains.example import Example

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
