"""The parts of the chat page that are written as HTML. Everything that is not ours is escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from domains.example import Message, SafetyRule
from domains.tool_calls import OPEN, parse
from router.route import Route
from ui.chat_sources import Finding
from ui.chat_tools import call_words, is_result, result_texts, said_words
from ui.chat_words import domain_title, expert_title, why

MAX_BARS = 6
PHONE = re.compile(r"(?P<instead>\bor )?\b(?P<number>911|988|\d{3}-\d{3}-\d{4})\b")
SERVICES = {
    "988": "Call or text 988, day or night: the Suicide and Crisis Lifeline",
    "800-222-1222": "Call Poison Help: 800-222-1222",
    "800-569-4287": "Call a HUD-approved housing counselor, free of charge: 800-569-4287",
}
EMERGENCY = {"911", "988"}
VERDICTS = {"supported": "Supported", "unsupported": "Not found", "contradicted": "Contradicted"}
SIDES = ("Left", "Right")


def bubbles(turns: Sequence[Message]) -> list[dict[str, Any]]:
    """The conversation for the chat log; calls of functions and what they returned have their own places."""
    return [bubble for turn in turns for bubble in turn_bubbles(turn)]


def turn_bubbles(turn: Message) -> list[dict[str, Any]]:
    """What is shown of one turn."""
    if is_result(turn):
        return [tool_bubble("Result", text) for text in result_texts(turn)]
    if turn.role != "assistant" or OPEN not in turn.content:
        return [{"role": turn.role, "content": plain(turn.content)}]
    words, calls = said_words(turn.content), parse(turn.content) or ()
    said = [{"role": turn.role, "content": plain(words or "...")}] if words or not calls else []
    return said + [tool_bubble(f"Called {call.name}", call_words(call)) for call in calls]


def tool_bubble(title: str, text: str) -> dict[str, Any]:
    """A call or its result. The chat log shows the title as Markdown, too."""
    return {"role": "assistant", "content": plain(text), "metadata": {"title": plain(title)}}


def plain(text: str) -> str:
    """Text for a Markdown component: answers may use Markdown, but no HTML, and pictures are not fetched."""
    return escape(text, quote=False).replace("![", "!\\[")


def status_html(words: str, role: str = "status") -> str:
    """The line under the conversation; a screen reader announces it."""
    return f'<p role="{role}" class="{role}">{escape(words)}</p>' if words else ""


def side_html(place: int, expert: str) -> str:
    """The heading over one of two answers."""
    return f'<h2><span class="side">{SIDES[place]}</span> {escape(expert_title(expert))}</h2>'


def panel_html(route: Route, forced: bool, notice: str, rival: str = "") -> str:
    """Who answered, how sure the router was, why, and what else it considered."""
    sure = "Chosen by you" if forced else f"Confidence {route.confidence:.0%}"
    bars = "" if forced else bars_html(route)
    domain, _, track = route.expert.partition("/")
    line = f'<p class="track">{escape(track)} expert</p>' if track else ""
    also = "".join(f"<p>Part of it is for {escape(expert_title(name))}.</p>" for name in getattr(route, "also", ()))
    against = f'<p class="against">Compared with {escape(expert_title(rival))}.</p>' if rival else ""
    note = f'<p class="notice">{escape(notice)}</p>' if notice else ""
    return (
        f'<section class="card" aria-label="Who answered"><h2>Answered by</h2>'
        f'<p class="who">{escape(domain_title(domain))}</p>{line}<p class="sure">{sure}</p>'
        f'<p class="why">{escape(why(route, forced))}</p>{also}{against}{bars}{note}</section>'
    )


def restored_html(expert: str, notice: str) -> str:
    """Who gave the last answer of a conversation that the browser kept."""
    note = f'<p class="notice">{escape(notice)}</p>' if notice else ""
    return (
        '<section class="card" aria-label="Who answered"><h2>Answered by</h2>'
        f'<p class="who">{escape(expert_title(expert))}</p>{note}</section>'
    )


def bars_html(route: Route) -> str:
    """The most likely experts with their probabilities as bars."""
    ranked = sorted(route.scores.items(), key=lambda item: -item[1])[:MAX_BARS]
    rows = "".join(
        f'<li class="{"picked" if name == route.expert else "other"}"><span>{escape(expert_title(name))}</span>'
        f'<b>{score:.0%}</b><i aria-hidden="true"><u style="width:{score:.1%}"></u></i></li>'
        for name, score in ranked
    )
    return f"<h3>What the router considered</h3><ol>{rows}</ol>" if rows else ""


def alert_html(rules: Sequence[SafetyRule]) -> str:
    """What to do now, before any answer: the numbers that the matching rules name, then the rules' own words."""
    if not rules:
        return ""
    actions = actions_of(rules)
    urgent = EMERGENCY & actions.keys()
    title = "This may be an emergency. Do not wait for an answer here." if urgent else "Before you read the answer:"
    steps = "".join(f'<li><a href="tel:{number}">{escape(words)}</a></li>' for number, words in actions.items())
    reasons = "".join(f"<p>{escape(rule.explanation)}</p>" for rule in rules)
    return (
        f'<section role="alert" class="flag"><h2>{title}</h2>{f"<ul>{steps}</ul>" if steps else ""}{reasons}</section>'
    )


