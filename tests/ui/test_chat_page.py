"""What the chat page does, without a browser: components are names, updates are dicts."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import pytest

from domains.errors import UserError
from domains.example import Message, SafetyRule
from domains.tool_calls import Function, ToolCall, call_text, response_text
from domains.votes import Candidate, Votes
from router.assistant import AUTO
from tests.fakes_assistant import EXPERTS, OTHER_WORDS, ScriptedAssistant
from ui.answering import ALONE, other_expert
from ui.chat_page import LEFT, RIGHT, SAME, Page
from ui.chat_panels import bubbles
from ui.chat_parts import Parts
from ui.chat_sources import Sources
from ui.chat_state import Conversation, from_browser, to_browser
from ui.chat_tools import MAX_ROUNDS, ChatTools
from ui.streams import Line

SPOKEN = " ".join(["caregiving/conversation says:", *OTHER_WORDS])
FLAG = SafetyRule("fire", "red_flag", "smoke|fire", "A fire needs 911.", ("911",))
HELLO = (Message("user", "Hi"), Message("assistant", "Hello"))
TALK = Conversation(HELLO, expert="caregiving/conversation")
DUEL = Conversation(HELLO[:1], rivals=(Candidate("mortgage/conversation", "Left."), Candidate("general", "Right.")))


def page_of(assistant: ScriptedAssistant | None = None, **sources: object) -> Page:
    """The page's behaviour with names for components."""
    given = {"notices": {"caregiving": "Call 911."}, "rules": (FLAG,)} | sources
    return Page(assistant or ScriptedAssistant(), Sources(**given), Parts(*Parts.__annotations__), tick_seconds=0.02)


def last_values(updates) -> dict[str, object]:
    """What every component shows after all updates."""
    shown: dict[str, object] = {}
    for update in updates:
        shown |= update
    return shown


def shown_words(update: dict) -> str:
    return str(update.get("status", ""))


def visible(shown: dict, part: str) -> bool:
    return bool(shown[part]["visible"])


def test_an_answer_grows_and_joins_the_conversation() -> None:
    """The fake sends 12 words and an empty last piece: 13 versions of the log after the bare question, and the end."""
    updates = list(page_of().answer("  My mother? ", AUTO, ALONE, Conversation()))
    logs = [update["chat"][-1]["content"] for update in updates if "chat" in update]
    assert logs[0] == "My mother?"
    assert logs[1] == "caregiving/conversation says:"
    assert len(logs) == 15
    assert all(later.startswith(earlier) for earlier, later in zip(logs[1:], logs[2:], strict=False))
    said = last_values(updates)["conversation"]
    assert said.turns == (Message("user", "My mother?"), Message("assistant", SPOKEN))
    assert (said.expert, said.rated, said.rivals, said.open_question) == ("caregiving/conversation", False, (), "")


def test_the_expert_is_shown_before_the_first_word() -> None:
    updates = list(page_of().answer("My mother?", AUTO, ALONE, Conversation()))
    panel = next(number for number, update in enumerate(updates) if "panel" in update)
    answer = next(number for number, update in enumerate(updates) if "chat" in update and len(update["chat"]) == 2)
    assert panel < answer


@pytest.mark.parametrize("failing", ["failures", "refusals"])
@pytest.mark.parametrize("rival", [ALONE, "general"])
def test_a_failure_gives_the_question_back_and_forgets_it(failing: str, rival: str) -> None:
    page = page_of(ScriptedAssistant(**{failing: {"My mother?": UserError("Too long. Shorten it.")}}))
    shown = last_values(page.answer("My mother?", AUTO, rival, TALK))
    assert shown["box"] == "My mother?"
    assert shown["conversation"] == TALK == from_browser(shown["kept"], EXPERTS)
    assert shown["chat"] == bubbles(TALK.turns)
    assert shown["status"] == '<p role="alert" class="alert">Too long. Shorten it.</p>'
    assert page.assistant.speaking.acquire(timeout=5)
    assert page.line.tickets == []


