"""The function calling bench with scripted answers, and its answers from a tiny model: kept, and not made twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("bfcl_eval")

from domains.errors import UserError  # noqa: E402
from domains.example import Message  # noqa: E402
from domains.tool_calls import Function, ToolCall, call_text, parse  # noqa: E402
from experts.embedded import foundation_folder  # noqa: E402
from experts.expert import Expert  # noqa: E402
from judges.bfcl.rows import AST, CATEGORIES, MULTI_TURN, read_category, subset  # noqa: E402
from router.benches._tool_answers import Answers, Asked, Kept, fitting_context  # noqa: E402
from router.benches._tool_arms import BASE, Arm, ArmModels, parse_arm  # noqa: E402
from router.benches._tool_rows import solve  # noqa: E402
from router.benches._tool_score import call_accuracy  # noqa: E402
from router.benches.tools import pairs, provenance, report, run  # noqa: E402
from router.call_grammar import ToolUse  # noqa: E402
from tests.fakes import write_base  # noqa: E402
from tests.judges.bfcl.answers import right_calls  # noqa: E402
from tests.judges.bfcl.test_checking import calls_of  # noqa: E402

PING = Function("ping", "Says pong.", {"type": "object", "properties": {"times": {"type": "integer", "maximum": 9}}})
ASK = (Message("user", "Ping."),)


@pytest.fixture(scope="module")
def tasks():
    return subset(40)


def oracle(tasks):
    """Answers every prompt rightly: what was asked last decides which turn of which row it is."""
    known = {}
    for task in (task for found in tasks.values() for task in found):
        if task.category in MULTI_TURN:
            spoken = ()
            for turn, truth in zip(task.turns, task.truth, strict=True):
                spoken += turn.messages
                known[task.id, len(spoken)] = call_text(calls_of(truth, task)) if truth else "Words."
        elif task.truth:
            known[task.turns[0].messages] = call_text(right_calls(task))
        else:
            call = call_text([ToolCall(function.name) for function in task.turns[0].functions[:1]])
            known[task.turns[0].messages] = call if task.category == "live_relevance" else "Words."
    firsts = {task.turns[0].messages: task.id for found in tasks.values() for task in found if len(task.turns) > 1}

    def answer(messages, functions):
        if messages in known:
            return known[messages]
        if messages[-1].content.startswith("<tool_response>"):
            return "Done."
        said = [m for m in messages if m.role != "assistant" and not m.content.startswith("<tool_response>")]
        name = next(name for first, name in firsts.items() if messages[: len(first)] == first)
        return known[name, len(said)]

    return lambda prompts: [answer(*prompt) for prompt in prompts]


def test_right_answers_solve_every_row_and_silence_only_what_needs_none(tasks):
    everything = [task for found in tasks.values() for task in found]
    right = solve(everything, oracle(tasks))
    assert {name for name, outcome in right.items() if not outcome.right} == set()
    silent = solve(everything, lambda prompts: ["I cannot."] * len(prompts))
    solved = {task.category for task in everything if silent[task.id].right}
    assert solved == {"irrelevance", "live_irrelevance"}
    found = report({"prompt": right, "sft": silent}, tasks)
    assert found["overall"][0]["overall_v3"]["value"] == 1.0
    last = found["overall"][1]["overall_v3"]
    assert last["value"] == last["never_calling"]
    assert len(found["rows"]) == 2 * len(CATEGORIES)
    calls, irrelevance = found["comparisons"]
    assert (calls["kind"], calls["difference"]) == ("calls", -1.0)
    assert (irrelevance["kind"], irrelevance["difference"]) == ("irrelevance", 0.0)
    assert calls["n"] + irrelevance["n"] == found["num_rows"]
    assert (calls["against"], calls["arm"]) == ("prompt", "sft")
    assert {name for name, each in found["outcomes"]["sft"].items() if each["right"]} == {
        task.id for task in everything if task.category in solved
    }


def test_a_prompt_that_is_too_long_is_wrong(tasks):
    everything = [task for found in tasks.values() for task in found]
    long = solve(everything, lambda prompts: [None] * len(prompts))
    assert {outcome.mistake for outcome in long.values()} == {"prompt_too_long"}
    assert report({"prompt": long}, tasks)["overall"][0]["too_long"] == len(everything)


def test_a_model_that_never_stops_calling_is_stopped():
    task = read_category("multi_turn_base")[0]
    asked = []

    def ask(prompts):
        asked.extend(prompts)
        return ['<tool_call>[{"name": "pwd", "arguments": {}}]</tool_call>'] * len(prompts)

    (outcome,) = solve([task], ask).values()
    assert outcome.mistake == "multi_turn:force_terminated"
    assert len(asked) == 21


def trained(name, **metrics):
    return Expert(name, "", "embedded", "", Path(), "", 0, "", metrics=metrics)


SFT_ONLY = {"tools/calls": trained("tools/calls", examples=9), "mine": trained("mine", examples=9)}
BOTH = {"tools/calls_sft": trained("tools/calls_sft", examples=9), "tools/calls": trained("tools/calls", rows=9)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("before", ("base", "bare", "free")),
        ("prompt", ("base", "documented", "free")),
        ("constrained", ("base", "documented", "constrained")),
        ("prompt+required", ("base", "documented", "required")),
        ("sft", ("tools/calls", "documented", "free")),
        ("sft+constrained", ("tools/calls", "documented", "constrained")),
        ("mine", ("mine", "documented", "free")),
    ],
)
def test_arms_by_name(name, expected):
    arm = parse_arm(name, SFT_ONLY, native=False)
    assert (arm.expert, arm.format, arm.decoding) == expected
    assert parse_arm("before", {}, native=True).format == "native"
    with pytest.raises(UserError, match="Did you mean 'prompt'"):
        parse_arm("promt", {}, native=False)


def test_what_was_trained_without_pairs_is_never_shown_as_preference():
    assert parse_arm("sft+preference", SFT_ONLY, native=False) is None
    assert parse_arm("sft", BOTH, native=False).expert == "tools/calls_sft"
    assert parse_arm("sft+preference", BOTH, native=False).expert == "tools/calls"
    assert parse_arm("sft+preference+constrained", BOTH, native=False).decoding == "constrained"
    left = {name: expert for name, expert in BOTH.items() if name == "tools/calls_sft"} | SFT_ONLY
    assert parse_arm("sft+preference", left, native=False) is None


def test_arms_are_compared_in_one_thing():
    arms = ["before", "prompt", "constrained", "sft", "sft+constrained", "sft+preference", "sft+preference+constrained"]
    assert pairs(arms) == [
        ("before", "prompt"),
        ("before", "sft"),
        ("prompt", "sft"),
        ("sft", "sft+preference"),
        ("sft+constrained", "sft+preference+constrained"),
        ("prompt", "constrained"),
        ("sft", "sft+constrained"),
        ("sft+preference", "sft+preference+constrained"),
    ]
    assert pairs(["prompt", "mine", "mine+required"]) == [("mine", "mine+required"), ("prompt", "mine")]
    assert pairs(["constrained", "sft"]) == []


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    base = tmp_path_factory.mktemp("tools") / "base"
    write_base(base)
    return ArmModels(base, {})


def test_answers_are_kept_and_bound(models, tmp_path):
    """A prompt that does not fit has no answer; the others are there after a torn line, and are not made again."""
    free = Arm("prompt", "base", "documented", "free")
    bound = Arm("prompt+required", "base", "documented", "required")
    ids = tuple(models.encode(free, ASK, [PING]))
    asked = [Asked(free, ids), Asked(bound, ids, bound.use([PING])), Asked(free, ids * 40)]
    sizes = {"max_tokens": 120, "max_context": 2000}
    path = tmp_path / "kept" / "answers.jsonl"
    first = Answers(path, models, **sizes)
    words, call, long = first.get(asked)
    assert long is None
    assert parse(words) is None
    assert {each.name for each in parse(call) or ()} <= {"ping"}
    assert call.startswith("<tool_call>")
    path.write_text(path.read_text() + '{"key": "torn')
    again = Answers(path, models, **sizes)
    assert again.get(asked) == [words, call, None]
    assert again.scheduler.counts.steps == 0
    assert len(path.read_text().splitlines()) == 2
    other = Answers(path, models, max_tokens=5, max_context=2000)
    assert len(other.get(asked[:1])[0] or "") <= 5
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.parametrize(("text", "asked_again"), [("Words.", False), ("<tool_call>[", True), ("Wor\ufffd", True)])
def test_a_free_answer_without_a_call_is_the_bound_one(models, tmp_path, text, asked_again):
    """A schema binds what follows the beginning of a call, so an answer without one is not written again; where a call
    is required it is."""
    free, bound, must = (Arm(name, BASE, "documented", name) for name in ("free", "constrained", "required"))
    ids = tuple(models.encode(free, ASK, [PING]))
    answers = Answers(tmp_path / "answers.jsonl", models, max_tokens=4, max_context=2000)
    answers.keep([answers.key(Asked(free, ids))], iter([Kept(text)]))
    (found,) = answers.get([Asked(bound, ids, bound.use([PING]))])
    assert (answers.scheduler.counts.steps > 0) == asked_again
    assert (found == text) != asked_again
    before = answers.scheduler.counts.steps
    answers.get([Asked(must, ids, must.use([PING]))])
    assert answers.scheduler.counts.steps > before
    assert answers.unbound == {"constrained": 0, "required": 0}


@pytest.mark.slow
def test_what_is_bound_and_calls_nothing_is_what_is_free(tmp_path):
    """The claim itself, on the embedded model, which writes letters: written apart, both are the same."""
    models = ArmModels(foundation_folder(), {})
    free, bound = (Arm(name, BASE, "documented", name) for name in ("free", "constrained"))
    prompts = [tuple(models.encode(free, [Message("user", text)], [PING])) for text in ("Hello!", "Tell me a story.")]
    sizes = {"max_tokens": 40, "max_context": 2000}
    said = Answers(tmp_path / "free.jsonl", models, **sizes).get([Asked(free, ids) for ids in prompts])
    again = Answers(tmp_path / "bound.jsonl", models, **sizes).get(
        [Asked(bound, ids, bound.use([PING])) for ids in prompts]
    )
    assert not any("<tool_call>" in text for text in said)
    assert said == again


def test_a_schema_that_cannot_be_followed_gives_a_free_answer_that_is_counted(models, tmp_path):
    """The pattern is no regular expression. Neither a required call nor an allowed one ends the measurement."""
    wild = Function("wild", "", {"type": "object", "properties": {"x": {"type": "string", "pattern": "("}}})
    arms = [Arm(name, BASE, "documented", name) for name in ("constrained", "required")]
    free = Arm("free", BASE, "documented", "free")
    ids = tuple(models.encode(free, ASK, [PING]))
    asked = [
        *(Asked(arm, ids, arm.use([wild])) for arm in arms),
        Asked(free, ids),
        Asked(arms[0], ids, ToolUse((PING,))),
    ]
    path = tmp_path / "answers.jsonl"
    for _ in range(2):  # made, then read
        answers = Answers(path, models, max_tokens=20, max_context=8000)
        first, second, third, _ = answers.get(asked)
        assert first == second == third
        assert answers.unbound == {"constrained": 1, "required": 1, "free": 0}
        counted = {arm["name"]: (arm["answers"], arm["unbound"]) for arm in provenance(answers, [*arms, free])["arms"]}
        assert counted == {"constrained": (2, 1), "required": (1, 1), "free": (1, 0)}


def test_a_grammar_that_fails_on_the_way_gives_a_free_answer(models, tmp_path):
    class Failing(Answers):
        def grammar(self, asked):
            return Broken() if asked.use else None

    class Broken:
        def allowed(self, logits_V):
            return logits_V

        def accept(self, token):
            raise RuntimeError("refused")

    bound, free = (Arm(name, BASE, "documented", name) for name in ("constrained", "free"))
    ids = tuple(models.encode(free, ASK, [PING]))
    answers = Failing(tmp_path / "answers.jsonl", models, max_tokens=10, max_context=8000)
    first, second = answers.get([Asked(bound, ids, bound.use([PING])), Asked(free, ids)])
    assert first == second
    assert answers.unbound["constrained"] == 1


def test_prompts_may_be_as_long_as_the_model_takes(models, tmp_path):
    assert models.context == 8192
    assert 0 < Answers(tmp_path / "answers.jsonl", models).max_context <= 8192
    assert fitting_context(models.model) > 0


def test_the_formats_show_the_functions(models):
    def prompt(form):
        return models.tokenizer.decode(models.encode(Arm("x", "base", form, "free"), ASK, [PING]))

    assert "ping(times?: integer)" in prompt("documented")
    assert json.dumps("Says pong.") in prompt("bare")
    assert "tool_call" not in prompt("bare")
    assert not models.has_template


def test_what_the_arms_decode_to():
    assert Arm("x", "base", "documented", "free").use([PING]) is None
    assert Arm("x", "base", "documented", "constrained").use([PING]) == ToolUse((PING,))
    assert Arm("x", "base", "documented", "required").use([PING]) == ToolUse((PING,), required=True)
    assert Arm("x", "base", "documented", "required").use([]) is None


def test_both_sizes_are_refused(tmp_path):
    with pytest.raises(UserError, match="Give one of them"):
        run(home=tmp_path, rows=20, all_rows=True)


def test_one_number_for_whatever_answers():
    """The right call to every other row of each category is half of the calls; silence is none of them."""
    given = subset(20, AST)
    known = {task.turns[0].messages: call_text(right_calls(task)) for found in given.values() for task in found[::2]}
    share = sum(len(found[::2]) / len(found) for found in given.values()) / len(given)

    def ask(prompts):
        assert all(prompt[0].content.startswith("You can call these functions") for prompt in prompts)
        return [known.get(prompt[1:], "Words.") for prompt in prompts]

    found = call_accuracy(ask, 20)
    assert found["value"] == pytest.approx(share, abs=1e-4)
    assert found["low"] < found["value"] < found["high"]
    assert found["n"] == sum(map(len, given.values()))
    silent = call_accuracy(lambda prompts: ["Words."] * len(prompts), 20)
    assert silent["value"] == silent["never_calling"] == 0


NATIVE = (
    "{% if tools %}<tools>{% for tool in tools %}{{ tool.function.name }}: {{ tool.function.description }};"
    "{% endfor %}</tools>{% endif %}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
)


def test_a_model_with_a_template_for_functions_sees_them_as_the_template_says(tmp_path):
    write_base(tmp_path / "base")
    models = ArmModels(tmp_path / "base", {})
    models.tokenizer.chat_template = NATIVE
    assert models.has_template
    arm = parse_arm("before", {}, models.has_template)
    text = models.tokenizer.decode(models.encode(arm, ASK, [PING]))
    assert text == "<tools>ping: Says pong.;</tools>[user]Ping.[assistant]"
    assert models.tokenizer.decode(models.encode(arm, ASK, [])) == "[user]Ping.[assistant]"
    documented = models.tokenizer.decode(models.encode(parse_arm("prompt", {}, True), ASK, [PING]))
    assert documented.startswith("[system]You can call these functions")
