"""Evidence in answers: phrases, spans and flags of any judge, escaped, and never a mark inside another."""

from __future__ import annotations

import pytest

from domains.example import Document
from judges.scorers import empathy, grounding
from judges.verdict import Answered
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


def test_the_empathy_judge_s_phrases_are_marked_with_their_axis():
    """Real output of the judge: axes with lists of phrases."""
    answer = "I am so sorry that you lost your mother. How have you been sleeping since then?"
    parts = empathy.empathy("My mother died.", answer).parts
    found = evidence(answer, {"empathy": parts})
    marked_words = {mark.name: answer[mark.start : mark.end] for mark in found.marks}
    assert "sorry" in marked_words["empathy: emotional reaction"]
    assert "empathy: exploration" in marked_words


def test_a_contradicted_claim_is_marked_and_flagged_with_its_passage():
    """Real output of the judge: the number differs from the document's."""
    document = Document("fees.md#1", "The late fee is 5% of the payment after a grace period of 15 days.")
    answer = "The late fee is 9% of the payment after a grace period of 15 days."
    (verdict,) = grounding.Judge((document,))([Answered("What is the late fee?", answer)])
    assert verdict.parts["contradicted"] == 1
    found = evidence(answer, {"grounding": verdict.parts})
    (mark,) = found.marks
    assert mark.name.startswith("grounding: contradicted; number")
    assert "fees.md#1: The late fee is 5%" in mark.name
    (flag,) = found.flags
    assert "contradicted" in flag
    right = document.text
    (verdict,) = grounding.Judge((document,))([Answered("What is the late fee?", right)])
    found = evidence(right, {"grounding": verdict.parts})
    assert [mark.name.split(" – ")[0] for mark in found.marks] == ["grounding: supported"]
    assert found.flags == ()