def test_a_question_that_cannot_be_asked_changes_nothing_else() -> None:
    (update,) = page_of().answer(" ", AUTO, ALONE, TALK)
    assert list(update) == ["status"]
    assert page_of().assistant.asked == []


def test_what_is_urgent_is_said_before_the_answer_and_stays() -> None:
    page = page_of()
    first, *others = page.answer("There is smoke, mother!", AUTO, ALONE, Conversation())
    assert 'href="tel:911"' in first["alert"]
    assert len(first["chat"]) == 1
    talk = last_values([first, *others])["conversation"]
    assert 'href="tel:911"' in last_values(page.answer("And now?", AUTO, ALONE, talk))["alert"]
    assert page.cleared()["alert"] == ""
    assert last_values(page.answer("My mother?", AUTO, ALONE, Conversation()))["alert"] == ""


def test_what_is_urgent_stays_when_the_answer_fails_or_is_stopped() -> None:
    page = page_of(ScriptedAssistant(refusals={"Smoke": UserError("No.")}))
    assert "911" in last_values(page.answer("Smoke", AUTO, ALONE, Conversation()))["alert"]
    assert "911" in page.stopped(Conversation(open_question="Smoke"))["alert"]


def test_stop_before_the_first_word_gives_the_question_back() -> None:
    page = page_of()
    waiting = Conversation(HELLO, "My mother?", TALK.expert)
    shown = page.stopped(waiting)
    assert (shown["box"], shown["conversation"], shown["chat"]) == ("My mother?", TALK, bubbles(HELLO))
    written = page.stopped(TALK)
    assert "box" not in written
    assert written["conversation"] == TALK


def test_stop_while_two_answers_are_written_keeps_the_left_one_or_gives_the_question_back() -> None:
    page = page_of()
    half = Conversation(DUEL.turns, rivals=(Candidate("general", "Half"), Candidate("mortgage/structured", "")))
    assert page.stopped(half)["conversation"].turns == (HELLO[0], Message("assistant", "Half"))
    none = Conversation(DUEL.turns, rivals=(Candidate("general", ""), Candidate("mortgage/structured", "")))
    shown = page.stopped(none)
    assert (shown["box"], shown["conversation"]) == ("Hi", Conversation())


def test_leaving_in_the_middle_frees_the_assistant() -> None:
    page = page_of(ScriptedAssistant(delay_seconds=0.01, words=["word"] * 10_000))
    answering = page.answer("My mother?", AUTO, "general", Conversation())
    while "left" not in next(answering):
        pass
    answering.close()
    assert page.assistant.speaking.acquire(timeout=5)
    assert page.line.tickets == []


def test_two_experts_answer_the_same_question_side_by_side() -> None:
    page = page_of()
    updates = list(page.answer("My mother?", AUTO, "mortgage/conversation", TALK))
    shown = last_values(updates)
    assert shown["left"] == SPOKEN
    assert shown["right"] == SPOKEN.replace("caregiving", "mortgage")
    assert "Left" in shown["left_head"]
    assert "Mortgage · conversation" in shown["right_head"]
    assert visible(shown, "duel")
    assert visible(shown, "verdicts")
    assert not visible(shown, "thumbs")
    growing = [len(str(update["right"])) for update in updates if "right" in update and "verdicts" not in update]
    assert len(growing) > 10
    said = shown["conversation"]
    assert [each.expert for each in said.rivals] == ["caregiving/conversation", "mortgage/conversation"]
    assert said.turns[-1] == Message("user", "My mother?")
    assert {expert for _, expert, _ in page.assistant.asked} == {AUTO, "mortgage/conversation"}
    assert len({messages for messages, _, _ in page.assistant.asked}) == 1


def test_the_verdict_waits_until_both_answers_are_whole() -> None:
    updates = list(page_of().answer("My mother?", AUTO, "general", Conversation()))
    assert [update["verdicts"]["visible"] for update in updates if "verdicts" in update] == [False, True]
    assert "verdicts" in updates[-1]


