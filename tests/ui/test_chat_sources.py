"""Red flags, documents and notices of the chat page."""

from __future__ import annotations

import logging

import pytest

from domains.domain import Domain
from domains.example import Message, SafetyRule
from domains.plugins import plugin_names
from experts.build import SOURCE
from tests.fakes import write_domain
from ui.chat_sources import GROUNDING, MAX_ALERTS, SCORERS, Sources, documents_for, known_domains


def rule(name: str, pattern: str, kind: str = "red_flag") -> SafetyRule:
    return SafetyRule(name, kind, pattern, "Call 911.", ("911",))


def said(*texts: str) -> list[Message]:
    return [Message(("user", "assistant")[i % 2], text) for i, text in enumerate(texts)]


def test_only_red_flags_that_match_what_the_person_said() -> None:
    rules = (rule("a", "smoke"), rule("b", ""), rule("c", "smoke", "advice"), rule("d", "gas"))
    assert [each.id for each in Sources(rules=rules).red_flags(said("SMOKE!"))] == ["a"]
    assert Sources(rules=rules).red_flags(said("Hi", "Is there smoke?", "No.")) == []


@pytest.mark.parametrize("answer", ["Call 911 right away.", "If he falls again, call or text 988.", "Dial 911 now"])
def test_an_answer_that_sends_to_help_carries_an_alert(answer: str) -> None:
    """Also where nothing in the question did; where a rule saw it, that rule's words are enough."""
    (found,) = Sources().red_flags(said("He looks funny.", answer))
    assert "call 911 at once" in found.explanation
    assert [each.id for each in Sources(rules=(rule("a", "smoke"),)).red_flags(said("Smoke!", answer))] == ["a"]
    assert Sources().red_flags(said("Hello", "There are 911 pages.")) == []


def test_the_newest_words_come_first_and_alerts_are_few() -> None:
    rules = tuple(rule(name, name) for name in ("ant", "bee", "cow", "dog"))
    found = Sources(rules=rules).red_flags(said("ant bee cow", "What?", "A dog and a bee."))
    assert [each.id for each in found] == ["bee", "dog", "ant"]
    assert len(found) == MAX_ALERTS


@pytest.mark.parametrize(
    ("question", "number"),
    [
        ("Dad has crushing chest pain since an hour", "911"),
        ("I want to kill myself", "988"),
        ("She drank the drain cleaner, what now?", "800-222-1222"),
        ("Our house has a foreclosure sale date next Tuesday", "800-569-4287"),
    ],
)
def test_the_shipped_rules_find_urgent_questions_whoever_is_asked(tmp_path, question: str, number: str) -> None:
    found = Sources.of_home(tmp_path).red_flags(said(question))
    assert any(number in each.explanation for each in found), found


@pytest.mark.parametrize("question", ["What is escrow?", "How do I plan her meals?", "Hello", ""])
def test_the_shipped_rules_leave_plain_questions_alone(tmp_path, question: str) -> None:
    assert Sources.of_home(tmp_path).red_flags(said(question)) == []


@pytest.fixture
def home(tmp_path):
    """A home in which the small domain was built, and one whose data are gone."""
    folder = write_domain(tmp_path / "toy")
    for name, where in (("toy", folder), ("lost", tmp_path / "nowhere")):
        (tmp_path / "home" / name).mkdir(parents=True)
        (tmp_path / "home" / name / SOURCE).write_text(f'{{"domain": "{where}"}}')
    return tmp_path / "home"


def test_domains_of_a_home_are_known_and_a_lost_one_does_no_harm(home, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        sources = Sources.of_home(home)
    assert "lost" in caplog.text
    assert "rule1" in {each.id for each in sources.rules}
    assert set(sources.notices) == {"caregiving", "mortgage"}
    assert sources.votes.folder == home / "votes"
    assert (sources.passages is not None) == (GROUNDING in plugin_names(SCORERS))


def test_documents_are_those_of_the_experts_domain_or_of_all(home) -> None:
    domains = known_domains(home)
    assert documents_for("toy/conversation", domains) == domains["toy"].documents
    assert documents_for("unknown/x", domains) == ()
    everything = documents_for("general", domains)
    assert {*domains["toy"].documents, *Domain.load("mortgage").documents} <= {*everything}
