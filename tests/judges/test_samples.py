"""One row per sample on disk: what a kill, a stranger's line or several threads may do to the file."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from judges.samples import SampleFile, key_of


def test_the_last_row_of_a_key_counts(tmp_path: Path):
    path = tmp_path / "new" / "s.jsonl"
    SampleFile(path).append([{"key": "a", "status": "ok", "n": 1}, {"key": "a", "status": "ok", "n": 2}])
    assert SampleFile(path).known["a"]["n"] == 2


def test_a_failure_after_a_success_is_tried_again(tmp_path: Path):
    path = tmp_path / "s.jsonl"
    SampleFile(path).append([{"key": "a", "status": "ok"}, {"key": "a", "status": "failed", "reason": "x"}])
    assert "a" not in SampleFile(path).known


@pytest.mark.parametrize("line", ["{}", "[1]", "null", "{oops", '{"key": 3}', "", "\x00"])
def test_a_line_that_is_no_row_is_passed_over(tmp_path: Path, line: str):
    path = tmp_path / "s.jsonl"
    path.write_text(f'{line}\n{{"key": "a", "status": "ok"}}\n')
    assert list(SampleFile(path).known) == ["a"]


def test_a_half_line_is_taken_off_the_file(tmp_path: Path):
    path = tmp_path / "s.jsonl"
    path.write_text('{"key": "a", "status": "ok"}\n{"key": "b"')
    SampleFile(path).append([{"key": "c", "status": "ok"}])
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == ["a", "c"]


def test_threads_do_not_mix_their_lines(tmp_path: Path):
    """8 threads with 50 rows of 20,000 characters each: 400 whole rows."""
    file = SampleFile(tmp_path / "s.jsonl")

    def work(name: int) -> None:
        for i in range(50):
            file.append([{"key": f"{name}-{i}", "status": "ok", "text": "x" * 20_000}])

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(SampleFile(file.path).known) == 400


def test_a_key_is_its_content():
    assert key_of("a", {"x": 1, "y": 2}) == key_of("a", {"y": 2, "x": 1})
    assert len({key_of("a", "b"), key_of("ab"), key_of(["a", "b"]), key_of("b", "a")}) == 4
