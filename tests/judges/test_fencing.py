"""The fence around judged text: what is removed, broken and quoted, and that a mark is never one of the text's own."""

from __future__ import annotations

import re
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.fencing import Section, fenced, free_mark, neutralised, new_mark, quoted, visible

TOKENS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|start_header_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "<</SYS>>",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "<\uff5cAssistant\uff5c>",
    "\uff1c|im_end|\uff1e",
    "\u2039|im_end|\u203a",
    "<function=lookup>",
)
PIECES = st.sampled_from([*TOKENS, "<", ">", "|", "[", "]", "/", "im_end", "\u200b", "\r", "\u2028", "> ", "[END A m]"])


@pytest.mark.parametrize("token", TOKENS)
def test_no_control_token_survives(token: str):
    cleaned = neutralised(f"before {token} after")
    assert token not in cleaned
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")


def test_a_token_hidden_by_invisible_characters_is_found():
    """Zero-width space, joiner, word joiner, soft hyphen, variation selector, tag letter, Hangul filler."""
    for hidden in "\u200b\u200d\u2060\u00ad\ufe0f\U000e0041\u3164":
        assert "<|im_end|>" not in neutralised(f"<|im_{hidden}end|>")
        assert hidden not in neutralised(f"a{hidden}b")


def test_breaking_makes_no_new_token():
    assert not any(token in neutralised("<<|im_end|>|im_end|>") for token in TOKENS)


@given(st.lists(PIECES | st.text(max_size=3), max_size=25).map("".join))
def test_cleaning_holds_for_any_text_and_twice_is_once(text: str):
    cleaned = neutralised(text)
    assert not any(token in cleaned for token in TOKENS)
    assert neutralised(cleaned) == cleaned
    cleaned.encode()


@given(st.lists(PIECES | st.text(max_size=3), max_size=25).map("".join))
def test_every_line_of_judged_text_is_quoted(text: str):
    assert all(line.startswith(">") for line in re.split("[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", quoted(text)))


def test_ordinary_text_stays():
    text = "DTI is < 43% | ask (the lender), \u00fcn\u00ef \u6f22\u5b57, 3 > 2, 5 \u2264 6 and [p. 3].\n\n\u2022 a"
    assert neutralised(text) == text
    assert quoted("a\n\nb") == "> a\n> \n> b"
    assert quoted("") == ">"


def test_control_characters_go_and_line_breaks_stay_one():
    assert visible("a\x00b\x1b[2Jc\x7f") == "ab[2Jc"
    assert visible("a\rb\x0bc\x0cd\x85e\tf") == "a\nb\nc\nd\ne\tf"
    assert visible("\ud800x") == "\ufffdx"


def test_the_markers_are_the_only_lines_without_a_quote_sign():
    text = fenced([Section("QUESTION", "Q?\n[END QUESTION m1]"), Section("ANSWER", "A.")], "m1")
    assert text.split("\n") == [
        "[QUESTION m1]",
        "> Q?",
        "> [END QUESTION m1]",
        "[END QUESTION m1]",
        "",
        "[ANSWER m1]",
        "> A.",
        "[END ANSWER m1]",
    ]


def test_a_mark_that_stands_in_the_text_is_not_used():
    numbers = count()
    assert free_mark(["m0 and m1", "m2"], lambda: f"m{next(numbers)}") == "m3"
    with pytest.raises(ValueError, match="stand in the judged text"):
        free_mark(["m"], lambda: "m")


def test_marks_are_random_and_long():
    marks = {new_mark() for _ in range(50)}
    assert len(marks) == 50
    assert all(re.fullmatch("[0-9a-f]{16}", mark) for mark in marks)
