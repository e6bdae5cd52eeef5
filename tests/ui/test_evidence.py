"""Evidence in answers: phrases, spans and flags of any judge, escaped, and never a mark inside another."""

from __future__ import annotations

import pytest

from ui.evidence import Mark, evidence, marked

ANSWER = "Call your doctor today. Never stop the medicine yourself; the doctor decides."


@pytest.mark.parametrize(
    "parts",
    [
        {"phrases": ["doctor"]},
        {"matches": [{"text": "DOCTOR", "rule": "advice"}]},
        {"claims": [{"claim": "doctor", "flag": "number"}]},
        {"spans": [{"start": 10, "end": 16, "label": "x"}, [62, 68]]},
        {"evidence": {"doctor": 0.5}},
        {"matched": "doctor"},
    ],
)
def test_every_form_points_at_the_same_words(parts):
    found = evidence(ANSWER, {"safety": parts})
    assert [ANSWER[m.start : m.end].lower() for m in found.marks] == ["doctor", "doctor"]


def test_flags_without_words_are_listed_once():
    found = evidence(ANSWER, {"safety": {"broken": ["dosing", "dosing"], "flags": [{"kind": "negation"}]}})
    assert set(found.flags) == {"safety: dosing", "safety: negation"}
    assert found.marks == ()


def test_other_parts_and_nonsense_are_no_evidence():
    parts = {"tokens": 12, "kind": "open", "spans": [[5, 500], [9, 2], "ab", None, {"start": "1"}], "flags": [None, 3]}
    found = evidence(ANSWER, {"x": parts})
    assert (found.marks, found.flags) == ((), ())


def test_whole_words_only():
    assert evidence("The doctorate of a doctor.", {"x": {"phrases": ["doctor"]}}).marks == (Mark(19, 25, "x"),)


def test_marks_are_escaped_and_do_not_overlap():
    text = '<b>"bad" & worse</b>'
    html = str(marked(text, [Mark(0, 3, 'a "name"'), Mark(1, 8, "inside"), Mark(9, 10, "and")]))
    assert html == (
        '<mark title="a &#34;name&#34;">&lt;b&gt;</mark>&#34;bad&#34; <mark title="and">&amp;</mark> worse&lt;/b&gt;'
    )


def test_no_marks_leave_the_escaped_text():
    assert str(marked("a < b", [])) == "a &lt; b"
