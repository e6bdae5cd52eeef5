"""Programmatic instruction checks: each with a passing and a failing answer, and all shipped rows."""

from __future__ import annotations

from typing import Any

import pytest

from domains.domain import Domain
from domains.errors import UserError
from judges.scorers.instructions import CHECKS, Judge
from judges.verdict import Answered

KEYS = {"type": "json_keys", "keys": ["name", "age"]}
ONE_OF = {"type": "one_of", "values": ["Yes", "No"], "answer": "Yes"}
CASES: list[tuple[dict[str, Any], str, str]] = [
    ({"type": "starts_with", "value": "I don't know"}, "I don’t know that.", "Well, I don't know."),
    ({"type": "last_line_starts_with", "value": "Next step:"}, "A.\nNext step: call.\n\n", "Next step: call.\nBye."),
    ({"type": "num_bullets", "min": 2, "max": 3}, "In short: x\n- a\n* b", "- a"),
    ({"type": "num_bullets", "min": 1, "max": 1}, "- a\n---\n**bold** -5", "- a\n- b"),
    ({"type": "max_words", "value": 3}, "- one two-fold three", "one two three four"),
    ({"type": "min_words", "value": 3}, "one two three", "one - two"),
    ({"type": "max_sentences", "value": 1}, "Ask Dr. Lee at 3 p.m. today.", "Ask. Now."),
    (ONE_OF, " yes.\n", "Yes, of course."),
    ({"type": "contains_any", "values": ["vet", "a doctor"]}, "See two vets.", "A veteran said so."),
    ({"type": "contains_none", "values": ["sorry"]}, "A sorrysome day.", "Sorry!"),
    (KEYS, '{"age": 1, "name": {"x": 2}}', '{"age": 1}'),
]


@pytest.mark.parametrize(("check", "good", "bad"), CASES)
def test_each_check_passes_and_fails(check: dict[str, Any], good: str, bad: str):
    passed, failed = Judge()([Answered("Q?", good, checks=(check,)), Answered("Q?", bad, checks=(check,))])
    assert (passed.value, failed.value) == (1.0, 0.0)


def test_every_type_has_a_case():
    assert {case[0]["type"] for case in CASES} == set(CHECKS)


@pytest.mark.parametrize(
    "answer",
    [
        '```json\n{"name": 1, "age": 2}\n```',
        '{"name": 1, "age": 2, "x": 3}',
        '{"name": 1, "name": 2, "age": 3}',
        '[["name", 1], ["age", 2]]',
        '["name", "age"]',
        '{"name": 1, "age": 2} done',
        "{" * 3000,
        "[" * 100_000,
    ],
)
def test_json_keys_takes_nothing_else(answer: str):
    assert Judge()([Answered("Q?", answer, checks=(KEYS,))])[0].value == 0.0


def test_parts_and_the_known_answer():
    checks = (ONE_OF, {"type": "max_words", "value": 0}, {"type": "starts_with", "value": "n"})
    verdict = Judge()([Answered("Q?", "No.", checks=checks)])[0]
    assert verdict.value == 0.0
    assert verdict.parts["share_passed"] == pytest.approx(2 / 3, abs=1e-4)
    assert verdict.parts["checks"][0] == {"type": "one_of", "passed": True, "correct": False}
    assert [item["passed"] for item in verdict.parts["checks"]] == [True, False, True]


@pytest.mark.parametrize(("finished", "value"), [(True, 1.0), (None, 1.0), (False, 0.0)])
def test_a_cut_answer_fails(finished: bool | None, value: float):
    verdict = Judge()([Answered("Q?", "Yes", checks=(ONE_OF,), finished=finished)])[0]
    assert (verdict.value, verdict.parts["share_passed"]) == (value, 1.0)


def test_an_empty_answer_passes_nothing():
    verdict = Judge()([Answered("Q?", " ", checks=({"type": "max_words", "value": 9},))])[0]
    assert verdict.value == 0.0


def test_no_checks_is_unscored():
    assert Judge()([Answered("Q?", "A.")])[0].value is None


@pytest.mark.parametrize(
    ("check", "message"),
    [({"type": "max_word"}, "Did you mean 'max_words'"), ({"type": "num_bullets"}, "lacks min, max")],
)
def test_a_bad_check_is_a_user_error(check: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        Judge()([Answered("Q?", "A.", checks=(check,))])


@pytest.mark.parametrize("name", ["house", "mortgage", "caregiving"])
def test_shipped_completions_pass_their_own_checks(name: str):
    examples = Domain.load(name).records("instructions.jsonl")
    verdicts = Judge()([Answered(e.question, e.completion, checks=e.checks) for e in examples])
    assert [(e.id, v.explanation) for e, v in zip(examples, verdicts, strict=True) if v.value != 1.0] == []
