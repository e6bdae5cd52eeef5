"""An expert's folder: card, tokenizer, model card; found by name, wrong names answered."""

import json
import shutil

import pytest

from experts.checkpoint import CONFIG, load_tokenizer
from experts.digests import weights_digest
from experts.encoding import template_digest
from experts.expert import CARD, built_experts, read_expert

TRAINED = {"general", "toy/conversation", "toy/structured", "toy/multi_task", "toy/sft_after_dapt"}
NAMES = TRAINED | {"toy/residual"}


def test_all_experts_of_a_build_are_found(built):
    assert set(built_experts(built.home)) == NAMES


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_a_card_says_where_the_expert_came_from(built, name):
    expert = built_experts(built.home)[name]
    assert expert.name == name
    assert expert.base_digest == weights_digest(built.base.base)
    assert expert.template == template_digest(load_tokenizer(expert.folder))
    assert expert.seed == 0
    assert set(expert.parents) == {"start", "base"} | ({"instruct", "dapt"} if name != "general" else set())
    assert len(expert.data["rows"]) == 64
    assert {"torch", "transformers", "peft", "trl", "python"} <= set(expert.versions)
    assert expert.metrics["steps"] > 0
    assert expert.checkpoint(built.base.base).adapter == expert.folder


def test_the_folder_is_safe_and_complete(built):
    folder = built_experts(built.home)["toy/conversation"].folder
    names = {path.name for path in folder.iterdir()}
    assert {CARD, CONFIG, "README.md", "adapter_model.safetensors", "tokenizer.json", "stage.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
    assert "track" not in names


def test_the_model_card_has_the_facts_of_the_json(built):
    expert = built_experts(built.home)["toy/structured"]
    card = (expert.folder / "README.md").read_text()
    digests = (expert.parents["start"], expert.data["rows"], expert.recipe_digest)
    for fact in (expert.name, expert.about, *(digest[:16] for digest in digests)):
        assert fact in card
    assert str(expert.metrics["loss"]) in card


def test_a_folder_that_is_not_finished_is_no_expert(built, tmp_path):
    """A kill before the rename leaves a complete card in a folder that starts with a dot."""
    shutil.copytree(built.folder / "structured", tmp_path / "toy" / ".structured-0123456789ab")
    assert built_experts(tmp_path) == {}


def test_the_card_of_the_residual_names_all_three_parents(built):
    assert set(built_experts(built.home)["toy/residual"].parents) == {"start", "base", "instruct", "dapt"}


def test_a_card_with_keys_of_a_later_version_is_read(built, tmp_path):
    values = json.loads((built_experts(built.home)["general"].folder / CARD).read_text())
    (tmp_path / CARD).write_text(json.dumps(values | {"new_key": 1}))
    assert read_expert(tmp_path).name == "general"