def actions_of(rules: Sequence[SafetyRule]) -> dict[str, str]:
    """What to do by phone number, 911 and 988 first where a rule asks for them without an alternative."""
    found: dict[str, str] = {}
    for rule in rules:
        for match in PHONE.finditer(rule.explanation):
            number, instead = match["number"], bool(match["instead"])
            words = call_911(instead) if number == "911" else SERVICES.get(number, f"Call {number}")
            if number not in found or not instead:
                found[number] = words
    return dict(sorted(found.items(), key=lambda item: (item[1] != call_911(False), item[0] not in EMERGENCY)))


def call_911(instead: bool) -> str:
    """The words for 911; `instead` when the rule names something else first."""
    return "Call 911 if anyone is in danger now, or if you are not sure" if instead else "Call 911 now"


def passages_html(findings: Sequence[Finding]) -> str:
    """Each claim of the answer with what the documents say of it."""
    if not findings:
        return status_html("The documents have nothing to check this answer against.")
    num_supported = sum(finding.verdict == "supported" for finding in findings)
    items = "".join(finding_html(finding) for finding in findings)
    return (
        '<section class="card" aria-label="Check against the documents"><h2>Checked against the documents</h2>'
        f'<p role="status">{num_supported} of {len(findings)} statements are supported.</p><ol>{items}</ol>'
        '<p class="small">A program compared sentences; it can be wrong. "Not found" does not mean false.</p></section>'
    )


def finding_html(finding: Finding) -> str:
    """One claim with its passage."""
    verdict = finding.verdict if finding.verdict in VERDICTS else "unsupported"
    quote = f"<blockquote>{escape(finding.passage)}</blockquote>" if finding.passage else ""
    source = f"<cite>{escape(document_title(finding.document_id))}</cite>" if finding.document_id else ""
    nearest = '<p class="small">The nearest passage:</p>' if quote and verdict == "unsupported" else ""
    claim = f"<b>{VERDICTS[verdict]}</b> <span>{escape(finding.claim)}</span>"
    return f'<li class="{verdict}">{claim}{nearest}{quote}{source}</li>'


def document_title(document_id: str) -> str:
    """`07-escrow-basics#2` as a person reads it: without the number that sorts the files."""
    name, _, section = document_id.rpartition("/")[2].partition("#")
    title = re.sub(r"^\d+[-_ ]+", "", name).replace("_", " ").replace("-", " ").capitalize()
    return f"{title}, section {section}" if section else title


EMPTY_PANEL = (
    '<section class="card" aria-label="Who answered"><h2>Answered by</h2><p class="why">'
    "After your question you see here which expert answers, how sure the router is, and what else it considered."
    "</p></section>"
)
