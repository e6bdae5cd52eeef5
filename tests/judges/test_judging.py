"""Verdicts on disk: a rerun judges what is new, a judge that fails on a row fails on that row only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from domains.errors import UserError
from judges.judging import CHUNK, VerdictStore, judge_digest
from judges.verdict import Answered, Verdict


@dataclass(frozen=True)
class Length:
    """The number of characters of an answer; refuses "bad". `calls`, no setting: how many rows it was given."""

    factor: float = 1.0
    needs_all_rows: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "calls", [])

    def __call__(self, rows: Sequence[Answered]) -> list[Verdict]:
        self.calls.append(len(rows))
        if any(row.answer == "bad" for row in rows):
            raise ZeroDivisionError("no such length")
        if any(row.answer == "unreachable" for row in rows):
            raise UserError("Start the service.")
        return [Verdict(self.factor * len(row.answer), "Its length.", {"n": len(rows)}) for row in rows]


def rows(*answers: str) -> list[Answered]:
    return [Answered("Q?", answer) for answer in answers]


def judge(folder: Path, judge: Length, answers: list[Answered]) -> list[float | None]:
    return [each.verdict.value for each in VerdictStore.open(folder / "v.jsonl").judge("length", judge, answers)]


def test_a_rerun_judges_what_is_new(tmp_path: Path):
    assert judge(tmp_path, Length(), rows("a", "bb")) == [1.0, 2.0]
    again = Length()
    assert judge(tmp_path, again, rows("bb", "a", "ccc")) == [2.0, 1.0, 3.0]
    assert again.calls == [1]


def test_other_settings_are_other_verdicts(tmp_path: Path):
    judge(tmp_path, Length(), rows("a"))
    assert judge(tmp_path, Length(factor=2.0), rows("a")) == [2.0]
    assert judge_digest("length", Length()) != judge_digest("length", Length(2.0))
    assert judge_digest("length", Length()) != judge_digest("other", Length())


def test_everything_that_a_judge_sees_is_in_the_key(tmp_path: Path):
    different = [
        Answered("Q?", "a"),
        Answered("R?", "a"),
        Answered("Q?", "a", "ref"),
        Answered("Q?", "a", None, ({"type": "max_words"},)),
        Answered("Q?", "a", None, (), True),
    ]
    counter = Length()
    judge(tmp_path, counter, different)
    assert counter.calls == [5]


def test_a_failing_row_fails_alone_and_is_judged_again_later(tmp_path: Path):
    store = VerdictStore.open(tmp_path / "v.jsonl")
    found = store.judge("length", Length(), rows("a", "bad", "ccc"))
    assert [each.verdict.value for each in found] == [1.0, None, 3.0]
    assert [each.failure for each in found] == ["", "ZeroDivisionError: no such length", ""]
    written = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    assert [row["status"] for row in written] == ["ok", "failed", "ok"]
    counter = Length()
    judge(tmp_path, counter, rows("a", "bad", "ccc"))
    assert counter.calls == [1]


def test_what_the_user_can_fix_is_raised(tmp_path: Path):
    with pytest.raises(UserError, match="Start the service"):
        judge(tmp_path, Length(), rows("a", "unreachable"))


def test_verdicts_are_kept_in_portions(tmp_path: Path):
    """The third portion meets the wall: the first two are on disk."""
    answers = rows(*(str(i) for i in range(2 * CHUNK)), "unreachable")
    with pytest.raises(UserError):
        judge(tmp_path, Length(), answers)
    counter = Length()
    judge(tmp_path, counter, answers[:-1])
    assert counter.calls == []


def test_a_judge_over_all_rows_judges_all_again_when_one_changes(tmp_path: Path):
    whole = Length(needs_all_rows=True)
    judge(tmp_path, whole, rows("a", "bb"))
    judge(tmp_path, whole, rows("a", "bb"))
    judge(tmp_path, whole, rows("a", "ccc"))
    assert whole.calls == [2, 2]
