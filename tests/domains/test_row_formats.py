"""Each format: its rows are known by their keys alone, and say the same in TRL's form."""

import pytest

from domains.readers import RowError, parse_example, parse_preference
from domains.row_formats import format_names, format_of, load_format
from tests.fakes import reply, turns

ASKED, GOOD, BAD = "How long is a lock?", "It is often 30 to 60 days.", "Who knows."
SYSTEM = {"role": "system", "content": "Be brief."}
HUMAN = f"\n\nHuman: {ASKED}\n\nAssistant:"
SHAREGPT = [{"from": "human", "value": ASKED}, {"from": "gpt", "value": GOOD}]
PAIR = {"prompt": turns(ASKED), "chosen": reply(GOOD), "rejected": [reply(BAD)]}
SFT = {"prompt": turns(ASKED), "completion": reply(GOOD)}
EARLIER = "\n\nHuman: Hi\n\nAssistant: Hello."
CRITIC = {"helpfulness": {"Rating": "4"}, "honesty": {"Rating": "5"}, "note": "x"}

# format, row, what it says in TRL's form
READ = [
    ("preference", {"prompt": turns(ASKED), "chosen": reply(GOOD), "rejected": reply(BAD)}, PAIR),
    ("preference", {"prompt": ASKED, "chosen": GOOD, "rejected": BAD}, PAIR),
    ("preference", {"prompt": ASKED, "chosen": GOOD, "rejected": [BAD]}, PAIR),
    ("preference", {"chosen": turns(ASKED, GOOD), "rejected": turns(ASKED, BAD)}, PAIR),
    ("preference", {"prompt": turns(ASKED), "chosen": turns(ASKED, GOOD), "rejected": turns(ASKED, BAD)}, PAIR),
    ("prompt_completion", {"prompt": ASKED, "completion": GOOD}, SFT),
    ("prompt_completion", {"prompt": turns(ASKED), "completion": reply(GOOD)}, SFT),
    ("messages", {"messages": turns(ASKED, GOOD)}, SFT),
    ("sharegpt", {"conversations": SHAREGPT}, SFT),
    ("sharegpt", {"conversations": turns(ASKED, GOOD)}, SFT),
    ("sharegpt", {"conversations": SHAREGPT, "system": "Be brief."}, {**SFT, "prompt": [SYSTEM, *turns(ASKED)]}),
    ("sharegpt", {"conversations": SHAREGPT[:1], "chosen": SHAREGPT[1], "rejected": BAD}, PAIR),
    ("sharegpt", {"conversations": SHAREGPT[:1], "chosen": [SHAREGPT[1]], "rejected": [BAD]}, PAIR),
    ("alpaca", {"instruction": ASKED, "input": "", "output": GOOD}, SFT),
    (
        "alpaca",
        {"instruction": "Sum up.", "input": ASKED, "output": GOOD},
        {**SFT, "prompt": turns(f"Sum up.\n\n{ASKED}")},
    ),
    ("alpaca", {"instruction": ASKED, "chosen": GOOD, "rejected": BAD}, PAIR),
    (
        "alpaca",
        {"instruction": ASKED, "output": GOOD, "system": "Be brief.", "history": [["Hi", "Hello."]]},
        {**SFT, "prompt": [SYSTEM, *turns("Hi", "Hello.", ASKED)]},
    ),
    ("hh_rlhf", {"chosen": f"{HUMAN} {GOOD}", "rejected": f"{HUMAN} {BAD}"}, PAIR),
    (
        "hh_rlhf",
        {"chosen": f"{EARLIER}{HUMAN} {GOOD}", "rejected": f"{EARLIER}{HUMAN} {BAD}"},
        {**PAIR, "prompt": turns("Hi", "Hello.", ASKED)},
    ),
    (
        "ultrafeedback",
        {
            "prompt": ASKED,
            "chosen": turns(ASKED, GOOD),
            "rejected": turns(ASKED, BAD),
            "score_chosen": 8,
            "score_rejected": 2.5,
        },
        {**PAIR, "scores": [8.0, 2.5]},
    ),
    (
        "ultrafeedback",
        {
            "instruction": ASKED,
            "completions": [{"response": BAD, "overall_score": 2}, {"response": GOOD, "annotations": CRITIC}],
        },
        {**PAIR, "scores": [4.5, 2.0]},
    ),
    (
        "ultrafeedback",
        {"prompt": ASKED, "completions": ["No.", GOOD, BAD], "scores": [1, "3", 2]},
        {**PAIR, "rejected": [reply(BAD), reply("No.")], "scores": [3.0, 2.0, 1.0]},
    ),
]

