"""Tasks to improve on: of the split that is asked for, none that a held-out row asks, with what a verifier needs."""

import pytest

from domains.domain import Domain
from domains.errors import UserError
from domains.near_duplicates import has_near_duplicate
from domains.vote_training import held_out_prompts
from judges.improvement_tasks import improvement_tasks, structured_answer
from judges.scorers import exact
from judges.verdict import Answered
from judges.verifiers import arithmetic, json_schema
from tests.fakes import reply, turns, write_jsonl


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("caregiving", "conversation"),
        ("mortgage", "conversation"),
        ("mortgage", "calculations"),
        ("caregiving", "structured"),
        ("mortgage", "structured"),
    ],
)
def test_splits_are_apart_and_training_asks_nothing_that_is_held_out(name, kind):
    domain = Domain.load(name)
    train, dev, test = (improvement_tasks(domain, kind, split) for split in ("train", "dev", "test"))
    ids = [task.id for part in (train, dev, test) for task in part]
    assert len(ids) == len(set(ids))
    assert len(train) >= 50
    held_out = list(held_out_prompts(domain))
    assert {task.question for task in (*dev, *test)} <= set(held_out)
    assert not any(has_near_duplicate([task.question for task in train], held_out))


@pytest.mark.parametrize("name", ["caregiving", "mortgage"])
def test_a_conversation_is_practised_in_the_form_in_which_it_is_served(name):
    domain = Domain.load(name)
    roles = {
        task.request[0].role for split in ("train", "dev") for task in improvement_tasks(domain, "conversation", split)
    }
    assert roles == {"user"}


def test_the_questions_of_caregiving_are_never_tasks():
    """The held-out questions file is all test rows, whatever the hash of an id says."""
    domain = Domain.load("caregiving")
    asked = {row.question for row in domain.records("questions.jsonl")}
    assert not asked & {task.question for task in improvement_tasks(domain, "conversation")}


def test_a_training_prompt_that_a_held_out_row_asks_too_is_left_out(tmp_path):
    """Of two rows with one prompt, one in train and one in test by the hash of its id, neither is a task."""
    (tmp_path / "domain.toml").write_text(
        'name = "d"\ntitle = "D"\nabout = "A"\nlicence = "CC0-1.0"\nsystem_prompt = "Help."\n'
    )
    same = turns("How do I ask my brother to drive Mom to her appointments on Tuesday?")
    ids = [f"row-{number}" for number in range(40)]
    row = {"chosen": reply("Ask him early."), "rejected": [reply("No.")]}
    domain = Domain.load(tmp_path)
    (train, test) = (next(i for i in ids if domain.split(i, "preferences") == split) for split in ("train", "test"))
    other = next(i for i in ids if domain.split(i, "preferences") == "train" and i != train)
    rows = [row | {"id": train, "prompt": same}, row | {"id": test, "prompt": same}]
    write_jsonl(tmp_path / "preferences.jsonl", [*rows, row | {"id": other, "prompt": turns("What is respite?")}])
    assert [task.id for task in improvement_tasks(Domain.load(tmp_path), "conversation")] == [other]


def test_the_arithmetic_verifier_takes_every_calculation():
    domain, verifier = Domain.load("mortgage"), arithmetic.Verifier()
    for row, task in zip(domain.calculations("dev"), improvement_tasks(domain, "calculations", "dev"), strict=True):
        sign = {"dollars": "${:,.2f}", "percent": "{:.2f}%", "months": "{:.1f} months"}[row.formula.unit]
        conditions = verifier.conditions(task)
        good = verifier.judge(task, conditions, f"Answer: {sign.format(row.expected)}")
        bad = verifier.judge(task, conditions, f"Answer: {sign.format(row.expected * 1.02)}")
        assert good.scores == (1.0, 1.0, 1.0, 1.0)
        assert bad.scores[0] == 0.0
        assert task.request[0].role == "system"


def test_the_schema_verifier_takes_every_structured_task():
    """The reference passes the verifier and the held-out judge; another label passes the verifier alone; a bare label
    passes neither."""
    domain, verifier, judge = Domain.load("mortgage"), json_schema.Verifier(), exact.Judge()
    tasks = {task.id: task for task in improvement_tasks(domain, "structured", "dev")}
    for row in domain.examples("classification", "dev"):
        task, right = tasks[row.id], structured_answer(row.completion)
        other = structured_answer(next(label for label in domain.labels if label != row.completion))
        for answer, fits, is_right in ((right, 1.0, 1.0), (other, 1.0, 0.0), (row.completion, 0.0, 0.0)):
            assert min(verifier.judge(task, verifier.conditions(task), answer).scores) == fits
            assert judge([Answered(task.question, answer, right)])[0].value == is_right
        assert task.request[0].content.count(", ") >= len(domain.labels) - 1


def test_unknown_kinds_and_domains_without_rows():
    with pytest.raises(UserError, match="calculations"):
        improvement_tasks(Domain.load("mortgage"), "calculation")
    with pytest.raises(UserError, match="no calculations rows"):
        improvement_tasks(Domain.load("caregiving"), "calculations")
