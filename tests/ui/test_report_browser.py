"""The report page in headless Chromium: it fits, asks for nothing, reports no error, and its filters work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from tests.fakes_report import full_report
from ui.report_page import write_page

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no /usr/bin/chromium: apt-get install -y chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    return write_page(full_report(), tmp_path_factory.mktemp("report")).as_uri()


class Visit:
    """A page that is open, what it asked for and what it complained of."""

    def __init__(self, browser: Browser, address: str, **options: object) -> None:
        self.context = browser.new_context(**options)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(address)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_and_asks_for_nothing(browser, address, width, scheme):
    visit = Visit(browser, address, viewport={"width": width, "height": 844}, color_scheme=scheme)
    visit.page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    assert visit.page.evaluate("document.documentElement.scrollWidth") == width
    assert visit.requests == [address]
    assert visit.complaints == []
    visit.context.close()


def select(page: Page, name: str) -> Locator:
    return page.locator(f"#filters select[name={name}]")


def shown(page: Page, selector: str) -> int:
    return page.evaluate("s => [...document.querySelectorAll(s)].filter(e => !e.hidden).length", selector)


def test_filters_leave_what_fits(browser, address):
    page = Visit(browser, address).page
    lines, answers = "tr[data-verdict]", "article[data-arms]"
    everything, all_answers = shown(page, lines), shown(page, answers)
    select(page, "verdict").select_option("worse")
    worse = shown(page, lines)
    assert 0 < worse < everything
    assert worse == page.evaluate("document.querySelectorAll('tr[data-verdict=worse]').length")
    select(page, "arm").select_option("conversation")
    assert shown(page, lines) < worse
    assert 0 < shown(page, answers) < all_answers
    assert "lines and answers shown" in page.locator("#filters output").inner_text()
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function("document.querySelector('#filters output').textContent === ''")
    assert (shown(page, lines), shown(page, answers)) == (everything, all_answers)


def test_filter_by_kind_and_by_flag(browser, address):
    page = Visit(browser, address).page
    select(page, "kind").select_option("escrow")
    assert shown(page, "details[data-kind]") == 1
    select(page, "flag").select_option("flagged")
    assert shown(page, "article[data-flag]") == 1
    # six times the two marked phrases of the fake's answer
    assert page.locator("article[data-flag=flagged] mark").count() == 12


def test_filters_by_keyboard(browser, address):
    """From the top: the skip link is first, and the selects are reached and changed without a mouse."""
    page = Visit(browser, address).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    select(page, "verdict").focus()
    page.keyboard.type("better")
    assert select(page, "verdict").input_value() == "better"
    assert shown(page, "tr[data-verdict=worse]") == 0


def test_without_scripts_everything_is_there(browser, address):
    visit = Visit(browser, address, java_script_enabled=False)
    assert visit.page.locator("#filters").is_hidden()
    assert visit.page.locator("tr[hidden], details[hidden], article[hidden]").count() == 0
    assert visit.page.locator("ul.headlines li").count() > 5
    visit.context.close()
