"""From lines to records: what is accepted, and for every kind of bad row the line, the field, the reason and a fix."""

import json

import pytest

from domains.domain import PARSERS
from domains.errors import UserError
from domains.example import Message, Preference
from domains.readers import read_documents, read_jsonl, sections
from tests.fakes import reply, turns, write_jsonl

GOOD_PREFERENCE = {"id": "a", "prompt": turns("Q?"), "chosen": reply("Yes."), "rejected": [reply("No.")]}
GOOD_EXAMPLE = {"id": "a", "prompt": turns("Q?"), "completion": reply("Yes.")}
GOOD_UTTERANCE = {"id": "a", "text": "Help", "label": "general"}
GOOD_RULE = {"id": "a", "kind": "red_flag", "question_pattern": "x", "explanation": "Why.", "forbid": ["y"]}
GOOD_PROBE = {"id": "a", "applies_to": ["empathy"], "question": "Q?", "better": "Yes.", "worse": "No."}
GOOD = {
    "probes.jsonl": GOOD_PROBE,
    "preferences.jsonl": GOOD_PREFERENCE,
    "questions.jsonl": GOOD_EXAMPLE,
    "routing.jsonl": GOOD_UTTERANCE,
    "safety.jsonl": GOOD_RULE,
}
LONG = "x" * 200

# file, change of the good row (None takes a key away), field, part of the reason
BAD = [
    ("questions.jsonl", {"id": None}, "id", "missing"),
    ("questions.jsonl", {"id": 7}, "id", "got 7"),
    ("questions.jsonl", {"id": " "}, "id", "non-empty"),
    ("questions.jsonl", {"prompt": None}, "prompt", "list of messages, got null"),
    ("questions.jsonl", {"prompt": []}, "prompt", "list of messages"),
    ("questions.jsonl", {"prompt": " "}, "prompt", "list of messages"),
    ("questions.jsonl", {"prompt": turns("Q?", "A.")}, "prompt", "ends with a assistant turn"),
    ("questions.jsonl", {"prompt": [{"role": "bot", "content": "x"}]}, "prompt[0].role", 'unknown role "bot"'),
    ("questions.jsonl", {"prompt": [*turns("Q?"), {"role": "user"}]}, "prompt[1].content", "empty"),
    ("questions.jsonl", {"prompt": [{"role": ["user"], "content": "x"}]}, "prompt[0].role", "unknown role"),
    ("questions.jsonl", {"prompt": ["Q?"]}, "prompt[0]", "must be an object"),
    ("questions.jsonl", {"completion": None}, "completion", "list of messages"),
    ("questions.jsonl", {"completion": turns("Q?", "A.")}, "completion", "exactly one assistant turn"),
    ("questions.jsonl", {"completion": turns("A.")}, "completion", "exactly one assistant turn"),
    ("questions.jsonl", {"checks": 5}, "checks", "list of objects, got 5"),
    ("questions.jsonl", {"checks": ["max_words"]}, "checks", "list of objects"),
    ("questions.jsonl", {"prompt": None, "messages": turns("Q?")}, "messages", "at least a user and an assistant"),
    ("preferences.jsonl", {"chosen": None}, "chosen", "list of messages"),
    ("preferences.jsonl", {"rejected": None}, "rejected", "missing or empty"),
    ("preferences.jsonl", {"rejected": []}, "rejected", "missing or empty"),
    ("preferences.jsonl", {"rejected": 5}, "rejected", "list of messages, got 5"),
    ("preferences.jsonl", {"rejected": [reply("No."), reply("Yes.")]}, "rejected", "equals the chosen one"),
    ("preferences.jsonl", {"rejected": [reply("No."), []]}, "rejected[1]", "list of messages"),
    ("preferences.jsonl", {"rejected_kinds": ["cold", "long"]}, "rejected_kinds", "2 kinds for 1 answers"),
    ("preferences.jsonl", {"rejected_kinds": 5}, "rejected_kinds", "list of texts, got 5"),
    ("preferences.jsonl", {"rejected_kinds": "cold"}, "rejected_kinds", "list of texts"),
    ("preferences.jsonl", {"scores": [1.0]}, "scores", "must be 2 numbers"),
    ("preferences.jsonl", {"scores": [1.0, "x"]}, "scores", "must be 2 numbers"),
    ("preferences.jsonl", {"scores": [1.0, float("nan")]}, "scores", "all finite"),
    ("preferences.jsonl", {"scores": [float("-inf"), 1.0]}, "scores", "all finite"),
    ("preferences.jsonl", {"scores": [True, 0]}, "scores", "all finite"),
    ("preferences.jsonl", {"scores": [10**400, 0]}, "scores", "all finite"),
    ("routing.jsonl", {"text": None}, "text", "missing"),
    ("routing.jsonl", {"label": LONG + "\n", "text": [LONG]}, "text", '["xxxxxxxxxx'),
    ("routing.jsonl", {"label": ""}, "label", "non-empty"),
    ("probes.jsonl", {"applies_to": None}, "applies_to", "missing or empty"),
    ("probes.jsonl", {"applies_to": "empathy"}, "applies_to", "list of texts"),
    ("probes.jsonl", {"question": " "}, "question", "non-empty"),
    ("probes.jsonl", {"better": None}, "better", "missing"),
    ("probes.jsonl", {"worse": "Yes."}, "worse", "equals the better"),
    ("probes.jsonl", {"reference": 3}, "reference", "must be a text"),
    ("safety.jsonl", {"question_pattern": "("}, "question_pattern", "not a regular expression"),
    ("safety.jsonl", {"require_any": ["a", "["]}, "pattern", "not a regular expression"),
    ("safety.jsonl", {"require_any": [3]}, "require_any", "list of texts"),
    ("safety.jsonl", {"forbid": []}, "require_any", "neither requires nor forbids"),
]


