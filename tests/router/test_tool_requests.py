"""What is tool-shaped: requests with functions, and requests that ask to calculate from numbers."""

from __future__ import annotations

import pytest

from domains.example import Message
from domains.tool_calls import response_text
from router.route import Route, Router, without_tools
from router.tool_requests import asks_for_calculation, is_tools_expert, tools_expert
from tests.fakes_router import Keywords


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
        "First mortgage 210k, HELOC 35k, house worth 310k. Combined LTV?",
        "After five years of payments on our $300,000, 5%, 30-year mortgage, what will we still owe?",
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
        "I owe less than 80% of what the house cost. How do I get rid of PMI?",
        "Extract rate and points: 6.375 percent, 0.75 point. What is the rate?",
        "My payment went from $1,504 to $1,566 and nobody tells me why.",
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


def test_the_tools_expert_is_found_by_its_track():
    assert tools_expert(("mortgage/structured", "kit/calls", "general")) == "kit/calls"
    assert tools_expert(("tools/structured", "general")) is None
    assert is_tools_expert("kit/calls")
    assert not is_tools_expert("kit/calls_sft")


def test_without_functions_the_best_of_the_others_answers():
    route = Route("tools/calls", 0.6, {"tools/calls": 0.6, "general": 0.1, "mortgage/conversation": 0.3})
    assert without_tools(route, 0.25).expert == "mortgage/conversation"
    assert without_tools(route, 0.25).confidence == 0.3
    alone = Route("tools/calls", 1.0, {"tools/calls": 1.0})
    assert without_tools(alone, 0.5) == alone
    other = Route("general", 0.9, {"general": 0.9, "tools/calls": 0.1})
    assert without_tools(other, 0.5) == other


def test_without_functions_the_general_model_answers_where_no_other_is_sure():
    """0.3 is under the threshold of 0.5, which the router was calibrated with."""
    route = Route("tools/calls", 0.6, {"tools/calls": 0.6, "general": 0.1, "mortgage/conversation": 0.3})
    found = without_tools(route, 0.5)
    assert (found.expert, found.abstained) == ("general", True)


LABELS = ("tools/calls", "mortgage/conversation", "general")


def test_one_router_says_who_a_request_is_for():
    """A calculation goes to the tools expert, whatever it is about; without functions to call, to what it is about."""
    strategy = Keywords({"loan": "mortgage/conversation"}, LABELS)
    router = Router(strategy, "words", 0.5, tools="tools/calls")
    asked = "What is the payment on a 200,000 loan at 6% for 30 years?"
    for request in (asked, [Message("user", asked)], [{"role": "user", "content": asked}]):
        assert (router(request).expert, router(request).strategy) == ("tools/calls", "calculation")
        assert router.without_functions(request).expert == "mortgage/conversation"
    assert router("Who pays off a loan?").expert == "mortgage/conversation"
    assert Router(strategy, "words", 0.5)(asked).expert == "mortgage/conversation"