def test_one_empty_answer_leaves_nothing_to_compare() -> None:
    page = page_of(ScriptedAssistant(words=[]))
    answering = page.answer("My mother?", AUTO, ALONE, Conversation())
    assert "Answered by" in shown_words(last_values(answering))


@pytest.mark.parametrize(
    ("route_expert", "rival", "expected"),
    [
        ("mortgage/conversation", "general", "general"),
        ("mortgage/conversation", "mortgage/conversation", "general"),
        ("general", "general", "mortgage/conversation"),
        ("general", ALONE, ALONE),
    ],
)
def test_an_expert_is_not_compared_with_itself(route_expert: str, rival: str, expected: str) -> None:
    from router.route import Route

    scores = {"general": 0.5, "caregiving/structured": 0.1, "mortgage/conversation": 0.4}
    assert other_expert(Route(route_expert, 0.5, scores), rival) == expected


def test_without_other_experts_there_is_nobody_to_compare_with() -> None:
    from router.route import Route

    assert other_expert(Route("general", 1.0), "general") == ALONE


def rows(folder: Path, name: str) -> list[dict]:
    path = folder / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize(
    ("verdict", "kept", "chosen"), [(LEFT, "Left.", "Left."), (RIGHT, "Right.", "Right."), (SAME, "Left.", None)]
)
def test_a_verdict_is_stored_and_the_conversation_goes_on_with_the_better_answer(
    tmp_path: Path, verdict: str, kept: str, chosen: str | None
) -> None:
    page = page_of(votes=Votes(tmp_path))
    shown = page.judged(verdict, DUEL)
    assert [row["chosen"][0]["content"] for row in rows(tmp_path, "mortgage")] == ([chosen] if chosen else [])
    assert len(rows(tmp_path, "mortgage.ties")) == (not chosen)
    assert "Your vote is stored" in shown["status"]
    assert shown["conversation"].turns == (HELLO[0], Message("assistant", kept))
    assert not visible(shown, "duel")
    assert not visible(shown, "thumbs")
    assert "stored already" in page.judged(verdict, DUEL)["status"]


def test_a_comparison_without_a_store_only_chooses() -> None:
    shown = page_of().judged(RIGHT, DUEL)
    assert shown["conversation"].expert == "general"
    assert "stored" not in shown["status"]


def test_two_equal_answers_store_nothing(tmp_path: Path) -> None:
    equal = Conversation(HELLO[:1], rivals=(Candidate("mortgage/x", "Same."), Candidate("general", "Same.")))
    shown = page_of(votes=Votes(tmp_path)).judged(LEFT, equal)
    assert "no vote to store" in shown["status"]
    assert rows(tmp_path, "mortgage") == []


def test_a_new_question_without_a_verdict_goes_on_with_the_left_answer() -> None:
    page = page_of()
    list(page.answer("My mother?", AUTO, ALONE, DUEL))
    assert [turn.content for turn in page.assistant.asked[0][0]] == ["Hi", "Left.", "My mother?"]


def test_a_thumb_is_stored_once(tmp_path: Path) -> None:
    page = page_of(votes=Votes(tmp_path))
    shown = page.rated(False, TALK)
    (row,) = rows(tmp_path, "caregiving.unpaired")
    assert (row["label"], row["expert"]) == (False, "caregiving/conversation")
    assert row["completion"] == [{"role": "assistant", "content": "Hello"}]
    assert row["prompt"] == [{"role": "user", "content": "Hi"}]
    assert not visible(shown, "thumbs")
    page.rated(True, shown["conversation"])
    page.rated(True, Conversation())
    assert len(rows(tmp_path, "caregiving.unpaired")) == 1
    other = Conversation((HELLO[0], Message("assistant", "Go away.")), expert="general")
    assert "makes a pair" not in page.rated(False, other)["status"]
    assert (
        "makes a pair"
        in page.rated(True, Conversation((HELLO[0], Message("assistant", "Yes?")), expert="general"))["status"]
    )


