"""What the chat page says and does, without a browser."""

from __future__ import annotations

import logging

import pytest

from domains.errors import UserError
from domains.example import Message
from router.assistant import AUTO
from router.route import Route
from tests.fakes_assistant import EXPERTS, OTHER_WORDS, ScriptedAssistant, scripted_route
from ui.chat import (
    MAX_QUESTION_CHARACTERS,
    Conversation,
    Page,
    Parts,
    bars_html,
    bubbles,
    ending_words,
    expert_choice,
    expert_title,
    failure_words,
    launch,
    panel_html,
    question_problem,
    status_html,
    why,
)
from ui.schema import MAX_CHARACTERS, MAX_MESSAGES

SPOKEN = " ".join(["caregiving/conversation says:", *OTHER_WORDS])


def page_of(assistant: ScriptedAssistant) -> Page:
    """The page's behaviour with names for components."""
    return Page(assistant, {"caregiving": "Call 911."}, Parts(*Parts.__annotations__))


def last_values(updates) -> dict[str, object]:
    """What every component shows after all updates."""
    shown: dict[str, object] = {}
    for update in updates:
        shown |= update
    return shown


def test_an_answer_grows_and_joins_the_conversation() -> None:
    """The fake sends 12 words and an empty last piece: 13 versions of the log after the bare question."""
    page = page_of(ScriptedAssistant())
    updates = list(page.answer("  My mother? ", AUTO, Conversation()))
    logs = [update["chat"][-1]["content"] for update in updates if "chat" in update]
    assert logs[0] == "My mother?"
    assert logs[1] == "caregiving/conversation says:"
    assert len(logs) == 14
    assert all(later.startswith(earlier) for earlier, later in zip(logs[1:], logs[2:], strict=False))
    said = last_values(updates)["conversation"]
    assert said == Conversation((Message("user", "My mother?"), Message("assistant", SPOKEN)))


def test_the_expert_is_shown_before_the_first_word() -> None:
    updates = list(page_of(ScriptedAssistant()).answer("My mother?", AUTO, Conversation()))
    panel = next(number for number, update in enumerate(updates) if "panel" in update)
    answer = next(number for number, update in enumerate(updates) if "chat" in update and len(update["chat"]) == 2)
    assert panel < answer


@pytest.mark.parametrize("failing", ["failures", "refusals"])
def test_a_failure_gives_the_question_back_and_forgets_it(failing: str, caplog: pytest.LogCaptureFixture) -> None:
    before = Conversation((Message("user", "Hi"), Message("assistant", "Hello")))
    page = page_of(ScriptedAssistant(**{failing: {"My mother?": UserError("Too long. Shorten it.")}}))
    shown = last_values(page.answer("My mother?", AUTO, before))
    assert shown["box"] == "My mother?"
    assert shown["conversation"] == before
    assert shown["chat"] == bubbles(before.turns)
    assert shown["status"] == '<p role="alert" class="alert">Too long. Shorten it.</p>'
    assert not page.assistant.speaking.locked()


def test_stop_before_the_first_word_gives_the_question_back() -> None:
    page = page_of(ScriptedAssistant())
    said = (Message("user", "Hi"), Message("assistant", "Hello"))
    shown = page.stopped(Conversation(said, "My mother?"))
    assert (shown["box"], shown["conversation"]) == ("My mother?", Conversation(said))
    assert {"box", "conversation", "chat"}.isdisjoint(page.stopped(Conversation(said)))


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


def test_panel_escapes_and_forced_shows_no_confidence() -> None:
    panel = panel_html(Route("<b>/x", 0.5, {"<b>/x": 0.5, "general": 0.5}), forced=False, notice="<script>")
    assert "<b>/x" not in panel
    assert "<script>" not in panel
    assert "Confidence 50%" in panel
    forced = panel_html(Route("general", 1.0, {"general": 1.0}), forced=True, notice="")
    assert "Confidence" not in forced
    assert "<ol>" not in forced


def test_bars_are_sorted_by_probability() -> None:
    bars = bars_html(Route("b", 0.7, {"a": 0.1, "b": 0.7, "c": 0.2}))
    assert bars.index("width:70.0%") < bars.index("width:20.0%") < bars.index("width:10.0%")
    assert bars.count('class="picked"') == 1
    assert bars_html(Route("general", 1.0)) == ""


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


def test_bubbles_show_markup_as_text() -> None:
    shown = bubbles([Message("assistant", "<img src=x> ![a](b) **c**")])
    assert shown == [{"role": "assistant", "content": "&lt;img src=x&gt; !\\[a](b) **c**"}]


def test_status_is_empty_or_announced() -> None:
    assert status_html("") == ""
    assert status_html("a < b") == '<p role="status" class="status">a &lt; b</p>'


def test_a_bug_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert "secret" not in failure_words(RuntimeError("secret"))
    assert "secret" in caplog.text


def test_choices_are_choose_for_me_and_all_experts() -> None:
    choices = expert_choice(EXPERTS).choices
    assert [value for _, value in choices] == [AUTO, *EXPERTS]
    assert choices[0][0] == "Choose for me"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "example.org"])
def test_the_page_is_not_opened_to_other_machines(host: str) -> None:
    with pytest.raises(UserError, match="no login"):
        launch(ScriptedAssistant(), host)