# format, row, field of the problem, part of the reason
REFUSED = [
    ("preference", {"chosen": GOOD, "rejected": BAD}, "prompt", "share no turn"),
    ("preference", {"prompt": ASKED, "chosen": GOOD}, "rejected", "missing or empty"),
    ("preference", {"prompt": ASKED, "chosen": GOOD, "rejected": 5}, "rejected[0]", "list of messages"),
    ("preference", {"prompt": ASKED, "chosen": GOOD, "rejected": GOOD}, "rejected", "equals the chosen one"),
    ("prompt_completion", {"prompt": ASKED, "completion": BAD, "label": False}, "label", "unpaired"),
    ("prompt_completion", {"completion": BAD}, "prompt", "list of messages"),
    ("messages", {"messages": turns(ASKED)}, "messages", "at least a user and an assistant"),
    ("messages", {"messages": turns(ASKED, GOOD, "Thanks")}, "messages", "not with an assistant"),
    ("messages", {"messages": [5, 5]}, "messages", "ends with 5"),
    ("sharegpt", {"conversations": "x"}, "conversations", "list of turns"),
    ("sharegpt", {"conversations": ["x"]}, "conversations[0]", "must be an object"),
    ("sharegpt", {"conversations": [*SHAREGPT, {"from": "tool", "value": "x"}]}, "conversations[2].from", "unknown"),
    ("sharegpt", {"conversations": [{"from": ["human"], "value": "x"}]}, "conversations[0].from", "unknown"),
    ("sharegpt", {"conversations": [SHAREGPT[0], {"from": "gpt"}]}, "completion[0].content", "empty"),
    ("alpaca", {"instruction": "", "output": GOOD}, "instruction", "non-empty"),
    ("alpaca", {"instruction": ASKED}, "output", "missing"),
    ("alpaca", {"instruction": ASKED, "input": 5, "output": GOOD}, "input", "must be a text"),
    ("alpaca", {"instruction": ASKED, "output": GOOD, "history": [["a"]]}, "history", "list of pairs"),
    ("hh_rlhf", {"chosen": f"{HUMAN} {GOOD}", "rejected": BAD}, "rejected", "no dialogue"),
    ("hh_rlhf", {"chosen": f"{HUMAN} {GOOD}", "rejected": f"{HUMAN}"}, "rejected[0][0].content", "empty"),
    (
        "hh_rlhf",
        {"chosen": f"{HUMAN} {GOOD}", "rejected": "\n\nHuman: x\n\nAssistant: y"},
        "rejected",
        "before the last",
    ),
    ("hh_rlhf", {"chosen": f"{HUMAN} {GOOD}\n\nHuman: Bye", "rejected": BAD}, "chosen", "does not end"),
    (
        "ultrafeedback",
        {"prompt": ASKED, "chosen": GOOD, "rejected": BAD, "score_chosen": 1, "score_rejected": 2},
        "score_rejected",
        "above",
    ),
    (
        "ultrafeedback",
        {"prompt": ASKED, "chosen": GOOD, "rejected": BAD, "score_chosen": "x", "score_rejected": 2},
        "score_chosen",
        "number",
    ),
    (
        "ultrafeedback",
        {"prompt": ASKED, "completions": [GOOD, BAD], "scores": [2, 2]},
        "completions",
        "different scores",
    ),
    ("ultrafeedback", {"prompt": ASKED, "completions": [GOOD, BAD], "scores": [2]}, "scores", "2 numbers"),
    ("ultrafeedback", {"prompt": ASKED, "completions": [GOOD, BAD], "scores": [2, True]}, "scores[1]", "number"),
    (
        "ultrafeedback",
        {"prompt": ASKED, "completions": [GOOD, BAD], "scores": [2, float("nan")]},
        "scores[1]",
        "number",
    ),
    ("ultrafeedback", {"prompt": ASKED, "completions": 5}, "completions", "must be a list"),
    ("ultrafeedback", {"prompt": ASKED, "completions": []}, "completions", "different scores"),
    ("ultrafeedback", {"prompt": ASKED, "completions": [{"response": GOOD}]}, "completions[0].score", "missing"),
    (
        "ultrafeedback",
        {"prompt": ASKED, "completions": [{"response": " ", "score": 1}]},
        "completions[0].response",
        "empty",
    ),
]


