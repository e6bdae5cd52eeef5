"""What is tool-shaped: requests with functions, and requests that ask to calculate from numbers."""

from __future__ import annotations

import pytest

from domains.example import Message
from domains.tool_calls import response_text
from router.route import Route
from router.tool_requests import asks_for_calculation, tools_expert, without_tools


@pytest.mark.parametrize(
    "text",
    [
        "Calculate the monthly payment on $300,000 at 6.5% over 30 years.",
        "What would my payment be on 250000 at 6%?",
        "How much would respite care cost per week at 20 dollars an hour?",
        "How many days are there from 2026-01-05 to 2026-03-01?",
        "12 * 7 = ?",
        "convert 5 miles to km",
        "What is 15% of 80?",
    ],
)
def test_calculations(text):
    assert asks_for_calculation([Message("user", "Hello"), Message("assistant", "Hi"), Message("user", text)])


@pytest.mark.parametrize(
    "text",
    [
        "My escrow payment went up by $180 a month. What can I do?",
        "My mother is 82 and wanders at night.",
        "What is the total of it?",
        "How do lenders calculate escrow?",
        "Call me at 555-0123 about form 1098.",
        response_text('{"total": 5, "sum of": "calculate 5"}'),
        "",
    ],
)
def test_no_calculations(text):
    assert not asks_for_calculation([Message("user", text)])


def test_only_the_last_turn_of_the_user_counts():
    turns = [Message("user", "Calculate 5% of 80."), Message("assistant", "4"), Message("user", "Thank you.")]
    assert not asks_for_calculation(turns)
    assert asks_for_calculation(turns[:2])
    assert not asks_for_calculation([])


def test_the_tools_expert_is_found_by_its_domain():
    assert tools_expert(("mortgage/structured", "tools/structured", "general")) == "tools/structured"
    assert tools_expert(("toolshed/structured", "general")) is None


def test_without_functions_the_best_of_the_others_answers():
    route = Route("tools/structured", 0.6, {"tools/structured": 0.6, "general": 0.1, "mortgage/conversation": 0.3})
    assert without_tools(route).expert == "mortgage/conversation"
    assert without_tools(route).confidence == 0.3
    alone = Route("tools/structured", 1.0, {"tools/structured": 1.0})
    assert without_tools(alone) == alone
    other = Route("general", 0.9, {"general": 0.9, "tools/structured": 0.1})
    assert without_tools(other) == other
