"""The bench of objectives on a file of preference rows and a recipe's model: start, rewards, rows, a stopped run."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from domains.errors import UserError
from domains.readers import parse_preference
from experts.benches._setting import SPLITS, TAGS, Setting, of_recipe, rows_of, with_template
from experts.benches.objectives import OBJECTIVES, run
from experts.checkpoint import Checkpoint, load_tokenizer
from experts.device import DTYPE
from experts.preferences import load_objective
from experts.recipe import Align, load_recipe
from tests.fakes import byte_tokenizer, domain_rows, tiny_model, write_jsonl, write_model

KEYS = {
    "objective", "seed", "pair_accuracy_reward", "pair_accuracy_logp", "auc_pooled", "auc_within", "margin",
    "margin_std", "n",
}  # fmt: skip
MEASURES = {"pair_accuracy_reward", "pair_accuracy_logp"}


@pytest.fixture
def data(tmp_path):
    return write_jsonl(tmp_path / "pairs.jsonl", domain_rows("toy")["preferences.jsonl"])


@pytest.fixture
def bare(tmp_path):
    """A base model whose tokenizer has no chat template."""
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = None
    return write_model(tmp_path / "bare", tiny_model(), tokenizer)


@pytest.fixture
def recipe(tmp_path, bare):
    path = tmp_path / "paper.toml"
    parts = ["[foundation]", f'base = "{bare}"', f'instruct = "{bare}"', "[sft]", "rank = 2", "epochs = 1"]
    parts += ["[reward_model]", "rank = 2", "epochs = 1", "[align]", 'rewards = "reward_model"', "rank = 2"]
    path.write_text("\n".join([*parts, "max_examples = 0"]))
    return str(path)


@pytest.mark.slow
def test_every_objective_has_its_row_and_a_second_run_trains_nothing(data, recipe, tmp_path, capsys):
    first = run(True, tmp_path / "home", data, recipe)
    assert [row["objective"] for row in first["rows"]] == list(OBJECTIVES)
    assert all(row.keys() >= KEYS and row["n"] == 3 for row in first["rows"])
    tests = {(row["objective"], row["measure"]) for row in first["against_dpo"]}
    assert tests == {(name, measure) for name in OBJECTIVES.keys() - {"dpo"} for measure in MEASURES}
    assert capsys.readouterr().err.count("learning rate") == len(OBJECTIVES)
    assert run(True, tmp_path / "home", data, recipe) == first
    assert "learning rate" not in capsys.readouterr().err


def test_the_reward_model_gives_the_rewards_and_the_rates_are_the_papers(data, recipe, tmp_path):
    """2e-4 is the default rate of an alignment; the lower one is a fourth of it."""
    setting = of_recipe(load_recipe(recipe), data, tmp_path / "home")
    assert setting.rates == pytest.approx((5e-5, 2e-4))
    for rows in setting.rows.values():
        assert all(len(row.scores) == len(row.candidates) for row in rows)
    assert load_tokenizer(setting.start.base).chat_template == TAGS


def trained_folders(home):
    return {kind: sorted(path.name for path in home.glob(f"{kind}-*")) for kind in ("sft", "reward")}


def test_another_reward_model_or_seed_is_trained_anew_and_the_same_is_not(data, recipe, tmp_path):
    """Another setting of the reward model changes that model alone; another seed, the start too."""
    of_recipe(load_recipe(recipe), data, tmp_path)
    first = trained_folders(tmp_path)
    of_recipe(load_recipe(recipe), data, tmp_path)
    assert trained_folders(tmp_path) == first
    for override, added in (("reward_model.learning_rate=0.001", (0, 1)), ("seed=7", (1, 1))):
        before = trained_folders(tmp_path)
        of_recipe(load_recipe(recipe, [override]), data, tmp_path)
        after = trained_folders(tmp_path)
        assert tuple(len(after[kind]) - len(before[kind]) for kind in ("sft", "reward")) == added


def test_results_of_other_settings_or_another_number_format_are_not_used_again(base, monkeypatch):
    found = map(parse_preference, domain_rows("toy")["preferences.jsonl"])
    rows = {split: [next(found)] for split in SPLITS}
    setting = Setting("x", rows, Checkpoint(base), Align(), (1e-4,))
    monkeypatch.setenv(DTYPE, "float32")
    digests = [setting.digest, replace(setting, align=Align(batch_rows=3)).digest]
    digests.append(replace(setting, rows=rows | {"test": rows["dev"]}).digest)
    assert replace(setting, name="y").digest == digests[0]
    monkeypatch.setenv(DTYPE, "bfloat16")
    digests.append(replace(setting).digest)
    assert len(set(digests)) == 4


def test_the_published_form_of_ddo_rm_is_measured_beside_ours():
    ours, published = (load_objective(*OBJECTIVES[name]) for name in ("ddo_rm", "ddo_rm_published"))
    assert (ours.detach_target, published.detach_target) == (True, False)
    assert replace(published, detach_target=True) == ours


def test_a_model_with_a_template_stays_as_it_is(base, tmp_path):
    assert with_template(base, tmp_path) == base


def test_data_and_recipe_come_together(data, recipe, tmp_path):
    for given in ((data, None), (None, recipe)):
        with pytest.raises(UserError, match="together, or neither"):
            run(True, tmp_path, *given)


def test_bad_rows_are_named_and_too_few_refused(tmp_path):
    with pytest.raises(UserError, match="line 1: .*validate"):
        rows_of(write_jsonl(tmp_path / "a.jsonl", [{"id": "a"}]))
    one = domain_rows("toy")["preferences.jsonl"][:1]
    with pytest.raises(UserError, match="Give more rows"):
        rows_of(write_jsonl(tmp_path / "b.jsonl", one))
    assert json.loads((tmp_path / "b.jsonl").read_text())["id"] == one[0]["id"]
