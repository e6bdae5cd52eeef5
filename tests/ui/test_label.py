"""The labelling page: its logic without a browser, and once in a real one."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from threading import Lock

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from judges.labels import Session, read_labels
from tests.ui.browsing import ARGUMENTS, CHROMIUM
from ui.label import ALL_DONE, LabelPage, launch, pair_html, progress_html

HOSTILE = "<script>alert(1)</script> <b>bold</b> ![x](http://192.0.2.1/x.png)\nsecond line"


def session(folder: Path, count: int = 3) -> Session:
    rows = [{"id": f"p{n}", "question": f"Q{n}?", "a": f"answer a{n}", "b": HOSTILE} for n in range(count)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row | {"source_a": "base"}) + "\n" for row in rows))
    return Session.open(folder / "pairs.jsonl", folder / "labels.jsonl", "kim <1>")


def test_markup_in_texts_is_text_and_the_source_is_hidden(tmp_path: Path):
    showing = session(tmp_path).next()
    html = pair_html(showing)
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "<b>" not in html
    assert "source" not in html
    assert "p0" not in html
    assert "kim &lt;1&gt;" in progress_html(session(tmp_path))


def test_choosing_goes_through_the_pairs_and_ends(tmp_path: Path):
    page = LabelPage(session(tmp_path), Lock())
    current, html, progress, *buttons = page.shown()
    assert "0 of 3" in progress
    assert [button["interactive"] for button in buttons] == [True] * 3
    seen = []
    while current:
        seen.append(current)
        current, html, progress, *buttons = page.chosen("tie", current)
    assert sorted(seen) == ["p0", "p1", "p2"]
    assert ALL_DONE in html
    assert "3 of 3" in progress
    assert [button["interactive"] for button in buttons] == [False] * 3
    assert [label.choice for label in read_labels(tmp_path / "labels.jsonl")] == ["tie"] * 3


def test_a_tab_that_is_behind_labels_nothing(tmp_path: Path):
    """Two tabs show the same pair; the second click is for a pair that has its label, so it only moves on."""
    page = LabelPage(session(tmp_path), Lock())
    current = page.shown()[0]
    following = page.chosen("first", current)[0]
    assert page.chosen("second", current)[0] == following
    assert page.chosen("second", "unknown")[0] == following
    assert len(read_labels(tmp_path / "labels.jsonl")) == 1


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason="no /usr/bin/chromium: apt-get install -y chromium")
def test_a_person_labels_pairs_in_a_browser(tmp_path: Path):
    expect.set_options(timeout=15_000)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        shown = launch(session(tmp_path, 2), port=port, block=False)
        try:
            left = label_two_pairs(browser.new_page(viewport={"width": 375, "height": 812}), port)
        finally:
            browser.close()
            shown.close(verbose=False)
    first, second = read_labels(tmp_path / "labels.jsonl")
    chosen = first.a if first.choice == "a" else first.b
    assert chosen.splitlines()[0] in left
    assert second.choice == "tie"


def label_two_pairs(page: Page, port: int) -> str:
    """Choose the first answer, come back after a reload, call the other pair a tie; returns the answer chosen."""
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto(f"http://127.0.0.1:{port}/")
    expect(page.get_by_text("0 of 2 labelled")).to_be_visible(timeout=60_000)
    expect(page.locator("#pair")).to_contain_text("<script>alert(1)</script> <b>bold</b>")
    left = page.get_by_label("First answer").inner_text()
    page.get_by_role("button", name="First is better").click()
    expect(page.get_by_text("1 of 2 labelled")).to_be_visible()
    page.reload()
    expect(page.get_by_text("1 of 2 labelled")).to_be_visible()
    page.get_by_role("button", name="About the same").click()
    expect(page.locator("#pair")).to_contain_text("All pairs are labelled")
    expect(page.get_by_role("button", name="About the same")).to_be_disabled()
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert all(url.startswith((f"http://127.0.0.1:{port}", "data:", "blob:")) for url in requested)
    return left
