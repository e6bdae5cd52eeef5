"""The cache of judgements: whole lines only, several writers, a cut line passed over."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from judges.verdict_cache import FILE, VerdictCache, key_of


def test_what_was_put_is_there_after_reopening(tmp_path: Path):
    cache = VerdictCache.open(tmp_path / "new")
    cache.put("k", {"value": 4.0, "explanation": "\u00fcn\u00ef \u2028", "parts": {}})
    assert VerdictCache.open(tmp_path / "new").get("k") == {
        "value": 4.0,
        "explanation": "\u00fcn\u00ef \u2028",
        "parts": {},
    }
    assert cache.get("other") is None


def test_the_first_record_of_a_key_stays_and_is_written_once(tmp_path: Path):
    cache = VerdictCache.open(tmp_path)
    cache.put("k", {"value": 1.0})
    cache.put("k", {"value": 2.0})
    assert cache.get("k") == {"value": 1.0}
    assert (tmp_path / FILE).read_text().count("\n") == 1


def test_a_line_that_a_kill_cut_is_passed_over_and_the_next_is_whole(tmp_path: Path):
    cache = VerdictCache.open(tmp_path)
    cache.put("a", {"value": 1.0})
    with (tmp_path / FILE).open("a") as file:
        file.write('{"key": "b", "val')
    VerdictCache.open(tmp_path).put("c", {"value": 3.0})
    again = VerdictCache.open(tmp_path)
    assert (again.get("a"), again.get("b"), again.get("c")) == ({"value": 1.0}, None, {"value": 3.0})


def test_foreign_lines_do_no_harm(tmp_path: Path):
    (tmp_path / FILE).write_bytes(b'[1]\n{"no": "key"}\n{"key": 3}\n\xff\xfe\n{"key": "k", "value": 2.0}\n\n')
    assert VerdictCache.open(tmp_path).records == {"k": {"value": 2.0}}


def test_many_writers_leave_whole_lines(tmp_path: Path):
    caches = [VerdictCache.open(tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: caches[n % 4].put(f"k{n}", {"value": n, "explanation": "x" * 500}), range(200)))
    lines = (tmp_path / FILE).read_text().splitlines()
    assert len(lines) == 200
    assert {json.loads(line)["key"] for line in lines} == {f"k{n}" for n in range(200)}


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cache = VerdictCache.open("")
    cache.put("k", {"value": 1.0})
    assert cache.get("k") == {"value": 1.0}
    assert list(tmp_path.iterdir()) == []


def test_keys_follow_the_content_not_the_order_of_names():
    assert key_of({"a": 1, "b": [2]}) == key_of({"b": [2], "a": 1})
    assert key_of({"a": 1}) != key_of({"a": 2})
    assert key_of("\ud800") != key_of("\ufffd")
