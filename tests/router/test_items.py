"""Facts of items: kinds, labels, lengths, and which rows are one conversation."""

from __future__ import annotations

import json

from domains.domain import Domain
from router.items import item_facts
from tests.fakes import reply, turns, write_domain


def test_rows_that_open_alike_are_one_conversation(tmp_path):
    """A question and its follow-up share the first user turn, whatever its case; another question does not."""
    folder = write_domain(tmp_path / "toy")
    given = [
        {"id": "first", "prompt": turns("Where is my  Kettle?"), "completion": reply("There.")},
        {
            "id": "later",
            "prompt": turns("where is my kettle?", "There.", "And why is it so hot?"),
            "completion": reply("It boils."),
        },
        {"id": "other", "prompt": turns("What is a ladder?"), "completion": reply("A thing.")},
    ]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    found = item_facts(Domain.load(folder))
    assert [found[name]["cluster"] for name in ("first", "later", "other")] == ["first", "first", "other"]
    assert found["later"]["words"] == 6
    assert found["other"]["task"] == "questions"


def test_labels_are_known_and_training_rows_are_not_items(tmp_path):
    domain = Domain.load(write_domain(tmp_path / "toy"))
    found = item_facts(domain)
    for row in domain.examples("classification", "test"):
        assert found[row.id]["label"] == row.completion
    train = {row.id for row in domain.examples("classification", "train")}
    assert train
    assert not train & found.keys()
    assert {row.id for row in domain.preferences("test")} <= found.keys()


def test_a_preference_row_is_of_the_kinds_of_its_rejected_answers(tmp_path):
    domain = Domain.load(write_domain(tmp_path / "toy"))
    found = item_facts(domain)
    kinds = {row.id: found[row.id]["kinds"] for row in domain.preferences("test")}
    assert kinds == {row.id: sorted(row.rejected_kinds) for row in domain.preferences("test")}
    assert {len(each) for each in kinds.values()} == {1, 2}


def test_sections_of_one_document_are_one_unit_and_content_has_a_digest(tmp_path):
    domain = Domain.load(write_domain(tmp_path / "toy"))
    found = item_facts(domain)
    sections = domain.sections("test")
    assert sections
    for section in sections:
        assert found[section.id]["cluster"] == f"toy/{section.id.rpartition('#')[0]}"
    assert all(facts["digest"] for facts in found.values())
