"""JSON by schema: field by field, strict about the text, and nothing is ever fetched."""

import pytest

from domains.errors import UserError
from domains.example import Message
from judges.verifier import Task
from judges.verifiers.json_schema import Verifier

SCHEMA = {
    "type": "object",
    "properties": {"purpose": {"enum": ["buy", "refinance"]}, "amount": {"type": "number"}, "note": {"type": "string"}},
    "required": ["purpose", "amount"],
    "additionalProperties": False,
}


def task(schema: object) -> Task:
    return Task("t", (Message("user", "?"),), {"schema": schema})


def scores(answer: str, schema: object = SCHEMA) -> dict[str, float]:
    verifier, given = Verifier(), task(schema)
    conditions = verifier.conditions(given)
    found = verifier.judge(given, conditions, answer)
    return {c.id: score for c, score in zip(conditions, found.scores, strict=True)}


@pytest.mark.parametrize(
    "answer",
    [
        '{"purpose": "buy", "amount": 5}',
        '```json\n{"purpose": "buy", "amount": 5.5, "note": "x"}\n```',
        ' {"amount": 1e5, "purpose": "refinance"}\n',
    ],
)
def test_planted_good_answers_pass(answer):
    assert set(scores(answer).values()) == {1.0}


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        ('{"purpose": "sell", "amount": 5}', {"field:purpose"}),
        ('{"amount": "5"}', {"field:purpose", "field:amount"}),
        ('{"purpose": "buy", "amount": 5, "x": 1}', {"schema"}),
        ("[]", {"schema"}),
        ("5", {"schema"}),
        ('{"purpose": "buy", "amount": true}', {"field:amount"}),
    ],
)
def test_every_problem_fails_its_own_condition(answer, failed):
    assert {name for name, score in scores(answer).items() if score < 1} == failed


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Sure!",
        'Here: {"purpose": "buy", "amount": 5}',
        '{"purpose": "buy", "amount": 5',
        '{"purpose": "buy", "amount": NaN}',
        '{"purpose": "buy", "amount": 5, "amount": 6}',
        '{"purpose": "buy"} {"amount": 5}',
        "[" * 100_000,
        "9" * 5000,
    ],
)
def test_what_is_no_json_meets_nothing(answer):
    assert set(scores(answer).values()) == {0.0}


def test_advice_is_one_line_a_condition():
    verifier, given = Verifier(), task(SCHEMA)
    lines = verifier.judge(given, verifier.conditions(given), '{"purpose": "a\\nb"}').advice.splitlines()
    assert len(lines) == 2
    assert any("'amount' is a required property" in line for line in lines)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (None, "no JSON schema"),
        ({"type": "objct"}, "not valid"),
        ({"properties": {"a": {"$ref": "http://127.0.0.1:9/x.json"}}}, "not in it"),
        ({"properties": {"a": {"$ref": "#/$defs/none"}}}, "not in it"),
    ],
)
def test_schemas_that_cannot_be_used(schema, reason):
    with pytest.raises(UserError, match=reason):
        scores('{"a": 1}', schema)


def test_a_schema_that_goes_round_in_circles_passes_nothing():
    assert scores("{}", {"$ref": "#"})["schema"] == 0.0


def test_a_deep_answer_to_a_recursive_schema_is_no_crash():
    """Python's own JSON reader goes a few thousand levels deep; the check of such a value must end as well."""
    tree = {"type": "array", "items": {"$ref": "#"}}
    assert set(scores("[[[]]]", tree).values()) == {1.0}
    assert set(scores("[" * 900 + "]" * 900, tree).values()) <= {0.0, 1.0}
