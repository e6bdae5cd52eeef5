"""The chat page in headless Chromium, with a scripted assistant behind it, for the browser tests."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from domains.domain import Domain
from domains.errors import UserError
from domains.votes import Votes
from tests.fakes_assistant import ScriptedAssistant
from tests.fakes_passages import passages
from ui.chat import launch
from ui.chat_sources import Sources
from ui.chat_tools import ChatTools

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
NOTICES = {"caregiving": "In an emergency call 911.", "mortgage": "Not legal advice."}
EXAMPLES = ("What is escrow?", "My mother wanders at night.")
BROKEN, REFUSED = "My mother broke it", "My mother refused"


class Running:
    """A page that is up, the assistant behind it, its votes, and the addresses that the browser asked for."""

    def __init__(self, assistant: ScriptedAssistant, url: str, browser: Browser, votes: Votes) -> None:
        self.assistant, self.url, self.browser, self.votes = assistant, url, browser, votes
        self.requested: list[str] = []

    def visit(self, size: str = "desktop", scheme: str = "light") -> Page:
        """Somebody new, with a browser of their own."""
        width, height = SIZES[size]
        page = self.browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.set_default_timeout(30_000)
        page.on("request", self.note)
        page.goto(self.url)
        page.locator("#question textarea").wait_for()
        return page

    def note(self, request: Request) -> None:
        self.requested.append(request.url)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Chromium without a window."""
    if not CHROMIUM.exists():
        pytest.skip("no /usr/bin/chromium: apt-get install -y chromium")
    expect.set_options(timeout=30_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def run_page(
    browser: Browser, folder: Path, extra: tuple[str, ...] = (), tools: ChatTools | None = None
) -> Iterator[Running]:
    """The page on a free port, with its votes in a folder; `extra` experts and local functions where they are given."""
    failures = {BROKEN: RuntimeError("secret detail")}
    refusals = {REFUSED: UserError("The question is too long. Ask a shorter one.")}
    assistant = ScriptedAssistant(delay_seconds=0.02, failures=failures, refusals=refusals, extra=extra)
    votes = Votes(folder / "home" / "votes")
    rules = Domain.load("caregiving").safety_rules()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sources = Sources(NOTICES, rules, passages, votes, tools)
    page = launch(assistant, port=port, examples=EXAMPLES, sources=sources, block=False)
    yield Running(assistant, f"http://127.0.0.1:{port}/", browser, votes)
    for context in browser.contexts:
        context.close()
    page.close(verbose=False)
