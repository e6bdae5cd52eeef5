"""One question at the command line: who answers, and what a call of the tools expert gives."""

from __future__ import annotations

import json

from domains.tool_calls import ToolCall, call_text
from router.assistant import AUTO
from tests.fakes_assistant import ScriptedAssistant
from ui.asking import ask

TOOLS = "tools/calls"
SUM = "What is the monthly payment on a loan of 120,000 at 6% for 30 years?"
ARGUMENTS = {"loan_amount": 120000, "annual_rate": 6, "years": 30}


def test_a_calculation_is_answered_by_the_tools_expert_and_its_call_is_run():
    """12 payments a year for 30 years at half a percent a month: 120000 * 0.005 / (1 - 1.005**-360) = 719.46."""
    assistant = ScriptedAssistant(extra=(TOOLS,))
    assistant.scripts[:] = [[call_text([ToolCall("monthly_payment", ARGUMENTS)])]]
    found = ask(assistant, SUM, AUTO, 50)
    assert found.route == assistant.route(assistant.asked[-1][0])
    assert (found.route.expert, found.route.strategy) == (TOOLS, "calculation")
    (result,) = found.results
    assert 719.46 in json.loads(result).values()
    assert found.as_dict()["results"] == [result]
    sampling = assistant.asked[-1][2]
    assert "monthly_payment" in sampling.tools
    assert sampling.max_tokens == 50


def test_anything_else_is_asked_without_functions():
    assistant = ScriptedAssistant(extra=(TOOLS,))
    found = ask(assistant, "My mother wanders.", AUTO, 50)
    assert found.route.expert == "caregiving/conversation"
    assert found.as_dict() == {"route": found.route.as_dict(), "answer": found.answer}
    assert assistant.asked[-1][2].tools is None


def test_without_a_tools_expert_nobody_is_told_functions():
    assistant = ScriptedAssistant()
    found = ask(assistant, SUM, AUTO, 50)
    assert found.route.expert == "general"
    assert assistant.asked[-1][2].tools is None
