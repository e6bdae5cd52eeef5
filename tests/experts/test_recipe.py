"""Recipes: every shipped one parses, and bad input is answered in one sentence."""

import shutil
import tomllib

import pytest

from domains.domain import SHIPPED as DOMAINS
from domains.domain import Domain
from domains.errors import UserError
from experts.preferences import load_objective
from experts.recipe import SHIPPED, Align, Recipe, load_recipe, recipe_names
from experts.tracks import budgeted, capped


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_parses_and_means_what_it_says(name):
    recipe = load_recipe(name)
    values = recipe.model_dump(mode="json")
    for section, settings in tomllib.loads((SHIPPED / f"{name}.toml").read_text()).items():
        for key, value in settings.items():
            assert values[section][key] == value
    load_objective(recipe.align.objective, recipe.align.settings)


def test_the_shipped_recipes_are_there():
    assert {"embedded", "tiny", "smollm2-135m", "qwen2.5-0.5b", "llama-3.1-8b"} <= set(recipe_names())


def test_the_embedded_recipe_is_the_default():
    assert load_recipe("embedded") == load_recipe(None) == Recipe()


def test_a_domain_of_ones_own_is_trained_on_whole(tmp_path):
    """The demo's domains have a budget of 32 preference rows; what a recipe says goes before both."""
    shutil.copytree(DOMAINS / "mortgage", tmp_path / "mine")
    ours, mine = Domain.load("mortgage"), Domain.load(tmp_path / "mine")
    default = Recipe()
    assert budgeted(default, ours) == default.model_copy(update={"align": Align(max_examples=32)})
    assert budgeted(default, mine).align == Align(max_examples=0)
    assert len(capped(range(500), budgeted(default, mine).align)) == 500
    for domain in (ours, mine):
        assert budgeted(load_recipe(None, ["align.max_examples=500"]), domain).align.max_examples == 500
    assert default.calls_align.max_examples == 0


def test_a_file_is_a_recipe(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[pretrain]\nepochs = 7\n")
    assert load_recipe(str(path)).pretrain.epochs == 7


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("pretrain.epochs=7", 7.0),
        (" pretrain.epochs = 7 ", 7.0),
        ("foundation.base=some/folder", "some/folder"),
        ("residual.sweep=[0.0, 2.0]", (0.0, 2.0)),
        ("residual.require_stop=false", False),
        ("align.settings.beta=0.3", {"beta": 0.3}),
        ("seed=4", 4),
    ],
)
def test_overrides(override, value):
    found = load_recipe(None, [override])
    for name in override.partition("=")[0].strip().split(".")[:2]:
        found = getattr(found, name)
    assert found == value


def test_the_last_override_wins():
    assert load_recipe("tiny", ["sft.rank=8", "sft.rank=9"]).sft.rank == 9


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pretrain.epoch=1", r"no recipe key in \[pretrain\] 'epoch'. Did you mean 'epochs'"),
        ("pretrian.epochs=1", r"no recipe key in \[top level\] 'pretrian'. Did you mean 'pretrain'"),
        ("pretrain.epochs=many", r"pretrain.epochs = 'many'"),
        ("align.by_example=true", r"align.by_example = True: Input should be False"),
        ("calls_align.by_example=true", r"calls_align.by_example = True: Input should be False"),
        ("reward_model.by_example=true", r"reward_model.by_example = True: Input should be False"),
        ("reward_model.compile=true", r"reward_model.compile = True: Input should be False"),
        ("pretrain.epochs=-1", r"pretrain.epochs = -1: Input should be greater than 0"),
        ("pretrain.epochs", r"section.key=value, got 'pretrain.epochs'"),
        ("=3", r"section.key=value, got '=3'"),
        ("seed.x.y=1", r"seed"),
        ("sft.method=full", r"sft.method = 'full'"),
        ("residual.dtype=int8", r"residual.dtype = 'int8'"),
    ],
)
def test_bad_overrides(override, message):
    with pytest.raises(UserError, match=message):
        load_recipe(None, [override])


def test_a_value_is_not_a_section():
    with pytest.raises(UserError, match="'rank' is a value, not a section"):
        load_recipe("tiny", ["sft.rank.x=1"])


def test_bad_names_and_files(tmp_path):
    with pytest.raises(UserError, match="Did you mean 'tiny'"):
        load_recipe("tinny")
    path = tmp_path / "broken.toml"
    path.write_text("[pretrain\n")
    with pytest.raises(UserError, match="broken.toml is not valid TOML"):
        load_recipe(str(path))
    path.write_text("[pretrain]\nepochz = 1\n")
    with pytest.raises(UserError, match="no recipe key"):
        load_recipe(str(path))


def test_a_recipe_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        load_recipe(None).seed = 3


def test_an_override_leaves_the_vetted_settings_of_its_section_alone():
    """Giving a section's default again changes nothing: the others are not reset to the class defaults."""
    for section in ("house", "pretrain", "sft", "sft_after_dapt", "align"):
        assert load_recipe(None, [f"{section}.rank=16"]) == load_recipe(None)
