"""What is known of an item before any answer: its task, kind, label, length and the conversation it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, get_args

from domains.domain import Domain
from domains.example import Document, Example, Message, Preference, Task
from experts.digests import digest_of


def item_facts(*domains: Domain) -> dict[str, dict[str, Any]]:
    """Facts by item id for all test rows: what subgroups are made of, and what clusters the statistics.

    Rows whose first user turn is the same belong to one conversation, whose name is the id of its first row. Sections
    of one document belong together too, under the document's name. A preference row is of all the kinds of its rejected
    answers.
    """
    found: dict[str, dict[str, Any]] = {}
    opened: dict[str, str] = {}
    for domain in domains:
        for document in domain.sections("test"):
            cluster = f"{domain.name}/{document.id.rpartition('#')[0] or document.id}"
            found[document.id] = {"task": "documents", "cluster": cluster, "digest": content_digest(document)}
        for task in get_args(Task):
            for row in domain.examples(task, "test"):
                label = row.completion if task == "classification" else ""
                facts = {"task": task, "kind": row.kind, "label": label, "digest": content_digest(row)}
                found[row.id] = facts | _turns(row.id, row.prompt, opened)
        for preference in domain.preferences("test"):
            kinds = sorted(set(preference.rejected_kinds))
            facts = {"task": "preferences", "kind": ", ".join(kinds), "kinds": kinds, "label": ""}
            facts |= {"digest": content_digest(preference)}
            found[preference.id] = facts | _turns(preference.id, preference.prompt, opened)
    return found


def content_digest(row: Document | Example | Preference) -> str:
    """The digest of everything that a row says."""
    return digest_of(asdict(row))[:16]


def _turns(row_id: str, prompt: Sequence[Message], opened: dict[str, str]) -> dict[str, Any]:
    """The words of the last user turn, and the conversation."""
    turns = [message.content for message in prompt if message.role == "user"]
    opening = " ".join(turns[0].casefold().split()) if turns else row_id
    return {"words": len(turns[-1].split()) if turns else 0, "cluster": opened.setdefault(opening, row_id)}
