"""Rows of function calls: what they become, and what is refused with the row, the field and a fix."""

import json

import pytest

from domains.domain import Domain
from domains.errors import UserError
from domains.tool_calls import RESPONSE_OPEN, ToolCall, parse
from domains.tool_rows import read_functions
from domains.validate import validate
from tests.fakes import write_jsonl
from tests.fakes_tools import FIND, write_tools_domain

ROW = {"id": "a", "functions": ["find"], "prompt": "Where is the hat?",
       "calls": [{"name": "find", "arguments": {"thing": "hat"}}]}  # fmt: skip


@pytest.fixture
def domain(tmp_path):
    return Domain.load(write_tools_domain(tmp_path / "kit"))


def test_a_row_is_a_prompt_with_functions_and_a_completion_with_calls(domain):
    row = domain.records("calls.jsonl")[0]
    assert [turn.role for turn in row.prompt] == ["system", "user"]
    assert "find(thing: string, rooms?: integer = 1)" in row.prompt[0].content
    assert parse(row.completion) == (ToolCall("find", {"thing": row.question.removeprefix("Where is the ")[:-1]}),)
    assert [function.name for function in row.functions] == ["find", "wash"]
    assert "functions=" not in repr(row)  # digests of rows without functions stay what they were


def test_turns_of_tools_and_earlier_calls_become_messages(domain):
    turns = [
        {"role": "user", "content": "Where is the hat?"},
        {"role": "assistant", "calls": ROW["calls"]},
        {"role": "tool", "content": '{"room": "hall"}'},
    ]
    write_jsonl(domain.folder / "calls.jsonl", [{**ROW, "prompt": turns, "answer": "In the hall."} | {"calls": None}])
    assert "calls" in str(validate(str(domain.folder)).problems[0])
    row = {key: value for key, value in ROW.items() if key != "calls"}
    write_jsonl(domain.folder / "calls.jsonl", [{**row, "prompt": turns, "answer": "In the hall."}])
    (example,) = domain.records("calls.jsonl")
    assert [turn.role for turn in example.prompt] == ["system", "user", "assistant", "user"]
    assert parse(example.prompt[2].content) == (ToolCall("find", {"thing": "hat"}),)
    assert example.prompt[3].content.startswith(RESPONSE_OPEN)
    assert example.completion == "In the hall."


def test_preference_rows_name_functions_too(domain):
    row = domain.records("preferences.jsonl")[0]
    assert row.prompt[0].role == "system"
    assert parse(row.chosen)
    assert row.rejected_kinds == ("no_call", "wrong_value")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"functions": ["fnd"]}, "Did you mean 'find'"),
        ({"functions": "find"}, "list of texts"),
        ({"calls": []}, "list of calls"),
        ({"calls": [{"name": "find"}]}, "arguments"),
        ({"calls": [{"name": "wash", "arguments": {"thing": "hat"}}]}, "offered function"),
        ({"calls": [{"name": "find", "arguments": {"rooms": 2}}]}, "thing"),
        ({"calls": [{"name": "find", "arguments": {"thing": 3}}]}, "thing"),
        ({"prompt": [{"role": "assistant", "calls": "x"}]}, "list of calls"),
        ({"prompt": []}, "user turn|list of messages|ends with"),
        ({"prompt": "Where?", "calls": None, "answer": " "}, "list of calls"),
    ],
)
def test_a_bad_row_is_a_problem_with_a_fix(domain, change, words):
    write_jsonl(domain.folder / "calls.jsonl", [{**ROW, **change}])
    (problem,) = validate(str(domain.folder)).problems
    assert problem.line == 1
    with pytest.raises(UserError, match=words):
        domain.records("calls.jsonl")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([FIND, FIND], "declared twice"),
        ([{**FIND, "parameters": {"type": "array"}}], "schema of an object"),
        ([{**FIND, "parameters": {"type": "object", "properties": {"x": {"type": "colour"}}}}], "no JSON schema"),
        ([{"name": "f", "parameters": {"type": "object"}}], "description"),
    ],
)
def test_bad_declarations_are_refused(tmp_path, rows, words):
    with pytest.raises(UserError, match=words):
        read_functions(write_jsonl(tmp_path / "functions.jsonl", rows))


def test_a_file_is_validated_with_the_functions_beside_it(domain):
    assert validate(str(domain.folder / "calls.jsonl")).ok
    (domain.folder / "functions.jsonl").unlink()
    assert not validate(str(domain.folder / "calls.jsonl")).ok


def test_the_track_of_calls_stands_alone(domain):
    path = domain.folder / "domain.toml"
    path.write_text(path.read_text().replace('["calls"]', '["calls", "conversation"]'))
    with pytest.raises(UserError, match="stands alone"):
        Domain.load(domain.folder)


def test_rows_keep_json_as_it_is(domain):
    """Numbers, nested values and letters outside ASCII come through unchanged."""
    arguments = {"thing": "chapeau déjà vu", "rooms": 12}
    write_jsonl(domain.folder / "calls.jsonl", [{**ROW, "calls": [{"name": "find", "arguments": arguments}]}])
    (row,) = domain.records("calls.jsonl")
    assert (
        json.loads(row.completion.removeprefix("<tool_call>").removesuffix("</tool_call>"))[0]["arguments"] == arguments
    )
