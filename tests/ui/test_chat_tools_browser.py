"""The chat page in headless Chromium with a scripted tools expert and the shipped local functions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from domains.local_tools.run import local_functions, run_local
from domains.tool_calls import ToolCall, call_text
from tests.ui.browsing import SIZES, Running, run_page
from ui.chat_tools import ChatTools

pytestmark = pytest.mark.browser
EXPERT = "tools/calls"
QUESTION = "Calculate the monthly payment on $200,000 at 6 percent over 30 years."
ANSWER = "It is <b>$1,199.10</b> a month."
CALL = ToolCall("monthly_payment", {"loan_amount": 200000, "annual_rate": 6, "years": 30})


@pytest.fixture
def page_with_tools(browser: Browser, tmp_path: Path) -> Iterator[Running]:
    with run_page(browser, tmp_path, (EXPERT,), ChatTools(local_functions(), run_local)) as up:
        yield up


@pytest.mark.parametrize("size", SIZES)
def test_the_call_and_its_result_are_seen(page_with_tools: Running, tmp_path: Path, size: str) -> None:
    """The payment is 1,199.10: 200,000 * 0.005 / (1 - 1.005^-360)."""
    page_with_tools.assistant.scripts[:] = [call_text([CALL]).split(" "), ANSWER.split(" ")]
    page = page_with_tools.visit(size)
    page.locator("#question textarea").fill(QUESTION)
    page.keyboard.press("Enter")
    chat = page.locator("#chat")
    expect(chat).to_contain_text("Called monthly_payment")
    expect(chat).to_contain_text("loan_amount = 200000")
    expect(chat).to_contain_text("1199.1")
    expect(chat).to_contain_text(ANSWER)
    expect(chat).not_to_contain_text("tool_call")
    expect(chat).not_to_contain_text("tool_response")
    expect(page.locator("#status")).to_have_text("Answered by Tools \u00b7 calls.")
    expect(page.locator("#panel .why")).to_contain_text("asks for a calculation")
    page.screenshot(path=tmp_path / f"{size}-call.png", full_page=True)
    page.reload()
    expect(chat).to_contain_text("Called monthly_payment")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def test_a_call_of_anything_else_is_told_and_not_run(page_with_tools: Running) -> None:
    call = call_text([ToolCall("open_file", {"path": "/etc/passwd"})])
    page_with_tools.assistant.scripts[:] = [call.split(" "), ["I", "cannot", "do", "that."]]
    page = page_with_tools.visit()
    page.locator("#question textarea").fill(QUESTION)
    page.keyboard.press("Enter")
    expect(page.locator("#chat")).to_contain_text("There is no function 'open_file' here.")
    expect(page.locator("#chat")).to_contain_text("I cannot do that.")
