"""The shipped data: enough of it, of the promised kinds, not templated, and nothing leaks between splits."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from domains.contamination import Passage, contamination
from domains.domain import PARSERS, Domain
from domains.local_tools.run import LOCAL_TOOLS, run_local
from domains.near_duplicates import near_duplicates
from domains.tool_calls import parse, properties
from domains.tool_rows import read_functions
from domains.validate import text_of
from judges.call_match import makes_calls
from judges.pair_audit import audit_domain
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
    """12,000 words without the Sources sections; every document names its sources."""
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


def test_the_audit_refuses_no_set(domain):
    assert audit_domain(domain, domain.name).level != "refuse"


def test_classification(domain):
    """120 items over at least five classes, each class in train and in test."""
    rows = domain.records("classification.jsonl")
    assert len(rows) >= 120
    assert len({row.completion for row in rows}) >= 5
    assert {row.completion for row in rows} == set(domain.labels)
    for split in ("train", "test"):
        assert {row.completion for row in domain.examples("classification", split)} == set(domain.labels)


def test_summaries_and_questions(domain):
    """40 and 60; a summary is shorter than its text; the questions are held out."""
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


@pytest.mark.parametrize("name", [*DOMAINS, "house", "tools"])
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


@pytest.fixture(scope="module")
def tools():
    return Domain.load("tools")


def test_the_audit_refuses_no_tools(tools):
    assert audit_domain(tools, "tools").level != "refuse"


def test_tools_have_functions_calls_and_every_kind(tools):
    """60 functions, each called in some row; 300 calls in 330 rows; every kind in every split."""
    rows = tools.records("calls.jsonl")
    calls = [call for row in rows for call in parse(row.completion) or ()]
    assert len(tools.functions) >= 60
    assert len(rows) >= 330
    assert len(calls) >= 300
    assert {call.name for call in calls} == {function.name for function in tools.functions}
    kinds = {"single", "multiple", "parallel", "parallel_multiple", "multi_turn", "irrelevance", "clarification"}
    for split in ("train", "dev", "test"):
        assert {row.kind for row in tools.examples("calls", split)} == kinds


def test_tools_rows_do_what_their_kind_says(tools):
    for row in tools.records("calls.jsonl"):
        calls, offered = parse(row.completion), len(row.functions)
        if row.kind in {"irrelevance", "clarification"}:
            assert calls is None, row.id
        elif row.kind in {"single", "multiple"}:
            assert len(calls) == 1, row.id
            assert (offered == 1) == (row.kind == "single"), row.id
        elif row.kind != "multi_turn":
            assert len(calls) >= 2, row.id
            assert (len({call.name for call in calls}) == 1) == (row.kind == "parallel"), row.id


def test_local_calls_of_tools_run(tools):
    """Arguments fit the schemas (the reader checks this); here every local one also has a result."""
    calls = [call for row in tools.records("calls.jsonl") for call in parse(row.completion) or ()]
    local = [call for call in calls if call.name in LOCAL_TOOLS]
    assert len(local) >= 200
    assert all(run_local(call) for call in local)


def test_arguments_of_tools_are_in_the_order_of_the_schema(tools):
    """So that a grammar, which has an order, does not work against the training."""
    for row in tools.records("calls.jsonl"):
        order = {f.name: list(properties(f.parameters)) for f in row.functions}
        for call in parse(row.completion) or ():
            names = list(call.arguments)
            assert names == sorted(names, key=order[call.name].index), row.id


def test_requests_of_tools_are_no_template(tools):
    """Fewer than 5% near-duplicates; no three words begin more than 3% of the requests."""
    rows = tools.records("calls.jsonl")
    texts = {row.id: text_of(row) for row in rows}
    assert len(near_duplicates(texts)) < 0.05 * len(rows)
    openings = Counter(" ".join(text.lower().split()[:3]) for text in texts.values())
    assert max(openings.values()) <= 0.03 * len(rows)


def test_pairs_of_tools_are_wrong_calls_of_known_kinds(tools):
    """A rejected answer is never right; some were written by a model, the others planted."""
    rows = tools.records("preferences.jsonl")
    kinds = Counter(kind for row in rows for kind in row.rejected_kinds)
    assert len(rows) >= 60
    assert {"weak_model", "wrong_function", "dropped_argument", "wrong_value", "unnecessary_call"} <= kinds.keys()
    functions = {row.id: row.functions for row in tools.records("calls.jsonl")}
    for row in rows:
        source = functions[row.id.partition("-pref")[0]]
        assert not any(makes_calls(text, row.chosen, source) for text in row.rejected), row.id


@pytest.fixture(scope="module")
def leaderboard():
    """The rows of the installed `bfcl-eval`."""
    package = pytest.importorskip("bfcl_eval")
    files = sorted((Path(package.__file__).parent / "data").glob("BFCL_v*.json"))
    assert files
    lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    return [json.loads(line) for line in lines if line.startswith('{"id"')]  # one file is a list of names, not rows


def test_no_row_of_tools_comes_from_the_leaderboard(tools, leaderboard):
    """Against its questions: no same text, no run of 13 words, no near-duplicate; in rows, pairs and routing alike."""
    asked = [
        turn["content"]
        for row in leaderboard
        for turns in row.get("question", [])
        for turn in turns
        if "content" in turn
    ]
    assert len(asked) > 1000
    theirs = [Passage("bfcl", str(place), text) for place, text in enumerate(asked)]
    files = ("calls.jsonl", "preferences.jsonl", "routing.jsonl")
    ours = [Passage(file, row.id, text_of(row)) for file in files for row in tools.records(file)]
    assert {passage.file for passage in ours} == set(files)
    assert contamination(theirs, ours).matches == ()


def test_no_function_of_tools_is_one_of_the_leaderboard(tools, leaderboard):
    """A declaration has neither the description of one of theirs nor, under the same name, the same arguments."""
    declared = [function for row in leaderboard for function in row.get("function", [])]
    assert len(declared) > 1000
    theirs = {(function["name"], frozenset(function["parameters"]["properties"])) for function in declared}
    texts = {" ".join(function["description"].lower().split()) for function in declared}
    ours = read_functions(tools.folder / "functions.jsonl")
    assert [f.name for f in ours if (f.name, frozenset(properties(f.parameters))) in theirs] == []
    assert [f.name for f in ours if " ".join(f.description.lower().split()) in texts] == []
