"""The exported evaluation: task files as lm-evaluation-harness reads them, and rows that `score` takes."""

from __future__ import annotations

import json

import pytest
import yaml

from domains.domain import Domain
from domains.errors import UserError
from domains.example import Message, Preference
from domains.readers import parse_object
from domains.splits import split_of
from judges.export import as_text, export_domain, preference_row
from judges.scoring import answered
from tests.fakes import reply, turns, write_domain

LITERAL = '["inside", "outside"]'
# What lm-eval 0.4.13 knows: fields of its TaskConfig that are used here, and names in its registries.
FIELDS = {
    *("task", "dataset_path", "dataset_kwargs", "test_split", "doc_to_text", "doc_to_target", "doc_to_choice"),
    *("output_type", "generation_kwargs", "metric_list", "num_fewshot", "metadata"),
}
OPTIONAL = {"doc_to_choice", "generation_kwargs"}
AGGREGATIONS = {"acc": "mean", "acc_norm": "mean", "chrf": "chrf", "bleu": "bleu"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The small domain, with a summary that reads like a Python list."""
    folder = tmp_path_factory.mktemp("exported")
    made = write_domain(folder / "toy")
    name = next(f"l{i}" for i in range(99) if split_of(f"l{i}") == "test")
    row = {"id": name, "prompt": turns("Sum up: a, b."), "completion": reply(LITERAL)}
    with (made / "summarization.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    domain = Domain.load(made)
    return domain, export_domain(domain, folder / "out"), folder / "out"


def rows(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_task_is_yaml_beside_its_data(exported):
    _, done, out = exported
    assert set(done.tasks) == {
        f"toy_{task}" for task in ("classification", "preferences", "questions", "summarization")
    }
    for name in done.tasks:
        settings = yaml.safe_load((out / f"{name}.yaml").read_text())
        assert FIELDS - OPTIONAL <= settings.keys() <= FIELDS
        assert (settings["task"], settings["dataset_path"]) == (name, "json")
        data = settings["dataset_kwargs"]["data_files"][settings["test_split"]]
        assert rows(out / f"{name}.jsonl") == rows(type(out)(data))
        assert len({row["id"] for row in rows(out / f"{name}.jsonl")}) == len(rows(out / f"{name}.jsonl"))


def test_the_harness_finds_what_it_asks_each_row_for(exported):
    """As its loader does: prompt and target by column, the target the place of a choice or a text; known metrics."""
    _, done, out = exported
    for name in done.tasks:
        settings, found = yaml.safe_load((out / f"{name}.yaml").read_text()), rows(out / f"{name}.jsonl")
        assert {key for row in found for key in row} == found[0].keys()
        assert {
            entry["metric"]: entry["aggregation"] for entry in settings["metric_list"]
        }.items() <= AGGREGATIONS.items()
        for row in found:
            assert row[settings["doc_to_text"]].strip()
            target, named = row[settings["doc_to_target"]], settings.get("doc_to_choice")
            if settings["output_type"] == "multiple_choice":
                choices = row[named] if isinstance(named, str) else named
                assert 0 <= target < len(choices)
                assert all(choice.strip() for choice in choices)
            else:
                assert (settings["output_type"], named, type(target)) == ("generate_until", None, str)
                assert settings["generation_kwargs"]["max_gen_toks"] > 0


@pytest.mark.filterwarnings("ignore")
def test_the_harness_loads_it(exported, tmp_path, monkeypatch):
    """Every task of the group, with the texts and targets of its rows; a list in a text stays a text."""
    tasks = pytest.importorskip("lm_eval.tasks")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    _, done, out = exported
    found = tasks.TaskManager(include_path=str(out), include_defaults=False).load(["toy_all"])["tasks"]
    assert set(found) == set(done.tasks)
    for name, task in found.items():
        expected = [(row["text"], row["target"]) for row in rows(out / f"{name}.jsonl")]
        assert [(task.doc_to_text(doc), task.doc_to_target(doc)) for doc in task.test_docs()] == expected
    assert LITERAL in [found["toy_summarization"].doc_to_target(d) for d in found["toy_summarization"].test_docs()]
    assert not any(task.multiple_target for task in found.values())


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
