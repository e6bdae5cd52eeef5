"""The HTML parts of the chat page: what they show, and that nothing foreign becomes markup."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser

import pytest

from domains.domain import Domain
from domains.example import Message, SafetyRule
from router.route import Route
from ui.chat_panels import (
    actions_of,
    alert_html,
    bars_html,
    bubbles,
    document_title,
    panel_html,
    passages_html,
    restored_html,
    side_html,
    status_html,
)

NASTY = '<script>x</script> & "q" <img src=x>'


@dataclass(frozen=True)
class Found:
    claim: str
    verdict: str
    passage: str = ""
    document_id: str = ""


class Tags(HTMLParser):
    """The names of all tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.add(tag)


def rule(explanation: str) -> SafetyRule:
    return SafetyRule("r", "red_flag", "x", explanation, ("911",))


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


def test_bubbles_show_markup_as_text() -> None:
    shown = bubbles([Message("assistant", "<img src=x> ![a](b) **c**")])
    assert shown == [{"role": "assistant", "content": "&lt;img src=x&gt; !\\[a](b) **c**"}]


def test_status_is_empty_or_announced() -> None:
    assert status_html("") == ""
    assert status_html("a < b") == '<p role="status" class="status">a &lt; b</p>'


def test_a_second_expert_and_a_comparison_are_named() -> None:
    panel = panel_html(Route("mortgage/structured", 0.5, {}), False, "", "general")
    assert "Compared with General model." in panel
    assert "Compared" not in panel_html(Route("mortgage/structured", 0.5, {}), False, "")
    assert restored_html("mortgage/structured", "Not advice.").count("Not advice.") == 1


@pytest.mark.parametrize(
    ("explanation", "expected"),
    [
        ("Chest pain calls for 911 at once.", {"911": "Call 911 now"}),
        ("It leads to a doctor or 911.", {"911": "Call 911 if anyone is in danger now, or if you are not sure"}),
        ("Ask a counselor (800-111-2222).", {"800-111-2222": "Call 800-111-2222"}),
        ("Lock them away. Room 1911, 9880 Main.", {}),
    ],
)
def test_the_numbers_of_a_rule_become_things_to_do(explanation: str, expected: dict[str, str]) -> None:
    assert actions_of([rule(explanation)]) == expected


def test_911_without_an_alternative_comes_first_and_wins() -> None:
    """One rule names 988 or 911, the other 911 at once: 911 is first and has no condition."""
    actions = actions_of([rule("Call 800-111-2222, 988, or 911."), rule("It needs 911.")])
    assert list(actions) == ["911", "988", "800-111-2222"]
    assert actions["911"] == "Call 911 now"


def test_an_alert_says_what_to_do_and_links_the_numbers() -> None:
    html = alert_html([rule("It needs 911 <b>now</b>.")])
    assert 'role="alert"' in html
    assert '<a href="tel:911">Call 911 now</a>' in html
    assert "emergency" in html
    assert "<b>" not in html
    assert "emergency" not in alert_html([rule("See an attorney.")])
    assert alert_html([]) == ""


@pytest.mark.parametrize("domain", ["caregiving", "mortgage"])
def test_every_shipped_red_flag_gives_an_alert_with_its_numbers(domain: str) -> None:
    rules = [each for each in Domain.load(domain).safety_rules() if each.kind == "red_flag"]
    assert len(rules) >= 5
    for each in rules:
        html = alert_html([each])
        for number in ("911", "988"):
            assert (f'href="tel:{number}"' in html) == (number in each.explanation)


def test_passages_show_verdict_in_words_the_passage_and_where_it_is_from() -> None:
    found = [Found("A.", "supported", "A indeed.", "escrow-basics#2"), Found("B.", "contradicted", "Not B.", "x")]
    html = passages_html([*found, Found("C.", "unsupported", "Near C.", "x#1"), Found("D.", "unsupported")])
    assert "1 of 4 statements are supported." in html
    assert [html.index(word) for word in ("Supported", "Contradicted", "Not found")]
    assert "<blockquote>A indeed.</blockquote><cite>Escrow basics, section 2</cite>" in html
    assert html.count("The nearest passage:") == 1
    assert html.count("<blockquote>") == 3
    assert "nothing to check" in passages_html([])


def test_a_verdict_that_is_not_known_supports_nothing() -> None:
    html = passages_html([Found("A.", "perhaps", "B.", "c")])
    assert "Not found" in html
    assert "perhaps" not in html


def test_document_title() -> None:
    assert document_title("escrow-basics#2") == "Escrow basics, section 2"
    assert document_title("notes_2024") == "Notes 2024"
    assert document_title("guides/07-escrow-basics") == "Escrow basics"
    assert document_title("2024") == "2024"


def test_nothing_foreign_becomes_markup() -> None:
    parts = [
        panel_html(Route(f"{NASTY}/{NASTY}", 0.5, {NASTY: 0.5}), False, NASTY, NASTY),
        restored_html(NASTY, NASTY),
        alert_html([rule(NASTY)]),
        passages_html([Found(NASTY, "supported", NASTY, NASTY)]),
        side_html(0, NASTY),
        status_html(NASTY),
    ]
    assert not {"script", "img"} & set().union(*(Tags(part).found for part in parts))
    assert Tags(NASTY).found == {"script", "img"}
