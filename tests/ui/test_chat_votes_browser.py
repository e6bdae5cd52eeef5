"""Comparing, voting, checking, reloading and urgent questions on the real chat page, by one person and by two."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from domains.validate import validate
from tests.fakes_assistant import OTHER_WORDS
from tests.ui.browsing import Running
from tests.ui.test_chat_browser import ask, choose, pixels_too_wide

SPOKEN = " ".join(OTHER_WORDS)
URGENT = "My mother has chest pain"
DONE = "Answered by Mortgage · conversation."

pytestmark = pytest.mark.browser


def rows(running: Running, name: str) -> list[dict]:
    path = running.votes.folder / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def texts(page: Page) -> list[str]:
    """What stands in the conversation."""
    return page.locator("#chat .message").all_inner_texts()


def contrast(page: Page, selector: str) -> float:
    """The contrast ratio of an element's text to what is behind it (WCAG 2, relative luminance)."""
    return float(
        page.evaluate(
            """selector => {
              const numbers = text => text.match(/[\\d.]+/g).map(Number);
              const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
                .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
                .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
              let element = document.querySelector(selector), behind = element;
              const colour = numbers(getComputedStyle(element).color);
              const fill = e => numbers(getComputedStyle(e).backgroundColor);
              while (fill(behind)[3] === 0) behind = behind.parentElement;
              const [a, b] = [light(colour), light(fill(behind))].sort((x, y) => y - x);
              return (a + 0.05) / (b + 0.05);
            }""",
            selector,
        )
    )


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_two_experts_beside_each_other_and_a_vote_on_disk(running: Running, tmp_path: Path, size: str) -> None:
    page = running.visit(size)
    choose(page, "General model", "Compare with")
    ask(page, "What is escrow?")
    expect(page.locator("#answer-left")).to_contain_text(f"mortgage/conversation says: {SPOKEN}")
    expect(page.locator("#answer-right")).to_contain_text(f"general says: {SPOKEN}")
    expect(page.locator("#duel")).to_contain_text("Left Mortgage · conversation")
    expect(page.get_by_role("button", name="About the same")).to_be_visible()
    left, right = (page.locator(f"#answer-{side}").bounding_box() for side in ("left", "right"))
    assert (left["x"] < right["x"]) == (size == "desktop")
    assert pixels_too_wide(page) <= 0
    page.screenshot(path=tmp_path / f"{size}-compare.png", full_page=True)
    page.get_by_role("button", name="Right is better").click()
    expect(page.locator("#status")).to_contain_text("Your vote is stored.")
    expect(page.locator("#question textarea")).to_be_focused()
    expect(page.locator("#duel")).to_have_count(0)
    expect(page.locator("#chat")).to_contain_text("general says:")
    (row,) = rows(running, "mortgage")
    assert row["prompt"] == [{"role": "user", "content": "What is escrow?"}]
    assert row["chosen"] == [{"role": "assistant", "content": f"general says: {SPOKEN}"}]
    assert row["rejected"] == [{"role": "assistant", "content": f"mortgage/conversation says: {SPOKEN}"}]
    assert validate(str(running.votes.folder / "mortgage.jsonl")).ok
    expect(page.locator("#consent")).to_contain_text(str(running.votes.folder))


def test_stop_while_comparing_keeps_the_left_answer(running: Running) -> None:
    running.assistant.delay_seconds, running.assistant.words = 0.1, ["word"] * 1000
    page = running.visit()
    choose(page, "General model", "Compare with")
    ask(page, "What is escrow?")
    expect(page.locator("#answer-left")).to_contain_text("word word")
    expect(page.locator("#verdicts")).to_have_count(0)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#status")).to_have_text("Stopped.")
    expect(page.locator("#chat")).to_contain_text("mortgage/conversation says: word word")
    expect(page.locator("#duel")).to_have_count(0)
    assert running.assistant.speaking.acquire(timeout=20)
    running.assistant.speaking.release()


def test_the_conversation_outlives_a_reload_until_clear(running: Running) -> None:
    page = running.visit()
    ask(page, "What is escrow?")
    expect(page.locator("#status")).to_have_text(DONE)
    page.reload()
    expect(page.locator("#chat")).to_contain_text(SPOKEN)
    expect(page.locator("#status")).to_contain_text("Your last conversation is here again.")
    expect(page.locator("#panel .who")).to_have_text("Mortgage · conversation")
    expect(page.locator("#panel .notice")).to_have_text("Not legal advice.")
    expect(page.locator("#thumbs")).to_be_visible()
    ask(page, "And escrow again?")
    expect(page.locator("#status")).to_have_text(DONE)
    assert [turn.role for turn in running.assistant.asked[-1][0]] == ["user", "assistant", "user"]
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#examples")).to_be_visible()
    page.reload()
    expect(page.locator("#examples")).to_be_visible()
    expect(page.locator("#chat")).not_to_contain_text("escrow")