def test_thumbs_and_check_are_offered_only_where_they_work() -> None:
    votes = Votes(Path("nowhere"))
    for sources, expected in [
        ({}, (False, False)),
        ({"votes": votes}, (True, False)),
        ({"passages": len}, (False, True)),
    ]:
        shown = page_of(**sources).view(TALK)
        assert (visible(shown, "thumbs"), visible(shown, "check")) == expected
    assert not visible(page_of(votes=votes).view(Conversation()), "thumbs")


def test_a_vote_that_cannot_be_stored_keeps_its_buttons(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    page = page_of(votes=Votes(tmp_path / "file" / "votes"))
    with caplog.at_level(logging.CRITICAL):
        for shown in (page.judged(LEFT, DUEL), page.rated(True, TALK)):
            assert list(shown) == ["status"]
            assert "could not be stored" in shown["status"]


@dataclass(frozen=True)
class Found:
    claim: str
    verdict: str = "supported"
    passage: str = "Indeed."
    document_id: str = "things#1"


def test_passages_are_looked_up_for_the_last_answer() -> None:
    asked = []

    def passages(expert: str, question: str, answer: str) -> list[Found]:
        asked.append((expert, question, answer))
        return [Found(answer)]

    first, last = page_of(passages=passages).checked(TALK)
    assert "Looking" in first["status"]
    assert not first["check"]["interactive"]
    assert "1 of 1 statements are supported" in last["passages"]
    assert last["check"]["interactive"]
    assert asked == [("caregiving/conversation", "Hi", "Hello")]
    assert list(page_of().checked(TALK)) == []


def test_a_failed_check_is_said_and_can_be_repeated(caplog: pytest.LogCaptureFixture) -> None:
    def passages(expert: str, question: str, answer: str) -> list[Found]:
        raise OSError("secret path")

    with caplog.at_level(logging.CRITICAL):
        *_, last = page_of(passages=passages).checked(TALK)
    assert "could not be read" in last["status"]
    assert "secret" not in last["status"]
    assert last["check"]["interactive"]


def test_after_a_reload_everything_is_back() -> None:
    page = page_of(votes=Votes(Path("nowhere")))
    shown = page.restored(to_browser(TALK))
    assert (shown["chat"], shown["conversation"]) == (bubbles(HELLO), TALK)
    assert "Caregiving" in shown["panel"]
    assert "Call 911." in shown["panel"]
    assert visible(shown, "thumbs")
    assert not visible(shown, "examples")
    duel = page.restored(to_browser(DUEL))
    assert (duel["left"], duel["right"]) == ("Left.", "Right.")
    assert visible(duel, "verdicts")
    assert "status" not in page.restored(None)


def test_a_reload_in_the_middle_of_an_answer_gives_the_question_back() -> None:
    page = page_of()
    first = next(page.answer("Smoke and my mother?", AUTO, ALONE, TALK))
    shown = page.restored(first["kept"])
    assert (shown["box"], shown["conversation"]) == ("Smoke and my mother?", TALK)


def test_the_end_of_an_answer_is_kept_and_clear_forgets_it() -> None:
    page = page_of()
    shown = last_values(page.answer("My mother?", AUTO, ALONE, Conversation()))
    assert from_browser(shown["kept"], EXPERTS) == shown["conversation"]
    assert from_browser(page.cleared()["kept"], EXPERTS) == Conversation()


def test_who_waits_is_told_how_many_came_before(tmp_path: Path) -> None:
    """The assistant is held: the first question waits for nobody, the second for one; both are answered at the end."""
    page = page_of()
    with page.assistant.speaking:
        first, second = (page.answer(text, AUTO, ALONE, Conversation()) for text in ("My mother?", "What is escrow?"))
        next(first)
        words: list[str] = []
        while not any("1 question of others" in each for each in words):
            words.append(shown_words(next(second)))
    seen = shown_words(last_values(second))
    assert seen == '<p role="status" class="status">Answered by Mortgage · conversation.</p>'
    assert "Caregiving" in shown_words(last_values(first))


def test_a_full_line_refuses_with_words_and_keeps_the_question() -> None:
    page = Page(ScriptedAssistant(), Sources(), Parts(*Parts.__annotations__), Line(room=1))
    first = page.answer("My mother?", AUTO, ALONE, Conversation())
    next(first)
    shown = last_values(page.answer("What is escrow?", AUTO, ALONE, Conversation()))
    assert "ask again in a minute" in shown["status"]
    assert shown["box"] == "What is escrow?"
    first.close()
    assert "Answered by" in last_values(page.answer("What is escrow?", AUTO, ALONE, Conversation()))["status"]


TOOLS_EXPERT = "tools/calls"
ADD = Function("add_up", "Adds.", {"type": "object", "properties": {"a": {"type": "number"}}})
CALL_TEXT = call_text([ToolCall("add_up", {"a": 2})])
ADD_UP = ChatTools((ADD,), lambda call: {"sum": call.arguments["a"] * 2})
SUM = "Calculate 2 + 2, please."


def tool_page(*scripts: str, **settings: object) -> Page:
    """A page with one local function and a tools expert that says these answers."""
    assistant = ScriptedAssistant(extra=(TOOLS_EXPERT,), scripts=[text.split(" ") for text in scripts], **settings)
    return page_of(assistant, tools=ADD_UP)


def test_a_call_is_run_and_its_result_told_to_the_model() -> None:
    page = tool_page(CALL_TEXT, "It is 4.")
    shown = last_values(page.answer(SUM, AUTO, ALONE, Conversation()))
    said = shown["conversation"]
    assert [turn.content for turn in said.turns] == [SUM, CALL_TEXT, response_text('{"sum": 4}'), "It is 4."]
    assert said.expert == TOOLS_EXPERT
    assert [b.get("metadata", {}).get("title") for b in shown["chat"]] == [None, "Called add_up", "Result", None]
    first, second = page.assistant.asked
    assert [each[1] for each in (first, second)] == [TOOLS_EXPERT, TOOLS_EXPERT]
    assert [tool["function"]["name"] for tool in json.loads(second[2].tools)] == ["add_up"]
    assert second[0][-1].content == response_text('{"sum": 4}')
    assert "asks for a calculation" in shown["panel"]
    assert visible(shown, "ask")


def test_a_model_that_only_calls_is_ended() -> None:
    """The first answer and one after each of three rounds."""
    page = tool_page(*[CALL_TEXT] * 9)
    shown = last_values(page.answer(SUM, AUTO, ALONE, Conversation()))
    assert len(page.assistant.asked) == 1 + MAX_ROUNDS
    assert [turn.role for turn in shown["conversation"].turns] == ["user", "assistant"] * (1 + MAX_ROUNDS)


@pytest.mark.parametrize("choice", ["general", AUTO])
def test_no_other_expert_runs_anything(choice: str) -> None:
    page = tool_page(CALL_TEXT)
    shown = last_values(page.answer("My mother?", choice, ALONE, Conversation()))
    assert len(page.assistant.asked) == 1
    assert page.assistant.asked[0][2].tools is None
    assert len(shown["conversation"].turns) == 2


def test_two_answers_beside_each_other_run_nothing() -> None:
    page = tool_page(CALL_TEXT, "Words.")
    shown = last_values(page.answer(SUM, TOOLS_EXPERT, "general", Conversation()))
    assert len(page.assistant.asked) == 2
    assert len(shown["conversation"].rivals) == 2


def test_stopped_after_a_call_the_conversation_goes_on_from_it() -> None:
    """Between the call and the next answer the kept conversation ends with the call, not with its result."""
    updates = list(tool_page(CALL_TEXT, "It is 4.").answer(SUM, AUTO, ALONE, Conversation()))
    kept = [update["conversation"] for update in updates if "conversation" in update]
    assert all(each.turns[-1].role == "assistant" for each in kept if each.turns and not each.open_question)
