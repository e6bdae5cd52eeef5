"""The real chat page in headless Chromium, with a scripted assistant: what a person sees and does."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.fakes_assistant import OTHER_WORDS
from tests.ui.browsing import BROKEN, NOTICES, REFUSED, SIZES, Running

SPOKEN = " ".join(OTHER_WORDS)

pytestmark = pytest.mark.browser


def ask(page: Page, question: str) -> None:
    page.locator("#question textarea").fill(question)
    page.keyboard.press("Enter")


def choose(page: Page, expert: str, label: str = "Who should answer?") -> None:
    page.get_by_label(label).click()
    page.get_by_role("option", name=expert).click()


def pixels_too_wide(page: Page) -> int:
    """How far anything on the page reaches beyond the right edge of the window."""
    furthest = "Math.max(...[...document.querySelectorAll('.gradio-container *')].map(e => "
    furthest += "e.getBoundingClientRect().right))"
    return int(page.evaluate(f"{furthest} - document.documentElement.clientWidth"))


@pytest.mark.parametrize("size", SIZES)
def test_a_question_from_typing_to_forcing_another_expert(running: Running, tmp_path: Path, size: str) -> None:
    """84% is the fake's score for a keyword, 4% for the others: 84 + 4 * 4 = 100."""
    page = running.visit(size)
    panel, chat, status = page.locator("#panel"), page.locator("#chat"), page.locator("#status")
    expect(page.get_by_role("heading", name="expertsmith")).to_be_visible()
    page.screenshot(path=tmp_path / f"{size}-empty.png", full_page=True)
    ask(page, "My mother wanders at night. What helps?")
    expect(chat).to_contain_text("My mother wanders at night. What helps?")
    expect(chat).to_contain_text(SPOKEN)
    expect(panel.locator(".who")).to_have_text("Caregiving")
    expect(panel.locator(".track")).to_have_text("conversation expert")
    expect(panel.locator(".sure")).to_have_text("Confidence 84%")
    expect(panel.locator(".why")).to_contain_text("The router read your question")
    expect(panel.locator("li")).to_have_count(5)
    expect(panel.locator("li.picked")).to_have_text("Caregiving · conversation84%")
    expect(panel.locator("li").last).to_contain_text("4%")
    expect(panel.locator(".notice")).to_have_text(NOTICES["caregiving"])
    expect(status).to_have_text("Answered by Caregiving · conversation.")
    page.screenshot(path=tmp_path / f"{size}-routed.png", full_page=True)
    choose(page, "Mortgage · structured")
    ask(page, "And now?")
    expect(status).to_have_text("Answered by Mortgage · structured.")
    expect(chat).to_contain_text("mortgage/structured says:")
    expect(panel.locator(".sure")).to_have_text("Chosen by you")
    expect(panel.locator(".why")).to_contain_text("the router was not asked")
    expect(panel.locator("li")).to_have_count(0)
    page.screenshot(path=tmp_path / f"{size}-forced.png", full_page=True)
    assert [m.content for m in running.assistant.asked[-1][0]][::2] == [
        "My mother wanders at night. What helps?",
        "And now?",
    ]
    assert pixels_too_wide(page) <= 0


def test_the_answer_is_seen_while_it_is_written(running: Running) -> None:
    """The fake waits 1 s between words, so the first is on the page while the second is not."""
    running.assistant.delay_seconds = 1.0
    page = running.visit()
    ask(page, "What is escrow?")
    expect(page.locator("#chat")).to_contain_text("mortgage/conversation says:")
    expect(page.locator("#chat")).not_to_contain_text("down.")
    expect(page.locator("#status")).to_have_text("Mortgage · conversation is writing ...")
    expect(page.locator("#panel .sure")).to_have_text("Confidence 84%")
    expect(page.locator("#stop")).to_be_visible()
    running.assistant.delay_seconds = 0.0
    expect(page.locator("#chat")).to_contain_text(SPOKEN)
    expect(page.locator("#ask")).to_be_visible()


def test_stop_ends_the_answer_and_frees_the_assistant(running: Running) -> None:
    """The answer would take 100 s; after Stop the assistant's lock is free within 20 s and the next question runs."""
    running.assistant.delay_seconds, running.assistant.words = 0.1, ["word"] * 1000
    page = running.visit()
    ask(page, "What is escrow?")
    expect(page.locator("#chat")).to_contain_text("word word word")
    assert running.assistant.speaking.locked()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#status")).to_have_text("Stopped.")
    assert running.assistant.speaking.acquire(timeout=20)
    running.assistant.speaking.release()
    expect(page.locator("#chat")).to_contain_text("word word word")
    running.assistant.delay_seconds, running.assistant.words = 0.0, OTHER_WORDS
    ask(page, "My mother?")
    expect(page.locator("#status")).to_have_text("Answered by Caregiving · conversation.")
    said = running.assistant.asked[-1][0]
    assert [m.role for m in said] == ["user", "assistant", "user"]