def test_a_reload_before_the_first_word_gives_the_question_back(running: Running) -> None:
    page = running.visit()
    with running.assistant.speaking:
        ask(page, "What is escrow?")
        expect(page.locator("#status")).to_contain_text("is writing")
        page.reload()
        expect(page.locator("#question textarea")).to_have_value("What is escrow?")


def test_an_urgent_question_is_met_before_its_answer(running: Running) -> None:
    running.assistant.delay_seconds = 1.0
    page = running.visit()
    ask(page, URGENT)
    alert = page.locator("#alert").get_by_role("alert")
    expect(alert).to_contain_text("This may be an emergency. Do not wait")
    expect(page.locator("#chat")).not_to_contain_text("down.")
    expect(alert.get_by_role("link", name="Call 911 now")).to_have_attribute("href", "tel:911")
    expect(alert).to_be_in_viewport()
    running.assistant.delay_seconds = 0.0
    expect(page.locator("#chat")).to_contain_text(SPOKEN)
    expect(alert).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(alert).to_have_count(0)


def test_an_answer_is_checked_against_the_documents(running: Running) -> None:
    page = running.visit()
    ask(page, "What is escrow?")
    page.get_by_role("button", name="Check against the documents").click()
    found = page.locator("#passages")
    expect(found).to_contain_text("1 of 3 statements are supported.")
    expect(found.locator("li.supported")).to_contain_text("mortgage/conversation on: What is escrow?")
    expect(found.locator("li.supported blockquote")).to_have_text("The servicer must answer within 30 days.")
    expect(found.locator("li.contradicted")).to_contain_text("Contradicted")
    expect(page.get_by_role("button", name="Check against the documents")).to_be_enabled()
    ask(page, "My mother?")
    expect(found).not_to_contain_text("statements")


def test_two_people_vote_at_once_and_their_thumbs_make_a_pair(running: Running) -> None:
    """Both ask the same; one answer is good, the other, of another expert, is not: one pair of the two thumbs."""
    first, second = running.visit(), running.visit("phone")
    choose(second, "Mortgage · structured")
    for page in (first, second):
        ask(page, "What is escrow?")
    expect(first.locator("#thumbs")).to_be_visible()
    expect(second.locator("#thumbs")).to_be_visible()
    expect(first.locator("#chat")).not_to_contain_text("structured")
    first.get_by_role("button", name="Helpful", exact=True).click()
    second.get_by_role("button", name="Not helpful").click()
    for page in (first, second):
        expect(page.locator("#status")).to_contain_text("Your vote is stored.")
        expect(page.locator("#thumbs")).to_have_count(0)
    thumbs = {row["expert"]: row["label"] for row in rows(running, "mortgage.unpaired")}
    assert thumbs == {"mortgage/conversation": True, "mortgage/structured": False}
    (row,) = rows(running, "mortgage")
    assert row["experts"] == {"chosen": "mortgage/conversation", "rejected": "mortgage/structured"}
    first.reload()
    second.reload()
    expect(first.locator("#chat")).to_contain_text("mortgage/conversation says:")
    expect(second.locator("#chat")).to_contain_text("mortgage/structured says:")
    expect(first.locator("#thumbs")).to_have_count(0)


def test_who_waits_for_somebody_else_is_told(running: Running) -> None:
    first, second = running.visit(), running.visit()
    with running.assistant.speaking:
        ask(first, "What is escrow?")
        expect(first.locator("#status")).to_contain_text("is writing")
        ask(second, "My mother?")
        expect(second.locator("#status")).to_contain_text("1 question of others came before yours")
    expect(second.locator("#status")).to_have_text("Answered by Caregiving · conversation.")
    expect(first.locator("#status")).to_have_text(DONE)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read_and_has_a_name(running: Running, tmp_path: Path, scheme: str) -> None:
    """Contrast of at least 4.5 to 1 (WCAG 2 AA) of all that is new on the page; every control has a name."""
    page = running.visit("phone", scheme)
    ask(page, URGENT)
    page.get_by_role("button", name="Check against the documents").click()
    expect(page.locator("#passages")).to_contain_text("statements")
    page.screenshot(path=tmp_path / f"{scheme}.png", full_page=True)
    seen = ("#alert h2", "#alert p", "#alert a", "#panel .notice", "#passages li.supported b", "#passages blockquote")
    seen += ("#passages li.contradicted b", "#passages li.unsupported b", "#consent", "#kept", "#up", "#status p")
    ratios = {selector: contrast(page, selector) for selector in seen}
    assert min(ratios.values()) >= 4.5, ratios
    page.add_style_tag(content="#consent { color: var(--line) !important }")
    assert contrast(page, "#consent") < 4.5
    assert pixels_too_wide(page) <= 0
    names = page.locator("button:visible, [role=combobox]:visible, textarea:visible").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-label') || e.innerText || e.labels?.[0]?.innerText || '')"
    )
    assert len(names) >= 8
    assert all(name.strip() for name in names), names
    expect(page.locator("#status")).to_have_attribute("aria-live", "polite")
    expect(page.locator("#chat [role=log]")).to_have_attribute("aria-live", "polite")
