"""The contract of verifiers: critiques that are in range, and loading by name."""

import pytest

from domains.domain import Domain
from domains.errors import UserError
from domains.example import Message
from domains.plugins import plugin_names
from judges.verifier import Critique, Task, load_verifier

NAMES = plugin_names("judges.verifiers")


def test_the_registry():
    wanted = {"arithmetic", "grounding", "json_schema", "llm_judge", "panel", "reading_level", "safety"}
    assert wanted <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("domain", [None, "caregiving"])
def test_every_verifier_loads_under_its_own_name(name, domain):
    assert load_verifier(name, Domain.load(domain) if domain else None).name == name


@pytest.mark.parametrize("scores", [(1.1,), (0.5, -0.1), (float("nan"),)])
def test_scores_outside_of_the_range_are_a_bug(scores):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        Critique(scores, "")


def test_a_wrong_name_gets_a_suggestion():
    with pytest.raises(UserError, match="arithmetic"):
        load_verifier("arithmetik", None)


def test_names_with_plus_are_a_panel():
    panel = load_verifier("safety+reading_level", Domain.load("caregiving"))
    names = [c.id for c in panel.conditions(Task("a", (Message("user", "He has chest pain. Should I wait?"),)))]
    assert "safety/caregiving-safety-001" in names
    assert [name for name in names if not name.startswith("safety/")] == names[-4:]
    assert names[-4].startswith("reading_level/")
    with pytest.raises(UserError, match="different names"):
        load_verifier("safety+safety", None)