def test_waiting_for_others_is_said_and_the_page_stays_usable(running: Running) -> None:
    page = running.visit()
    with running.assistant.speaking:
        ask(page, "What is escrow?")
        expect(page.locator("#status")).to_have_text("Mortgage · conversation is writing ...")
        page.get_by_role("button", name="Stop").click()
        expect(page.locator("#status")).to_have_text("Stopped.")
        expect(page.locator("#question textarea")).to_have_value("What is escrow?")


def test_an_example_asks_itself_and_clear_begins_anew(running: Running) -> None:
    page = running.visit()
    page.get_by_role("button", name="What is escrow?").click()
    expect(page.locator("#status")).to_have_text("Answered by Mortgage · conversation.")
    expect(page.locator("#chat")).to_contain_text("What is escrow?")
    expect(page.locator("#examples")).to_be_hidden()
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#examples")).to_be_visible()
    expect(page.locator("#chat")).not_to_contain_text("escrow")
    expect(page.locator("#panel")).to_contain_text("After your question")
    ask(page, "My mother?")
    expect(page.locator("#status")).to_have_text("Answered by Caregiving · conversation.")
    assert len(running.assistant.asked[-1][0]) == 1


def test_a_weak_match_says_why_the_general_model_answers(running: Running) -> None:
    """Without a keyword the fake's best score, 36%, is under its threshold of 50%."""
    page = running.visit()
    ask(page, "Hello there")
    expect(page.locator("#panel .who")).to_have_text("General model")
    expect(page.locator("#panel .why")).to_contain_text("Mortgage · structured, reached only 36%")
    expect(page.locator("#panel .notice")).to_have_count(0)


def test_errors_are_words_and_the_question_is_kept(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    page = running.visit()
    alert, box = page.get_by_role("alert"), page.locator("#question textarea")
    page.get_by_role("button", name="Ask").click()
    expect(alert).to_have_text("Type a question first.")
    ask(page, REFUSED)
    expect(alert).to_have_text("The question is too long. Ask a shorter one.")
    expect(box).to_have_value(REFUSED)
    with caplog.at_level(logging.CRITICAL, logger="ui.chat_words"):
        ask(page, BROKEN)
        expect(alert).to_contain_text("Something went wrong")
    expect(box).to_have_value(BROKEN)
    expect(page.locator("body")).not_to_contain_text("secret")
    ask(page, "What is escrow?")
    expect(page.locator("#status")).to_have_text("Answered by Mortgage · conversation.")


def test_markup_in_an_answer_is_text_and_money_stays_money(running: Running) -> None:
    running.assistant.words = [
        "<b id=x>",
        "$5",
        "and",
        "$6",
        "![x](http://192.0.2.1/x.png)",
        "<img src=http://192.0.2.1/y>",
    ]
    page = running.visit()
    ask(page, "What is escrow?")
    expect(page.locator("#chat")).to_contain_text("<b id=x> $5 and $6 ![x]")
    expect(page.locator("#status")).to_have_text("Answered by Mortgage · conversation.")
    assert page.locator("#chat .bot img, #chat #x").count() == 0


def test_nothing_is_fetched_from_elsewhere(running: Running) -> None:
    page = running.visit()
    ask(page, "What is escrow?")
    expect(page.locator("#status")).to_have_text("Answered by Mortgage · conversation.")
    elsewhere = [url for url in running.requested if not url.startswith((running.url, "data:", "blob:"))]
    assert len(running.requested) > 5
    assert elsewhere == []


def test_keyboard_alone_is_enough(running: Running) -> None:
    """The question has the focus at the start; Tab leads to the two switches, then to Clear, then to Ask."""
    page = running.visit()
    expect(page.locator("#question textarea")).to_be_focused()
    page.keyboard.type("My mother?")
    page.keyboard.press("Tab")
    switch = page.get_by_role("combobox", name="Who should answer?")
    expect(switch).to_be_focused()
    expect(page.get_by_role("option", name="Choose for me")).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(switch).to_have_attribute("aria-activedescendant", re.compile(r"option-1$"))
    page.keyboard.press("Enter")
    expect(switch).to_have_value("Mortgage · conversation")
    page.keyboard.press("Tab")
    expect(page.get_by_role("combobox", name="Compare with")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#clear")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#ask")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#panel .sure")).to_have_text("Chosen by you")


def test_two_readers_do_not_see_each_other(running: Running) -> None:
    first, second = running.visit(), running.visit()
    ask(first, "What is escrow?")
    ask(second, "My mother?")
    expect(first.locator("#status")).to_have_text("Answered by Mortgage · conversation.")
    expect(second.locator("#status")).to_have_text("Answered by Caregiving · conversation.")
    expect(second.locator("#chat")).not_to_contain_text("escrow")
    assert all(len(messages) == 1 for messages, _, _ in running.assistant.asked)
