"""The parts of `bench evaluation`, and the whole of it on the embedded models."""

from __future__ import annotations

import time

import pytest

from experts.benches import evaluation
from experts.benches.evaluation import Size, answered_rows, difference, prompts, race, run


def test_references_have_several_answers():
    rows = answered_rows(40)
    assert len(rows) == 40
    assert len({row.reference for row in rows}) < 25
    assert all(row.answer.strip() and row.reference for row in rows)


def test_prompts_of_both_domains():
    asked = prompts(48)
    assert len(asked) == len({prompt[-1].content for prompt in asked}) == 48


def test_the_best_of_each_without_the_first():
    """The first round sleeps 50 ms, later ones 1 ms: the warm-up is not counted."""
    calls: list[str] = []

    def work(name: str) -> None:
        calls.append(name)
        time.sleep(0.05 if calls.count(name) == 1 else 0.001)

    found = race({"a": lambda: work("a"), "b": lambda: work("b")}, rounds=2)
    assert calls == ["a", "b"] * 3
    assert max(found.values()) < 0.05


def test_the_largest_difference():
    assert difference([[0.1, 0.2, 0.3]], [[0.1, 0.25, 0.29]]) == pytest.approx(0.05)


@pytest.mark.slow
def test_the_keys_and_the_agreement(monkeypatch):
    monkeypatch.setattr(evaluation, "QUICK", Size(prompts=6, new_tokens=12, rows=16, rounds=1))
    found = run(quick=True)
    names = ["sequential_seconds", "batched_seconds", "bertscore_package_seconds", "bertscore_ours_seconds"]
    assert list(found) == [*names, "max_abs_difference"]
    assert found["max_abs_difference"] < 1e-4
    assert found["batched_seconds"] < found["sequential_seconds"]
