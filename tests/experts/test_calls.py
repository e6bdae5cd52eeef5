"""A domain of function calls: its stages, its rows, its report, and the wrong calls that are made by rule."""

import pytest

from domains.domain import Domain
from domains.errors import UserError
from domains.tool_calls import Function, ToolCall, call_text, parse
from experts import calls
from experts.build import Build, run_build
from experts.builders import failure_to_success, weak_model_rejected
from experts.builders._parts import Material, Skipped, Writers
from experts.builders.wrong_calls import build, items, wrong_answers
from experts.checkpoint import read_adapter
from experts.expert import built_experts, is_offered
from experts.measure import Bench, Held, generate_arm, judge_arm
from experts.tracks import stage_names
from tests.fakes import tiny_recipe, write_jsonl
from tests.fakes_tools import tiny_tools_build, write_tools_domain

KINDS = {"wrong_function", "dropped_argument", "wrong_value", "missing_call", "unnecessary_call", "no_call"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    made = tiny_tools_build(tmp_path_factory.mktemp("tools"))
    run_build(made, lambda line: None)
    return made


def test_sft_comes_before_preferences(built):
    records = run_build(built, lambda line: None)
    assert [record["stage"] for record in records] == ["house/instruct", "kit/calls_sft", "kit/calls"]
    assert [record["stage"] for record in records] == stage_names(built)
    assert all(record["reused"] for record in records)
    assert records[1]["metrics"]["examples"] == 4
    assert records[2]["metrics"]["rows"] == 4
    assert not (built.folder / "pretrain").exists()


def test_the_preference_stage_starts_from_the_sft(built):
    """calls = house + SFT + its own: rank 2 + 2 + 2, and the first four factors are the SFT's."""
    parent, child = read_adapter(built.folder / "calls_sft"), read_adapter(built.folder / "calls")
    name = sorted(child)[0]
    assert (parent[name].down.shape[0], child[name].down.shape[0]) == (4, 6)
    assert (child[name].down[:4] == parent[name].down).all()


def test_only_the_finished_expert_is_offered(built):
    assert [name for name in built_experts(built.home) if is_offered(name)] == ["general", "kit/calls"]


def test_without_preferences_the_sft_is_the_expert(built, tmp_path):
    domain = Domain.load(write_tools_domain(tmp_path / "kit", with_preferences=False))
    plain = Build(domain, built.recipe, tmp_path)
    assert stage_names(plain) == ["house/instruct", "kit/calls"]
    assert list(plain.arms()) == ["foundation", "instruct", "calls"]


def test_a_domain_without_calls_is_refused(tmp_path):
    folder = write_tools_domain(tmp_path / "kit")
    write_jsonl(folder / "calls.jsonl", [])
    made = Build(Domain.load(folder), tiny_recipe(tmp_path), tmp_path)
    with pytest.raises(UserError, match=r"calls\.jsonl"):
        list(calls.stages(made))


def test_an_arm_is_measured_on_calls_and_on_their_absence(built, tmp_path):
    """An untrained model calls nothing: right wherever nothing is to be called, wrong everywhere else."""
    bench = Bench.open(tmp_path, built.recipe.evaluation.model_copy(update={"label_limit": 0}))
    held = Held.of(built.domain, bench.settings)
    subject = bench.subject(built.base)
    generate_arm(subject, held, None)
    rows = judge_arm(subject, "foundation", held, {}, ())
    found = {
        metric: [row.value for row in rows if row.metric == metric] for metric in ("call_accuracy", "no_call_accuracy")
    }
    assert set(found["call_accuracy"]) == {0.0}
    assert set(found["no_call_accuracy"]) == {1.0}
    assert len(held.calls) == sum(map(len, found.values()))
    assert {row.parts["kind"] for row in rows if row.metric == "call_accuracy"} == {"multiple"}


UNIT = {"type": "string", "enum": ["mile", "km"]}
FUNCTIONS = [
    Function("length", "", {"properties": {"value": {"type": "number"}, "unit": UNIT}, "required": ["value", "unit"]}),
    Function("remind", "", {"properties": {"date": {"type": "string", "description": "YYYY-MM-DD"}, "who": {
        "type": "array", "items": {"type": "string"}}}, "required": ["date", "who"]}),
]  # fmt: skip
LENGTH = ToolCall("length", {"value": 5, "unit": "km"})


def test_every_wrong_call_differs_in_one_way():
    found = {kind: parse(text) for kind, text in wrong_answers(call_text([LENGTH]), FUNCTIONS, "row-1").items()}
    assert found.keys() == {"wrong_function", "dropped_argument", "wrong_value", "no_call"}
    assert found["wrong_function"] == (ToolCall("remind", LENGTH.arguments),)
    assert len(found["dropped_argument"][0].arguments) == 1
    (other,) = found["wrong_value"]
    assert other.name == "length"
    assert sum(other.arguments[name] != value for name, value in LENGTH.arguments.items()) == 1
    assert found["no_call"] is None


def test_one_of_several_calls_is_changed_or_missing():
    given = [LENGTH, ToolCall("remind", {"date": "2026-01-01", "who": ["Al", "Bo"]})]
    found = {kind: parse(text) for kind, text in wrong_answers(call_text(given), FUNCTIONS, "row-2").items()}
    assert len(found["missing_call"]) == 1
    assert found["missing_call"][0] in given
    for kind in found.keys() - {"missing_call"}:
        assert sum(a != b for a, b in zip(found[kind], given, strict=True)) == 1, kind


def test_where_nothing_is_to_be_called_a_call_is_wrong():
    found = wrong_answers("On what date?", FUNCTIONS[1:], "row-3")
    assert parse(found.pop("unnecessary_call")) == (ToolCall("remind", {"date": "2024-01-01", "who": ["unknown"]}),)
    assert not found
    assert wrong_answers("Hello.", [], "row-4") == {}


@pytest.mark.parametrize("key", [f"row-{n}" for n in range(12)])
def test_a_call_without_arguments_or_with_zero_is_no_obstacle(key):
    today = ToolCall("today", {})
    assert wrong_answers(call_text([today]), [Function("today")], key).keys() == {"wrong_function", "no_call"}
    zero = ToolCall("f", {"n": 0, "on": False})
    for text in wrong_answers(call_text([zero]), [Function("f")], key).values():
        assert parse(text) != (zero,)


def test_the_builder_keeps_the_split_of_its_rows(tmp_path):
    domain = Domain.load(write_tools_domain(tmp_path / "kit"))
    made = items(Material(domain))
    assert {item.id for item in made} == {row.id for row in domain.records("calls.jsonl")}
    for item in made:
        row = build(item, None)
        assert item.data["split_of"] == item.id
        assert set(row["rejected_kinds"]) <= KINDS
        assert row["chosen"][0]["content"] not in [each[0]["content"] for each in row["rejected"]]


@pytest.fixture
def item(tmp_path):
    """A row with a call; its functions are find and wash."""
    domain = Domain.load(write_tools_domain(tmp_path / "kit"))
    return next(each for each in items(Material(domain)) if parse(each.data["chosen"]))


def scripted(*replies):
    """A model that says these in turn; `asked` holds its prompts."""
    left = list(replies)

    def ask(messages):
        ask.asked.append(list(messages))
        return left.pop(0)

    ask.asked = []
    return ask


def test_what_a_weak_model_calls_is_rejected_only_where_it_is_wrong(item):
    wrong = call_text([ToolCall("wash", {"thing": "hat"})])
    row = weak_model_rejected.build(item, Writers(scripted(), scripted(wrong)))
    assert row["rejected_kinds"] == ["weak_model"]
    assert (row["chosen"][0]["content"], row["rejected"][0][0]["content"]) == (item.data["chosen"], wrong)
    with pytest.raises(Skipped, match="right calls"):
        weak_model_rejected.build(item, Writers(scripted(), scripted(item.data["chosen"])))


def test_attempts_are_criticised_until_they_pass(item):
    """The criticism names what the schema finds, never the right call."""
    attempts = ["I do not know.", call_text([ToolCall("lose", {})]), call_text([ToolCall("find", {})])]
    weak = scripted(*attempts, item.data["chosen"])
    row = failure_to_success.build(item, Writers(scripted(), weak))
    assert [each[0]["content"] for each in row["rejected"]] == attempts
    assert set(row["rejected_kinds"]) == {"failed_attempt"}
    said = [asked[-1].content for asked in weak.asked[1:]]
    for words, text in zip(("A function is to be called", "no function lose", "thing"), said, strict=True):
        assert words in text
        assert item.data["chosen"] not in text
    assert row["prompt"] == item.data["prompt"]


def test_attempts_that_never_or_at_once_pass_give_no_row(item):
    with pytest.raises(Skipped, match="no attempt of 4"):
        failure_to_success.build(item, Writers(scripted(), scripted(*["No."] * 4)))
    with pytest.raises(Skipped, match="first attempt"):
        failure_to_success.build(item, Writers(scripted(), scripted(item.data["chosen"])))
