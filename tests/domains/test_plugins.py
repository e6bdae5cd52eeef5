"""The folder listing is the registry, and a wrong name never reaches an import."""

import sys

import pytest

from domains.errors import UserError, unknown_name
from domains.plugins import load_plugin, plugin_names

PACKAGES = {
    "experts.objectives": "Objective",
    "judges.scorers": "Judge",
    "router.strategies": "Strategy",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with two plug-ins, a hidden file, and one that must not be imported."""
    folder = tmp_path / "plugged"
    folder.mkdir()
    for name in ("__init__", "good", "_hidden"):
        (folder / f"{name}.py").write_text("VALUE = 7\n")
    (folder / "broken.py").write_text("raise RuntimeError\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "plugged"
    for name in [n for n in sys.modules if n.partition(".")[0] == "plugged"]:
        del sys.modules[name]


def test_listing_imports_nothing_and_hides_underscores(package):
    assert plugin_names(package) == ("broken", "good")
    assert "plugged.broken" not in sys.modules


def test_a_new_file_is_a_new_plugin(package):
    assert load_plugin(package, "good", "thing").VALUE == 7


@pytest.mark.parametrize("name", ["goood", "_hidden", "good.x", "../good", "os", ""])
def test_a_wrong_name_is_refused_before_any_import(package, name):
    with pytest.raises(UserError, match=f"There is no thing '{name}'"):
        load_plugin(package, name, "thing")


def test_the_nearest_name_is_offered():
    assert "Did you mean 'bertscore'?" in str(unknown_name("judge", "bert_score", ["bertscore", "exact"]))
    assert str(unknown_name("judge", "zzz", ["b", "a"])) == "There is no judge 'zzz'. Available: a, b."
    assert str(unknown_name("judge", "x", [])).endswith("Available: none.")


@pytest.mark.parametrize(("package_name", "attribute"), PACKAGES.items())
def test_every_shipped_plugin_loads(package_name, attribute):
    names = plugin_names(package_name)
    assert names
    for name in names:
        assert hasattr(load_plugin(package_name, name, "plug-in"), attribute)