def parsed(row):
    """The record of a row in TRL's form."""
    row = {"id": "a", **{key: value for key, value in row.items() if key != "notes"}}
    return parse_preference(row) if "chosen" in row else parse_example("instructions")(row)


@pytest.mark.parametrize(("name", "row", "expected"), READ)
def test_a_row_is_known_by_its_keys_and_says_the_same(name, row, expected):
    assert format_of(row) == name
    assert parsed(load_format(name).to_trl(row)) == parsed(expected)


@pytest.mark.parametrize(("name", "row"), [(name, row) for name, row, *_ in [*READ, *REFUSED]])
def test_no_row_has_two_formats(name, row):
    assert [each for each in format_names() if load_format(each).matches(row)] == [name]


@pytest.mark.parametrize(("name", "row", "field", "reason"), REFUSED)
def test_a_bad_row_is_refused_with_its_field(name, row, field, reason):
    with pytest.raises(RowError) as caught:
        parsed(load_format(name).to_trl(row))
    assert caught.value.field == field
    assert reason in caught.value.reason
    assert caught.value.fix


@pytest.mark.parametrize("row", [{}, {"text": "x"}, {"prompt": "x"}, {"label": True}, {"score_chosen": 1}])
def test_rows_of_no_format(row):
    assert format_of(row) is None


@pytest.mark.parametrize("name", format_names())
@pytest.mark.parametrize("value", [5, "x", [], {}, [5], [[5]], [{}], True])
def test_any_value_under_any_key_is_a_record_or_a_row_error(name, value):
    """No hostile value is another kind of exception."""
    module = load_format(name)
    rows = [{**row, key: value} for each, row, _ in READ if each == name for key in module.KEYS]
    errors = [error for row in rows if (error := refusal(module, row)) is not None]
    assert all(error.fix for error in errors)


def refusal(module, row):
    """The RowError of a row, None when it is read; every other exception comes through."""
    try:
        parsed(module.to_trl(row))
    except RowError as error:
        return error
    return None


def test_completions_that_tie_with_the_best_are_left_out_and_noted():
    """Scores 3, 3, 1: one of the two best is chosen, the other is neither chosen nor rejected."""
    row = {"prompt": ASKED, "completions": [GOOD, "Also good.", BAD], "scores": [3, 3, 1]}
    found = load_format("ultrafeedback").to_trl(row)
    assert (found["scores"], len(found["rejected"]), len(found["notes"])) == ([3.0, 1.0], 1, 1)


def test_earlier_answers_that_are_not_trained_are_noted():
    module = load_format("messages")
    assert module.to_trl({"messages": turns(ASKED, GOOD, "And then?", BAD)})["notes"]
    assert not module.to_trl({"messages": turns(ASKED, GOOD)})["notes"]
