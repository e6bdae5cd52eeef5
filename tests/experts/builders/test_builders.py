"""Each builder with scripted writers: what is asked, what becomes a row, and what is skipped and why."""

from __future__ import annotations

import pytest

from domains.domain import PARSERS, Domain
from domains.errors import UserError
from domains.example import Message
from domains.plugins import load_plugin
from domains.splits import split_of
from experts.builders import (
    classification,
    edits,
    failure_to_success,
    persona_contrast,
    question_answer,
    routing,
    summarization,
    weak_model_rejected,
)
from experts.builders._parts import Item, Material, Skipped, Writers, labelled
from experts.building import builder_names, load_builder, row_id
from tests.fakes import reply, turns, write_domain

PASSAGE = (
    "# Locks\n\n## Length\n\nA rate lock often lasts 30 to 60 days, and an extension can cost a fee. Ask the lender in "
    "writing what happens when the appraisal is late, because the lock then may end before the closing day comes."
)
ITEM = Item("locks#1", PASSAGE)
GOOD = "You are right to ask early. A lock often lasts 30 to 60 days. Ask the lender what an extension costs."
COLD = "Rate locks have a standard term of 30 to 60 days. Obtain the extension fee schedule from the lender."
QA = f"QUESTION: How long is my lock?\nANSWER: {GOOD}"


def script(*replies):
    """A writer that gives the replies in order; what it was asked is in `asked`."""
    left = list(replies)

    def ask(messages: list[Message]) -> str:
        ask.asked.append(messages[-1].content)
        return left.pop(0)

    ask.asked = []
    return ask


def nobody(messages):
    raise AssertionError("not to be asked")


def built(builder, strong, weak=nobody, item=ITEM):
    """A row that is valid in its domain's file."""
    row = {"id": "x"} | builder.build(item, Writers(strong, weak))
    PARSERS[builder.TARGET](row)
    return row


@pytest.mark.parametrize("name", builder_names())
def test_every_builder_keeps_the_contract(name):
    module = load_plugin("experts.builders", name, "builder")
    assert module.TARGET in PARSERS
    assert isinstance(module.USES_MODEL, bool)
    assert callable(module.items)
    assert callable(module.build)


def test_a_question_and_its_answer():
    strong = script(QA)
    row = built(question_answer, strong)
    assert row["prompt"] == turns("How long is my lock?")
    assert row["completion"] == reply(GOOD)
    assert PASSAGE in strong.asked[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I do not know.", "has not the parts"),
        ("ANSWER: x\nQUESTION: y", "has not the parts"),
        ("QUESTION:\nANSWER: x", "has not the parts"),
        ("", "empty"),
        ("QUESTION: How long?\nANSWER: A lock lasts 90 days.", "is not in the passage"),
    ],
)
def test_a_reply_that_cannot_be_used_is_skipped(text, reason):
    with pytest.raises(Skipped, match=reason):
        built(question_answer, script(text))


@pytest.mark.parametrize(
    "text", ["Question: a\nAnswer: b", "**QUESTION:** a\n\n**ANSWER:** b", "- question: a\nANSWER:\nb"]
)
def test_parts_in_the_ways_in_which_models_write_them(text):
    assert labelled(text, "question", "answer") == {"question": "a", "answer": "b"}


def test_a_message_with_a_label_of_the_list():
    item = Item("a", PASSAGE, {"labels": ["inside", "outside"]})
    row = built(classification, script("LABEL: Inside.\nMESSAGE: Where do I put it?"), item=item)
    assert row["completion"] == reply("inside")
    assert row["prompt"][-1]["content"] == "Where do I put it?"
    assert "inside, outside" in row["prompt"][0]["content"]
    with pytest.raises(Skipped, match="not one of the labels"):
        built(classification, script("LABEL: upstairs\nMESSAGE: Where?"), item=item)


def test_a_summary_is_shorter_and_has_no_number_of_its_own():
    assert built(summarization, script("A lock lasts 30 to 60 days."))["completion"] == reply(
        "A lock lasts 30 to 60 days."
    )
    with pytest.raises(Skipped, match="as long as"):
        built(summarization, script(PASSAGE))
    with pytest.raises(Skipped, match="not in the passage"):
        built(summarization, script("A lock lasts 45 days."))


def test_two_voices_with_the_same_numbers():
    row = built(persona_contrast, script(QA, COLD))
    assert (row["chosen"], row["rejected"]) == (reply(GOOD), [reply(COLD)])
    assert row["rejected_kinds"] == ["persona_contrast"]
    with pytest.raises(Skipped, match="same numbers"):
        built(persona_contrast, script(QA, COLD.replace("60", "45")))
    with pytest.raises(Skipped, match="only one of the two answers names 'Fannie'"):
        built(persona_contrast, script(QA, f"{COLD} So says Fannie Mae."))
    with pytest.raises(Skipped, match="only one of the two answers names 'Mae'"):
        built(persona_contrast, script(f"{QA} Then ask Mae.", COLD))
    with pytest.raises(Skipped, match="nearly the chosen one"):
        built(persona_contrast, script(QA, GOOD))


def test_the_weak_model_does_not_see_the_passage():
    weak = script("No idea, ask somebody.")
    row = built(weak_model_rejected, script(QA), weak)
    assert row["rejected"] == [reply("No idea, ask somebody.")]
    assert weak.asked == ["How long is my lock?"]


