"""Requests with the expert that they belong to, for the router: about a section's subject, with a job on a text, or
about something else (`general`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from domains.domain import GENERAL
from experts.builders._parts import Item, Material, Skipped, Writers, asked, passages

TARGET = "routing.jsonl"
USES_MODEL = True
LONGEST_WORDS = 60
ASKS = {
    "conversation": "Write one short message in which a person asks for help with something that the passage is about.",
    "structured": "Write one short message in which a person asks to have a text about the passage's subject "
    "summarized or sorted into a category.",
    GENERAL: "Write one short message to an assistant about something that has nothing to do with the passage's "
    "subject: cooking, travel, code, sport, music, school, or anything else.",
}
ENDING = " In the person's own words. Write the message only."


def items(material: Material) -> list[Item]:
    """One per section and track, and one per section that is out of scope."""
    tracks = {each.rpartition("/")[2]: each for each in material.domain.experts}
    labels = {kind: tracks.get(kind, GENERAL) for kind in ASKS if kind in {*tracks, GENERAL}}
    found = passages(material.domain.documents)
    return [replace(item, data={"kind": kind, "label": label}) for item in found for kind, label in labels.items()]


def build(item: Item, writers: Writers) -> dict[str, Any]:
    """A message and its expert; one that is too long for a request gives no row."""
    text = asked(writers.strong, ASKS[item.data["kind"]] + ENDING, item.passage)
    if len(text.split()) > LONGEST_WORDS:
        raise Skipped(f"the message has over {LONGEST_WORDS} words.")
    return {"text": text, "label": item.data["label"]}