def changed(file_name, change):
    return {key: value for key, value in (GOOD[file_name] | change).items() if value is not None}


@pytest.mark.parametrize(("file_name", "change", "field", "reason"), BAD)
def test_a_bad_row_is_a_problem_with_a_fix_and_the_others_are_kept(tmp_path, file_name, change, field, reason):
    rows = [GOOD[file_name], changed(file_name, change), GOOD[file_name] | {"id": "b"}]
    reading = read_jsonl(write_jsonl(tmp_path / file_name, rows), PARSERS[file_name])
    (problem,) = reading.problems
    assert (problem.file, problem.line, problem.field) == (file_name, 2, field)
    assert reason in problem.reason
    assert problem.fix
    assert len(str(problem)) < 200
    assert [record.id for record in reading.records] == ["a", "b"]
    assert reading.lines == (1, 3)


@pytest.mark.parametrize(
    "line", ["{", "[1, 2]", '"text"', "null", "5", "{'id': 1}", '{"id": "a"} {"id": "b"}', "[" * 9_000, "9" * 9_000]
)
def test_a_line_that_is_no_object(tmp_path, line):
    path = tmp_path / "questions.jsonl"
    path.write_text(f"\n{line}\n{json.dumps(GOOD_EXAMPLE)}\n")
    reading = read_jsonl(path, PARSERS["questions.jsonl"])
    (problem,) = reading.problems
    assert (problem.line, problem.field) == (2, "row")
    assert reading.lines == (3,)


def test_a_repeated_id_names_the_first_line(tmp_path):
    reading = read_jsonl(write_jsonl(tmp_path / "q.jsonl", [GOOD_EXAMPLE, GOOD_EXAMPLE]), PARSERS["questions.jsonl"])
    assert str(reading.problems[0]) == "q.jsonl:2: id: 'a' is already used in line 1. Fix: give each row its own id."
    assert len(reading.records) == 1


def test_forms_of_rejected_answers():
    parse = PARSERS["preferences.jsonl"]
    forms = [reply("No."), [reply("No.")], ["No."], "No."]
    assert {parse(GOOD_PREFERENCE | {"rejected": form}) for form in forms} == {
        Preference("a", (Message("user", "Q?"),), "Yes.", ("No.",))
    }
    many = parse(GOOD_PREFERENCE | {"rejected": ["1", "2"], "rejected_kinds": ["cold", "long"], "scores": [3, 2, 1]})
    assert many.candidates == ("Yes.", "1", "2")
    assert many.scores == (3.0, 2.0, 1.0)


def test_a_whole_conversation_is_split_at_its_last_turn():
    row = {"id": "a", "messages": turns("Q?", "A.", "And?", "B.")}
    example = PARSERS["questions.jsonl"](row)
    assert [m.content for m in example.prompt] == ["Q?", "A.", "And?"]
    assert (example.completion, example.question) == ("B.", "And?")


def test_strings_are_turns():
    example = PARSERS["questions.jsonl"]({"id": "a", "prompt": "Q?", "completion": "A."})
    assert (example.prompt, example.completion) == ((Message("user", "Q?"),), "A.")


def test_byte_order_mark_windows_line_ends_and_line_separators(tmp_path):
    """U+2028 inside a JSON string is text, not a new row."""
    path = tmp_path / "routing.jsonl"
    lines = [json.dumps({"id": str(i), "text": "a\u2028b", "label": "x"}, ensure_ascii=False) for i in range(2)]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join(lines).encode())
    reading = read_jsonl(path, PARSERS["routing.jsonl"])
    assert [r.text for r in reading.records] == ["a\u2028b"] * 2
    assert reading.lines == (1, 3)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_jsonl(tmp_path / "none.jsonl", PARSERS["routing.jsonl"])
    (tmp_path / "latin.jsonl").write_bytes(b'{"id": "\xe9"}\n')
    with pytest.raises(UserError, match="not UTF-8"):
        read_jsonl(tmp_path / "latin.jsonl", PARSERS["routing.jsonl"])


def test_sections_keep_the_title_and_leave_the_sources_out():
    text = "# Title\n\nIntro.\n\n## One\n\nBody.\n\n### Detail\n\nMore.\n\n## Empty\n\n## Sources\n\nwww\n"
    found = {d.id: d.text for d in sections("file", text)}
    assert found == {
        "file#0": "# Title\n\nIntro.",
        "file#1": "# Title\n\n## One\n\nBody.\n\n### Detail\n\nMore.",
    }


def test_text_without_headings_is_one_section():
    assert [d.text for d in sections("file", "First line.\nRest.")] == ["# First line.\n\nRest."]
    assert list(sections("file", "  \n")) == []


def test_documents_of_a_folder_in_order_of_their_names(tmp_path):
    (tmp_path / "b.md").write_text("# B\n\nText b.")
    (tmp_path / "a.txt").write_text("# A\n\nText a.")
    (tmp_path / "c.pdf").write_text("no")
    assert [d.id for d in read_documents(tmp_path)] == ["a#0", "b#0"]
