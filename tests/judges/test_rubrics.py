"""Rubric packs and rubric files of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from domains.errors import UserError
from judges.rubrics import load_rubric, load_rubrics, rubric_names

PROMETHEUS = {"criteria": "Is it brave?"} | {f"score{n}_description": f"Level {n}." for n in range(1, 6)}


def test_the_packs_are_there():
    packs = {"helpfulness", "correctness", "empathy", "politeness", "simplicity", "summarization", "overall"}
    assert packs <= set(rubric_names())


@pytest.mark.parametrize("name", rubric_names())
def test_every_pack_describes_five_different_scores(name: str):
    rubric = load_rubric(name)
    assert rubric.name == name
    assert len(set(rubric.scale)) == 5
    lines = rubric.text.splitlines()
    assert lines[0].startswith(f"Criterion: {name.capitalize()}")
    assert [line[:2] for line in lines[2:]] == ["5:", "4:", "3:", "2:", "1:"]


@pytest.mark.parametrize("ending", ["json", "toml"])
def test_a_prometheus_rubric_is_read_by_its_path(tmp_path: Path, ending: str):
    path = tmp_path / f"courage.{ending}"
    toml = "".join(f"{key} = {json.dumps(value)}\n" for key, value in PROMETHEUS.items())
    path.write_text(json.dumps(PROMETHEUS) if ending == "json" else toml)
    rubric = load_rubric(str(path))
    assert (rubric.name, rubric.criterion, rubric.scale[4]) == ("courage", "Is it brave?", "Level 5.")


def test_several_rubrics_and_a_text_of_one_s_own(tmp_path: Path):
    path = tmp_path / "courage.json"
    path.write_text(json.dumps(PROMETHEUS))
    assert [r.name for r in load_rubrics(f"empathy, {path} ,empathy")] == ["empathy", "courage"]
    (own,) = load_rubrics("Is it short, clear and kind?")
    assert own.criterion == "Is it short, clear and kind?"
    assert "5: excellent" in own.text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("empaty", "Did you mean 'empathy'"),
        ("empathy,corectness", "Did you mean 'correctness'"),
        ("nowhere.json", "nowhere.json"),
        ("my rubric.json", "my rubric.json"),
        ("", "Available"),
    ],
)
def test_a_rubric_that_is_not_there_is_a_user_error(given: str, words: str):
    with pytest.raises(UserError, match=words):
        load_rubrics(given)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "holds no object"),
        ("[" * 99999, "cannot be read"),
        ("{}", "'criteria'"),
        (json.dumps(PROMETHEUS | {"score3_description": ""}), "score3_description"),
        (json.dumps(PROMETHEUS | {"score5_description": 5}), "score5_description"),
        ("\udcff", "cannot be read"),
    ],
)
def test_a_rubric_file_that_cannot_be_used_is_a_user_error(tmp_path: Path, content: str, words: str):
    path = tmp_path / "bad.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=words):
        load_rubric(str(path))
