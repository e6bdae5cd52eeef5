"""The exported evaluation: task files as lm-evaluation-harness reads them, and rows that `score` takes."""

from __future__ import annotations

import json

import pytest
import yaml

from domains.domain import Domain
from domains.errors import UserError
from domains.example import Message, Preference
from domains.readers import parse_object
from judges.export import as_text, export_domain, preference_row
from judges.scoring import answered
from tests.fakes import write_domain

NEEDED = {
    "task",
    "dataset_path",
    "dataset_kwargs",
    "test_split",
    "doc_to_text",
    "doc_to_target",
    "output_type",
    "metric_list",
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    domain = Domain.load(write_domain(folder / "toy"))
    return domain, export_domain(domain, folder / "out"), folder / "out"


def rows(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_task_is_yaml_beside_its_data(exported):
    _, done, out = exported
    assert {"toy_classification", "toy_preferences", "toy_questions"} <= set(done.tasks)
    for name in done.tasks:
        settings = yaml.safe_load((out / f"{name}.yaml").read_text())
        assert settings.keys() >= NEEDED
        assert settings["task"] == name
        data = settings["dataset_kwargs"]["data_files"][settings["test_split"]]
        assert rows(out / f"{name}.jsonl") == rows(type(out)(data))
        assert len({row["id"] for row in rows(out / f"{name}.jsonl")}) == len(rows(out / f"{name}.jsonl"))


def test_a_file_in_the_way_is_the_user_s_to_fix(exported, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="--out"):
        export_domain(exported[0], tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_the_group_names_its_tasks_and_the_readme_the_command(exported):
    _, done, out = exported
    group = yaml.safe_load((out / "toy_all.yaml").read_text())
    assert group["task"] == list(done.tasks)
    assert "--tasks toy_all" in done.command
    assert done.command in (out / "README.md").read_text()


def test_targets_are_right(exported):
    """A label is the place of the row's completion; the chosen answer stands where the target says."""
    domain, _, out = exported
    settings = yaml.safe_load((out / "toy_classification.yaml").read_text())
    expected = {row.id: row.completion for row in domain.examples("classification", "test")}
    assert {r["id"]: settings["doc_to_choice"][r["target"]] for r in rows(out / "toy_classification.jsonl")} == expected
    chosen = {row.id: row.chosen for row in domain.preferences("test")}
    assert {r["id"]: r["choices"][r["target"]] for r in rows(out / "toy_preferences.jsonl")} == chosen


def test_only_test_rows_leave(exported):
    domain, _, out = exported
    train = {row.id for row in domain.examples("classification", "train")} | {r.id for r in domain.preferences("train")}
    assert train
    assert not train & {row["id"] for row in rows(out / "evaluation.jsonl")}


def test_score_takes_the_rows_once_they_have_answers(exported):
    for row in rows(exported[2] / "evaluation.jsonl"):
        assert answered(parse_object(json.dumps(row | {"answer": "Yes."}))).question


def test_the_place_of_the_chosen_answer_tells_nothing():
    places = [preference_row(Preference(f"p{i}", (), "good", ("bad", "worse")))["target"] for i in range(60)]
    assert min(places.count(place) for place in range(3)) > 10


def test_prompts_become_one_turn():
    user, system, reply = Message("user", "Hi."), Message("system", "Be kind."), Message("assistant", "Hello.")
    assert as_text((user,)) == "Hi."
    assert as_text((system, user)) == "Be kind.\n\nHi."
    assert as_text((user, reply, user)) == "User: Hi.\n\nAssistant: Hello.\n\nUser: Hi."
