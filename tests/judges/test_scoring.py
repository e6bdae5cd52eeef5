"""Scoring a file: what is read, what is refused, what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from domains.domain import Domain
from domains.errors import UserError
from domains.plugins import plugin_names
from judges.failures import failures
from judges.scoring import BadRows, load_judges, report_rows, score_file, score_rows
from judges.verdict import Answered, Verdict

ROWS: list[dict[str, Any]] = [
    {"id": "a", "question": "Label?", "answer": "Escrow.", "reference": "escrow", "arm": "x", "note": {"deep": [1]}},
    {"id": "a", "question": [{"role": "user", "content": "Label?"}], "answer": "", "reference": "escrow"},
    {"answer": "Ünï 漢字"},
]


def write(path: Path, *lines: str | dict[str, Any]) -> Path:
    path.write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_row_is_kept_and_gets_its_verdicts(tmp_path: Path):
    """exact: 1.0, 0.0 and no reference, so mean 0.5 over 2 with 1 unscored."""
    out = tmp_path / "new" / "out.jsonl"
    summary = score_file(write(tmp_path / "in.jsonl", *ROWS), ["exact", "readability"], out)
    written = read(out)
    assert [{k: v for k, v in row.items() if k != "verdicts"} for row in written] == ROWS
    assert [row["verdicts"]["exact"]["value"] for row in written] == [1.0, 0.0, None]
    assert set(written[0]["verdicts"]["readability"]) == {"value", "explanation", "parts"}
    exact = summary.as_dict()["judges"]["exact"]
    assert exact == {"n": 2, "unscored": 1, "mean": 0.5}
    assert [path.name for path in out.parent.iterdir()] == ["out.jsonl"]


def test_scoring_again_adds_to_earlier_verdicts(tmp_path: Path):
    first, second = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    score_file(write(tmp_path / "in.jsonl", *ROWS), ["exact"], first)
    score_file(first, ["politeness"], second)
    assert set(read(second)[0]["verdicts"]) == {"exact", "politeness"}


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("{", "row"),
        ("[1]", "row"),
        ({"question": "Q?"}, "answer"),
        ({"answer": None}, "answer"),
        ({"answer": 3}, "answer"),
        ({"answer": "A", "reference": ["R"]}, "reference"),
        ({"answer": "A", "question": 3}, "question"),
        ({"answer": "A", "question": [{"role": "robot", "content": "x"}]}, "question[0].role"),
        ({"answer": "A", "checks": "max_words"}, "checks"),
        ({"answer": "A", "finished": "yes"}, "finished"),
        ({"answer": "A", "verdicts": []}, "verdicts"),
        ('{"answer": "\\ud800"}', "answer"),
    ],
)
def test_a_bad_row_is_located_and_nothing_is_written(tmp_path: Path, line: str | dict[str, Any], field: str):
    path = write(tmp_path / "in.jsonl", ROWS[0], "", line, ROWS[1])
    out = tmp_path / "out.jsonl"
    with pytest.raises(BadRows, match=r"1 bad rows.*in\.jsonl:3: .*Fix: ") as error:
        score_file(path, ["exact"], out)
    assert [(p.line, p.field) for p in error.value.problems] == [(3, field)]
    assert not out.exists()


def test_all_bad_rows_are_counted(tmp_path: Path):
    with pytest.raises(BadRows, match="12 bad rows.*and 2 more") as error:
        score_file(write(tmp_path / "in.jsonl", *["{"] * 12), ["exact"], tmp_path / "out.jsonl")
    assert len(error.value.problems) == 12


def test_files_that_cannot_be_used_are_user_errors(tmp_path: Path):
    path = write(tmp_path / "in.jsonl", ROWS[0])
    before = path.read_bytes()
    for source, target, message in [
        (path, path, "is the input"),
        (path, tmp_path, "is a folder"),
        (path, path / "x.jsonl", "cannot be written"),
        (path, Path("/dev/null"), "no ordinary file"),
        (write(tmp_path / "empty.jsonl"), tmp_path / "o.jsonl", "has no rows"),
        (tmp_path / "absent.jsonl", tmp_path / "o.jsonl", "does not exist"),
    ]:
        with pytest.raises(UserError, match=message):
            score_file(source, ["exact"], target)
    assert path.read_bytes() == before


def test_judges_by_name():
    with pytest.raises(UserError, match="Did you mean 'politeness'"):
        load_judges(["politenes"], None)
    with pytest.raises(UserError, match="at least one"):
        load_judges([], None)


@pytest.mark.parametrize("name", plugin_names("judges.scorers"))
def test_every_judge_loads_and_judges_no_rows(name: str):
    for domain in (None, Domain.load("caregiving")):
        assert score_rows([], load_judges([name], domain)) == []


def test_verdicts_stand_beside_their_rows():
    rows = [Answered("Q?", answer, "a") for answer in ("a", "b", "a")]
    table = score_rows(rows, load_judges(["exact", "readability"], None))
    assert [cell["exact"].value for cell in table] == [1.0, 0.0, 1.0]


class Fragile:
    """A judge that breaks on one answer, alone or among others."""

    @classmethod
    def for_domain(cls, domain):
        raise NotImplementedError

    def __call__(self, rows):
        return [Verdict(float(100 / len(row.answer)), "length") for row in rows]


def test_a_row_on_which_a_judge_breaks_costs_that_row():
    """100 / 4 = 25; the empty answer divides by zero."""
    table = score_rows([Answered("Q?", "four"), Answered("Q?", "")], {"fragile": Fragile()})
    assert [row["fragile"].value for row in table] == [25.0, None]
    assert "ZeroDivisionError" in table[1]["fragile"].parts["failure"]
    found = failures(report_rows(table))
    assert (found.num_failed, found.share, found.worst_metric) == (1, 0.5, "fragile")
