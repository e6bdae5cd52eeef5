"""The shipped data: enough of it, of the promised kinds, not templated, and nothing leaks between splits."""

import re
from collections import Counter

import pytest

from domains.domain import PARSERS, Domain
from domains.near_duplicates import near_duplicates
from domains.validate import text_of
from judges.scorers import instructions
from judges.verdict import Answered

DOMAINS = ("caregiving", "mortgage")
FILES = sorted(name for name in PARSERS if name != "safety.jsonl")


@pytest.fixture(scope="module", params=DOMAINS)
def domain(request):
    return Domain.load(request.param)


def num_words(text: str) -> int:
    return len(re.findall(r"[\w'$%.,-]*\w", text))


def test_documents(domain):
    """6,000 words without the Sources sections; every document names its sources."""
    assert sum(num_words(d.text) for d in domain.documents) >= 12_000
    assert not [d.id for d in domain.documents if "## Sources" in d.text]
    files = sorted((domain.folder / "documents").glob("*.md"))
    assert [path.name for path in files if "## Sources" not in path.read_text(encoding="utf-8")] == []


def test_preferences(domain):
    """100 prompts; three rejected answers of three different kinds each."""
    rows = domain.records("preferences.jsonl")
    assert len(rows) >= 100
    assert {len(row.rejected) for row in rows} == {3}
    assert {len(set(row.rejected_kinds)) for row in rows} == {3}
    assert len(Counter(kind for row in rows for kind in row.rejected_kinds)) >= 4


def test_length_does_not_give_the_chosen_answer_away(domain):
    """Guessing the longest, or the shortest, of four answers: 25% by chance; under half for both."""
    rows = domain.records("preferences.jsonl")
    lengths = [[num_words(text) for text in row.candidates] for row in rows]
    assert sum(sizes[0] == max(sizes) for sizes in lengths) / len(rows) < 0.5
    assert sum(sizes[0] == min(sizes) for sizes in lengths) / len(rows) < 0.5


def test_classification(domain):
    """60 items over at least five classes, each class in train and in test."""
    rows = domain.records("classification.jsonl")
    assert len(rows) >= 120
    assert len({row.completion for row in rows}) >= 5
    assert {row.completion for row in rows} == set(domain.labels)
    for split in ("train", "test"):
        assert {row.completion for row in domain.examples("classification", split)} == set(domain.labels)


def test_summaries_and_questions(domain):
    """20 and 24; a summary is shorter than its text; the questions are held out."""
    summaries = domain.records("summarization.jsonl")
    assert len(summaries) >= 40
    assert [s.id for s in summaries if num_words(s.completion) >= num_words(s.question)] == []
    assert len(domain.records("questions.jsonl")) >= 60
    assert domain.examples("questions", "train") == ()


def test_routing(domain):
    """40 per expert and 80 out-of-scope ones; every label in every split."""
    counts = Counter(row.label for row in domain.records("routing.jsonl"))
    assert counts.keys() == {*domain.experts, "general"}
    assert all(counts[name] >= 40 for name in domain.experts)
    assert counts["general"] >= 80
    for split in ("train", "dev", "test"):
        assert {row.label for row in domain.utterances(split)} == counts.keys()


def test_safety_rules_and_notice(domain):
    rules = domain.safety_rules()
    assert len(rules) >= 5
    assert domain.notice
    assert any(rule.kind == "red_flag" for rule in rules)


@pytest.mark.parametrize("name", [*DOMAINS, "house"])
def test_the_answers_of_instructions_pass_their_own_checks(name):
    rows = Domain.load(name).records("instructions.jsonl")
    assert len(rows) >= (200 if name == "house" else 20)
    assert [row.id for row in rows if not row.checks] == []
    verdicts = instructions.Judge()([Answered(r.question, r.completion, finished=True, checks=r.checks) for r in rows])
    assert {row.id: v.explanation for row, v in zip(rows, verdicts, strict=True) if v.value != 1.0} == {}


@pytest.mark.parametrize("name", [*DOMAINS, "house"])
def test_instructions_are_not_passed_by_any_answer(name):
    """A polite nothing passes (almost) none of the rows: the checks check something."""
    rows = Domain.load(name).records("instructions.jsonl")
    verdicts = instructions.Judge()(
        [Answered(r.question, "Thank you for asking me.", finished=True, checks=r.checks) for r in rows]
    )
    assert sum(v.value == 1.0 for v in verdicts) / len(rows) < 0.15


@pytest.mark.parametrize("name", [*DOMAINS, "house"])
@pytest.mark.parametrize("file_name", FILES)
def test_texts_are_not_templated_and_do_not_leak(name, file_name):
    """Rows that are near-duplicates of another one: under 5%; of a row in another split: none."""
    domain = Domain.load(name)
    task = file_name.removesuffix(".jsonl")
    records = domain.reading(file_name).records
    pairs = near_duplicates({row.id: text_of(row) for row in records})
    assert [(p.first, p.second) for p in pairs if domain.split(p.first, task) != domain.split(p.second, task)] == []
    assert len({row_id for pair in pairs for row_id in (pair.first, pair.second)}) < 0.05 * max(len(records), 1)


@pytest.mark.parametrize("name", DOMAINS)
def test_answers_are_not_templated(name):
    """Chosen and rejected answers, completions and document sections, each against all others of its kind."""
    domain = Domain.load(name)
    preferences = domain.records("preferences.jsonl")
    kinds = {
        "chosen": {row.id: row.chosen for row in preferences},
        "rejected": {f"{row.id}/{i}": text for row in preferences for i, text in enumerate(row.rejected)},
        "questions": {row.id: row.completion for row in domain.records("questions.jsonl")},
        "summaries": {row.id: row.completion for row in domain.records("summarization.jsonl")},
        "sections": {d.id: d.text for d in domain.documents},
    }
    for texts in kinds.values():
        pairs = near_duplicates(texts)
        assert len({key for pair in pairs for key in (pair.first, pair.second)}) < 0.05 * len(texts)


def test_no_request_is_asked_in_two_files():
    """A held-out question, a training prompt and a routing request never say the same, in either domain."""
    texts = {}
    for name in (*DOMAINS, "house"):
        domain = Domain.load(name)
        for file_name in FILES:
            texts |= {f"{name}/{file_name}/{row.id}": text_of(row) for row in domain.reading(file_name).records}
    across = [
        (p.first, p.second) for p in near_duplicates(texts) if p.first.rpartition("/")[0] != p.second.rpartition("/")[0]
    ]
    assert across == []
