"""Files of any format: every row is a record or a problem, and what is written is read again as the same."""

import json

import pytest

from domains.errors import UserError
from domains.example import SPLITS, Message, Preference
from domains.splits import split_of
from domains.training_rows import one_rejected_each, read_training_rows, trl_row, write_trl
from domains.validate import validate
from tests.domains.test_row_formats import READ
from tests.fakes import reply, turns, write_jsonl

SHAREGPT = {"conversations": [{"from": "human", "value": "Q?"}, {"from": "gpt", "value": "A."}]}


@pytest.mark.parametrize(("name", "row", "expected"), READ)
def test_what_is_written_is_read_again_as_the_same(tmp_path, name, row, expected):
    path = write_jsonl(tmp_path / "in.jsonl", [row])
    found = read_training_rows(str(path))
    write_trl(tmp_path / "out.jsonl", found.reading.records)
    again = read_training_rows(str(tmp_path / "out.jsonl"))
    assert found.format == name
    assert again.format in {"preference", "prompt_completion"}
    assert again.reading.records == found.reading.records


def test_an_id_may_be_a_number(tmp_path):
    rows = [{"id": number, "prompt": "Q?", "completion": f"A{number}."} for number in (7, 8)]
    found = read_training_rows(str(write_jsonl(tmp_path / "in.jsonl", [*rows, rows[0]])))
    assert [record.id for record in found.reading.records] == ["7", "8"]
    assert [problem.field for problem in found.reading.problems] == ["id"]


def test_every_row_is_a_record_or_a_problem_and_other_formats_are_named(tmp_path):
    """Line 1 is good; 2 is Alpaca; 3 has no answer; 4 is no JSON; 5 repeats line 1."""
    lines = [SHAREGPT, {"instruction": "Q?", "output": "A."}, {"conversations": SHAREGPT["conversations"][:1]}]
    path = write_jsonl(tmp_path / "mixed.jsonl", lines)
    path.write_text(path.read_text() + "{\n" + json.dumps(SHAREGPT) + "\n")
    found = read_training_rows(str(path))
    assert (found.format, found.num_rows, found.reading.lines) == ("sharegpt", 5, (1,))
    assert [(p.line, p.field) for p in found.reading.problems] == [
        (2, "row"), (3, "conversations"), (4, "row"), (5, "row"),
    ]  # fmt: skip
    assert "format alpaca" in found.reading.problems[0].reason
    assert found.reading.problems[-1].reason == "the same content as line 1."
    result = validate(str(path))
    assert (result.ok, result.format, result.counts) == (False, "sharegpt", {"mixed.jsonl": 1})


def test_a_named_format_is_taken_and_an_unknown_one_names_the_nearest(tmp_path):
    path = write_jsonl(tmp_path / "rows.jsonl", [SHAREGPT])
    assert not read_training_rows(str(path), "sharegpt").reading.problems
    assert len(read_training_rows(str(path), "alpaca").reading.problems) == 1
    with pytest.raises(UserError, match="Did you mean 'sharegpt'"):
        read_training_rows(str(path), "sharegtp")


def test_a_format_for_a_domain_is_refused():
    with pytest.raises(UserError, match="--format"):
        validate("mortgage", "alpaca")


def test_columns_that_are_not_read_are_said(tmp_path):
    path = write_jsonl(tmp_path / "rows.jsonl", [SHAREGPT | {"topic": "x"}, SHAREGPT | {"id": "b", "topic": "y"}])
    assert read_training_rows(str(path)).notes == ("2 rows: column 'topic' is not read.",)


def test_rows_of_two_kinds_in_one_file(tmp_path):
    pair = {"conversations": SHAREGPT["conversations"][:1], "chosen": "A.", "rejected": "B."}
    found = read_training_rows(str(write_jsonl(tmp_path / "rows.jsonl", [SHAREGPT, pair])))
    assert [(p.line, p.field) for p in found.reading.problems] == [(2, "row")]


def test_half_a_surrogate_pair_is_a_problem_and_not_a_crash_when_written(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "Q", "completion": "\\ud800"}\n{"prompt": "Q", "completion": "\\ud83d\\ude00"}\n')
    found = read_training_rows(str(path))
    assert [p.line for p in found.reading.problems] == [1]
    write_trl(tmp_path / "out.jsonl", found.reading.records)


def test_the_id_of_a_row_without_one_depends_on_its_content_alone(tmp_path):
    rows = [{"prompt": "Q", "completion": "A"}, {"prompt": "Q", "completion": "B"}]
    first = read_training_rows(str(write_jsonl(tmp_path / "a.jsonl", rows))).reading.records
    second = read_training_rows(str(write_jsonl(tmp_path / "b.jsonl", rows[::-1]))).reading.records
    assert {r.id: r.completion for r in first} == {r.id: r.completion for r in second}
    assert len({r.id for r in first}) == 2


def test_one_row_per_rejected_answer(tmp_path):
    row = {"id": "a", "prompt": turns("Q"), "chosen": reply("A"), "rejected": [reply("B"), reply("C")]}
    extra = {"rejected_kinds": ["cold", "long"], "scores": [3, 2, 1]}
    (record,) = read_training_rows(str(write_jsonl(tmp_path / "a.jsonl", [row | extra]))).reading.records
    found = [trl_row(each) for each in one_rejected_each(record)]
    assert [each["rejected"] for each in found] == [reply("B"), reply("C")]
    assert [each["id"].partition("-")[0] for each in found] == ["a#1", "a#2"]
    assert [each["rejected_kinds"] for each in found] == [["cold"], ["long"]]
    assert [each["scores"] for each in found] == [[3.0, 2.0], [3.0, 1.0]]
    assert trl_row(record)["rejected"] == [reply("B"), reply("C")]


def test_the_rows_of_one_prompt_lie_in_its_split():
    """Thirty prompts in all three splits; a name that is in the right one already is left as it is."""
    names = [f"r{n}" for n in range(30)]
    assert {split_of(name) for name in names} == set(SPLITS)
    prompt = (Message("user", "Q"),)
    found = {name: list(one_rejected_each(Preference(name, prompt, "A", ("B", "C", "D")))) for name in names}
    for name, rows in found.items():
        assert {split_of(row.id) for row in rows} == {split_of(name)}
        assert all(
            row.id == f"{name}#{n}" for n, row in enumerate(rows, 1) if split_of(f"{name}#{n}") == split_of(name)
        )
    assert len({row.id for rows in found.values() for row in rows}) == 90


def test_a_file_of_a_domain_by_its_name_in_a_foreign_format(tmp_path):
    """`preferences.jsonl` is read strictly (ids), but not when its rows are plainly something else."""
    foreign = {"chosen": "\n\nHuman: Q\n\nAssistant: A", "rejected": "\n\nHuman: Q\n\nAssistant: B"}
    assert validate(str(write_jsonl(tmp_path / "preferences.jsonl", [foreign]))).format == "hh_rlhf"
    plain = {"prompt": "Q", "chosen": "A", "rejected": "B"}
    (problem,) = validate(str(write_jsonl(tmp_path / "preferences.jsonl", [plain]))).problems
    assert problem.field == "id"
