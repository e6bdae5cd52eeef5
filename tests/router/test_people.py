"""People's labels in an evaluation: kappa with interval beside each judge's calibration; they can take trust away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from experts.build import Build
from judges.labels import Label
from judges.report import Report, load
from router.evaluation import Evaluation, evaluate
from router.steps import steps
from ui.report_page import render

PLAIN, HARD = "We pay it. You get a note.", "Remuneration necessitates documentation notwithstanding regulation."


def labels(preferred: str, count: int = 10) -> tuple[Label, ...]:
    """Choices of two people between a plain and a hard answer, each in either place; they prefer the same one."""
    pairs = [(PLAIN, HARD) if n % 2 else (HARD, PLAIN) for n in range(count)]
    return tuple(
        Label(f"p{n}", "Q?", a, b, "a" if a == preferred else "b", who)
        for n, (a, b) in enumerate(pairs)
        for who in ("kim", "lee")
    )


def run(build: Build, lines: list[str], people: tuple[Label, ...]) -> Report:
    return evaluate(Evaluation(build, lines.append, ("readability",), ("instruct",), labels=people), None, "")


def test_kappa_is_in_the_record_and_a_second_run_judges_nothing(few_rows: Build, tmp_path: Path):
    """The judge of readability prefers the plain answer on all ten pairs, as both people do: kappa 1."""
    lines: list[str] = []
    report = run(few_rows, lines, labels(PLAIN))
    (record,) = report.judges
    found = record["people"]
    assert (found["kappa"]["value"], found["kappa"]["n"], found["num_labels"]) == (pytest.approx(1.0), 10, 20)
    assert found["kappa"].keys() == {"value", "low", "high", "n"}
    assert found["agreement"] == 1.0
    assert [(b["first"], b["second"], b["value"]) for b in found["people"]] == [("kim", "lee", pytest.approx(1.0))]
    assert record["trusted"] is True
    assert any(line.endswith("toy/evaluate/people/readability") for line in lines)
    lines.clear()
    assert run(few_rows, lines, labels(PLAIN)).judges == report.judges
    assert lines == []
    report.write(tmp_path)
    assert load(tmp_path).as_dict()["judges"] == report.as_dict()["judges"]


def test_people_who_prefer_the_other_answers_take_trust_away(few_rows: Build):
    """Kappa -1 and agreement 0 of 10, whose Wilson interval ends at 28%: below chance."""
    (record,) = run(few_rows, [], labels(HARD)).judges
    assert record["people"]["kappa"]["value"] == pytest.approx(-1.0)
    assert (record["trusted"], record["people"]["agreement"]) == (False, 0.0)
    assert record["reason"].startswith("It agrees with people on fewer than half of the labelled pairs (0% of 10).")


def test_few_labels_decide_nothing(few_rows: Build):
    """0 of 3: Wilson's interval reaches 56%."""
    (record,) = run(few_rows, [], labels(HARD, 3)).judges
    assert record["trusted"] is True


def test_without_labels_there_is_no_such_step(few_rows: Build):
    (record,) = run(few_rows, [], ()).judges
    assert "people" not in record
    plan = Evaluation(few_rows, print, ("readability",), ("instruct",))
    assert not any("people" in step for step in steps(plan, has_router=False))


def test_the_page_shows_kappa_of_judges_and_between_people(few_rows: Build):
    page = render(run(few_rows, [], labels(PLAIN)))
    shown: list[Any] = ["Judges against people’s blind choices", "kim and lee (people)", "1.00"]
    assert all(text in page for text in shown)
    assert "Judges against people’s blind choices" not in render(run(few_rows, [], ()))
