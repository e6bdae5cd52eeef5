"""Answers under the schemas of functions: what a free model would write is cut down to what fits."""

from __future__ import annotations

import json

import pytest
import torch

from domains.errors import UserError
from domains.tool_calls import CLOSE, OPEN, Function, ToolCall, call_text, parse
from router.assistant import Sampling
from router.call_grammar import ToolUse, call_schema, declared, lark
from router.grammar import Grammars
from router.writing import Writer
from tests.fakes import byte_tokenizer

RATE = Function("rate", "", {"type": "object", "properties": {"years": {"type": "integer", "minimum": 1, "maximum": 40},
                "kind": {"enum": ["fixed", "adjustable"]}}, "required": ["years"]})  # fmt: skip
PING = Function("net.ping")
BOTH = (RATE, PING)
CALL = ToolCall("rate", {"years": 30, "kind": "fixed"})
VOCABULARY = 258


@pytest.fixture(scope="module")
def grammars():
    return Grammars(byte_tokenizer(), VOCABULARY)


def accepts(grammars: Grammars, use: ToolUse, text: str, schema: str | None = None) -> bool:
    """Whether the whole text may be written and may end there."""
    matcher = grammars.of_calls(use, schema).matcher
    ids = grammars.tokenizer.encode(text, add_special_tokens=False)
    return matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting()


def test_what_the_project_writes_fits(grammars):
    for calls in ([CALL], [CALL, ToolCall("net.ping")], [ToolCall("net.ping")]):
        text = call_text(calls)
        assert accepts(grammars, ToolUse(BOTH), text)
        assert accepts(grammars, ToolUse(BOTH, required=True), text)
        assert accepts(grammars, ToolUse(BOTH, parallel=False), text) is (len(calls) == 1)


def test_the_form_of_hermes_fits_too(grammars):
    text = f'{OPEN}\n{{"name": "net.ping", "arguments": {{}}}}\n{CLOSE}'
    assert accepts(grammars, ToolUse(BOTH, required=True), text)
    assert accepts(grammars, ToolUse(BOTH, required=True), f"{text}\n{text}")
    assert not accepts(grammars, ToolUse(BOTH, required=True, parallel=False), f"{text}\n{text}")


@pytest.mark.parametrize(
    "arguments", ["{}", '{"years": 41}', '{"years": "30"}', '{"years": 30, "other": 1}', '{"years": 30, "kind": "x"}']
)
def test_a_begun_call_must_fit_the_schema(grammars, arguments):
    text = f'{OPEN}[{{"name": "rate", "arguments": {arguments}}}]{CLOSE}'
    assert not accepts(grammars, ToolUse(BOTH), text)


def test_words_are_free_only_where_no_call_is_required(grammars):
    assert accepts(grammars, ToolUse(BOTH), "The answer is <5.")
    assert accepts(grammars, ToolUse(BOTH), f"Let me see. {call_text([CALL])}")
    assert not accepts(grammars, ToolUse(BOTH), f'{OPEN}[{{"name": "unknown", "arguments": {{}}}}]{CLOSE}')
    assert not accepts(grammars, ToolUse(BOTH, required=True), "The answer is <5.")
    assert not accepts(grammars, ToolUse(BOTH, only="net.ping"), call_text([CALL]))
    assert accepts(grammars, ToolUse(BOTH, only="net.ping"), call_text([ToolCall("net.ping")]))


def test_instead_of_a_call_an_answer_may_have_a_schema_of_its_own(grammars):
    schema = json.dumps({"enum": ["yes"]})
    assert accepts(grammars, ToolUse(BOTH), '"yes"', schema)
    assert accepts(grammars, ToolUse(BOTH), call_text([CALL]), schema)
    assert not accepts(grammars, ToolUse(BOTH), '"no"', schema)


@pytest.mark.parametrize("seed", range(5))
def test_a_required_call_is_made_whatever_the_model_wants(grammars, seed):
    """Logits are noise; without the grammar the same noise calls nothing."""
    generator = torch.Generator().manual_seed(seed)

    def answer(rules):
        writer = Writer(grammars.tokenizer, Sampling(max_tokens=600), grammar=rules)
        pieces = []
        while not pieces or pieces[-1].finish_reason is None:
            pieces.append(writer.take(torch.randn(VOCABULARY, generator=generator)))
        return "".join(piece.text for piece in pieces)

    calls = parse(answer(grammars.of_calls(ToolUse(BOTH, required=True, parallel=False))))
    assert calls is not None
    (call,) = calls
    assert {f.name: f for f in BOTH}[call.name].problems(call.arguments) == ()
    assert parse(answer(None)) is None


def test_references_lead_to_the_definitions_of_their_own_function(grammars):
    def of(kind):
        return {"type": "object", "properties": {"x": {"$ref": "#/$defs/T"}}, "required": ["x"], "$defs": {"T": kind}}

    use = ToolUse((Function("a", "", of({"type": "integer"})), Function("b", "", of({"type": "boolean"}))))
    assert set(call_schema(use.functions)["$defs"]) == {"0-T", "1-T"}
    assert accepts(grammars, use, call_text([ToolCall("a", {"x": 1}), ToolCall("b", {"x": True})]))
    assert not accepts(grammars, use, call_text([ToolCall("a", {"x": True})]))


def test_a_schema_that_cannot_be_followed_leaves_the_answer_free_or_is_refused(grammars):
    odd = Function("odd", "", {"type": "object", "properties": {"x": {"$ref": "https://example.org/schema"}}})
    assert grammars.of_calls(ToolUse((odd,))) is None
    with pytest.raises(UserError, match="schema of a function cannot be followed"):
        grammars.of_calls(ToolUse((odd,), required=True))


def test_declarations_of_the_protocol():
    rate = {"name": "rate", "description": "x", "parameters": RATE.parameters}
    tools = [{"type": "function", "function": {"name": "ping"}}, {"type": "function", "function": rate}]
    assert [(f.name, f.required) for f in declared(json.dumps(tools))] == [("ping", ()), ("rate", ("years",))]
    with pytest.raises(UserError, match="Did you mean 'rate'"):
        lark(ToolUse(declared(json.dumps(tools)), only="rat"))
