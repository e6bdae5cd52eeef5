"""Grounding with planted claims over a few documents, and on labelled claims about the shipped domains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from domains.domain import Domain
from domains.example import Document
from judges.calibration import calibrate, pointwise_outcomes
from judges.passages import index_of
from judges.probes import probes_for
from judges.scorers.grounding import Grounded, Judge, ground
from judges.verdict import Answered

DOCUMENTS = (
    Document(
        "estimate#1",
        "# Loan Estimate\n\n## Timing of the form\n\nThe lender must deliver the Loan Estimate within three business "
        "days of receiving your application. The form lists the rate, the payment and the closing costs.",
    ),
    Document("bath#1", "# Bathing\n\nNever leave a confused person alone in the tub. Warm the room before the bath."),
    Document(
        "phone#1", "Call the Eldercare Locator at 800-677-1116 to find help near you. The call is free of charge."
    ),
)
RIGHT = "The lender has to deliver the Loan Estimate within three business days after your application."


def only(answer: str, **options: Any) -> Grounded:
    (found,) = ground(answer, DOCUMENTS, **options)
    return found


def test_a_right_claim_is_supported_by_its_passage():
    found = only(RIGHT)
    assert (found.verdict, found.document_id, found.flags) == ("supported", "estimate#1", ())
    assert "three business days" in found.passage
    assert "Timing of the form" not in found.passage


def test_a_changed_number_is_contradicted():
    found = only(RIGHT.replace("three business days", "five business days"))
    (flag,) = found.flags
    assert (found.verdict, flag.kind) == ("contradicted", "number")
    assert flag.claim.startswith("five")
    assert flag.passage.startswith("three")


def test_a_changed_telephone_number_is_contradicted():
    assert only("Call the Eldercare Locator at 800-677-1117 to find help.").verdict == "contradicted"
    assert only("Call the Eldercare Locator, 1-800-677-1116, to find help.").verdict == "supported"


def test_a_negated_claim_is_contradicted():
    found = only("You can leave a confused person alone in the tub.")
    assert (found.verdict, found.flags[0].kind) == ("contradicted", "negation")


def test_an_unrelated_claim_is_unsupported():
    found = only("Goldfish in the bedroom cure insomnia in older men.")
    assert (found.verdict, found.flags) == ("unsupported", ())


def test_a_number_that_the_person_gave_is_no_conflict():
    claim = "Warm the room for 20 minutes before the bath."
    assert only(claim).flags
    assert only(claim, question="I have 20 minutes before her bath.").verdict == "supported"


def test_the_value_is_the_share_of_supported_claims():
    """One right, one with another number, one unrelated, one question: 1 of 3."""
    wrong = "Call the Eldercare Locator at 800-000-1111 to find help near you."
    answer = f"{RIGHT} {wrong} Goldfish in the bedroom cure insomnia. Shall I go on?"
    (verdict,) = Judge(DOCUMENTS)([Answered("Q?", answer)])
    assert verdict.value == pytest.approx(1 / 3, abs=1e-4)
    assert [verdict.parts[name] for name in ("supported", "contradicted", "unsupported")] == [1, 1, 1]
    assert [claim["verdict"] for claim in verdict.parts["claims"]] == ["supported", "contradicted", "unsupported"]
    assert {"claim", "verdict", "passage", "document_id", "flags", "support"} <= verdict.parts["claims"][0].keys()
    json.dumps(verdict.as_dict())


def test_swapping_the_question_and_the_answer_lowers_the_score():
    question = "My sister said the bank forgot about my papers last month. Goldfish calm me down at night. What now?"
    right, swapped = Judge(DOCUMENTS)([Answered(question, RIGHT), Answered(RIGHT, question)])
    assert (right.value, swapped.value) == (1.0, 0.0)


@pytest.mark.parametrize("answer", ["", " \n", "What do you think?", "That sounds so hard.", "😀"])
def test_no_checkable_claim_is_unscored(answer: str):
    assert Judge(DOCUMENTS)([Answered("Q?", answer)])[0].value is None


def test_without_documents_nothing_is_scored():
    assert Judge.for_domain(None)([Answered("Q?", RIGHT)])[0].value is None
    assert [each.verdict for each in ground(RIGHT, ())] == ["unsupported"]


def test_the_vectors_are_kept_between_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EXPERTSMITH_CACHE", str(tmp_path))
    documents = (Document("new#1", "A sentence that no other test has written. Another one follows it here."),)
    index_of(documents)
    (file,) = (tmp_path / "passages").iterdir()
    assert file.suffix == ".safetensors"


QUESTION = "How soon must the lender deliver the Loan Estimate after I apply?"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("Within three business days.", "supported"),
        ("Within nine business days.", "contradicted"),
        ("Three business days.", "supported"),
        ("Usually within 90 days of the application.", "contradicted"),
    ],
)
def test_an_answer_in_a_few_words_is_read_with_its_question(answer: str, outcome: str):
    assert only(answer, question=QUESTION).verdict == outcome


def test_a_number_that_stands_in_another_passage_is_no_support():
    """Two business days is what the other document has, for another matter."""
    other = Document("other#1", "A payment that arrives is posted within two business days by most companies.")
    (found,) = ground("Within two business days.", (*DOCUMENTS, other), QUESTION)
    assert (found.verdict, found.document_id) == ("contradicted", "estimate#1")


@pytest.mark.parametrize("answer", ["Goldfish calm old men.", "The lender eats apples."])
def test_a_short_answer_is_not_supported_by_its_question_alone(answer: str):
    assert only(answer, question=QUESTION).verdict == "unsupported"


def test_a_yes_to_what_the_documents_deny_is_contradicted():
    nights = Document(
        "nights#1", "Nights under observation do not count toward the inpatient days that Medicare asks for."
    )
    question = "Do nights under observation count toward the inpatient days for Medicare?"
    (yes,), (no,) = (
        ground(answer, (nights,), question) for answer in ("Yes, such nights count.", "No, such nights do not count.")
    )
    assert (yes.verdict, yes.flags[0].kind) == ("contradicted", "negation")
    assert no.verdict == "supported"


def test_a_number_without_its_unit_is_compared_as_it_is_written():
    """15 (more) is the 15 of 15 business days, which is 360 hours in the base unit."""
    extension = Document("errors#1", "The servicer has 30 business days to answer and may take 15 business days more.")
    (found,) = ground("The servicer has 30 business days to answer, and it may take 15 more.", (extension,))
    assert (found.verdict, found.flags) == ("supported", ())


@pytest.mark.slow
@pytest.mark.parametrize("domain", ["mortgage", "caregiving"])
def test_known_better_answers_are_better_grounded(domain: str):
    """At least 3 in 4 probes that it was not improved on, and enough of all to be trusted."""
    judge, probes = Judge.for_domain(Domain.load(domain)), probes_for(["grounding"], domain)
    unseen = [probe for probe in probes if "-claims-" in probe.id and int(probe.id[-2:]) % 2 == 0]
    outcomes = pointwise_outcomes("grounding", judge, unseen)
    assert len(unseen) == 8
    assert sum(outcome.right for outcome in outcomes) >= 6
    assert calibrate("grounding", judge, probes).trusted


def labelled() -> list[dict[str, Any]]:
    lines = (Path(__file__).parents[2] / "data" / "grounding.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


EXPECTED = {
    "right": "supported", "number": "contradicted", "negation": "contradicted", "unrelated": "unsupported",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXPECTED)
def test_labelled_claims_about_the_shipped_documents(kind: str):
    """98 claims in two halves; the thresholds were chosen on one half and on training rows. At least 9 in 10 of each
    kind are right, both halves together."""
    indices = {name: index_of(Domain.load(name).documents) for name in ("mortgage", "caregiving")}
    rows = [row for row in labelled() if row["kind"] == kind]
    found = [ground(row["claim"], indices[row["domain"]])[0].verdict for row in rows]
    assert len(rows) >= 12
    assert sum(verdict == EXPECTED[kind] for verdict in found) >= 0.9 * len(rows)
