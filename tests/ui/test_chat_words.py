"""What the chat page says."""

from __future__ import annotations

import logging

import pytest

from domains.example import Message
from router.assistant import AUTO
from router.route import Route
from tests.fakes_assistant import scripted_route
from ui.chat_words import (
    MAX_QUESTION_CHARACTERS,
    SLOW_SECONDS,
    consent_words,
    ending_words,
    expert_title,
    failure_words,
    question_problem,
    starting_words,
    voted_words,
    waiting_words,
    why,
)
from ui.schema import MAX_CHARACTERS, MAX_MESSAGES


def test_question_problem() -> None:
    """Each bound: the largest allowed, then one more."""
    fits = Message("user", "a" * MAX_QUESTION_CHARACTERS)
    rest = Message("user", "a" * (MAX_CHARACTERS - MAX_QUESTION_CHARACTERS))
    assert question_problem([rest, fits]) == ""
    assert "Press Clear" in question_problem([rest, Message("assistant", "a"), fits])
    assert question_problem([Message("user", "a")] * MAX_MESSAGES) == ""
    assert "Press Clear" in question_problem([Message("user", "a")] * (MAX_MESSAGES + 1))
    assert "too long" in question_problem([Message("user", "a" * (MAX_QUESTION_CHARACTERS + 1))])
    assert question_problem([Message("user", "")]) == "Type a question first."


def test_why_has_a_sentence_for_each_way_to_an_expert() -> None:
    routed, unsure, other = (scripted_route(text) for text in ("My mother?", "Hello", "The capital of France?"))
    assert "You chose" in why(routed, forced=True)
    assert "best match" in why(routed, forced=False)
    assert "Mortgage · structured, reached only 36%" in why(unsure, forced=False)
    assert "no special field" in why(other, forced=False)
    assert why(Route("general", 0.0, {}, True), forced=False)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("mortgage/structured", "Mortgage · structured"),
        ("general", "General model"),
        ("elder_care/x", "Elder care · x"),
    ],
)
def test_expert_title(name: str, title: str) -> None:
    assert expert_title(name) == title


def test_ending_words() -> None:
    route = Route("general", 1.0)
    assert ending_words(route, "Yes.", "stop") == "Answered by General model."
    assert "length limit" in ending_words(route, "Yes.", "length")
    assert "no answer" in ending_words(route, " ", "stop")


def test_a_bug_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert "secret" not in failure_words(RuntimeError("secret"))
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


class Busy(Exception):
    """As the scheduler raises it."""


def test_a_refusal_of_the_assistant_is_no_bug(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert "ask again in a minute" in failure_words(Busy("12 wait"))
    assert caplog.text == ""


def test_waiting_says_how_many_came_before_and_else_only_that_it_is_slow() -> None:
    assert "1 question of others came" in waiting_words(1, 0)
    assert "7 questions of others came" in waiting_words(7, 99)
    assert waiting_words(0, SLOW_SECONDS) == ""
    assert "Still working" in waiting_words(0, SLOW_SECONDS + 1)


def test_consent_says_what_where_and_what_for() -> None:
    words = consent_words("home/votes")
    assert all(
        part in words for part in ("your question", "the answers", "home/votes", "train", "Without a vote nothing")
    )


def test_starting_and_voting_words() -> None:
    assert "Finding" in starting_words(AUTO)
    assert "Finding" not in starting_words("general")
    assert "pair" in voted_words(1)
    assert "pair" not in voted_words(0)
