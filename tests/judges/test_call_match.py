"""Which answers make the calls of a reference: planted right and wrong ones."""

import pytest

from domains.tool_calls import Function, ToolCall, call_text
from judges.call_match import makes_calls

FIND = Function("find", "", {"properties": {"thing": {}, "rooms": {"default": 1}, "lit": {}}})


def calls(*arguments, name="find"):
    return call_text([ToolCall(name, each) for each in arguments])


@pytest.mark.parametrize(
    ("answer", "expected", "right"),
    [
        (calls({"thing": "hat"}), calls({"thing": "hat"}), True),
        (calls({"thing": " Hat "}), calls({"thing": "hat"}), True),
        (calls({"thing": "hat", "rooms": 1.0}), calls({"thing": "hat"}), True),  # the default, written out
        (calls({"thing": "hat"}), calls({"thing": "hat", "rooms": 1}), True),
        (calls({"thing": "hat", "rooms": 2}), calls({"thing": "hat"}), False),
        (calls({"lit": True}), calls({"lit": 1}), False),
        (calls({"thing": "5"}), calls({"thing": 5}), False),
        (calls({"thing": ["A", {"b": 1}]}), calls({"thing": ["a", {"b": 1.0}]}), True),
        (calls({"thing": ["a", "b"]}), calls({"thing": ["b", "a"]}), False),  # lists have an order
        (calls({"thing": "a"}, {"thing": "b"}), calls({"thing": "b"}, {"thing": "a"}), True),  # calls have none
        (calls({"thing": "a"}, {"thing": "a"}), calls({"thing": "a"}), False),
        (calls({"thing": "a"}), calls({"thing": "a"}, {"thing": "a"}), False),
        (calls({"thing": "a"}, name="wash"), calls({"thing": "a"}), False),
        ("No hat here.", calls({"thing": "hat"}), False),
        ("No hat here.", "I cannot find things.", True),
        ("", "I cannot find things.", True),
        (calls({"thing": "hat"}), "I cannot find things.", False),
        ("Well: " + calls({"thing": "hat"}), calls({"thing": "hat"}), True),
    ],
)
def test_matches(answer, expected, right):
    assert makes_calls(answer, expected, [FIND]) is right
