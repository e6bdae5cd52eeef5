"""One answer as it is written: picking tokens, stop strings, whole characters, log-probabilities, grammars."""

import json
import math

import pytest
import torch

from domains.errors import UserError
from router.assistant import Sampling
from router.grammar import Grammars
from router.writing import Text, Writer, pick


def logits_for(*tokens, size=258):
    """Logits whose maximum is the last token, and whose next best are those before it."""
    logits = torch.zeros(size)
    for rank, token in enumerate(tokens, 1):
        logits[token] = float(rank)
    return logits


def written(tokenizer, text, **sampling):
    """The pieces of an answer whose most likely tokens are a text and the end of the turn."""
    writer = Writer(tokenizer, Sampling(**sampling))
    pieces = []
    for token in [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]:
        pieces.append(writer.take(logits_for(token)))
        if pieces[-1].finish_reason:
            return pieces
    raise AssertionError("the end of the turn ends the answer")


def test_pick():
    """Temperature 0 is the maximum; a nucleus of 0.6 over (.5, .3, .2) keeps the first two."""
    logits = torch.tensor([0.3, 0.5, 0.2]).log()
    assert pick(logits, Sampling(), torch.Generator()) == 1
    generator = torch.Generator().manual_seed(0)
    drawn = [pick(logits, Sampling(temperature=1.0, top_p=0.6), generator) for _ in range(200)]
    assert set(drawn) == {0, 1}
    assert 0.5 < drawn.count(1) / 200 < 0.75
    assert pick(logits, Sampling(temperature=1.0, top_p=1e-9), generator) == 1


@pytest.mark.parametrize("temperature", [1e-40, 1e-9, 5e-5])
def test_a_tiny_temperature_is_greedy(temperature):
    """Logits divided by it would be infinite, and a draw from NaN an error."""
    sampling = Sampling(temperature=temperature)
    assert pick(torch.tensor([1.0, 3.0, 2.9]), sampling, torch.Generator().manual_seed(0)) == 1


def shown(tokenizer, text, stop=()):
    """What is shown token by token, with what the end brings."""
    shower = Text(tokenizer, stop)
    pieces = []
    for token in tokenizer.encode(text, add_special_tokens=False):
        pieces.append(shower.add(token))
        if shower.stopped:
            return pieces
    return [*pieces, shower.flush()]


def test_characters_of_several_tokens_are_shown_whole(tokenizer):
    """The euro sign is three bytes, so three tokens."""
    assert shown(tokenizer, "a€b") == ["a", "", "", "€", "b", ""]


def test_the_beginning_of_a_stop_string_is_held_back_until_it_is_decided(tokenizer):
    assert shown(tokenizer, "ab##c", ["##!"]) == ["a", "b", "", "", "##c", ""]
    assert shown(tokenizer, "ab##!c", ["##!"]) == ["a", "b", "", "", ""]
    assert shown(tokenizer, "ab##", ["##!"]) == ["a", "b", "", "", "##"]


def test_an_answer_ends_by_itself_at_the_limit_or_before_a_stop_string(tokenizer):
    """ "abc" is three tokens and the end of the turn the fourth."""
    by_itself = written(tokenizer, "abc")
    assert ("".join(p.text for p in by_itself), by_itself[-1].finish_reason) == ("abc", "stop")
    assert by_itself[-1].completion_tokens == 4
    at_limit = written(tokenizer, "abc", max_tokens=2)
    assert ("".join(p.text for p in at_limit), at_limit[-1].finish_reason) == ("ab", "length")
    stopped = written(tokenizer, "abc", stop=("never", "bc"))
    assert ("".join(p.text for p in stopped), stopped[-1].finish_reason) == ("a", "stop")


def test_sampling_is_repeatable_by_seed_and_differs_between_the_answers_of_a_request(tokenizer):
    def tokens(seed, choice=0):
        writer = Writer(tokenizer, Sampling(temperature=1.0, seed=seed, max_tokens=50), choice)
        return [writer.take(torch.zeros(258)) and writer.token for _ in range(20)]

    assert tokens(3) == tokens(3)
    assert tokens(3) != tokens(4)
    assert tokens(3, choice=1) == tokens(4)
    assert tokens(-(2**63))


def test_logprobs_are_those_of_the_model(tokenizer):
    """Two tokens of logit 2 and 1 among 256 of 0: log p = 2 - ln(e^2 + e + 256) and one less."""
    writer = Writer(tokenizer, Sampling(logprobs=2))
    first, second = tokenizer.encode("ab", add_special_tokens=False)
    (found,) = writer.take(logits_for(second, first)).logprobs
    norm = math.log(math.exp(2) + math.e + 256)
    assert (found.token, found.logprob) == ("a", pytest.approx(2 - norm))
    assert found.top == (("a", pytest.approx(2 - norm)), ("b", pytest.approx(1 - norm)))
    assert Writer(tokenizer, Sampling()).take(logits_for(first)).logprobs == ()


SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["escrow", "payment"]}, "sure": {"type": "boolean"}},
    "required": ["label", "sure"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("seed", range(5))
def test_an_answer_under_a_schema_fits_it_whatever_the_model_wants(tokenizer, seed):
    """Logits are noise; without the grammar the same noise is no JSON."""
    grammar = Grammars(tokenizer, 258).of(json.dumps(SCHEMA))
    generator = torch.Generator().manual_seed(seed)

    def answer(rules):
        writer = Writer(tokenizer, Sampling(max_tokens=400), grammar=rules)
        pieces = []
        while not pieces or pieces[-1].finish_reason is None:
            pieces.append(writer.take(torch.randn(258, generator=generator)))
        return "".join(piece.text for piece in pieces), pieces[-1].finish_reason

    text, reason = answer(grammar)
    assert reason == "stop"
    found = json.loads(text)
    assert found["label"] in ("escrow", "payment")
    assert isinstance(found["sure"], bool)
    with pytest.raises(ValueError, match="."):
        json.loads(answer(None)[0])


@pytest.mark.parametrize("schema", ["[]", '{"type": "nothing"}', '{"$ref": "https://example.org/schema.json"}'])
def test_a_schema_that_cannot_be_followed_is_the_users_to_fix(tokenizer, schema):
    with pytest.raises(UserError, match="JSON schema cannot be followed"):
        Grammars(tokenizer, 258).of(schema)