def test_failed_attempts_are_rejected_and_the_success_is_chosen():
    """Two attempts fail, the third passes; the learner sees each criticism."""
    strong = script(
        QA, "VERDICT: FAIL\nCRITICISM: no days", "VERDICT: FAIL\nCRITICISM: no fee", "VERDICT: PASS\nCRITICISM: none"
    )
    weak = script("Long.", "30 to 60 days.", GOOD)
    row = built(failure_to_success, strong, weak)
    assert row["chosen"] == reply(GOOD)
    assert row["rejected"] == [reply("Long."), reply("30 to 60 days.")]
    assert row["rejected_kinds"] == ["failed_attempt", "failed_attempt"]
    assert "no days" in weak.asked[1]
    assert "no fee" in weak.asked[2]


@pytest.mark.parametrize(
    ("verdicts", "reason"),
    [
        (["VERDICT: PASS\nCRITICISM: none"], "first attempt passed"),
        (["VERDICT: FAIL\nCRITICISM: bad"] * 4, "no attempt of 4"),
        (["VERDICT: MAYBE\nCRITICISM: bad"], "neither PASS nor FAIL"),
    ],
)
def test_a_learner_that_gives_no_pair(verdicts, reason):
    with pytest.raises(Skipped, match=reason):
        built(failure_to_success, script(QA, *verdicts), script("a", "b", "c", "d"))


def test_a_correction_without_an_id_is_the_same_one_at_another_place(tmp_path):
    domain = Domain.load(write_domain(tmp_path / "toy"))
    one, other = ({"prompt": "Q?", "draft": "a", "edited": edited} for edited in "bc")
    before, after = (edits.items(Material(domain, edits=rows)) for rows in ((one,), (other, {**one, "id": "x"}, one)))
    assert before == after[2:]
    assert after[1].id == "x"
    assert len({item.id for item in after}) == 3


def test_corrections_of_drafts(tmp_path):
    material = Material(
        Domain.load(write_domain(tmp_path / "toy")), edits=({"prompt": "Q?", "draft": "a", "edited": "b"},)
    )
    (item,) = edits.items(material)
    row = built(edits, nobody, item=item)
    assert (row["chosen"], row["rejected"]) == (reply("b"), [reply("a")])
    with pytest.raises(UserError, match="--edits"):
        edits.items(Material(material.domain))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"edited": "a"}, "changes nothing"),
        ({"draft": 5}, "draft"),
        ({"prompt": turns("a", "b")}, "user turn"),
        ({"edited": " "}, "edited"),
    ],
)
def test_corrections_that_give_no_pair(change, reason):
    with pytest.raises(Skipped, match=reason):
        built(edits, nobody, item=Item("1", data={"prompt": "Q?", "draft": "a", "edited": "b"} | change))


def test_items_are_sections_and_labels_are_needed(tmp_path):
    folder = write_domain(tmp_path / "toy")
    long = "\n".join(f"## Part {n}\n\n{'word ' * 40}\n" for n in range(12))
    (folder / "documents" / "more.md").write_text(f"# More\n\n{long}")
    domain = Domain.load(folder)
    long_ones = {d.id for d in domain.documents if d.id.startswith("more#")}
    held_out = {each for each in long_ones if split_of(each) != "train"}
    assert {item.id for item in classification.items(Material(domain))} == long_ones
    assert {item.id for item in question_answer.items(Material(domain))} == held_out
    assert len(long_ones) == 12
    assert 0 < len(held_out) < 12
    settings = (folder / "domain.toml").read_text().replace('labels = ["inside", "outside"]', "labels = []")
    (folder / "domain.toml").write_text(settings)
    with pytest.raises(UserError, match="has no labels"):
        classification.items(Material(Domain.load(folder)))


@pytest.mark.parametrize("name", sorted(set(builder_names()) - {"edits", "perturbation", "wrong_calls"}))
def test_a_row_lies_in_the_split_of_its_section(name, tmp_path):
    """Twelve sections of three splits; an item of each kind gets an id of its section's split."""
    folder = write_domain(tmp_path / "toy")
    long = "\n".join(f"## Part {n}\n\n{'word ' * 40}\n" for n in range(12))
    (folder / "documents" / "more.md").write_text(f"# More\n\n{long}")
    items = load_builder(name).items(Material(Domain.load(folder)))
    assert {split_of(item.id) for item in items} >= {"dev", "test"}
    for item in items:
        assert split_of(row_id(name, item)) == split_of(item.id)


def test_requests_for_each_expert_and_for_none(tmp_path):
    """A section gives one request per track and one out of scope; different sections have different other topics."""
    folder = write_domain(tmp_path / "toy")
    long = "\n".join(f"## Part {n}\n\n{'word ' * 40}\n" for n in range(6))
    (folder / "documents" / "more.md").write_text(f"# More\n\n{long}")
    items = routing.items(Material(Domain.load(folder)))
    labels = [item.data["label"] for item in items]
    assert {each: labels.count(each) for each in labels} == {"toy/conversation": 6, "toy/structured": 6, "general": 6}
    assert len({item.data["ask"] for item in items if item.data["label"] == "general"}) > 3
    assert built(routing, script("Where is part two?"), item=items[0])["text"] == "Where is part two?"
    with pytest.raises(Skipped, match="over 60 words"):
        built(routing, script("word " * 61), item=items[0])


def test_a_domain_with_one_track_gets_requests_for_that_track_alone(tmp_path):
    folder = write_domain(tmp_path / "toy")
    (folder / "documents" / "more.md").write_text(f"# More\n\n## Part\n\n{'word ' * 40}\n")
    with (folder / "domain.toml").open("a") as handle:
        handle.write('tracks = ["conversation"]\n')
    labels = [item.data["label"] for item in routing.items(Material(Domain.load(folder)))]
    assert labels == ["toy/conversation", "general"]
