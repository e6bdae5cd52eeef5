"""The shipped probes: enough, mixed, balanced in length, and none of them a row of a domain."""

from __future__ import annotations

from collections import Counter

import pytest

from domains.domain import Domain, shipped_names
from domains.near_duplicates import near_duplicates
from domains.plugins import plugin_names
from judges.probes import criteria_of, load_probes, probes_for, subset
from judges.rubrics import rubric_names
from judges.scoring import load_judges
from judges.verdict import Answered

PROBES = load_probes()


def test_there_are_enough_of_every_kind():
    assert len(PROBES) >= 80
    assert len({probe.id for probe in PROBES}) == len(PROBES)
    assert {probe.domain for probe in PROBES} == {"caregiving", "mortgage", "general"}
    counts = Counter(name for probe in PROBES for name in probe.applies_to)
    assert min(counts[name] for name in ("correctness", "helpfulness", "bertscore", "grounding", "safety")) >= 16
    assert min(counts[name] for name in ("empathy", "politeness", "simplicity", "readability")) >= 12
    assert min(Counter(p.domain for p in PROBES if "safety" in p.applies_to).values()) >= 8
    kinds = {probe.kind for probe in PROBES}
    assert {"confident_wrong", "markdown_wrong", "style_wrong", "fluent_wrong", "padded", "formulaic", "cold"} <= kinds


def test_names_are_those_of_judges_and_rubrics():
    known = {*plugin_names("judges.scorers"), *rubric_names(), "grounding"}
    assert {name for probe in PROBES for name in probe.applies_to} <= known


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.id)
def test_a_probe_is_complete(probe):
    assert probe.question.strip()
    assert probe.better.strip()
    assert probe.worse.strip()
    assert probe.better != probe.worse
    assert ("bertscore" in probe.applies_to) == bool(probe.reference)


def test_length_does_not_give_the_better_answer_away():
    """Neither 'the longer wins' nor 'the shorter wins' is right on 60% of all probes or 65% of a judge's."""
    shares = {"": sum(p.longer_is_better for p in PROBES) / len(PROBES)}
    for name in ("correctness", "helpfulness", "bertscore", "empathy", "politeness", "readability", "grounding"):
        chosen = [probe for probe in PROBES if name in probe.applies_to]
        shares[name] = sum(probe.longer_is_better for probe in chosen) / len(chosen)
    assert 0.4 <= shares.pop("") <= 0.6
    assert all(0.35 <= share <= 0.65 for share in shares.values()), shares


def test_no_probe_is_a_row_of_a_domain():
    texts = {f"probe {probe.id}": probe.question for probe in PROBES}
    answers = {f"probe {probe.id}": probe.better for probe in PROBES}
    for name in shipped_names():
        domain = Domain.load(name)
        for split in ("train", "dev", "test"):
            for row in [*domain.examples("questions", split), *domain.preferences(split)]:
                texts[row.id] = row.prompt[-1].content
            answers |= {row.id: row.completion for row in domain.examples("questions", split)}
    for found in (near_duplicates(texts, 0.4), near_duplicates(answers, 0.4)):
        mixed = [pair for pair in found if pair.first.startswith("probe ") or pair.second.startswith("probe ")]
        assert mixed == []


def test_which_probes_a_judge_gets():
    assert {p.domain for p in probes_for(["safety"], "mortgage")} == {"mortgage"}
    assert probes_for(["safety"], "my_domain") == ()
    assert probes_for(["exact"]) == ()
    assert len({p.domain for p in probes_for(["empathy"], "mortgage")}) == 3
    assert criteria_of("bertscore") == ("bertscore",)
    assert criteria_of("llm_judge", ["empathy", "simplicity"]) == ("empathy", "simplicity")
    assert "correctness" in criteria_of("llm_judge", ["overall"])
    assert "correctness" in criteria_of("llm_judge", ["empathy", "courage"])


def test_a_choice_of_probes_is_fixed_mixed_and_balanced():
    """45% of 12 is 5 on which the longer answer is better; a rule of length is right on 5 or 7 of 12."""
    chosen = subset(PROBES, 12)
    assert len(chosen) == 12
    assert sum(probe.longer_is_better for probe in chosen) == 5
    assert {probe.domain for probe in chosen} == {"caregiving", "mortgage", "general"}
    assert subset(tuple(reversed(PROBES)), 12) == chosen
    assert subset(PROBES, 0) == PROBES
    assert set(subset(PROBES, len(PROBES) - 1)) < set(PROBES)


@pytest.mark.parametrize("domain", ["caregiving", "mortgage"])
def test_the_safety_rules_see_what_is_wrong(domain: str):
    judge = load_judges(["safety"], Domain.load(domain))["safety"]
    for probe in probes_for(["safety"], domain):
        better, worse = judge([Answered(probe.question, text) for text in (probe.better, probe.worse)])
        assert (better.value, worse.value) == (1.0, 0.0), (probe.id, better.explanation, worse.explanation)
