"""Requests with the expert that they belong to, for the router: about a section's subject, with a job on a text, or
about something else (`general`). The requests of a section lie in its split."""

from __future__ import annotations

from typing import Any

from domains.domain import GENERAL
from experts.builders._parts import Item, Material, Skipped, Writers, asked, passages
from judges.samples import key_of

TARGET = "routing.jsonl"
USES_MODEL = True
LONGEST_WORDS = 60
ASKS = {
    "conversation": "Write one short message in which a person asks for help with something that the passage is about.",
    "structured": "Write one short message in which a person asks to have a text about the passage's subject "
    "summarized or sorted into a category.",
    GENERAL: "Write one short message to an assistant about {topic}. It has nothing to do with the passage's subject.",
}
ENDING = " In the person's own words. Write the message only."
TOPICS = (
    "cooking", "a trip", "a program that does not run", "a football match", "learning the guitar", "school mathematics",
    "a poem", "a dog", "repairing a bicycle", "the weather", "a film", "planets", "knitting", "a job interview",
    "translating a sentence", "a crossword", "growing tomatoes", "old coins", "chess", "a birthday party",
    "running shoes", "a famous painter", "the history of bridges", "a joke",
)  # fmt: skip


def items(material: Material) -> list[Item]:
    """One per section and track of the domain, and one per section that is out of scope."""
    tracks = {each.rpartition("/")[2]: each for each in material.domain.experts}
    labels = {kind: tracks.get(kind, GENERAL) for kind in ASKS if kind in {*tracks, GENERAL}}
    sections = passages(material.domain.documents)
    return [item_of(section, kind, label) for section in sections for kind, label in labels.items()]


def item_of(section: Item, kind: str, label: str) -> Item:
    """A request to be written; what is out of scope is about one of many topics, so that few are alike."""
    topic = TOPICS[int(key_of(section.id)[:8], 16) % len(TOPICS)]
    data = {"ask": ASKS[kind].format(topic=topic), "label": label, "split_of": section.id}
    return Item(section.id, section.passage, data)


def build(item: Item, writers: Writers) -> dict[str, Any]:
    """A message and its expert; one that is too long for a request gives no row."""
    text = asked(writers.strong, item.data["ask"] + ENDING, item.passage)
    if len(text.split()) > LONGEST_WORDS:
        raise Skipped(f"the message has over {LONGEST_WORDS} words.")
    return {"text": text, "label": item.data["label"]}
